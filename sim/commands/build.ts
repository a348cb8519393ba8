import { normalise, program } from "../model/files.ts";
import { QEMU_TDX } from "../model/internet.ts";
import { configText, makeKernel, parseConfig } from "../model/kernel.ts";
import type { Machine } from "../model/machine.ts";
import { debText, ovmfData, qemuData } from "../model/stand-ins.ts";
import type { Command, Result } from "./command.ts";
import { always, fail, ok, unmodelled } from "./command.ts";
import { makeSample } from "./dcap.ts";
import { applyPatch } from "./git.ts";

const word = (argv: readonly string[], name: string): string | undefined =>
  argv.find((w) => w.startsWith(`${name}=`))?.slice(name.length + 1);

/** Release that a kernel tree's Makefile and configuration give. */
function kernelRelease(machine: Machine, tree: string): string {
  const makefile = machine.files.readIf(`${tree}/Makefile`) ?? "";
  const field = (name: string) => new RegExp(`^${name} = ?(.*)$`, "m").exec(makefile)?.[1] ?? "";
  const local = /^CONFIG_LOCALVERSION="(.*)"$/m.exec(machine.files.readIf(`${tree}/.config`) ?? "")?.[1] ?? "";
  return `${field("VERSION")}.${field("PATCHLEVEL")}.${field("SUBLEVEL")}${field("EXTRAVERSION")}${local}`;
}

/** What Kconfig takes back: TDX hosts and kexec exclude each other. */
function dependencies(machine: Machine, tree: string): void {
  const path = `${tree}/.config`;
  const text = machine.files.readIf(path) ?? "";
  const kexec = /^CONFIG_KEXEC(_FILE)?=y$/m.test(text);
  if (kexec && machine.files.exists(`${tree}/sim-tdx-host`))
    machine.files.write(path, text.replace(/^CONFIG_INTEL_TDX_HOST=y$/m, "# CONFIG_INTEL_TDX_HOST is not set"));
}

const KERNEL_TOOLS = ["flex", "bison", "libssl-dev", "libelf-dev"];

function make(machine: Machine, argv: readonly string[], cwd: string): Result {
  const at = argv.indexOf("-C");
  const tree = normalise(at < 0 ? "." : (argv[at + 1] ?? "."), cwd);
  const { files } = machine;
  const targets = argv.slice(1).filter((w, i, all) => !w.startsWith("-") && !w.includes("=") && all[i - 1] !== "-C");
  const built = makeSample(machine, tree, argv);
  if (built !== undefined) return built;
  const makefile = files.readIf(`${tree}/Makefile`);
  if (makefile?.includes("PATCHLEVEL") === true) {
    if (targets.includes("olddefconfig") || targets.includes("defconfig")) {
      if (!files.exists(`${tree}/.config`))
        files.write(
          `${tree}/.config`,
          files.readIf(`/boot/config-${machine.now.kernel.release}`) ?? configText(kernelRelease(machine, tree)),
        );
      dependencies(machine, tree);
      return ok("#\n# configuration written to .config\n#\n", 10);
    }
    if (targets.includes("kernelrelease")) return ok(`${kernelRelease(machine, tree)}\n`);
    if (targets.some((t) => t === "bindeb-pkg" || t === "deb-pkg")) {
      const missing = KERNEL_TOOLS.find((name) => !machine.packages.installed.has(name));
      if (missing !== undefined)
        return fail(
          2,
          `fatal error: a build dependency is missing: ${missing}\nmake: *** [Makefile:725: include/config/auto.conf] Error 2`,
        );
      const config = files.readIf(`${tree}/.config`);
      if (config === undefined) return fail(2, '***\n*** Configuration file ".config" not found!\n***');
      const release = kernelRelease(machine, tree);
      const version = word(argv, "KDEB_PKGVERSION") ?? `${release}-1`;
      const snp = files.exists(`${tree}/sim-snp-host`) && parseConfig(config).get("CONFIG_KVM_AMD_SEV") === "y";
      const tdx = files.exists(`${tree}/sim-tdx-host`);
      files.write(`/var/lib/teeup-twin/kernels/${release}`, JSON.stringify({ release, config, snp }));
      const how = { style: "seed", tdxHost: parseConfig(config).get("CONFIG_INTEL_TDX_HOST") === "y" } as const;
      machine.kernels.set(release, makeKernel(release, { config, snpHost: snp, ...(tdx ? how : {}) }));
      const parent = normalise(`${tree}/..`);
      files.write(
        `${parent}/linux-image-${release}_${version}_amd64.deb`,
        debText({ name: `linux-image-${release}`, version, kernel: release, config }),
        { size: 70_000_000 },
      );
      files.write(
        `${parent}/linux-headers-${release}_${version}_amd64.deb`,
        debText({ name: `linux-headers-${release}`, version }),
        { size: 9_000_000 },
      );
      return ok(
        `dpkg-deb: building package 'linux-image-${release}' in '../linux-image-${release}_${version}_amd64.deb'.\n`,
        3600,
      );
    }
    return unmodelled(argv);
  }
  const qemu = files.readIf(`${tree}/build/config`);
  if (qemu !== undefined) {
    if (targets.includes("install")) {
      if (!files.exists(`${tree}/build/built`)) return fail(2, "make: *** No rule to make target 'install'.  Stop.");
      const { prefix, data } = JSON.parse(qemu) as { prefix: string; data: string };
      const version = /version=(\S+)/.exec(data)?.[1] ?? "";
      files.place(`${prefix}/bin/qemu-system-x86_64`, program("qemu-system-x86_64", data));
      files.place(`${prefix}/bin/qemu-img`, program("qemu-img", version));
      files.write(`${prefix}/share/qemu/bios.bin`, "", { size: 131_072 });
      return ok("", 20);
    }
    files.write(`${tree}/build/built`, "built\n", { size: 900_000_000 });
    return ok("[1/2134] Compiling C object\n[2134/2134] Linking target qemu-system-x86_64\n", 1200);
  }
  if (files.exists(`${tree}/GNUmakefile`) && tree.endsWith("BaseTools")) {
    files.write(`${tree}/Source/C/bin/GenFv`, "built\n", { mode: "0755" });
    return ok("", 60);
  }
  return fail(2, "make: *** No targets specified and no makefile found.  Stop.");
}

export const build: readonly Command[] = [
  { names: ["make"], base: false, mutates: always, run: (machine, argv, context) => make(machine, argv, context.cwd) },
  {
    names: ["ninja"],
    base: false,
    mutates: always,
    run: (machine, argv, context) => make(machine, ["make", ...argv.slice(1)], context.cwd),
  },
  {
    names: ["kernel-config"],
    base: false,
    mutates: always,
    run: (machine, argv, context) => {
      const path = `${context.cwd}/.config`;
      const text = machine.files.readIf(path);
      if (text === undefined) return fail(1, "grep: .config: No such file or directory");
      let now = text;
      const set = (name: string, value: string | undefined) => {
        const full = name.startsWith("CONFIG_") ? name : `CONFIG_${name}`;
        const line = value === undefined ? `# ${full} is not set` : `${full}=${value}`;
        const re = new RegExp(`^(?:${full}=.*|# ${full} is not set)$`, "m");
        now = re.test(now) ? now.replace(re, () => line) : `${now}${line}\n`;
      };
      for (let i = 1; i < argv.length; i++) {
        const name = argv[i + 1] ?? "";
        switch (argv[i]) {
          case "--enable":
          case "-e":
            set(name, "y");
            i++;
            break;
          case "--module":
          case "-m":
            set(name, "m");
            i++;
            break;
          case "--disable":
          case "-d":
            set(name, undefined);
            i++;
            break;
          case "--set-str":
            set(name, `"${argv[i + 2] ?? ""}"`);
            i += 2;
            break;
          case "--set-val":
            set(name, argv[i + 2] ?? "");
            i += 2;
            break;
          default:
            return unmodelled(argv);
        }
      }
      machine.files.write(path, now);
      return ok();
    },
  },
  {
    names: ["qemu-configure"],
    base: false,
    mutates: always,
    run: (machine, argv, context) => {
      for (const name of ["libglib2.0-dev", "libpixman-1-dev", "ninja-build"])
        if (!machine.packages.installed.has(name)) return fail(1, `ERROR: Dependency "${name}" not found`);
      if (
        argv.includes("--enable-slirp") &&
        !machine.packages.installed.has("libslirp-dev") &&
        !/version=6\./.test(context.data)
      )
        return fail(1, 'ERROR: Dependency "slirp" not found, tried pkgconfig');
      const tdx = machine.files.exists(`${context.cwd}/${QEMU_TDX}`);
      const data = tdx ? qemuData(/version=(\S+)/.exec(context.data)?.[1] ?? "", false, false, true) : context.data;
      machine.files.write(
        `${context.cwd}/build/config`,
        JSON.stringify({ prefix: word(argv, "--prefix") ?? "/usr/local", data }),
      );
      return ok("qemu configured\n", 30);
    },
  },
  {
    names: ["edk2-build"],
    base: false,
    mutates: always,
    run: (machine, argv, context) => {
      const tree = context.cwd;
      if (!machine.files.exists(`${tree}/BaseTools/Source/C/bin/GenFv`))
        return fail(1, "build.py... : error: BaseTools are not built");
      for (const name of ["nasm", "uuid-dev", "iasl"])
        if (name === "nasm" && !machine.packages.installed.has(name)) return fail(1, `/bin/sh: 1: ${name}: not found`);
      const target = argv[argv.indexOf("-b") + 1] ?? "DEBUG";
      machine.files.write(`${tree}/Build/OvmfX64/${target}_GCC5/FV/OVMF.fd`, ovmfData("202302", true, true), {
        size: 4_194_304,
      });
      return ok("- Done -\n", 300);
    },
  },
  {
    names: ["patch"],
    base: false,
    mutates: always,
    run: (machine, argv, context) => {
      const at = argv.findIndex((w) => w === "-i" || w === "--input");
      const path = normalise(argv[at + 1] ?? "", context.cwd);
      const text = machine.files.readIf(path);
      if (at < 0 || text === undefined)
        return fail(2, `patch: **** Can't open patch file ${argv[at + 1]} : No such file or directory`);
      const names = applyPatch(machine, context.cwd, text);
      const lost = names.find((n) => !machine.files.exists(`${context.cwd}/${n}`));
      return lost === undefined
        ? ok(names.map((n) => `patching file ${n}\n`).join(""))
        : fail(1, `can't find file to patch at input line 1`);
    },
  },
  ...["gcc", "g++", "rsync", "jq", "mcopy", "qemu-nbd"].map(
    (name): Command => ({
      names: [name],
      base: false,
      mutates: always,
      run: (_m, argv) => (argv.includes("--version") ? ok(`${name} 1.0\n`) : unmodelled(argv)),
    }),
  ),
];
