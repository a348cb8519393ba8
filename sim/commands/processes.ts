import type { Machine } from "../model/machine.ts";
import type { Command } from "./command.ts";
import { always, fail, lines, never, ok, options, unmodelled } from "./command.ts";
import { posixRegExp } from "./grep.ts";

function matching(machine: Machine, pattern: string, full: boolean, exact: boolean): [number, readonly string[]][] {
  const re = posixRegExp(exact ? `^(${pattern})$` : pattern, "extended");
  return [...machine.now.processes]
    .filter(([, p]) => re.test(full ? p.argv.join(" ") : ((p.argv[0] ?? "").split("/").at(-1)?.slice(0, 15) ?? "")))
    .map(([pid, p]) => [pid, p.argv]);
}

export const processes: readonly Command[] = [
  {
    names: ["pgrep"],
    base: true,
    mutates: never,
    run: (machine, argv) => {
      const o = options(argv, {
        flags: ["-f|--full", "-a|--list-full", "-x|--exact", "-l", "-c|--count", "-n", "-o"],
        valued: ["-u", "-P"],
      });
      const users = o.get("-u")?.split(",");
      const found = matching(machine, o.rest[0] ?? "", o.has("-f"), o.has("-x")).filter(
        ([pid]) => users?.includes(machine.now.processes.get(pid)?.user ?? "root") !== false,
      );
      // What asks stands in the process list too: `timeout` and all its words.
      const self = `timeout -k 2 20 ${argv.join(" ")}`;
      if (o.has("-f") && !o.has("-x") && posixRegExp(o.rest[0] ?? "", "extended").test(self))
        found.push([machine.nextPid, self.split(" ")]);
      if (o.has("-c")) return { status: found.length > 0 ? 0 : 1, stdout: `${found.length}\n`, stderr: "" };
      return {
        status: found.length > 0 ? 0 : 1,
        stdout: lines(found.map(([pid, words]) => (o.has("-a") ? `${pid} ${words.join(" ")}` : String(pid)))),
        stderr: "",
      };
    },
  },
  {
    names: ["pidof"],
    base: true,
    mutates: never,
    run: (machine, argv) => {
      const found = matching(machine, argv[1] ?? "", false, true);
      return found.length > 0 ? ok(`${found.map(([pid]) => pid).join(" ")}\n`) : fail(1, "");
    },
  },
  {
    names: ["ps"],
    base: true,
    mutates: never,
    run: (machine, argv) => {
      const list = [...machine.now.processes];
      const format = argv[argv.indexOf("-o") + 1] ?? "";
      if (argv.includes("-o")) {
        const columns = format.split(",").map((c) => c.replace(/=.*/, ""));
        const cell = (pid: number, words: readonly string[], c: string) =>
          c === "pid"
            ? String(pid)
            : c === "comm"
              ? ((words[0] ?? "").split("/").at(-1) ?? "")
              : c === "args" || c === "cmd"
                ? words.join(" ")
                : unmodelled(argv);
        return ok(lines(list.map(([pid, p]) => columns.map((c) => cell(pid, p.argv, c)).join(" "))));
      }
      return ok(
        lines(["USER PID %CPU %MEM COMMAND", ...list.map(([pid, p]) => `root ${pid} 0.0 0.0 ${p.argv.join(" ")}`)]),
      );
    },
  },
  {
    names: ["kill", "pkill", "killall"],
    base: true,
    mutates: always,
    run: (machine, argv) => {
      for (const word of argv.slice(1).filter((w) => /^\d+$/.test(w))) {
        const unit = machine.now.processes.get(Number(word))?.unit;
        if (unit !== undefined && !machine.libvirt.killed(unit)) machine.units.stop(unit);
        machine.now.processes.delete(Number(word));
      }
      return ok();
    },
  },
];
