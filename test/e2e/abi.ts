import { fork } from "node:child_process";
import { once } from "node:events";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Goal } from "../../providers/reconcile.ts";
import type { AbiAnswer, AbiOrder } from "./abi-child.ts";
import type { Bench } from "./drive.ts";

const CHILD = fileURLToPath(new URL("abi-child.ts", import.meta.url));

/** The provider as the engine calls it, in a process of its own: one answer per goal, and what that process printed. */
export async function viaAbi(
  { config, env, folder }: Pick<Bench, "config" | "env" | "folder">,
  goals: readonly Goal[],
  more: Pick<AbiOrder, "create"> = {},
): Promise<{ answers: Record<string, AbiAnswer>; printed: string }> {
  const file = join(folder, "abi.json");
  const named = goals.map(({ facet, node, want }) => ({ facet: facet.name, node, want }));
  writeFileSync(file, JSON.stringify({ config, env, goals: named, ...more } satisfies AbiOrder), { mode: 0o600 });
  const child = fork(CHILD, [file], { execArgv: [], stdio: ["ignore", "pipe", "pipe", "ipc"] });
  let printed = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (chunk: Buffer) => {
      printed += chunk.toString();
    });
  let answers: Record<string, AbiAnswer> | undefined;
  child.on("message", (message) => {
    answers = message as Record<string, AbiAnswer>;
  });
  await once(child, "close");
  rmSync(file);
  if (answers === undefined) throw new Error(printed);
  return { answers, printed };
}
