import { z } from "zod";

/**
 * One vendor recipe as frozen data. A profile is immutable once released: a new recipe is a new file.
 *
 * Every value stands beside the `source` that prescribes it. What no source gives is the word `unknown`: a stack that
 * uses such a profile must pin it (`teeup:pins`, see resolve.ts), since an invented hash would be worse than none.
 */
export const UNKNOWN = "unknown";

/** A value and the document that prescribes it. */
export const from = <T extends z.ZodType>(value: T) =>
  z.strictObject({
    value,
    source: z.string().min(1).describe("Document and section, thread, or file that prescribes the value."),
  });

/** 40 hex digits, or `unknown` where the source names only a branch. */
export const CommitSchema = z.union([z.string().regex(/^[0-9a-f]{40}$/), z.literal(UNKNOWN)]);
/** 64 hex digits, or `unknown`. */
export const Sha256Schema = z.union([z.string().regex(/^[0-9a-f]{64}$/), z.literal(UNKNOWN)]);

export const GitSourceSchema = z.strictObject({
  url: z.url({ protocol: /^https$/ }).describe("Repository to clone."),
  commit: CommitSchema.describe("Commit to check out; a branch is never followed."),
  branch: z.string().optional().describe("Branch the source names, for people; not used to fetch."),
});

export const DownloadSchema = z.strictObject({
  url: z.url({ protocol: /^https?$/ }).describe("File to download."),
  sha256: Sha256Schema.describe("SHA-256 of the file."),
});

const Config = z.string().regex(/^CONFIG_[A-Z0-9_]+$/);
const PackageName = z.string().regex(/^[a-z0-9][a-z0-9+.-]*$/i);

/** One file of patches and the repository that has it. */
const PatchSchema = z.strictObject({
  from: GitSourceSchema,
  file: z.string().describe("Path of the file inside that repository."),
});

export const KernelSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("package"),
    release: z.string().describe("What `uname -r` shows."),
    packages: z.array(PackageName).min(1).describe("Packages of exactly this release; they are held."),
  }),
  z.strictObject({
    kind: z.literal("build"),
    release: z.string().describe("What `uname -r` shows; the build's LOCALVERSION is set so that it comes out."),
    base: z.string().describe("The release without LOCALVERSION, as the sources' Makefile gives it."),
    source: GitSourceSchema,
    patches: z.array(PatchSchema),
    series: z.array(PatchSchema).optional().describe("Mailboxes of commits, applied with git am before the patches."),
    enable: z.array(Config).describe("Options set to y."),
    module: z.array(Config).describe("Options set to m."),
    disable: z.array(Config).describe("Options turned off."),
    version: z.string().describe("Debian version of the built packages (KDEB_PKGVERSION)."),
  }),
]);

export const VmStackSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("packages"),
    packages: z.array(PackageName).min(1),
    qemu: z.string().startsWith("/").describe("QEMU binary."),
    ovmf: z.string().startsWith("/").describe("OVMF image for `-bios`."),
    minQemu: z.string().describe("Lowest QEMU version, `major.minor`."),
  }),
  z.strictObject({
    kind: z.literal("build"),
    qemu: z.union([
      z.strictObject({ kind: z.literal("git"), ...GitSourceSchema.shape, series: z.array(PatchSchema).optional() }),
      z.strictObject({ kind: z.literal("tarball"), ...DownloadSchema.shape }),
    ]),
    qemuVersion: z.string().optional().describe("Version that the built QEMU reports, e.g. 9.2.4, where it is known."),
    ovmf: z.union([
      z.strictObject({
        kind: z.literal("git"),
        ...GitSourceSchema.shape,
        target: z.enum(["RELEASE", "DEBUG"]).optional().describe("Default RELEASE."),
      }),
      z.strictObject({
        kind: z.literal("package"),
        package: PackageName,
        path: z.string().startsWith("/").describe("Image inside that package, for `-bios`."),
      }),
    ]),
    minQemu: z.string(),
  }),
]);

/** What a host must show before it starts TDs. */
export const TdxSchema = z.strictObject({
  minimumModule: z
    .string()
    .regex(/^\d+\.\d+(\.\d+)?$/)
    .optional()
    .describe("Lowest version of the TDX module; absent where no source names one."),
});

export const QuoteServiceSchema = z.strictObject({
  packages: z.array(PackageName).min(1).describe("Packages of PCCS, QGS and the registration of the platform."),
  repository: z
    .strictObject({
      name: z.string(),
      url: z.url({ protocol: /^https$/ }).describe("Archive for apt."),
      suite: z.string(),
      key: DownloadSchema.describe("Key that signs the archive, as armoured text."),
    })
    .optional()
    .describe("Absent: the distribution's own archive."),
});

/** Lines of /etc/libvirt/qemu.conf. */
export const LibvirtSchema = z.strictObject({
  packages: z.array(PackageName).min(1),
  settings: z.record(z.string().regex(/^[a-z_]+$/), z.union([z.string(), z.int()])),
});

const ModuleOptionsSchema = z.array(
  z.strictObject({
    module: z.string().regex(/^[a-z0-9_-]+$/),
    option: z.string().regex(/^[a-z0-9_-]+$/),
    value: z.string().regex(/^[A-Za-z0-9_.,:-]+$/),
  }),
);

export const DriverSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("runfile"),
    ...DownloadSchema.shape,
    referer: z
      .url({ protocol: /^https?$/ })
      .optional()
      .describe("Page that the download names as the one it comes from."),
    version: z.string().describe("Driver version that /proc/driver/nvidia/version shows, or its leading part."),
    cuda: z.string().optional().describe("CUDA version the run file brings."),
    args: z.array(z.string()).describe("Arguments of the run file; it always gets --silent too."),
    prerequisites: z.array(PackageName),
  }),
  z.strictObject({
    kind: z.literal("packages"),
    version: z.string().describe("Driver version that /proc/driver/nvidia/version shows, or its leading part."),
    packages: z.array(PackageName).min(1),
    /** Absent: the distribution's own archive. */
    repository: z
      .strictObject({
        name: z.string(),
        keyring: DownloadSchema.describe("A .deb that sets up the repository and its key."),
      })
      .optional(),
  }),
]);

export const PersistencedSchema = z.strictObject({
  args: z.array(z.string()).describe("Arguments of nvidia-persistenced."),
  before: z.array(z.string()).describe("Units that must start after it, if they exist."),
  timeoutSeconds: z.int().min(30).describe("How long its start may take."),
});

export const AttestationSchema = z.discriminatedUnion("tool", [
  z.strictObject({
    tool: z.literal("nvattest"),
    packages: z.array(PackageName).min(1),
    repository: z.strictObject({ name: z.string(), keyring: DownloadSchema }).optional(),
    verifier: z.enum(["local", "remote"]),
    policy: z.strictObject({ name: z.string(), text: z.string() }).describe("Relying-party policy (Rego)."),
  }),
  z.strictObject({
    tool: z.literal("python-sdk"),
    source: GitSourceSchema,
    verifierPath: z.string().describe("Folder of the local GPU verifier inside the repository; installed first."),
    sdkPath: z.string().describe("Folder of the attestation SDK; same Python environment."),
    packages: z.array(PackageName),
    policy: z
      .strictObject({
        name: z.string(),
        version: z.string(),
        claims: z.array(z.string().regex(/^x-nv-gpu-[a-z-]+$/)).min(1),
      })
      .describe("Claims that must all be true."),
  }),
]);

const ProfileParts = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9.-]*$/)
    .describe("File name without .ts."),
  title: z.string(),
  released: z.iso.date().describe("Day of the document or of the recipe."),
  cpu: z.enum(["sev-snp", "tdx"]).describe("What keeps the guest's memory from the host."),
  host: z.strictObject({
    os: from(z.array(z.strictObject({ id: z.string(), versionId: z.string() })).min(1)).describe(
      "Host systems the recipe is for, as /etc/os-release names them.",
    ),
    packages: from(z.array(PackageName).min(1)),
    pip: from(z.array(z.string())).optional().describe("Python packages for the system's interpreter."),
    kernel: from(KernelSchema),
    kernelConfig: from(z.array(Config)).describe("Options that the kernel's /boot/config must have as y or m."),
    kernelConfigOff: from(z.array(Config)).optional().describe("Options that it must not have."),
    commandLine: from(z.strictObject({ present: z.array(z.string()), forbidden: z.array(z.string()) })),
    moduleOptions: from(ModuleOptionsSchema),
    modulesLoad: from(z.array(z.string())).describe("Modules loaded at every boot."),
    sevFirmware: from(
      z.strictObject({
        minimumApi: z
          .string()
          .regex(/^\d+\.\d+$/)
          .describe("Lowest SEV-SNP API version, decimal."),
        /** Absent: the distribution's linux-firmware is new enough; only the version is checked. */
        file: z
          .strictObject({
            ...DownloadSchema.shape,
            member: z.string().describe("File inside the archive."),
            memberSha256: Sha256Schema,
            path: z.string().startsWith("/lib/firmware/amd/").describe("Where the kernel looks for it."),
          })
          .optional(),
      }),
    )
      .optional()
      .describe("Every SEV-SNP recipe has it, no other."),
    tdx: from(TdxSchema).optional().describe("Every TDX recipe has it, no other."),
    quoteService: from(QuoteServiceSchema).optional().describe("What turns a TD's report into a quote; TDX only."),
    vmStack: from(VmStackSchema),
    launcher: from(z.enum(["qemu", "libvirt"]))
      .optional()
      .describe("Who starts the confidential VM; default qemu."),
    libvirt: from(LibvirtSchema).optional().describe("Settings of libvirt, where the recipe has it."),
  }),
  gpu: z.strictObject({
    tools: from(GitSourceSchema).describe("NVIDIA/gpu-admin-tools."),
    minimumVbios: from(z.string().regex(/^[0-9A-F]{2}(\.[0-9A-F]{2}){4}$/)),
  }),
  guest: z.strictObject({
    image: from(
      z.strictObject({
        ...DownloadSchema.shape,
        os: z.strictObject({ id: z.string(), versionId: z.string() }),
        format: z.enum(["qcow2", "raw"]),
      }),
    ).describe("Cloud image; cloud-init sets it up."),
    kernel: from(
      z.strictObject({
        release: z.string().describe("What `uname -r` must show in the guest."),
        packages: z.array(PackageName).min(1).describe("Packages of exactly this release."),
        hold: z.array(PackageName).describe("Packages that would pull in another kernel; held too."),
      }),
    ),
    kernelConfig: from(z.array(Config)).optional().describe("Options that the guest's kernel must have as y or m."),
    commandLine: from(z.array(z.string().regex(/^\S+$/)))
      .optional()
      .describe("Words that the guest's command line must have."),
    lkca: from(
      z.strictObject({
        path: z.string().startsWith("/etc/modprobe.d/"),
        text: z.string().endsWith("\n"),
      }),
    ),
    driver: from(DriverSchema),
    persistenced: from(PersistencedSchema),
    fabricManager: from(z.strictObject({ packages: z.array(PackageName).min(1) }))
      .optional()
      .describe("nvidia-fabricmanager of the driver's version; used where there are NVSwitches."),
  }),
  attestation: from(AttestationSchema),
});

/** Of the two TEEs each recipe has the values of its own, and none of the other. */
export const ProfileSchema = ProfileParts.superRefine(({ cpu, host }, context) => {
  const parts = { sevFirmware: "sev-snp", tdx: "tdx" } as const;
  for (const [part, of] of Object.entries(parts) as [keyof typeof parts, Profile["cpu"]][]) {
    if ((host[part] === undefined) === (cpu === of))
      context.addIssue({ code: "custom", path: ["host", part], message: cpu === of ? "is missing" : `is for ${of}` });
  }
  if (cpu === "sev-snp" && host.quoteService !== undefined)
    context.addIssue({ code: "custom", path: ["host", "quoteService"], message: "is for tdx" });
  if (host.launcher?.value === "libvirt" && host.libvirt === undefined)
    context.addIssue({ code: "custom", path: ["host", "libvirt"], message: "is missing for that launcher" });
});
export type Profile = z.infer<typeof ProfileParts>;

/** Parses and freezes deeply. */
export function profile(data: z.input<typeof ProfileSchema>): Profile {
  return deepFreeze(ProfileSchema.parse(data));
}

export function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const part of Object.values(value)) deepFreeze(part);
  }
  return value;
}
