import { failed, ok } from "../kit/ask.ts";
import { example } from "../kit/example.ts";

const PATH = "/lib/firmware/amd/amd_sev_fam19h_model0xh.sbin";
const [sum, old] = ["ab".repeat(32), "cd".repeat(32)];
const file = {
  url: "https://example.org/fw.zip",
  sha256: old,
  member: "fw_1.33.03.sbin",
  memberSha256: sum,
  path: PATH,
};
const want = { minimumApi: "1.51", file };
const milan = ok("cpu family\t: 25\nmodel\t\t: 1\n");
const genoa = ok("cpu family\t: 25\nmodel\t\t: 17\n");
const ccp = (...lines: string[]) =>
  ok(`Linux version 6.14.0\n${lines.map((line) => `ccp 0000:45:00.1: ${line}\n`).join("")}`);
const good = ccp("SEV API:1.51 build:3", "SEV-SNP API:1.51 build:3");
const bad = ccp("SEV-SNP support requires firmware version >= 1:51", "SEV API:1.49 build:3");
const there = ok(`${sum}  ${PATH}\n`);
const before = ok(`${old}  ${PATH}\n`);
const [inFile, version] = ["sev-firmware.file", "sev-firmware.version"];
const stage = ["sev-firmware.stage"];

export const SEV_FIRMWARE_EXAMPLES = [
  example("in force", want, { files: there, processor: milan, log: good }),
  example("too old", want, { files: before, processor: milan, log: bad }, [inFile, version], stage),
  example("staged, waits for a restart", want, { files: there, staged: ok(""), processor: milan, log: bad }, [version]),
  example("a file for another processor", want, { files: before, processor: genoa, log: bad }, [
    "sev-firmware.processor",
    inFile,
    version,
  ]),
  example("only checked", { minimumApi: "1.55" }, { files: ok("", 1), processor: genoa, log: good }, [version]),
  example("no log", want, { files: there, processor: milan, log: failed("no journal") }, [version]),
];
