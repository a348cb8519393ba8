import { normalise } from "../model/files.ts";
import type { Command } from "./command.ts";
import { fail, never, ok, options, unmodelled } from "./command.ts";

/** `openssl base64 -d -A -in FILE -out FILE`: of all its commands the twin knows this one. Bytes are latin1 text. */
const openssl: Command = {
  names: ["openssl"],
  base: true,
  mutates: (argv) => argv.includes("-out"),
  run: (machine, argv, context) => {
    const o = options(argv, { flags: ["-d", "-A"], valued: ["-in", "-out"] });
    const [from, to] = [o.get("-in"), o.get("-out")];
    if (o.rest[0] !== "base64" || !o.has("-d") || from === undefined || to === undefined) return unmodelled(argv);
    const bytes = Buffer.from(machine.files.read(normalise(from, context.cwd)), "base64");
    machine.files.write(normalise(to, context.cwd), bytes.toString("latin1"));
    return ok();
  },
};

const base64: Command = {
  names: ["base64"],
  base: true,
  mutates: never,
  run: (machine, argv, context) => {
    const o = options(argv, { valued: ["-w|--wrap"] });
    const [path] = o.rest;
    if (path === undefined || o.get("-w") !== "0") return unmodelled(argv);
    const node = machine.files.stat(normalise(path, context.cwd));
    if (node === undefined) return fail(1, `base64: ${path}: No such file or directory`);
    return ok(Buffer.from(machine.files.read(normalise(path, context.cwd)), "latin1").toString("base64"));
  },
};

export const encodings: readonly Command[] = [openssl, base64];
