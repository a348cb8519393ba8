import { XMLBuilder, XMLParser, XMLValidator } from "fast-xml-parser";
import { DOMAIN } from "./libvirt.ts";
import { LAUNCH, mmioWindow, quoteSocketOf, VM_FILES, type VmSpec } from "./qemu-args.ts";

const SHAPE = { ignoreAttributes: false, attributeNamePrefix: "@", textNodeName: "#" } as const;
const builder = new XMLBuilder({ ...SHAPE, format: true, suppressEmptyNode: true });
const parser = new XMLParser({ ...SHAPE, parseTagValue: false, parseAttributeValue: false });
const EMPTY = "";

/** `0000:81:00.0` as libvirt writes it in a hostdev's source. */
function addressOf(bdf: string) {
  const [, domain, bus, slot, fn] = /^(\w+):(\w+):(\w+)\.(\w)$/.exec(bdf) ?? [];
  return { "@domain": `0x${domain}`, "@bus": `0x${bus}`, "@slot": `0x${slot}`, "@function": `0x${fn}` };
}

function launchSecurity(vm: VmSpec) {
  if (vm.tee === "sev-snp") {
    const { cbitpos, reducedPhysBits, policy } = vm.snp;
    return { "@type": "sev-snp", cbitpos, reducedPhysBits, ...(policy === undefined ? {} : { policy }) };
  }
  return { "@type": "tdx", quoteGenerationService: { "@path": quoteSocketOf(vm.quoteSocket)["path"] ?? "" } };
}

/**
 * The same VM as qemuArgv's, for libvirt. Sources: libvirt docs/formatdomain.rst (launchSecurity: sev-snp since 10.5,
 * tdx since 11.6), canonical/tdx guest-tools/trust_domain.xml.template.
 *
 * - What libvirt has no word for, or a reserved one (firmware names of OVMF, a port forwarded on the loopback without
 *   passt), are QEMU's own arguments.
 * - Only with its `uuid` can a domain be defined anew; without one libvirt draws one.
 * - A TD's reboot is a fresh QEMU (libvirt ≥ 11.6). An SNP guest's ends QEMU, as the guide says, and libvirt up to 12.0
 *   does not start it again, whatever stands here (src/qemu/qemu_process.c, qemuProcessShutdownOrReboot): the finding is
 *   `confidential-vm.inactive`, and the next up starts it. TeeUp's unit starts it by itself.
 */
export function domainXml(vm: VmSpec, gpuMode: string, uuid?: string): string {
  const args = [
    ...["-netdev", `user,id=net0,hostfwd=tcp:127.0.0.1:${vm.sshPort}-:22`],
    ...["-device", "virtio-net-pci,disable-legacy=on,iommu_platform=true,netdev=net0,romfile="],
    ...["-fw_cfg", `name=opt/ovmf/X-PciMmio64Mb,string=${mmioWindow(vm.mmio64MiBPerGpu, vm.gpus.length)}`],
  ];
  const disk = (device: string, format: string, file: string, dev: string) => ({
    "@type": "file",
    "@device": device,
    driver: { "@name": "qemu", "@type": format },
    source: { "@file": file },
    target: { "@dev": dev, "@bus": "scsi" },
    ...(device === "cdrom" ? { readonly: EMPTY } : {}),
  });
  const domain = {
    "@type": "kvm",
    "@xmlns:qemu": "http://libvirt.org/schemas/domain/qemu/1.0",
    name: DOMAIN,
    ...(uuid === undefined ? {} : { uuid }),
    metadata: { "teeup:vm": { "@xmlns:teeup": "urn:teeup:vm", "@gpuMode": gpuMode } },
    memory: { "@unit": "KiB", "#": vm.memoryGiB * 1_048_576 },
    ...(vm.memfd ? { memoryBacking: { source: { "@type": "memfd" }, access: { "@mode": "shared" } } } : {}),
    vcpu: { "@placement": "static", "#": vm.cpus },
    os: {
      type: { "@arch": "x86_64", "@machine": "q35", "#": "hvm" },
      loader: {
        ...(vm.ovmfAs === "bios" ? { "@type": "rom" } : { "@readonly": "yes", "@type": "pflash" }),
        "@stateless": "yes",
        "#": vm.ovmf,
      },
    },
    features: { acpi: EMPTY, apic: EMPTY, ...(vm.tee === "tdx" ? { ioapic: { "@driver": "qemu" } } : {}) },
    cpu:
      vm.cpuModel === "host"
        ? { "@mode": "host-passthrough" }
        : { "@mode": "custom", "@match": "exact", model: { "@fallback": "forbid", "#": vm.cpuModel } },
    clock: { "@offset": "utc" },
    on_poweroff: "destroy",
    on_reboot: "restart",
    on_crash: "destroy",
    devices: {
      emulator: vm.qemu,
      disk: [disk("disk", "qcow2", VM_FILES.disk, "sda"), disk("cdrom", "raw", VM_FILES.seed, "sdb")],
      controller: { "@type": "scsi", "@index": "0", "@model": "virtio-scsi", driver: { "@iommu": "on" } },
      serial: { "@type": "file", source: { "@path": VM_FILES.console, "@append": "on" }, target: { "@port": "0" } },
      hostdev: [...vm.gpus, ...vm.switches].map((bdf) => ({
        "@mode": "subsystem",
        "@type": "pci",
        // Bound for good by vfio-binding: libvirt is not to give them back to the host's drivers.
        "@managed": "no",
        driver: { "@name": "vfio" },
        source: { address: addressOf(bdf) },
      })),
      memballoon: { "@model": "none" },
    },
    launchSecurity: launchSecurity(vm),
    "qemu:commandline": { "qemu:arg": args.map((value) => ({ "@value": value })) },
  };
  return `<!-- Written by TeeUp: a confidential VM (${LAUNCH[vm.tee].title}). -->\n${builder.build({ domain })}`;
}

/** Leaves of a domain by path, e.g. `launchSecurity@type` → `tdx`; devices by what tells them apart. */
export type Leaves = Readonly<Record<string, string>>;

export const uuidOfDomain = (xml: string): string | undefined => /^\s*<uuid>([0-9a-f-]{36})<\/uuid>/m.exec(xml)?.[1];

/** What changes from start to start, or says nothing of what the guest is given. */
const VOLATILE =
  /(^@id|^uuid|^seclabel|\.alias@|(?<!\.source)\.address@|@index$|\.source@path$|\.source@dev$|^devices\.console)/;

/** The domain's leaves; undefined when the text is no domain. */
export function parseDomain(xml: string): Leaves | undefined {
  if (XMLValidator.validate(xml) !== true) return undefined;
  const root: unknown = (parser.parse(xml) as Readonly<Record<string, unknown>>)["domain"];
  if (typeof root !== "object" || root === null) return undefined;
  const leaves: [string, string][] = [];
  flatten(root, "", leaves);
  const kept = leaves.filter(([path]) => path === `devices.serial[0].source@path` || !VOLATILE.test(path));
  return Object.fromEntries(kept.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function flatten(node: unknown, path: string, out: [string, string][]): void {
  if (Array.isArray(node)) {
    for (const [i, part] of node.entries()) flatten(part, `${path}[${keyOf(part) ?? i}]`, out);
    return;
  }
  if (typeof node !== "object" || node === null) {
    out.push([path, String(node)]);
    return;
  }
  for (const [key, part] of Object.entries(node)) {
    const at = key === "#" ? path : key.startsWith("@") ? `${path}${key}` : path === "" ? key : `${path}.${key}`;
    // One device of a kind is no list to the parser; by its key it is the same as one of many.
    const alone = path === "devices" && !Array.isArray(part) && typeof part === "object";
    flatten(alone ? [part] : part, at, out);
  }
}

/** What tells one device from another of its kind: its place in the list may change. */
function keyOf(device: unknown): string | undefined {
  const at = (node: unknown, key: string): unknown =>
    typeof node === "object" && node !== null ? (node as Readonly<Record<string, unknown>>)[key] : undefined;
  const source = at(at(device, "source"), "address");
  if (at(source, "@bus") !== undefined) {
    const hex = (key: string) => String(at(source, key) ?? "0x0").replace(/^0x/, "");
    return `${hex("@domain").padStart(4, "0")}:${hex("@bus")}:${hex("@slot")}.${hex("@function")}`;
  }
  const target = at(at(device, "target"), "@dev");
  if (typeof target === "string") return target;
  return at(device, "@index") === undefined
    ? undefined
    : `${String(at(device, "@type"))}${String(at(device, "@index"))}`;
}

/**
 * libvirt adds much of its own to a domain (addresses, controllers, defaults), so what more there is counts only where
 * it changes what the guest is, or is given.
 */
const WATCHED =
  /^(launchSecurity|qemu:|memoryBacking|sysinfo|vcpu@current|os\.(kernel|initrd|cmdline|nvram|bios)|cpu\.feature|devices\.(disk|hostdev|interface|filesystem|shmem|redirdev|channel|serial|graphics|tpm|vsock|memory)\b)/;
/** Additions of libvirt inside what is watched. */
const LIBVIRTS =
  /(\.backingStore|\.address)\b|\.rom@(?!file)|\.target(\.model)?@|^devices\.channel.*spice|@xmlns|\.driver@/;

/** Numbers and machine names as libvirt rewrites them. */
function same(path: string, wanted: string, seen: string | undefined): boolean {
  if (seen === undefined) return false;
  if (wanted === seen) return true;
  if (path === "os.type@machine") return seen.startsWith(`pc-${wanted}-`);
  const number = /^(0x[0-9a-f]+|\d+)$/i;
  return number.test(wanted) && number.test(seen) && BigInt(wanted) === BigInt(seen);
}

/** What is otherwise than wanted, one phrase each: `launchSecurity@type: tdx → nothing`. */
export function domainDifferences(wanted: Leaves, seen: Leaves): string[] {
  const other = Object.entries(wanted)
    .filter(([path, value]) => !path.startsWith("@xmlns") && !same(path, value, seen[path]))
    .map(([path, value]) => `${path}: ${seen[path] ?? "nothing"} → ${value}`);
  const more = Object.keys(seen)
    .filter((path) => WATCHED.test(path) && !(path in wanted) && !LIBVIRTS.test(path))
    .map((path) => `${path}: ${seen[path]} → nothing`);
  return [...other, ...more];
}

/** Where a domain of TeeUp's says which GPU mode it was made for. */
export const MADE_FOR = "metadata.teeup:vm@gpuMode";

/** The GPU mode that a domain says it was made for, and the addresses of its GPUs and NVSwitches. */
export function vmOfDomain(xml: string): { readonly mode: string; readonly gpus: readonly string[] } | undefined {
  const leaves = parseDomain(xml);
  if (leaves === undefined) return undefined;
  const gpus = Object.keys(leaves).flatMap((path) => /^devices\.hostdev\[([^\]]+)\]@type$/.exec(path)?.[1] ?? []);
  return { mode: leaves[MADE_FOR] ?? "unsaid", gpus };
}
