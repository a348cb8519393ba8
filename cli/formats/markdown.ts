import type { BlockContent, List, PhrasingContent, RootContent, Table, TableRow } from "mdast";
import { gfmToMarkdown } from "mdast-util-gfm";
import { toMarkdown } from "mdast-util-to-markdown";

/** Characters that turn the direction of a line round, and could show it as another one, by their names. */
const plain = (value: string): string =>
  value.replaceAll(
    /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
    (c) => `[U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}]`,
  );

/** Pieces of Markdown. Text of a machine goes into {@link code} or {@link fence} only: there it stays letters. */
export const text = (value: string): PhrasingContent => ({ type: "text", value });
/** One line. */
export const code = (value: string): PhrasingContent => ({
  type: "inlineCode",
  value: plain(value).replaceAll(/\s+/g, " ").trim() || "-",
});
export const strong = (value: string): PhrasingContent => ({ type: "strong", children: [text(value)] });
export const paragraph = (...children: PhrasingContent[]): BlockContent => ({ type: "paragraph", children });
export const heading = (depth: 2 | 3, ...children: PhrasingContent[]): RootContent => ({
  type: "heading",
  depth,
  children,
});
export const fence = (lang: string, value: string): BlockContent => ({
  type: "code",
  lang,
  value: plain(value).trimEnd(),
});
export const bullets = (items: readonly PhrasingContent[][]): List => ({
  type: "list",
  spread: false,
  children: items.map(
    (children) => ({ type: "listItem", spread: false, children: [paragraph(...children)] }) as List["children"][number],
  ),
});

export function table(head: readonly string[], rows: readonly (readonly PhrasingContent[][])[]): Table {
  const row = (cells: readonly PhrasingContent[][]): TableRow => ({
    type: "tableRow",
    children: cells.map((children) => ({ type: "tableCell", children })),
  });
  return { type: "table", children: [row(head.map((name) => [text(name)])), ...rows.map((cells) => row(cells))] };
}

export const render = (children: readonly RootContent[]): string =>
  children.length === 0
    ? ""
    : toMarkdown({ type: "root", children: [...children] }, { extensions: [gfmToMarkdown()], bullet: "-" });
