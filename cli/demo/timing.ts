import Table from "cli-table3";
import type { Part } from "./pulumi.ts";

/** Facets in the groups in which a person thinks of them; whatever is in none stands alone. */
const GROUPS: readonly (readonly [string, RegExp])[] = [
  ["look at the whole node", /-plan$/],
  ["hardware and BIOS", /-(cpu|bios)$/],
  ["the instance's own system", /-instance-system$/],
  [
    "kernel and host, staged",
    /-(packages|kernel-build|kernel|kernel-cmdline|module-options|sev-firmware|vm-stack|libvirt)$/,
  ],
  ["restart of the host", /-host-boot$/],
  ["evidence of SNP or TDX", /-(snp|tdx)-ready$/],
  ["quotes for TDs", /-quote-service$/],
  ["GPU", /-(gpu-inventory|gpu-tools|gpu-cc-mode|vfio-binding)$/],
  ["confidential VM", /-(guest-image|confidential-vm)$/],
  [
    "guest",
    /-(guest-kernel|lkca|nvidia-driver|fabric-manager|nvidia-persistenced|gpu-agents|cuda-toolkit|guest-evidence)$/,
  ],
  ["attestation", /-(tdx-quote|attestation-tool|attestation|gpu-ready-state)$/],
];

export interface Took {
  readonly what: string;
  readonly seconds: number;
}

/** How long each group took, in the order in which they came. Components and the stack itself only contain others. */
export function groupTimes(parts: readonly Part[]): Took[] {
  const took = new Map<string, number>();
  for (const part of parts.filter((p) => p.type.startsWith("pulumi-nodejs:dynamic"))) {
    const what = GROUPS.find(([, pattern]) => pattern.test(part.name))?.[0] ?? part.name;
    took.set(what, (took.get(what) ?? 0) + part.seconds);
  }
  return [...took].map(([what, seconds]) => ({ what, seconds }));
}

export function renderTimes(rows: readonly Took[]): string {
  const table = new Table({ colAligns: ["left", "right"], style: { head: [], border: [], compact: true } });
  for (const { what, seconds } of rows) table.push([what, `${seconds.toFixed(1)} s`]);
  return table.toString();
}
