import type { Answer } from "../kit/ask.ts";
import { failed, missing, ok } from "../kit/ask.ts";
import type { Example } from "../kit/facet.ts";
import { NO_MACHINE } from "../kit/guest.ts";

const NONCE = "5c".repeat(32);
const said = (code: number): Answer => ({
  kind: "ran",
  status: code,
  stdout: JSON.stringify({
    result_code: code,
    result_message: "",
    claims: [
      {
        eat_nonce: NONCE,
        measres: "success",
        hwmodel: "GH100",
        "x-nvidia-device-type": "gpu",
        "x-nvidia-gpu-attestation-report-nonce-match": true,
        "x-nvidia-gpu-driver-version": "580.95.05",
        "x-nvidia-gpu-vbios-version": "96.00.5E.00.01",
      },
    ],
  }),
  stderr: "",
  nonce: NONCE,
});
const NO_POLICY: Answer = { kind: "skipped", why: "no policy is installed for this method" };
const state = (s: string) => ok(`\nConfidential Compute GPUs Ready state: ${s}\n\n`);
const good: Readonly<Record<string, Answer>> = {
  lspci: ok("Slot:\t0000:01:00.0\nClass:\t0302\nVendor:\t10de\nDevice:\t2331\n"),
  local: said(0),
  remote: NO_POLICY,
  sdk: NO_POLICY,
  switchLocal: NO_POLICY,
  switchRemote: NO_POLICY,
  state: state("ready"),
  inService: ok("…\n"),
};
type Want = Record<string, never>;
const example = (
  name: string,
  answers: Readonly<Record<string, Answer>>,
  findings: readonly string[],
  steps: readonly string[] = [],
): Example<Want> => ({ name, want: {}, answers: { ...good, ...answers }, findings, steps });

const fabric = {
  lspci: ok(
    "Slot:\t0000:01:00.0\nClass:\t0302\nVendor:\t10de\nDevice:\t2335\n\nSlot:\t0000:0a:00.0\nClass:\t0680\nVendor:\t10de\nDevice:\t22a3\n",
  ),
};
const saidBySwitch = (code: number): Answer => ({
  kind: "ran",
  status: code,
  stdout: JSON.stringify({
    result_code: code,
    result_message: "",
    claims: [
      {
        eat_nonce: NONCE,
        measres: "success",
        hwmodel: "LS_10",
        "x-nvidia-device-type": "nvswitch",
        "x-nvidia-switch-attestation-report-nonce-match": true,
        "x-nvidia-switch-bios-version": "96.10.57.00.01",
      },
    ],
  }),
  stderr: "",
  nonce: NONCE,
});

export const gpuReadyStateExamples: readonly Example<Want>[] = [
  example("ready and attested", {}, []),
  example(
    "no guest yet",
    { local: NO_MACHINE, remote: NO_MACHINE, sdk: NO_MACHINE, state: NO_MACHINE, inService: NO_MACHINE },
    ["gpu-ready-state.absent"],
    ["gpu-ready-state.set"],
  ),
  example(
    "attested, not ready: after every start of the guest",
    { state: state("not-ready") },
    ["gpu-ready-state.not-ready"],
    ["gpu-ready-state.set"],
  ),
  example("not attested: never set", { state: state("not-ready"), local: said(11) }, ["gpu-ready-state.not-attested"]),
  example("no answer from the attestation: never set", { state: state("not-ready"), local: failed("time-out") }, [
    "gpu-ready-state.not-attested",
  ]),
  example("no tool: never set", { state: state("not-ready"), local: missing }, ["gpu-ready-state.not-attested"]),
  example("ready, but the attestation fails now", { local: said(204) }, ["gpu-ready-state.unattested"]),
  example("ready, but not marked", { inService: missing }, ["gpu-ready-state.mark"], ["gpu-ready-state.mark"]),
  example("a guest with NVSwitches that never attested themselves", { ...fabric, state: state("not-ready") }, [
    "gpu-ready-state.not-attested",
  ]),
  example("GPUs and NVSwitches attested", { ...fabric, switchLocal: saidBySwitch(0) }, []),
  example("the GPUs did, a switch did not", { ...fabric, switchLocal: saidBySwitch(104), state: state("not-ready") }, [
    "gpu-ready-state.not-attested",
  ]),
  example("persistenced still starts", { state: { kind: "skipped", why: "nvidia-persistenced is not active yet" } }, [
    "gpu-ready-state.unknown",
  ]),
];
