import type { FileNode } from "./files.ts";
import { file, program } from "./files.ts";
import type { Machine } from "./machine.ts";
import { isNvSwitch, NVSWITCH_DRIVER } from "./pci.ts";

export const FABRIC_MANAGER = "/usr/bin/nv-fabricmanager";
const CONFIG = "/usr/share/nvidia/nvswitch/fabricmanager.cfg";

/** What the package of one driver branch brings. */
export const fabricFiles = (version: string): Readonly<Record<string, FileNode>> => ({
  [FABRIC_MANAGER]: program("nv-fabricmanager", version),
  [CONFIG]: file("LOG_LEVEL=4\nLOG_FILE_NAME=/var/log/fabricmanager.log\nDAEMONIZE=1\nFABRIC_MODE=0\n"),
  "/usr/lib/systemd/system/nvidia-fabricmanager.service": file(
    [
      "[Unit]",
      "Description=NVIDIA fabric manager service",
      "After=network-online.target",
      "Requires=network-online.target",
      "",
      "[Service]",
      "User=root",
      "PrivateTmp=false",
      "Type=forking",
      `ExecStart=${FABRIC_MANAGER} -c ${CONFIG}`,
      "LimitCORE=infinity",
      "",
      "[Install]",
      "WantedBy=multi-user.target",
      "",
    ].join("\n"),
  ),
});

/** What keeps the fabric manager from starting, in its own words; undefined once the fabric is configured. */
export function configureFabric(machine: Machine): string | undefined {
  const { node, now } = machine;
  const switches = machine.pci.filter(
    (f) =>
      isNvSwitch(f) && now.drivers.get(f.bdf) === NVSWITCH_DRIVER && node.deviceAt(machine, f.bdf)?.broken !== true,
  );
  if (switches.length === 0)
    return "request to query NVSwitch device information from NVSwitch driver failed with error:WARNING Nothing to do [NV_WARN_NOTHING_TO_DO]";
  const own = machine.files.readIf(FABRIC_MANAGER) ?? "";
  const driver = node.driverOf(machine)?.version ?? "";
  if (own !== driver)
    return `fabric manager NVIDIA GPU driver interface version ${own} don't match with driver version ${driver}. Please update with matching NVIDIA driver package.`;
  const modes = new Set(
    [...now.gpus.keys(), ...switches.map((f) => f.bdf)].map((bdf) => node.deviceAt(machine, bdf)?.ppcie),
  );
  // What it says of a fabric that is protected in parts is not public; this text is made up.
  if (modes.size > 1)
    return "failed to initialize all the GPUs and NVSwitches: PPCIe mode is not the same on all devices";
  now.fabric.configured = true;
  return undefined;
}

/** `Fabric` of nvidia-smi: GPUs without NVSwitches have none. */
export function fabricState(machine: Machine): { readonly state: string; readonly status: string } {
  if (!machine.pci.some(isNvSwitch)) return { state: "N/A", status: "N/A" };
  return machine.now.fabric.configured
    ? { state: "Completed", status: "Success" }
    : { state: "In Progress", status: "N/A" };
}
