import { failed, ok } from "../kit/ask.ts";
import { example } from "../kit/example.ts";

const want = { minimumTds: 1, minimumModule: "1.5" };
const lines = (...text: string[]) => ok(`${["Linux version 7.0.0-31-generic (x@y)", ...text].join("\n")}\n`);
const tdx = (...text: string[]) => lines(...text.map((line) => `virt/tdx: ${line}`));
const KEYS = "BIOS enabled: private KeyID range [32, 64)";
const S3 = "Disable ACPI S3. Turn off TDX in the BIOS to use ACPI S3.";
const version = (minor: number, build: number) =>
  `TDX module: attributes 0x0, vendor_id 0x8086, major_version 1, minor_version ${minor}, build_date 20240129, build_num ${build}`;
const parameters = (on: string) =>
  ok(["tdx", "sgx"].map((name) => `/sys/module/kvm_intel/parameters/${name}:${on}\n`).join(""), 2);
const good = {
  kernel: ok("7.0.0-31-generic\n"),
  log: tdx(KEYS, S3, "1050644 KB allocated for PAMT", "module initialized"),
  parameters: parameters("Y"),
  flags: ok("flags\t\t: fpu vmx sgx tme tdx_host_platform\n"),
};
const bad = { ...good, parameters: parameters("N") };
const noFlag = ok("flags\t\t: fpu vmx sgx tme\n");
const sgx = "tdx-ready.sgx";

export const TDX_READY_EXAMPLES = [
  example("upstream kernel", want, good),
  example("a kernel that names the module", want, {
    ...good,
    log: tdx(KEYS, S3, version(5, 698), "CMR: [0x100000, 0x77800000)", "module initialized"),
  }),
  example("keys not granted by the BIOS", want, { ...bad, log: lines(), flags: noFlag }, ["tdx-ready.keys", sgx]),
  example(
    "a key split that leaves none for TDs",
    want,
    {
      ...bad,
      log: tdx(
        "BIOS enabled: private KeyID range [63, 64)",
        "initialization failed: too few private KeyIDs available.",
      ),
      flags: noFlag,
    },
    ["tdx-ready.keys-few", sgx],
  ),
  example(
    "hibernation on",
    want,
    { ...bad, log: tdx(KEYS, "initialization failed: Hibernation support is enabled"), flags: noFlag },
    ["tdx-ready.hibernation", sgx],
  ),
  example(
    "module -5: too old",
    want,
    {
      ...bad,
      log: tdx(
        KEYS,
        S3,
        version(0, 457),
        "SEAMCALL (0x0000000000000022) failed: 0xc000050500000000",
        "module initialization failed (-5)",
      ),
    },
    ["tdx-ready.module-old", sgx],
  ),
  example(
    "module -28: reserved areas exhausted",
    want,
    {
      ...bad,
      log: tdx(
        KEYS,
        S3,
        "TDX module 2.0.08.00, build number 882, build date 0134fed5",
        "initialization failed: TDMR [0x40000000, 0x80000000): reserved areas exhausted.",
        "module initialization failed (-28)",
      ),
    },
    ["tdx-ready.areas-exhausted", sgx],
  ),
  example(
    "module -22: clobbers the frame pointer",
    want,
    {
      ...bad,
      log: tdx(
        KEYS,
        S3,
        "frame pointer (RBP) clobber bug present, upgrade TDX module",
        "module initialization failed (-22)",
      ),
    },
    ["tdx-ready.module-rbp", sgx],
  ),
  example(
    "module -19: the SEAM loader did not run",
    want,
    {
      ...bad,
      log: tdx(KEYS, S3, "module not loaded", "module initialization failed (-19)"),
    },
    ["tdx-ready.module-missing", sgx],
  ),
  example("no module, and no code", want, { ...bad, log: tdx(KEYS, S3, "module not loaded") }, [
    "tdx-ready.module-missing",
    sgx,
  ]),
  example("a code that nobody explained", want, { ...bad, log: tdx(KEYS, S3, "module initialization failed (-95)") }, [
    "tdx-ready.module-failed",
    sgx,
  ]),
  example(
    "initialised, but older than the recipe asks",
    { ...want, minimumModule: "2.0" },
    {
      ...good,
      log: tdx(KEYS, version(5, 698), "module initialized"),
    },
    ["tdx-ready.module-version"],
  ),
  example(
    "initialised by a kernel that does not name the module, and that takes none before 1.5: more is not known",
    { ...want, minimumModule: "2.0" },
    good,
    ["tdx-ready.module-version"],
  ),
  example(
    "initialised by a kernel of before upstream's: nothing says how old the module is",
    want,
    { ...good, kernel: ok("6.5.0-1003-intel-opt\n") },
    ["tdx-ready.module-version"],
  ),
  example("initialised, and nobody knows by which kernel", want, { ...good, kernel: failed("connection lost") }, [
    "tdx-ready.module-version",
  ]),
  example(
    "a kernel from 7.1 on",
    { ...want, minimumModule: "2.0" },
    {
      ...good,
      kernel: ok("7.1.0-4-generic\n"),
      log: tdx(KEYS, S3, "Module version: 2.0.08", "1050644 KB allocated for PAMT", "module initialized"),
    },
  ),
  example("kvm_intel without tdx", want, { ...bad, log: tdx(KEYS, S3) }, [
    "tdx-ready.module",
    "tdx-ready.parameters",
    sgx,
  ]),
  example("SGX off", want, { ...good, parameters: ok("/sys/module/kvm_intel/parameters/tdx:Y\n", 2) }, [sgx]),
  example("journal rotated away", want, { ...good, log: ok("virt/tdx: module initialized\n") }, ["tdx-ready.log"]),
  example("no log", want, { ...good, log: failed("no answer within 20 s") }, ["tdx-ready.log"]),
];
