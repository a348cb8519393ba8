/**
 * An example of a policy pack for stacks of TeeUp: copy it, change it, and name it in every preview and up:
 *   pulumi preview --policy-pack examples/policy
 * Plain JavaScript, since Pulumi loads packs with the Node that it finds.
 */
const { PolicyPack } = require("@pulumi/policy");

/** From the mildest on; docs/facets.md has the class of every step. */
const DISRUPTIONS = ["none", "service", "gpu-reset", "guest-stop", "reboot", "power-cycle", "human"];
const classOf = (line) => /^\[([a-z-]+)\] /.exec(line)?.[1];
const PART = "pulumi-nodejs:dynamic/";

new PolicyPack("teeup", {
  policies: [
    {
      name: "pinned-host-keys",
      description: "Who a node is stands in the stack, under review, and not in the known_hosts of whoever runs it.",
      enforcementLevel: "mandatory",
      validateResource: ({ type, props }, report) => {
        // Of an instance that the stack makes, the stack knows the key from the cloud.
        if (type !== `${PART}node:NodePlan` || props.at !== undefined) return;
        if (!/^SHA256:/.test(props.hostKey))
          report(
            `${props.node}: its host key is not pinned; teeup trust shows it, teeup:nodes[].ssh.hostKey is its place`,
          );
      },
    },
    {
      name: "no-devtools-mode",
      description: "GPUs are in a mode that protects: devtools lets the host look into them.",
      enforcementLevel: "mandatory",
      validateResource: ({ type, props }, report) => {
        if (!type.startsWith(PART)) return;
        const mode = props.want?.mode ?? props.want?.gpuMode;
        if (mode === "devtools" || mode === "off") report(`${props.node}: the GPUs' mode is ${mode}`);
      },
    },
    {
      name: "attestation-required",
      description: "Every node's GPUs attest themselves before they take work.",
      enforcementLevel: "mandatory",
      validateStack: ({ resources }, report) => {
        const parts = resources.filter(({ type }) => type.startsWith(PART));
        const nodes = new Set(parts.map(({ props }) => props.node));
        for (const node of nodes)
          if (!parts.some(({ props }) => props.node === node && props.facet === "attestation"))
            report(`${node} has no attestation`);
      },
    },
    {
      name: "disruption-limit",
      description: "On a protected stack no step is worse than this; `worst` in the pack's config, default service.",
      enforcementLevel: "mandatory",
      configSchema: { properties: { worst: { type: "string", enum: DISRUPTIONS, default: "service" } } },
      validateResource: (args, report) => {
        if (!args.type.startsWith(PART) || args.props.facet === "node-plan") return;
        const { worst = "service" } = args.getConfig();
        for (const line of args.props.plan ?? []) {
          const disruption = classOf(line);
          if (DISRUPTIONS.indexOf(disruption) > DISRUPTIONS.indexOf(worst))
            report(`${args.props.node}: ${line} is worse than ${worst}`);
        }
      },
    },
  ],
});
