import type { Answer } from "../kit/ask.ts";
import { failed, missing, ok } from "../kit/ask.ts";
import type { Example } from "../kit/facet.ts";
import { NO_MACHINE } from "../kit/guest.ts";
import type { FabricManagerWant } from "./fabric-manager-plan.ts";

const want: FabricManagerWant = { version: "580.", packages: ["nvidia-fabricmanager-580"], files: [] };
/** Seed 003's recipe. */
const files: FabricManagerWant = {
  version: "570.195.03",
  packages: [],
  files: ["nvidia-fabricmanager-570_570.195.03-1_amd64.deb", "libnvidia-nscq-570_570.195.03-1_amd64.deb"].map((f) => ({
    url: `https://example.org/${f}`,
    sha256: "d".repeat(64),
  })),
};
const state = (active: string, enabled = "enabled") =>
  ok(`ActiveState=${active}\nUnitFileState=${enabled}\nNeedDaemonReload=no\n`);
const driver = (version: string) =>
  ok(`NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  ${version}  Release Build\n`);
const good: Readonly<Record<string, Answer>> = {
  lspci: ok("Slot:\t0000:0a:00.0\nClass:\t0680\nVendor:\t10de\nDevice:\t22a3\n"),
  version: ok("Fabric Manager version is : 580.95.05\n"),
  loaded: driver("580.95.05"),
  nscq: ok(""),
  state: state("active"),
  os: ok('ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n'),
  aptHeld: ok("installed\tnvidia-fabricmanager-580\t\thold\n"),
  inService: missing,
  ready: ok("Confidential Compute GPUs Ready state: not-ready\n"),
  nvidia: ok(""),
};
const example = (
  name: string,
  answers: Readonly<Record<string, Answer>>,
  findings: readonly string[],
  steps: readonly string[],
  wanted = want,
): Example<FabricManagerWant> => ({ name, want: wanted, answers: { ...good, ...answers }, findings, steps });

export const fabricManagerExamples: readonly Example<FabricManagerWant>[] = [
  example("active, of the driver's version, held", {}, [], []),
  example(
    "no guest yet",
    Object.fromEntries(Object.keys(good).map((name) => [name, NO_MACHINE])),
    ["switches", "version", "held", "enabled", "active"].map((what) => `fabric-manager.${what}`),
    ["fabric-manager.install", "fabric-manager.hold", "fabric-manager.start"],
  ),
  example(
    "missing",
    { version: missing, state: state("inactive", ""), aptHeld: ok("") },
    ["fabric-manager.version", "fabric-manager.held", "fabric-manager.enabled", "fabric-manager.active"],
    ["fabric-manager.install", "fabric-manager.hold", "fabric-manager.start"],
  ),
  example(
    "the archive is ahead of the held driver: it refuses to start",
    { version: ok("Fabric Manager version is : 580.105.08\n"), state: state("failed") },
    ["fabric-manager.version", "fabric-manager.active"],
    ["fabric-manager.install", "fabric-manager.start"],
  ),
  example(
    "not started at boot",
    { state: state("active", "disabled") },
    ["fabric-manager.enabled"],
    ["fabric-manager.start"],
  ),
  example(
    "the guest has no NVSwitches",
    { lspci: ok("Slot:\t0000:01:00.0\nClass:\t0302\nVendor:\t10de\nDevice:\t2335\n") },
    ["fabric-manager.switches"],
    [],
  ),
  example(
    "seed 003's files, with NSCQ",
    {
      version: ok("Fabric Manager version is : 570.195.03\n"),
      loaded: driver("570.195.03"),
      nscq: ok("libnvidia-nscq.so.2\nlibnvidia-nscq.so.2.0\nlibnvidia-nscq.so.570.195.03\n"),
      aptHeld: ok(""),
    },
    [],
    [],
    files,
  ),
  example(
    "NSCQ is missing",
    { version: ok("Fabric Manager version is : 570.195.03\n"), loaded: driver("570.195.03"), aptHeld: ok("") },
    ["fabric-manager.nscq"],
    ["fabric-manager.install"],
    files,
  ),
  example("another wording", { version: ok("something new\n") }, ["fabric-manager.version"], []),
  example("no answer", { state: failed("connection lost") }, ["fabric-manager.enabled", "fabric-manager.active"], []),
];
