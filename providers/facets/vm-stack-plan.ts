import type { Step } from "../kit/facet.ts";
import { valueIfKnown } from "../kit/facts.ts";
import { download, holdPackages, installPackages, job } from "../kit/host.ts";
import type { VmStackFacts, VmStackWant } from "../kit/vm-stack.ts";
import * as stack from "../kit/vm-stack.ts";

const HOUR = 3600;

export const qemuOf = (want: VmStackWant, facts: VmStackFacts) =>
  want.kind === "packages" ? facts.distribution : facts.built;
/** Packages of the stack that an upgrade could replace. */
export const loose = (want: VmStackWant, held: readonly string[]) =>
  stack.stackPackages(want).filter((n) => !held.includes(n));

/** What is built from sources. */
export const parts = (want: Extract<VmStackWant, { kind: "build" }>): readonly ("qemu" | "ovmf")[] =>
  want.ovmf.kind === "git" ? ["qemu", "ovmf"] : ["qemu"];

/** Packages, holds, and builds of what is missing; nothing on unknown facts. */
export function planVmStack(want: VmStackWant, facts: VmStackFacts): Step[] {
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
}
