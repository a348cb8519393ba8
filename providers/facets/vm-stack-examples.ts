import { failed, missing, ok } from "../kit/ask.ts";
import { example } from "../kit/example.ts";
import type { VmStackWant } from "../kit/vm-stack.ts";

const OVMF = "/usr/share/ovmf/OVMF.fd";
const SUM = "ab".repeat(32);
const PACKAGES: VmStackWant = {
  kind: "packages",
  packages: ["qemu-system-x86", "ovmf"],
  qemu: "/usr/bin/qemu-system-x86_64",
  ovmf: OVMF,
  minQemu: "9.2",
};
const BUILD: VmStackWant = {
  kind: "build",
  qemu: { kind: "tarball", url: "https://download.qemu.org/qemu-9.2.4.tar.xz", sha256: SUM },
  ovmf: { kind: "package", package: "ovmf", path: OVMF },
  minQemu: "9.2",
};
const FORK: VmStackWant = {
  kind: "build",
  qemu: { kind: "git", url: "https://example.org/qemu.git", commit: "12".repeat(20) },
  ovmf: { kind: "git", url: "https://example.org/edk2.git", commit: "34".repeat(20) },
  minQemu: "6.1",
};
const TD: VmStackWant = {
  kind: "packages",
  packages: ["qemu-system-x86", "ovmf-inteltdx"],
  qemu: "/usr/bin/qemu-system-x86_64",
  ovmf: "/usr/share/ovmf/OVMF.inteltdx.ms.fd",
  minQemu: "10.1",
  tee: "tdx",
};
const TDX_LINUX = { url: "https://example.org/tdx-linux.git", commit: "56".repeat(20) };
/** QEMU with a series of commits on top, OVMF with its debug messages. */
const SERIES: VmStackWant = {
  kind: "build",
  qemu: {
    kind: "git",
    url: "https://example.org/qemu.git",
    commit: "900536d3e9".repeat(4),
    series: [{ from: TDX_LINUX, file: "tdx-qemu/tdx_qemu_baseline_900536d3e9.mbox" }],
  },
  ovmf: { kind: "git", url: "https://example.org/edk2.git", commit: "34".repeat(20), target: "DEBUG" },
  minQemu: "9.0",
  tee: "tdx",
};
const version = (v: string) => ok(`QEMU emulator version ${v} (Debian 1:${v})\nCopyright (c) 2003-2024\n`);
const objects = ok("List of user creatable objects:\n  sev-guest\n  sev-snp-guest\n  tdx-guest\n");
const common = {
  images: ok(`${SUM}  ${OVMF}\n`, 1),
  packages: ok("installed ovmf 2024.02-2\ninstalled qemu-system-x86 1:9.2.1\n", 1),
  held: ok("installed\tovmf\t\thold\ninstalled\tqemu-system-x86\t\thold\n"),
  recipes: ok("", 2),
  cores: ok("64\n"),
};
const packaged = { ...common, distribution: version("9.2.1"), distributionObjects: objects };
const recipe = ok(`/opt/teeup/qemu/recipe.json:${JSON.stringify(BUILD.qemu)}\n`, 2);
const built = { ...common, built: version("9.2.4"), builtObjects: objects, recipes: recipe };
const bare = { images: ok("", 1), packages: ok("", 1), held: ok(""), recipes: ok("", 2), cores: ok("64\n") };
const old = { ...packaged, distribution: version("8.2.2"), distributionObjects: ok("  sev-guest\n") };
const [qemu, sources, ovmf, held] = ["vm-stack.qemu", "vm-stack.recipe", "vm-stack.ovmf", "vm-stack.held"];

export const VM_STACK_EXAMPLES = [
  example("packages in place", PACKAGES, packaged),
  example("built and in place", BUILD, built),
  example("no packages", PACKAGES, bare, [qemu, ovmf, held], ["vm-stack.install", "vm-stack.hold"]),
  example("distribution's QEMU too old", PACKAGES, old, [qemu]),
  example(
    "nothing built",
    BUILD,
    bare,
    [qemu, sources, ovmf, held],
    ["vm-stack.install", "vm-stack.hold", "vm-stack.build-qemu"],
  ),
  example("forks to build", FORK, bare, [qemu, sources, ovmf], ["vm-stack.build-qemu", "vm-stack.build-ovmf"]),
  example("other sources", BUILD, { ...built, recipes: ok("", 2) }, [sources], ["vm-stack.build-qemu"]),
  example("QEMU and OVMF for TDs", TD, {
    ...packaged,
    distribution: version("10.2.1"),
    images: ok(`${SUM}  ${TD.ovmf}\n`, 1),
    packages: ok("installed ovmf-inteltdx 2025.11-3ubuntu7\ninstalled qemu-system-x86 1:10.2.1\n", 1),
    held: ok("installed\tovmf-inteltdx\t\thold\ninstalled\tqemu-system-x86\t\thold\n"),
  }),
  example(
    "a QEMU without TDX",
    TD,
    {
      ...packaged,
      distributionObjects: ok("  sev-snp-guest\n"),
      distribution: version("10.1.0"),
      images: ok(`${SUM}  ${TD.ovmf}\n`, 1),
      packages: ok("installed ovmf-inteltdx 2025.02-8\ninstalled qemu-system-x86 1:10.1.0\n", 1),
      held: ok("installed\tovmf-inteltdx\t\thold\ninstalled\tqemu-system-x86\t\thold\n"),
    },
    [qemu],
  ),
  example("a series to apply", SERIES, bare, [qemu, sources, ovmf], ["vm-stack.build-qemu", "vm-stack.build-ovmf"]),
  example("QEMU hangs", BUILD, { ...built, built: failed("no answer within 20 s") }, [qemu]),
  example("QEMU gone", BUILD, { ...built, built: missing }, [qemu], ["vm-stack.build-qemu"]),
];
