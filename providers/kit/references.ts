/** A version that steps bring in, and that no verifier can pass without the maker's reference values (RIM). */
export interface Reference {
  readonly what: "driver" | "vbios" | "switch-bios";
  /** As the maker writes it; one that ends with a dot stands for all that begin so. */
  readonly version: string;
}

/**
 * Whether reference values are published, by the ids of NVIDIA's RIM service
 * (docs.nvidia.com/attestation, RIM Service, RIM ID Naming Convention): NV_GPU_DRIVER_<product>_<version>,
 * NV_GPU_VBIOS_<board>_<sku>_<chip sku>_<version without dots>, NV_SWITCH_BIOS_… likewise.
 */
export function isPublished({ what, version }: Reference, ids: readonly string[]): boolean {
  if (what === "driver") {
    const versions = ids.flatMap((id) => /^NV_GPU_DRIVER_[A-Z0-9]+_(.+)$/.exec(id)?.[1] ?? []);
    return versions.some((one) => one === version || (version.endsWith(".") && one.startsWith(version)));
  }
  const start = what === "vbios" ? "NV_GPU_VBIOS_" : "NV_SWITCH_BIOS_";
  const end = `_${version.replaceAll(".", "").toUpperCase()}`;
  return ids.some((id) => id.startsWith(start) && id.endsWith(end));
}
