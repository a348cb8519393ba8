import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import ts from "typescript";
import type { Props } from "./plugin.ts";
import { UNKNOWN } from "./plugin.ts";

/**
 * Checks inputs against the package's own types: the `…Args` interface of the resource's declaration file, read with
 * TypeScript when a test runs, so that a new version of the package is checked by itself.
 *
 * It covers names, what is required, and whether a value is text, number, boolean, list or object. It does not cover
 * what only the plugin knows: value ranges, defaults, and what conflicts with what.
 */
interface Property {
  readonly required: boolean;
  /** Undefined when the type is not one of these. */
  readonly kind: "string" | "number" | "boolean" | "list" | "object" | undefined;
}

const require = createRequire(import.meta.url);
const known = new Map<string, ReadonlyMap<string, Property>>();

/** `token` as in a URN, `alicloud:ecs/instance:Instance`. Throws when the package has no such resource. */
export function inputsOf(token: string): ReadonlyMap<string, Property> {
  const made = known.get(token);
  if (made !== undefined) return made;
  const [pkg = "", path = "", type = ""] = token.split(":");
  const folder = dirname(require.resolve(`@pulumi/${pkg}/package.json`));
  const file = [`${path}.d.ts`, `${path.split("/")[0]}/command.d.ts`]
    .map((name) => join(folder, name))
    .find((name) => existsSync(name));
  if (file === undefined) throw new Error(`@pulumi/${pkg} has no ${path}.d.ts`);
  const source = ts.createSourceFile(file, readFileSync(file, "utf8"), ts.ScriptTarget.Latest, true);
  const args = source.statements
    .filter(ts.isInterfaceDeclaration)
    .find((statement) => statement.name.text === `${type}Args`);
  if (args === undefined) throw new Error(`${file} has no interface ${type}Args`);
  const properties = new Map(
    args.members
      .filter(ts.isPropertySignature)
      .map((member): [string, Property] => [
        member.name.getText(source),
        { required: member.questionToken === undefined, kind: kindOf(member.type?.getText(source) ?? "") },
      ]),
  );
  known.set(token, properties);
  return properties;
}

function kindOf(type: string): Property["kind"] {
  const inner = /^pulumi\.Input<([\s\S]*)>$/.exec(type)?.[1]?.replace(/ \| undefined$/, "") ?? type;
  if (/^(string|number|boolean)$/.test(inner)) return inner as "string" | "number" | "boolean";
  if (/\[\]$/.test(inner)) return "list";
  if (/^\{|^inputs\./.test(inner)) return "object";
  return undefined;
}

/** What the package's types say against these inputs. */
export function checkTypes(token: string, inputs: Props): { property: string; reason: string }[] {
  const properties = inputsOf(token);
  const given = Object.entries(inputs).filter(([name]) => !name.startsWith("__"));
  return [
    ...given
      .filter(([name]) => !properties.has(name))
      .map(([property]) => ({ property, reason: `${token} has no input of that name` })),
    ...[...properties]
      .filter(([name, { required }]) => required && inputs[name] === undefined)
      .map(([property]) => ({ property, reason: `${token} needs it` })),
    ...given.flatMap(([property, value]) => {
      const wanted = properties.get(property)?.kind;
      const seen = Array.isArray(value) ? "list" : typeof value;
      if (wanted === undefined || value === UNKNOWN || value === null || seen === wanted) return [];
      return [{ property, reason: `a ${wanted} is wanted, not a ${seen}` }];
    }),
  ];
}
