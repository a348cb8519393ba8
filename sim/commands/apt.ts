import type { Machine } from "../model/machine.ts";
import type { Package } from "../model/packages.ts";
import { AptError } from "../model/packages.ts";
import type { Command, Result } from "./command.ts";
import { fail, lines, never, ok, options, unmodelled } from "./command.ts";
import { FRONTEND, packageInFile } from "./dpkg.ts";

const FLAGS = [
  "-y|--yes|--assume-yes",
  "-q|-qq|--quiet",
  "-yqq",
  "-s|--simulate|--dry-run",
  "--no-install-recommends",
  "--no-remove",
  "--allow-downgrades",
  "--allow-change-held-packages",
  "--purge",
  "--auto-remove|--autoremove",
  "-f|--fix-broken",
  "--no-upgrade",
  "--reinstall",
  "--only-upgrade",
  "-V",
];

function plan(
  machine: Machine,
  wanted: readonly string[],
  given: { has(name: string): boolean },
): { add: Package[]; files: Package[] } | Result {
  const files: Package[] = [];
  const names: string[] = [];
  for (const word of wanted) {
    if (!word.startsWith("/") && !word.startsWith("./")) {
      names.push(word);
      continue;
    }
    const pkg = packageInFile(machine, word);
    if (pkg === undefined) return fail(100, `E: Unsupported file ${word} given on commandline`);
    files.push(pkg);
    names.push(...(pkg.depends ?? []).filter((d) => !machine.packages.installed.has(d)));
  }
  try {
    const add = machine.packages.resolve(names);
    const held = add.find(
      (p) => machine.packages.installed.get(p.name)?.hold === true && !given.has("--allow-change-held-packages"),
    );
    if (held !== undefined)
      return fail(100, `E: Held packages were changed and -y was used without --allow-change-held-packages.`);
    return { add, files };
  } catch (error) {
    if (error instanceof AptError) return fail(100, error.message);
    throw error;
  }
}

/** apt 2.4 and later wait for no lock unless told to, and never for that of the lists; they name the holder. */
function locked(machine: Machine, path: string, words: readonly string[]): Result | undefined {
  const { lock } = machine.packages;
  if (lock?.path !== path) return undefined;
  return fail(100, [`E: Could not get lock ${path}. It is held by process ${lock.by}`, ...words].join("\n"));
}
const LISTS = "/var/lib/apt/lists/lock";

const aptGet: Command = {
  names: ["apt-get", "apt"],
  base: true,
  mutates: (argv) => !argv.some((w) => ["-s", "--simulate", "--dry-run"].includes(w)) && !argv.includes("--version"),
  run: (machine, argv) => {
    const o = options(argv, { flags: FLAGS, valued: ["-o|--option", "-t|--target-release"] });
    const [verb = "", ...names] = o.rest;
    const simulate = o.has("-s");
    if (verb === "update") {
      const busy = locked(machine, LISTS, ["E: Unable to lock directory /var/lib/apt/lists/"]);
      if (busy !== undefined && !simulate) return busy;
      if (machine.node.internet.down)
        return fail(
          100,
          "E: Failed to fetch http://archive.ubuntu.com/ubuntu/dists/noble/InRelease  Could not connect to archive.ubuntu.com:80",
        );
      if (!simulate) {
        machine.packages.update();
        machine.files.write("/var/lib/apt/periodic/update-success-stamp", `${Math.floor(machine.clock.now)}\n`);
      }
      return ok("Hit:1 http://archive.ubuntu.com/ubuntu noble InRelease\nReading package lists...\n", 8);
    }
    if (verb === "clean" || verb === "autoclean") return ok();
    if (verb === "install") {
      const busy = locked(machine, FRONTEND, [
        "N: Be aware that removing the lock file is not a solution and may break your system.",
        `E: Unable to acquire the dpkg frontend lock (${FRONTEND}), is another process using it?`,
      ]);
      if (busy !== undefined && !simulate) return busy;
      if (machine.node.internet.down)
        return fail(100, "E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?");
      const removals = names.filter((n) => n.endsWith("-") && machine.packages.installed.has(n.slice(0, -1)));
      const planned = plan(
        machine,
        names.filter((n) => !removals.includes(n)),
        o,
      );
      if ("status" in planned) return planned;
      const all = [...planned.add, ...planned.files];
      const summary = `The following NEW packages will be installed:\n  ${all.map((p) => p.name).join(" ")}\n`;
      if (simulate)
        return ok(summary + lines(all.map((p) => `Inst ${p.name} (${p.version} Ubuntu:24.04/noble [amd64])`)));
      for (const p of all)
        machine.packages.install(
          p,
          names.some((n) => n.split("=")[0] === p.name),
        );
      for (const n of removals) machine.packages.remove(n.slice(0, -1));
      return ok(
        `Reading package lists...\nBuilding dependency tree...\n${all.length === 0 ? "0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n" : summary + lines(all.map((p) => `Setting up ${p.name} (${p.version}) ...`))}`,
        5 + 4 * all.length,
      );
    }
    if (verb === "upgrade" || verb === "dist-upgrade" || verb === "full-upgrade") {
      const newer = machine.packages.upgradable();
      if (simulate)
        return ok(
          lines(
            newer.map(
              (p) =>
                `Inst ${p.name} [${machine.packages.installed.get(p.name)?.pkg.version}] (${p.version} Ubuntu:24.04/noble [amd64])`,
            ),
          ),
        );
      for (const p of newer) {
        for (const more of machine.packages.resolve([`${p.name}=${p.version}`])) machine.packages.install(more, false);
      }
      return ok(lines(newer.map((p) => `Setting up ${p.name} (${p.version}) ...`)), 60);
    }
    if (verb === "remove" || verb === "purge" || verb === "autoremove") {
      const held = names.find((n) => machine.packages.installed.get(n)?.hold === true);
      if (held !== undefined && !o.has("--allow-change-held-packages"))
        return fail(100, "E: Held packages were changed and -y was used without --allow-change-held-packages.");
      if (simulate) return ok(lines(names.map((n) => `Remv ${n}`)));
      const versions = names.map((n) => `Removing ${n} (${machine.packages.installed.get(n)?.pkg.version ?? ""}) ...`);
      for (const n of names) machine.packages.remove(n);
      return ok(lines(versions), 10);
    }
    if (
      !/^(source|build-dep|check|changelog|download|dselect-upgrade|indextargets|satisfy|list|show|search)$/.test(verb)
    )
      return fail(100, `E: Invalid operation ${verb}`);
    return unmodelled(argv);
  },
};

const holdSaid = (name: string, hold: boolean, before: boolean): string => {
  if (hold) return before ? `${name} was already set on hold.` : `${name} set on hold.`;
  return before ? `Canceled hold on ${name}.` : `${name} was already not on hold.`;
};

const aptMark: Command = {
  names: ["apt-mark"],
  base: true,
  mutates: (argv) => !argv.some((w) => w.startsWith("show")),
  run: (machine, argv) => {
    const [, verb, ...names] = argv;
    const { installed } = machine.packages;
    const { heard } = machine.packages;
    const list = (test: (name: string) => boolean) =>
      ok(
        lines(
          [...new Set([...installed.keys(), ...heard.keys()])]
            .filter((name) => test(name) && (names.length === 0 || names.includes(name)))
            .sort(),
        ),
      );
    const isHeld = (n: string) => (installed.get(n) ?? heard.get(n))?.hold === true;
    if (verb === "showhold") return list(isHeld);
    if (verb === "showmanual") return list((n) => installed.get(n)?.manual === true);
    if (verb === "showauto") return list((n) => installed.get(n)?.manual === false);
    const out: string[] = [];
    for (const name of names) {
      const entry = installed.get(name);
      if (verb === "hold" || verb === "unhold") {
        if (entry === undefined) {
          if (machine.packages.available(name).length === 0)
            return fail(100, `E: Unable to locate package ${name}\nE: No packages found`);
          // A package that is not installed can be on hold too.
          const before = machine.packages.heard.get(name)?.hold ?? false;
          machine.packages.heard.set(name, { hold: verb === "hold" });
          out.push(holdSaid(name, verb === "hold", before));
          continue;
        }
        out.push(holdSaid(name, verb === "hold", entry.hold));
        entry.hold = verb === "hold";
      } else if (verb === "manual" || verb === "auto") {
        if (entry !== undefined) entry.manual = verb === "manual";
        out.push(`${name} set to ${verb === "manual" ? "manually" : "automatically"} installed.`);
      } else return unmodelled(argv);
    }
    return ok(lines(out));
  },
};

const aptCache: Command = {
  names: ["apt-cache"],
  base: true,
  mutates: never,
  run: (machine, argv) => {
    const o = options(argv, { flags: ["-q", "-n|--names-only"] });
    const [verb, ...names] = o.rest;
    if (verb === "policy") {
      const blocks = names.flatMap((name) => {
        const installed = machine.packages.installed.get(name)?.pkg.version;
        const versions = machine.packages.available(name);
        if (installed === undefined && versions.length === 0) return [];
        return [
          [
            `${name}:`,
            `  Installed: ${installed ?? "(none)"}`,
            `  Candidate: ${versions.at(-1)?.version ?? installed}`,
            "  Version table:",
            ...[...versions]
              .reverse()
              .flatMap((p) => [
                ` ${p.version === installed ? "***" : "   "} ${p.version} 500`,
                "        500 http://archive.ubuntu.com/ubuntu noble-updates/main amd64 Packages",
              ]),
            "",
          ].join("\n"),
        ];
      });
      return ok(blocks.join(""));
    }
    if (verb === "show" || verb === "madison") {
      const found = names.flatMap((name) =>
        [...machine.packages.available(name)]
          .reverse()
          .map((p) =>
            verb === "madison"
              ? `${name} | ${p.version} | http://archive.ubuntu.com/ubuntu noble/main amd64 Packages`
              : `Package: ${name}\nVersion: ${p.version}\n`,
          ),
      );
      return found.length === 0
        ? fail(verb === "show" ? 100 : 0, verb === "show" ? "E: No packages found" : "")
        : ok(lines(found));
    }
    return unmodelled(argv);
  },
};

export const apt: readonly Command[] = [aptGet, aptMark, aptCache];
