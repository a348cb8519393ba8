import type { Finding, Step } from "../kit/facet.ts";
import { facet } from "../kit/facet.ts";
import { valueIfKnown } from "../kit/facts.ts";
import { ARTIFACTS_DIR, download, job } from "../kit/host.ts";
import { judgeFact } from "../kit/judge.ts";
import { compareVersions } from "../kit/parse-packages.ts";
import type { SevFirmwareFacts, SevFirmwareWant } from "../kit/sev-firmware.ts";
import * as firmware from "../kit/sev-firmware.ts";
import { SEV_FIRMWARE_EXAMPLES } from "./sev-firmware-examples.ts";

const SOURCE = "seed 001, Upgrade out-of-date SEV Firmware";

/** An API that SNP can use: the SNP API line itself, since firmware that is too old shows the SEV API only. */
const newEnough = (want: SevFirmwareWant, api: { readonly snp?: string }) =>
  api.snp !== undefined && compareVersions(api.snp, want.minimumApi) >= 0;
const inPlace = (want: SevFirmwareWant, facts: SevFirmwareFacts) =>
  want.file === undefined || valueIfKnown(facts.files)?.[want.file.path] === want.file.memberSha256;

/** The kernel would load this file here; a file for another processor is never looked at. */
const fits = (want: SevFirmwareWant, names: readonly string[]) =>
  want.file === undefined || names.some((name) => want.file?.path.endsWith(`/${name}`));

function fileFindings(file: NonNullable<SevFirmwareWant["file"]>, facts: SevFirmwareFacts): Finding[] {
  return [
    judgeFact(facts.names, {
      code: "sev-firmware.processor",
      want: `a file for this processor, not ${file.path}`,
      hint: "take the file of this processor's family and model from developer.amd.com/sev or linux-firmware",
      source: SOURCE,
      good: (names) => names.some((name) => file.path.endsWith(`/${name}`)),
      show: (names) => names.join(" or "),
    }),
    judgeFact(facts.files, {
      code: "sev-firmware.file",
      want: `${file.path} is ${file.member}`,
      hint: "teeup puts it in place with the next up",
      source: `${SOURCE}, step 1`,
      good: (files) => files[file.path] === file.memberSha256,
      show: (files) => (files[file.path] === undefined ? "missing" : `sha256 ${files[file.path]?.slice(0, 12)}…`),
    }),
  ];
}

/** Firmware of the AMD secure processor. */
export const sevFirmware = facet<SevFirmwareWant, SevFirmwareFacts, typeof firmware.SEV_FIRMWARE_ASKS>({
  name: "sev-firmware",
  type: "SevFirmware",
  on: "host",
  persona: "host",
  summary: "Firmware of the AMD secure processor: the file the kernel loads, and the version in force.",
  sources: [SOURCE],
  want: firmware.SevFirmwareSchema,
  asks: firmware.SEV_FIRMWARE_ASKS,
  parse: firmware.parseSevFirmware,
  judge: (want, facts): Finding[] => {
    const { file } = want;
    return [
      ...(file === undefined ? [] : fileFindings(file, facts)),
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
    if (facts.names.state !== "known" || !fits(want, facts.names.value)) return [];
    const zip = download(file.url, file.sha256);
    const unpacked = `${ARTIFACTS_DIR}/${file.member.split("/").at(-1)}`;
    const there = valueIfKnown(facts.files)?.[file.path] !== undefined;
    const backup = there && valueIfKnown(facts.files)?.[file.path + firmware.ORIGINAL] === undefined;
    const lines = [
      ...zip.lines,
      { argv: ["unzip", "-o", "-q", "-j", zip.file, file.member, "-d", ARTIFACTS_DIR] },
      { argv: ["sha256sum", "--check", "--strict", `${unpacked}.sha256`] },
      ...(backup ? [{ argv: ["cp", "-p", file.path, file.path + firmware.ORIGINAL] } as const] : []),
      { argv: ["install", "-D", "-m", "0644", unpacked, file.path] },
    ] as const;
    return [
      {
        code: "sev-firmware.stage",
        title: `put SEV firmware ${file.member} at ${file.path}`,
        why: "the kernel loads it at the next restart",
        disruption: "none",
        actions: [
          { do: "write", path: firmware.SEV_FIRMWARE_STAGED, content: "" },
          zip.checks,
          { do: "write", path: `${unpacked}.sha256`, content: `${file.memberSha256}  ${unpacked}\n` },
          ...job("sev-firmware", lines, 900),
        ],
      },
    ];
  },
  undo: (want, facts): Step[] => {
    const { file } = want;
    if (file === undefined || valueIfKnown(facts.files)?.[file.path] !== file.memberSha256) return [];
    const original = file.path + firmware.ORIGINAL;
    const kept = valueIfKnown(facts.files)?.[original] !== undefined;
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
    const api = valueIfKnown(facts.api);
    // A restart changes something only when the file came, or will come, after the last one.
    const open = !inPlace(want, facts) || valueIfKnown(facts.staged) === true;
    const right = want.file !== undefined && facts.names.state === "known" && fits(want, facts.names.value);
    if (!right || !open || api === undefined || newEnough(want, api)) return { reasons: [], boots: 0 };
    return {
      reasons: [`SEV firmware has API ${api.snp ?? api.sev ?? "unknown"}, ${want.minimumApi} is wanted`],
      boots: 1,
    };
  },
  show: (facts) => ({ api: valueIfKnown(facts.api), files: valueIfKnown(facts.files) }),
  examples: SEV_FIRMWARE_EXAMPLES,
  covers: ["001-HOST-37", ...[40, 41, 43, 44, 45, 46, 47, 48, 49, 50].map((n) => `001-HOST-${n}`)],
});
