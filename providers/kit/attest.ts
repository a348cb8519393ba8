import type { Answer, Answers, Ask } from "./ask.ts";
import { text } from "./ask.ts";
import type { Fact } from "./facts.ts";
import { absent, known, mapFact, unknown } from "./facts.ts";
import { parsed } from "./findings.ts";
import { GPU_GATES } from "./guest.ts";
import { isGpu, isNvSwitch, LSPCI, parseLspci } from "./parse-lspci.ts";
import type { Verdict } from "./parse-nvattest.ts";
import { forAll, parseNvattest, parsePythonSdk } from "./parse-nvattest.ts";
import { ATTEST_PY, VENV } from "./python-attest.ts";

/**
 * Where the policy lies says how to attest: questions are the same for every node, so the one whose policy file is
 * there is the one that is asked.
 */
export const POLICY_FILES = {
  local: "/etc/teeup/attestation/local.rego",
  remote: "/etc/teeup/attestation/remote.rego",
  sdk: "/etc/teeup/attestation/policy.json",
  switchLocal: "/etc/teeup/attestation/switch-local.rego",
  switchRemote: "/etc/teeup/attestation/switch-remote.rego",
} as const;
export type Method = keyof typeof POLICY_FILES;
export const METHODS = Object.keys(POLICY_FILES) as readonly Method[];
/** What a method attests. */
export const DEVICE_OF = {
  local: "gpu",
  remote: "gpu",
  sdk: "gpu",
  switchLocal: "nvswitch",
  switchRemote: "nvswitch",
} as const satisfies Record<Method, "gpu" | "nvswitch">;

const NO_POLICY = "no policy is installed for this method";
const gated = (method: Method, argv: readonly [string, ...string[]]) =>
  ({
    kind: "argv",
    argv,
    timeoutSeconds: 150,
    maxBytes: 2_097_152,
    gates: [{ argv: ["test", "-f", POLICY_FILES[method]], exit: 0, why: NO_POLICY }, ...GPU_GATES],
  }) as const satisfies Ask;
const nvattest = (method: Exclude<Method, "sdk">, verifier: "local" | "remote") =>
  gated(method, [
    ...(["nvattest", "attest", "--device", DEVICE_OF[method], "--verifier", verifier, "--nonce", "@nonce@"] as const),
    ...["--relying-party-policy", POLICY_FILES[method], "--format", "json", "--log-level", "error"],
  ]);

/** Asked by every facet that must know the verdict; one question per observation, whoever asks. */
export const ATTEST_ASKS = {
  local: nvattest("local", "local"),
  remote: nvattest("remote", "remote"),
  sdk: gated("sdk", [`${VENV}/bin/python3`, ATTEST_PY, "@nonce@", POLICY_FILES.sdk]),
  switchLocal: nvattest("switchLocal", "local"),
  switchRemote: nvattest("switchRemote", "remote"),
  /** How many GPUs and NVSwitches there are to attest, from the bus: the driver may have left one out. */
  lspci: LSPCI,
} as const;

/**
 * The verdict of one method. Absent: the tool or its policy is not installed, or there is no guest. Unknown: the GPU
 * is not ready to be asked, or no answer came in time. Everything that did answer is a verdict, and fails closed.
 */
export function verdictOf(method: Method, answers: Answers<typeof ATTEST_ASKS>): Fact<Verdict> {
  const answer: Answer = answers[method];
  if (answer.kind === "skipped" && answer.why === NO_POLICY) return absent;
  if (answer.kind !== "ran") {
    const fact = text(answer);
    return fact.state === "known" ? unknown("no verdict") : fact;
  }
  // The exit status says nothing: nvattest cuts its result code to eight bits.
  const device = DEVICE_OF[method];
  const verdict =
    method === "sdk" ? parsePythonSdk(answer.stdout, answer.nonce) : parseNvattest(answer.stdout, answer.nonce, device);
  if (verdict.verdict === "fail") return known(verdict);
  const devices = parsed(text(answers.lspci), parseLspci, "lspci");
  if (devices.state === "known") {
    return known(forAll(verdict, devices.value.filter(device === "gpu" ? isGpu : isNvSwitch).length, device));
  }
  return unknown(`the guest's devices could not be counted: ${devices.state === "unknown" ? devices.why : "no lspci"}`);
}

export type Verdicts = Readonly<Record<Method, Fact<Verdict>>>;
export const verdictsOf = (answers: Answers<typeof ATTEST_ASKS>): Verdicts => ({
  local: verdictOf("local", answers),
  remote: verdictOf("remote", answers),
  sdk: verdictOf("sdk", answers),
  switchLocal: verdictOf("switchLocal", answers),
  switchRemote: verdictOf("switchRemote", answers),
});

/** NVSwitches of the guest: where there are some, its GPUs talk through them. */
export const switchesOf = (answers: Answers<typeof ATTEST_ASKS>): Fact<number> =>
  mapFact(parsed(text(answers.lspci), parseLspci, "lspci"), (list) => list.filter(isNvSwitch).length);
