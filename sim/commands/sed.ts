import { normalise } from "../model/files.ts";
import type { Command } from "./command.ts";
import { fail, lines, ok, options, unmodelled } from "./command.ts";
import { posixRegExp } from "./grep.ts";

/** The few sed scripts that need no shell: print a range or matching lines, delete them, substitute. */
export const sed: Command = {
  names: ["sed"],
  base: true,
  mutates: (argv) => argv.some((w) => /^-\w*i/.test(w) || w.startsWith("--in-place")),
  run: (machine, argv, context) => {
    const o = options(argv, {
      flags: ["-n|--quiet|--silent", "-E|-r|--regexp-extended", "-i|--in-place", "-s"],
      valued: ["-e|--expression"],
    });
    const scripts = o.has("-e") ? o.all("-e") : [o.rest[0] ?? ""];
    const paths = o.has("-e") ? o.rest : o.rest.slice(1);
    const kind = o.has("-E") ? "extended" : "basic";
    const edit = (text: string): string => {
      let list = text === "" ? [] : text.replace(/\n$/, "").split("\n");
      for (const script of scripts) {
        const range = /^\/((?:[^/\\]|\\.)*)\/,\/((?:[^/\\]|\\.)*)\/([pd])$/.exec(script);
        const single = /^\/((?:[^/\\]|\\.)*)\/(!?)([pd])$/.exec(script);
        const substitute = /^s([/|#,])((?:(?!\1)[^\\]|\\.)*)\1((?:(?!\1)[^\\]|\\.)*)\1([gI]*)$/.exec(script);
        const numbers = /^(\d+)(?:,(\d+|\$))?([pd])$/.exec(script);
        if (range !== null) {
          const [from, to] = [posixRegExp(range[1] ?? "", kind), posixRegExp(range[2] ?? "", kind)];
          let inside = false;
          const within = list.map((line) => {
            if (!inside) {
              inside = from.test(line);
              return inside;
            }
            if (to.test(line)) inside = false;
            return true;
          });
          list = pick(list, within, range[3] === "p", o.has("-n"));
        } else if (single !== null) {
          const re = posixRegExp(single[1] ?? "", kind);
          list = pick(
            list,
            list.map((line) => re.test(line) !== (single[2] === "!")),
            single[3] === "p",
            o.has("-n"),
          );
        } else if (numbers !== null) {
          const end = numbers[2] === "$" ? list.length : Number(numbers[2] ?? numbers[1]);
          list = pick(
            list,
            list.map((_l, i) => i + 1 >= Number(numbers[1]) && i + 1 <= end),
            numbers[3] === "p",
            o.has("-n"),
          );
        } else if (substitute !== null && !o.has("-n")) {
          const re = posixRegExp(substitute[2] ?? "", kind, substitute[4]?.includes("g") === true ? "g" : "");
          const to = (substitute[3] ?? "")
            .replaceAll("$", "$$$$")
            .replace(/\\(\d)/g, "$$$1")
            .replace(/(?<!\\)&/g, "$$&")
            .replaceAll("\\&", "&");
          list = list.map((line) => line.replace(re, to));
        } else unmodelled(argv);
      }
      return lines(list);
    };
    if (paths.length === 0) return ok(edit(context.stdin));
    let stdout = "";
    for (const p of paths) {
      const path = normalise(p, context.cwd);
      const text = machine.files.readIf(path);
      if (text === undefined) return fail(2, `sed: can't read ${p}: No such file or directory`, stdout);
      if (o.has("-i")) machine.files.write(path, edit(text));
      else stdout += edit(text);
    }
    return ok(stdout);
  },
};

function pick(list: readonly string[], hit: readonly boolean[], print: boolean, quiet: boolean): string[] {
  if (!print) return list.filter((_l, i) => hit[i] !== true);
  return list.flatMap((line, i) => (hit[i] === true ? (quiet ? [line] : [line, line]) : quiet ? [] : [line]));
}
