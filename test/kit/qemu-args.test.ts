import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import type { VmSpec } from "../../providers/kit/qemu-args.ts";
import {
  argvOfUnit,
  devicesOfUnit,
  execLine,
  gpuModeOfUnit,
  mmioWindow,
  qemuArgv,
  vmUnit,
} from "../../providers/kit/qemu-args.ts";

const vm: VmSpec = {
  tee: "sev-snp",
  qemu: "/opt/teeup/qemu/bin/qemu-system-x86_64",
  ovmf: "/opt/teeup/ovmf/OVMF.fd",
  ovmfAs: "bios",
  cpuModel: "EPYC-v4",
  cpus: 8,
  memoryGiB: 64,
  snp: { cbitpos: 51, reducedPhysBits: 1, policy: "0x30000" },
  quoteSocket: "unix:/var/run/tdx-qgs/qgs.socket",
  memfd: true,
  iommufd: true,
  gpus: ["0000:81:00.0", "0000:c1:00.0"],
  switches: [],
  mmio64MiBPerGpu: 262_144,
  sshPort: 2222,
};

describe("QEMU's arguments", () => {
  const argv = qemuArgv(vm).join(" ");

  test("SEV-SNP, memory and firmware", () => {
    expect(argv).toContain("-machine q35,confidential-guest-support=sev0,vmport=off,memory-backend=ram0");
    expect(argv).toContain("-object sev-snp-guest,id=sev0,cbitpos=51,reduced-phys-bits=1,policy=0x30000");
    expect(argv).toContain("-object memory-backend-memfd,id=ram0,size=64G,share=true,prealloc=false");
    expect(argv).toContain("-bios /opt/teeup/ovmf/OVMF.fd");
  });

  test("every GPU behind a root port of its own, an MMIO window for all of them", () => {
    expect(argv).toContain("-device pcie-root-port,id=pci.1,bus=pcie.0,chassis=1");
    expect(argv).toContain("-device vfio-pci,host=0000:c1:00.0,bus=pci.2,iommufd=iommufd0");
    expect(argv).toContain("-fw_cfg name=opt/ovmf/X-PciMmio64Mb,string=524288");
  });

  test("ssh is forwarded from the loopback only, and the console is appended to", () => {
    expect(argv).toContain("hostfwd=tcp:127.0.0.1:2222-:22");
    expect(argv).toContain("path=/var/lib/teeup/vm/cvm0/console.log,append=on");
  });

  test("a guest that holds a GPU shows it in the first 512 bytes of its command line", () => {
    const eight = { ...vm, gpus: Array.from({ length: 8 }, (_, i) => `0000:${i + 1}1:00.0`) };
    expect(qemuArgv(eight).join(" ").slice(0, 512)).toContain("vfio-pci,host=0000:11:00.0");
  });

  test("the 2023 recipe: pflash, no memfd, no iommufd", () => {
    const old = qemuArgv({
      ...vm,
      ovmfAs: "pflash",
      memfd: false,
      iommufd: false,
      snp: { ...vm.snp, policy: undefined },
    });
    expect(old.join(" ")).toContain("-drive if=pflash,format=raw,unit=0,file=/opt/teeup/ovmf/OVMF.fd,readonly=on");
    expect(old.join(" ")).not.toMatch(/memory-backend|iommufd|policy/);
  });
});

describe("a TD's arguments", () => {
  const td: VmSpec = { ...vm, tee: "tdx", cpuModel: "host", memfd: false };
  const argv = qemuArgv(td).join(" ");

  test("TDX, the host's CPU, firmware by -bios, and where quotes come from", () => {
    expect(argv).toContain("-machine q35,confidential-guest-support=tdx0,vmport=off,kernel-irqchip=split ");
    expect(argv).toContain(
      "-object tdx-guest,id=tdx0,quote-generation-socket.type=unix,quote-generation-socket.path=/var/run/tdx-qgs/qgs.socket",
    );
    expect(argv).toContain("-cpu host -smp 8 -m 64G -bios /opt/teeup/ovmf/OVMF.fd");
    expect(argv).not.toMatch(/sev|memory-backend/);
  });

  test("quotes by vsock, as canonical/tdx has it", () => {
    expect(qemuArgv({ ...td, quoteSocket: "vsock:2:4050" }).join(" ")).toContain(
      "quote-generation-socket.type=vsock,quote-generation-socket.cid=2,quote-generation-socket.port=4050",
    );
  });

  test("eight GPUs, then four switches, each behind a port of its own; the window counts GPUs only", () => {
    const eight = qemuArgv({
      ...td,
      gpus: Array.from({ length: 8 }, (_, i) => `0000:${i + 1}1:00.0`),
      switches: Array.from({ length: 4 }, (_, i) => `0000:a${i + 1}:00.0`),
    });
    expect(eight.filter((a) => a.startsWith("vfio-pci,"))).toHaveLength(12);
    expect(eight).toContain("vfio-pci,host=0000:a4:00.0,bus=pci.12,iommufd=iommufd0");
    expect(eight).toContain("name=opt/ovmf/X-PciMmio64Mb,string=2097152");
  });

  test("the unit says whose it is, and every device can be read back from it", () => {
    const unit = vmUnit({ ...td, switches: ["0000:a1:00.0"] }, "ppcie");
    expect(unit).toContain("Description=Confidential VM cvm0 (TDX)");
    expect(devicesOfUnit(unit)).toEqual(["0000:81:00.0", "0000:c1:00.0", "0000:a1:00.0"]);
  });
});

test("the window: one GPU keeps the guide's value, more get the next power of two", () => {
  expect(mmioWindow(262_144, 1)).toBe(262_144);
  expect(mmioWindow(262_144, 3)).toBe(1_048_576);
  fc.assert(
    fc.property(fc.integer({ min: 65_536, max: 1_048_576 }), fc.integer({ min: 1, max: 16 }), (per, gpus) => {
      const window = mmioWindow(per, gpus);
      expect(window).toBeGreaterThanOrEqual(per * gpus);
      expect(window & (window - 1)).toBe(0);
    }),
  );
});

test("the unit keeps the arguments and the GPU mode readable", () => {
  const unit = vmUnit(vm, "devtools");
  expect(argvOfUnit(unit)).toBe(qemuArgv(vm).join(" "));
  expect(gpuModeOfUnit(unit)).toBe("devtools");
  expect(unit).toContain("Restart=always");
});

test("systemd reads back every word of an ExecStart line", () => {
  const word = fc.string({ unit: fc.constantFrom(..."ab0=,./-%$\"'\\ ;{}"), minLength: 1 });
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 5 }), (words) => {
      expect(systemdSplit(execLine(words))).toEqual(words);
    }),
  );
});

/** As systemd.service(5), "Command lines" says: double quotes, backslash escapes, %% and $$. */
function systemdSplit(line: string): string[] {
  const words: string[] = [];
  for (const match of line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)) {
    const raw = match[1] === undefined ? (match[2] ?? "") : match[1].replace(/\\(.)/g, "$1");
    words.push(raw.replaceAll("%%", "%").replaceAll("$$", "$"));
  }
  return words;
}
