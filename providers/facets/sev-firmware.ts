import { failed, ok } from "../kit/ask.ts";
import { example } from "../kit/example.ts";
import type { Finding, Step } from "../kit/facet.ts";
import { facet } from "../kit/facet.ts";
import { valueOf } from "../kit/facts.ts";
import { ARTIFACTS_DIR, download, job } from "../kit/host.ts";
import { judgeFact } from "../kit/judge.ts";
import { compareVersions } from "../kit/parse-packages.ts";
import type { SevFirmwareFacts, SevFirmwareWant } from "../kit/sev-firmware.ts";
import { ORIGINAL, parseSevFirmware, SEV_FIRMWARE_ASKS, SevFirmwareSchema } from "../kit/sev-firmware.ts";

const SOURCE = "seed 001, Upgrade out-of-date SEV Firmware";

/** An API that SNP can use: the SNP API line itself, since firmware that is too old shows the SEV API only. */
const newEnough = (want: SevFirmwareWant, api: { readonly snp?: string }) =>
  api.snp !== undefined && compareVersions(api.snp, want.minimumApi) >= 0;
const inPlace = (want: SevFirmwareWant, facts: SevFirmwareFacts) =>
  want.file === undefined || valueOf(facts.files)?.[want.file.path] === want.file.memberSha256;

/** Firmware of the AMD secure processor. */
export const sevFirmware = facet<SevFirmwareWant, SevFirmwareFacts, typeof SEV_FIRMWARE_ASKS>({
  name: "sev-firmware",
  type: "SevFirmware",
  on: "host",
  persona: "host",
  summary: "Firmware of the AMD secure processor: the file the kernel loads, and the version in force.",
  sources: [SOURCE],
  want: SevFirmwareSchema,
  asks: SEV_FIRMWARE_ASKS,
  parse: parseSevFirmware,
  judge: (want, facts): Finding[] => {
    const { file } = want;
    return [
      ...(file === undefined
        ? []
        : [
            judgeFact(facts.files, {
              code: "sev-firmware.file",
              want: `${file.path} is ${file.member}`,
              hint: "teeup puts it in place with the next up",
              source: `${SOURCE}, step 1`,
              good: () => inPlace(want, facts),
              show: (files) =>
                files[file.path] === undefined ? "missing" : `sha256 ${files[file.path]?.slice(0, 12)}…`,
            }),
          ]),
      judgeFact(facts.api, {
        code: "sev-firmware.version",
        want: `SEV-SNP API ${want.minimumApi} or later`,
        hint:
          file === undefined
            ? "install a newer linux-firmware (amd64-microcode) or BIOS, or give the firmware file"
            : "restart the host: permit reboot and up",
        source: `${SOURCE}, step 2`,
        good: (api) => newEnough(want, api),
        show: (api) =>
          api.snp ?? `no SEV-SNP API in the kernel log${api.sev === undefined ? "" : ` (SEV API ${api.sev})`}`,
        // Without a restart, and before kernel and BIOS are right, there is no such line: snp-ready fails then.
        level: "warn",
      }),
    ];
  },
  plan: (want, facts): Step[] => {
    const { file } = want;
    if (file === undefined || facts.files.state === "unknown" || inPlace(want, facts)) return [];
    const zip = download(file.url, file.sha256);
    const unpacked = `${ARTIFACTS_DIR}/${file.member.split("/").at(-1)}`;
    const there = valueOf(facts.files)?.[file.path] !== undefined;
    const backup = there && valueOf(facts.files)?.[file.path + ORIGINAL] === undefined;
    const lines = [
      ...zip.lines,
      { argv: ["unzip", "-o", "-q", "-j", zip.file, file.member, "-d", ARTIFACTS_DIR] },
      { argv: ["sha256sum", "--check", "--strict", `${unpacked}.sha256`] },
      ...(backup ? [{ argv: ["cp", "-p", file.path, file.path + ORIGINAL] } as const] : []),
      { argv: ["install", "-D", "-m", "0644", unpacked, file.path] },
    ] as const;
    return [
      {
        code: "sev-firmware.stage",
        title: `put SEV firmware ${file.member} at ${file.path}`,
        why: "the kernel loads it at the next restart",
        disruption: "none",
        actions: [
          zip.checks,
          { do: "write", path: `${unpacked}.sha256`, content: `${file.memberSha256}  ${unpacked}\n` },
          ...job("sev-firmware", lines, 900),
        ],
      },
    ];
  },
  undo: (want, facts): Step[] => {
    const { file } = want;
    if (file === undefined || valueOf(facts.files)?.[file.path] !== file.memberSha256) return [];
    const original = file.path + ORIGINAL;
    const kept = valueOf(facts.files)?.[original] !== undefined;
    return [
      {
        code: "sev-firmware.restore",
        title: kept ? `put the original ${file.path} back` : `remove ${file.path}`,
        why: "deleted",
        disruption: "none",
        actions: [kept ? { do: "run", argv: ["mv", "-f", original, file.path] } : { do: "remove", path: file.path }],
      },
    ];
  },
  pending: (want, facts) => {
    const api = valueOf(facts.api);
    // Without a file nothing is staged, so a restart would change nothing.
    if (want.file === undefined || api === undefined || newEnough(want, api)) return { reasons: [], boots: 0 };
    return {
      reasons: [`SEV firmware has API ${api.snp ?? api.sev ?? "unknown"}, ${want.minimumApi} is wanted`],
      boots: 1,
    };
  },
  show: (facts) => ({ api: valueOf(facts.api), files: valueOf(facts.files) }),
  examples: (() => {
    const path = "/lib/firmware/amd/amd_sev_fam19h_model0xh.sbin";
    const [sum, old] = ["ab".repeat(32), "cd".repeat(32)];
    const file = { url: "https://example.org/fw.zip", sha256: old, member: "fw_1.33.03.sbin", memberSha256: sum, path };
    const want = { minimumApi: "1.51", file };
    const good = ok("ccp 0000:45:00.1: SEV API:1.51 build:3\nccp 0000:45:00.1: SEV-SNP API:1.51 build:3\n");
    const bad = ok(
      "ccp 0000:45:00.1: SEV-SNP support requires firmware version >= 1:51\nccp 0000:45:00.1: SEV API:1.49 build:3\n",
    );
    const [inFile, version] = ["sev-firmware.file", "sev-firmware.version"];
    const stage = ["sev-firmware.stage"];
    return [
      example("in force", want, { files: ok(`${sum}  ${path}\n`), log: good }),
      example("too old", want, { files: ok(`${old}  ${path}\n`), log: bad }, [inFile, version], stage),
      example("staged, waits for a restart", want, { files: ok(`${sum}  ${path}\n`), log: bad }, [version]),
      example("only checked", { minimumApi: "1.55" }, { files: ok("", 1), log: good }, [version]),
      example("no log", want, { files: ok(`${sum}  ${path}\n`), log: failed("no journal") }, [version]),
    ];
  })(),
  covers: ["001-HOST-37", ...[40, 41, 43, 44, 45, 46, 47, 48, 49, 50].map((n) => `001-HOST-${n}`)],
});
