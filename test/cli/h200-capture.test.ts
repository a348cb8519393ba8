import { readFileSync } from "node:fs";
import { expect, test } from "@jest/globals";

const capture = (name: string) =>
  readFileSync(new URL(`../captures/h200/check-${name}.txt`, import.meta.url), "utf8").split("\n");

/** The finding with its level, as the tree shows it. */
const level = (lines: readonly string[], code: string) =>
  lines.find((line) => line.includes(` ${code}`))?.match(/pass|warn|FAIL|UNKNOWN/)?.[0];

test.each(["alibaba-gn8v-tee-1gpu", "tdx-upstream-guest"])(
  "a real H200 that is no confidential guest is called just that (%s)",
  (name) => {
    const lines = capture(name);
    expect(level(lines, "guest-evidence.tdx")).toBe("FAIL");
    expect(level(lines, "guest-evidence.tdx-guest")).toBe("FAIL");
    // nvidia-smi is not asked before nvidia-persistenced is active: what was not asked is unknown, never good.
    expect(level(lines, "guest-evidence.cc")).toBe("UNKNOWN");
    expect(level(lines, "gpu-ready-state.unknown")).toBe("UNKNOWN");
    expect(level(lines, "attestation.absent")).toBe("FAIL");
    expect(lines.join("\n")).toMatch(/ fail, \d+ unknown\n$/);
  },
);
