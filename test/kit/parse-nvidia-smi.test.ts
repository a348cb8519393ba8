import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import {
  compareVbios,
  parseCcFeature,
  parseConfCompute,
  parseDevtools,
  parseDriverVersion,
  parseModinfo,
  parseMultiGpuMode,
  parseReadyState,
  parseSmiGpus,
  parseSmiVbios,
} from "../../providers/kit/parse-nvidia-smi.ts";
import { capture, section, withCaptures } from "./captures.ts";

const ALL = [
  parseCcFeature,
  parseConfCompute,
  parseDevtools,
  parseDriverVersion,
  parseModinfo,
  parseMultiGpuMode,
  parseReadyState,
  parseSmiGpus,
];

withCaptures(describe)("real H200 with driver 580.159.04, CC mode off", () => {
  test.each(["h200/1gpu", "h200/8gpu"])("conf-compute of %s", (folder) => {
    const file = `${folder}/nvidia-smi-conf-compute.txt`;
    const smi = (flag: string) => section(file, `nvidia-smi conf-compute ${flag}`);
    expect(parseCcFeature(smi("-f"))).toBe("off");
    expect(parseDevtools(smi("-d"))).toBe("off");
    expect(parseMultiGpuMode(smi("-mgm"))).toBe("None");
    expect(parseConfCompute(smi("-q"))).toEqual({
      cc: "off",
      multiGpu: "None",
      cpu: "None",
      gpu: "CC Capable",
      ready: "not-ready",
    });
  });

  test("ready state", () => {
    expect(parseReadyState(section("h200/8gpu/nvidia-smi-conf-compute.txt", "nvidia-smi conf-compute -grs"))).toBe(
      "not-ready",
    );
  });

  test.each([
    ["h200/1gpu", 1],
    ["h200/8gpu", 8],
  ] as const)("GPUs and VBIOS of %s", (folder, count) => {
    const gpus = parseSmiGpus(capture(`${folder}/nvidia-smi-query.csv`));
    expect(gpus).toHaveLength(count);
    expect(gpus?.[0]).toEqual({
      bdf: "0000:00:06.0",
      name: "NVIDIA H200",
      vbios: "96.00.A5.00.1A",
      driver: "580.159.04",
      persistence: true,
    });
    const vbios = parseSmiVbios(capture(`${folder}/nvidia-smi-q.txt`));
    expect([...vbios.keys()]).toEqual(gpus?.map((g) => g.bdf));
    expect(new Set(vbios.values())).toEqual(new Set(["96.00.A5.00.1A"]));
    expect(compareVbios("96.00.A5.00.1A", "96.00.5E.00.00")).toBe(1);
  });

  test("/proc/driver/nvidia/version", () => {
    expect(parseDriverVersion(capture("h200/1gpu/proc-driver-nvidia.txt"))).toEqual({
      version: "580.159.04",
      open: true,
    });
  });

  test("what is refused is no answer", () => {
    const refused = section("h200/1gpu/nvidia-smi-conf-compute.txt", "nvidia-smi conf-compute -gcs");
    for (const parse of ALL) expect(parse(refused)).toBeUndefined();
  });
});

describe("CC on, as the documents print it (synthetic)", () => {
  test("status, devtools, ready", () => {
    expect(parseCcFeature("CC status: ON\n")).toBe("on");
    expect(parseDevtools("DevTools Mode: ON\n")).toBe("on");
    expect(parseReadyState("Confidential Compute GPUs Ready state: ready\n")).toBe("ready");
    expect(parseMultiGpuMode("Multi-GPU Mode: Protected PCIe\n")).toBe("Protected PCIe");
  });

  test("a proprietary kernel module is told apart", () => {
    const text = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.86.10  Wed Jul 26 23:20:03 UTC 2023\n";
    expect(parseDriverVersion(text)).toEqual({ version: "535.86.10", open: false });
    expect(parseModinfo("version:        535.86.10\nlicense:        NVIDIA\n")).toEqual({
      version: "535.86.10",
      open: false,
    });
  });
});

describe("text that is not theirs", () => {
  test("is never a verdict, and never throws", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 300 }), (text) => {
        for (const parse of ALL) expect(parse(text)).toBeUndefined();
        expect(parseSmiVbios(text).size).toBe(0);
      }),
    );
  });

  withCaptures(test)("cut anywhere, an answer says less or the same, never the opposite", () => {
    const whole = section("h200/8gpu/nvidia-smi-conf-compute.txt", "nvidia-smi conf-compute -q");
    fc.assert(
      fc.property(fc.nat(whole.length), (at) => {
        const seen = parseConfCompute(whole.slice(0, at));
        if (seen !== undefined) expect(seen).toEqual(parseConfCompute(whole));
      }),
    );
    const csv = capture("h200/8gpu/nvidia-smi-query.csv");
    const all = parseSmiGpus(csv) ?? [];
    fc.assert(
      fc.property(fc.nat(csv.length), (at) => {
        const seen = parseSmiGpus(csv.slice(0, at));
        if (seen !== undefined) expect(all.map((g) => g.bdf)).toEqual(expect.arrayContaining(seen.map((g) => g.bdf)));
      }),
    );
  });
});

describe("VBIOS versions", () => {
  const version = fc.array(fc.nat(255), { minLength: 5, maxLength: 5 });
  const show = (v: readonly number[]) => v.map((n) => n.toString(16).padStart(2, "0")).join(".");

  test("order is that of their groups as numbers, whatever the case", () => {
    fc.assert(
      fc.property(version, version, (a, b) => {
        const i = a.findIndex((n, k) => n !== b[k]);
        const order = i < 0 ? 0 : Math.sign((a[i] ?? 0) - (b[i] ?? 0));
        expect(compareVbios(show(a), show(b).toUpperCase())).toBe(order);
      }),
    );
  });

  test("what is no version cannot be compared", () => {
    expect(compareVbios("N/A", "96.00.5E.00.00")).toBeUndefined();
  });
});
