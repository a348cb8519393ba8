import type { Answer } from "../kit/ask.ts";
import { failed, missing, ok } from "../kit/ask.ts";
import type { Example } from "../kit/facet.ts";
import { NO_MACHINE } from "../kit/guest.ts";
import type { NvidiaDriverWant } from "./nvidia-driver-plan.ts";

const want: NvidiaDriverWant = { kind: "packages", version: "580.", packages: ["nvidia-headless-580-server-open"] };
const runfile: NvidiaDriverWant = {
  kind: "runfile",
  version: "535.86",
  url: "https://example.org/cuda_12.2.0_535.86.06_linux.run",
  sha256: "c".repeat(64),
  args: ["-m=kernel-open"],
  prerequisites: ["gcc", "make"],
};
const modinfo = (version: string, license = "Dual MIT/GPL") =>
  ok(`filename:       /lib/modules/x/nvidia.ko\nversion:        ${version}\nlicense:        ${license}\n`);
const proc = (version: string, open = true) =>
  ok(
    `NVRM version: NVIDIA UNIX ${open ? "Open Kernel Module for x86_64" : "x86_64 Kernel Module"}  ${version}  Release Build\n`,
  );
const good: Readonly<Record<string, Answer>> = {
  module: modinfo("580.95.05"),
  loaded: proc("580.95.05"),
  held: ok("installed\tnvidia-headless-580-server-open\t\thold\n"),
  inService: missing,
};
const example = (
  name: string,
  answers: Readonly<Record<string, Answer>>,
  findings: readonly string[],
  steps: readonly string[],
  wanted: NvidiaDriverWant = want,
): Example<NvidiaDriverWant> => ({ name, want: wanted, answers: { ...good, ...answers }, findings, steps });

export const nvidiaDriverExamples: readonly Example<NvidiaDriverWant>[] = [
  example("loaded, open, held", {}, [], []),
  example(
    "no guest yet",
    { module: NO_MACHINE, loaded: NO_MACHINE, held: NO_MACHINE, inService: NO_MACHINE },
    ["nvidia-driver.installed", "nvidia-driver.loaded", "nvidia-driver.held"],
    ["nvidia-driver.install", "nvidia-driver.hold", "nvidia-driver.load"],
  ),
  example(
    "a fresh guest",
    { module: ok("", 1, "modinfo: ERROR: Module nvidia not found.\n"), loaded: missing, held: ok("") },
    ["nvidia-driver.installed", "nvidia-driver.loaded", "nvidia-driver.held"],
    ["nvidia-driver.install", "nvidia-driver.hold", "nvidia-driver.load"],
  ),
  example(
    "proprietary kernel modules: no CC mode with them",
    { module: modinfo("580.95.05", "NVIDIA"), loaded: proc("580.95.05", false) },
    ["nvidia-driver.installed", "nvidia-driver.loaded"],
    ["nvidia-driver.install", "nvidia-driver.restart"],
  ),
  example(
    "upgraded on disk, the old one still loaded",
    { loaded: proc("570.10.01") },
    ["nvidia-driver.loaded"],
    ["nvidia-driver.restart"],
  ),
  example("the guide's run file", { module: modinfo("535.86.05"), loaded: proc("535.86.05") }, [], [], runfile),
  example(
    "a fresh guest of the 2023 guide",
    { module: ok("", 1), loaded: missing },
    ["nvidia-driver.installed", "nvidia-driver.loaded"],
    ["nvidia-driver.install", "nvidia-driver.load"],
    runfile,
  ),
  example("an unknown wording", { loaded: ok("NVRM version: something new\n") }, ["nvidia-driver.loaded"], []),
  example(
    "modinfo cannot read the disk: whether there is a driver is not known, so none is installed over it",
    { module: ok("", 1, "modinfo: ERROR: could not get modinfo from 'nvidia': Input/output error\n") },
    ["nvidia-driver.installed"],
    [],
  ),
  example("no answer", { module: failed("connection lost") }, ["nvidia-driver.installed"], []),
];
