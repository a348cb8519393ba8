import { XMLBuilder, XMLParser, XMLValidator } from "fast-xml-parser";

/** A libvirt domain as a tree: `@name` attributes, `#` text, elements by name, many of a kind as a list. */
export type Xml = { [key: string]: string | Xml | Xml[] };

const SHAPE = { ignoreAttributes: false, attributeNamePrefix: "@", textNodeName: "#" } as const;
const parser = new XMLParser({ ...SHAPE, parseTagValue: false, parseAttributeValue: false });
const builder = new XMLBuilder({ ...SHAPE, format: true, suppressEmptyNode: true });

/** The domain of a text; undefined when it is none. */
export function readDomain(text: string): Xml | undefined {
  if (XMLValidator.validate(text) !== true) return undefined;
  const root = (parser.parse(text) as Xml)["domain"];
  return typeof root === "object" && !Array.isArray(root) ? root : undefined;
}

export const writeDomain = (domain: Xml): string => builder.build({ domain }) as string;

const isNode = (value: Xml[string] | undefined): value is Xml => typeof value === "object" && !Array.isArray(value);

/** The element at a path of names, `{}` where there is none. */
export function at(node: Xml, ...path: readonly string[]): Xml {
  return path.reduce<Xml>((here, name) => {
    const next = here[name];
    return isNode(next) ? next : {};
  }, node);
}

/** Text of an element or value of an attribute; `` where there is none. */
export function word(node: Xml, name: string): string {
  const value = node[name];
  return typeof value === "string" ? value : isNode(value) && typeof value["#"] === "string" ? value["#"] : "";
}

/** Every element of a name, also when there is one or none. */
export function every(node: Xml, name: string): Xml[] {
  const value = node[name];
  if (value === undefined) return [];
  return (Array.isArray(value) ? value : [value]).map((v) => (typeof v === "string" ? { "#": v } : v));
}

/** `0000:81:00.0` of a hostdev. */
export function bdfOf(hostdev: Xml): string {
  const address = at(hostdev, "source", "address");
  const hex = (name: string) => word(address, `@${name}`).replace(/^0x/, "");
  return `${hex("domain").padStart(4, "0")}:${hex("bus")}:${hex("slot")}.${hex("function")}`;
}

const pci = (bus: number, slot = 0): Xml => ({
  "@type": "pci",
  "@domain": "0x0000",
  "@bus": `0x${bus.toString(16).padStart(2, "0")}`,
  "@slot": `0x${slot.toString(16).padStart(2, "0")}`,
  "@function": "0x0",
});

/** What libvirt makes of a domain when it is defined: ids, defaults, controllers and addresses of its own. */
export function settleDomain(given: Xml, uuid: string, qemu: string): Xml {
  const devices = at(given, "devices");
  const os = at(given, "os");
  const type = at(os, "type");
  const version = qemu.split(".").slice(0, 2).join(".");
  const hostdevs = every(devices, "hostdev");
  const ports = hostdevs.map(
    (_, i): Xml => ({
      "@type": "pci",
      "@index": String(i + 1),
      "@model": "pcie-root-port",
      model: { "@name": "pcie-root-port" },
      target: { "@chassis": String(i + 1), "@port": `0x${(16 + i).toString(16)}` },
      address: pci(0, 2),
    }),
  );
  const serial = every(devices, "serial").map(
    (s): Xml => ({ ...s, target: { "@type": "isa-serial", "@port": "0", model: { "@name": "isa-serial" } } }),
  );
  const cpu = at(given, "cpu");
  return {
    ...given,
    uuid,
    currentMemory: given["currentMemory"] ?? given["memory"] ?? "",
    os: {
      ...os,
      type: { ...type, "@machine": word(type, "@machine").replace(/^q35$/, `pc-q35-${version}`) },
      boot: { "@dev": "hd" },
    },
    cpu: word(cpu, "@mode") === "host-passthrough" ? { ...cpu, "@check": "none", "@migratable": "on" } : cpu,
    devices: {
      ...devices,
      disk: every(devices, "disk").map(
        (disk, i): Xml => ({
          ...disk,
          address: { "@type": "drive", "@controller": "0", "@bus": "0", "@target": "0", "@unit": String(i) },
        }),
      ),
      controller: [
        ...every(devices, "controller").map((c): Xml => ({ ...c, address: pci(hostdevs.length + 1) })),
        { "@type": "pci", "@index": "0", "@model": "pcie-root" },
        ...ports,
        { "@type": "sata", "@index": "0", address: pci(0, 31) },
      ],
      serial,
      console: serial.map((s): Xml => ({ ...s, target: { "@type": "serial", "@port": "0" } })),
      hostdev: hostdevs.map((h, i): Xml => ({ ...h, address: pci(i + 1) })),
      input: [
        { "@type": "mouse", "@bus": "ps2" },
        { "@type": "keyboard", "@bus": "ps2" },
      ],
      audio: { "@id": "1", "@type": "none" },
      watchdog: { "@model": "itco", "@action": "reset" },
    },
  };
}

/** The domain as it runs: what differs from start to start stands in it too. */
export function liveDomain(domain: Xml, id: number, security: string): Xml {
  const devices = at(domain, "devices");
  const alias = (kind: string, prefix: string) =>
    every(devices, kind).map((d, i): Xml => ({ ...d, alias: { "@name": `${prefix}${i}` } }));
  return {
    ...domain,
    "@id": String(id),
    resource: { partition: "/machine" },
    devices: {
      ...devices,
      disk: alias("disk", "scsi0-0-0-").map(
        (disk, i): Xml => ({ ...disk, source: { ...at(disk, "source"), "@index": String(i + 1) }, backingStore: "" }),
      ),
      hostdev: alias("hostdev", "hostdev"),
      serial: alias("serial", "serial"),
    },
    seclabel: { "@type": "dynamic", "@model": security, "@relabel": "yes" },
  };
}

/** QEMU's arguments for a domain, as libvirt's QEMU driver writes them: devices as JSON, all else as it always was. */
export function domainArgv(domain: Xml): string[] {
  const devices = at(domain, "devices");
  const name = word(domain, "name");
  const loader = at(domain, "os", "loader");
  const rom = word(loader, "@type") === "rom";
  const cpu = at(domain, "cpu");
  const launch = at(domain, "launchSecurity");
  const kib = word(domain, "memory");
  const cpus = word(domain, "vcpu");
  const memfd = word(at(domain, "memoryBacking", "source"), "@type") === "memfd";
  const json = (value: object) => JSON.stringify(value);
  const machine = [
    word(at(domain, "os", "type"), "@machine"),
    "usb=off",
    "dump-guest-core=off",
    ...(rom ? [] : ["pflash0=libvirt-pflash0-format"]),
    ...(word(at(domain, "features", "ioapic"), "@driver") === "qemu" ? ["kernel_irqchip=split"] : []),
    ...(launch["@type"] === undefined ? [] : ["confidential-guest-support=lsec0"]),
    "memory-backend=pc.ram",
    "acpi=on",
  ];
  const hostdevs = every(devices, "hostdev");
  const serial = every(devices, "serial")[0];
  return [
    word(devices, "emulator") || "/usr/bin/qemu-system-x86_64",
    ...["-name", `guest=${name},debug-threads=on`, "-S"],
    ...["-machine", machine.join(","), "-accel", "kvm"],
    ...["-cpu", word(cpu, "@mode") === "host-passthrough" ? "host,migratable=on" : word(cpu, "model")],
    ...(rom
      ? ["-bios", word(loader, "#")]
      : ["-blockdev", json({ driver: "file", filename: word(loader, "#"), "node-name": "libvirt-pflash0-storage" })]),
    ...["-m", `size=${kib}k`],
    ...[
      "-object",
      json({
        "qom-type": memfd ? "memory-backend-memfd" : "memory-backend-ram",
        id: "pc.ram",
        size: Number(kib) * 1024,
      }),
    ],
    ...["-smp", `${cpus},sockets=${cpus},cores=1,threads=1`, "-uuid", word(domain, "uuid"), "-no-user-config"],
    ...["-nodefaults", "-chardev", `socket,id=charmonitor,path=/var/lib/libvirt/qemu/domain-1-${name}/monitor.sock`],
    ...hostdevs.flatMap((_, i) => [
      "-device",
      json({ driver: "pcie-root-port", port: 16 + i, chassis: i + 1, id: `pci.${i + 1}`, bus: "pcie.0" }),
    ]),
    ...["-device", json({ driver: "virtio-scsi-pci", iommu_platform: true, id: "scsi0", bus: "pcie.0" })],
    ...every(devices, "disk").flatMap((disk, i) => {
      const file = {
        driver: "file",
        filename: word(at(disk, "source"), "@file"),
        "node-name": `libvirt-${i + 1}-storage`,
      };
      const cdrom = word(disk, "@device") === "cdrom";
      return [
        ...["-blockdev", json({ ...file, ...(cdrom ? { "read-only": true } : {}) })],
        ...[
          "-device",
          json({ driver: cdrom ? "scsi-cd" : "scsi-hd", bus: "scsi0.0", drive: `libvirt-${i + 1}-format` }),
        ],
      ];
    }),
    ...(serial === undefined
      ? []
      : [
          "-chardev",
          `file,id=charserial0,path=${word(at(serial, "source"), "@path")},append=${word(at(serial, "source"), "@append") || "off"}`,
          "-device",
          json({ driver: "isa-serial", chardev: "charserial0", id: "serial0", index: 0 }),
        ]),
    ...hostdevs.flatMap((h, i) => [
      "-device",
      json({ driver: "vfio-pci", host: bdfOf(h), id: `hostdev${i}`, bus: `pci.${i + 1}`, addr: "0x0" }),
    ]),
    ...(launch["@type"] === undefined ? [] : ["-object", json(launchObject(launch))]),
    ...every(at(domain, "qemu:commandline"), "qemu:arg").map((arg) => word(arg, "@value")),
  ];
}

function launchObject(launch: Xml): object {
  if (word(launch, "@type") === "tdx") {
    const path = word(at(launch, "quoteGenerationService"), "@path");
    return {
      "qom-type": "tdx-guest",
      id: "lsec0",
      ...(path === "" ? {} : { "quote-generation-socket": { type: "unix", path } }),
    };
  }
  return {
    "qom-type": "sev-snp-guest",
    id: "lsec0",
    cbitpos: Number(word(launch, "cbitpos")),
    "reduced-phys-bits": Number(word(launch, "reducedPhysBits")),
    ...(word(launch, "policy") === "" ? {} : { policy: Number(word(launch, "policy")) }),
  };
}
