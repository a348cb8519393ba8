import type { Asks } from "../kit/ask.ts";
import { isThere, lastLine, ran, text } from "../kit/ask.ts";
import { facet } from "../kit/facet.ts";
import { absent, flatMapFact, known, mapFact } from "../kit/facts.ts";
import { DPKG_NAMES } from "../kit/host.ts";
import { judgeFact } from "../kit/judge.ts";
import { parseDpkgNames } from "../kit/parse-packages.ts";
import { tdxQuoteExamples } from "./tdx-quote-examples.ts";
import type { TdxQuoteFacts } from "./tdx-quote-plan.ts";
import { lackingOf, PACKAGES, planTdxQuote, QCNL, qcnlGood, SAMPLE, TdxQuoteWant, VERIFIER } from "./tdx-quote-plan.ts";

const SOURCE = "seed 003, step 3 (TDX remote attestation)";
const GENERATED = "Successfully get the TD Quote";
const VERIFIED = ["App: tee verify quote successfully returned.", "App: Verification completed successfully."];

const lastOf = ({ stdout, stderr }: { stdout: string; stderr: string }) => lastLine(stderr || stdout);

const ASKS = {
  dpkg: DPKG_NAMES,
  qcnl: { kind: "file", path: QCNL },
  generator: { kind: "file", path: `${SAMPLE}/test_tdx_attest`, maxBytes: 16_777_216 },
  verifier: { kind: "argv", argv: ["test", "-x", `${VERIFIER}/app`] },
  // In memory, where the one file that this leaves is gone with the next boot; in this order, in one batch.
  quote: {
    kind: "argv",
    argv: ["env", "--chdir=/dev/shm", `${SAMPLE}/test_tdx_attest`],
    gates: [
      { argv: ["test", "-x", `${SAMPLE}/test_tdx_attest`], exit: 0, why: "the quote generator is not built yet" },
    ],
    timeoutSeconds: 60,
  },
  verified: {
    kind: "argv",
    argv: ["env", "--chdir=/dev/shm", `${VERIFIER}/app`, "-quote", "./quote.dat"],
    gates: [{ argv: ["test", "-x", `${VERIFIER}/app`], exit: 0, why: "the quote verifier is not built yet" }],
    timeoutSeconds: 60,
  },
} as const satisfies Asks;

/** Intel's own sample tools: what the document shows by hand, at every look, with a quote of that moment. */
export const tdxQuote = facet<TdxQuoteWant, TdxQuoteFacts, typeof ASKS>({
  name: "tdx-quote",
  type: "TdxQuote",
  on: "guest",
  persona: "vm-user",
  summary: "The TD makes a quote, and Intel's verifier accepts it with the cloud's certificates (DCAP).",
  sources: [SOURCE],
  want: TdxQuoteWant,
  asks: ASKS,
  parse: (a): TdxQuoteFacts => ({
    packages: mapFact(text(a.dpkg), (t) => parseDpkgNames(t).filter((name) => PACKAGES.includes(name))),
    qcnl: text(a.qcnl),
    generator: isThere(a.generator),
    verifier: mapFact(ran(a.verifier), (r) => r.status === 0),
    quote:
      a.quote.kind === "skipped" || a.verified.kind === "skipped"
        ? absent
        : flatMapFact(ran(a.quote), (made) => {
            if (!`${made.stdout}\n${made.stderr}`.includes(GENERATED)) return known(`no quote: ${lastOf(made)}`);
            return mapFact(ran(a.verified), (verified) =>
              VERIFIED.every((line) => `${verified.stdout}\n${verified.stderr}`.includes(line))
                ? "good"
                : `not verified: ${lastOf(verified)}`,
            );
          }),
  }),
  judge: (want, facts) => [
    judgeFact(facts.packages, {
      code: "tdx-quote.packages",
      want: `${PACKAGES.length} DCAP packages`,
      hint: "pulumi up installs them",
      source: SOURCE,
      good: (have) => lackingOf(have).length === 0,
      show: (have) => lackingOf(have).join(", ") || "installed",
    }),
    judgeFact(facts.qcnl, {
      code: "tdx-quote.pccs",
      want: `${QCNL} with ${want.pccs} and a secure certificate`,
      hint: "pulumi up writes it",
      source: SOURCE,
      good: (t) => qcnlGood(want, t),
      show: (t) => /"pccs_url":\s*"([^"]*)"/.exec(t)?.[1] ?? "no pccs_url",
    }),
    judgeFact(facts.quote, {
      code: "tdx-quote.quote",
      want: "a quote that is made and verified",
      hint: "run generator and verifier by hand; certificates that are missing come from the PCCS",
      source: SOURCE,
      good: (said) => said === "good",
    }),
  ],
  plan: planTdxQuote,
  show: ({ quote }) => ({ quote: quote.state === "known" ? quote.value : quote.state }),
  examples: tdxQuoteExamples,
  covers: [
    ...["003-13", "003-14", "003-15", "003-16", "003-17", "003-18", "003-19", "003-20", "003-21", "003-22", "003-23"],
    ...["003-24", "003-25", "003-26", "003-27", "003-28", "003-29", "003-30", "003-31", "003-32", "003-33", "003-34"],
  ],
});
