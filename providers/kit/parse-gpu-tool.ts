/** One GPU or NVSwitch as `nvidia_gpu_tools.py` speaks of it, on stdout or stderr, in whatever order. */
export interface ToolGpu {
  readonly bdf: string;
  /** `H100-PCIE`; empty for a GPU whose name could not be read. */
  readonly name: string;
  /** Four hex digits. */
  readonly device: string;
  /** `off`, `on`, `devtools`, or the tool's own word for a state it calls invalid; undefined when no line says. */
  readonly mode: string | undefined;
  /** Protected PCIe: `off`, `on`, or `unsupported` by this board or its firmware; undefined when no line says. */
  readonly ppcie: string | undefined;
  readonly trouble:
    | "broken"
    | "unsupported"
    | "driver-loaded"
    | "switch-failed"
    | "in-recovery"
    | "timeout"
    | undefined;
}

const WHO =
  /(?:GPU|NvSwitch|Device) ([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])(?: ([A-Za-z][\w-]*))?(?: 0x([0-9a-f]{4})\b)?/i;

/**
 * Reads both streams of the tool (it logs what matters to stderr; the ancestor `gpu_cc_tool.py` too). Sources:
 * NVIDIA/gpu-admin-tools cli/per_gpu.py, cli/per_gpu_nvswitch.py and pci/; seed 001, "Configuring the GPU".
 */
export function parseGpuTool(stdout: string, stderr: string): ToolGpu[] {
  const gpus = new Map<string, ToolGpu>();
  for (const line of `${stdout}\n${stderr}`.split("\n")) {
    // A "Topo:" tree names switches and bridges too: only lines that speak of a GPU or NVSwitch count.
    const who = WHO.exec(line);
    const bdf = who?.[1]?.toLowerCase();
    if (who === null || bdf === undefined) continue;
    const before = gpus.get(bdf);
    gpus.set(bdf, {
      bdf,
      name: before?.name || (who[3] === undefined ? "" : (who[2] ?? "")),
      device: before?.device || (who[3] ?? ""),
      mode: modeOf(line) ?? before?.mode,
      ppcie: ppcieOf(line) ?? before?.ppcie,
      trouble: troubleOf(line) ?? before?.trouble,
    });
  }
  return [...gpus.values()];
}

function modeOf(line: string): string | undefined {
  return (
    /\bCC mode is ([a-z-]+)\s*$/.exec(line)?.[1] ??
    /\bfailed to switch to CC mode [a-z]+, current mode is ([a-z-]+)\.?\s*$/.exec(line)?.[1] ??
    /\bhas CC mode ([a-z-]+), some functionality may not work/.exec(line)?.[1]
  );
}

function ppcieOf(line: string): string | undefined {
  if (/\bPPCIe( mode| settings)?( is)? not supported on\b|does not support PPCIe on current FW/.test(line))
    return "unsupported";
  return (
    /\bPPCIe mode is ([a-z-]+)\s*$/.exec(line)?.[1] ??
    /\bfailed to switch to PPCIe mode [a-z]+, current mode is ([a-z-]+)\.?\s*$/.exec(line)?.[1] ??
    /\bhas PPCIe mode ([a-z-]+), some functionality may not work/.exec(line)?.[1]
  );
}

function troubleOf(line: string): ToolGpu["trouble"] {
  if (/failed to switch to (CC|PPCIe) mode/.test(line)) return "switch-failed";
  if (/is broken and --recover-broken-gpu|\[broken,|\bbroken\b/.test(line)) return "broken";
  if (/nvidia driver appears to be using/.test(line)) return "driver-loaded";
  if (/(Querying CC mode|Configuring CC|Querying CC settings)( is)? not supported on/.test(line)) return "unsupported";
  if (/is in recovery/.test(line)) return "in-recovery";
  if (/timed? ?out/i.test(line)) return "timeout";
  return undefined;
}
