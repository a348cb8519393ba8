import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "@jest/globals";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import { USER } from "../../tools/image.ts";
import { run } from "../cli/run.ts";

/** What can be seen of the manifests without a Kubernetes; test/lab/kubernetes runs them on one. */
const FOLDER = join(dirname(fileURLToPath(import.meta.url)), "../../examples/kubernetes");
const README = readFileSync(join(FOLDER, "README.md"), "utf8");
const documents = parseAllDocuments(readFileSync(join(FOLDER, "teeup-drift.yaml"), "utf8"));

const ContainerSchema = z.looseObject({
  image: z.string(),
  command: z.array(z.string()),
  env: z.array(z.object({ name: z.string(), value: z.string() })).default([]),
  envFrom: z.array(z.object({ secretRef: z.object({ name: z.string() }) })).default([]),
  securityContext: z.unknown(),
  resources: z.looseObject({ requests: z.unknown(), limits: z.looseObject({ memory: z.string() }) }),
  volumeMounts: z.array(z.object({ name: z.string(), mountPath: z.string(), readOnly: z.boolean().optional() })),
});
const CronJobSchema = z.looseObject({
  metadata: z.object({ name: z.string(), namespace: z.literal("teeup") }),
  spec: z.looseObject({
    concurrencyPolicy: z.literal("Forbid"),
    jobTemplate: z.object({
      spec: z.looseObject({
        completionMode: z.string().optional(),
        completions: z.int().optional(),
        parallelism: z.int().optional(),
        template: z.object({
          spec: z.looseObject({
            restartPolicy: z.literal("Never"),
            automountServiceAccountToken: z.literal(false),
            securityContext: z.unknown(),
            containers: z.array(ContainerSchema).length(1),
            volumes: z.array(z.looseObject({ name: z.string() })),
          }),
        }),
      }),
    }),
  }),
});

const all = documents.map((one) => {
  expect(one.errors).toEqual([]);
  return z.looseObject({ kind: z.string(), metadata: z.looseObject({ name: z.string() }) }).parse(one.toJS());
});
const jobs = all.filter(({ kind }) => kind === "CronJob").map((one) => CronJobSchema.parse(one));
const specOf = (job: (typeof jobs)[number]) => job.spec.jobTemplate.spec;

test("as many shards as pods, each of which writes what the second Job reads", () => {
  const [scan, whole] = jobs;
  if (scan === undefined || whole === undefined) throw new Error("two jobs are wanted");
  const { completions, parallelism, completionMode, template } = specOf(scan);
  const [container] = template.spec.containers;
  expect([completionMode, parallelism]).toEqual(["Indexed", completions]);
  expect(container?.env.find(({ name }) => name === "SHARDS")?.value).toBe(String(completions));
  const text = container?.command.join(" ") ?? "";
  const written = /--json "\/results\/(shard-)\$JOB_COMPLETION_INDEX(\.json)"/.exec(text);
  expect(specOf(whole).template.spec.containers[0]?.command.join(" ")).toContain(
    `--merge ${written?.[1]}*${written?.[2]}`,
  );
});

test("no pod is more than it has to be", () => {
  expect(jobs).toHaveLength(2);
  expect(all.find(({ kind }) => kind === "Namespace")?.metadata["labels"]).toEqual({
    "pod-security.kubernetes.io/enforce": "restricted",
  });
  for (const job of jobs) {
    const { securityContext, containers, volumes } = specOf(job).template.spec;
    expect(securityContext).toEqual({
      runAsNonRoot: true,
      runAsUser: USER,
      runAsGroup: USER,
      fsGroup: USER,
      seccompProfile: { type: "RuntimeDefault" },
    });
    for (const container of containers) {
      expect(container.securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] },
      });
      // What is mounted is there, and what is not written to is read-only.
      expect(container.volumeMounts.map(({ name }) => name).sort()).toEqual(volumes.map(({ name }) => name).sort());
      for (const { name, readOnly } of container.volumeMounts)
        expect([name, readOnly ?? false]).toEqual([name, ["fleet", "ssh"].includes(name)]);
    }
  }
});

test("every flag of teeup that they use exists, and every Secret and ConfigMap is one that the README makes", async () => {
  const commands = jobs.flatMap((job) => specOf(job).template.spec.containers.map(({ command }) => command.join(" ")));
  const flags = commands.flatMap((text) => (/teeup drift (.*)/.exec(text)?.[1] ?? "").match(/--[a-z-]+/g) ?? []);
  expect(flags.length).toBeGreaterThan(6);
  const { stdout } = await run(["cli/main.ts", "drift", "--help"]);
  for (const flag of flags)
    expect([flag, new RegExp(`^ +(-\\w, )?${flag}[ \\n]`, "m").test(stdout)]).toEqual([flag, true]);
  const text = JSON.stringify(jobs);
  const named = [...text.matchAll(/"(?:secretName|secretRef|configMap)":(?:\{"name":)?"([^"]+)"/g)].map(
    ([, name]) => name,
  );
  expect(new Set(named)).toEqual(new Set(["teeup-fleet", "teeup-ssh", "teeup-state"]));
  for (const name of named) expect(README).toMatch(new RegExp(`create (secret generic|configmap) ${name} `));
});
