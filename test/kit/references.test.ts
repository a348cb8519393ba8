import { describe, expect, test } from "@jest/globals";
import { isPublished, type Reference } from "../../providers/kit/references.ts";

/** Ids as NVIDIA's documents show them. */
const IDS = [
  "NV_GPU_DRIVER_GH100_535.104.05",
  "NV_GPU_DRIVER_GH100_580.95.05",
  "NV_GPU_VBIOS_1010_0200_882_96005E0001",
  "NV_NIC_FIRMWARE_CX7_28.39.4082-LTS_MCX713104AC-ADA",
  "NV_SWITCH_BIOS_5612_0002_890_96105E0001",
];

describe("reference values are published", () => {
  test.each<[Reference["what"], string, boolean]>([
    ["driver", "580.95.05", true],
    ["driver", "580.", true],
    ["driver", "580", false],
    ["driver", "580.95", false],
    ["driver", "58.", false],
    ["driver", "581.", false],
    ["driver", "", false],
    ["driver", "28.39.4082-LTS_MCX713104AC-ADA", false],
    ["vbios", "96.00.5E.00.01", true],
    ["vbios", "96.00.5e.00.01", true],
    ["vbios", "96.00.5E.00.02", false],
    ["vbios", "96.10.5E.00.01", false],
    ["switch-bios", "96.10.5E.00.01", true],
  ])("for %s %j: %s", (what, version, published) => {
    expect(isPublished({ what, version }, IDS)).toBe(published);
  });

  test("for nothing, where there are none", () => {
    for (const what of ["driver", "vbios", "switch-bios"] as const)
      expect(isPublished({ what, version: "580." }, [])).toBe(false);
  });
});
