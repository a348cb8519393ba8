import { syslogTime } from "../model/clock.ts";
import type { LogLine } from "../model/logs.ts";
import type { Machine } from "../model/machine.ts";
import { unitName } from "../model/units.ts";
import type { Command } from "./command.ts";
import { fail, never, ok, options, unmodelled } from "./command.ts";

const NONE = "-- No entries --\n";

function show(machine: Machine, line: LogLine, format: string): string {
  switch (format) {
    case "cat":
      return line.text;
    case "short-iso":
      return `${new Date(line.time * 1000).toISOString().slice(0, 19)}+00:00 ${machine.hostname} ${line.ident}: ${line.text}`;
    case "json":
      return JSON.stringify({
        MESSAGE: line.text,
        SYSLOG_IDENTIFIER: line.ident,
        __REALTIME_TIMESTAMP: String(Math.floor(line.time * 1e6)),
        ...(line.unit === undefined ? {} : { _SYSTEMD_UNIT: line.unit }),
      });
    default:
      return `${syslogTime(line.time)} ${machine.hostname} ${line.ident}: ${line.text}`;
  }
}

export const journalctl: readonly Command[] = [
  {
    names: ["journalctl"],
    base: true,
    mutates: never,
    run: (machine, argv) => {
      // `-b` alone means this boot; the getopt form `-b -1` names another.
      const words = argv.map((w, i) => (w === "-b" && !/^-?\d+$/.test(argv[i + 1] ?? "") ? "--this-boot" : w));
      const o = options(words, {
        flags: [
          "-k|--dmesg",
          "--this-boot",
          "-q|--quiet",
          "--no-pager",
          "-a|--all",
          "-r|--reverse",
          "-e",
          "-x",
          "--no-hostname",
          "-f|--follow",
          "--utc",
        ],
        valued: [
          "-b|--boot",
          "-u|--unit",
          "-n|--lines",
          "-o|--output",
          "-g|--grep",
          "--case-sensitive",
          "-p|--priority",
          "-S|--since",
          "-t|--identifier",
          "--cursor",
          "--after-cursor",
        ],
      });
      if (o.has("-f") || o.has("--cursor")) unmodelled(argv);
      const boot =
        o.has("--this-boot") || (o.has("-k") && !o.has("-b"))
          ? machine.boots
          : o.has("-b")
            ? machine.boots + Math.min(0, Number(o.get("-b") || 0))
            : undefined;
      const units = o.all("-u").map(unitName);
      let list = machine.logs.lines.filter(
        (line) =>
          (boot === undefined || line.boot === boot) &&
          (!o.has("-k") || line.kernel) &&
          (units.length === 0 || (line.unit !== undefined && units.includes(line.unit))) &&
          (o.get("-t") === undefined || line.ident === o.get("-t")),
      );
      const pattern = o.get("-g");
      if (pattern !== undefined) {
        const insensitive =
          o.get("--case-sensitive") === undefined
            ? pattern === pattern.toLowerCase()
            : /^(no|false|0)$/.test(o.get("--case-sensitive") ?? "");
        const re = new RegExp(pattern, insensitive ? "i" : "");
        list = list.filter((line) => re.test(line.text));
      }
      if (o.get("-b") !== undefined && o.get("-b") !== "" && boot !== undefined && boot < 1)
        return fail(1, `Data from the specified boot (${o.get("-b")}) is not available: No such boot ID in journal`);
      if (o.has("-n") && o.get("-n") !== "all") list = list.slice(Math.max(0, list.length - Number(o.get("-n"))));
      // Searched from the end, the newest comes first.
      if (o.has("-r") || (o.has("-n") && pattern !== undefined)) list = [...list].reverse();
      if (list.length === 0)
        return {
          status: pattern === undefined ? 0 : 1,
          stdout: o.has("-q") || ["json", "cat", "export"].includes(o.get("-o") ?? "") ? "" : NONE,
          stderr: "",
        };
      return ok(`${list.map((line) => show(machine, line, o.get("-o") ?? "short")).join("\n")}\n`);
    },
  },
  {
    names: ["dmesg"],
    base: true,
    mutates: never,
    run: (machine, argv) => {
      const o = options(argv, { flags: ["-T", "-t|--notime", "-k", "-x"], valued: ["-l|--level"] });
      return ok(
        machine.logs.ring
          .map(
            (line) =>
              `${o.has("-t") ? "" : `[${(line.time - machine.now.bootedAt).toFixed(6).padStart(12)}] `}${line.text}\n`,
          )
          .join(""),
      );
    },
  },
];
