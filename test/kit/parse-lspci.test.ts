import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import type { PciDevice } from "../../providers/kit/parse-lspci.ts";
import {
  GpusSchema,
  isBridge,
  isGpu,
  isNvSwitch,
  modelOf,
  parseLspci,
  selectGpus,
} from "../../providers/kit/parse-lspci.ts";
import { capture, withCaptures } from "./captures.ts";

const hex = (digits: number) => fc.nat(16 ** digits - 1).map((n) => n.toString(16).padStart(digits, "0"));
const device: fc.Arbitrary<PciDevice> = fc.record({
  bdf: fc.tuple(hex(4), hex(2), hex(2), fc.nat(7)).map(([d, b, s, f]) => `${d}:${b}:${s}.${f}`),
  vendor: fc.constantFrom("10de", "1022", "8086"),
  device: hex(4),
  class: fc.constantFrom("0302", "0300", "0680", "0604", "0600", "0200"),
  revision: hex(2),
  driver: fc.option(fc.constantFrom("vfio-pci", "nvidia", "nouveau"), { nil: undefined }),
  group: fc.option(fc.nat(200).map(String), { nil: undefined }),
});

/** As lspci -Dvmmkn writes it. */
function print(devices: readonly PciDevice[]): string {
  return devices
    .map((d) =>
      [
        `Slot:\t${d.bdf}`,
        `Class:\t${d.class}`,
        `Vendor:\t${d.vendor}`,
        `Device:\t${d.device}`,
        "SVendor:\t10de",
        "SDevice:\t1626",
        `Rev:\t${d.revision}`,
        ...(d.driver === undefined ? [] : [`Driver:\t${d.driver}`]),
        "Module:\tnvidiafb",
        "Module:\tnouveau",
        "NUMANode:\t1",
        ...(d.group === undefined ? [] : [`IOMMUGroup:\t${d.group}`]),
        "",
      ].join("\n"),
    )
    .join("\n");
}

test("every device comes back as it was printed", () => {
  fc.assert(
    fc.property(fc.array(device, { maxLength: 12 }), (devices) => {
      expect(parseLspci(print(devices))).toEqual(devices);
    }),
  );
});

test("text of another form is no list of devices, and never throws", () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1, maxLength: 200 }), (text) => {
      if (text.trim() !== "") expect(parseLspci(text)).toBeUndefined();
    }),
  );
  expect(parseLspci("81:00.0 3D controller: NVIDIA Corporation Device 2336 (rev a1)\n")).toBeUndefined();
});

describe("which are GPUs", () => {
  withCaptures(test)("the real 8-GPU machine's devices, by vendor and class", () => {
    const rows = capture("h200/8gpu/topology-and-pci.txt").matchAll(
      /^(\S+) 0x(10de) 0x([0-9a-f]{4}) 0x([0-9a-f]{4})00 driver=(\S*) group=$/gm,
    );
    const devices = [...rows].map(([, bdf = "", vendor = "", id = "", cls = "", driver]): PciDevice => {
      return { bdf, vendor, device: id, class: cls, revision: "a1", driver, group: undefined };
    });
    expect(devices).toHaveLength(8);
    expect(devices.every(isGpu)).toBe(true);
    expect(new Set(devices.map((d) => modelOf(d.device)))).toEqual(new Set(["H200"]));
    expect(parseLspci(print(devices))).toEqual(devices);
  });

  test("an NVSwitch is neither GPU nor bridge; an id that nobody knows is still a GPU", () => {
    const d = (cls: string, id = "ffff"): PciDevice => {
      return {
        bdf: "0000:01:00.0",
        vendor: "10de",
        device: id,
        class: cls,
        revision: "a1",
        driver: undefined,
        group: "1",
      };
    };
    expect([
      isGpu(d("0302")),
      isGpu(d("0680")),
      isNvSwitch(d("0680")),
      isBridge(d("0680")),
      isBridge(d("0604")),
    ]).toEqual([true, false, true, false, true]);
    expect([modelOf("2336"), modelOf("2331"), modelOf("ffff")]).toEqual(["H100", "H100", undefined]);
  });

  test("`gpus` takes all or full addresses, and names those that are not there", () => {
    fc.assert(
      fc.property(fc.uniqueArray(device, { selector: (d) => d.bdf, maxLength: 8 }), (devices) => {
        const there = devices.filter(isGpu);
        expect(selectGpus(devices, "all").gpus).toEqual(there);
        const asked = [...there.map((d) => d.bdf), "ffff:ff:1f.7"];
        expect(selectGpus(devices, asked)).toEqual({ gpus: there, absent: ["ffff:ff:1f.7"] });
      }),
    );
    expect(GpusSchema.safeParse(["81:00.0"]).success).toBe(false);
    expect(GpusSchema.safeParse(["0000:81:00.0"]).success).toBe(true);
  });
});
