import { readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "@jest/globals";
import ts from "typescript";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");

/**
 * The arrows of the design. Each room lists the rooms it may import; a room may always import itself.
 * `facets` is the exception: a facet imports no facet, only the list of facets (index.ts) does.
 */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  kit: [],
  facets: ["kit"],
  machine: ["kit"],
  /** Evidence of guests verified off the node: no I/O, and no knowledge of facets. */
  attest: ["kit"],
  reconcile: ["facets", "machine", "attest", "kit"],
  /** Evidence between the machine that gives it and the facet that judges it. */
  appraise: ["attest", "machine", "kit"],
  /** The channel to the Pulumi engine that started the provider: progress out, and whether it still listens. */
  engine: [],
  /** The two resources around an instance that another provider makes. */
  instances: ["reconcile", "kit"],
  /** What a preview tells a reviewer. */
  review: ["reconcile", "machine", "kit"],
  /** What a fleet scan sees of a facet. */
  scan: ["reconcile", "machine", "kit"],
  goal: ["appraise", "reconcile", "facets", "kit"],
  "host-provider": [
    "goal",
    "appraise",
    "engine",
    "instances",
    "review",
    "scan",
    "reconcile",
    "facets",
    "machine",
    "attest",
    "kit",
  ],
  // Only by the specifier in its constant text does a resource know the provider.
  resource: ["facets", "kit"],
  profiles: ["kit", "facets"],
  components: ["resource", "profiles", "facets", "kit"],
  stacks: ["components", "profiles", "kit"],
  program: ["stacks", "kit"],
  cli: ["goal", "appraise", "reconcile", "scan", "review", "facets", "machine", "attest", "profiles", "kit", "docs"],
  sim: ["kit"],
  /** The demo drives the twin's process and the real Pulumi; nothing of it is in the package. */
  demo: ["cli", "machine", "profiles", "tools", "kit"],
  /** Evidence to verify is made by the twin's signers; what is measured stands on the tests' hosts and twins. */
  bench: [
    "cli",
    "reconcile",
    "scan",
    "facets",
    "machine",
    "profiles",
    "kit",
    "demo",
    "tools",
    "attest",
    "sim",
    "resource",
    "stacks",
    "test",
  ],
  tools: ["kit"],
  docs: ["kit"],
};

/** Rooms that may talk to the world outside the process. */
const DO_IO = new Set(["machine", "cli", "demo", "sim", "tools", "bench", "test"]);
const IO_MODULES =
  /^(node:)?(fs|fs\/promises|net|tls|dgram|dns|dns\/promises|http|http2|https|child_process|cluster|worker_threads)$|^(ssh2|undici)(\/|$)/;

const FACET_LINES = 150;
/** Tables and helpers of facets. */
const PART_LINES = 200;

/** Room of a file by its path from the root. */
function roomOf(path: string): string {
  const [first = "", second = ""] = path.split("/");
  if (first === "providers") {
    if (["kit", "facets", "machine", "attest"].includes(second)) return second;
    return second.replace(/\.ts$/, "");
  }
  if (first === "cli" && /^demo(\.ts)?$/.test(second)) return "demo";
  if (first === "stacks" && second === "profiles") return "profiles";
  if (!path.includes("/")) return path === "index.ts" ? "program" : "root";
  return first;
}

/** A file of facets/ that makes a facet; the others there are tables and helpers of facets. */
const makesFacet = (source: string): boolean => /^export const \w+ = facet[(<]/m.test(source);

/** The list of facets may; so may a facet's own part, named after it, for the facet's types. */
function mayImportFacet(path: string, target: string, source: string): boolean {
  if (path.endsWith("/index.ts")) return true;
  const name = target.replace(/^.*\/|\.ts$/g, "");
  return (
    path.startsWith(target.replace(/\.ts$/, "-")) &&
    new RegExp(`^import type .* from "\\./${name}\\.ts";$`, "m").test(source)
  );
}

/** What a file breaks, one line per break; `sourceOf` reads the files that it imports. */
function violations(path: string, source: string, sourceOf: (path: string) => string): string[] {
  const room = roomOf(path);
  const out: string[] = [];
  const imports = ts.preProcessFile(source, true, true).importedFiles.map((f) => f.fileName);
  for (const specifier of imports) {
    if (IO_MODULES.test(specifier) && !DO_IO.has(room))
      out.push(`${path}: ${room} does no I/O but imports ${specifier}`);
    if (!specifier.startsWith(".") || room === "test" || room === "root") continue;
    const target = normalize(join(dirname(path), specifier));
    const to = roomOf(target);
    const itself =
      to === room && (room !== "facets" || mayImportFacet(path, target, source) || !makesFacet(sourceOf(target)));
    if (!itself && !(ARROWS[room] ?? []).includes(to)) out.push(`${path}: no arrow ${room} → ${to} (${specifier})`);
  }
  const file = ts.createSourceFile(path, source, ts.ScriptTarget.Latest, true);
  const walk = (node: ts.Node): void => {
    if (node.kind === ts.SyntaxKind.AnyKeyword) {
      const { line } = file.getLineAndCharacterOfPosition(node.getStart());
      out.push(`${path}:${line + 1}: the type any`);
    }
    ts.forEachChild(node, walk);
  };
  walk(file);
  const lines = source.split("\n").length - 1;
  const limit = makesFacet(source) ? FACET_LINES : PART_LINES;
  if (room === "facets" && !path.endsWith("/index.ts") && lines > limit) {
    out.push(`${path}: ${lines} lines; at most ${limit} are allowed`);
  }
  return out;
}

const files = ts.sys
  .readDirectory(ROOT, [".ts"], ["node_modules", "dist", "coverage", ".cache", ".git"])
  .map((path) => relative(ROOT, path));

describe("the rule itself", () => {
  test.each([
    ["a facet that imports a facet", "providers/facets/x.ts", `import { y } from "./y.ts";`, 1],
    ["a facet that imports its own table", "providers/facets/x.ts", `import { t } from "./table.ts";`, 0],
    [
      "a facet's part that imports the facet's types",
      "providers/facets/y-part.ts",
      `import type { Y } from "./y.ts";`,
      0,
    ],
    ["a facet's part that imports the facet", "providers/facets/y-part.ts", `import { y } from "./y.ts";`, 1],
    ["a facet that imports the kit", "providers/facets/x.ts", `import { facet } from "../kit/facet.ts";`, 0],
    ["the list of facets", "providers/facets/index.ts", `import { y } from "./y.ts";`, 0],
    ["a facet that reads files", "providers/facets/x.ts", `import { readFileSync } from "node:fs";`, 1],
    ["a facet that reads files without the prefix", "providers/facets/x.ts", `import fs from "fs";`, 1],
    ["reconcile that opens a connection", "providers/reconcile.ts", `import { Client } from "ssh2";`, 1],
    ["the machine room that opens a connection", "providers/machine/ssh.ts", `import { Client } from "ssh2";`, 0],
    ["the machine room that knows facets", "providers/machine/ssh.ts", `import { x } from "../facets/x.ts";`, 1],
    ["a twin that imports what it tests", "sim/node.ts", `import { run } from "../providers/reconcile.ts";`, 1],
    ["a twin that imports a facet's type", "sim/node.ts", `import type { X } from "../providers/facets/x.ts";`, 1],
    [
      "a resource that imports its provider",
      "providers/resource.ts",
      `import { provider } from "./host-provider.ts";`,
      1,
    ],
    ["a dynamic import", "components/node.ts", `const x = await import("../providers/machine/ssh.ts");`, 1],
    ["a re-export", "stacks/a.ts", `export { x } from "../providers/facets/x.ts";`, 1],
    ["a component that uses a resource", "components/node.ts", `import { R } from "../providers/resource.ts";`, 0],
    ["any", "cli/x.ts", "const x: any = 1;", 1],
    ["the word any", "cli/x.ts", `const x = "any"; // any`, 0],
    ["a long facet", "providers/facets/x.ts", `export const x = facet({});${"\n".repeat(FACET_LINES + 1)}`, 1],
    ["a long table", "providers/facets/x.ts", "\n".repeat(PART_LINES + 1), 1],
  ])("%s", (_name, path, source, breaks) => {
    const sources: Record<string, string> = {
      "providers/facets/y.ts": "export const y = facet({});",
      "providers/facets/table.ts": "export const t = 1;",
    };
    expect(violations(path, source, (p) => sources[p] ?? "")).toHaveLength(breaks);
  });
});

test("every room that exists has its arrows written down", () => {
  const rooms = new Set(files.map(roomOf));
  for (const known of [...Object.keys(ARROWS), "test", "root"]) rooms.delete(known);
  expect([...rooms]).toEqual([]);
});

test("no file breaks the arrows, does I/O where it must not, says any or is too long a facet", () => {
  expect(files.length).toBeGreaterThan(10);
  const read = (path: string) => readFileSync(join(ROOT, path), "utf8");
  expect(files.flatMap((path) => violations(path, read(path), read))).toEqual([]);
});
