import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "@jest/globals";
import { parse } from "yaml";
import { z } from "zod";
import { StackConfigSchema } from "../../../providers/kit/config.ts";
import { openFleet } from "../../../providers/machine/fleet.ts";
import { cleanEnv, stopHosts } from "../../machine/sshd.ts";
import { Shell } from "../shell.ts";
import { type LabHosts, startHosts } from "./hosts.ts";

let hosts: LabHosts | undefined;
const started: ChildProcess[] = [];
afterEach(async () => {
  await hosts?.stop();
  for (const child of started.splice(0)) child.kill("SIGKILL");
  await stopHosts();
});

/** Processes of hosts that `pid` started, and folders of it: by the folder's name, which stands in their arguments. */
function leftOf(pid: number): string[] {
  const mark = `teeup-hosts-${pid}-`;
  const processes = readdirSync("/proc").filter((name) => {
    try {
      return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, "utf8").includes(mark);
    } catch {
      return false;
    }
  });
  return [...processes, ...readdirSync(tmpdir()).filter((name) => name.startsWith(mark))];
}

test("40 hosts: each with a name, a process table, files and a pinned key of its own; nothing stays behind", async () => {
  hosts = await startHosts(40);
  expect(hosts.list).toHaveLength(40);
  const said = await Promise.all(
    hosts.list.map(async ({ shell, name }) => {
      await shell.sh(`echo ${name} >/etc/teeup-was-here`);
      return (
        await shell.sh("hostname; cat /etc/teeup-was-here; ls -d /proc/[0-9]* | wc -l; dpkg -s dpkg | grep -c ^Status")
      ).split("\n");
    }),
  );
  for (const [n, { name }] of hosts.list.entries()) {
    expect(said[n]?.slice(0, 2)).toEqual([name, name]);
    expect(Number(said[n]?.[2])).toBeLessThan(10);
    expect(said[n]?.[3]).toBe("1");
  }
  expect(new Set(hosts.list.map(({ hostKey }) => hostKey)).size).toBe(40);
  const [one, two] = hosts.list;
  const imposter = { host: one!.address, port: 2222, user: "root", privateKey: readFileSync(one!.keyFile, "utf8") };
  await expect(new Shell({ ...imposter, hostKey: two!.hostKey }).sh("true")).rejects.toThrow(/host.*verification/i);

  expect(leftOf(process.pid).length).toBeGreaterThan(40);
  await hosts.stop();
  expect(leftOf(process.pid)).toEqual([]);
  expect(readFileSync("/proc/mounts", "utf8")).not.toContain(`teeup-hosts-${process.pid}-`);
}, 300_000);

test("the production fleet asks 20 of them at once: real sh, real files, no machine knows another's answer", async () => {
  hosts = await startHosts(20);
  const fleet = openFleet(StackConfigSchema.parse({ nodes: hosts.list.map((host) => host.node()) }), cleanEnv());
  const asks = {
    name: { kind: "argv", argv: ["hostname"] },
    cmdline: { kind: "file", path: "/proc/cmdline" },
    none: { kind: "file", path: "/etc/none" },
  } as const;
  const answers = await Promise.all(fleet.names.map((name) => fleet.node(name).host.observe(asks)));
  for (const [n, { name }] of hosts.list.entries()) {
    expect(answers[n]).toMatchObject({
      name: { kind: "ran", status: 0, stdout: `${name}\n` },
      none: { kind: "missing" },
    });
    expect(answers[n]?.cmdline).toMatchObject({ stdout: expect.stringContaining(`host=${name}\n`) });
  }
  await fleet.close();
}, 300_000);

const Printed = z.object({ config: z.object({ "teeup:nodes": z.array(z.looseObject({ name: z.string() })) }) });

/** `npm run lab:hosts -- 2`, as soon as it has said all. */
async function command(): Promise<{ child: ChildProcess; said: string }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "main.ts"), "2"], {
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

test("lab:hosts prints what gets one in, and Ctrl-C leaves nothing behind", async () => {
  const { child, said } = await command();
  const { config } = Printed.parse(parse(said.slice(said.indexOf("config:"))));
  expect(StackConfigSchema.parse({ nodes: config["teeup:nodes"] }).nodes).toHaveLength(2);
  const [ssh = ""] = said.split("\n").filter((line) => line.startsWith("ssh "));
  const name = execFileSync("sh", ["-c", `${ssh} -o BatchMode=yes hostname`], { encoding: "utf8" }).trim();
  expect(name).toBe(config["teeup:nodes"][0]?.name);
  const keyFile = /-i (\S+)/.exec(ssh)?.[1] ?? "";
  expect(statSync(keyFile).mode & 0o777).toBe(0o600);

  const ended = once(child, "exit");
  child.kill("SIGINT");
  expect(await ended).toEqual([0, null]);
  expect(leftOf(child.pid ?? 0)).toEqual([]);
  expect(existsSync(keyFile)).toBe(false);
}, 300_000);

test("lab:hosts that is killed takes its hosts with it; the next one removes its folder", async () => {
  const { child } = await command();
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
  while (leftOf(child.pid ?? 0).some((left) => /^\d+$/.test(left)))
    await new Promise((resolve) => setTimeout(resolve, 50));
  hosts = await startHosts(1);
  expect(leftOf(child.pid ?? 0)).toEqual([]);
}, 300_000);
