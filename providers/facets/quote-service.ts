import { facet, type Step } from "../kit/facet.ts";
import { valueIfKnown } from "../kit/facts.ts";
import { firstUnknown } from "../kit/findings.ts";
import { installPackages, job } from "../kit/host.ts";
import type { QuoteServiceFacts, QuoteServiceWant } from "../kit/quote-service.ts";
import * as quotes from "../kit/quote-service.ts";
import { QUOTE_SERVICE_EXAMPLES } from "./quote-service-examples.ts";
import { judgeQuoteService, missing, SOURCE } from "./quote-service-judge.ts";

function keyStep(repository: NonNullable<QuoteServiceWant["repository"]>): Step {
  const { checks, lines } = quotes.keyLines(repository);
  return {
    code: "quote-service.key",
    title: `fetch the key of ${repository.url} (sha256 ${repository.key.sha256.slice(0, 12)})`,
    why: "apt takes the archive's packages by it",
    disruption: "none",
    actions: [checks, ...job("quote-service-key", lines, 300)],
  };
}

/** A TD's report becomes a quote, which others can verify, on its host: QGS with PCCS, on SGX, of a registered platform. */
export const quoteService = facet<QuoteServiceWant, QuoteServiceFacts, typeof quotes.QUOTE_SERVICE_ASKS>({
  name: "quote-service",
  type: "QuoteService",
  on: "host",
  persona: "host",
  summary: "Quotes for TDs: SGX devices, PCCS, the quote generation service, and the platform's registration.",
  sources: [SOURCE, "Intel TDX Enabling Guide, Infrastructure Setup"],
  want: quotes.QuoteServiceSchema,
  asks: quotes.QUOTE_SERVICE_ASKS,
  parse: quotes.parseQuoteService,
  judge: judgeQuoteService,
  plan: (want, facts): Step[] => {
    const have = valueIfKnown(facts.packages);
    const { key, devices, pccs, qgs, qgsFile, socket } = facts;
    if (have === undefined || firstUnknown(key, devices, pccs, qgs, qgsFile, socket) !== undefined) return [];
    const step = (code: string, title: string, why: string, actions: Step["actions"]): Step => ({
      code: `quote-service.${code}`,
      title,
      why,
      disruption: actions.length === 0 ? "human" : "service",
      actions,
    });
    const run = (...argv: [string, ...string[]]) => ({ do: "run", argv }) as const;
    const listen = [
      { do: "write", path: quotes.QGS_FILE, content: quotes.QGS_TEXT },
      run("systemctl", "enable", ...quotes.UNITS),
      run("systemctl", "restart", ...quotes.UNITS),
    ] as const;
    const { registration } = facts;
    const open = registration.state !== "unknown" && (valueIfKnown(registration) ?? "open") === "open";
    // Not where the agent has ended before: the wait would take that end for this one's.
    const register = open ? [run("systemctl", "restart", quotes.REGISTRATION), quotes.AGENT_ENDS] : [];
    const { repository } = want;
    const fetch = repository === undefined || valueIfKnown(key) === repository.key.sha256 ? undefined : repository;
    // A step of its own, so that a run that is killed behind it finds the key there and fetches none.
    const fetched = fetch === undefined ? [] : [keyStep(fetch)];
    const lacking = missing(want, have);
    if (lacking.length > 0) {
      const source = repository && { path: quotes.sourcesFile(repository), content: quotes.sourcesText(repository) };
      const title = `install ${lacking.join(" ")}${open ? ", and register the platform with Intel" : ""}`;
      return [
        ...fetched,
        step("install", title, "TDs get no quotes without them", [
          ...(source === undefined ? [] : [{ do: "write", ...source } as const]),
          ...installPackages("debian", lacking),
          ...listen,
          ...register,
        ]),
      ];
    }
    const down = valueIfKnown(pccs) !== "active" || valueIfKnown(qgs) !== "active";
    const elsewhere = valueIfKnown(quotes.listening(facts)) !== "there";
    const title = `start PCCS and QGS, listening at ${quotes.QGS_SOCKET}`;
    return [
      ...fetched,
      ...(down || elsewhere
        ? [step("start", title, down ? "not active, or not at every boot" : "QGS does not listen there", listen)]
        : []),
      ...(open
        ? [step("register", "register the platform with Intel", "its log does not say that it is", register)]
        : []),
    ];
  },
  show: ({ pccs, qgs, registration, apiKey }) => ({
    pccs: valueIfKnown(pccs),
    qgs: valueIfKnown(qgs),
    registration: valueIfKnown(registration),
    apiKey: valueIfKnown(apiKey),
  }),
  examples: QUOTE_SERVICE_EXAMPLES,
  covers: [],
});
