import { nodeSha256, normalise } from "../model/files.ts";
import type { Machine } from "../model/machine.ts";
import type { Command, Result } from "./command.ts";
import { fail, lines, ok, unmodelled } from "./command.ts";

interface Repo {
  /** Commit → url it was fetched from. */
  fetched: Record<string, string>;
  head?: string;
  fetchHead?: string;
}

const COMMIT = /^[0-9a-f]{40}$/;
const FATAL = "fatal: not a git repository (or any of the parent directories): .git\n";

const READS = ["rev-parse", "status", "log", "describe", "diff", "remote", "ls-remote", "show", "cat-file", "config"];

/** The first word that is no option of git itself. */
function split(argv: readonly string[]): { folder: string | undefined; verb: string; rest: string[] } {
  let folder: string | undefined;
  let i = 1;
  for (; i < argv.length; i++) {
    const word = argv[i] ?? "";
    if (word === "-C") folder = argv[++i];
    else if (word === "-c") i++;
    else if (!word.startsWith("-")) break;
  }
  return { folder, verb: argv[i] ?? "", rest: argv.slice(i + 1) };
}

/** A branch or tag has a commit of its own, made from its name. */
function commitOf(name: string): string {
  if (COMMIT.test(name)) return name;
  let hash = "";
  for (let i = 0; hash.length < 40; i++)
    hash += [...`${name}${i}`].reduce((sum, c) => (sum * 31 + c.charCodeAt(0)) >>> 0, 7).toString(16);
  return hash.slice(0, 40);
}

export const git: Command = {
  names: ["git"],
  base: false,
  mutates: (argv) => !READS.includes(split(argv).verb),
  run: (machine, argv, context) => {
    const { folder, verb, rest } = split(argv);
    if (argv.includes("--version")) return ok(`git version ${context.data}\n`);
    const { files } = machine;
    const cwd = normalise(folder ?? ".", context.cwd);
    if (folder !== undefined && !files.isDir(cwd))
      return fail(128, `fatal: cannot change to '${folder}': No such file or directory`);
    const words = rest.filter((w) => !w.startsWith("-"));
    if (verb === "init") {
      const target = normalise(words[0] ?? ".", cwd);
      if (!files.exists(`${target}/.git/twin`)) save(machine, target, { fetched: {} });
      return ok("", 0.1);
    }
    if (verb === "clone") {
      const branch = rest.find((_w, i) => rest[i - 1] === "--branch" || rest[i - 1] === "-b");
      const plain = words.filter((w) => w !== branch && !/^\d+$/.test(w));
      const [url = "", into] = plain;
      const target = normalise(
        into ??
          url
            .split("/")
            .at(-1)
            ?.replace(/\.git$/, "") ??
          "",
        cwd,
      );
      if (files.isDir(target) && files.list(target).length > 0)
        return fail(128, `fatal: destination path '${into}' already exists and is not an empty directory.`);
      if (machine.node.internet.repository(url) === undefined) return notFound(machine, url);
      const commit = commitOf(branch ?? "main");
      save(machine, target, { fetched: { [commit]: url }, head: commit });
      checkout(machine, target, url);
      return ok("", 20);
    }
    if (verb === "ls-remote")
      return machine.node.internet.repository(words[0] ?? "") === undefined
        ? notFound(machine, words[0] ?? "")
        : ok(`${commitOf("main")}\tHEAD\n`);
    const repo = load(machine, cwd);
    if (repo === undefined) return fail(128, FATAL);
    switch (verb) {
      case "fetch": {
        const [url = "origin", ref = "main"] = words;
        const real = url === "origin" ? (Object.values(repo.fetched)[0] ?? "") : url;
        if (machine.node.internet.repository(real) === undefined) return notFound(machine, real);
        const commit = commitOf(ref);
        repo.fetched[commit] = real;
        repo.fetchHead = commit;
        save(machine, cwd, repo);
        return ok("", 20);
      }
      case "checkout":
      case "reset": {
        const name = words[0] ?? "HEAD";
        const commit = name === "FETCH_HEAD" ? repo.fetchHead : name === "HEAD" ? repo.head : commitOf(name);
        const url =
          commit === undefined
            ? undefined
            : (repo.fetched[commit] ?? (COMMIT.test(name) ? undefined : Object.values(repo.fetched)[0]));
        if (commit === undefined || url === undefined) return fail(128, `fatal: reference is not a tree: ${name}`);
        if (commit !== repo.head)
          for (const path of Object.keys(tree(machine, repo) ?? {})) files.remove(`${cwd}/${path}`);
        repo.fetched[commit] = url;
        repo.head = commit;
        save(machine, cwd, repo);
        checkout(machine, cwd, url);
        return ok("", 1);
      }
      case "clean": {
        const known = tree(machine, repo) ?? {};
        for (const path of files.walk(cwd)) {
          const inner = path.slice(cwd.length + 1);
          const node = files.lstat(path);
          if (inner === "" || inner.startsWith(".git") || node?.kind === "dir" || known[inner] !== undefined) continue;
          files.remove(path);
        }
        return ok("", 0.2);
      }
      case "submodule":
        return ok("", 15);
      case "rev-parse":
        if (repo.head === undefined)
          return fail(128, `HEAD\nfatal: ambiguous argument 'HEAD': unknown revision or path not in the working tree.`);
        return ok(`${rest.includes("--short") ? repo.head.slice(0, 7) : repo.head}\n`);
      case "log":
        return repo.head === undefined
          ? fail(128, "fatal: your current branch 'main' does not have any commits yet")
          : ok(`${repo.head}\n`);
      case "diff":
      case "status": {
        const known = tree(machine, repo) ?? {};
        const changed = Object.entries(known).flatMap(([path, node]) => {
          const now = files.stat(`${cwd}/${path}`);
          if (now === undefined) return [` D ${path}`];
          return node.kind === "file" && now.kind === "file" && nodeSha256(node) !== nodeSha256(now)
            ? [` M ${path}`]
            : [];
        });
        if (verb === "diff") return rest.includes("--quiet") ? fail(changed.length > 0 ? 1 : 0, "") : unmodelled(argv);
        const untracked =
          rest.includes("--untracked-files=no") || rest.includes("-uno")
            ? []
            : files
                .walk(cwd)
                .map((p) => p.slice(cwd.length + 1))
                .filter(
                  (p) =>
                    p !== "" &&
                    !p.startsWith(".git") &&
                    files.stat(`${cwd}/${p}`)?.kind === "file" &&
                    known[p] === undefined,
                )
                .map((p) => `?? ${p}`);
        return ok(lines([...changed, ...untracked]));
      }
      case "apply":
      case "am": {
        // A commit needs a committer, and a fresh host knows none.
        const named = ["user.name=", "user.email="].every((key) => argv.some((w) => w.startsWith(key)));
        if (verb === "am" && !named && !files.exists("/root/.gitconfig"))
          return fail(
            128,
            "Committer identity unknown\n\n*** Please tell me who you are.\n\nfatal: unable to auto-detect email address",
          );
        for (const patch of words) {
          if (files.readIf(normalise(patch, cwd)) === undefined)
            return fail(128, `error: can't open patch '${patch}': No such file or directory`);
          // A series fits the commit that its name has.
          const baseline = /_baseline_([0-9a-f]+)\.mbox$/.exec(patch)?.[1];
          if (verb === "am" && baseline !== undefined && repo.head?.startsWith(baseline) !== true)
            return fail(128, "error: patch failed: arch/x86/kvm/vmx/main.c:1\nPatch failed at 0001 synthetic");
          applyPatch(machine, cwd, files.read(normalise(patch, cwd)));
        }
        return ok("", 0.1);
      }
      case "config":
        return ok();
      default:
        return unmodelled(argv);
    }
  },
};

/** A patch changes the files it names; that is all a twin needs of it. Returns the names. */
export function applyPatch(machine: Machine, folder: string, patch: string): string[] {
  const names = [...patch.matchAll(/^\+\+\+ b\/(\S+)/gm)].map((m) => m[1] ?? "");
  for (const name of names) {
    const path = `${folder}/${name}`;
    const text = machine.files.readIf(path) ?? "";
    if (!text.includes("/* patched */")) machine.files.write(path, `${text}/* patched */\n`);
  }
  return names;
}

function notFound(machine: Machine, url: string): Result {
  return machine.node.internet.down
    ? fail(128, `fatal: unable to access '${url}/': Could not resolve host: ${url.split("/")[2]}`)
    : fail(128, `remote: Repository not found.\nfatal: repository '${url}/' not found`);
}

function load(machine: Machine, folder: string): Repo | undefined {
  const text = machine.files.readIf(`${folder}/.git/twin`);
  return text === undefined ? undefined : (JSON.parse(text) as Repo);
}

function save(machine: Machine, folder: string, repo: Repo): void {
  machine.files.write(`${folder}/.git/twin`, JSON.stringify(repo));
  machine.files.write(`${folder}/.git/HEAD`, `${repo.head ?? "ref: refs/heads/main"}\n`);
}

function tree(machine: Machine, repo: Repo) {
  const url = repo.head === undefined ? undefined : repo.fetched[repo.head];
  return url === undefined ? undefined : machine.node.internet.repository(url)?.files;
}

function checkout(machine: Machine, folder: string, url: string): void {
  for (const [path, node] of Object.entries(machine.node.internet.repository(url)?.files ?? {}))
    machine.files.place(`${folder}/${path}`, node);
}
