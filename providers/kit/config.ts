import { z } from "zod";
import { AttestationSchema } from "./attestation-config.ts";
import { CloudSchema, cloudOf } from "./cloud.ts";
import { PermitSchema } from "./disruption.ts";
import { SecretsSchema } from "./secrets.ts";

const Name = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, "lower-case letters, digits and dashes, at most 63");

/** How to reach a machine over SSH. What is left out comes from ~/.ssh/config, the agent and known_hosts. */
export const SshSchema = z
  .strictObject({
    host: z
      .string()
      .default("")
      .describe(
        "Host name, address, or a Host alias of ~/.ssh/config. Left out only for an instance that the stack itself makes.",
      ),
    port: z.int().min(1).max(65535).optional().describe("TCP port; default from ~/.ssh/config, else 22."),
    user: z.string().min(1).optional().describe("Login name; default from ~/.ssh/config, else the local user."),
    keyFile: z
      .string()
      .optional()
      .describe(
        "Private key file; default from ~/.ssh/config, else the agent and ~/.ssh/id_*. A passphrase comes from TEEUP_SSH_PASSPHRASE[_<NODE>].",
      ),
    hostKey: z
      .string()
      .regex(/^SHA256:[A-Za-z0-9+/]{43}=?$/)
      .optional()
      .describe("Pinned host key fingerprint as `ssh-keygen -lf` prints it; default: known_hosts."),
    knownHosts: z
      .string()
      .optional()
      .describe("known_hosts file; default ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts."),
    bastion: z
      .string()
      .optional()
      .describe("Jump host, `[user@]host[:port]` or a Host alias; its key is verified the same way."),
    sudo: z
      .boolean()
      .optional()
      .describe(
        "Run as root through sudo; default: true unless user is root. A password comes from TEEUP_SUDO_PASSWORD[_<NODE>].",
      ),
  })
  .describe("How to reach the machine over SSH.");
export type SshConfig = z.infer<typeof SshSchema>;

export const BmcSchema = z
  .strictObject({
    url: z.url({ protocol: /^https$/ }).describe("https URL of the BMC."),
    user: z.string().min(1),
    password: z
      .string()
      .optional()
      .describe(
        "Only as a stack secret (`pulumi config set --secret --path 'nodes[0].bmc.password'`); otherwise TEEUP_BMC_PASSWORD[_<NODE>].",
      ),
    certificate: z
      .string()
      .regex(/^([0-9A-F]{2}:){31}[0-9A-F]{2}$/i)
      .optional()
      .describe("Pinned SHA-256 fingerprint of the BMC's certificate, colon separated."),
    caFile: z.string().optional().describe("CA file that signed the BMC's certificate; default: the system's CAs."),
  })
  .describe("The node's BMC (Redfish).");
export type BmcConfig = z.infer<typeof BmcSchema>;

export const GuestAccessSchema = z
  .strictObject({
    user: z
      .string()
      .default("teeup")
      .describe("Login name made by cloud-init in the guest; has sudo without password."),
    port: z
      .int()
      .min(1024)
      .max(65535)
      .default(2222)
      .describe("Port on the host's loopback that forwards to the guest's sshd (seed 001: FWDPORT)."),
    publicKey: z
      .string()
      .regex(
        /^(ssh-|ecdsa-|sk-)\S+ [A-Za-z0-9+/=]+( [^\n]*)?$/,
        "is no OpenSSH public key line (the text of a .pub file)",
      )
      .optional()
      .describe("OpenSSH public key line put into the guest; default: the .pub beside keyFile."),
    keyFile: z.string().optional().describe("Private key for the guest; default: the node's own."),
  })
  .describe("How the guest is reached, always through its host.");
export type GuestAccess = z.infer<typeof GuestAccessSchema>;

/** A command that is no state: what it does is nobody's to look at again. */
export const CommandSchema = z.strictObject({
  name: Name.describe("Name of its resource."),
  argv: z
    .array(z.string())
    .min(1)
    .describe("Words of the command, run as the login user. It stands in the state and in process lists: no secrets."),
});
export type OneShotCommand = z.infer<typeof CommandSchema>;

/** One node. Credentials are never part of resource inputs: resources name the node, the provider looks here. */
export const NodeSchema = z
  .strictObject({
    name: Name,
    cloud: CloudSchema.optional().describe(
      "The node is an instance of this cloud, itself the confidential VM; default: what the platform says.",
    ),
    ssh: SshSchema,
    bmc: BmcSchema.optional(),
    guest: GuestAccessSchema.prefault({}),
    labels: z.record(z.string(), z.string()).default({}).describe("Free labels to select nodes by."),
  })
  .describe("One machine.");
export type NodeConfig = z.infer<typeof NodeSchema>;

/** The stack config under `teeup:`. */
const StackConfigShape = z.strictObject({
  platform: z
    .enum(["onprem-snp", "onprem-tdx", "baidu-bcc", "alibaba-gn8v-tee"])
    .default("onprem-snp")
    .describe("Which program of stacks/ runs."),
  permit: PermitSchema.default("none"),
  approved: z
    .string()
    .regex(/^[a-z0-9-]+=[0-9a-f]{32}(,[a-z0-9-]+=[0-9a-f]{32})*$/, "not <node>=<32 hex digits>, …")
    .optional()
    .describe(
      "Plans that were reviewed, as `teeup report` prints them: `up` of a node is refused when its plan is another one.",
    ),
  facts: z
    .enum(["live", "recorded"])
    .default("live")
    .describe("`recorded`: preview against what `teeup record` saved, where nodes cannot be reached; `up` is refused."),
  records: z
    .string()
    .min(1)
    .default("records")
    .describe("Folder of the records, from the project's folder; one file for each node."),
  profile: z.string().optional().describe("Profile of stacks/profiles; default: the platform's newest."),
  gpuMode: z
    .enum(["on", "off", "devtools", "ppcie"])
    .default("on")
    .describe(
      "GPU confidential computing mode; ppcie (Protected PCIe) is the mode of all GPUs and NVSwitches of a Hopper node together.",
    ),
  vm: z
    .strictObject({
      cpus: z.int().min(1).max(512).default(16).describe("vCPUs."),
      memoryGiB: z.int().min(2).max(4096).default(64).describe("Memory in GiB."),
      diskGiB: z.int().min(8).max(16384).default(100).describe("Disk in GiB."),
    })
    .prefault({}),
  instance: z
    .strictObject({
      sshFrom: z
        .array(z.cidrv4())
        .default([])
        .describe("Address ranges that may reach the instance's sshd, e.g. 203.0.113.7/32; nothing else is open."),
      sshFromAnyone: z
        .boolean()
        .default(false)
        .describe("Ranges of sshFrom may hold about everybody, such as 0.0.0.0/0; refused otherwise."),
      commands: z
        .array(CommandSchema)
        .default([])
        .refine((all) => new Set(all.map((c) => c.name)).size === all.length, "two commands have the same name")
        .describe("Run on each instance once its GPUs are attested, and again after a restart or another verdict."),
      sampleWorkload: z
        .boolean()
        .default(false)
        .describe("Also run a workload that moves data to each GPU and back, in the same way."),
      zone: z
        .string()
        .regex(/^[a-z0-9-]+$/)
        .optional()
        .describe("Zone of the instance; default: the recipe's, the only one whose TEE family the document names."),
      image: z
        .string()
        .min(1)
        .optional()
        .describe(
          "Id of the image, when the recipe's is gone; another one is another system disk. Default: the recipe's.",
        ),
      type: z.string().startsWith("ecs.").optional().describe("Instance type; default: the recipe's first."),
      diskGiB: z.int().min(20).max(32768).optional().describe("GiB of the system disk; default: the recipe's."),
      quote: z
        .boolean()
        .default(false)
        .describe("Make and verify a TDX quote with Intel's sample tools, where the recipe has them."),
      swiotlbMiB: z
        .int()
        .min(64)
        .max(65536)
        .optional()
        .describe(
          "MiB of unencrypted memory for device I/O, where more than the recipe's was seen to be needed; takes a restart.",
        ),
    })
    .prefault({})
    .describe("For platforms whose nodes are instances of a cloud."),
  attestation: AttestationSchema.optional(),
  secrets: SecretsSchema.default({}).describe(
    "Secrets for attested guests, by name; `attestation.secrets` says who gets which.",
  ),
  pins: z
    .record(z.string(), z.string())
    .default({})
    .describe(
      "Values that the profile's sources leave open, e.g. the sha256 of a download, by their name in the profile.",
    ),
  nodes: z
    .array(NodeSchema)
    .min(1)
    .max(50, "a stack holds at most 50 nodes: make a second stack")
    .refine((nodes) => new Set(nodes.map((n) => n.name)).size === nodes.length, "two nodes have the same name"),
});
export const StackConfigSchema = StackConfigShape.superRefine(({ platform, nodes }, context) => {
  for (const [n, node] of nodes.entries())
    if (node.ssh.host === "" && cloudOf(platform, node.cloud) !== "alibaba")
      context.addIssue({
        code: "custom",
        path: ["nodes", n, "ssh", "host"],
        message: `required: no program of ${platform} makes the node`,
      });
});
export type StackConfig = z.infer<typeof StackConfigSchema>;

/** Names of the nodes in `teeup:nodes` as the engine repeats it; none when Pulumi keeps it secret. */
export function configuredNodes(nodes: unknown): string[] {
  try {
    return z
      .array(z.looseObject({ name: z.string() }))
      .parse(JSON.parse(String(nodes)))
      .map(({ name }) => name);
  } catch {
    return [];
  }
}
