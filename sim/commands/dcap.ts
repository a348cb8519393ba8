import { GENERATOR, PCCS, QCNL, QUOTE_SAMPLE, SDK_FILES, SGX_SDK, VERIFIER } from "../model/dcap.ts";
import { normalise } from "../model/files.ts";
import type { Machine } from "../model/machine.ts";
import type { Command, Result } from "./command.ts";
import { always, fail, never, ok, unmodelled } from "./command.ts";

/** What Intel's sample Makefiles build; undefined for a folder that is none of theirs. */
export function makeSample(machine: Machine, tree: string, argv: readonly string[]): Result | undefined {
  const { files, packages } = machine;
  const makefile = files.readIf(`${tree}/Makefile`) ?? "";
  const lacks = (name: string) => fail(2, `fatal error: ${name}: No such file or directory\nmake: *** Error 1`);
  if (makefile.startsWith("test_tdx_attest:")) {
    if (!packages.installed.has("libtdx-attest-dev")) return lacks("tdx_attest.h");
    files.place(`${tree}/test_tdx_attest`, GENERATOR);
    return ok("", 2);
  }
  if (!makefile.includes("buildenv.mk")) return undefined;
  const sdk = argv.find((w) => w.startsWith("SGX_SDK="))?.slice("SGX_SDK=".length) ?? SGX_SDK;
  if (!files.exists(`${sdk}/buildenv.mk`)) return lacks(`${sdk}/buildenv.mk`);
  files.remove(`${tree}/app`);
  if (argv.includes("clean")) return ok();
  if (!packages.installed.has("libsgx-dcap-quote-verify-dev")) return lacks("sgx_dcap_quoteverify.h");
  files.place(`${tree}/app`, VERIFIER);
  return ok("LINK =>  app\n", 30);
}

/** The SDK's installer is a script of bash. */
export function installSdk(machine: Machine, argv: readonly string[]): Result {
  if (argv[0] === "sh") return fail(127, `${argv[1]}: 129: pushd: not found`);
  if (argv[argv.indexOf("--prefix") + 1] !== "/opt/intel") return unmodelled(argv);
  for (const [path, node] of Object.entries(SDK_FILES)) machine.files.place(path, node);
  return ok("Unpacking Intel SGX SDK ... done.\nInstallation is successful!\n", 20);
}

/** A quote says which boot of the TD made it; each one extends two of the TD's measurements. */
const generator: Command = {
  names: ["test_tdx_attest"],
  base: false,
  mutates: always,
  run: (machine, _argv, context) => {
    if (context.file !== `${QUOTE_SAMPLE}/test_tdx_attest` || !machine.files.exists("/dev/tdx_guest"))
      return fail(1, "\nFailed to get the report");
    machine.files.write(normalise("report.dat", context.cwd), "tdx-report\n");
    machine.files.write(normalise("quote.dat", context.cwd), `tdx-quote ${machine.now.bootId}\n`);
    machine.now.rtmrExtends++;
    return ok("\nSuccessfully get the TD Quote\n\nWrote TD Quote to quote.dat\n", 1);
  },
};

const LINES = [
  "[APP] Info: ECDSA quote path: ",
  "[APP] Trusted quote verification:",
  "[APP] Error: Can't load SampleISVEnclave. 0x2006",
];

/** Verifies by the platform's certificates, which only its own server has; ends with 0 whatever it found. */
const verifier: Command = {
  names: ["sgx-quote-app"],
  base: false,
  mutates: never,
  run: (machine, argv, context) => {
    const quote = machine.files.readIf(normalise(argv[2] ?? "", context.cwd));
    if (argv[1] !== "-quote") return unmodelled(argv);
    if (quote === undefined) return fail(255, "", `[APP] Error: Unable to open quote file ${argv[2]}\n`);
    const conf = machine.files.readIf(QCNL) ?? "";
    const served =
      conf.includes(`"pccs_url": "${PCCS}/`) && /"use_secure_cert": true/.test(conf) && !machine.node.internet.down;
    const verdict = !served
      ? ["[APP] Error: App: tee_verify_quote failed: 0xe019"]
      : quote === `tdx-quote ${machine.now.bootId}\n`
        ? [
            "[APP] Info: App: tee_verify_quote successfully returned.",
            "[APP] Info: App: Verification completed successfully.",
          ]
        : [
            "[APP] Info: App: tee_verify_quote successfully returned.",
            "[APP] Error: App: Verification completed with Terminal result: a005",
          ];
    return ok(`${[...LINES, "[APP] Untrusted quote verification:", ...verdict].join("\n")}\n`, 3);
  },
};

export const dcap: readonly Command[] = [generator, verifier];
