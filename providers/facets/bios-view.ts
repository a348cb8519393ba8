import { z } from "zod";
import type { Answer } from "../kit/ask.ts";
import type { BiosSnapshot } from "../kit/bios.ts";
import { BiosSnapshotJson, isBiosAttributeKept, NO_BMC } from "../kit/bios.ts";
import type { Finding } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { absent, known, unknown, valueIfKnown } from "../kit/facts.ts";
import type { BiosEvidence } from "./bios-evidence.ts";
import type { BiosMenu } from "./bios-menus.ts";
import { biosMenu } from "./bios-menus.ts";
import type { BiosResolution, BiosTarget } from "./bios-resolve.ts";
import { resolveBios } from "./bios-resolve.ts";
import type { BiosVendor } from "./bios-vendors.ts";
import { BIOS_KEYS, BIOS_VENDORS, SNP_VENDORS } from "./bios-vendors.ts";
import { TDX_VENDORS } from "./bios-vendors-tdx.ts";

export const BiosWant = z.strictObject({
  tee: z.enum(["sev-snp", "tdx"]).default("sev-snp").describe("What the BIOS must allow."),
  vendor: z.enum(BIOS_VENDORS).optional().describe("Whose attribute names to use; default: as the BMC or DMI says."),
  minSevAsid: z
    .int()
    .min(2)
    .max(1007)
    .optional()
    .describe("First ASID of plain SEV guests: the ones below are for SEV-ES and SNP. Default: 509 on Dell, else 100."),
  names: z
    .partialRecord(z.enum(BIOS_KEYS), z.string().min(1))
    .default({})
    .describe("Exact attribute names, for a board where two attributes fit."),
  extra: z
    .record(
      z
        .string()
        .refine(
          (n) => isBiosAttributeKept(n),
          "not among the attributes TeeUp reads: memory encryption, TDX, SGX, virtualisation, IOMMU, address windows, Secure Boot",
        ),
      z.union([z.string(), z.number(), z.boolean()]),
    )
    .default({})
    .describe("Further BIOS attributes by exact name."),
});
export type BiosWant = z.infer<typeof BiosWant>;

export interface BiosFacts {
  /** Absent: the node has no BMC. */
  readonly bmc: Fact<BiosSnapshot>;
  readonly evidence: BiosEvidence;
}

export interface BiosView {
  readonly vendor: BiosVendor | undefined;
  readonly menu: BiosMenu;
  readonly minSevAsid: number;
  /** Absent when the settings cannot be read: no BMC, or no public names for this board. */
  readonly bios?: BiosResolution;
}

/** Whose board it is and what its BMC says of the wanted settings. */
export function view(want: BiosWant, { bmc, evidence }: BiosFacts): BiosView {
  const snapshot = valueIfKnown(bmc);
  const dmi = valueIfKnown(evidence.dmi);
  const vendors = want.tee === "tdx" ? TDX_VENDORS : SNP_VENDORS;
  const makers = [snapshot?.manufacturer, dmi?.vendor, dmi?.boardVendor].filter((m) => m !== undefined && m !== "");
  const maker = makers.map((m) => vendors.find((v) => v.manufacturer.test(m ?? ""))).find((v) => v !== undefined);
  const vendor = want.vendor === undefined ? maker : vendors.find((v) => v.id === want.vendor);
  const minSevAsid = want.minSevAsid ?? vendor?.minSevAsid ?? 100;
  const menu = biosMenu(want.tee, vendor?.id);
  if (snapshot === undefined || vendor === undefined || vendor.settings.length === 0)
    return { vendor, menu, minSevAsid };
  return { vendor, menu, minSevAsid, bios: resolveBios(snapshot, { ...want, settings: vendor.settings, minSevAsid }) };
}

export function parseBmc(answer: Answer): BiosFacts["bmc"] {
  if (answer.kind === "missing" || answer.kind === "no-machine") return absent;
  if (answer.kind !== "ran") return answer.why === NO_BMC ? absent : unknown(answer.why);
  const read = BiosSnapshotJson.safeParse(answer.stdout);
  return read.success ? known(read.data) : unknown(`the BIOS snapshot is malformed: ${z.prettifyError(read.error)}`);
}

/** How many restarts it takes; none while a problem stands in the way. */
export const boots = ({ targets, problems }: BiosResolution): number =>
  problems.length > 0 ? 0 : Math.max(0, ...targets.map((t) => t.boot));

export function judgeTarget(t: BiosTarget, all: BiosResolution, source: string): Finding {
  const staged = t.staged === undefined ? "" : `, ${t.staged} is staged`;
  const when = `restart ${t.boot} of ${boots(all)} brings it`;
  const hint = all.problems.length > 0 ? "not staged before the other findings are solved" : when;
  const [want, saw] = [`${t.name} = ${t.value}`, `${t.name} is ${t.saw ?? "not shown yet"}${staged}`];
  if (t.met && t.after) return { code: `bios.${t.key}`, level: "pass", want, saw, hint: "", source };
  const level = t.met ? "warn" : "fail";
  return { code: `bios.${t.key}`, level, want, saw, hint: t.met ? "the next restart would undo it" : hint, source };
}
