import { baseName, normalise } from "../model/files.ts";
import { readArchive } from "../model/stand-ins.ts";
import type { Command } from "./command.ts";
import { always, fail, ok, options } from "./command.ts";

const curl: Command = {
  names: ["curl"],
  base: false,
  mutates: (argv) => argv.some((w) => w === "-o" || w === "--output" || w === "-O" || /^-\w*[oO]/.test(w)),
  run: (machine, argv, context) => {
    if (argv.includes("--version") || argv.includes("-V")) return ok(`curl ${context.data}\n`);
    const o = options(argv, {
      flags: [
        "-f|--fail",
        "-L|--location",
        "-s|--silent",
        "-S|--show-error",
        "-O|--remote-name",
        "-I|--head",
        "-C-",
        "--compressed",
        "-4",
        "--proto-default",
      ],
      valued: [
        "-o|--output",
        "--retry",
        "-C|--continue-at",
        "--max-time",
        "--connect-timeout",
        "--proto",
        "--tlsv1.2",
        "--retry-delay",
        "-w|--write-out",
        "-e|--referer",
      ],
    });
    const url = o.rest[0] ?? "";
    const { internet } = machine.node;
    if (internet.refuses(url, o.get("-e"))) return fail(22, "curl: (22) The requested URL returned error: 403");
    const node = internet.get(url);
    if (machine.node.internet.down) return fail(6, `curl: (6) Could not resolve host: ${url.split("/")[2]}`);
    if (node === undefined) return fail(22, "curl: (22) The requested URL returned error: 404");
    const target = o.get("-o") ?? (o.has("-O") ? baseName(url) : undefined);
    if (target === undefined) return ok(node.kind === "file" ? node.content : "");
    machine.files.place(normalise(target, context.cwd), node);
    return ok("", 30);
  },
};

const wget: Command = {
  names: ["wget"],
  base: false,
  mutates: always,
  run: (machine, argv, context) => {
    const o = options(argv, {
      flags: ["-q|--quiet", "-nv", "-c|--continue"],
      valued: ["-O|--output-document", "-P|--directory-prefix", "-t|--tries", "-T|--timeout", "--referer"],
    });
    const url = o.rest[0] ?? "";
    const node = machine.node.internet.get(url);
    if (machine.node.internet.refuses(url, o.get("--referer"))) return fail(8, `${url}:\nERROR 403: Forbidden.`);
    if (machine.node.internet.down) return fail(4, `wget: unable to resolve host address '${url.split("/")[2]}'`);
    if (node === undefined) return fail(8, `${url}:\nERROR 404: Not Found.`);
    machine.files.place(normalise(o.get("-O") ?? `${o.get("-P") ?? "."}/${baseName(url)}`, context.cwd), node);
    return ok("", 30);
  },
};

const unzip: Command = {
  names: ["unzip"],
  base: false,
  mutates: (argv) => !argv.includes("-l") && !argv.includes("-p"),
  run: (machine, argv, context) => {
    const o = options(argv, { flags: ["-o", "-q", "-j", "-n", "-l", "-p"], valued: ["-d"] });
    const [file = "", ...wanted] = o.rest;
    const text = machine.files.readIf(normalise(file, context.cwd));
    const members = readArchive(text);
    if (text === undefined) return fail(9, `unzip:  cannot find or open ${file}, ${file}.zip or ${file}.ZIP.`);
    if (members === undefined) return fail(9, `[${file}]\n  End-of-central-directory signature not found.`);
    const chosen = Object.entries(members).filter(([path]) => wanted.length === 0 || wanted.includes(path));
    if (chosen.length === 0) return fail(11, `caution: filename not matched:  ${wanted.join(" ")}`);
    if (o.has("-l")) return ok(chosen.map(([path]) => `${path}\n`).join(""));
    for (const [path, node] of chosen)
      machine.files.place(normalise(`${o.get("-d") ?? "."}/${o.has("-j") ? baseName(path) : path}`, context.cwd), node);
    return ok("", 1);
  },
};

const tar: Command = {
  names: ["tar"],
  base: true,
  mutates: always,
  run: (machine, argv, context) => {
    // The old form without a dash: `tar xf …`.
    const words = argv.map((w, i) => (i === 1 && /^[a-zA-Z]+$/.test(w) ? `-${w}` : w));
    const o = options(words, {
      flags: ["-x|--extract", "-z|--gzip", "-J|--xz", "-j", "-v", "-p", "--no-same-owner", "--overwrite"],
      valued: ["-f|--file", "-C|--directory", "--strip-components"],
    });
    const file = normalise(o.get("-f") ?? "", context.cwd);
    const text = machine.files.readIf(file);
    if (text === undefined)
      return fail(
        2,
        `tar: ${o.get("-f")}: Cannot open: No such file or directory\ntar: Error is not recoverable: exiting now`,
      );
    const members = readArchive(text);
    if (members === undefined)
      return fail(
        2,
        "xz: (stdin): File format not recognized\ntar: Child returned status 1\ntar: Error is not recoverable: exiting now",
      );
    const into = normalise(o.get("-C") ?? ".", context.cwd);
    if (!machine.files.isDir(into)) return fail(2, `tar: ${into}: Cannot open: No such file or directory`);
    const strip = Number(o.get("--strip-components") ?? 0);
    for (const [path, node] of Object.entries(members)) {
      const rest = path.split("/").slice(strip).join("/");
      if (rest !== "") machine.files.place(`${into}/${rest}`, node);
    }
    return ok("", 5);
  },
};

export const download: readonly Command[] = [curl, wget, unzip, tar];
