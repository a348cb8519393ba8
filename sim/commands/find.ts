import type { FileNode } from "../model/files.ts";
import { baseName, nodeSize, normalise } from "../model/files.ts";
import type { Command, Result } from "./command.ts";
import { unmodelled } from "./command.ts";

const glob = (pattern: string): RegExp =>
  new RegExp(
    `^${pattern
      .replace(/[.+^${}()|\\]/g, "\\$&")
      .replaceAll("*", ".*")
      .replaceAll("?", ".")}$`,
  );

type Test = (path: string, node: FileNode, depth: number) => boolean;

export const find: Command = {
  names: ["find"],
  base: true,
  mutates: (argv) =>
    argv.includes("-delete") ||
    (argv.includes("-exec") &&
      !["sha256sum", "grep", "cat", "head", "stat"].includes(argv[argv.indexOf("-exec") + 1] ?? "")),
  run: (machine, argv, context) => {
    const words = argv.slice(1);
    const starts: string[] = [];
    while (words[0] === "-L" || words[0] === "-H" || words[0] === "-P") words.shift();
    const follow = argv[1] === "-L";
    while (words[0] !== undefined && !/^[-(!]/.test(words[0])) starts.push(words.shift() ?? "");
    const tests: Test[] = [];
    let [min, max] = [0, Number.POSITIVE_INFINITY];
    let action: { kind: "print" | "print0" | "delete" | "printf" | "exec" | "execplus"; words: string[] } = {
      kind: "print",
      words: [],
    };
    let negate = false;
    let orGroups: Test[][] | undefined;
    const push = (t: Test) => {
      const test: Test = negate ? (...a) => !t(...a) : t;
      negate = false;
      (orGroups === undefined ? tests : (orGroups.at(-1) ?? tests)).push(test);
    };
    for (let i = 0; i < words.length; i++) {
      const word = words[i] ?? "";
      const value = () => words[++i] ?? "";
      if (word === "-name" || word === "-iname") {
        const re = glob(value());
        push((p) => re.test(baseName(p)));
      } else if (word === "-path") {
        const re = glob(value());
        push((p) => re.test(p));
      } else if (word === "-type") {
        const kind = { f: "file", d: "dir", l: "link", c: "device" }[value()];
        push((_p, node) => node.kind === kind);
      } else if (word === "-maxdepth") max = Number(value());
      else if (word === "-mindepth") min = Number(value());
      else if (word === "-empty")
        push((p, node) => (node.kind === "dir" ? machine.files.list(p).length === 0 : nodeSize(node) === 0));
      else if (word === "-newer" || word === "-cnewer") {
        const path = value();
        const reference = machine.files.stat(normalise(path, context.cwd));
        if (reference === undefined)
          return { status: 1, stdout: "", stderr: `find: '${path}': No such file or directory\n` };
        const changed = (node: FileNode) => (node.kind === "file" || node.kind === "dir" ? node.mtime : 0);
        push((_p, node) => changed(node) > changed(reference));
      } else if (word === "!" || word === "-not") negate = !negate;
      else if (word === "(") orGroups = [[]];
      else if (word === "-o" || word === "-or") orGroups?.push([]);
      else if (word === ")") {
        const groups = orGroups ?? [];
        orGroups = undefined;
        push((...a) => groups.some((g) => g.every((t) => t(...a))));
      } else if (word === "-print" || word === "-a") continue;
      else if (word === "-print0") action = { kind: "print0", words: [] };
      else if (word === "-delete") action = { kind: "delete", words: [] };
      else if (word === "-printf") action = { kind: "printf", words: [value()] };
      else if (word === "-exec") {
        const rest = words.slice(i + 1);
        const end = rest.findIndex((w) => w === "+" || w === ";");
        action = { kind: rest[end] === "+" ? "execplus" : "exec", words: rest.slice(0, end) };
        i += end + 1;
      } else unmodelled(argv);
    }
    let [status, stdout, stderr] = [0, "", ""];
    const hits: string[] = [];
    const visit = (shown: string, depth: number) => {
      const path = normalise(shown, context.cwd);
      const node =
        follow || depth === 0 ? (machine.files.stat(path) ?? machine.files.lstat(path)) : machine.files.lstat(path);
      if (node === undefined) return;
      if (depth >= min && depth <= max && tests.every((t) => t(shown, node, depth))) hits.push(shown);
      if (node.kind === "dir" && depth < max)
        for (const name of machine.files.list(path))
          visit(shown === "/" ? `/${name}` : `${shown.replace(/\/$/, "")}/${name}`, depth + 1);
    };
    for (const start of starts.length === 0 ? ["."] : starts) {
      if (machine.files.lstat(normalise(start, context.cwd)) === undefined) {
        stderr += `find: '${start}': No such file or directory\n`;
        status = 1;
      } else visit(start, 0);
    }
    const take = (r: Result) => {
      stdout += r.stdout;
      stderr += r.stderr;
      if (r.status !== 0) status = 1;
    };
    switch (action.kind) {
      case "print":
        stdout += hits.map((h) => `${h}\n`).join("");
        break;
      case "print0":
        stdout += hits.map((h) => `${h}\0`).join("");
        break;
      case "delete":
        for (const h of hits.reverse()) machine.files.remove(normalise(h, context.cwd));
        break;
      case "printf":
        for (const h of hits) {
          const node = machine.files.lstat(normalise(h, context.cwd));
          const letter = { file: "f", dir: "d", link: "l", device: "c" }[node?.kind ?? "file"];
          const mode = node === undefined || node.kind === "link" ? "777" : node.mode.replace(/^0+(?=\d{3})/, "");
          const owner = node === undefined || node.kind === "link" ? [] : node.owner.split(":");
          stdout += (action.words[0] ?? "")
            .replaceAll("\\n", "\n")
            .replaceAll("\\0", "\0")
            .replaceAll("\\t", "\t")
            .replace(
              /%(\w)/g,
              (all, key: string) =>
                ({
                  p: h,
                  f: baseName(h),
                  s: String(node === undefined ? 0 : nodeSize(node)),
                  y: letter,
                  m: mode,
                  l: node?.kind === "link" ? node.target : "",
                  u: owner[0] ?? "root",
                  g: owner[1] ?? "root",
                })[key] ?? all,
            );
        }
        break;
      case "execplus":
        if (hits.length > 0) take(context.exec(action.words.flatMap((w) => (w === "{}" ? hits : [w]))));
        break;
      case "exec":
        for (const h of hits) take(context.exec(action.words.map((w) => w.replaceAll("{}", h))));
    }
    return { status, stdout, stderr };
  },
};
