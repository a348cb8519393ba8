import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { parseAllDocuments, stringify } from "yaml";
import { z } from "zod";
import type { DriftReport } from "../../../cli/formats/drift-facts.ts";
import { writeImage } from "../../../tools/image.ts";
import { pulumiEnv } from "../../../tools/toolchain.ts";
import { run } from "../../cli/run.ts";
import { Site } from "../../pulumi/harness.ts";
import { type Cluster, startCluster } from "./cluster.ts";

/**
 * The manifests of examples/kubernetes on a real Kubernetes, against twins that its pods reach: one pod is killed in the
 * middle of its part, and the scan is whole all the same.
 */
const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = join(HERE, "../../..");
const MANIFEST = join(ROOT, "examples/kubernetes/teeup-drift.yaml");
const MINUTES = 1_800_000;
const COUNT = 6;
const PASSPHRASE = "of the test's stack";
const IMAGE = "localhost/teeup:0.1.0";

const NodesSchema = z.object({
  nodes: z.array(
    z.object({
      name: z.string(),
      host: z.string(),
      port: z.number(),
      user: z.string(),
      privateKey: z.string(),
      knownHosts: z.string(),
    }),
  ),
});

let site: Site;
let cluster: Cluster;
let twins: ChildProcess;
let nodes: z.infer<typeof NodesSchema>["nodes"];
/** Lines that the twins' process said. */
const heard: unknown[] = [];

const tell = async (line: string) => {
  twins.stdin?.write(`${line}\n`);
  await until(`an answer to ${line}`, async () => heard.some((one) => (one as { done?: string }).done === line));
};
async function until(what: string, check: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 600_000;
  while (!(await check())) {
    if (Date.now() > end) throw new Error(`${what} was waited for\n${await state()}`);
    await pause(200);
  }
}
const state = () => cluster.kubectl(["-n", "teeup", "get", "jobs,pods,events", "-o", "wide"]).catch(String);
const results = () => join(site.folder, "results");

beforeAll(async () => {
  site = new Site();
  const image = join(site.folder, "teeup.tar");
  await writeImage({ out: image, tag: IMAGE, say: () => undefined });
  cluster = await startCluster([image]);
  twins = spawn(
    "nsenter",
    ["--target", String(cluster.pid), "--net", process.execPath, join(HERE, "twins.ts"), String(COUNT)],
    {
      stdio: ["pipe", "pipe", "inherit"],
    },
  );
  if (twins.stdout === null) throw new Error("no stdout");
  createInterface({ input: twins.stdout }).on("line", (line) => heard.push(JSON.parse(line)));
  await until("the twins", async () => heard.length > 0);
  ({ nodes } = NodesSchema.parse(heard[0]));
  await bringUp();
}, MINUTES);
afterAll(async () => {
  twins?.stdin?.end();
  await cluster?.stop();
  await site.close();
}, MINUTES);

/** The stack's config with the keys at `place`. */
const stackFile = (place: string) =>
  stringify({
    config: {
      "teeup:permit": "service",
      "teeup:nodes": nodes.map(({ name, host, port, user }) => ({
        name,
        ssh: { host, port, user, keyFile: join(place, name), knownHosts: join(place, "known_hosts") },
      })),
    },
  });

/** The nodes as they are wanted, with a state in the folder that the pods see. */
async function bringUp(): Promise<void> {
  const keys = join(site.folder, "keys");
  for (const folder of [keys, join(results(), "state")]) mkdirSync(folder, { recursive: true });
  for (const { name, privateKey } of nodes) writeFileSync(join(keys, name), privateKey, { mode: 0o600 });
  writeFileSync(join(keys, "known_hosts"), nodes.map(({ knownHosts }) => `${knownHosts}\n`).join(""));
  const env = {
    ...pulumiEnv({ home: join(site.folder, "home"), backendDir: join(results(), "state"), passphrase: PASSPHRASE }),
    TEEUP_SSH_CONFIG: "/dev/null",
  };
  const project = join(site.folder, "project");
  mkdirSync(project);
  writeFileSync(join(project, "Pulumi.yaml"), stringify({ name: "teeup", runtime: "nodejs" }));
  const pulumi = async (cwd: string, ...argv: string[]) => {
    const inside = ["--target", String(cluster.pid), "--net", "pulumi", ...argv, "--non-interactive"];
    const ran = await site.start("nsenter", inside, cwd, env).ended;
    expect([argv[0], ran.status, ran.status === 0 ? "" : ran.said]).toEqual([argv[0], 0, ""]);
  };
  await pulumi(project, "stack", "init", "rack7");
  const file = join(project, "Pulumi.rack7.yaml");
  const salt = readFileSync(file, "utf8");
  writeFileSync(file, `${salt}${stackFile(keys)}`);
  await pulumi(join(HERE, "program"), "up", "--yes", "--skip-preview", "--stack", "rack7", "--config-file", file);
  await tell("drift gpu-04 packages");

  // What the README of the example has people make.
  await cluster.kubectl(["create", "namespace", "teeup"]);
  const own = (...argv: string[]) => cluster.kubectl(["-n", "teeup", "create", ...argv]);
  await own(
    "secret",
    "generic",
    "teeup-ssh",
    ...[...nodes.map(({ name }) => name), "known_hosts"].map((name) => `--from-file=${join(keys, name)}`),
  );
  await own(
    "secret",
    "generic",
    "teeup-state",
    "--from-literal=PULUMI_BACKEND_URL=file:///results/state",
    `--from-literal=PULUMI_CONFIG_PASSPHRASE=${PASSPHRASE}`,
  );
  writeFileSync(file, `${salt}${stackFile("/etc/teeup-ssh")}`);
  writeFileSync(join(project, "fleet.yaml"), stringify({ stacks: [{ stack: "rack7" }] }));
  await own(
    "configmap",
    "teeup-fleet",
    ...["fleet.yaml", "Pulumi.yaml", "Pulumi.rack7.yaml"].map((name) => `--from-file=${join(project, name)}`),
  );
  // In the place of storage that several machines share: a folder of the one machine.
  await run([
    "-e",
    `require("node:child_process").execFileSync("chown", ["-R", "65532:65532", ${JSON.stringify(results())}])`,
  ]);
  await cluster.kubectl(
    ["apply", "-f", "-"],
    stringify({
      apiVersion: "v1",
      kind: "PersistentVolume",
      metadata: { name: "results" },
      spec: {
        capacity: { storage: "1Gi" },
        accessModes: ["ReadWriteMany"],
        hostPath: { path: results() },
        claimRef: { namespace: "teeup", name: "results" },
      },
    }),
  );
}

test(
  "the manifests are what this Kubernetes takes, under the restricted standard, and would not take without it",
  async () => {
    const text = readFileSync(MANIFEST, "utf8");
    expect(await cluster.kubectl(["apply", "-f", "-"], text)).toMatch(
      /cronjob\.batch\/drift created\ncronjob\.batch\/drift-whole created/,
    );
    for (const [job, wrong] of [
      ["drift", { allowPrivilegeEscalation: true }],
      ["drift-whole", { capabilities: {} }],
    ] as const) {
      const document = parseAllDocuments(text)
        .map((one) => one.toJS())
        .find((one) => one.metadata.name === job && one.kind === "CronJob");
      const { template } = document.spec.jobTemplate.spec;
      const pod = (over: object) => ({
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name: `try-${job}`, namespace: "teeup" },
        spec: {
          ...template.spec,
          containers: template.spec.containers.map((one: { securityContext: object }) => ({
            ...one,
            securityContext: { ...one.securityContext, ...over },
          })),
        },
      });
      const create = (over: object) =>
        cluster.kubectl(["create", "--dry-run=server", "-f", "-"], JSON.stringify(pod(over)));
      await expect(create({})).resolves.toMatch(/created/);
      await expect(create(wrong)).rejects.toThrow(/violates PodSecurity "restricted/);
    }
  },
  MINUTES,
);

const jobIs = async (name: string, condition: string): Promise<boolean> =>
  (await cluster.kubectl([
    "-n",
    "teeup",
    "get",
    "job",
    name,
    "-o",
    `jsonpath={.status.conditions[?(@.type=="${condition}")].status}`,
  ])) === "True";

test(
  "one pod killed in the middle of its part: it is looked at again, and the joined scan is whole",
  async () => {
    // The second of three parts: gpu-03 and gpu-04.
    await tell("hold gpu-03");
    const before = heard.length;
    await cluster.kubectl(["-n", "teeup", "create", "job", "now", "--from=cronjob/drift"]);
    const connections = () =>
      heard.slice(before).filter((one) => (one as { connection?: string }).connection === "gpu-03").length;
    await until("the scan of gpu-03", async () => connections() > 0);
    const [pod = ""] = (
      await cluster.kubectl([
        "-n",
        "teeup",
        "get",
        "pods",
        "-l",
        "job-name=now,batch.kubernetes.io/job-completion-index=1",
        "-o",
        "name",
      ])
    )
      .trim()
      .split("\n");
    expect(pod).toMatch(/^pod\/now-1-/);
    await cluster.kubectl(["-n", "teeup", "delete", pod, "--grace-period=0", "--force"]);
    await tell("release gpu-03");
    await until("the end of the Job", async () => (await jobIs("now", "Complete")) || (await jobIs("now", "Failed")));
    expect([await jobIs("now", "Complete"), (await jobIs("now", "Complete")) ? "" : await state()]).toEqual([true, ""]);
    expect(connections()).toBeGreaterThan(1);

    const files = readdirSync(results())
      .filter((name) => name.startsWith("shard-"))
      .sort();
    expect(files).toEqual(["shard-0.json", "shard-1.json", "shard-2.json"]);
    const merged = await run([
      "cli/main.ts",
      "drift",
      "--merge",
      ...files.map((name) => join(results(), name)),
      "--json",
    ]);
    const { nodes: found, missing } = JSON.parse(merged.stdout) as DriftReport;
    expect([merged.status, missing]).toEqual([2, []]);
    expect(found.map(({ node, status }) => [node, status]).sort()).toEqual(
      nodes.map(({ name }) => [name, name === "gpu-04" ? "drifted" : "clean"]),
    );
  },
  MINUTES,
);

test(
  "the second Job joins the parts where they are; drift makes it a failed one, and its page is there",
  async () => {
    await cluster.kubectl(["-n", "teeup", "create", "job", "join", "--from=cronjob/drift-whole"]);
    await until("the end of the Job", async () => (await jobIs("join", "Complete")) || (await jobIs("join", "Failed")));
    expect(await jobIs("join", "Failed")).toBe(true);
    expect(readFileSync(join(results(), "drift.html"), "utf8")).toContain("gpu-04");
    const { nodes: found } = JSON.parse(readFileSync(join(results(), "drift.json"), "utf8")) as DriftReport;
    expect(found).toHaveLength(COUNT);
  },
  MINUTES,
);
