import type { Finding, Step } from "../kit/facet.ts";
import { facet } from "../kit/facet.ts";
import { valueIfKnown } from "../kit/facts.ts";
import { unholdPackages } from "../kit/host.ts";
import { judgeFact } from "../kit/judge.ts";
import { compareVersions } from "../kit/parse-packages.ts";
import type { VmStackFacts, VmStackWant } from "../kit/vm-stack.ts";
import * as stack from "../kit/vm-stack.ts";
import { VM_STACK_EXAMPLES } from "./vm-stack-examples.ts";
import { loose, parts, planVmStack, qemuOf } from "./vm-stack-plan.ts";

const SOURCE = "seed 001, Downloading the GitHub Packages";
const VFIO = "kubevirt/kubevirt#16407: SNP needs QEMU 9.1, with VFIO 9.2";
const TDX = "seed 004, tdx-qemu and tdx-edk2; QEMU, docs/system/i386/tdx.rst";
const HELD = "seed 000; canonical/tdx#46";
/** What QEMU must know of; a QEMU of the first SNP trees has no object of its own for it. */
function starts(want: VmStackWant) {
  const name = want.tee === "tdx" ? "tdx-guest" : "sev-snp-guest";
  const can = (qemu: stack.QemuFacts) =>
    want.tee === "tdx" ? qemu.tdx : qemu.snp || compareVersions(want.minQemu, "9.1") < 0;
  const show = (qemu: stack.QemuFacts) => `version ${qemu.version}${can(qemu) ? "" : `, without ${name}`}`;
  return { name, can, show, source: want.tee === "tdx" ? TDX : VFIO };
}

/** QEMU and OVMF for confidential VMs. */
export const vmStack = facet<VmStackWant, VmStackFacts, typeof stack.VM_STACK_ASKS>({
  name: "vm-stack",
  type: "VmStack",
  on: "host",
  persona: "host",
  summary: "QEMU and OVMF that can start SEV-SNP guests or TDs: held packages, or built from pinned sources.",
  sources: [SOURCE, VFIO, TDX, HELD],
  want: stack.VmStackWantSchema,
  asks: stack.VM_STACK_ASKS,
  parse: stack.parseVmStack,
  judge: (want, facts): Finding[] => {
    const { qemu, ovmf } = stack.vmStackPaths(want);
    const names = stack.stackPackages(want);
    const guest = starts(want);
    return [
      judgeFact(qemuOf(want, facts), {
        code: "vm-stack.qemu",
        want: `${qemu}, version ${want.minQemu} or later, with ${guest.name}`,
        hint: "teeup installs or builds it with the next up",
        source: guest.source,
        good: (value) => compareVersions(value.version, want.minQemu) >= 0 && guest.can(value),
        show: guest.show,
      }),
      ...(want.kind === "packages"
        ? []
        : [
            judgeFact(facts.recipes, {
              code: "vm-stack.recipe",
              want: "built from the pinned sources",
              hint: "teeup builds it anew with the next up",
              source: SOURCE,
              good: (recipes) => parts(want).every((part) => stack.builtFrom(want, part, recipes)),
              show: (recipes) =>
                parts(want)
                  .map(
                    (part) =>
                      `${part}: ${stack.builtFrom(want, part, recipes) ? "as pinned" : "missing or other sources"}`,
                  )
                  .join(", "),
            }),
          ]),
      judgeFact(facts.images, {
        code: "vm-stack.ovmf",
        want: ovmf,
        hint: "teeup installs or builds it with the next up",
        source: SOURCE,
        good: (images) => images[ovmf] !== undefined,
        show: (images) => (images[ovmf] === undefined ? "missing" : `sha256 ${images[ovmf]?.slice(0, 12)}…`),
      }),
      ...(names.length === 0
        ? []
        : [
            judgeFact(facts.held, {
              code: "vm-stack.held",
              want: `${names.join(", ")} on hold`,
              hint: "teeup holds them with the next up: an upgrade would replace what guests were measured with",
              source: HELD,
              good: (held) => loose(want, held).length === 0,
              show: (held) =>
                loose(want, held)
                  .map((name) => `${name} is not held`)
                  .join(", ") || "held",
            }),
          ]),
    ];
  },
  plan: planVmStack,
  undo: (want, facts): Step[] => {
    const held = stack.stackPackages(want).filter((name) => valueIfKnown(facts.held)?.includes(name));
    if (held.length === 0) return [];
    const title = `let ${held.join(" ")} be upgraded again`;
    return [
      { code: "vm-stack.unhold", title, why: "deleted", disruption: "none", actions: [unholdPackages("debian", held)] },
    ];
  },
  show: (facts) => ({
    qemu: valueIfKnown(facts.built) ?? valueIfKnown(facts.distribution),
    packages: valueIfKnown(facts.packages),
  }),
  examples: VM_STACK_EXAMPLES,
  covers: [
    "001-HOST-09",
    "001-HOST-13",
    "001-HOST-29",
    ...[14, 15, 16, 17, 18, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43].map((n) => `004-${n}`),
  ],
});
