import type { FileNode } from "./files.ts";
import { file, program } from "./files.ts";
import { parseConfig } from "./kernel.ts";
import type { Machine } from "./machine.ts";
import type { PciFunction } from "./pci.ts";

export interface Driver {
  readonly version: string;
  readonly open: boolean;
}

/** Programs and unit of the driver's user space. */
export function nvidiaFiles(driver: Driver): readonly (readonly [string, FileNode])[] {
  return [
    ["/usr/bin/nvidia-smi", program("nvidia-smi", driver.version)],
    ["/usr/bin/nvidia-persistenced", program("nvidia-persistenced", driver.version)],
    ["/usr/bin/nvidia-modprobe", program("nvidia-modprobe", driver.version)],
    [
      `/usr/src/nvidia-${driver.version}/dkms.conf`,
      file(`PACKAGE_NAME="nvidia"\nPACKAGE_VERSION="${driver.version}"\n`),
    ],
    [`/usr/src/nvidia-${driver.version}/flavour`, file(driver.open ? "open\n" : "proprietary\n")],
    [
      "/usr/lib/systemd/system/nvidia-persistenced.service",
      file(
        [
          "[Unit]",
          "Description=NVIDIA Persistence Daemon",
          "Wants=syslog.target",
          "StopWhenUnneeded=true",
          "Before=systemd-backlight@backlight:nvidia_0.service",
          "",
          "[Service]",
          "Type=forking",
          "ExecStart=/usr/bin/nvidia-persistenced --user nvidia-persistenced --no-persistence-mode --verbose",
          "ExecStopPost=/bin/rm -rf /var/run/nvidia-persistenced",
          "",
        ].join("\n"),
      ),
    ],
  ];
}

/** What DKMS leaves for one kernel. */
export function builtModule(machine: Machine, release: string, driver: Driver): void {
  machine.files.write(
    `/lib/modules/${release}/updates/dkms/nvidia.ko`,
    `nvidia ${driver.version} ${driver.open ? "open" : "proprietary"}\n`,
    { size: 14_000_000 },
  );
}

/** The driver that modprobe would load into the running kernel. */
export function driverFor(machine: Machine, release: string): Driver | undefined {
  const match = /^nvidia (\S+) (open|proprietary)$/m.exec(
    machine.files.readIf(`/lib/modules/${release}/updates/dkms/nvidia.ko`) ?? "",
  );
  return match?.[1] === undefined ? undefined : { version: match[1], open: match[2] === "open" };
}

/** The driver whose sources are on the machine, whichever kernels it was built for. */
export function installedDriver(machine: Machine): Driver | undefined {
  const folder = machine.files.listIf("/usr/src").find((name) => /^nvidia-\d/.test(name));
  if (folder === undefined) return undefined;
  return {
    version: folder.slice("nvidia-".length),
    open: machine.files.readIf(`/usr/src/${folder}/flavour`)?.trim() === "open",
  };
}

/** The kernel module takes a GPU: it shows under /proc, but nothing is initialised before somebody opens it. */
export function nvidiaProbe(machine: Machine, f: PciFunction): void {
  machine.now.gpus.set(f.bdf, { session: "none", ready: false });
}

/**
 * Somebody opens the GPU through the driver. Under CC that makes the SPDM session, once per function reset. Returns
 * the driver's complaint, or undefined.
 */
export function openGpu(machine: Machine, bdf: string): string | undefined {
  const state = machine.now.gpus.get(bdf);
  const gpu = machine.node.gpuAt(machine, bdf);
  const driver = driverFor(machine, machine.now.kernel.release);
  if (state === undefined || gpu === undefined || driver === undefined) return "no such device";
  if (state.session === "up") return undefined;
  const fail = (...lines: string[]): string => {
    for (const line of lines) machine.logs.kernel(line);
    machine.logs.kernel(`NVRM: GPU ${bdf}: RmInitAdapter failed! (0x62:0x40:1924)`);
    machine.logs.kernel(`NVRM: GPU ${bdf}: rm_init_adapter failed, device minor number 0`);
    state.failed = lines[0] ?? "RmInitAdapter failed";
    return "RmInitAdapter failed!";
  };
  if (machine.node.faults.gpuInit !== undefined) return fail(machine.node.faults.gpuInit);
  if (machine.kind === "guest" && machine.node.guestMmioTooSmall)
    return fail(
      `NVRM: This PCI I/O region assigned to your NVIDIA device is invalid:\nNVRM: BAR1 is 0M @ 0x0 (PCI:${bdf})`,
    );
  if (!gpu.protected) {
    state.session = "up";
    gpu.session = "up";
    return undefined;
  }
  // From here on the GPU only talks to a confidential guest.
  if (!driver.open) return fail(`NVRM: GPU ${bdf}: confidential computing needs the open kernel modules`);
  if (machine.kind === "host" || machine.node.guestTee === undefined)
    return fail("NVRM: confComputeConstructEngine: CPU does not support confidential compute");
  const config = parseConfig(machine.now.kernel.config);
  const ecc = ["CONFIG_CRYPTO_ECDSA", "CONFIG_CRYPTO_ECDH"].every((name) => config.has(name));
  if (
    !ecc ||
    !lkca(machine, "ecdsa_generic", "CONFIG_CRYPTO_ECDSA") ||
    !lkca(machine, "ecdh_generic", "CONFIG_CRYPTO_ECDH")
  ) {
    return fail(
      "NVRM: libspdm expects LKCA but found stubs!",
      "NVRM: nvAssertOkFailedNoLog: Assertion failed: Failure: Generic Error [NV_ERR_GENERIC] (0x0000FFFF) @ spdm.c",
    );
  }
  if (gpu.session !== "none")
    return fail(
      "NVRM: SPDM: the GPU refuses a second session until it is reset (FLR)",
      "NVRM: confComputeEstablishSpdmSessionAndKeys: Failed to establish session",
    );
  const [major] = driver.version.split(".").map(Number);
  if (machine.node.kernelTooNewForDriver(machine, major ?? 0))
    return fail(`NVRM: driver ${driver.version} does not support kernel ${machine.now.kernel.release}`);
  if (machine.node.swiotlbTooSmall) {
    machine.logs.kernel(
      "nvidia 0000:01:00.0: swiotlb buffer is full (sz: 4096 bytes), total 32768 (slots), used 32768 (slots)",
    );
    return fail("NVRM: dma mapping failed");
  }
  state.session = "up";
  gpu.session = "up";
  delete state.failed;
  return undefined;
}

function lkca(machine: Machine, name: string, option: string): boolean {
  return machine.now.modules.has(name) || parseConfig(machine.now.kernel.config).get(option) === "y";
}

/** The last user is gone and no persistence daemon holds on: the keys are destroyed. */
export function closeGpus(machine: Machine): void {
  if (machine.node.persistencedRuns(machine)) return;
  for (const [bdf, state] of machine.now.gpus) {
    if (state.session !== "up") continue;
    const gpu = machine.node.gpuAt(machine, bdf);
    state.session = gpu?.protected === false ? "none" : "destroyed";
    state.ready = false;
    if (gpu !== undefined) {
      gpu.session = state.session;
      gpu.ready = false;
    }
  }
}
