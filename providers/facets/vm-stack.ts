import type { Finding, Step } from "../kit/facet.ts";
import { facet } from "../kit/facet.ts";
import { valueIfKnown } from "../kit/facts.ts";
import { download, holdPackages, installPackages, job, unholdPackages } from "../kit/host.ts";
import { judgeFact } from "../kit/judge.ts";
import { compareVersions } from "../kit/parse-packages.ts";
import type { VmStackFacts, VmStackWant } from "../kit/vm-stack.ts";
import * as stack from "../kit/vm-stack.ts";
import { VM_STACK_EXAMPLES } from "./vm-stack-examples.ts";

const SOURCE = "seed 001, Downloading the GitHub Packages";
const VFIO = "kubevirt/kubevirt#16407: SNP needs QEMU 9.1, with VFIO 9.2";
const HELD = "seed 000; canonical/tdx#46";
const HOUR = 3600;

const qemuOf = (want: VmStackWant, facts: VmStackFacts) =>
  want.kind === "packages" ? facts.distribution : facts.built;
const loose = (want: VmStackWant, held: readonly string[]) =>
  stack.stackPackages(want).filter((n) => !held.includes(n));

/** QEMU and OVMF for confidential VMs. */
export const vmStack = facet<VmStackWant, VmStackFacts, typeof stack.VM_STACK_ASKS>({
  name: "vm-stack",
  type: "VmStack",
  on: "host",
  persona: "host",
  summary: "QEMU and OVMF that can start SEV-SNP guests: held packages, or built from pinned sources.",
  sources: [SOURCE, VFIO, HELD],
  want: stack.VmStackWantSchema,
  asks: stack.VM_STACK_ASKS,
  parse: stack.parseVmStack,
  judge: (want, facts): Finding[] => {
    const { qemu, ovmf } = stack.vmStackPaths(want);
    const names = stack.stackPackages(want);
    const snp = (value: stack.Qemu) => value.snp || compareVersions(want.minQemu, "9.1") < 0;
    return [
      judgeFact(qemuOf(want, facts), {
        code: "vm-stack.qemu",
        want: `${qemu}, version ${want.minQemu} or later, with sev-snp-guest`,
        hint: "teeup installs or builds it with the next up",
        source: VFIO,
        good: (value) => compareVersions(value.version, want.minQemu) >= 0 && snp(value),
        show: (value) => `version ${value.version}${value.snp ? "" : ", without sev-snp-guest"}`,
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
  plan: (want, facts): Step[] => {
    const [packages, held, recipes, cores] = [
      valueIfKnown(facts.packages),
      valueIfKnown(facts.held),
      facts.recipes.state === "absent" ? {} : valueIfKnown(facts.recipes),
      valueIfKnown(facts.cores),
    ];
    const qemu = qemuOf(want, facts);
    if (packages === undefined || held === undefined || recipes === undefined || cores === undefined) return [];
    if (qemu.state === "unknown" || facts.images.state === "unknown") return [];
    const missing = stack.stackPackages(want).filter((name) => packages[name] === undefined);
    const free = loose(want, held);
    const step = (code: string, title: string, why: string, actions: Step["actions"], service = false): Step[] => [
      { code: `vm-stack.${code}`, title, why, disruption: service ? "service" : "none", actions },
    ];
    const built = (part: "qemu" | "ovmf") =>
      want.kind === "build" &&
      stack.builtFrom(want, part, recipes) &&
      (part === "qemu"
        ? qemu.state === "known"
        : valueIfKnown(facts.images)?.[stack.vmStackPaths(want).ovmf] !== undefined);
    return [
      ...(missing.length === 0
        ? []
        : step("install", `install ${missing.join(" ")}`, "missing", installPackages("debian", missing), true)),
      ...(free.length === 0 ? [] : step("hold", `hold ${free.join(" ")}`, "pinned", [holdPackages("debian", free)])),
      ...(want.kind !== "build"
        ? []
        : parts(want)
            .filter((part) => !built(part))
            .flatMap((part) => {
              const source = want[part];
              if (source.kind === "package") return [];
              const from = source.kind === "git" ? `${source.url} at ${source.commit.slice(0, 12)}` : source.url;
              const lines = part === "qemu" ? stack.qemuLines(want, cores) : stack.ovmfLines(want, cores);
              const checks = source.kind === "tarball" ? [download(source.url, source.sha256).checks] : [];
              return step(`build-${part}`, `build ${part === "qemu" ? "QEMU" : "OVMF"} from ${from}`, "missing", [
                ...checks,
                stack.recipeDraft(want, part),
                ...job(`${part}-build`, lines, 2 * HOUR),
              ]);
            })),
    ];
  },
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
  covers: ["001-HOST-09", "001-HOST-13", "001-HOST-29"],
});

/** What is built from sources. */
const parts = (want: Extract<VmStackWant, { kind: "build" }>): readonly ("qemu" | "ovmf")[] =>
  want.ovmf.kind === "git" ? ["qemu", "ovmf"] : ["qemu"];
