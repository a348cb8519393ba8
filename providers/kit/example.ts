import type { Answer } from "./ask.ts";
import type { Example } from "./facet.ts";

/** One example of a facet: codes of the findings that are not `pass`, then codes of the planned steps. */
export const example = <W>(
  name: string,
  want: W,
  answers: Readonly<Record<string, Answer>>,
  findings: readonly string[] = [],
  steps: readonly string[] = [],
): Example<W> => ({ name, want, answers, findings, steps });
