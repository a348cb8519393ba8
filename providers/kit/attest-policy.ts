import { z } from "zod";

/** Exactly `bytes` bytes as lower-case hex. */
export const hex = (bytes: number): z.ZodString =>
  z.string().regex(new RegExp(`^[0-9a-f]{${2 * bytes}}$`), `${bytes} bytes as lower-case hex`);

const svn = z.int().min(0).max(255);
/** Security version numbers of an SEV-SNP platform; `fmc` only on Turin. */
export const TcbSchema = z.strictObject({ fmc: svn.optional(), bootloader: svn, tee: svn, snp: svn, microcode: svn });
export type Tcb = z.infer<typeof TcbSchema>;

const measurements = z
  .array(hex(48))
  .min(1)
  .describe("The launch measurements that are accepted. There is no way to accept any.");

/** What an SEV-SNP guest has to be. Debug is refused whatever is written here. */
export const SnpPolicySchema = z.strictObject({
  measurements,
  minTcb: TcbSchema.optional().describe(
    "Least security version numbers, per part; the reported, current, committed and launch TCB all have to reach them.",
  ),
  vmpl: z.int().min(0).max(3).default(0).describe("The privilege level that the report was asked for at."),
  guestPolicy: z
    .strictObject({
      smt: z.enum(["allow", "forbid"]).default("allow").describe("Simultaneous multithreading on the host."),
      migrationAgent: z.enum(["allow", "forbid"]).default("forbid"),
      singleSocket: z.enum(["any", "require"]).default("any"),
      ciphertextHiding: z.enum(["any", "require"]).default("any"),
      minAbi: z.strictObject({ major: z.int().min(0), minor: z.int().min(0) }).optional(),
    })
    .prefault({})
    .describe("Bits of the guest policy that the launch was made with."),
  chipIds: z.array(hex(64)).min(1).optional().describe("The chips that the guest may run on; default any genuine one."),
  hostData: hex(32).optional(),
  signers: z
    .array(z.enum(["VCEK", "VLEK"]))
    .min(1)
    .default(["VCEK"])
    .describe("VLEK: a key of a cloud, not of a chip."),
  revocation: z
    .enum(["required", "when-given"])
    .default("required")
    .describe("`when-given` verifies without AMD's revocation list, and the result says that revocation is unknown."),
});
export type SnpPolicy = z.infer<typeof SnpPolicySchema>;

export const TCB_STATUSES = [
  "UpToDate",
  "SWHardeningNeeded",
  "ConfigurationNeeded",
  "ConfigurationAndSWHardeningNeeded",
  "OutOfDate",
  "OutOfDateConfigurationNeeded",
] as const;

/** What an Intel TDX guest has to be. Debug is refused whatever is written here. */
export const TdxPolicySchema = z.strictObject({
  measurements: measurements.describe("Accepted MRTDs."),
  rtmrs: z
    .array(z.union([hex(48), z.null()]))
    .length(4)
    .optional()
    .describe("RTMR 0 to 3 as they have to be; null for one that may be anything."),
  tcbStatuses: z
    .array(z.enum(TCB_STATUSES))
    .min(1)
    .default(["UpToDate"])
    .describe("Intel's TCB statuses that are accepted. Revoked cannot be."),
  advisories: z.array(z.string()).default([]).describe("Intel advisories (INTEL-SA-…) that are accepted as open."),
});
export type TdxPolicy = z.infer<typeof TdxPolicySchema>;

export const PolicySchema = z.discriminatedUnion("kind", [
  SnpPolicySchema.extend({ kind: z.literal("snp") }),
  TdxPolicySchema.extend({ kind: z.literal("tdx") }),
]);
export type Policy = z.infer<typeof PolicySchema>;
