import { z } from "zod";
import { CloudSchema } from "../../providers/kit/cloud.ts";
import { GpuAgentSchema } from "../../providers/kit/gpu-agents.ts";
import { AttestationSchema, DownloadSchema, DriverSchema, deepFreeze, from, PersistencedSchema } from "./schema.ts";

/**
 * One vendor recipe for instances of a cloud, as frozen data. What is below the instance is the cloud's: such a recipe
 * has no BIOS, no host kernel and no VFIO. As in schema.ts, each value names its source, and what no source gives is
 * `unknown` and has to be pinned.
 */
const PackageName = z.string().regex(/^[a-z0-9][a-z0-9+.-]*$/i);

/** What a program makes of the instance; only for clouds that have a Pulumi provider. */
export const InstanceSchema = z.strictObject({
  region: z.string().regex(/^[a-z0-9-]+$/),
  zone: z.string().regex(/^[a-z0-9-]+$/),
  types: z.array(z.string().startsWith("ecs.")).min(1).describe("Instance types of this recipe, the default first."),
  image: z.string().min(1).describe("Image id."),
  systemDisk: z.strictObject({ category: z.string(), sizeGiB: z.int().min(20) }),
});

const QuoteFileSchema = z.strictObject({ ...DownloadSchema.shape, md5: z.string().regex(/^[0-9a-f]{32}$/) });

export const CloudProfileSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9.-]*$/)
    .describe("File name without .ts."),
  title: z.string(),
  released: z.iso.date().describe("Day of the document or of the recipe."),
  cloud: CloudSchema,
  cpu: z.literal("tdx"),
  instance: from(InstanceSchema).optional(),
  system: z.strictObject({
    os: from(z.array(z.strictObject({ id: z.string(), versionId: z.string() })).min(1)),
    minimumKernel: from(z.string()).describe("Lowest kernel release."),
    uefi: from(z.boolean()).describe("Only UEFI images start as confidential instances."),
    noRdma: from(z.boolean()).describe("RDMA network interfaces are not supported."),
    commandLine: from(z.array(z.string().regex(/^\S+$/))).describe("Words that the kernel's command line must have."),
    packages: from(z.array(PackageName)).describe("Packages that the later steps need."),
  }),
  gpu: z.strictObject({
    count: from(z.int().min(1).max(16)),
    mode: from(z.enum(["on", "ppcie"])),
    minimumVbios: from(z.string().regex(/^[0-9A-F]{2}(\.[0-9A-F]{2}){4}$/)),
  }),
  guest: z.strictObject({
    lkca: from(z.strictObject({ text: z.string().endsWith("\n") })).optional(),
    driver: from(DriverSchema),
    fabricManager: from(z.strictObject({ version: z.string(), files: z.array(DownloadSchema).min(1) }))
      .optional()
      .describe("Fabric manager and NSCQ of the driver's own version; where there are NVSwitches."),
    persistenced: from(
      PersistencedSchema.extend({
        before: z
          .array(GpuAgentSchema)
          .min(1)
          .describe("Agents of the cloud and of users that ask the GPU by themselves."),
      }),
    ),
    cuda: from(z.strictObject({ version: z.string(), ...DownloadSchema.shape, args: z.array(z.string()) })).optional(),
    cublas: from(z.strictObject({ version: z.string(), python: z.string().optional() })).optional(),
  }),
  quote: from(
    z.strictObject({
      repository: QuoteFileSchema,
      sdk: QuoteFileSchema,
      verifier: QuoteFileSchema,
      verifierFolder: z.string(),
      pccs: z.url({ protocol: /^https$/ }),
    }),
  )
    .optional()
    .describe("Intel's sample tools that make and verify a TD's quote; a stack asks for them."),
  attestation: from(AttestationSchema),
});
export type CloudProfile = z.infer<typeof CloudProfileSchema>;

/** Parses and freezes deeply. */
export function cloudProfile(data: z.input<typeof CloudProfileSchema>): CloudProfile {
  return deepFreeze(CloudProfileSchema.parse(data));
}
