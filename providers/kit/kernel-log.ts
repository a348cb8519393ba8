import type { Answer, Ask } from "./ask.ts";
import { collected } from "./ask.ts";
import type { Fact } from "./facts.ts";
import { flatMapFact, known, unknown } from "./facts.ts";

/**
 * Kernel log lines about SEV, the RMP, the IOMMU and TDX, one question for all who ask: reading a journal takes long. A
 * lower-case pattern ignores case. The first line of every boot is asked too: without it the journal does not reach
 * back, and a line that is missing means nothing.
 */
export const TEE_LOG = {
  kind: "argv",
  argv: [
    "journalctl",
    "-k",
    "-b",
    "-o",
    "cat",
    "--no-pager",
    "--grep=^linux version |sev|rmp|amd-vi|passthrough mode|tdx",
  ],
  maxBytes: 262_144,
} as const satisfies Ask;

/** The answer to {@link TEE_LOG}, read by `parse`; unknown when the journal has lost this boot's first lines. */
export function teeLog<T>(answer: Answer, parse: (text: string) => T): Fact<T> {
  return flatMapFact(collected(answer), (text) =>
    /^Linux version /m.test(text)
      ? known(parse(text))
      : unknown("the journal does not have the first lines of this boot: journalctl --list-boots"),
  );
}
