import { createHash } from "node:crypto";
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { parseRecord } from "../../providers/machine/record.ts";

/** Synthetic. */
const body = {
  version: 1,
  node: "gpu-01",
  at: "2026-11-21T10:00:00.000Z",
  host: {
    '["argv",["uname","-r"],null,null,null]': { kind: "ran", status: 0, stdout: "6.8.0-45-generic\n", stderr: "" },
    '["file","/proc/cmdline",null]': { kind: "missing" },
  },
  guest: { bios: { kind: "failed", why: "no BMC" } },
};
const hash = createHash("sha256").update(JSON.stringify(body)).digest("hex");
const TEXT = JSON.stringify({ ...body, hash }, null, 1);

test("whatever is changed in a record, it is refused, or says what it said before", () => {
  expect(parseRecord(TEXT, "gpu-01")).toEqual({ ...body, hash });
  const refused = { other: 0 };
  fc.assert(
    fc.property(fc.nat(TEXT.length - 1), fc.nat(3), fc.string({ maxLength: 3 }), (at, cut, put) => {
      const changed = TEXT.slice(0, at) + put + TEXT.slice(at + cut);
      let read: unknown;
      try {
        read = parseRecord(changed, "gpu-01");
      } catch (error) {
        expect(String(error)).toMatch(/\[record\.(changed|invalid|other)\]/);
        refused.other++;
        return;
      }
      expect(read).toEqual({ ...body, hash });
    }),
    { numRuns: 3000 },
  );
  expect(refused.other).toBeGreaterThan(1000);
});

test("cut off anywhere, it is no record", () => {
  for (let end = 0; end < TEXT.length - 1; end++)
    expect(() => parseRecord(TEXT.slice(0, end), "gpu-01")).toThrow(/\[record\.invalid\]/);
});

test("a record of another node is not this one's, though its sum is right", () => {
  expect(() => parseRecord(TEXT, "gpu-02")).toThrow(/\[record\.other\]/);
});
