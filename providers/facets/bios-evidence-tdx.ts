import type { Finding } from "../kit/facet.ts";
import { showFact } from "../kit/facts.ts";
import { findingsOf } from "../kit/findings.ts";
import { compareVersions } from "../kit/parse-packages.ts";
import type { BiosEvidence } from "./bios-evidence.ts";
import type { BiosMenu } from "./bios-menus.ts";

const { pass, fail, unsure, warn } = findingsOf("bios", "docs/sources.md, Host, Intel TDX");
/** From here on every kernel with TDX hosts says how many keys the BIOS gave. */
const SAYS_SO = "6.16";

const SGX = "SGX on: quotes are signed by an SGX enclave";

/** What the running system shows of the BIOS settings of TDX. */
export function judgeTdxEvidence({ tdx, kernel, flags }: BiosEvidence, menu: BiosMenu): Finding[] {
  const keys = "private KeyIDs for TDX";
  const entries = (entry: RegExp) => `${menu.title}: ${menu.entries.filter((e) => entry.test(e)).join("; ")}`;
  return [
    tdx.state !== "known"
      ? unsure("keys", keys, showFact(tdx), "journalctl -k -b must be readable")
      : tdx.value.tooFewKeys
        ? fail("keys-few", keys, `${tdx.value.keys} KeyIDs`, entries(/split/i))
        : tdx.value.keys !== undefined
          ? pass("keys", keys, `${tdx.value.keys} KeyIDs`)
          : kernel.state !== "known"
            ? unsure(
                "keys",
                keys,
                `no line in the kernel log, of a kernel of unknown release (${showFact(kernel)})`,
                "uname -r",
              )
            : compareVersions(kernel.value, SAYS_SO) < 0
              ? warn(
                  "keys-not-visible",
                  keys,
                  "this kernel does not look for them",
                  "tdx-ready judges it once a TDX kernel runs",
                )
              : fail(
                  "keys",
                  keys,
                  "no private KeyID range in the kernel log",
                  entries(/TME|TDX|Memory Encryption|46|Physical/),
                ),
    ...(flags.state === "known" && flags.value.includes("sgx")
      ? []
      : [
          flags.state === "unknown"
            ? unsure("sgx", SGX, flags.why, "grep ^flags /proc/cpuinfo")
            : fail("sgx-off", SGX, "the kernel cleared the sgx flag of /proc/cpuinfo", entries(/SGX/)),
        ]),
  ];
}
