import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import {
  domainDifferences,
  domainXml,
  type Leaves,
  parseDomain,
  uuidOfDomain,
  vmOfDomain,
} from "../../providers/kit/domain-xml.ts";
import type { VmSpec } from "../../providers/kit/qemu-args.ts";

const td: VmSpec = {
  tee: "tdx",
  qemu: "/usr/bin/qemu-system-x86_64",
  ovmf: "/usr/share/ovmf/OVMF.fd",
  ovmfAs: "bios",
  cpuModel: "host",
  cpus: 8,
  memoryGiB: 64,
  snp: { cbitpos: 51, reducedPhysBits: 1, policy: "0x30000" },
  quoteSocket: "unix:/var/run/tdx-qgs/qgs.socket",
  memfd: false,
  iommufd: false,
  gpus: ["0000:81:00.0", "0000:c1:00.0"],
  switches: ["0000:a1:00.0"],
  mmio64MiBPerGpu: 262_144,
  sshPort: 2222,
};
const snp: VmSpec = { ...td, tee: "sev-snp", cpuModel: "EPYC-v4", memfd: true, switches: [] };
const leaves = (xml: string): Leaves => {
  const parsed = parseDomain(xml);
  if (parsed === undefined) throw new Error(`no domain: ${xml.slice(0, 80)}`);
  return parsed;
};

describe("a domain", () => {
  test("TDX: launchSecurity with the quote service, split interrupts, firmware from ROM", () => {
    expect(leaves(domainXml(td, "ppcie"))).toMatchObject({
      "launchSecurity@type": "tdx",
      "launchSecurity.quoteGenerationService@path": "/var/run/tdx-qgs/qgs.socket",
      "features.ioapic@driver": "qemu",
      "os.loader@type": "rom",
      "cpu@mode": "host-passthrough",
    });
  });

  test("SEV-SNP: launchSecurity with policy and C-bit, shared memory", () => {
    expect(leaves(domainXml(snp, "on"))).toMatchObject({
      "launchSecurity@type": "sev-snp",
      "launchSecurity.policy": "0x30000",
      "launchSecurity.cbitpos": "51",
      "memoryBacking.access@mode": "shared",
      "cpu.model": "EPYC-v4",
    });
  });

  test("says what it was made for, and keeps its identity when it is defined anew", () => {
    const uuid = "5b7a2c1e-0d4f-4a3b-9c8d-7e6f5a4b3c2d";
    expect(vmOfDomain(domainXml(td, "ppcie"))).toEqual({
      mode: "ppcie",
      gpus: ["0000:81:00.0", "0000:c1:00.0", "0000:a1:00.0"].sort(),
    });
    expect(uuidOfDomain(domainXml(td, "on", uuid))).toBe(uuid);
    expect(uuidOfDomain(domainXml(td, "on"))).toBeUndefined();
  });

  test("text in it is escaped, whatever it is", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(..."a&<>\"'/ ]") }), (text) => {
        const path = `/x${text}y`;
        expect(leaves(domainXml({ ...td, ovmf: path }, "on"))["os.loader"]).toBe(path);
      }),
    );
  });

  test.each(["", "hello", "<domain>", "<domain><a></domain>", "<network/>", "<a><domain/></a>"])("%j is none", (text) =>
    expect(parseDomain(text)).toBeUndefined(),
  );
});

describe("differences", () => {
  const wanted = leaves(domainXml(td, "on"));
  const seen = (edit: (xml: string) => string) => {
    const xml = domainXml(td, "on");
    const edited = edit(xml);
    expect(edited).not.toBe(xml);
    return domainDifferences(wanted, leaves(edited));
  };

  // Synthetic, after libvirt's own tests/qemuxmlconfdata: what it adds to a domain by itself.
  const libvirts: readonly [string, (xml: string) => string][] = [
    ["identity", (x) => x.replace("<name>", "<uuid>5b7a2c1e-0d4f-4a3b-9c8d-7e6f5a4b3c2d</uuid><name>")],
    ["the number of a running domain", (x) => x.replace('type="kvm"', 'type="kvm" id="7"')],
    ["a machine's version", (x) => x.replace('machine="q35"', 'machine="pc-q35-10.1"')],
    [
      "aliases and addresses",
      (x) => x.replaceAll("</hostdev>", '<alias name="h"/><address type="pci" bus="0x03"/></hostdev>'),
    ],
    [
      "controllers and input",
      (x) =>
        x.replace(
          "<memballoon",
          '<controller type="usb" index="0" model="qemu-xhci"/><input type="mouse" bus="ps2"/><memballoon',
        ),
    ],
    [
      "the console beside the serial port",
      (x) =>
        x.replace(
          "<memballoon",
          '<console type="file"><source path="/x"/><target type="serial" port="0"/></console><memballoon',
        ),
    ],
    [
      "labels",
      (x) =>
        x.replace(
          "</domain>",
          '<seclabel type="dynamic" model="dac" relabel="yes"><label>+0:+0</label></seclabel></domain>',
        ),
    ],
    ["a backing store", (x) => x.replace("<target dev=", "<backingStore/><target dev=")],
    ["currentMemory", (x) => x.replace("<vcpu", '<currentMemory unit="KiB">67108864</currentMemory><vcpu')],
  ];
  test.each(libvirts)("none for libvirt's own: %s", (_name, edit) => expect(seen(edit)).toEqual([]));

  test("the order of devices is none", () => {
    expect(domainDifferences(wanted, leaves(domainXml({ ...td, gpus: [...td.gpus].reverse() }, "on")))).toEqual([]);
  });

  const hands: readonly [string, (xml: string) => string, RegExp][] = [
    [
      "no launchSecurity",
      (x) => x.replace(/<launchSecurity[\s\S]*<\/launchSecurity>/, ""),
      /^launchSecurity.*nothing → /,
    ],
    [
      "another policy",
      (x) => x.replace("<quoteGen", "<policy>0x1</policy><quoteGen"),
      /^launchSecurity\.policy: 0x1 → nothing$/,
    ],
    ["a GPU less", (x) => x.replace(/<hostdev[\s\S]*?<\/hostdev>/, ""), /hostdev\[0000:81:00\.0\].*nothing → /],
    [
      "a device more",
      (x) =>
        x.replace(
          "<memballoon",
          '<hostdev mode="subsystem" type="pci"><source><address domain="0x0000" bus="0x05" slot="0x00" function="0x0"/></source></hostdev><memballoon',
        ),
      /hostdev\[0000:05:00\.0\].* → nothing/,
    ],
    [
      "a folder of the host",
      (x) =>
        x.replace("<memballoon", '<filesystem type="mount"><source dir="/"/><target dir="r"/></filesystem><memballoon'),
      /filesystem/,
    ],
    [
      "a network card",
      (x) => x.replace("<memballoon", '<interface type="bridge"><source bridge="br0"/></interface><memballoon'),
      /interface/,
    ],
    ["another disk", (x) => x.replace("/cvm0/disk.qcow2", "/other.qcow2"), /disk\[sda\]\.source@file/],
    ["a kernel of the host's choice", (x) => x.replace("<loader", "<kernel>/k</kernel><loader"), /^os\.kernel/],
    [
      "an argument of QEMU's",
      (x) => x.replace("</qemu:commandline>", '<qemu:arg value="-s"/></qemu:commandline>'),
      /qemu:arg/,
    ],
    ["less memory", (x) => x.replace(">67108864<", ">1048576<"), /^memory: 1048576 → 67108864$/],
    [
      "fewer processors at the start",
      (x) => x.replace('<vcpu placement="static"', '<vcpu placement="static" current="2"'),
      /^vcpu@current/,
    ],
    [
      "an option ROM of the host's choice",
      (x) => x.replace("</hostdev>", '<rom file="/tmp/evil.rom"/></hostdev>'),
      /rom@file/,
    ],
    ["another firmware", (x) => x.replace("/usr/share/ovmf/OVMF.fd", "/tmp/x.fd"), /^os\.loader/],
  ];
  test.each(hands)("a hand's work shows: %s", (_name, edit, difference) => {
    expect(seen(edit).some((d) => difference.test(d))).toBe(true);
  });

  test("numbers are compared as numbers", () => {
    const guest = leaves(domainXml(snp, "on"));
    const libvirts = leaves(domainXml(snp, "on").replace("0x30000", "0x00030000"));
    expect(domainDifferences(guest, libvirts)).toEqual([]);
    expect(domainDifferences(guest, leaves(domainXml(snp, "on").replace("0x30000", "0xb0000")))).toHaveLength(1);
  });
});
