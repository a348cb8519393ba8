import { type Finding, facet, type Step } from "../kit/facet.ts";
import { valueIfKnown } from "../kit/facts.ts";
import { findingsOf, firstUnknown } from "../kit/findings.ts";
import { installPackages, job } from "../kit/host.ts";
import { judgeFact } from "../kit/judge.ts";
import type { QuoteServiceFacts, QuoteServiceWant } from "../kit/quote-service.ts";
import * as quotes from "../kit/quote-service.ts";
import { QUOTE_SERVICE_EXAMPLES } from "./quote-service-examples.ts";

const SOURCE = "canonical/tdx README, Setup Remote Attestation on Host OS and Inside TD";
const REGISTER = "canonical/tdx README, Register the platform";
const { pass, fail, unsure } = findingsOf("quote-service", SOURCE);
const RESET =
  "in the BIOS, Software Guard Extension (SGX): SGX Factory Reset = Enable, SGX Auto MP Registration = Enable; remove the log before";

const missing = (want: QuoteServiceWant, have: readonly string[]) => want.packages.filter((n) => !have.includes(n));

function registrationFinding({ registration, registrationError }: QuoteServiceFacts): Finding {
  const want = "the platform is registered with Intel";
  if (registration.state === "unknown") return unsure("registration", want, registration.why, quotes.REGISTRATION_LOG);
  const state = valueIfKnown(registration);
  if (state === "registered") return pass("registration", want, "passed successfully", REGISTER);
  if (state === "failed")
    return fail("registration-failed", want, registrationError ?? "an error in the log", RESET, REGISTER);
  const read = `read ${quotes.REGISTRATION_LOG}; when it is removed, the next up runs the agent again`;
  if (state === "unclear")
    return fail("registration-unclear", want, "the agent ended and says neither", read, REGISTER);
  const hint = `systemctl restart ${quotes.REGISTRATION}; it needs the way to api.trustedservices.intel.com`;
  return fail("registration", want, "nothing in its log yet", hint, REGISTER);
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
  judge: (want, facts): Finding[] => {
    const unit = (name: "pccs" | "qgs", title: string): Finding =>
      judgeFact(facts[name], {
        code: `quote-service.${name}`,
        want: `${title} is active`,
        hint: `journalctl -u ${name === "pccs" ? quotes.UNITS[0] : quotes.UNITS[1]}`,
        source: SOURCE,
        good: (state) => state === "active",
      });
    return [
      judgeFact(facts.devices, {
        code: "quote-service.sgx",
        want: quotes.DEVICES.join(" and "),
        hint: "SGX on in the BIOS (bios checklist), then restart",
        source: `${SOURCE}, Verify the Intel SGX devices`,
        good: (devices) => devices.length === quotes.DEVICES.length,
        show: (devices) => devices.join(", ") || "neither is there",
      }),
      judgeFact(facts.packages, {
        code: "quote-service.packages",
        want: want.packages.join(", "),
        hint: "teeup installs them with the next up",
        source: SOURCE,
        good: (have) => missing(want, have).length === 0,
        show: (have) => (missing(want, have).length === 0 ? "installed" : `missing: ${missing(want, have).join(", ")}`),
      }),
      unit("pccs", "the provisioning certificate cache (PCCS)"),
      unit("qgs", "the quote generation service (QGS)"),
      judgeFact(quotes.listening(facts), {
        code: "quote-service.socket",
        want: `QGS listens at ${quotes.QGS_SOCKET}, where QEMU and libvirt look`,
        hint: `teeup takes the port out of ${quotes.QGS_FILE} with the next up`,
        source: "libvirt, Domain XML format, quoteGenerationService",
        good: (where) => where === "there",
      }),
      registrationFinding(facts),
      judgeFact(facts.apiKey, {
        code: "quote-service.api-key",
        want: "PCCS has a key of Intel's provisioning service",
        hint: "a person with a subscription key: sudo pccs-configure, then systemctl restart pccs",
        source: `${SOURCE}, Configure the PCCS service`,
        good: (has) => has,
        show: (has) => (has ? "there is one" : "none: it can only serve what is cached"),
        level: "warn",
      }),
    ];
  },
  plan: (want, facts): Step[] => {
    const have = valueIfKnown(facts.packages);
    const { devices, pccs, qgs, qgsFile, socket } = facts;
    if (have === undefined || firstUnknown(devices, pccs, qgs, qgsFile, socket) !== undefined) return [];
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
    // Never where the agent has ended once: the wait would take that end for this one's.
    const { registration } = facts;
    const open = registration.state !== "unknown" && (valueIfKnown(registration) ?? "open") === "open";
    // Not where the agent has ended before: the wait would take that end for this one's.
    const register = open ? [run("systemctl", "restart", quotes.REGISTRATION), quotes.AGENT_ENDS] : [];
    const lacking = missing(want, have);
    if (lacking.length > 0) {
      const { repository } = want;
      const key = repository && quotes.keyLines(repository);
      const source = repository && { path: quotes.sourcesFile(repository), content: quotes.sourcesText(repository) };
      const title = `install ${lacking.join(" ")}${open ? ", and register the platform with Intel" : ""}`;
      return [
        step("install", title, "TDs get no quotes without them", [
          ...(key === undefined ? [] : [key.checks, ...job("quote-service-key", key.lines, 300)]),
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
