import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { parseGpuTool } from "../../providers/kit/parse-gpu-tool.ts";

const H100 = "GPU 0000:c6:00.0 H100-PCIE 0x2313 BAR0 0x11042000000";
const TOPO = `NVIDIA GPU Tools version v2025.10.20o
Command line arguments: ['/opt/teeup/gpu-admin-tools/nvidia_gpu_tools.py', '--devices', 'gpus', '--query-cc-mode']
Topo:
  PCI 0000:c0:03.1 0x1022:0x1483
   PCI 0000:c1:00.0 0x15b3:0x1979
       ${H100}
`;
const log = (level: string, text: string) => `2026-01-15,08:00:00.000 ${level.padEnd(8)} ${text}\n`;

describe("the tool's own words (synthetic, after cli/per_gpu.py and seed 001)", () => {
  test("a mode line, on stderr where the tool logs", () => {
    expect(parseGpuTool(TOPO, log("INFO", `${H100} CC mode is off`))).toEqual([
      { bdf: "0000:c6:00.0", name: "H100-PCIE", device: "2313", mode: "off", trouble: undefined },
    ]);
  });

  test("seed 001's sample prints no mode when it is off: then nothing is known", () => {
    expect(parseGpuTool(TOPO, "")[0]?.mode).toBeUndefined();
  });

  test("the ancestor's warning tells devtools", () => {
    const warning = `WARNING:root:${H100} has CC mode devtools, some functionality may not work\n`;
    expect(parseGpuTool(TOPO, warning)[0]?.mode).toBe("devtools");
  });

  test("a switch that failed: the mode is the one that stayed", () => {
    const text = `gpu.error.GpuError: ${H100} failed to switch to CC mode on, current mode is off.\n`;
    expect(parseGpuTool("", text)).toEqual([
      { bdf: "0000:c6:00.0", name: "H100-PCIE", device: "2313", mode: "off", trouble: "switch-failed" },
    ]);
  });

  describe("Protected PCIe (synthetic, after cli/per_gpu_nvswitch.py)", () => {
    const SWITCH = "NvSwitch 0000:a1:00.0 LS10 0x22a3 BAR0 0x9c000000";
    test.each([
      [`${SWITCH} PPCIe mode is on`, "on"],
      [`${SWITCH} has PPCIe mode on, some functionality may not work`, "on"],
      [`gpu.error.GpuError: ${SWITCH} failed to switch to PPCIe mode on, current mode is off.`, "off"],
      [`Querying PPCIe mode is not supported on ${SWITCH}`, "unsupported"],
      [`${SWITCH} does not support PPCIe on current FW. A FW update is required.`, "unsupported"],
      [`Selected ${SWITCH}`, undefined],
    ])("%s", (line, ppcie) => {
      expect(parseGpuTool("", log("INFO", line))[0]).toMatchObject({ bdf: "0000:a1:00.0", device: "22a3", ppcie });
    });

    test("a GPU's two modes stand beside each other", () => {
      const text = log("INFO", `${H100} CC mode is off`) + log("INFO", `${H100} PPCIe mode is on`);
      expect(parseGpuTool("", text)).toMatchObject([{ mode: "off", ppcie: "on", trouble: undefined }]);
    });
  });

  test.each([
    [
      "broken",
      log(
        "ERROR",
        "GPU 0000:c6:00.0 [broken, cfg space working 0 bars configured 0] is broken and --recover-broken-gpu was not specified, returning failure.",
      ),
    ],
    [
      "driver-loaded",
      log(
        "ERROR",
        `The nvidia driver appears to be using ${H100}, aborting. Specify --ignore-nvidia-driver to ignore this check.`,
      ),
    ],
    ["unsupported", log("ERROR", `Querying CC mode is not supported on ${H100}`)],
    ["in-recovery", log("WARNING", `${H100} is in recovery`)],
    ["timeout", `gpu.error.GpuPollTimeout: ${H100} Timed out polling register boot (0x1234)\n`],
  ] as const)("%s", (trouble, text) => {
    expect(parseGpuTool("", text)[0]).toMatchObject({ bdf: "0000:c6:00.0", trouble });
  });

  test("eight GPUs, on whichever stream, each with its own mode", () => {
    const gpu = fc.record({
      bus: fc.integer({ min: 1, max: 254 }),
      mode: fc.constantFrom("off", "on", "devtools"),
      stream: fc.constantFrom("out", "err"),
    });
    fc.assert(
      fc.property(fc.uniqueArray(gpu, { selector: (g) => g.bus, maxLength: 8 }), (gpus) => {
        const bdf = (bus: number) => `0000:${bus.toString(16).padStart(2, "0")}:00.0`;
        const line = (g: { bus: number; mode: string }) =>
          log("INFO", `GPU ${bdf(g.bus)} H100 0x2331 BAR0 0x11042000000 CC mode is ${g.mode}`);
        const on = (stream: string) =>
          gpus
            .filter((g) => g.stream === stream)
            .map(line)
            .join("");
        const seen = parseGpuTool(on("out"), on("err"));
        expect(new Map(seen.map((g) => [g.bdf, g.mode]))).toEqual(new Map(gpus.map((g) => [bdf(g.bus), g.mode])));
      }),
    );
  });
});

test("any other text names no GPU, and never throws", () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 200 }), fc.string({ maxLength: 200 }), (out, err) => {
      expect(parseGpuTool(out, err)).toEqual([]);
    }),
  );
});
