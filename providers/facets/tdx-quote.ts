import type { Answer, Asks } from "../kit/ask.ts";
import { lastLine, ran, text } from "../kit/ask.ts";
import { facet } from "../kit/facet.ts";
import { absent, mapFact } from "../kit/facts.ts";
import { DPKG_PACKAGES } from "../kit/host.ts";
import { judgeFact } from "../kit/judge.ts";
import { parseDpkgNames } from "../kit/parse-packages.ts";
import { tdxQuoteExamples } from "./tdx-quote-examples.ts";
import type { TdxQuoteFacts } from "./tdx-quote-plan.ts";
import {
  lackingOf,
  PACKAGES,
  planTdxQuote,
  QCNL,
  QUOTE,
  qcnlGood,
  qcnlSays,
  SAMPLE,
  TdxQuoteWant,
  VERIFIER,
} from "./tdx-quote-plan.ts";

const SOURCE = "seed 003, step 3 (TDX remote attestation)";
/** The document shows the first line without its underscores, the program prints them. */
const VERIFIED = [/App: tee[ _]verify[ _]quote successfully returned\./, /App: Verification completed successfully\./];

const lastOf = ({ stdout, stderr }: { stdout: string; stderr: string }) => lastLine(stderr || stdout);

const ASKS = {
  dpkg: DPKG_PACKAGES,
  qcnl: { kind: "file", path: QCNL },
  generator: { kind: "argv", argv: ["test", "-x", `${SAMPLE}/test_tdx_attest`] },
  verifier: { kind: "argv", argv: ["test", "-x", `${VERIFIER}/app`] },
  made: { kind: "argv", argv: ["test", "-f", QUOTE] },
  verified: {
    kind: "argv",
    argv: [`${VERIFIER}/app`, "-quote", QUOTE],
    gates: [
      { argv: ["test", "-x", `${VERIFIER}/app`], exit: 0, why: "the quote verifier is not built yet" },
      { argv: ["test", "-f", QUOTE], exit: 0, why: "no quote of this boot was made yet" },
    ],
    timeoutSeconds: 60,
  },
} as const satisfies Asks;

const exists = (answer: Answer) => mapFact(ran(answer), (r) => r.status === 0);

/**
 * Intel's own sample tools, as the document shows them by hand. The generator runs once a boot and never to look: it
 * extends two of the TD's measurements. Its quote is verified anew at every look, with the certificates of that moment.
 */
export const tdxQuote = facet<TdxQuoteWant, TdxQuoteFacts, typeof ASKS>({
  name: "tdx-quote",
  type: "TdxQuote",
  on: "guest",
  persona: "vm-user",
  summary: "The TD makes a quote, and Intel's verifier accepts it with the cloud's certificates (DCAP).",
  sources: [
    SOURCE,
    "intel/SGXDataCenterAttestationPrimitives QuoteGeneration/quote_wrapper/tdx_attest/test_tdx_attest.c (extends RTMRs), SampleCode/QuoteVerificationSample/App/App.cpp",
  ],
  want: TdxQuoteWant,
  asks: ASKS,
  parse: (a): TdxQuoteFacts => ({
    packages: mapFact(text(a.dpkg), (t) => parseDpkgNames(t).filter((name) => PACKAGES.includes(name))),
    qcnl: text(a.qcnl),
    generator: exists(a.generator),
    verifier: exists(a.verifier),
    made: exists(a.made),
    // It ends with 0 whatever it found.
    quote:
      a.verified.kind === "skipped"
        ? absent
        : mapFact(ran(a.verified), (verified) =>
            VERIFIED.every((line) => line.test(`${verified.stdout}\n${verified.stderr}`))
              ? "good"
              : `not verified: ${lastOf(verified)}`,
          ),
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
      show: qcnlSays,
    }),
    judgeFact(facts.quote, {
      code: "tdx-quote.quote",
      want: "a quote that is made and verified",
      hint: `pulumi up makes it; what is not verified: ${VERIFIER}/app -quote ${QUOTE} says why, certificates come from the PCCS`,
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
