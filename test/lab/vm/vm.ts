import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fingerprint } from "../../../sim/model/keys.ts";
import { LAB_PACKAGES, whatIsMissing } from "../../../tools/debian.ts";
import { freePort } from "../../machine/sshd.ts";
import { cached, labCache } from "../cache.ts";
import { type Said, Shell } from "../shell.ts";
import { sweep } from "../sweep.ts";
import { H100, type Ids, setIds } from "./ids.ts";
import { buildImage, type Recipe } from "./image.ts";
import { type Hardware, qemuArgs, STANDARD } from "./machine.ts";
import { Qmp } from "./qmp.ts";

/*
 * A real Linux with a real kernel, GRUB, systemd, apt and IOMMU, in about two seconds:
 *
 *   const vm = await startVm();                     // a clone of the running golden machine; ~2 s idle
 *   await vm.sh("uname -r");                        // stdout; throws unless status 0. vm.run(…) gives the status
 *   const node = vm.node("gpu-01");                 // entry of `teeup:nodes`, root; vm.node("gpu-01", "ops") uses sudo
 *   await vm.reboot();                              // over ssh, until the boot id is new; 25-40 s idle
 *   vm.serial();                                    // all of the serial console so far: GRUB, kernel, panics
 *   await vm.powerCycle();                          // the reset button
 *   await vm.stop();                                // by process id; also done when this process ends or is killed
 *
 * `startVm({ iommu: "none" })`, `{ memoryMiB }`, `{ extra: ["-device", …] }` or `{ image: { kernel } }` with an IOMMU
 * of AMD's boot cold, about 25 s. 0000:00:10.0 says that it is an H100 (ids.ts) and is alone in its IOMMU group;
 * PAIR of machine.ts share one group with a bridge. apt's only source is file:/srv/lab-packages (repository.ts).
 * afterAll(stopVms) ends all of a file's machines. The image is built once (1-3 min) under ~/.cache/teeup/lab, or
 * $TEEUP_LAB_CACHE, by the hash of its recipe.
 */
export interface VmOptions extends Partial<Hardware> {
  readonly image?: Recipe;
  /** Ids of devices by QEMU's id; `{}` leaves every device what it is. Default: `spare` is an H100. */
  readonly ids?: Readonly<Record<string, Ids>>;
  /** Boot from the disk though the snapshot would do. */
  readonly cold?: boolean;
}

export interface Vm {
  readonly pid: number;
  /** On 127.0.0.1. */
  readonly port: number;
  /** Private key that root and ops let in. */
  readonly keyFile: string;
  /** known_hosts file with this machine's key. */
  readonly knownHosts: string;
  /** `SHA256:…` */
  readonly hostKey: string;
  /** Folder of this machine's files, removed with it. */
  readonly dir: string;
  readonly qmp: Qmp;
  serial(): string;
  run(line: string, input?: string): Promise<Said>;
  sh(line: string, input?: string): Promise<string>;
  until(line: string, check: (said: Said) => boolean, timeoutMs?: number): Promise<Said>;
  bootId(): Promise<string>;
  /** Waits for a boot id other than this one. */
  booted(since: string, timeoutMs?: number): Promise<string>;
  reboot(): Promise<string>;
  powerCycle(): Promise<string>;
  node(name: string, user?: "root" | "ops"): Record<string, unknown>;
  /** Ready to paste. */
  sshCommand(user?: "root" | "ops"): string;
  stop(): Promise<void>;
}

/** Under load a boot takes several times its half minute. */
export const BOOT_MS = 900_000;
const SNAPSHOT = "ready";
const CLOUD: Recipe = { kernel: "linux-image-cloud-amd64" };
/** QEMU's AMD IOMMU, under a kernel that knows it; Debian's cloud kernel does not. */
export const AMD = { iommu: "amd", image: { kernel: "linux-image-amd64" } } as const satisfies VmOptions;
const FIRST_BOOT = "update-grub && apt-get update -q && sync";
/** Everything is on the disk, and nothing writes any more. */
const READ_ONLY = "sync; echo u >/proc/sysrq-trigger; until grep -q ' / ext4 ro' /proc/mounts; do sleep 0.1; done";
// Started, not only reachable: a unit that starts late would differ from clone to clone.
const SECOND_BOOT = ["systemctl is-system-running", "journalctl --flush; sync"] as const;
const SPARE_IS_H100 = { spare: H100 };

/** Hash of what makes a thing what it is: the source of its recipe, and values. */
function recipeHash(files: readonly string[], ...values: readonly string[]): string {
  const hash = createHash("sha256").update(JSON.stringify(values));
  for (const file of files) hash.update(readFileSync(new URL(file, import.meta.url)));
  return hash.digest("hex").slice(0, 16);
}

export interface Image {
  /** Its `root/` is the system as a folder; `id`, `host.pub`. */
  readonly system: string;
  /** `base.qcow2`, and `golden.qcow2` with the running machine. */
  readonly disks: string;
}

/** The system as a folder, which is all that namespace hosts need. */
export async function ensureSystem(recipe: Recipe = CLOUD): Promise<string> {
  const missing = whatIsMissing(LAB_PACKAGES);
  if (missing !== undefined) throw new Error(missing);
  return await cached(`system-${recipeHash(["image.ts", "repository.ts"], recipe.kernel)}`, async (folder) => {
    process.stderr.write(`Building the lab's image with ${recipe.kernel} in ${labCache()}: about two minutes, once.\n`);
    await buildImage(recipe, folder);
  });
}

export async function ensureImage(recipe: Recipe = CLOUD): Promise<Image> {
  const system = await ensureSystem(recipe);
  const version = execFileSync("qemu-system-x86_64", ["--version"], { encoding: "utf8" });
  const hash = recipeHash(["machine.ts", "ids.ts"], system, version, FIRST_BOOT, ...SECOND_BOOT);
  const disks = await cached(`disks-${hash}`, (folder) => firstBoots(system, folder));
  return { system, disks };
}

/** Lets the guest write its real GRUB menu, boots it by that, and keeps the running machine as a snapshot. */
async function firstBoots(system: string, folder: string): Promise<void> {
  const disk = join(folder, "base.qcow2");
  copyFileSync(join(system, "first.qcow2"), disk);
  const first = await boot(system, disk, STANDARD, SPARE_IS_H100);
  try {
    await first.until("true", ({ status }) => status === 0);
    await first.sh(FIRST_BOOT);
    // No shutdown: Debian's larger kernel hangs in one at times, after kvm's last word.
    await first.sh(READ_ONLY);
    await first.qmp.call("quit");
    await first.ended;
  } finally {
    await first.stop();
  }
  const golden = join(folder, "golden.qcow2");
  copyFileSync(disk, golden);
  const second = await boot(system, golden, STANDARD, SPARE_IS_H100);
  try {
    await second.until(SECOND_BOOT[0], ({ stdout }) => /running|degraded/.test(stdout));
    await second.sh(SECOND_BOOT[1]);
    await second.qmp.call("stop");
    await second.qmp.human(`savevm ${SNAPSHOT}`);
  } finally {
    await second.stop();
  }
}

const machines = new Set<Machine>();
type Machine = Vm & { readonly ended: Promise<unknown> };

/** For afterAll. */
export async function stopVms(): Promise<void> {
  await Promise.all([...machines].map((vm) => vm.stop()));
}

export async function startVm(options: VmOptions = {}): Promise<Vm> {
  const { image = CLOUD, ids = SPARE_IS_H100, cold, ...hardware } = options;
  const { system, disks } = await ensureImage(image);
  const snapshot = cold !== true && Object.keys(hardware).length === 0 && options.ids === undefined;
  const from = join(disks, snapshot ? "golden.qcow2" : "base.qcow2");
  const how = { clone: true, ...(snapshot ? { snapshot: SNAPSHOT } : {}) };
  const vm = await boot(system, from, { ...STANDARD, ...hardware }, ids, how);
  try {
    await vm.until("true", ({ status }) => status === 0);
    // A machine out of a snapshot believes that it is still the day of the snapshot.
    if (snapshot) await vm.sh(`date -s @${Math.floor(Date.now() / 1000)} >/dev/null`);
    return vm;
  } catch (error) {
    const last = vm.serial().slice(-2000);
    await vm.stop();
    throw new Error(`the lab's machine did not come up: ${String(error)}\nserial console, last:\n${last}`);
  }
}

async function boot(
  system: string,
  from: string,
  hardware: Hardware,
  ids: Readonly<Record<string, Ids>>,
  how: { readonly clone?: boolean; readonly snapshot?: string } = {},
): Promise<Machine> {
  const place = join(labCache(), "run");
  mkdirSync(place, { recursive: true });
  sweep(place, "vm");
  const dir = mkdtempSync(join(place, `vm-${process.pid}-`));
  // A socket's path must be short, wherever the cache is.
  sweep(tmpdir(), "teeup-vm");
  const sockets = mkdtempSync(join(tmpdir(), `teeup-vm-${process.pid}-`));
  let disk = from;
  if (how.clone === true) {
    disk = join(dir, "disk.qcow2");
    // A snapshot does not come with a backing file, so a clone that needs it is a whole copy.
    if (how.snapshot === undefined)
      execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", "-b", from, "-F", "qcow2", disk]);
    else copyFileSync(from, disk, constants.COPYFILE_FICLONE);
  }
  const port = await freePort();
  const files = { disk, serial: join(dir, "serial.log"), qmp: join(sockets, "qmp") };
  const argv = qemuArgs(hardware, files, port);
  // The kernel ends the machine with this process, however that ends.
  const child: ChildProcess = spawn("setpriv", ["--pdeathsig", "KILL", "qemu-system-x86_64", ...argv], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let complaint = "";
  child.stderr?.on("data", (text: Buffer) => {
    complaint += text.toString();
  });
  const ended = once(child, "exit");
  const alive = () => child.exitCode === null && child.signalCode === null;
  const privateKey = readFileSync(join(system, "id"), "utf8");
  const hostPublic = readFileSync(join(system, "host.pub"), "utf8").trim();
  const hostKey = fingerprint(hostPublic);
  const knownHosts = join(dir, "known_hosts");
  writeFileSync(knownHosts, `[127.0.0.1]:${port} ${hostPublic.split(" ").slice(0, 2).join(" ")}\n`);
  const keyFile = join(dir, "id");
  writeFileSync(keyFile, privateKey, { mode: 0o600 });
  const shell = new Shell({ host: "127.0.0.1", port, user: "root", privateKey, hostKey });
  let qmp: Qmp | undefined;

  const bury = async () => {
    machines.delete(machine as Machine);
    shell.close();
    qmp?.close();
    if (alive()) {
      child.kill("SIGKILL");
      await ended;
    }
    rmSync(dir, { recursive: true, force: true });
    rmSync(sockets, { recursive: true, force: true });
  };
  let machine: Machine | undefined;
  try {
    const monitor = await Qmp.open(files.qmp, alive);
    qmp = monitor;
    const pid = child.pid ?? 0;
    for (const [device, wanted] of Object.entries(ids)) await setIds(monitor, pid, device, wanted);
    if (how.snapshot !== undefined) await monitor.human(`loadvm ${how.snapshot}`);
    await monitor.call("cont");

    const bootId = () => shell.sh("cat /proc/sys/kernel/random/boot_id");
    const booted = async (since: string, timeoutMs = BOOT_MS) => {
      const isNew = ({ status, stdout }: Said) => status === 0 && stdout.trim() !== "" && stdout.trim() !== since;
      return (await shell.until("cat /proc/sys/kernel/random/boot_id", isNew, timeoutMs)).stdout.trim();
    };
    machine = {
      ...{ pid, port, keyFile, knownHosts, hostKey, dir, ended, qmp: monitor },
      serial: () => (existsSync(files.serial) ? readFileSync(files.serial, "utf8") : ""),
      run: (line, input) => shell.run(line, input),
      sh: (line, input) => shell.sh(line, input),
      until: (line, check, timeoutMs = BOOT_MS) => shell.until(line, check, timeoutMs),
      bootId,
      booted,
      async reboot() {
        const before = await bootId();
        // The connection may go before the answer comes.
        await shell.run("systemctl reboot").catch(() => undefined);
        shell.close();
        return await booted(before);
      },
      async powerCycle() {
        const before = await bootId();
        shell.close();
        await monitor.call("system_reset");
        return await booted(before);
      },
      node: (name, user = "root") => ({
        name,
        ssh: { host: "127.0.0.1", port, user, keyFile, hostKey },
      }),
      sshCommand: (user = "root") =>
        `ssh -i ${keyFile} -o IdentitiesOnly=yes -o UserKnownHostsFile=${knownHosts} -p ${port} ${user}@127.0.0.1`,
      stop: bury,
    };
    machines.add(machine);
    return machine;
  } catch (error) {
    await bury();
    throw new Error(`QEMU did not start: ${String(error)} ${complaint}`);
  }
}
