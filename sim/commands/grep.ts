import { FsError, normalise } from "../model/files.ts";
import type { Command } from "./command.ts";
import { fail, never, options, unmodelled } from "./command.ts";

const CLASSES: Readonly<Record<string, string>> = {
  space: "\\s",
  digit: "0-9",
  alpha: "A-Za-z",
  alnum: "A-Za-z0-9",
  upper: "A-Z",
  lower: "a-z",
  blank: " \\t",
  xdigit: "0-9A-Fa-f",
  punct: "!-/:-@\\[-`{-~",
};

/** A POSIX expression as JavaScript's. Basic ones have their operators backslashed. */
export function posixRegExp(pattern: string, kind: "basic" | "extended" | "perl" | "fixed", flags = ""): RegExp {
  if (kind === "fixed") return new RegExp(pattern.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), flags);
  let source = pattern.replace(/\[:(\w+):\]/g, (all, name: string) => CLASSES[name] ?? all);
  if (kind === "basic") {
    let out = "";
    for (let i = 0; i < source.length; i++) {
      const c = source[i] ?? "";
      const next = source[i + 1] ?? "";
      if (c === "\\" && "+?|(){}".includes(next)) {
        out += next;
        i++;
      } else if (c === "\\") {
        out += c + next;
        i++;
      } else if (c === "[") {
        const end = source.indexOf("]", source[i + 1] === "^" ? i + 3 : i + 2);
        out += end < 0 ? "\\[" : source.slice(i, end + 1);
        if (end >= 0) i = end;
      } else if ("+?|(){}".includes(c)) out += `\\${c}`;
      else if (c === "*" && (out === "" || out === "^")) out += "\\*";
      else out += c;
    }
    source = out;
  }
  return new RegExp(source.replaceAll("\\<", "\\b").replaceAll("\\>", "\\b"), flags);
}

const run: Command["run"] = (machine, argv, context) => {
  try {
    return search(machine, argv, context);
  } catch (error) {
    // JavaScript names the fault in other words than grep does; of all of them this one is met most.
    if (error instanceof SyntaxError) return fail(2, `${argv[0]}: Unmatched ( or \\(`);
    throw error;
  }
};

const search: Command["run"] = (machine, argv, context) => {
  const o = options(argv, {
    flags: [
      "-q|--quiet|--silent",
      "-r|-R|--recursive|--dereference-recursive",
      "-s|--no-messages",
      "-H|--with-filename",
      "-h|--no-filename",
      "-i|--ignore-case",
      "-E|--extended-regexp",
      "-P|--perl-regexp",
      "-F|--fixed-strings",
      "-G",
      "-v|--invert-match",
      "-c|--count",
      "-l|--files-with-matches",
      "-L",
      "-n|--line-number",
      "-o|--only-matching",
      "-w|--word-regexp",
      "-x|--line-regexp",
      "-a|--text",
      "-I",
    ],
    valued: ["-e|--regexp", "-m|--max-count", "--include", "--exclude", "-A", "-B", "--color", "-f"],
  });
  if (o.has("-f") || o.has("-A") || o.has("-B")) unmodelled(argv);
  const patterns = o.has("-e") ? o.all("-e") : [o.rest[0] ?? ""];
  const paths = o.has("-e") ? o.rest : o.rest.slice(1);
  const kind =
    argv[0]?.endsWith("egrep") || o.has("-E")
      ? "extended"
      : o.has("-P")
        ? "perl"
        : o.has("-F") || argv[0]?.endsWith("fgrep")
          ? "fixed"
          : "basic";
  const tests = patterns
    .flatMap((p) => p.split("\n"))
    .map((p) => {
      const plain = posixRegExp(p, kind, o.has("-i") ? "i" : "");
      if (o.has("-w")) return new RegExp(`\\b(?:${plain.source})\\b`, plain.flags);
      return o.has("-x") ? new RegExp(`^(?:${plain.source})$`, plain.flags) : plain;
    });
  let [stdout, stderr, matched, trouble] = ["", "", false, false];
  const inputs: { name: string; text: string }[] = [];
  const add = (p: string, named: boolean) => {
    const path = normalise(p, context.cwd);
    const node = machine.files.stat(path);
    try {
      if (node?.kind === "dir") {
        if (!o.has("-r")) {
          if (!o.has("-s")) stderr += `${argv[0]}: ${p}: Is a directory\n`;
          return;
        }
        for (const name of machine.files.list(path)) {
          const inner = `${p.replace(/\/$/, "")}/${name}`;
          // -r does not follow links below the start, -R does.
          if (machine.files.lstat(`${path}/${name}`)?.kind === "link" && !argv.some((w) => /^-\w*R/.test(w))) continue;
          const include = o.get("--include");
          if (
            include !== undefined &&
            !machine.files.isDir(`${path}/${name}`) &&
            !new RegExp(`^${include.replaceAll(".", "\\.").replaceAll("*", ".*")}$`).test(name)
          )
            continue;
          add(inner, false);
        }
        return;
      }
      inputs.push({ name: p, text: machine.files.read(path) });
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      if (named) trouble = true;
      if (!o.has("-s")) stderr += `${argv[0]}: ${p}: ${error.message}\n`;
    }
  };
  if (paths.length === 0 && !o.has("-r")) inputs.push({ name: "(standard input)", text: context.stdin });
  for (const path of paths) add(path, true);
  const prefix = o.has("-H") || (!o.has("-h") && (paths.length > 1 || o.has("-r")));
  for (const { name, text } of inputs) {
    let count = 0;
    const list = text === "" ? [] : text.replace(/\n$/, "").split("\n");
    for (const [n, line] of list.entries()) {
      const hit = tests.some((t) => t.test(line)) !== o.has("-v");
      if (!hit) continue;
      matched = true;
      count++;
      if (o.has("-q") || o.has("-c") || o.has("-l")) continue;
      const shown = o.has("-o")
        ? [...line.matchAll(new RegExp(tests[0] ?? /$^/, `g${o.has("-i") ? "i" : ""}`))].map((m) => m[0])
        : [line];
      for (const s of shown) stdout += `${prefix ? `${name}:` : ""}${o.has("-n") ? `${n + 1}:` : ""}${s}\n`;
      if (o.has("-m") && count >= Number(o.get("-m"))) break;
    }
    if (o.has("-c")) stdout += `${prefix ? `${name}:` : ""}${count}\n`;
    if (o.has("-l") && count > 0) stdout += `${name}\n`;
  }
  if (o.has("-q") && matched) return { status: 0, stdout: "", stderr: "" };
  return trouble ? fail(2, stderr, stdout) : { status: matched ? 0 : 1, stdout, stderr };
};

export const grep: readonly Command[] = [{ names: ["grep", "egrep", "fgrep"], base: true, mutates: never, run }];
