import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "@jest/globals";
import { readResults, stepCodes, triedGaps, triedPage } from "../../cli/pages/tried.ts";
import { PLUGIN_USES } from "../../docs/tried-data/plugins.ts";
import { STEPS } from "../../docs/tried-data/steps.ts";
import { FACETS } from "../../providers/facets/index.ts";
import { run } from "../cli/run.ts";
import { testTitles } from "./test-titles.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");
const titles = (file: string): ReadonlySet<string> =>
  existsSync(join(ROOT, file)) ? testTitles(readFileSync(join(ROOT, file), "utf8")) : new Set();

test("every step that a facet can plan is listed as tried, untried with its reason, or as needing hardware", () => {
  expect(triedGaps(stepCodes(FACETS), STEPS)).toEqual([]);
});

test("every test that a step or a recorded result names is there", () => {
  const named = Object.values(STEPS).flatMap((t) => (t.by === "test" ? [[t.file, t.test] as const] : []));
  const recorded = Object.entries(readResults(ROOT)).flatMap(([file, list]) =>
    list.map((title) => [file, title] as const),
  );
  expect([...named, ...recorded].filter(([file, title]) => !titles(file).has(title))).toEqual([]);
});

test("the page says first that no hardware was there, and calls nothing tried that has not passed", () => {
  const page = triedPage(ROOT, FACETS);
  expect(page).toMatch(/\*\*Nothing here has been run on SEV-SNP hardware or on an NVIDIA GPU/);
  expect(page).not.toContain("not listed");
  const passed = Object.values(readResults(ROOT)).flat();
  for (const [, title = ""] of page.matchAll(/\| tried \| [^:]+: (.*) \|$/gm)) expect(passed).toContain(title);
});

describe("plugins that are not ours", () => {
  test("each resource and function of them that a component uses has a row, and no other", () => {
    const used = readdirSync(join(ROOT, "components")).flatMap((file) =>
      [
        ...readFileSync(join(ROOT, "components", file), "utf8").matchAll(
          /^import (type )?\{ ([\w, ]+) \} from "@pulumi\/(alicloud|command)\/([\w/]+)\.js";$/gm,
        ),
      ].flatMap(([, , names = "", pkg, path = ""]) =>
        // A function is imported as it is or in its Output form; the command package has no folder for each resource.
        names
          .split(", ")
          .filter((name) => !name.startsWith("type "))
          .map((name) => `${pkg}:${pkg === "command" ? "remote" : path}:${name.replace(/Output$/, "")}`),
      ),
    );
    expect([...new Set(PLUGIN_USES.map(({ token }) => token))].sort()).toEqual([...new Set(used)].sort());
  });

  test("every test that a row names is there", () => {
    const named = PLUGIN_USES.flatMap(({ test: by }) => (by === undefined ? [] : [by]));
    expect(named.filter(({ file, title }) => !titles(file).has(title))).toEqual([]);
  });

  test("npm run tried -- --list prints them, those that were not tried too, and changes nothing", async () => {
    const results = readFileSync(join(ROOT, "docs/tried-data/results.json"), "utf8");
    const { status, stdout } = await run(["cli/tried.ts", "--list"]);
    expect(status).toBe(0);
    expect(stdout).toContain("No row was tried on a real plugin or on a real account");
    for (const { token } of PLUGIN_USES) expect(stdout).toContain(token.slice(0, 40));
    expect(stdout).toContain("not tried");
    expect(readFileSync(join(ROOT, "docs/tried-data/results.json"), "utf8")).toBe(results);
  });
});

describe("the rules themselves", () => {
  test("a step without a row and a row without a step are gaps", () => {
    expect(triedGaps(["a.x"], { "b.y": { by: "untried", why: "no" } })).toEqual([
      "a.x has no row in docs/tried-data/steps.ts",
      "b.y of docs/tried-data/steps.ts is no step of a facet",
    ]);
  });
});
