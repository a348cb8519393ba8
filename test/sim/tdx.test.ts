import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { Bios } from "../../sim/model/bios.ts";
import { BOARDS } from "../../sim/model/bios-boards.ts";
import { program } from "../../sim/model/files.ts";
import { updateGrub } from "../../sim/model/grub.ts";
import type { Machine } from "../../sim/model/machine.ts";
import type { TwinNode } from "../../sim/model/node.ts";
import { diskText, isoText } from "../../sim/model/stand-ins.ts";
import { SUPERMICRO_TDX } from "../../sim/scenarios-tdx.ts";
import type { TwinOptions } from "../../sim/twin.ts";
import { makeNode } from "../../sim/twin.ts";

const SEAM = "TDXSecureArbitrationModeLoader_SEAMLoader__3C7A";
const run = (machine: Machine, ...argv: string[]) => machine.node.exec(machine, argv);
const out = (machine: Machine, ...argv: string[]): string => {
  const { status, stdout, stderr } = run(machine, ...argv);
  if (status !== 0) throw new Error(`${argv.join(" ")}: exit ${status}: ${stderr || stdout}`);
  return stdout;
};
const log = (machine: Machine): string => machine.logs.ring.map((l) => l.text).join("\n");
const boot = (node: TwinNode): void => {
  node.reset("ForceRestart", "bmc");
  node.settle();
};
const words = (node: TwinNode, text: string): void => {
  node.host.files.write("/etc/default/grub.d/50-site.cfg", `GRUB_CMDLINE_LINUX="${text}"\n`);
  updateGrub(node.host);
};

interface Causes {
  readonly keys: boolean;
  readonly split: boolean;
  readonly seam: boolean;
  readonly nohibernate: boolean;
  readonly tdx: boolean;
  readonly module: "good" | "old" | "rbp";
  readonly holes: boolean;
}
const ALL: Causes = {
  keys: true,
  split: true,
  seam: true,
  nohibernate: true,
  tdx: true,
  module: "good",
  holes: false,
};
const MODULES = {
  good: { major: 1, minor: 5, update: 24 },
  old: { major: 1, minor: 0, update: 3 },
  rbp: { major: 1, minor: 5, update: 1 },
} as const;

/** A host that booted with these causes. */
function host(causes: Causes, options: TwinOptions = {}): TwinNode {
  const node = makeNode({ tee: "tdx", tdxModule: MODULES[causes.module], ...options });
  node.bios.force({
    ...SUPERMICRO_TDX,
    TrustDomainExtension_TDX__3C79: causes.keys ? "Enabled" : "Disabled",
    TME_MT_TDXKeySplit_F31D: causes.split ? 1 : 0,
    [SEAM]: causes.seam ? "Enabled" : "Disabled",
  });
  node.traps.memoryHoles = causes.holes;
  words(node, [causes.nohibernate ? "nohibernate" : "", causes.tdx ? "kvm_intel.tdx=1" : ""].join(" "));
  boot(node);
  return node;
}

describe("TDX hosts", () => {
  test.each<[string, Partial<Causes>, readonly string[], string | undefined]>([
    ["with every cause", {}, ["private KeyID range [32, 64)", "module initialized"], "Y"],
    ["without keys", { keys: false }, ["kvm_intel: tdx: no TDX private KeyIDs available"], "N"],
    ["with no key for TDX", { split: false }, ["kvm_intel: tdx: no TDX private KeyIDs available"], "N"],
    ["with hibernation", { nohibernate: false }, ["initialization failed: Hibernation support is enabled"], "N"],
    ["without SEAM loader", { seam: false }, ["virt/tdx: module not loaded"], "N"],
    ["without the parameter", { tdx: false }, ["private KeyID range"], "N"],
    // Upstream's kvm_intel does not load at all then.
    ["with an old module", { module: "old" }, ["module initialization failed (-5)"], undefined],
    ["with a module that clobbers RBP", { module: "rbp" }, ["module initialization failed (-22)"], undefined],
    ["with too many holes", { holes: true }, ["reserved areas exhausted", "initialization failed (-28)"], undefined],
  ])("%s", (_name, causes, lines, parameter) => {
    const node = host({ ...ALL, ...causes });
    for (const line of lines) expect(log(node.host)).toContain(line);
    expect(node.host.files.readIf("/sys/module/kvm_intel/parameters/tdx")?.trim()).toBe(parameter);
    expect(node.host.files.exists("/dev/kvm")).toBe(parameter !== undefined);
    expect(node.host.now.tdx.kvm).toBe(parameter === "Y");
  });

  test("TDs are offered only when every cause holds", () => {
    fc.assert(
      fc.property(
        fc.record({
          keys: fc.boolean(),
          split: fc.boolean(),
          seam: fc.boolean(),
          nohibernate: fc.boolean(),
          tdx: fc.boolean(),
          module: fc.constantFrom("good", "old", "rbp"),
          holes: fc.boolean(),
        }),
        (c: Causes) => {
          const node = host(c);
          const good = c.keys && c.split && c.seam && c.nohibernate && c.tdx && c.module === "good" && !c.holes;
          expect(node.host.now.tdx.kvm).toBe(good);
          const flags = out(node.host, "lscpu");
          expect(flags.includes("tdx_host_platform")).toBe(c.keys && c.split && c.nohibernate);
          expect(log(node.host).includes("module initialized")).toBe(good);
        },
      ),
      { numRuns: 40 },
    );
  });

  test("SGX devices are there when the BIOS says so", () => {
    const node = host(ALL);
    expect(out(node.host, "ls", "/dev")).toMatch(/^sgx_enclave$[\s\S]*^sgx_provision$/m);
    node.bios.force({ SWGuardExtensions_SGX__3C7B: "Disabled" });
    boot(node);
    expect(out(node.host, "ls", "/dev")).not.toMatch(/sgx/);
    expect(node.host.files.read("/sys/module/kvm_intel/parameters/sgx")).toBe("N\n");
  });
});

describe("boards with TDX", () => {
  test.each(["supermicro", "dell", "lenovo"] as const)("%s opens its settings in stages", (vendor) => {
    const bios = new Bios(vendor, "tdx");
    const board = BOARDS.tdx[vendor];
    const wanted = Object.fromEntries(
      ["privateKeys", "seamLoader", "sgx"].flatMap((name) => board?.on[name as "sgx"]?.map(([a, v]) => [a, v]) ?? []),
    ) as Record<string, string | number>;
    wanted[board?.keySplit ?? ""] = 1;
    let stages = 0;
    for (; bios.effect.privateKeys === undefined && stages < 9; stages++) {
      const open = Object.entries(wanted).filter(([name, value]) => bios.current[name] !== value && !bios.locked(name));
      expect(open).not.toEqual([]);
      expect(bios.stage(Object.fromEntries(open))).toEqual([]);
      expect(bios.stage({ [open[0]?.[0] ?? ""]: "no such value" })).not.toEqual([]);
      bios.apply();
    }
    expect(stages).toBe({ supermicro: 4, dell: 2, lenovo: 2 }[vendor]);
    expect(bios.effect).toMatchObject({ privateKeys: [32, 64], seamLoader: true, sgx: true, virtualisation: true });
  });

  test("no board is made up for a vendor that has none", () => {
    expect(() => new Bios("hpe", "tdx")).toThrow("no tdx board of hpe; there are: supermicro, dell, lenovo");
  });
});

const GPU = "0000:81:00.0";
const OVMF = "/usr/share/ovmf/OVMF.inteltdx.ms.fd";
const DISK = "/var/lib/vm/disk.qcow2";

/** A host with QEMU, libvirt and a disk, its devices bound. */
function stack(options: TwinOptions = {}, causes: Causes = ALL): TwinNode {
  const node = host(causes, options);
  out(node.host, "apt-get", "-y", "install", "driverctl", "qemu-system-x86", "ovmf-inteltdx", "libvirt-daemon-system");
  for (const bdf of [...node.gpus.keys(), ...node.switches.keys()])
    out(node.host, "driverctl", "set-override", bdf, "vfio-pci");
  node.host.files.write(DISK, diskText({ id: "d", image: "noble", format: "qcow2", virtual: 2 ** 36 }));
  node.host.files.write(
    "/var/lib/vm/seed.iso",
    isoText("cidata", { "user-data": "#cloud-config\n{}\n", "meta-data": "instance-id: one\n" }),
  );
  return node;
}

const hostdev = (bdf: string): string => {
  const [, bus] = bdf.split(":");
  return `<hostdev mode='subsystem' type='pci' managed='no'><source><address domain='0x0000' bus='0x${bus}' slot='0x00' function='0x0'/></source></hostdev>`;
};
const domain = (devices: readonly string[], more: { security?: string; emulator?: string; reboot?: string } = {}) =>
  `<domain type='kvm'><name>td</name><memory unit='KiB'>4194304</memory><vcpu>4</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><loader type='rom'>${OVMF}</loader></os>
<features><ioapic driver='qemu'/></features><cpu mode='host-passthrough'/>
<on_reboot>${more.reboot ?? "destroy"}</on_reboot>
<devices><emulator>${more.emulator ?? "/usr/bin/qemu-system-x86_64"}</emulator>
<disk type='file' device='disk'><source file='${DISK}'/><target dev='sda' bus='scsi'/></disk>
${devices.map(hostdev).join("\n")}</devices>
${more.security ?? "<launchSecurity type='tdx'><quoteGenerationService path='/run/q'/></launchSecurity>"}</domain>`;
const define = (node: TwinNode, xml: string) => {
  node.host.files.write("/root/td.xml", xml);
  return run(node.host, "virsh", "define", "/root/td.xml");
};

describe("libvirt", () => {
  test("a domain is defined, starts a TD with its GPU, and goes", () => {
    const node = stack();
    expect(define(node, domain([GPU]))).toMatchObject({
      status: 0,
      stdout: "Domain 'td' defined from /root/td.xml\n\n",
    });
    const inactive = out(node.host, "virsh", "dumpxml", "--inactive", "td");
    expect(inactive).toMatch(/machine="pc-q35-10.2"/);
    expect(out(node.host, "virsh", "domstate", "td")).toBe("shut off\n\n");
    out(node.host, "virsh", "start", "td");
    node.clock.settle();
    const guest = node.guest?.machine;
    if (guest === undefined) throw new Error("no guest");
    expect(node.guest).toMatchObject({ tee: "tdx", devices: [GPU] });
    expect(log(guest)).toContain("tdx: Guest detected");
    expect(out(guest, "lscpu")).toContain("tdx_guest");
    expect(guest.files.exists("/dev/tdx_guest")).toBe(true);
    const argv = out(node.host, "pgrep", "-a", "-f", "guest=td");
    expect(argv).toMatch(/confidential-guest-support=lsec0.*"driver":"vfio-pci","host":"0000:81:00.0".*tdx-guest/);
    const pid = out(node.host, "cat", "/run/libvirt/qemu/td.pid");
    expect(argv.startsWith(`${pid} `)).toBe(true);
    expect(out(node.host, "virsh", "dumpxml", "td")).toMatch(/^<domain [^>]*id="1"/);
    expect(out(node.host, "virsh", "dominfo", "td")).toMatch(/^State: +running$[\s\S]*^Autostart: +disable$/m);
    // The power button takes a while; what is gone leaves no process.
    out(node.host, "virsh", "shutdown", "td");
    node.clock.settle();
    expect(node.guest).toBeUndefined();
    expect(run(node.host, "test", "-e", "/run/libvirt/qemu/td.pid").status).toBe(1);
    out(node.host, "virsh", "undefine", "td");
    expect(run(node.host, "virsh", "dominfo", "td")).toMatchObject({
      status: 1,
      stderr: "error: failed to get domain 'td'\n",
    });
  });

  test("autostart brings it with the host; a reboot inside brings a fresh one where the domain says so", () => {
    const node = stack();
    define(node, domain([GPU], { reboot: "restart" }));
    out(node.host, "virsh", "autostart", "td");
    boot(node);
    expect(node.guest?.tee).toBe("tdx");
    const before = node.journal.counts().guestStarts;
    run(node.guest?.machine ?? node.host, "systemctl", "reboot");
    node.runLater();
    node.clock.settle();
    expect([node.guest?.tee, node.journal.counts().guestStarts]).toEqual(["tdx", before + 1]);
    out(node.host, "virsh", "destroy", "td");
    out(node.host, "virsh", "autostart", "--disable", "td");
    boot(node);
    expect(node.guest).toBeUndefined();
  });

  test.each<[string, (node: TwinNode) => string, string]>([
    ["no TDX", () => domain([GPU]), "vm-type tdx not supported by KVM"],
    [
      "a device that the host's driver has",
      (node) => {
        out(node.host, "driverctl", "set-override", GPU, "none");
        return domain([GPU]);
      },
      `Unmanaged PCI device ${GPU} must be manually detached`,
    ],
    [
      "another user's disk",
      (node) => {
        node.host.files.write("/etc/libvirt/qemu.conf", "dynamic_ownership = 0\n");
        out(node.host, "systemctl", "restart", "libvirtd");
        return domain([GPU]);
      },
      "Permission denied",
    ],
  ])("%s: the domain does not start", (name, make, words) => {
    const node = stack({}, { ...ALL, tdx: name !== "no TDX" });
    define(node, make(node));
    const { status, stderr } = run(node.host, "virsh", "start", "td");
    expect([status, stderr]).toEqual([1, expect.stringContaining(words)]);
    expect(node.host.files.exists("/run/libvirt/qemu/td.pid")).toBe(false);
  });

  test("qemu.conf counts from the daemon's start on, and a broken one keeps it from starting", () => {
    const node = stack();
    const QEMU = "/opt/qemu/bin/qemu-system-x86_64";
    node.host.files.place(QEMU, program("qemu-system-x86_64", "qemu version=9.0.50 snp=0 snp-vfio=0 tdx=1"));
    const built = domain([GPU], { emulator: QEMU });
    expect(define(node, built).stderr).toMatch(/Permission denied/);
    node.host.files.write("/etc/libvirt/qemu.conf", 'security_driver = "none"\n');
    expect(define(node, built).stderr).toMatch(/Permission denied/);
    out(node.host, "systemctl", "restart", "libvirtd");
    expect(define(node, built).status).toBe(0);
    node.host.files.write("/etc/libvirt/qemu.conf", "user root\n");
    expect(run(node.host, "systemctl", "restart", "libvirtd").status).toBe(1);
    expect(run(node.host, "virsh", "list").stderr).toContain("failed to connect to the hypervisor");
  });

  test("a domain with NVRAM is undefined only with it; a running one that is undefined is transient", () => {
    const node = stack();
    define(node, domain([GPU]).replace("</os>", "<nvram>/var/lib/x.fd</nvram></os>"));
    out(node.host, "virsh", "start", "td");
    node.clock.settle();
    expect(run(node.host, "virsh", "undefine", "td").stderr).toMatch(/cannot undefine domain with nvram/);
    out(node.host, "virsh", "undefine", "td", "--nvram");
    expect(out(node.host, "virsh", "dominfo", "td")).toMatch(/^State: +running$[\s\S]*^Persistent: +no$/m);
    out(node.host, "virsh", "destroy", "td");
    expect(run(node.host, "virsh", "dominfo", "td").status).toBe(1);
  });

  test("an older libvirt knows no TDX, and a name belongs to one uuid", () => {
    const node = stack();
    define(node, domain([GPU]));
    const other = domain([GPU]).replace("<name>", "<uuid>11111111-1111-4111-8111-111111111111</uuid><name>");
    expect(define(node, other).stderr).toMatch(/already exists with uuid/);
    const old = makeNode({ tee: "tdx", os: "ubuntu-24.04" });
    out(old.host, "apt-get", "-y", "install", "libvirt-daemon-system");
    expect(define(old, domain([])).stderr).toMatch(/unknown launchSecurity type 'tdx'/);
  });
});

describe("Protected PCIe", () => {
  const tool = (node: TwinNode, ...argv: string[]) => {
    node.host.files.place("/opt/tool.py", { ...program("gpu-admin-tools"), mode: "0644" });
    return run(node.host, "python3", "/opt/tool.py", ...argv);
  };
  const set = (node: TwinNode, devices: string) =>
    tool(node, "--devices", devices, "--set-ppcie-mode=on", "--reset-after-ppcie-mode-switch");

  test("is set and asked at GPUs and NVSwitches; a switch knows no CC mode", () => {
    const node = makeNode({ tee: "tdx", gpus: 8, switches: 4 });
    expect(set(node, "gpus,nvswitches").status).toBe(0);
    const { stderr } = tool(node, "--devices", "gpus,nvswitches", "--query-ppcie-mode");
    expect(stderr.match(/PPCIe mode is on$/gm)).toHaveLength(12);
    expect(stderr).toMatch(/INFO +NvSwitch 0000:07:00.0 LS10 0x22a3 BAR0 0x[0-9a-f]+ PPCIe mode is on/);
    expect(tool(node, "--devices", "nvswitches", "--query-cc-mode")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("Querying CC mode is not supported on NvSwitch"),
    });
    expect(node.journal.counts().gpuResets).toBe(12);
  });

  test("excludes CC mode, both ways", () => {
    const node = makeNode({ tee: "tdx", gpus: 8, switches: 4 });
    const [gpu] = node.gpus.values();
    tool(node, "--devices", "gpus", "--set-cc-mode=on", "--reset-after-cc-mode-switch");
    expect(gpu).toMatchObject({ mode: "on", ppcie: "off" });
    set(node, "gpus");
    expect(gpu).toMatchObject({ mode: "off", ppcie: "on" });
    tool(node, "--devices", "gpus", "--set-cc-mode=on", "--reset-after-cc-mode-switch");
    expect(gpu).toMatchObject({ mode: "on", ppcie: "off" });
  });

  test("a switch that refuses leaves a half-switched fabric", () => {
    const node = makeNode({ tee: "tdx", gpus: 8, switches: 4 });
    const last = [...node.switches.values()].at(-1);
    if (last !== undefined) last.refusesSwitch = true;
    expect(set(node, "gpus,nvswitches")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("failed to switch to PPCIe mode on, current mode is off."),
    });
    expect([...node.switches.values()].map((s) => s.ppcie)).toEqual(["on", "on", "on", "off"]);
  });

  /** A TD with all GPUs and the NVSwitches of `switches`, driver and fabric manager installed. */
  function guestWith(node: TwinNode, switches: readonly string[], version = "580.105.08"): Machine {
    define(node, domain([...node.gpus.keys(), ...switches]));
    out(node.host, "virsh", "start", "td");
    node.clock.settle();
    const guest = node.guest?.machine;
    if (guest === undefined) throw new Error("no guest");
    out(guest, "apt-get", "-y", "install", "linux-headers-6.8.0-45-generic", "nvidia-headless-580-server-open");
    out(guest, "apt-get", "-y", "install", `nvidia-fabricmanager-580=${version}*`);
    run(guest, "modprobe", "nvidia");
    return guest;
  }

  test.each<[string, (node: TwinNode) => Machine, string | undefined]>([
    ["all of it", (node) => guestWith(node, [...node.switches.keys()]), undefined],
    ["no NVSwitch in the guest", (node) => guestWith(node, []), "NV_WARN_NOTHING_TO_DO"],
    [
      "another version than the driver's",
      (node) => guestWith(node, [...node.switches.keys()], "580.95.05"),
      "don't match with driver version 580.105.08",
    ],
    [
      "a fabric that is half protected",
      (node) => {
        Object.assign([...node.switches.values()][0] ?? {}, { ppcie: "off" });
        return guestWith(node, [...node.switches.keys()]);
      },
      "PPCIe mode is not the same",
    ],
  ])("the fabric manager with %s", (_name, make, complaint) => {
    const node = stack({ gpus: 8, switches: 4 });
    set(node, "gpus,nvswitches");
    const guest = make(node);
    const started = run(guest, "systemctl", "start", "nvidia-fabricmanager.service");
    expect(started.status).toBe(complaint === undefined ? 0 : 1);
    const said = out(guest, "journalctl", "-u", "nvidia-fabricmanager.service", "-o", "cat");
    expect(said).toContain(complaint ?? "Successfully configured all the available GPUs and NVSwitches");
    expect(out(guest, "systemctl", "show", "-p", "ActiveState", "--value", "nvidia-fabricmanager.service")).toBe(
      complaint === undefined ? "active\n" : "failed\n",
    );
  });
});

describe("quotes", () => {
  const install = (node: TwinNode) => {
    node.host.files.write("/etc/apt/sources.list.d/i.sources", "URIs: https://download.01.org/intel-sgx/x\n");
    out(node.host, "apt-get", "update");
    out(node.host, "apt-get", "-y", "install", "sgx-dcap-pccs", "tdx-qgs", "sgx-ra-service");
    return node.host.files.read("/var/log/mpa_registration.log");
  };

  test("the platform is registered once, and its agent ends", () => {
    const node = host(ALL);
    expect(install(node)).toMatch(/passed successfully\.\n.*Finished Registration Agent Flow\.\n$/);
    expect(out(node.host, "systemctl", "show", "-p", "ActiveState", "--value", "mpa_registration_tool.service")).toBe(
      "inactive\n",
    );
    out(node.host, "systemctl", "restart", "mpa_registration_tool.service");
    expect(node.host.files.read("/var/log/mpa_registration.log").match(/passed successfully/g)).toHaveLength(1);
  });

  test.each<[string, (node: TwinNode) => void, RegExp]>([
    ["without SGX", (n) => n.bios.force({ SWGuardExtensions_SGX__3C7B: "Disabled" }), /ERROR: .*not available/],
    ["refused by Intel", (n) => Object.assign(n.traps, { registrationRefused: true }), /ERROR: .*\(Error 400\)/],
  ])("%s its log has an error", (_name, change, words) => {
    const node = host(ALL);
    change(node);
    boot(node);
    expect(install(node)).toMatch(words);
  });

  test("QGS listens at its socket once its file names no port", () => {
    const node = host(ALL);
    install(node);
    expect(node.host.files.exists("/run/tdx-qgs/qgs.socket")).toBe(false);
    node.host.files.write("/etc/qgs.conf", "number_threads = 4\n");
    out(node.host, "systemctl", "restart", "qgsd.service");
    expect(node.host.files.exists("/run/tdx-qgs/qgs.socket")).toBe(true);
  });
});

describe("the guide's kernel and QEMU", () => {
  const KVM = "https://git.kernel.org/pub/scm/linux/kernel/git/vishal/kvm.git";
  const SERIES = "https://github.com/intel/tdx-linux.git";
  const BASE = "698ca1e403579ca00e16a5b28ae4d576d9f1b20e";
  const checkout = (node: TwinNode, url: string, commit: string, folder: string) => {
    out(node.host, "git", "init", folder);
    out(node.host, "git", "-C", folder, "fetch", url, commit);
    out(node.host, "git", "-C", folder, "checkout", commit);
  };
  const builder = (): TwinNode => {
    const node = makeNode({ tee: "tdx", os: "ubuntu-24.04" });
    out(node.host, "apt-get", "-y", "install", ...["git", "make", "flex", "bison", "libssl-dev", "libelf-dev"]);
    checkout(node, SERIES, "a".repeat(40), "/src/series");
    return node;
  };
  const am = (node: TwinNode, tree: string, file: string, ...who: string[]) =>
    run(node.host, "git", "-C", tree, ...who, "am", "--empty=drop", `/src/series/${file}`);
  const WHO = ["-c", "user.name=x", "-c", "user.email=x@y"];

  test("git am wants a committer and the baseline", () => {
    const node = builder();
    const mbox = "tdx-kvm/tdx_kvm_baseline_698ca1e40357.mbox";
    checkout(node, KVM, BASE, "/src/kvm");
    expect(am(node, "/src/kvm", mbox).stderr).toContain("Please tell me who you are");
    expect(am(node, "/src/kvm", mbox, ...WHO).status).toBe(0);
    checkout(node, KVM, "b".repeat(40), "/src/other");
    expect(am(node, "/src/other", mbox, ...WHO).stderr).toContain("Patch failed at 0001");
  });

  test("kexec takes TDX hosts out of the configuration", () => {
    const node = builder();
    checkout(node, KVM, BASE, "/src/kvm");
    const make = (...argv: string[]) => {
      const { status } = node.exec(node.host, argv, { cwd: "/src/kvm" });
      expect(status).toBe(0);
    };
    const config = () => node.host.files.read("/src/kvm/.config");
    make("make", "olddefconfig");
    make("./scripts/config", "--enable", "INTEL_TDX_HOST");
    make("make", "olddefconfig");
    expect(config()).toContain("# CONFIG_INTEL_TDX_HOST is not set");
    make("./scripts/config", "--enable", "INTEL_TDX_HOST", "--disable", "KEXEC", "--disable", "KEXEC_FILE");
    make("make", "olddefconfig");
    expect(config()).toContain("CONFIG_INTEL_TDX_HOST=y");
    make("make", "bindeb-pkg");
    expect(node.host.kernels.get("6.9.0-rc7")).toMatchObject({ tdxHost: true, style: "seed" });
  });
});
