/**
 * `npm run image -- [--out <file>] [--tag <name>]`: a container image with `teeup` and nothing that it does not need, as one
 * tar that `docker load`, `podman load` and `ctr images import` take. No daemon, no base image and no root is needed: it is
 * made of this machine's own Node, Pulumi, OpenSSH and C library, and of the package as `npm pack` makes it. The same
 * inputs make the same layers.
 *   --out <file>   default teeup-image.tar
 *   --tag <name>   default localhost/teeup:<version>
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import {
  chmod,
  copyFile,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { ensureToolchain } from "./toolchain.ts";

const run = promisify(execFile);
const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const BUFFER = { maxBuffer: 64 << 20 };

/** Not root, and the same on every cluster. */
export const USER = 65532;

export interface ImageOptions {
  /** File that is written. */
  readonly out: string;
  /** Name of the image, with its tag. */
  readonly tag: string;
  readonly say: (text: string) => void;
}

/** Programs of this machine that the image has besides Node and Pulumi: known_hosts and ssh_config are OpenSSH's to read. */
const PROGRAMS: Readonly<Record<string, string>> = {
  "/bin/sh": "dash",
  "/bin/rm": "rm",
  "/usr/bin/env": "env",
  "/usr/bin/ssh": "ssh",
  "/usr/bin/ssh-keygen": "ssh-keygen",
};
const CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt";

/** Writes the image. Throws what npm, tar and the toolchain throw, and names a program that this machine lacks. */
export async function writeImage({ out, tag, say }: ImageOptions): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), "teeup-image-"));
  try {
    const toolchain = await ensureToolchain({ say });
    const [system, own] = [join(work, "system"), join(work, "own")];
    say("programs of this machine");
    await copySystem(system, toolchain.path);
    say("the package, with what it needs");
    await installPackage(work, own);
    say("layers");
    await writeArchive(join(work, "image"), [system, own], CONFIG, tag, resolve(out));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function copySystem(to: string, toolchain: readonly string[]): Promise<void> {
  const binaries = new Map([["/usr/local/bin/node", await realpath(process.execPath)]]);
  for (const [path, program] of Object.entries(PROGRAMS)) binaries.set(path, await where(program));
  for (const folder of toolchain)
    for (const name of await readdir(folder))
      if (/^pulumi(-language-nodejs|-resource-pulumi-nodejs)?$/.test(name) && !binaries.has(`/usr/local/bin/${name}`))
        binaries.set(`/usr/local/bin/${name}`, join(folder, name));
  const libraries = new Set((await Promise.all([...binaries.values()].map(librariesOf))).flat());
  for (const [path, from] of [...binaries, ...[...libraries].map((path) => [path, path] as const)]) {
    await mkdir(dirname(join(to, path)), { recursive: true });
    await copyFile(from, join(to, path));
    await chmod(join(to, path), 0o755);
  }
  await mkdir(join(to, "etc/ssl/certs"), { recursive: true });
  await copyFile(CERTIFICATES, join(to, CERTIFICATES));
  await mkdir(join(to, "tmp"), { mode: 0o1777 });
  await chmod(join(to, "tmp"), 0o1777);
  await writeFile(join(to, "etc/passwd"), `root:x:0:0::/:/bin/sh\nteeup:x:${USER}:${USER}::/tmp:/bin/sh\n`);
  await writeFile(join(to, "etc/group"), `root:x:0:\nteeup:x:${USER}:\n`);
  await writeFile(join(to, "etc/nsswitch.conf"), "hosts: files dns\n");
}

async function where(program: string): Promise<string> {
  for (const folder of (process.env["PATH"] ?? "")
    .split(":")
    .filter((path) => path.startsWith("/usr") || path === "/bin")) {
    const path = join(folder, program);
    if ((await stat(path).catch(() => undefined))?.isFile() === true) return await realpath(path);
  }
  throw new Error(`${program} is not there: apt-get install openssh-client dash coreutils`);
}

/** Shared libraries as the loader finds them; none of a static program or a script. */
async function librariesOf(binary: string): Promise<string[]> {
  const { stdout } = await run("ldd", [binary]).catch(() => ({ stdout: "" }));
  return stdout.split("\n").flatMap((line) => /(\/\S+) \(0x[0-9a-f]+\)$/.exec(line)?.[1] ?? []);
}

/** `npm pack` swaps package.json for a moment: in a copy of the checkout, so that nobody beside us sees it. */
async function installPackage(work: string, to: string): Promise<void> {
  const [copy, packed] = [join(work, "checkout"), join(work, "packed")];
  const { stdout } = await run("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: ROOT,
    ...BUFFER,
  });
  for (const file of stdout.split("\0").filter((name) => name !== "" && !/^(test|bench)\//.test(name)))
    await cp(join(ROOT, file), join(copy, file));
  await symlink(join(ROOT, "node_modules"), join(copy, "node_modules"));
  await mkdir(packed);
  await run("npm", ["pack", "--pack-destination", packed], { cwd: copy, ...BUFFER });
  const [tarball = ""] = await readdir(packed);
  await mkdir(to);
  await writeFile(join(to, "package.json"), JSON.stringify({ private: true }));
  const flags = ["--omit=dev", "--omit=optional", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund"];
  await run("npm", ["install", ...flags, join(packed, tarball)], { cwd: to, ...BUFFER });
  for (const name of ["package.json", "package-lock.json", "node_modules/.package-lock.json"])
    await rm(join(to, name), { force: true });
  await mkdir(join(to, "usr/local/bin"), { recursive: true });
  await symlink("/node_modules/teeup/dist/cli/main.js", join(to, "usr/local/bin/teeup"));
}

const CONFIG = {
  User: `${USER}:${USER}`,
  Env: ["PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp", "PULUMI_SKIP_UPDATE_CHECK=true"],
  Entrypoint: ["teeup"],
  Cmd: ["--help"],
  WorkingDir: "/",
};

const TAR = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu"];
/** Nothing reads these at run time. */
const LEFT_OUT = ["*.d.ts", "*.d.mts", "*.d.cts", "*.map", "*.md"].map((pattern) => `--exclude=${pattern}`);

/** An image of these folders, a layer each, as `docker save` has it. `work` must not exist yet. */
export async function writeArchive(
  work: string,
  folders: readonly string[],
  config: Readonly<Record<string, unknown>>,
  tag: string,
  out: string,
): Promise<void> {
  await mkdir(work);
  const digests: string[] = [];
  for (const folder of folders) {
    const path = join(work, "layer.tar");
    await run("tar", [...TAR, ...LEFT_OUT, "-cf", path, "-C", folder, "."], BUFFER);
    const hash = createHash("sha256");
    await pipeline(createReadStream(path), hash);
    const digest = hash.digest("hex");
    await rename(path, join(work, `${digest}.tar`));
    digests.push(digest);
  }
  const text = JSON.stringify({
    architecture: process.arch === "x64" ? "amd64" : process.arch,
    os: "linux",
    config,
    rootfs: { type: "layers", diff_ids: digests.map((digest) => `sha256:${digest}`) },
    history: digests.map(() => ({ created_by: "npm run image" })),
  });
  const name = `${createHash("sha256").update(text).digest("hex")}.json`;
  await writeFile(join(work, name), text);
  const manifest = [{ Config: name, RepoTags: [tag], Layers: digests.map((digest) => `${digest}.tar`) }];
  await writeFile(join(work, "manifest.json"), JSON.stringify(manifest));
  await run("tar", [...TAR, "-cf", `${out}.new`, "-C", work, "."], BUFFER);
  await rename(`${out}.new`, out);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { version } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8")) as { version: string };
  const { values } = parseArgs({
    options: {
      out: { type: "string", default: "teeup-image.tar" },
      tag: { type: "string", default: `localhost/teeup:${version}` },
    },
  });
  await writeImage({ ...values, say: (text) => void process.stderr.write(`${text}\n`) });
  process.stdout.write(`${values.out}: ${values.tag}\n`);
}
