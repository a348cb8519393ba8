import { guestGoesDown } from "../model/guest.ts";
import type { Machine } from "../model/machine.ts";
import { unitName } from "../model/units.ts";
import type { Command, Result } from "./command.ts";
import { always, fail, lines, ok, options, unmodelled } from "./command.ts";

const READS = [
  "show",
  "is-active",
  "is-enabled",
  "is-failed",
  "status",
  "list-units",
  "list-unit-files",
  "cat",
  "is-system-running",
  "list-timers",
];

/** Seconds later the machine is gone; the command itself still answers. */
function goDown(machine: Machine, how: "reboot" | "poweroff"): Result {
  const { node } = machine;
  const back = how === "reboot" && node.instance?.restart !== "console";
  if (machine !== node.host) node.later(() => guestGoesDown(node, how));
  else node.later(() => node.reset(back ? "GracefulRestart" : "GracefulShutdown", "os"));
  return ok();
}

const systemctlCommand: Command = {
  names: ["systemctl"],
  base: true,
  mutates: (argv) => !argv.slice(1).some((w) => READS.includes(w)),
  run: (machine, argv) => {
    const o = options(argv, {
      flags: [
        "--quiet|-q",
        "--now",
        "--no-pager",
        "--no-block",
        "--value",
        "--force|-f",
        "--all|-a",
        "--plain",
        "--no-legend",
        "--no-ask-password",
        "--wait",
        "-l|--full",
        "--runtime",
        "--system",
        "--failed",
      ],
      valued: ["-p|--property", "-n|--lines", "-t|--type", "--state", "-o|--output", "--job-mode"],
    });
    const [verb = "", ...rest] = o.rest;
    const names = rest.map(unitName);
    const { units } = machine;
    const each = (f: (name: string) => { status: number; stderr: string; stdout?: string }): Result => {
      let [status, stdout, stderr] = [0, "", ""];
      for (const name of names) {
        const r = f(name);
        if (r.status !== 0) status = r.status;
        stdout += r.stdout ?? "";
        stderr += r.stderr;
      }
      return { status, stdout, stderr };
    };
    switch (verb) {
      case "daemon-reload":
        units.reload();
        return ok();
      case "daemon-reexec":
        return ok();
      case "start":
        return each((n) => warned(units, n, () => units.start(n)));
      case "stop":
        return each((n) => warned(units, n, () => stopPolitely(machine, n)));
      case "restart":
      case "try-restart":
      case "reload-or-restart":
        return each((n) => {
          const stopped = stopPolitely(machine, n);
          if (stopped.status !== 0 && stopped.status !== 5) return stopped;
          const started = warned(units, n, () => units.start(n));
          return { ...started, stderr: started.stderr.replace(/^Failed to start (?=\S+: Unit)/, `Failed to ${verb} `) };
        });
      case "enable":
        return each((n) => {
          const r = units.enable(n);
          if (r.status !== 0 || !o.has("--now")) return r;
          const started = units.start(n);
          return { ...r, status: started.status, stderr: r.stderr + started.stderr };
        });
      case "disable":
        return each((n) => {
          if (units.onDisk(n) === undefined)
            return { status: 1, stderr: `Failed to disable unit: Unit file ${n} does not exist.\n` };
          if (o.has("--now")) stopPolitely(machine, n);
          return units.disable(n);
        });
      case "mask":
        return each((n) => {
          if (o.has("--now")) units.stop(n);
          const path = `/etc/systemd/system/${n}`;
          const unknown = units.onDisk(n) === undefined ? `Unit ${n} does not exist, proceeding anyway.\n` : "";
          if (!units.mask(n)) return { status: 1, stderr: `Failed to mask unit: File ${path} already exists.\n` };
          return { status: 0, stderr: `${unknown}Created symlink ${path} -> /dev/null.\n` };
        });
      case "unmask":
        return each((n) => {
          return { status: 0, stderr: units.unmask(n) ? `Removed "/etc/systemd/system/${n}".\n` : "" };
        });
      case "reset-failed":
        if (names.length === 0) units.resetFailed();
        return each((n) => {
          if (units.loaded(n) === undefined && !units.states.has(n))
            return { status: 1, stderr: `Failed to reset failed state of unit ${n}: Unit ${n} not loaded.\n` };
          units.resetFailed(n);
          return { status: 0, stderr: "" };
        });
      case "is-active":
      case "is-failed": {
        const states = names.map((n) => units.state(n).active);
        const good = verb === "is-active" ? states.some((s) => s === "active") : states.some((s) => s === "failed");
        return {
          status: good ? 0 : verb === "is-active" ? 3 : 1,
          stdout: o.has("--quiet") ? "" : lines(states),
          stderr: "",
        };
      }
      case "is-enabled": {
        const states = names.map((n) => units.enabledState(n));
        const good = states.every((s) => s === "enabled" || s === "static");
        const missing = names.filter((_n, i) => states[i] === "");
        return {
          status: good ? 0 : 1,
          stdout: o.has("--quiet") ? "" : lines(states.filter((s) => s !== "")),
          stderr: missing.map((n) => `Failed to get unit file state for ${n}: No such file or directory\n`).join(""),
        };
      }
      case "is-system-running":
        return ok("running\n");
      case "show": {
        const wanted = o.all("-p").flatMap((p) => p.split(","));
        const one = (n: string) => {
          const table = units.properties(n);
          const keys = wanted.length === 0 ? Object.keys(table) : Object.keys(table).filter((k) => wanted.includes(k));
          return keys.map((k) => (o.has("--value") ? `${table[k]}\n` : `${k}=${table[k]}\n`)).join("");
        };
        return ok(names.map(one).join("\n"));
      }
      case "status": {
        const n = names[0] ?? "";
        const table = units.properties(n);
        if (table.LoadState === "not-found") return fail(4, `Unit ${n} could not be found.`);
        const recent = machine.logs.lines
          .filter((l) => l.unit === n)
          .slice(-10)
          .map((l) => `${l.ident}: ${l.text}`);
        return {
          status: table.ActiveState === "active" ? 0 : 3,
          stdout: lines([
            `● ${n} - ${table.Description}`,
            `     Loaded: loaded (${table.FragmentPath}; ${table.UnitFileState})`,
            `     Active: ${table.ActiveState} (${table.SubState})`,
            "",
            ...recent,
          ]),
          stderr: "",
        };
      }
      case "cat": {
        const file = units.onDisk(names[0] ?? "");
        return file === undefined ? fail(1, `No files found for ${names[0]}.`) : ok(`# ${file.path}\n${file.text}`);
      }
      case "list-units": {
        const shown = [...units.states.values()]
          .filter((s) => !o.has("--failed") || s.active === "failed")
          .filter(
            (s) =>
              rest.length === 0 ||
              rest.some((p) => new RegExp(`^${p.replaceAll(".", "\\.").replaceAll("*", ".*")}$`).test(s.name)),
          );
        return ok(lines(shown.map((s) => `${s.name} loaded ${s.active} ${s.sub} ${s.name}`)));
      }
      case "list-unit-files": {
        const all = [
          ...new Set(
            ["/etc/systemd/system", "/usr/lib/systemd/system"]
              .flatMap((f) => machine.files.listIf(f))
              .filter((n) => /\.(service|timer)$/.test(n)),
          ),
        ];
        const shown = all.filter(
          (n) =>
            rest.length === 0 ||
            rest.some((p) => new RegExp(`^${p.replaceAll(".", "\\.").replaceAll("*", ".*")}$`).test(n)),
        );
        return {
          status: shown.length === 0 ? 1 : 0,
          stdout: lines(shown.map((n) => `${n} ${units.enabledState(n)} enabled`)),
          stderr: "",
        };
      }
      case "reboot":
      case "kexec":
        return goDown(machine, "reboot");
      case "poweroff":
      case "halt":
        return goDown(machine, "poweroff");
      case "set-property":
      case "kill":
        return ok();
      default:
        return VERBS.has(verb) ? unmodelled(argv) : fail(1, `Unknown command verb ${verb}.`);
    }
  },
};

/** Verbs there are and the twin does not know; others are nobody's. */
const VERBS = new Set(
  "set-default get-default list-dependencies list-jobs list-sockets edit link preset reenable revert isolate clean freeze thaw bind mount-image set-environment show-environment import-environment log-level service-watchdogs add-wants add-requires cancel default rescue emergency suspend hibernate switch-root help whoami list-machines".split(
    " ",
  ),
);

/** systemd goes by what it has read, and says when the disk says otherwise. */
function warned(
  units: Machine["units"],
  name: string,
  f: () => { status: number; stderr: string },
): { status: number; stderr: string } {
  const warning =
    units.needsReload(name) && units.onDisk(name) !== undefined
      ? `Warning: The unit file, source configuration file or drop-ins of ${name} changed on disk. Run 'systemctl daemon-reload' to reload units.\n`
      : "";
  const { status, stderr } = f();
  return { status, stderr: warning + stderr };
}

/** Runs ExecStop first, as systemd does; a failure of it stops nothing. */
function stopPolitely(machine: Machine, name: string): { status: number; stderr: string } {
  const line = machine.units.loaded(name)?.values.get("Service.ExecStop")?.[0];
  if (line !== undefined && machine.units.state(name).active === "active") {
    machine.units.stopping = name;
    machine.units.runExec(line);
    machine.units.stopping = undefined;
  }
  return machine.units.stop(name);
}

const systemdRun: Command = {
  names: ["systemd-run"],
  base: true,
  mutates: always,
  run: (machine, argv, context) => {
    // Options end where the program begins.
    const VALUED = [
      "--unit",
      "-u",
      "--property",
      "-p",
      "--setenv",
      "-E",
      "--description",
      "--working-directory",
      "--slice",
      "--uid",
      "--service-type",
    ];
    let i = 1;
    const seen = new Map<string, string[]>();
    for (; i < argv.length; i++) {
      const word = argv[i] ?? "";
      if (!word.startsWith("-") || word === "--") break;
      const eq = word.indexOf("=");
      const name = eq > 0 ? word.slice(0, eq) : word;
      const value = eq > 0 ? word.slice(eq + 1) : VALUED.includes(name) ? (argv[++i] ?? "") : "";
      seen.set(name, [...(seen.get(name) ?? []), value]);
    }
    if (argv[i] === "--") i++;
    const inner = argv.slice(i);
    const unit = unitName(
      seen.get("--unit")?.[0] ?? seen.get("-u")?.[0] ?? `run-r${machine.node.uuid().replaceAll("-", "")}`,
    );
    const type = (seen.get("--property") ?? []).find((p) => p.startsWith("Type="))?.slice(5) ?? "simple";
    if (seen.has("--wait") || seen.has("--pipe")) return context.exec(inner);
    const result = machine.units.startTransient(unit, inner, {
      collect: seen.has("--collect") || seen.has("-G"),
      type,
      description: seen.get("--description")?.[0] ?? inner.join(" "),
    });
    if (result.status !== 0) return { ...result, stdout: "" };
    return { status: 0, stdout: "", stderr: seen.has("--quiet") || seen.has("-q") ? "" : `Running as unit: ${unit}\n` };
  },
};

const down = (name: string, how: "reboot" | "poweroff"): Command => ({
  names: [name],
  base: true,
  folder: "/usr/sbin",
  mutates: always,
  run: (machine) => goDown(machine, how),
});

export const systemctl: readonly Command[] = [
  systemctlCommand,
  systemdRun,
  down("reboot", "reboot"),
  down("poweroff", "poweroff"),
  {
    names: ["shutdown"],
    base: true,
    folder: "/usr/sbin",
    mutates: always,
    run: (machine, argv) => goDown(machine, argv.includes("-r") ? "reboot" : "poweroff"),
  },
];
