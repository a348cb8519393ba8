import { normalise, program } from "../model/files.ts";
import { installedKernels } from "../model/kernel.ts";
import type { Machine } from "../model/machine.ts";
import { loadModule } from "../model/modules.ts";
import { builtModule, nvidiaFiles } from "../model/nvidia.ts";
import type { Command, Result } from "./command.ts";
import { always, fail, ok, unmodelled } from "./command.ts";
import { installSdk } from "./dcap.ts";

/** A driver's run file: builds for the running kernel, installs, loads the module. */
export function runNvidiaInstaller(machine: Machine, path: string, argv: readonly string[]): Result {
  const match = /^nvidia-runfile version=(\S+)/.exec(machine.files.readIf(path) ?? "");
  if (match?.[1] === undefined) return fail(1, `${path}: not an installer`);
  for (const tool of ["gcc", "make"])
    if (!machine.packages.installed.has(tool) && !machine.packages.installed.has("build-essential"))
      return fail(
        1,
        `ERROR: Unable to find the development tool \`${tool}\` in your path; please make sure that you have the package '${tool}' installed.`,
      );
  if (!argv.includes("--silent") && !argv.includes("-s"))
    return fail(1, "ERROR: no terminal for the installer's questions; use --silent");
  const release = machine.now.kernel.release;
  const headers = [`linux-headers-${release}`, `kernel-devel-${release}`].some((n) =>
    machine.packages.installed.has(n),
  );
  if (!headers)
    return fail(
      1,
      "ERROR: Unable to find the kernel source tree for the currently running kernel.  Please make sure you have installed the kernel source files for your kernel.",
    );
  const driver = {
    version: match[1],
    open: argv.some((w) =>
      /^-m=kernel-open$|^--kernel-module-type=open$|^--kernel-module-build-directory=kernel-open$/.test(w),
    ),
  };
  for (const [file, node] of nvidiaFiles(driver)) if (!file.endsWith("/dkms.conf")) machine.files.place(file, node);
  for (const kernel of installedKernels(machine)) if (kernel === release) builtModule(machine, kernel, driver);
  loadModule(machine, "nvidia");
  return ok("===========\n= Summary =\n===========\n\nDriver:   Installed\n", 240);
}

/** CUDA's run file. With `--toolkit` it leaves its driver out; without, it would put its own over the one that runs. */
function runCudaInstaller(machine: Machine, path: string, argv: readonly string[]): Result {
  const version = /^cuda-runfile version=(\S+)/.exec(machine.files.readIf(path) ?? "")?.[1];
  if (version === undefined || !argv.includes("--silent"))
    return fail(1, `${path}: no terminal to ask its questions at`);
  if (!argv.includes("--toolkit")) return unmodelled(["sh", path, ...argv]);
  const folder = `/usr/local/cuda-${version}`;
  machine.files.place(`${folder}/bin/nvcc`, program("nvcc", version));
  machine.files.write(`${folder}/version.json`, `{"cuda": {"name": "CUDA SDK", "version": "${version}"}}\n`, {
    size: 6_000_000_000,
  });
  if (machine.files.lstat("/usr/local/cuda") !== undefined) machine.files.remove("/usr/local/cuda");
  machine.files.link(folder, "/usr/local/cuda");
  return ok("", 300);
}

const shell: Command = {
  names: ["sh", "bash"],
  base: true,
  mutates: always,
  run: (machine, argv, context) => {
    const path = normalise(argv[1] ?? "", context.cwd);
    const node = machine.files.stat(path);
    if (argv[1] === undefined || argv[1].startsWith("-") || node?.kind !== "file")
      return argv[1]?.startsWith("-") === true
        ? fail(127, "sh: scripts are not modelled")
        : fail(2, `sh: 0: cannot open ${argv[1]}: No such file`);
    if (node.program === "nvidia-runfile") return runNvidiaInstaller(machine, path, argv.slice(2));
    if (node.program === "sgx-sdk-installer") return installSdk(machine, argv);
    if (node.program === "cuda-runfile") return runCudaInstaller(machine, path, argv.slice(2));
    return context.exec([path, ...argv.slice(2)]);
  },
};

export const nvidiaTools: readonly Command[] = [
  shell,
  {
    names: ["nvidia-persistenced"],
    base: false,
    mutates: always,
    run: (machine, argv) => {
      if (machine.node.persistencedRuns(machine))
        return fail(1, "nvidia-persistenced failed to initialize. Check syslog for more details.");
      return machine.units.startTransient("nvidia-persistenced-by-hand.service", argv, {
        collect: true,
        type: "forking",
        description: "nvidia-persistenced",
      }).status === 0
        ? ok()
        : fail(1, "nvidia-persistenced failed to initialize.");
    },
  },
  {
    names: ["nvidia-modprobe"],
    base: false,
    mutates: always,
    run: (machine) => (loadModule(machine, "nvidia") === undefined ? ok() : fail(1, "")),
  },
  {
    names: ["nvidia-runfile"],
    base: false,
    mutates: always,
    run: (machine, argv, context) => runNvidiaInstaller(machine, context.file, argv.slice(1)),
  },
  {
    names: ["nv-fabricmanager"],
    base: false,
    mutates: (argv) => !argv.includes("--version"),
    run: (_machine, argv, context) =>
      argv.includes("--version") ? ok(`Fabric Manager version is : ${context.data}\n`) : unmodelled(argv),
  },
  {
    names: ["dkms"],
    base: false,
    mutates: (argv) => argv[1] !== "status",
    run: (machine) => {
      const driver = machine.node.installedDriver(machine);
      return ok(
        driver === undefined
          ? ""
          : installedKernels(machine)
              .map((k) => `nvidia/${driver.version}, ${k}, x86_64: installed\n`)
              .join(""),
      );
    },
  },
];
