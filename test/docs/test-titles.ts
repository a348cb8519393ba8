import ts from "typescript";

/**
 * Titles of the tests in a file: the first argument of `test(…)` and `it(…)`, and, for `test.each(rows)(title)`, the
 * first string of every row, which is what names it.
 */
export function testTitles(source: string): Set<string> {
  const file = ts.createSourceFile("x.ts", source, ts.ScriptTarget.Latest, true);
  const titles = new Set<string>();
  const walk = (node: ts.Node): void => {
    if (ts.isCallExpression(node)) {
      const [first] = node.arguments;
      if (isTest(node.expression) && first !== undefined && ts.isStringLiteralLike(first)) titles.add(first.text);
      const rows = first !== undefined && ts.isAsExpression(first) ? first.expression : first;
      if (isEach(node.expression) && rows !== undefined && ts.isArrayLiteralExpression(rows)) {
        for (const row of rows.elements) {
          const name = ts.isArrayLiteralExpression(row) ? row.elements[0] : row;
          if (name !== undefined && ts.isStringLiteralLike(name)) titles.add(name.text);
        }
      }
    }
    ts.forEachChild(node, walk);
  };
  walk(file);
  return titles;
}

const NAMES = new Set(["test", "it"]);

/** `test`, `test.only`, and the call that `test.each(rows)` returns. */
function isTest(callee: ts.Expression): boolean {
  if (ts.isIdentifier(callee)) return NAMES.has(callee.text);
  if (ts.isPropertyAccessExpression(callee))
    return callee.name.text !== "each" && callee.name.text !== "skip" && isTest(callee.expression);
  return ts.isCallExpression(callee) && isEach(callee.expression);
}

const isEach = (callee: ts.Expression): boolean =>
  ts.isPropertyAccessExpression(callee) && callee.name.text === "each" && isTest(callee.expression);
