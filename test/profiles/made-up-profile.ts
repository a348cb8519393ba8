import { profile } from "../../stacks/profiles/schema.ts";
import { snpUpstream } from "../../stacks/profiles/snp-upstream.ts";

const MADE_UP = "made up for the tests";
const RELEASE = "7.0.0-31-generic";

/** A third recipe for SEV-SNP, all of it in this file: Ubuntu 26.04's own kernel and QEMU, started by libvirt. */
export const madeUp = profile({
  ...snpUpstream,
  name: "made-up-snp-libvirt",
  title: "SEV-SNP with the distribution's parts and libvirt (made up)",
  released: "2026-11-01",
  host: {
    ...snpUpstream.host,
    os: { value: [{ id: "ubuntu", versionId: "26.04" }], source: MADE_UP },
    packages: { value: ["driverctl", "pciutils", "git", "curl", "qemu-utils", "cloud-image-utils"], source: MADE_UP },
    kernel: {
      value: { kind: "package", release: RELEASE, packages: [`linux-image-${RELEASE}`, `linux-modules-${RELEASE}`] },
      source: MADE_UP,
    },
    vmStack: {
      value: {
        kind: "packages",
        packages: ["qemu-system-x86", "ovmf"],
        qemu: "/usr/bin/qemu-system-x86_64",
        ovmf: "/usr/share/ovmf/OVMF.amdsev.fd",
        minQemu: "10.2",
      },
      source: MADE_UP,
    },
    launcher: { value: "libvirt", source: MADE_UP },
    libvirt: {
      value: { packages: ["libvirt-daemon-system", "libvirt-clients"], settings: { max_files: 32768 } },
      source: MADE_UP,
    },
  },
});
