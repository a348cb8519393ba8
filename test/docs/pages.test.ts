import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "@jest/globals";
import { parse as parseYaml } from "yaml";
import { z } from "zod";
import { facetsPage, runExample } from "../../cli/pages/facets.ts";
import { stackConfigSchema } from "../../cli/pages/schema.ts";
import { FACETS } from "../../providers/facets/index.ts";
import { ok } from "../../providers/kit/ask.ts";
import type { Facet } from "../../providers/kit/facet.ts";
import { facet, pass } from "../../providers/kit/facet.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");
const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");

describe("facets.md", () => {
  const sample = facet({
    name: "swap",
    type: "Swap",
    on: "host",
    persona: "host",
    summary: "Swap is off.",
    sources: ["somewhere"],
    want: z.strictObject({
      paths: z.array(z.string()).default([]).describe("Files | partitions."),
      seconds: z.int().min(1).max(60).optional().describe("Time limit, seconds."),
    }),
    asks: {
      swaps: {
        kind: "argv",
        argv: ["grep", "-E", "a|`b`", "/proc/swaps"],
        gates: [{ argv: ["test", "-e", "/x"], exit: 0, why: "" }],
      },
    },
    parse: ({ swaps }) => ({ on: swaps.kind === "ran" && swaps.status === 0 }),
    judge: (_want, { on }) =>
      on
        ? [{ code: "swap.on", level: "fail", want: "off", saw: "on", hint: "swapoff\n-a", source: "a | b" }]
        : [pass("swap.off", "off", "off", "a | b")],
    plan: (_want, { on }) =>
      on ? [{ code: "swap.turn-off", title: "turn swap off", why: "", disruption: "service", actions: [] }] : [],
    show: () => ({}),
    examples: [
      { name: "off", want: { paths: [] }, answers: {}, findings: [], steps: [] },
      { name: "on", want: { paths: [] }, answers: { swaps: ok("x") }, findings: ["swap.on"], steps: ["swap.turn-off"] },
    ],
    covers: ["001-K8S-23"],
  }) as unknown as Facet;

  test("has every field, question, finding and step, in tables that no text breaks", () => {
    const page = facetsPage([sample]);
    for (const line of [
      "| [swap](#swap) | host | host | Swap is off. |",
      "Resource type `pulumi-nodejs:dynamic/host:Swap`, on the host, for the host persona.",
      "| `paths` | list of string | `[]` | Files \\| partitions. |",
      "| `seconds` | integer, 1 to 60 | left out | Time limit, seconds. |",
      "| swaps | ``grep -E a\\|`b` /proc/swaps`` | `test -e /x` exits 0 |",
      "| `swap.off` | pass |  | a \\| b |",
      "| `swap.on` | fail | swapoff -a | a \\| b |",
      "| `swap.turn-off` | service | turn swap off |",
      "Nothing is restored on delete.",
      "Covers 001-K8S-23.",
    ])
      expect(page.split("\n")).toContain(line);
  });
});

describe("stack-config.schema.json", () => {
  const schema = z.fromJSONSchema(stackConfigSchema() as Parameters<typeof z.fromJSONSchema>[0]);
  const node = { name: "gpu-01", ssh: { host: "gpu-01" } };
  const valid = (config: object): boolean => schema.safeParse({ config }).success;

  test.each(["onprem-snp", "onprem-tdx"])("the example stack of %s is valid and names the schema", (platform) => {
    const text = read(`stacks/Pulumi.${platform}.yaml`);
    expect(text).toMatch(/^# yaml-language-server: \$schema=\.\.\/docs\/stack-config\.schema\.json$/m);
    expect(schema.safeParse(parseYaml(text)).error?.issues).toBeUndefined();
  });

  test("the README's stack is valid once its placeholder of a key is filled in, and not before", () => {
    const [, yaml = ""] = /```yaml\n([\s\S]*?)```/.exec(read("README.md")) ?? [];
    const filled = yaml.replace("ssh-ed25519 AAAA…", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI");
    expect(schema.safeParse(parseYaml(filled)).error?.issues).toBeUndefined();
    expect(JSON.stringify(schema.safeParse(parseYaml(yaml)).error?.issues)).toContain("publicKey");
  });

  test("a misspelt key and a wrong value are refused, other namespaces are not looked at", () => {
    expect(valid({ "teeup:nodes": [node] })).toBe(true);
    expect(valid({ "teeup:nodes": [node], "aws:region": "x" })).toBe(true);
    expect(valid({ "teeup:nodes": [node], "teeup:permitt": "reboot" })).toBe(false);
    expect(valid({ "teeup:nodes": [node], "teeup:permit": "everything" })).toBe(false);
    expect(valid({ "teeup:nodes": [{ ...node, ssh: { hots: "x" } }] })).toBe(false);
    expect(valid({})).toBe(false);
  });

  test("a BMC password may stand there only as Pulumi encrypts it", () => {
    const bmc = { url: "https://bmc-01", user: "ops" };
    expect(valid({ "teeup:nodes": [{ ...node, bmc: { ...bmc, password: { secure: "v1:x" } } }] })).toBe(true);
    expect(valid({ "teeup:nodes": [{ ...node, bmc: { ...bmc, password: "hunter2" } }] })).toBe(false);
  });
});

test("a page of docs/ that a finding names as its source is there, with that section", () => {
  const sources = FACETS.flatMap((f) => f.examples.flatMap((e) => runExample(f, e).findings.map((x) => x.source)));
  const named = new Set(sources.flatMap((source) => source.match(/docs\/[\w-]+\.md(, [^;(]+)?/g) ?? []));
  const missing = [...named].filter((name) => {
    const [page = "", section] = name.split(/, (.*)/);
    return !existsSync(join(ROOT, page)) || (section !== undefined && !read(page).includes(`\n## ${section.trim()}\n`));
  });
  expect(missing).toEqual([]);
});

describe("links", () => {
  const pages = ["README.md", "CONTRIBUTING.md", ...markdown("docs")];

  test.each(pages)("of %s lead somewhere", (page) => {
    const links = [...read(page).matchAll(/\]\((?!https?:|mailto:)([^)#\s]*)(#[^)\s]*)?\)/g)];
    const broken = links.filter(([, path = "", anchor]) => {
      const target = path === "" ? page : normalize(join(dirname(page), path));
      try {
        return anchor !== undefined && !anchors(read(target)).has(anchor.slice(1));
      } catch (error) {
        return (error as NodeJS.ErrnoException).code !== "EISDIR";
      }
    });
    expect(broken.map(([link]) => link)).toEqual([]);
  });

  test("the list of decisions has every decision", () => {
    const listed = [...read("docs/decisions/README.md").matchAll(/\]\(([\w-]+\.md)\)/g)].map(([, file]) => file);
    const there = readdirSync(join(ROOT, "docs/decisions")).filter((file) => file !== "README.md");
    expect([...listed].sort()).toEqual(there.sort());
  });
});

function markdown(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".md"))
    .map((file) => `${folder}/${file}`);
}

/** Anchors of headings, as GitHub makes them. */
function anchors(text: string): Set<string> {
  const headings = text.matchAll(/^#+ (.+)$/gm);
  return new Set(
    [...headings].map(([, title = ""]) =>
      title
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}
