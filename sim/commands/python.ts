import { ATTEST_PY_TEXT } from "../../providers/kit/python-attest.ts";
import { SAMPLE_DONE, SAMPLE_WORKLOAD } from "../../providers/kit/sample-workload.ts";
import type { Evidence } from "../model/attestation.ts";
import { collectEvidence } from "../model/attestation.ts";
import { normalise, program } from "../model/files.ts";
import { guestGoesDown } from "../model/guest.ts";
import type { Machine } from "../model/machine.ts";
import { closeGpus, openGpu } from "../model/nvidia.ts";
import type { Command, Result } from "./command.ts";
import { always, fail, ok, unmodelled } from "./command.ts";
import { runGpuTool } from "./gpu-admin-tools.ts";

/** Where pip installs for all users: Debian and the Red Hat family name the folder differently. */
const site = (python: string): string =>
  python === "3.12" ? "/usr/local/lib/python3.12/dist-packages" : `/usr/local/lib/python${python}/site-packages`;
/** Version of an interpreter by its name; one of a distribution's other than its main one says so. */
const versionOf = (name: string): string => /python(3\.\d+)$/.exec(name)?.[1] ?? "3.12";

const python: Command = {
  names: ["python3", "python"],
  base: true,
  // Asking the GPU's mode is no change of the machine; attesting neither.
  mutates: (argv) => argv[1] === "-m" || argv.some((w) => w.startsWith("--set-") || w === "--recover-broken-gpu"),
  run: (machine, argv, context) => {
    // -E, -s and -B: how a real interpreter looks around, which this one does not.
    if (/^-[EsB]+$/.test(argv[1] ?? "")) return python.run(machine, [argv[0] ?? "", ...argv.slice(2)], context);
    const [, first = "", ...rest] = argv;
    if (first === "--version" || first === "-V") return ok("Python 3.12.3\n");
    if (first === "-m" && rest[0] === "venv") {
      const target = rest.filter((w) => !w.startsWith("-")).at(-1) ?? "";
      if (![...machine.packages.installed.keys()].some((n) => /^python3(\.\d+)?-venv$/.test(n)))
        return fail(1, "The virtual environment was not created successfully because ensurepip is not available.");
      if (rest.includes("--clear")) machine.files.remove(target);
      for (const name of ["python3", "python"])
        machine.files.place(`${target}/bin/${name}`, program("python3", target));
      machine.files.place(`${target}/bin/pip`, program("pip", target));
      machine.files.place(`${target}/bin/pip3`, program("pip", target));
      machine.files.write(`${target}/pyvenv.cfg`, "home = /usr/bin\nversion = 3.12.3\n");
      return ok("", 8);
    }
    if (first === "-m" && rest[0] === "pip") {
      const version = versionOf(argv[0] ?? "");
      const own = context.data === version ? "" : context.data;
      return runPip(machine, rest.slice(1), own, context.cwd, version);
    }
    if (first === "-c") {
      // The unit's ExecStop: QMP's system_powerdown.
      if ((rest[0] ?? "").includes("system_powerdown")) {
        guestGoesDown(machine.node, "poweroff");
        return ok("", 10);
      }
      if (rest[0] === SAMPLE_WORKLOAD[2]) return sampleWorkload(machine);
      return unmodelled(argv);
    }
    const path = normalise(first, context.cwd);
    const node = machine.files.stat(path);
    if (node === undefined) return fail(2, `python3: can't open file '${path}': [Errno 2] No such file or directory`);
    if (node.kind === "file" && node.program === "gpu-admin-tools") return runGpuTool(machine, argv);
    if (node.kind === "file" && node.content === ATTEST_PY_TEXT) return attest(machine, rest, context.data);
    return unmodelled(argv);
  },
};

/** Every GPU gives back what it was given, once its ready state is set. */
function sampleWorkload(machine: Machine): Result {
  const gpus = [...machine.now.gpus];
  if (gpus.length === 0) return fail(1, "cuInit: CUDA error 100");
  const closed = gpus.some(([bdf, state]) => openGpu(machine, bdf) !== undefined || !state.ready);
  closeGpus(machine);
  if (closed) return fail(1, "cuInit: CUDA error 802");
  return ok([...gpus.map((_, n) => `GPU ${n}: 64 MiB there and back`), SAMPLE_DONE, ""].join("\n"), 2);
}

/** The seed-era SDK under TeeUp's own wrapper: one line of JSON. */
function attest(machine: Machine, [nonce = "", policyFile = ""]: readonly string[], venv: string): Result {
  const empty = { attested: false, policy: false, nonce: "", gpus: 0, claims: {}, error: "" };
  const say = (result: object, seconds = 20): Result => ok(`${JSON.stringify(result)}\n`, seconds);
  const policy = machine.files.readIf(policyFile);
  if (policy === undefined)
    return say({ ...empty, error: `FileNotFoundError: [Errno 2] No such file or directory: '${policyFile}'` });
  if (!machine.files.exists(`${venv}/lib/nv-attestation-sdk`))
    return say({ ...empty, error: "ModuleNotFoundError: No module named 'nv_attestation_sdk'" });
  if (machine.node.faults.attestation === "time-out") return { status: 124, stdout: "", stderr: "", seconds: 300 };
  const evidence = collectEvidence(machine, nonce);
  if (evidence.failure === "malformed") return ok("Traceback (most recent call last):\n", 5);
  if (evidence.failure === "empty") return ok("", 5);
  const rules =
    (JSON.parse(policy) as { "authorization-rules"?: Record<string, unknown> })["authorization-rules"] ?? {};
  const claims = seedClaims(evidence);
  const attested = evidence.failure === undefined || evidence.failure === "policy" || evidence.failure === "devtools";
  const result = {
    attested,
    policy:
      attested &&
      evidence.failure !== "policy" &&
      Object.entries(rules).every(([name, value]) => claims[name] === value),
    nonce: evidence.nonce,
    gpus: evidence.gpus.length,
    claims,
    error: "",
  };
  const text = JSON.stringify(result);
  return evidence.failure === "truncated" ? ok(text.slice(0, 40), 5) : { ...say(result), stderr: prose(evidence) };
}

const NAMES = [
  ...[
    "available",
    "attestation-report-available",
    "info-fetched",
    "arch-check",
    "root-cert-available",
    "cert-chain-verified",
  ],
  ...[
    "ocsp-cert-chain-verified",
    "ocsp-signature-verified",
    "cert-ocsp-nonce-match",
    "cert-check-complete",
    "measurement-available",
  ],
  ...[
    "attestation-report-parsed",
    "nonce-match",
    "attestation-report-driver-version-match",
    "attestation-report-vbios-version-match",
  ],
  ...[
    "attestation-report-verified",
    "driver-rim-schema-fetched",
    "driver-rim-schema-validated",
    "driver-rim-cert-extracted",
  ],
  ...["driver-rim-signature-verified", "driver-rim-driver-measurements-available", "driver-vbios-rim-fetched"],
  ...["vbios-rim-schema-validated", "vbios-rim-cert-extracted", "vbios-rim-signature-verified"],
  ...["vbios-rim-driver-measurements-available", "vbios-index-conflict", "measurements-match"],
];

/** Which of the seed's claims a failure turns false. */
const FALSE: Readonly<Partial<Record<NonNullable<Evidence["failure"]>, readonly string[]>>> = {
  "no-gpu": NAMES,
  "no-cc": ["attestation-report-available", "measurement-available", "measurements-match"],
  ocsp: ["ocsp-cert-chain-verified", "cert-check-complete"],
  "rim-missing": ["driver-rim-schema-fetched", "driver-rim-schema-validated", "measurements-match"],
  nonce: ["nonce-match"],
  measurements: ["measurements-match"],
  stale: ["measurements-match"],
  "exit-512": ["attestation-report-verified"],
};

function seedClaims(evidence: Evidence): Record<string, unknown> {
  const off = evidence.failure === undefined ? [] : (FALSE[evidence.failure] ?? []);
  return {
    ...Object.fromEntries(NAMES.map((name) => [`x-nv-gpu-${name}`, !off.includes(name)])),
    "x-nv-gpu-driver-version": evidence.driver,
    "x-nv-gpu-vbios-version": evidence.gpus[0]?.vbios.toLowerCase() ?? "",
    "x-nv-gpu-model": "GH100 A01 GSP BROM",
  };
}

function prose(evidence: Evidence): string {
  const good = evidence.failure === undefined;
  return [
    `Number of GPUs available : ${evidence.gpus.length}`,
    "-----------------------------------",
    "Fetching GPU 0 information from GPU driver.",
    "VERIFYING GPU : 0",
    `\tDriver version fetched : ${evidence.driver}`,
    `\tVBIOS version fetched : ${evidence.gpus[0]?.vbios.toLowerCase() ?? ""}`,
    good
      ? "\t\t\tThe runtime measurements are matching with the golden measurements."
      : "\t\t\tThe verification of GPU 0 resulted in failure.",
    ...(good ? ["\t\tGPU is in expected state.", "\tGPU 0 verified successfully.", "\tGPU Attested Successfully"] : []),
    "",
  ].join("\n");
}

function runPip(machine: Machine, words: readonly string[], venv: string, cwd: string, python = "3.12"): Result {
  const verb = words[0];
  if (verb === "--version") return ok(`pip 24.0 from ${venv === "" ? site(python) : venv}/pip (python ${python})\n`);
  if (verb !== "install") return unmodelled(["pip", ...words]);
  const module = python === "3.12" ? "python3-pip" : `python${python}-pip`;
  if (venv === "" && !machine.packages.installed.has(module))
    return fail(1, `/usr/bin/${module.replace("-pip", "")}: No module named pip`);
  if (machine.node.internet.down) return fail(1, "ERROR: Could not find a version that satisfies the requirement");
  for (const name of words.slice(1).filter((w) => !w.startsWith("-"))) {
    if (!name.startsWith("/") && !name.startsWith(".")) {
      const target = venv === "" ? site(python) : `${venv}/lib/python3.12/site-packages`;
      const [bare = "", version = "1.0"] = name.split("==");
      const folder = `${bare.replace(/[-.]+/g, "_")}-`;
      for (const old of machine.files.listIf(target))
        if (old.startsWith(folder) && /^\d/.test(old.slice(folder.length))) machine.files.remove(`${target}/${old}`);
      machine.files.mkdir(`${target}/${bare.replace(/[-.]+/g, "_")}-${version}.dist-info`);
      continue;
    }
    const project = /name = "([^"]+)"/.exec(machine.files.readIf(`${normalise(name, cwd)}/pyproject.toml`) ?? "")?.[1];
    if (project === undefined)
      return fail(1, `ERROR: Directory '${name}' is not installable. Neither 'setup.py' nor 'pyproject.toml' found.`);
    // Seed 001: the SDK needs the verifier before it, in the same environment.
    if (project === "nv-attestation-sdk" && !machine.files.exists(`${venv}/lib/nv-local-gpu-verifier`))
      return fail(
        1,
        "ERROR: Could not find a version that satisfies the requirement nv-local-gpu-verifier (from versions: none)",
      );
    machine.files.write(`${venv}/lib/${project}`, `${project} 1.0\n`);
  }
  return ok("", 15);
}

const pip: Command = {
  names: ["pip", "pip3"],
  base: false,
  mutates: always,
  run: (machine, argv, context) => runPip(machine, argv.slice(1), context.data, context.cwd),
};

/** A second interpreter, which a package brings; its file says its version. */
const other: Command = { ...python, names: ["python3.11"], base: false };

const programs: readonly Command[] = [python, other, pip];

export { programs as python };
