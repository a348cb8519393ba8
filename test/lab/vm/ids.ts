import { closeSync, openSync, readFileSync, readSync, writeSync } from "node:fs";
import { z } from "zod";
import type { Qmp } from "./qmp.ts";

/**
 * What a PCI device says it is. QEMU has no device with NVIDIA's vendor id and no option to give one, and the facets
 * rightly take no other vendor's card for a GPU. So the emulated configuration space of QEMU's teaching device is
 * rewritten in the memory of the paused QEMU: to the guest's kernel an H100, to us still a device that can do nothing.
 * It shows what the kernel does (groups, drivers, /dev/vfio), never what a card does.
 */
export interface Ids {
  readonly vendor: number;
  readonly device: number;
  /** Class and subclass, e.g. 0x0302. */
  readonly class: number;
}

/** seed 000: the H100 PCIe. */
export const H100: Ids = { vendor: 0x10de, device: 0x2331, class: 0x0302 };

const Pci = z.array(
  z.object({
    devices: z.array(
      z.object({
        qdev_id: z.string(),
        id: z.object({ vendor: z.number(), device: z.number() }),
        class_info: z.object({ class: z.number() }),
      }),
    ),
  }),
);

async function idsOf(qmp: Qmp, qdev: string): Promise<Ids> {
  const device = Pci.parse(await qmp.call("query-pci"))
    .flatMap(({ devices }) => devices)
    .find(({ qdev_id }) => qdev_id === qdev);
  if (device === undefined) throw new Error(`QEMU has no PCI device ${qdev}`);
  return { ...device.id, class: device.class_info.class };
}

/** Offsets in the configuration space, as the PCI specification gives them. */
const [VENDOR, DEVICE, CLASS] = [0, 2, 10];

/** Places in QEMU's writable memory where a configuration space with these ids may begin. */
function* places(memory: number, pid: number, { vendor, device, class: kind }: Ids): Generator<number> {
  const begin = Buffer.alloc(4);
  begin.writeUInt16LE(vendor, VENDOR);
  begin.writeUInt16LE(device, DEVICE);
  const maps = readFileSync(`/proc/${pid}/maps`, "utf8");
  for (const [, from = "", to = ""] of maps.matchAll(/^([0-9a-f]+)-([0-9a-f]+) rw-p \S+ \S+ 0 *(?:\[heap\])?$/gm)) {
    const [start, end] = [Number.parseInt(from, 16), Number.parseInt(to, 16)];
    // The guest's own memory and the translation cache are far larger than any allocation of QEMU's.
    if (end - start > 64 * 2 ** 20) continue;
    const chunk = Buffer.alloc(end - start);
    if (readSync(memory, chunk, 0, chunk.length, start) !== chunk.length) continue;
    for (let at = chunk.indexOf(begin); at >= 0; at = chunk.indexOf(begin, at + 1))
      if (at + 12 <= chunk.length && chunk.readUInt16LE(at + CLASS) === kind) yield start + at;
  }
}

function write(memory: number, place: number, { vendor, device, class: kind }: Ids): void {
  for (const [offset, value] of [
    [VENDOR, vendor],
    [DEVICE, device],
    [CLASS, kind],
  ] as const) {
    const bytes = Buffer.alloc(2);
    bytes.writeUInt16LE(value);
    writeSync(memory, bytes, 0, 2, place + offset);
  }
}

/** Gives the device `qdev` of a paused QEMU that has not run yet other ids. Throws unless QEMU itself then says so. */
export async function setIds(qmp: Qmp, pid: number, qdev: string, wanted: Ids): Promise<void> {
  const now = await idsOf(qmp, qdev);
  const memory = openSync(`/proc/${pid}/mem`, "r+");
  try {
    for (const place of places(memory, pid, now)) {
      write(memory, place, wanted);
      const seen = await idsOf(qmp, qdev);
      if (seen.vendor === wanted.vendor && seen.device === wanted.device && seen.class === wanted.class) return;
      // Another device's, or a copy: as it was.
      write(memory, place, now);
    }
  } finally {
    closeSync(memory);
  }
  throw new Error(`the configuration space of QEMU's device ${qdev} was not found in its memory`);
}
