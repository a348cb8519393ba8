import { cpuFlags } from "../model/generated.ts";
import type { Machine } from "../model/machine.ts";
import type { PciFunction } from "../model/pci.ts";
import type { Command } from "./command.ts";
import { fail, lines, never, ok, options, unmodelled } from "./command.ts";

const FALLEN = (machine: Machine, f: PciFunction): boolean => machine.node.deviceAt(machine, f.bdf)?.broken === true;

const lspci: Command = {
  names: ["lspci"],
  base: false,
  mutates: never,
  run: (machine, argv) => {
    const o = options(argv, { flags: ["-D", "-v", "-vv", "-m", "-mm", "-k", "-n", "-nn", "-x"], valued: ["-d", "-s"] });
    const words = argv.slice(1).join(" ");
    const count = (letter: string) =>
      argv
        .slice(1)
        .filter((w) => /^-[a-zA-Z]+$/.test(w) && w !== "-d" && w !== "-s")
        .join("")
        .split(letter).length - 1;
    const [vendor = "", device = "", cls = ""] = (o.get("-d") ?? "").split(":");
    const slot = o.get("-s");
    const chosen = machine.pci.filter(
      (f) =>
        (vendor === "" || f.vendor === vendor.toLowerCase()) &&
        (device === "" || f.device === device.toLowerCase()) &&
        (cls === "" || f.class.startsWith(cls.toLowerCase())) &&
        (slot === undefined || f.bdf === slot || f.bdf.slice(5) === slot),
    );
    const address = (f: PciFunction) =>
      o.has("-D") || words.includes("D") || machine.pci.some((g) => !g.bdf.startsWith("0000:"))
        ? f.bdf
        : f.bdf.slice(5);
    const driver = (f: PciFunction) => machine.now.drivers.get(f.bdf);
    if (count("m") >= 2 && count("v") >= 1) {
      const numeric = count("n") === 1;
      const name = (id: string, text: string) => (numeric ? id : count("n") >= 2 ? `${text} [${id}]` : text);
      return ok(
        chosen
          .map((f) =>
            lines([
              `Slot:\t${address(f)}`,
              `Class:\t${name(f.class.slice(0, 4), f.className)}`,
              `Vendor:\t${name(f.vendor, f.vendorName)}`,
              `Device:\t${name(f.device, f.deviceName)}`,
              `SVendor:\t${name(f.subsystem.slice(0, 4), f.vendorName)}`,
              `SDevice:\t${name(f.subsystem.slice(4), "Device")}`,
              `Rev:\t${FALLEN(machine, f) ? "ff" : f.rev}`,
              ...(f.class.length === 6 && f.class.slice(4) !== "00" ? [`ProgIf:\t${f.class.slice(4)}`] : []),
              ...(count("k") > 0 && driver(f) !== undefined ? [`Driver:\t${driver(f)}`] : []),
              ...(count("k") > 0 ? f.modules.map((m) => `Module:\t${m}`) : []),
              `NUMANode:\t${f.numaNode ?? 0}`,
              ...(machine.now.iommu.on ? [`IOMMUGroup:\t${f.group}`] : []),
              "",
            ]),
          )
          .join(""),
      );
    }
    if (count("m") > 0) unmodelled(argv);
    return ok(
      chosen
        .map((f) => {
          const text =
            count("n") === 1
              ? `${address(f)} ${f.class.slice(0, 4)}: ${f.vendor}:${f.device}`
              : `${address(f)} ${f.className}${count("n") >= 2 ? ` [${f.class.slice(0, 4)}]` : ""}: ${f.vendorName} ${f.deviceName}${count("n") >= 2 ? ` [${f.vendor}:${f.device}]` : ""}`;
          const head = `${text} (rev ${FALLEN(machine, f) ? "ff" : f.rev})\n`;
          if (count("k") === 0) return head;
          const bound = driver(f);
          return `${head}${bound === undefined ? "" : `\tKernel driver in use: ${bound}\n`}${f.modules.length === 0 ? "" : `\tKernel modules: ${f.modules.join(", ")}\n`}`;
        })
        .join(""),
    );
  },
};

const lscpu: Command = {
  names: ["lscpu"],
  base: true,
  mutates: never,
  run: (machine, argv) => {
    const o = options(argv, { flags: ["-J|--json"] });
    const { cpu } = machine;
    const virtualisation = cpuFlags(machine).includes("svm")
      ? "AMD-V"
      : cpuFlags(machine).includes("vmx")
        ? "VT-x"
        : undefined;
    const rows: [string, string][] = [
      ["Architecture:", "x86_64"],
      ["CPU op-mode(s):", "32-bit, 64-bit"],
      ["Address sizes:", "52 bits physical, 57 bits virtual"],
      ["Byte Order:", "Little Endian"],
      ["CPU(s):", String(cpu.sockets * cpu.coresPerSocket * 2)],
      ["Vendor ID:", cpu.vendor],
      ["Model name:", cpu.model],
      ["CPU family:", String(cpu.family)],
      ["Model:", String(cpu.modelNumber)],
      ["Thread(s) per core:", "2"],
      ["Core(s) per socket:", String(cpu.coresPerSocket)],
      ["Socket(s):", String(cpu.sockets)],
      ["Stepping:", "1"],
      ["Flags:", cpuFlags(machine).join(" ")],
      ...(virtualisation === undefined ? [] : ([["Virtualization:", virtualisation]] as [string, string][])),
      ...(machine.kind === "guest" ? ([["Hypervisor vendor:", "KVM"]] as [string, string][]) : []),
    ];
    if (o.has("-J"))
      return ok(`${JSON.stringify({ lscpu: rows.map(([field, data]) => ({ field, data })) }, null, 3)}\n`);
    return ok(lines(rows.map(([k, v]) => `${k.padEnd(32)} ${v}`)));
  },
};

const dmidecode: Command = {
  names: ["dmidecode"],
  base: true,
  folder: "/usr/sbin",
  mutates: never,
  run: (machine, argv) => {
    const o = options(argv, { valued: ["-s|--string", "-t|--type"], flags: ["-q"] });
    const read = (name: string) => machine.files.readIf(`/sys/class/dmi/id/${name}`) ?? "";
    const key = o.get("-s");
    const table: Readonly<Record<string, string>> = {
      "system-manufacturer": "sys_vendor",
      "system-product-name": "product_name",
      "bios-version": "bios_version",
      "bios-vendor": "bios_vendor",
      "baseboard-manufacturer": "board_vendor",
    };
    const file = key === undefined ? undefined : table[key];
    return file === undefined ? unmodelled(argv) : ok(read(file));
  },
};

/** Optional tools that a plain installation lacks. */
const absent = (name: string): Command => ({
  names: [name],
  base: false,
  mutates: never,
  run: (_m, argv) => unmodelled(argv),
});

export const hardware: readonly Command[] = [
  lspci,
  lscpu,
  dmidecode,
  {
    names: ["snphost"],
    base: false,
    mutates: never,
    run: (machine, argv) => {
      if (argv[1] !== "ok") return unmodelled(argv);
      const { snp } = machine.now;
      const checks: [string, boolean][] = [
        ["AMD CPU", machine.cpu.vendor === "AuthenticAMD"],
        ["SME", cpuFlags(machine).includes("sme")],
        ["SEV-SNP", snp.platform],
        ["SNP: INIT", snp.firmware],
        ["KVM supported: API version: 12", machine.files.exists("/dev/kvm")],
        ["SEV-SNP enabled in KVM", snp.kvm],
        ["Compare TCB values: TCB versions match", !machine.node.traps.tcb],
      ];
      const bad = checks.some(([, good]) => !good);
      return {
        status: bad ? 1 : 0,
        stdout: lines(checks.map(([name, good]) => `[ ${good ? "PASS" : "FAIL"} ] - ${name}`)),
        stderr: bad ? "ERROR: One or more tests in snphost-ok reported a failure\n" : "",
      };
    },
  },
  absent("sevctl"),
  absent("rdmsr"),
  absent("ipmitool"),
  absent("setpci"),
  { names: ["mokutil"], base: true, mutates: never, run: () => ok("SecureBoot disabled\n") },
  {
    names: ["systemd-detect-virt"],
    base: true,
    mutates: never,
    run: (machine) => (machine.kind === "guest" ? ok("kvm\n") : fail(1, "", "none\n")),
  },
];
