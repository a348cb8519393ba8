import { z } from "zod";
import type { JobLine } from "../kit/action.ts";
import { Sha256Schema } from "../kit/downloads.ts";
import type { Step } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { valueIfKnown } from "../kit/facts.ts";
import { firstUnknown } from "../kit/findings.ts";
import * as host from "../kit/host.ts";

const FileSchema = z.strictObject({
  url: z.url({ protocol: /^https$/ }),
  sha256: Sha256Schema,
  md5: z
    .string()
    .regex(/^[0-9a-f]{32}$/)
    .describe("The document's own sum, compared too."),
});
export const TdxQuoteWant = z.strictObject({
  repository: FileSchema.describe("Intel's local package repository (sgx_debian_local_repo.tgz)."),
  sdk: FileSchema.describe("Intel's SGX SDK, which the verifier is built with."),
  verifier: FileSchema.describe("Sources of DCAP, with QuoteVerificationSample."),
  verifierFolder: z
    .string()
    .regex(/^[\w.-]+$/)
    .describe("Top folder of these sources."),
  pccs: z.url({ protocol: /^https$/ }).describe("Where certificates of the platform come from, scheme to port."),
});
export type TdxQuoteWant = z.output<typeof TdxQuoteWant>;
export interface TdxQuoteFacts {
  /** Packages that are installed, of those that are needed. */
  readonly packages: Fact<readonly string[]>;
  readonly qcnl: Fact<string>;
  /** Programs that are built. */
  readonly generator: Fact<boolean>;
  readonly verifier: Fact<boolean>;
  /** A quote was made since the TD started. */
  readonly made: Fact<boolean>;
  /** What the verifier says of it, just now. */
  readonly quote: Fact<"good" | string>;
}

export const PACKAGES = [
  ...["dkms", "libtdx-attest", "libtdx-attest-dev", "libsgx-dcap-quote-verify", "libsgx-dcap-quote-verify-dev"],
  ...["libsgx-ae-qve", "libsgx-enclave-common-dev", "libsgx-dcap-default-qpl", "libsgx-dcap-default-qpl-dev"],
  ...["sgx-ra-service", "libsgx-urts"],
];
const WORK = "/var/lib/teeup/tdx-quote";
export const SAMPLE = "/opt/intel/tdx-quote-generation-sample";
/** A link to the built verifier, whatever its sources' folder is called. */
export const VERIFIER = `${WORK}/QuoteVerificationSample`;
/** In memory: a quote is of the boot that made it. */
const QUOTES = "/run/teeup/tdx-quote";
export const QUOTE = `${QUOTES}/quote.dat`;
export const QCNL = "/etc/sgx_default_qcnl.conf";
const LIST = "/etc/apt/sources.list.d/sgx_debian_local_repo.list";
const LIST_TEXT = "deb [trusted=yes arch=amd64] file:/srv/sgx_debian_local_repo jammy main\n";

export const lackingOf = (have: readonly string[]) => PACKAGES.filter((name) => !have.includes(name));
/** A comment of the configuration, which is JSON with comments: a setting in one says nothing. */
const COMMENT = /\/\*[\s\S]*?\*\/|(?<!\S)\/\/.*$/gm;
const URL_OF = /("pccs_url"\s*:\s*")([^"]*)/g;
const SECURE = /("use_secure_cert"\s*:\s*)(true|false)/g;
const said = (text: string, setting: RegExp) => [...text.replace(COMMENT, "").matchAll(setting)].map((m) => m[2] ?? "");

/** What the file says of both settings; the last word counts, and there should be one. */
export const qcnlSays = (text: string): string =>
  `${said(text, URL_OF).at(-1) ?? "no pccs_url"}, use_secure_cert ${said(text, SECURE).at(-1) ?? "not said"}`;
/** Both settings of seed 003, as often as they stand there: the cloud's own PCCS, whose certificate is a real one. */
export function qcnlGood(want: TdxQuoteWant, text: string): boolean {
  const [urls, secure] = [said(text, URL_OF), said(text, SECURE)];
  const ours = urls.every((url) => url === want.pccs || url.startsWith(`${want.pccs}/`));
  return urls.length > 0 && ours && secure.length > 0 && secure.every((value) => value === "true");
}

/** The url's host part is exchanged and its path kept, as the document's sed does it; comments stay as they are. */
export function qcnlText(want: TdxQuoteWant, text: string): string {
  const silent = said(text, SECURE).length === 0;
  const set = (part: string) =>
    part
      .replace(URL_OF, (_all, key: string, url: string) => `${key}${url.replace(/^https?:\/\/[^/]*/, want.pccs)}`)
      .replace(SECURE, "$1true")
      .replace(/"pccs_url"/, silent ? '"use_secure_cert": true,\n  $&' : "$&");
  const comments = text.match(COMMENT) ?? [];
  return text
    .split(COMMENT)
    .map((part, n) => `${set(part)}${comments[n] ?? ""}`)
    .join("");
}

function fetched(files: readonly z.output<typeof FileSchema>[]) {
  const all = files.map((file) => ({ ...host.download(file.url, file.sha256), md5: file.md5 }));
  return {
    paths: all.map(({ file }) => file),
    checks: all.flatMap(({ checks, file, md5 }): Step["actions"] => [
      checks,
      { do: "write", path: `${file}.md5`, content: `${md5}  ${file}\n` },
    ]),
    lines: all.flatMap(({ lines, file }): JobLine[] => [
      ...lines,
      { argv: ["md5sum", "--check", "--strict", `${file}.md5`] },
    ]),
  };
}

export function planTdxQuote(want: TdxQuoteWant, facts: TdxQuoteFacts): Step[] {
  const { packages, qcnl, generator, verifier, made } = facts;
  if (firstUnknown(packages, qcnl, generator, verifier, made)) return [];
  const steps: Step[] = [];
  const step = (code: string, title: string, why: string, actions: Step["actions"]) =>
    void steps.push({ code: `tdx-quote.${code}`, title, why, disruption: "none", actions });
  const lacking = lackingOf(valueIfKnown(packages) ?? []);
  if (lacking.length > 0) {
    const { checks, lines, paths } = fetched([want.repository]);
    step("packages", `install Intel's DCAP packages (${lacking.length})`, "they turn a TD's report into a quote", [
      ...checks,
      { do: "write", path: LIST, content: LIST_TEXT },
      ...host.job(
        "tdx-quote-packages",
        [
          ...lines,
          { argv: ["mkdir", "-p", "/srv"] },
          { argv: ["tar", "--extract", "--gzip", "--file", paths[0] ?? "", "--directory", "/srv"] },
          { argv: [...host.APT, "update"] },
          { argv: [...host.APT, "install", "--no-install-recommends", ...PACKAGES] },
        ],
        1800,
      ),
    ]);
  }
  const config = valueIfKnown(qcnl);
  // A file that names no PCCS at all is a person's to look at.
  if (config !== undefined && !qcnlGood(want, config) && qcnlGood(want, qcnlText(want, config)))
    step("pccs", `${QCNL}: certificates from ${want.pccs}`, "quotes are verified with the platform's certificates", [
      { do: "write", path: QCNL, content: qcnlText(want, config) },
    ]);
  if (valueIfKnown(generator) !== true)
    step("generator", `build the quote generator in ${SAMPLE}`, "it comes as source", [
      { do: "run", argv: ["make", "-C", SAMPLE], timeoutSeconds: 600 },
    ]);
  if (valueIfKnown(verifier) !== true) {
    const { checks, lines, paths } = fetched([want.sdk, want.verifier]);
    const [sdk = "", sources = ""] = paths;
    const folder = `${WORK}/${want.verifierFolder}/SampleCode/QuoteVerificationSample`;
    step("verifier", "build Intel's quote verifier with its SDK", "it comes as source", [
      ...checks,
      ...host.job(
        "tdx-quote-verifier",
        [
          ...lines,
          // Named, so that no answer has to be fed to its questions; the variables of its environment file are make's.
          // It is no script for every shell: dash does not know its pushd.
          { argv: ["bash", sdk, "--prefix", "/opt/intel"] },
          { argv: ["mkdir", "-p", WORK] },
          { argv: ["tar", "--extract", "--gzip", "--file", sources, "--directory", WORK] },
          { argv: ["make", "-C", folder, "clean"] },
          { argv: ["make", "-C", folder, "DEBUG=1", "SGX_SDK=/opt/intel/sgxsdk"] },
          { argv: ["ln", "-sfn", folder, VERIFIER] },
        ],
        3600,
      ),
    ]);
  }
  if (valueIfKnown(made) !== true)
    step(
      "quote",
      "make a quote of this boot; Intel's sample extends RTMR[2] and RTMR[3] by it",
      "the TD proves by it what it is; made once a boot, since what it extends stays extended until the next",
      [
        { do: "run", argv: ["mkdir", "-p", QUOTES] },
        {
          do: "run",
          argv: ["env", `--chdir=${QUOTES}`, `${SAMPLE}/test_tdx_attest`],
          means: {
            saw: "the quote generator made no quote",
            next: "/dev/tdx_guest must be there; the quote itself is made below the instance: if it is, ask the cloud",
          },
        },
      ],
    );
  return steps;
}
