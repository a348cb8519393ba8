import { afterAll, expect, test } from "@jest/globals";
import fc from "fast-check";
import { accuracy, NODES, NUMBERS, type See, Subject } from "../../bench/accuracy/accuracy.ts";
import { changeOne, KINDS } from "../../bench/accuracy/facts.ts";
import { Place } from "../../bench/accuracy/place.ts";
import { bench, goalsOf, SNP, up } from "../e2e/drive.ts";

/** `npm run bench` counts over 500; here a few others every time, and what is wrong is shrunk. */
const subjects = NODES.map((platform) => new Subject(platform));
afterAll(() => Promise.all(subjects.map((subject) => subject.close())));

test.each(subjects.map((subject) => [subject.platform.name, subject] as const))(
  "%s: one fact changes, those who must say so do, and nobody else",
  async (_name, subject) => {
    await fc.assert(
      fc.asyncProperty(NUMBERS, async (numbers) => {
        const { missed, falseAlarms, what } = await subject.try(numbers);
        expect({ what, missed, falseAlarms }).toEqual({ what, missed: [], falseAlarms: [] });
      }),
      { numRuns: 6 },
    );
  },
);

test("facts that matter and facts that do not are both drawn, of many kinds", async () => {
  const b = await bench();
  try {
    await up(b);
    // Without what would end the guest.
    const goals = goalsOf(b).filter(({ facet }) => !/^(confidential-vm|gpu-cc-mode|snp-ready)$/.test(facet.name));
    const drawn = fc.sample(NUMBERS, { numRuns: 400, seed: 3 }).map((numbers) => {
      const change = changeOne(new Place(b.twin.node, goals, numbers));
      change.undo?.();
      return change;
    });
    const kinds = new Set(drawn.map(({ what }) => what.replace(/:.*/s, "")));
    expect([kinds.size > 25, kinds.size < KINDS]).toEqual([true, true]);
    expect(new Set(drawn.map(({ what }) => what)).size).toBeGreaterThan(150);
    const idle = drawn.filter(({ must }) => must.length === 0).length;
    expect([idle > 40, idle < 200]).toEqual([true, true]);
  } finally {
    await b.close();
  }
});

test("a scan that is blind and one that cries wolf are counted as what they are", async () => {
  const lines: string[] = [];
  const count = async (tries: number, see: See) => {
    const subject = new Subject(SNP, see);
    return accuracy(tries, 5, (line) => lines.push(line), [subject]);
  };
  const blind = await count(15, async () => new Map());
  expect(blind.missed).toBeGreaterThan(5);
  expect(blind).toMatchObject({ tried: 15, falseAlarms: 0 });
  expect(lines).toHaveLength(blind.missed);
  const wolf = await count(3, async () => new Map([["cpu", "a wolf"]]));
  expect(wolf.falseAlarms).toBe(3);
  expect(lines.at(-1)).toContain("cpu: a wolf");
});
