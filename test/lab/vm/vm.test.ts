import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "@jest/globals";
import { parse } from "yaml";
import { z } from "zod";
import { StackConfigSchema } from "../../../providers/kit/config.ts";
import { gone } from "../../pulumi/harness.ts";
import { labCache } from "../cache.ts";
import { Shell } from "../shell.ts";
import { PAIR, SPARE } from "./machine.ts";
import { startVm, stopVms } from "./vm.ts";

/** The first one may have to build the image. */
const LONG = 1_200_000;
const started: ChildProcess[] = [];
afterEach(async () => {
  await stopVms();
  for (const child of started.splice(0)) child.kill("SIGKILL");
});

/** Process ids of machines of a process, by the folder that stands in their arguments. */
const machinesOf = (pid: number): number[] =>
  readdirSync("/proc")
    .filter((name) => {
      try {
        return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, "utf8").includes(`/vm-${pid}-`);
      } catch {
        return false;
      }
    })
    .map(Number);
const foldersOf = (pid: number): string[] => [
  ...readdirSync(join(labCache(), "run")).filter((name) => name.startsWith(`vm-${pid}-`)),
  ...readdirSync(tmpdir()).filter((name) => name.startsWith(`teeup-vm-${pid}-`)),
];

test(
  "two clones of the running machine: a kernel, a clock and files of their own, devices as promised, a pinned key",
  async () => {
    const [one, two] = await Promise.all([startVm(), startVm()]);
    await one.sh("echo one >/root/mark");
    expect((await two.run("cat /root/mark")).status).not.toBe(0);
    const off = Math.abs(Number(await one.sh("date +%s")) - Date.now() / 1000);
    expect(off).toBeLessThan(30);
    expect(await one.sh("ps -o comm= -p 1")).toBe("systemd");
    expect(await one.sh("cat /proc/cmdline")).toMatch(/^BOOT_IMAGE=\/boot\/vmlinuz-\S+ root=UUID=\S+ ro console=ttyS0/);
    // It goes on from the snapshot and boots nothing. That its processor got no time for a while, its kernel may say.
    expect(one.serial().replace(/^\[[\d. ]+\] clocksource: Long readout interval[^\n]*\n/gm, "")).toBe("");

    const at = (bdf: string) => `/sys/bus/pci/devices/${bdf}`;
    expect(await one.sh(`cd ${at(SPARE)} && cat vendor device class; ls iommu_group/devices`)).toBe(
      `0x10de\n0x2331\n0x030200\n${SPARE}`,
    );
    expect((await one.sh(`ls ${at(PAIR[0])}/iommu_group/devices`)).split("\n")).toEqual(["0000:00:11.0", ...PAIR]);
    expect(await one.sh("apt-get install -s lab-agent | grep ^Inst | cut -d' ' -f2")).toBe("lab-tool\nlab-agent");

    const as = { host: "127.0.0.1", user: "root", privateKey: readFileSync(one.keyFile, "utf8") };
    const other = `SHA256:${"A".repeat(43)}`;
    await expect(new Shell({ ...as, port: one.port, hostKey: other }).sh("true")).rejects.toThrow(/verification/i);
    await one.stop();
    expect(() => process.kill(one.pid, 0)).toThrow(/ESRCH/);
    expect(await two.sh("echo still here")).toBe("still here");
    await two.stop();
    expect([machinesOf(process.pid), foldersOf(process.pid)]).toEqual([[], []]);
  },
  LONG,
);

const Printed = z.object({ config: z.object({ "teeup:nodes": z.array(z.looseObject({ name: z.string() })) }) });

/** `npm run lab:vm`, as soon as it has said all. */
async function command(): Promise<{ child: ChildProcess; said: string }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "main.ts")], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  started.push(child);
  let said = "";
  for await (const text of child.stdout ?? []) {
    said += String(text);
    if (said.includes("Ctrl-C")) break;
  }
  return { child, said };
}

test(
  "lab:vm prints what gets one in, and Ctrl-C leaves nothing behind",
  async () => {
    const { child, said } = await command();
    const { config } = Printed.parse(parse(said.slice(said.indexOf("config:"))));
    expect(StackConfigSchema.parse({ nodes: config["teeup:nodes"] }).nodes).toHaveLength(1);
    const ssh = said.split("\n").find((line) => line.startsWith("ssh "));
    expect(execFileSync("sh", ["-c", `${ssh} -o BatchMode=yes hostname`], { encoding: "utf8" })).toBe("lab\n");
    const pid = child.pid ?? 0;
    expect(machinesOf(pid)).toHaveLength(1);
    const ended = once(child, "exit");
    child.kill("SIGINT");
    expect(await ended).toEqual([0, null]);
    expect([machinesOf(pid), foldersOf(pid)]).toEqual([[], []]);
  },
  LONG,
);

test(
  "lab:vm that is killed takes its machine with it; the next one removes its folders",
  async () => {
    const { child } = await command();
    const pid = child.pid ?? 0;
    const [machine = 0] = machinesOf(pid);
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
    await gone(machine);
    expect(foldersOf(pid)).toHaveLength(2);
    await startVm();
    expect(foldersOf(pid)).toEqual([]);
  },
  LONG,
);
