import type { Step } from "../kit/facet.ts";
import { facet } from "../kit/facet.ts";
import { valueIfKnown } from "../kit/facts.ts";
import { holdPackages, installPackageFile, installPackages, lockPlugin, unholdPackages } from "../kit/host.ts";
import { judgeFact } from "../kit/judge.ts";
import type { KernelFacts, KernelWant } from "../kit/kernel.ts";
import { KERNEL_ASKS, KernelWantSchema, loose, optionFaults, parseKernel, toHold } from "../kit/kernel.ts";
import { entryOf } from "../kit/parse-grub.ts";
import { compareVersions } from "../kit/parse-packages.ts";
import { KERNEL_EXAMPLES } from "./kernel-examples.ts";

const SOURCE = "seed 001, Installing the Host OS";
const VALIDATING = "seed 001, Validating the Host Detects SNP";
const AUTO_UPGRADE = "seed 000, Guest Side; canonical/tdx#46";

/** The host's kernel: installed, held, and running after the next restart. */
export const kernel = facet<KernelWant, KernelFacts, typeof KERNEL_ASKS>({
  name: "kernel",
  type: "Kernel",
  on: "host",
  persona: "host",
  summary: "The pinned kernel: installed, held against upgrades, tried once before it becomes the default.",
  sources: [SOURCE, VALIDATING, AUTO_UPGRADE],
  want: KernelWantSchema,
  asks: KERNEL_ASKS,
  parse: parseKernel,
  judge: (want, facts) => {
    const newer = compareVersions(valueIfKnown(facts.running) ?? "", want.release) > 0;
    const installed = judgeFact(facts.images, {
      code: "kernel.installed",
      want: `kernel ${want.release} in /boot`,
      hint: "teeup installs it with the next up",
      source: SOURCE,
      good: (images) => images.includes(want.release),
      show: (images) => images.join(", ") || "none",
    });
    const config = judgeFact(facts.configs, {
      code: "kernel.config",
      want: [...want.config, ...(want.configOff ?? []).map((option) => `no ${option}`)].join(", "),
      hint: "build the kernel with these options",
      source: `${VALIDATING}, step 2`,
      good: (configs) => optionFaults(want, configs).length === 0,
      show: (configs) => optionFaults(want, configs).join(", ") || "as wanted",
    });
    return [
      installed,
      ...(want.config.length + (want.configOff?.length ?? 0) > 0 && installed.level === "pass" ? [config] : []),
      judgeFact(facts.held, {
        code: "kernel.held",
        want: "its packages, and those that would bring another kernel, on hold",
        hint: "teeup holds them with the next up; an upgrade would take the node off its pinned kernel",
        source: AUTO_UPGRADE,
        good: (held) => loose(want, facts, held).length === 0,
        show: (held) =>
          loose(want, facts, held)
            .map((name) => `${name} is not held`)
            .join(", ") || "held",
      }),
      judgeFact(facts.running, {
        code: newer ? "kernel.upgraded" : "kernel.running",
        want: `uname -r shows ${want.release}`,
        hint: `${newer ? "an upgrade replaced the pinned kernel; " : ""}restart the host: permit reboot and up`,
        source: `${VALIDATING}, step 1`,
        good: (running) => running === want.release,
        // What waits for a restart is host-boot's to bring about.
        level: "warn",
      }),
    ];
  },
  plan: (want, facts): Step[] => {
    const [images, packages, held] = [
      valueIfKnown(facts.images),
      valueIfKnown(facts.packages),
      valueIfKnown(facts.held),
    ];
    const family = valueIfKnown(facts.family);
    if (images === undefined || packages === undefined || held === undefined || family === undefined) return [];
    const there = images.includes(want.release) && want.packages.every((name) => packages.includes(name));
    const free = loose(want, facts, held);
    const step = (code: string, title: string, why: string, actions: Step["actions"]): Step[] => [
      { code, title, why, disruption: "none", actions },
    ];
    const install =
      want.file === undefined ? installPackages(family, want.packages) : installPackageFile(family, want.file);
    const steps = [
      ...(there ? [] : step("kernel.install", `install kernel ${want.release}`, "it is not in /boot", install)),
      ...(free.length === 0
        ? []
        : step(
            "kernel.hold",
            `hold kernel ${[want.release, ...free.filter((n) => !want.packages.includes(n))].join(", ")}`,
            "an upgrade would replace the kernel",
            [...lockPlugin(facts.holds), holdPackages(family, free)],
          )),
    ];
    // A lock of dnf is by name: while another version of a kernel's package is locked, this one is not to be had.
    return family === "rpm" && want.file === undefined ? steps.reverse() : steps;
  },
  undo: (want, facts): Step[] => {
    const held = toHold(want, facts).filter((name) => valueIfKnown(facts.held)?.includes(name));
    if (held.length === 0) return [];
    const title = `let ${held.join(" ")} be upgraded again`;
    return [
      {
        code: "kernel.unhold",
        title,
        why: "deleted",
        disruption: "none",
        actions: [unholdPackages(valueIfKnown(facts.family) ?? "debian", held)],
      },
    ];
  },
  pending: (want, facts) => {
    const running = valueIfKnown(facts.running);
    // A kernel that lacks what the node needs is not tried at all.
    const unfit =
      facts.configs.state === "known" &&
      want.release in facts.configs.value &&
      optionFaults(want, facts.configs.value).length > 0;
    if (running === undefined || running === want.release || unfit) return { reasons: [], boots: 0 };
    const entry = facts.grub.state === "known" ? entryOf(facts.grub.value, want.release) : undefined;
    return {
      reasons: [`kernel ${running} runs, ${want.release} is wanted`],
      boots: 1,
      ...(entry === undefined ? {} : { trial: { entry, kernel: want.release } }),
    };
  },
  show: (facts) => ({ running: valueIfKnown(facts.running), images: valueIfKnown(facts.images) }),
  examples: KERNEL_EXAMPLES,
  covers: [
    "000-18",
    "001-HOST-28",
    "001-HOST-30",
    "001-HOST-32",
    "001-HOST-33",
    ...["22", "23", "24", "26"].map((n) => `004-${n}`),
  ],
});
