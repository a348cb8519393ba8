import { expect, test } from "@jest/globals";
import { sevFirmware as facet } from "../../providers/facets/sev-firmware.ts";
import { missing, ok } from "../../providers/kit/ask.ts";
import { SevFirmwareSchema } from "../../providers/kit/sev-firmware.ts";
import { profileByName } from "../../stacks/profiles/resolve.ts";
import { CONTEXT, codes, factsOf } from "./run-examples.ts";

const value = profileByName("nvidia-du-11462-001-v1.0").host.sevFirmware?.value;
const [zip, sbin, other] = ["aa".repeat(32), "bb".repeat(32), "cc".repeat(32)] as const;
const want = SevFirmwareSchema.parse({ ...value, file: { ...value?.file, sha256: zip, memberSha256: sbin } });
const PATH = "/lib/firmware/amd/amd_sev_fam19h_model0xh.sbin";
const processor = ok("cpu family\t: 25\nmodel\t\t: 1\n");
const log = (api: string) =>
  ok(`Linux version 6.14.0\nccp 0000:45:00.1: SEV API:${api}\nccp 0000:45:00.1: SEV-SNP API:${api}\n`);
const plan = (files: string, api = "1.49 build:3") =>
  facet.plan?.(want, factsOf(facet, { files: ok(files, 1), processor, log: log(api) }), CONTEXT) ?? [];

test("001-HOST-45 to 48: fetched, verified, unpacked, verified, put in place without the version in its name", () => {
  const [step] = plan("");
  const lines = step?.actions.flatMap((a) => (a.do === "job" ? a.lines.map((l) => l.argv.join(" ")) : []));
  const folder = "/var/lib/teeup/artifacts";
  expect(lines).toEqual([
    `curl --fail --location --silent --show-error --retry 3 --output ${folder}/amd_sev_fam19h_model0xh_1.33.03.zip https://developer.amd.com/wp-content/resources/amd_sev_fam19h_model0xh_1.33.03.zip`,
    `sha256sum --check --strict ${folder}/amd_sev_fam19h_model0xh_1.33.03.zip.sha256`,
    `unzip -o -q -j ${folder}/amd_sev_fam19h_model0xh_1.33.03.zip amd_sev_fam19h_model0xh_1.33.03.sbin -d ${folder}`,
    `sha256sum --check --strict ${folder}/amd_sev_fam19h_model0xh_1.33.03.sbin.sha256`,
    `install -D -m 0644 ${folder}/amd_sev_fam19h_model0xh_1.33.03.sbin ${PATH}`,
  ]);
  expect(step?.disruption).toBe("none");
});

test("a file that was there is kept, once, and put back on delete", () => {
  const copies = (files: string) =>
    plan(files)[0]?.actions.flatMap((a) => (a.do === "job" ? a.lines.filter((l) => l.argv[0] === "cp") : []));
  expect(copies(`${other}  ${PATH}\n`)).toEqual([{ argv: ["cp", "-p", PATH, `${PATH}.teeup-original`] }]);
  expect(copies(`${other}  ${PATH}\n${other}  ${PATH}.teeup-original\n`)).toEqual([]);
  const kept = factsOf(facet, {
    files: ok(`${sbin}  ${PATH}\n${other}  ${PATH}.teeup-original\n`),
    log: log("1.51 build:3"),
  });
  expect(facet.undo?.(want, kept, CONTEXT)[0]?.actions).toEqual([
    { do: "run", argv: ["mv", "-f", `${PATH}.teeup-original`, PATH] },
  ]);
  const restored = factsOf(facet, { files: ok(`${other}  ${PATH}\n`), log: log("1.51 build:3") });
  expect(codes(facet.undo?.(want, restored, CONTEXT))).toEqual([]);
});

test("001-HOST-43: the version counts with its build, and the SNP line itself is needed", () => {
  const pending = (text: string, staged = ok("")) =>
    facet.pending?.(
      want,
      factsOf(facet, { files: ok(`${sbin}  ${PATH}\n`), staged, processor, log: ok(`Linux version 6.14.0\n${text}`) }),
    ).reasons;
  expect(pending("ccp 0000:45:00.1: SEV-SNP API:1.51 build:3\n")).toEqual([]);
  expect(pending("ccp 0000:45:00.1: SEV-SNP API:1.9 build:3\n")).toHaveLength(1);
  expect(pending("ccp 0000:45:00.1: SEV API:1.55 build:3\n")).toHaveLength(1);
  // In place since before the last boot, and still refused: no restart mends that.
  expect(pending("ccp 0000:45:00.1: SEV API:1.49 build:3\n", missing)).toEqual([]);
});

test("without a file nothing is staged, so no restart is asked for", () => {
  const checked = SevFirmwareSchema.parse({ minimumApi: "1.55" });
  const facts = factsOf(facet, { files: ok("", 1), log: log("1.51 build:3") });
  expect(facet.pending?.(checked, facts)).toEqual({ reasons: [], boots: 0 });
  expect(codes(facet.plan?.(checked, facts, CONTEXT))).toEqual([]);
});

test.each(["/lib/firmware/amd/../x.sbin", "/etc/passwd", "/lib/firmware/amd/x"])(
  "%s is no place for firmware",
  (path) => {
    expect(SevFirmwareSchema.safeParse({ ...want, file: { ...want.file, path } }).success).toBe(false);
  },
);
