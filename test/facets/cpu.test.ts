import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { cpu } from "../../providers/facets/cpu.ts";
import { lscpu } from "../../providers/facets/cpu-lscpu.ts";
import type { Answer } from "../../providers/kit/ask.ts";
import { missing, ok } from "../../providers/kit/ask.ts";

const want = cpu.want.parse({});
const judge = (answer: Answer, wanted = want) => cpu.judge(wanted, cpu.parse({ lscpu: answer }));
const bad = (answer: Answer, wanted = want) => judge(answer, wanted).filter((f) => f.level !== "pass");

test.each(cpu.examples.map((e) => [e.name, e] as const))("example: %s", (_name, example) => {
  expect(bad(example.answers["lscpu"] ?? missing, cpu.want.parse(example.want)).map((f) => f.code)).toEqual(
    example.findings,
  );
});

describe("lscpu", () => {
  test("flat fields, as util-linux before 2.37 prints them", () => {
    const fields = {
      "Vendor ID:": "AuthenticAMD",
      "CPU family:": "25",
      "Model:": "1",
      "Model name:": "AMD EPYC 7763 64-Core Processor",
      "Flags:": "svm sme",
    };
    const text = JSON.stringify({ lscpu: Object.entries(fields).map(([field, data]) => ({ field, data })) });
    expect(judge(ok(text))).toMatchObject([{ level: "pass", saw: "AMD EPYC 7763 64-Core Processor (milan)" }]);
  });

  test("whatever it prints, the answer is a finding and never a crash", () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => expect(bad(ok(text))[0]?.level).toBe("unknown")));
  });

  test("not installed is unknown, not a pass", () => {
    expect(bad(missing)).toMatchObject([{ code: "cpu.unknown", level: "unknown" }]);
  });
});

test.each([
  [25, 0x01, "milan"],
  [25, 0x11, "genoa"],
  [25, 0xa0, "genoa"],
  [26, 0x02, "turin"],
  [26, 0x11, "turin"],
])("family %i model %i is %s", (family, model, name) => {
  expect(cpu.show(cpu.parse({ lscpu: lscpu("AuthenticAMD", family, model, "AMD EPYC X") }))).toMatchObject({
    generation: name,
  });
});

test("EPYC 4004 is a desktop part by family and model: no SEV-SNP", () => {
  expect(bad(lscpu("AuthenticAMD", 25, 97, "AMD EPYC 4564P 16-Core Processor"))).toMatchObject([
    { code: "cpu.generation" },
  ]);
});

test("a stack may ask for one generation", () => {
  const facts = cpu.parse({ lscpu: lscpu("AuthenticAMD", 25, 1, "AMD EPYC 7763 64-Core Processor") });
  expect(cpu.judge(cpu.want.parse({ generations: ["turin"] }), facts)).toMatchObject([
    { code: "cpu.generation", level: "fail" },
  ]);
});

test("Threadripper shares family and model with Milan: the name tells", () => {
  expect(bad(lscpu("AuthenticAMD", 25, 8, "AMD Ryzen Threadripper PRO 5995WX"))).toMatchObject([
    { code: "cpu.generation" },
  ]);
});
