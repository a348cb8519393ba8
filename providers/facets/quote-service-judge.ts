import type { Finding } from "../kit/facet.ts";
import { valueIfKnown } from "../kit/facts.ts";
import { findingsOf } from "../kit/findings.ts";
import { judgeFact } from "../kit/judge.ts";
import type { QuoteServiceFacts, QuoteServiceWant } from "../kit/quote-service.ts";
import * as quotes from "../kit/quote-service.ts";

export const SOURCE = "canonical/tdx README, Setup Remote Attestation on Host OS and Inside TD";
const REGISTER = "canonical/tdx README, Register the platform";
const { pass, fail, unsure } = findingsOf("quote-service", SOURCE);
const RESET =
  "in the BIOS, Software Guard Extension (SGX): SGX Factory Reset = Enable, SGX Auto MP Registration = Enable; remove the log before";

/** Packages that are wanted and not there. */
export const missing = (want: QuoteServiceWant, have: readonly string[]) =>
  want.packages.filter((n) => !have.includes(n));

/** apt takes the archive's packages by this key, today's and every upgrade's. */
const keyFindings = ({ repository }: QuoteServiceWant, facts: QuoteServiceFacts): Finding[] =>
  repository === undefined
    ? []
    : [
        judgeFact(facts.key, {
          code: "quote-service.key",
          want: `the key of ${repository.url}`,
          hint: "teeup fetches it with the next up",
          source: SOURCE,
          good: (sum) => sum === repository.key.sha256,
          show: (sum) => `sha256 ${sum.slice(0, 12)}…`,
        }),
      ];

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

export function judgeQuoteService(want: QuoteServiceWant, facts: QuoteServiceFacts): Finding[] {
  const unit = (name: "pccs" | "qgs", title: string): Finding =>
    judgeFact(facts[name], {
      code: `quote-service.${name}`,
      want: `${title} is active`,
      hint: `journalctl -u ${name === "pccs" ? quotes.UNITS[0] : quotes.UNITS[1]}`,
      source: SOURCE,
      good: (state) => state === "active",
    });
  return [
    ...keyFindings(want, facts),
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
}
