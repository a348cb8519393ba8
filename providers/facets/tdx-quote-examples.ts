import { failed, missing, ok } from "../kit/ask.ts";
import { example } from "../kit/example.ts";
import type { Example } from "../kit/facet.ts";
import type { TdxQuoteWant } from "./tdx-quote-plan.ts";
import { PACKAGES } from "./tdx-quote-plan.ts";

const DCAP = "https://download.01.org/intel-sgx/sgx-dcap/1.21/linux/distro/ubuntu22.04-server";
const sum = (n: string) => n.repeat(64);
const WANT: TdxQuoteWant = {
  repository: {
    url: `${DCAP}/sgx_debian_local_repo.tgz`,
    sha256: sum("a"),
    md5: "71169068a5f0f99d203ad9f3d7976a9f",
  },
  sdk: { url: `${DCAP}/sgx_linux_x64_sdk_2.24.100.3.bin`, sha256: sum("b"), md5: "bc8c3453b44c6c6ce0c9fa1804cd2565" },
  verifier: {
    url: "https://github.com/intel/confidential-computing.tee.dcap/archive/refs/tags/DCAP_1.21.tar.gz",
    sha256: sum("c"),
    md5: "c4f2bd528e153f651adc9564a5b200b5",
  },
  verifierFolder: "confidential-computing.tee.dcap-DCAP_1.21",
  pccs: "https://pccs.baidubce.com:8081",
};
const QCNL = (url: string, secure: boolean) =>
  ok(`{\n  "pccs_url": "${url}/sgx/certification/v4/"\n  ,"use_secure_cert": ${secure}\n}\n`);
const GOOD = {
  dpkg: ok(PACKAGES.map((name) => `installed\t${name}\t\n`).join("")),
  qcnl: QCNL("https://pccs.baidubce.com:8081", true),
  generator: ok(""),
  verifier: ok(""),
  made: ok(""),
  verified: ok(
    "[APP] Info: App: tee_verify_quote successfully returned.\n[APP] Info: App: Verification completed successfully.\n",
  ),
};

export const tdxQuoteExamples: readonly Example<TdxQuoteWant>[] = [
  example("a quote that verifies", WANT, GOOD),
  example(
    "nothing installed",
    WANT,
    {
      dpkg: ok("installed\tbash\t\n"),
      qcnl: missing,
      generator: ok("", 1),
      verifier: ok("", 1),
      made: ok("", 1),
      verified: { kind: "skipped", why: "the quote verifier is not built yet" },
    },
    ["tdx-quote.packages", "tdx-quote.pccs", "tdx-quote.quote"],
    ["tdx-quote.packages", "tdx-quote.generator", "tdx-quote.verifier", "tdx-quote.quote"],
  ),
  example(
    "the PCCS of the package's own configuration",
    WANT,
    { ...GOOD, qcnl: QCNL("https://localhost:8081", false) },
    ["tdx-quote.pccs"],
    ["tdx-quote.pccs"],
  ),
  example(
    "the wanted settings stand in comments, of which Intel's own file is full",
    WANT,
    {
      ...GOOD,
      qcnl: ok(
        '{\n  //"pccs_url": "https://pccs.baidubce.com:8081/sgx/certification/v4/"\n  "pccs_url": "https://localhost:8081/sgx/certification/v4/" // not "pccs_url": "https://pccs.baidubce.com:8081"\n  // "use_secure_cert": true\n  ,"use_secure_cert": false\n}\n',
      ),
    },
    ["tdx-quote.pccs"],
    ["tdx-quote.pccs"],
  ),
  example(
    "a host whose name begins as the wanted one's",
    WANT,
    { ...GOOD, qcnl: QCNL("https://pccs.baidubce.com:8081.example.net", true) },
    ["tdx-quote.pccs"],
    ["tdx-quote.pccs"],
  ),
  example(
    "without a word on the certificate",
    WANT,
    { ...GOOD, qcnl: ok('{"pccs_url":"https://pccs.baidubce.com:8081/sgx/certification/v4/"}\n') },
    ["tdx-quote.pccs"],
    ["tdx-quote.pccs"],
  ),
  example("the same settings, written without spaces", WANT, {
    ...GOOD,
    qcnl: ok('{"pccs_url":"https://pccs.baidubce.com:8081/sgx/certification/v4/","use_secure_cert":true}\n'),
  }),
  example(
    "a quote that does not verify",
    WANT,
    { ...GOOD, verified: ok("[APP] Error: App: tee_verify_quote failed: 0xe019\n", 1) },
    ["tdx-quote.quote"],
  ),
  example(
    "the instance was started anew: its quote went with the old boot",
    WANT,
    { ...GOOD, made: ok("", 1), verified: { kind: "skipped", why: "no quote of this boot was made yet" } },
    ["tdx-quote.quote"],
    ["tdx-quote.quote"],
  ),
  example(
    "the verifier ends with 0 and one of its two lines",
    WANT,
    {
      ...GOOD,
      verified: ok(
        "[APP] Info: App: tee_verify_quote successfully returned.\n[APP] Warning: App: Verification completed with Non-terminal result: a002\n",
      ),
    },
    ["tdx-quote.quote"],
  ),
  example("the lines as the document prints them", WANT, {
    ...GOOD,
    verified: ok(
      "[APP] Info: App: tee verify quote successfully returned.\n[APP] Info: App: Verification completed successfully.\n",
    ),
  }),
  example("dpkg does not answer", WANT, { ...GOOD, dpkg: failed("no answer within 20 s") }, ["tdx-quote.packages"]),
];
