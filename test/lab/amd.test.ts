import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { type Production, up } from "./production.ts";
import { SPARE } from "./vm/machine.ts";
import { AMD, ensureImage, startVm, stopVms, type Vm } from "./vm/vm.ts";

/*
 * QEMU's AMD IOMMU under Debian's larger kernel, which knows it: an image of its own, so not part of what CI runs.
 */
const LONG = 1_200_000;

beforeAll(() => ensureImage(AMD.image), 2 * LONG);
afterAll(stopVms);

const driver = async (vm: Vm) =>
  (await vm.run(`readlink /sys/bus/pci/devices/${SPARE}/driver`)).stdout.trim().split("/").at(-1);
const well = { error: undefined, findings: [] };

test(
  "AMD's IOMMU: the card is bound and stays so over a reset; with amd_iommu=off nothing is, and up says why",
  async () => {
    const vm = await startVm(AMD);
    const how: Production = { node: vm.node("lab-01"), wants: [["vfio-binding", { gpus: "all" }]] };
    expect(await vm.sh("journalctl -k -b -o cat --no-pager")).toMatch(/AMD-Vi: Interrupt remapping enabled/);
    expect(await up(how)).toMatchObject(well);
    expect(await driver(vm)).toBe("vfio-pci");
    await vm.reboot();
    expect(await driver(vm)).toBe("vfio-pci");
    expect((await up(how)).ran).toEqual([]);

    await vm.sh(
      `sed -i 's/^GRUB_CMDLINE_LINUX_DEFAULT=.*/GRUB_CMDLINE_LINUX_DEFAULT="amd_iommu=off"/' /etc/default/grub && update-grub`,
    );
    await vm.reboot();
    expect(await driver(vm)).toBe("");
    const { error } = await up(how);
    expect(error?.parts).toMatchObject({
      code: "action.failed",
      node: "lab-01",
      subject: "vfio-binding.bind",
      next: expect.stringMatching(/amd_iommu=off/),
    });
  },
  LONG,
);
