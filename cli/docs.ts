import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROWS } from "../docs/coverage-data/data.ts";
import { FACETS } from "../providers/facets/index.ts";
import { TeeUpError } from "../providers/kit/errors.ts";
import { coverageGaps, coverageIds, coveragePage } from "./pages/coverage.ts";
import { facetsPage } from "./pages/facets.ts";
import { fleetSchema, stackConfigSchema } from "./pages/schema.ts";
import { triedPage } from "./pages/tried.ts";

export interface Page {
  /** Relative to the root of the checkout. */
  readonly path: string;
  readonly text: string;
}

/** Every generated page as it should be. Throws `docs.coverage` when the coverage data has gaps. */
export function pages(root: string): Page[] {
  const ids = Object.keys(coverageIds(root));
  const gaps = coverageGaps(ids, ROWS, FACETS);
  if (gaps.length > 0) {
    throw new TeeUpError({
      code: "docs.coverage",
      subject: "docs/coverage-data/data.ts",
      saw: gaps.join("; "),
      next: "give each id one row that a facet's `covers` agrees with",
    });
  }
  return [
    { path: "docs/facets.md", text: facetsPage(FACETS) },
    { path: "docs/coverage.md", text: coveragePage(ids, ROWS, FACETS) },
    { path: "docs/what-was-tried.md", text: triedPage(root, FACETS) },
    { path: "docs/stack-config.schema.json", text: `${JSON.stringify(stackConfigSchema(), null, 2)}\n` },
    { path: "docs/fleet.schema.json", text: `${JSON.stringify(fleetSchema(), null, 2)}\n` },
  ];
}

/** Paths of pages whose file is not what it should be. */
export function outdated(root: string): string[] {
  return pages(root)
    .filter((page) => read(join(root, page.path)) !== page.text)
    .map((page) => page.path);
}

/** Writes what is out of date; returns those paths. */
export function writePages(root: string): string[] {
  const stale = new Set(outdated(root));
  for (const page of pages(root)) if (stale.has(page.path)) writeFileSync(join(root, page.path), page.text);
  return [...stale];
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
