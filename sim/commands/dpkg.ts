import { normalise } from "../model/files.ts";
import type { Machine } from "../model/machine.ts";
import type { Package } from "../model/packages.ts";
import { readDeb } from "../model/stand-ins.ts";
import type { Command } from "./command.ts";
import { fail, lines, never, ok, options, unmodelled } from "./command.ts";

const glob = (pattern: string): RegExp =>
  new RegExp(
    `^${pattern
      .replace(/[.+^${}()|\\]/g, "\\$&")
      .replaceAll("*", ".*")
      .replaceAll("?", ".")}$`,
  );

/** What dpkg knows of a package that it has only heard of. */
const notInstalled = (machine: Machine, name: string): Readonly<Record<string, string>> => ({
  Package: name,
  "binary:Package": name,
  "db:Status-Status": "not-installed",
  "db:Status-Want": machine.packages.heard.get(name)?.hold === true ? "hold" : "unknown",
});

/** Fields of dpkg-query's format. */
function field(machine: Machine, name: string, key: string): string {
  const entry = machine.packages.installed.get(name);
  if (entry === undefined) return notInstalled(machine, name)[key] ?? "";
  const { pkg, hold } = entry;
  switch (key) {
    case "Package":
    case "binary:Package":
      return name;
    case "Version":
      return pkg.version;
    case "Architecture":
      return pkg.architecture ?? "amd64";
    case "Status":
      return `${hold ? "hold" : "install"} ok installed`;
    case "db:Status-Status":
      return "installed";
    case "db:Status-Want":
      return hold ? "hold" : "install";
    case "db:Status-Abbrev":
      return hold ? "hi " : "ii ";
    case "Provides":
      return (pkg.provides ?? []).join(", ");
    case "Depends":
      return (pkg.depends ?? []).join(", ");
    default:
      return "";
  }
}

const query = (machine: Machine, argv: readonly string[]): ReturnType<Command["run"]> => {
  const o = options(argv, {
    flags: ["-W|--show", "-l|--list", "-s|--status", "-L|--listfiles", "-S|--search"],
    valued: ["-f|--showformat"],
  });
  const installed = [...machine.packages.installed.keys()].sort();
  let [status, stdout, stderr] = [0, "", ""];
  const names = o.rest.length === 0 ? installed : [];
  for (const pattern of o.rest) {
    const re = glob(pattern.replace(/:(amd64|all)$/, ""));
    const hits = [...new Set([...installed, ...machine.packages.heard.keys()])].sort().filter((n) => re.test(n));
    if (hits.length === 0) {
      stderr += `dpkg-query: no packages found matching ${pattern}\n`;
      status = 1;
    }
    names.push(...hits);
  }
  if (o.has("-W")) {
    const format = o.get("-f") ?? `$\{binary:Package}\t$\{Version}\n`;
    stdout = names
      .map((name) =>
        format
          .replaceAll("\\n", "\n")
          .replaceAll("\\t", "\t")
          .replace(/\$\{([^};]+)(?:;[^}]*)?\}/g, (_all, key: string) => field(machine, name, key)),
      )
      .join("");
  } else if (o.has("-l")) {
    stdout = `Desired=Unknown/Install/Remove/Purge/Hold\n||/ Name Version Architecture Description\n+++-====-=======-============-===========\n${names.map((n) => `${field(machine, n, "db:Status-Abbrev")} ${n} ${field(machine, n, "Version")} amd64 synthetic\n`).join("")}`;
  } else if (o.has("-s")) {
    stdout = names
      .map((n) => `Package: ${n}\nStatus: ${field(machine, n, "Status")}\nVersion: ${field(machine, n, "Version")}\n`)
      .join("\n");
  } else if (o.has("-L"))
    stdout = names.map((n) => machine.files.readIf(`/var/lib/dpkg/info/${n}.list`) ?? "").join("\n");
  else unmodelled(argv);
  return { status, stdout, stderr };
};

/** The package that a .deb file of the twin holds. */
export function packageInFile(machine: Machine, path: string): Package | undefined {
  const deb = readDeb(machine.files.readIf(path));
  return deb as Package | undefined;
}

/** Held by whoever changes packages. */
export const FRONTEND = "/var/lib/dpkg/lock-frontend";

export const dpkg: readonly Command[] = [
  { names: ["dpkg-query"], base: true, mutates: never, run: (machine, argv) => query(machine, argv) },
  {
    names: ["dpkg"],
    base: true,
    mutates: (argv) =>
      argv.some((w) =>
        ["-i", "--install", "-r", "--remove", "-P", "--purge", "--configure", "--set-selections"].includes(w),
      ),
    run: (machine, argv, context) => {
      if (argv.includes("--print-architecture")) return ok("amd64\n");
      if (argv.includes("--compare-versions") || argv.includes("--audit") || argv.includes("-C")) return ok();
      if (argv.some((w) => ["-l", "--list", "-s", "--status", "-L", "--listfiles"].includes(w)))
        return query(machine, ["dpkg-query", ...argv.slice(1)]);
      const o = options(argv, {
        flags: [
          "-i|--install",
          "-r|--remove",
          "-P|--purge",
          "--configure",
          "-a",
          "--force-confold",
          "--force-confnew",
          "--force-depends",
        ],
      });
      const { lock } = machine.packages;
      if (lock?.path === FRONTEND)
        return fail(
          2,
          `dpkg: error: dpkg frontend lock was locked by another process with pid ${lock.by.split(" ")[0]}\nNote: removing the lock file is always wrong, can damage the locked area\nand the entire system. See <https://wiki.debian.org/Teams/Dpkg/FAQ#db-lock>.`,
        );
      if (o.has("-i")) {
        let out = "";
        for (const path of o.rest) {
          const pkg = packageInFile(machine, normalise(path, context.cwd));
          if (pkg === undefined)
            return fail(2, `dpkg: error: cannot access archive '${path}': No such file or directory`, out);
          const missing = (pkg.depends ?? []).filter((d) => !machine.packages.installed.has(d));
          if (missing.length > 0)
            return fail(
              1,
              `dpkg: dependency problems prevent configuration of ${pkg.name}:\n ${pkg.name} depends on ${missing[0]}; however:\n  Package ${missing[0]} is not installed.`,
              out,
            );
          machine.packages.install(pkg);
          out += `Selecting previously unselected package ${pkg.name}.\nUnpacking ${pkg.name} (${pkg.version}) ...\nSetting up ${pkg.name} (${pkg.version}) ...\n`;
        }
        return ok(out, 30);
      }
      if (o.has("-r") || o.has("-P")) {
        for (const name of o.rest) {
          if (!machine.packages.installed.has(name))
            return fail(0, `dpkg: warning: ignoring request to remove ${name} which isn't installed`);
          machine.packages.remove(name);
        }
        return ok(lines(o.rest.map((n) => `Removing ${n} ...`)), 10);
      }
      if (o.has("--configure")) return ok();
      return unmodelled(argv);
    },
  },
];
