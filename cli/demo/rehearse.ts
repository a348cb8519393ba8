/**
 * `npm run rehearse -- <node>`: runs the whole `up` of a node on a twin that is made from the node's record, and says what
 * that cannot know. The node itself is not connected to, and no state but one of its own is written.
 *   -s, --stack <name>   stack to read the node from; default: the selected one
 *   -f, --file <path>    read a Pulumi.<stack>.yaml instead of asking Pulumi
 *   --json               one JSON object on stdout instead
 * Exit status 0: it ended as wanted, 3: it did not, 1: nothing was rehearsed.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pc from "picocolors";
import { ago } from "../../providers/machine/record.ts";
import { hideSecrets, redact } from "../../providers/machine/redact.ts";
import { argsOf } from "../args.ts";
import { loadStack } from "../stack.ts";
import { CANNOT_KNOW, type Rehearsal, rehearse } from "./rehearsal.ts";

const { values, positionals } = argsOf("usage: npm run rehearse -- <node> [--stack <name>] [--file <path>] [--json]", {
  allowPositionals: true,
  options: {
    stack: { type: "string", short: "s" },
    file: { type: "string", short: "f" },
    json: { type: "boolean", default: false },
  },
});

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupted.abort());

const dir = await mkdtemp(join(tmpdir(), "teeup-rehearsal-"));
try {
  const [node, ...more] = positionals;
  if (node === undefined || more.length > 0) throw new Error("one node is wanted: npm run rehearse -- <node>");
  const config = await loadStack({ stack: values.stack, file: values.file });
  const say = (line: string) => void process.stderr.write(`${redact(line)}\n`);
  const rehearsal = await rehearse({ config, node, dir, signal: interrupted.signal, say });
  const { json } = values;
  const text = json ? JSON.stringify({ ...rehearsal, cannotKnow: CANNOT_KNOW }, null, 2) : show(rehearsal);
  process.stdout.write(`${hideSecrets(text)}\n`);
  if (!rehearsal.ok) process.exitCode = 3;
} catch (error) {
  process.stderr.write(`${redact(error instanceof Error ? error.message : String(error))}\n`);
  process.exitCode = interrupted.signal.aborted ? 130 : 1;
} finally {
  await rm(dir, { recursive: true, force: true });
}

function show(rehearsal: Rehearsal): string {
  const { node, record, ok, plan, restarts, gpuResets, guestStarts, alike, otherwise, unlike, attestation, error } =
    rehearsal;
  const title = (text: string) => `\n${pc.bold(pc.cyan(`── ${text}`))}`;
  const list = (lines: readonly string[]) => lines.map((line) => `  ${line}`);
  return [
    `${node}, rehearsed on a twin made from its record of ${record.at} (${ago(record.at)})`,
    title("What up did on the twin"),
    ...list(plan),
    ok
      ? `${pc.green("✓")} it ended as wanted: ${restarts} restarts, ${gpuResets} GPU resets, ${guestStarts} starts of the guest; attestation of the twin: ${attestation.verdict}`
      : `${pc.red("✗")} it did not end as wanted:\n${error ?? ""}`,
    title(
      `Begun as on the node: ${alike.length} of ${alike.length + otherwise.length} parts that have something to do`,
    ),
    ...list(alike.length === 0 ? ["none"] : [alike.join(" ")]),
    ...(otherwise.length === 0
      ? []
      : [
          title("Begun otherwise than on the node"),
          ...otherwise.flatMap(({ facet, node: own, twin }) => [
            `  ${facet}`,
            ...own.map((line) => `    node: ${line}`),
            ...twin.map((line) => `    twin: ${line}`),
          ]),
        ]),
    title("What this cannot know"),
    ...list([...unlike, ...CANNOT_KNOW].map((line) => `- ${line}`)),
  ].join("\n");
}
