import type { Answer } from "../kit/ask.ts";
import { failed, missing, ok } from "../kit/ask.ts";
import type { AttestationWant } from "../kit/attestation-want.ts";
import { SWITCH_POLICY } from "../kit/attestation-want.ts";
import type { Example } from "../kit/facet.ts";
import { device, good, gpu, NO_POLICY, NONCE, said, want } from "./attestation-example-parts.ts";

/** Two NVSwitches beside the GPU. */
const nvswitch = {
  eat_nonce: NONCE,
  measres: "success",
  secboot: true,
  dbgstat: "disabled",
  hwmodel: "LS_10",
  "x-nvidia-device-type": "nvswitch",
  "x-nvidia-switch-attestation-report-nonce-match": true,
  "x-nvidia-switch-bios-version": "96.10.57.00.01",
};
const TWO_SWITCHES = ["0a", "0b"].map((bus) => gpu(bus).replace("0302", "0680").replace("2331", "22a3")).join("\n");
const withSwitches: AttestationWant = { ...want, switches: true };
const fabric = (
  name: string,
  answers: Readonly<Record<string, Answer>>,
  findings: readonly string[],
  steps: readonly string[] = [],
): Example<AttestationWant> => ({
  name,
  want: withSwitches,
  answers: {
    ...good,
    lspci: ok(`${gpu("01")}\n${TWO_SWITCHES}`),
    switchLocal: said(0, "Ok", [nvswitch, { ...nvswitch, ueid: "2" }]),
    switchLocalPolicy: ok(SWITCH_POLICY.text),
    ...answers,
  },
  findings,
  steps,
});

export const switchExamples: readonly Example<AttestationWant>[] = [
  fabric("the GPU and both NVSwitches pass", {}, []),
  fabric("one of two NVSwitches gave evidence", { switchLocal: said(0, "Ok", [nvswitch]) }, [
    "attestation.switch-devices",
  ]),
  fabric("evidence of a GPU is none of a switch", { switchLocal: said(0, "Ok", [device, { ...device, ueid: "2" }]) }, [
    "attestation.switch-malformed",
  ]),
  fabric(
    "an NVSwitch's answer, replayed",
    { switchLocal: said(0, "Ok", [nvswitch, { ...nvswitch, eat_nonce: "00" }]) },
    ["attestation.switch-nonce"],
  ),
  fabric("no RIM for the switches' BIOS", { switchLocal: said(104, "RIM not found", {}) }, ["attestation.switch-rim"]),
  fabric(
    "the switches' policy is not installed yet",
    { switchLocal: NO_POLICY, switchLocalPolicy: missing },
    ["attestation.policy-file", "attestation.switch-absent"],
    ["attestation.policy"],
  ),
  fabric("no answer of the switches", { switchLocal: failed("no answer within 150 s") }, [
    "attestation.switch-no-answer",
  ]),
];
