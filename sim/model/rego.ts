/**
 * As much of Rego as relying-party policies of this project are written in: every device must be good by one of the
 * rules `good`, a list of claims that must have a value, and certificate chains that `chain` says of what they must be.
 * Compared with the engine that nvattest has (regorus) on every policy here, each claim once as wanted and once not.
 */
export class NotThisRego extends Error {}

type Claims = Readonly<Record<string, unknown>>;

const HEAD = /^package policy\n+(?:import future\.keywords\.every\n+)?/;
const MATCH = /^nv_match \{\n {2}count\(input\) > 0\n {2}every claims in input \{ good\(claims\) \}\n\}$/;
const KEY = String.raw`(?:\["([^"]+)"\]|\.([a-z]+))`;
const EQUALS = new RegExp(`^(?:claims|c)${KEY} == (true|false|"[^"]*")$`);
const CHAIN = new RegExp(String.raw`^chain\(claims${KEY}\)$`);

/** Whether the policy passes for these devices. Throws NotThisRego for what it does not understand. */
export function allows(policy: string, devices: readonly Claims[]): boolean {
  if (!HEAD.test(policy)) throw new NotThisRego(policy.slice(0, 40));
  const rules = policy.replace(HEAD, "").trim().split(/\n\n+/).filter(Boolean);
  const fixed = rules.map((rule) => /^(?:default )?nv_match := (true|false)$/.exec(rule)?.[1]);
  const good = bodies(rules, /^good\(claims\) \{$/);
  const chain = bodies(rules, /^chain\(c\) \{$/);
  const known =
    rules.filter((rule, i) => fixed[i] !== undefined || MATCH.test(rule)).length + good.length + chain.length;
  if (known !== rules.length) throw new NotThisRego(rules.join("\n\n"));
  if (!rules.some((rule) => MATCH.test(rule))) return fixed.includes("true");
  const holds = (line: string, claims: Claims): boolean => {
    const [, key = "", short = "", value = ""] = EQUALS.exec(line) ?? [];
    if (value !== "") return claims[key || short] === (JSON.parse(value) as unknown);
    const [, name = "", dotted = ""] = CHAIN.exec(line) ?? [];
    if (name + dotted === "") throw new NotThisRego(line);
    const certificates = claims[name || dotted];
    return (
      typeof certificates === "object" &&
      certificates !== null &&
      chain.some((lines) => lines.every((each) => holds(each, certificates as Claims)))
    );
  };
  return devices.length > 0 && devices.every((d) => good.some((lines) => lines.every((line) => holds(line, d))));
}

/** Lines of each rule whose first line is `head`. */
const bodies = (rules: readonly string[], head: RegExp): string[][] =>
  rules.flatMap((rule) => {
    const lines = rule.split("\n");
    return head.test(lines[0] ?? "") && lines.at(-1) === "}" ? [lines.slice(1, -1).map((line) => line.trim())] : [];
  });
