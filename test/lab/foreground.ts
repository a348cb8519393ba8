import { once } from "node:events";
import { stringify } from "yaml";
import { argsOf } from "../../cli/args.ts";
import { ensurePackages, LAB_PACKAGES, TEST_PACKAGES } from "../../tools/debian.ts";

/** A machine that a person may use while the command runs. */
export interface Offered {
  readonly name: string;
  /** Ready to paste. */
  readonly ssh: string;
  readonly node: Record<string, unknown>;
}

/** Installs what is missing, or ends with one sentence. */
export function prepare(): void {
  const fault = ensurePackages({ ...TEST_PACKAGES, ...LAB_PACKAGES });
  if (fault === undefined) return;
  process.stderr.write(`${fault}\n`);
  process.exit(1);
}

/** The number of machines wanted: the one argument, or `otherwise`. Ends with one sentence when it is none. */
export function countOf(usage: string, otherwise: number): number {
  const { positionals } = argsOf(`usage: ${usage}`, { allowPositionals: true });
  const count = positionals.length === 0 ? otherwise : Number(positionals[0]);
  if (positionals.length <= 1 && Number.isInteger(count) && count > 0) return count;
  process.stderr.write(`usage: ${usage}\n`);
  process.exit(2);
}

/** Says how to reach the machines, and waits for Ctrl-C or an end by SIGTERM; the caller then stops them. */
export async function offer(machines: readonly Offered[]): Promise<void> {
  const nodes = stringify({ config: { "teeup:nodes": machines.map(({ node }) => node) } });
  const commands = machines.map(({ name, ssh }) => `# ${name}\n${ssh}\n`).join("");
  process.stdout.write(
    `${commands}\n# For a stack's Pulumi.<stack>.yaml:\n${nodes}\n# Ctrl-C ends and removes it all.\n`,
  );
  // Nothing else need keep this process alive.
  const alive = setInterval(() => undefined, 60_000);
  await Promise.race(["SIGINT", "SIGTERM", "SIGHUP"].map((signal) => once(process, signal)));
  clearInterval(alive);
}
