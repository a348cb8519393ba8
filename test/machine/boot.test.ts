import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import type { Action } from "../../providers/kit/action.ts";
import type { Fleet } from "../../providers/kit/machine.ts";
import { openFleet } from "../../providers/machine/fleet.ts";
import { cleanEnv, FAST, type Host, stackOf, startHost, stopHosts } from "./sshd.ts";

let host: Host;
let guestHost: Host;
let fleet: Fleet;
let powerCycles = 0;
const at = (name: string) => join(host.dir, name);
const said: string[] = [];
const options = { signal: new AbortController().signal, onProgress: (line: string) => void said.push(line) };
const OLD = "gnulinux-6.1.0-old-advanced-5b6f";
// biome-ignore lint/suspicious/noTemplateCurlyInString: GRUB's own variable
const MENU = `${'set default="${saved_entry}"'}
menuentry 'Ubuntu' $menuentry_id_option '${OLD}' {
\tlinux /boot/vmlinuz-6.1.0-old ro
}
`;
const KERNEL = { kernel: { kind: "argv", argv: ["uname", "-r"] } } as const;

beforeAll(async () => {
  [host, guestHost] = await Promise.all([startHost(), startHost()]);
  mkdirSync(at("lib/teeup/vm/cvm0"), { recursive: true });
  writeFileSync(
    at("lib/teeup/vm/cvm0/console.log"),
    `-----BEGIN SSH HOST KEY KEYS-----\n${guestHost.hostKeys.ed25519}\n-----END SSH HOST KEY KEYS-----\n`,
  );
});
afterAll(stopHosts);
beforeEach(() => {
  said.length = 0;
  powerCycles = 0;
  writeFileSync(at("kernel"), "6.1.0-old\n");
  writeFileSync(at("boot/grub/grub.cfg"), MENU);
  const guest = { user: "root", port: guestHost.port, keyFile: guestHost.key };
  const bmc = { url: "https://bmc.test", user: "ops", password: "bmc-secret" };
  fleet = openFleet(stackOf(host, {}, { guest, bmc }), cleanEnv(), {
    ...FAST,
    bmc: async () => ({
      bios: async () => ({}) as never,
      stage: async () => {},
      powerCycle: async () => {
        powerCycles++;
        rmSync(at("stays-off"), { force: true });
        writeFileSync(at("kernel"), "6.1.0-old\n");
        writeFileSync(at("boot_id"), `boot-forced-${powerCycles}\n`);
        await host.halt();
        await host.start();
      },
    }),
  });
});
afterEach(async () => {
  await fleet.close();
  await host.halt();
  await host.start();
  for (const name of ["kernel.next", "inhibit", "stays-off", "grub-deaf", "grub-full", "grubenv"])
    rmSync(at(name), { force: true });
});

const reboot = (more: Partial<Extract<Action, { do: "reboot" }>> = {}, on = fleet) =>
  on.node("gpu-01").host.act({ do: "reboot", timeoutSeconds: 20, ...more }, options);
const trial = { entry: "gnulinux-6.11", kernel: "6.11.0-snp" };

describe("a reboot", () => {
  test("waits for a new boot, and all that was known is forgotten", async () => {
    const { host: machine } = fleet.node("gpu-01");
    expect((await machine.observe(KERNEL)).kernel).toMatchObject({ stdout: "6.1.0-old\n" });
    writeFileSync(at("kernel.next"), "6.2.0-new\n");
    await reboot();
    expect((await machine.observe(KERNEL)).kernel).toMatchObject({ stdout: "6.2.0-new\n" });
    expect(said).toEqual(["restarting", "back with 6.2.0-new"]);
    expect(powerCycles).toBe(0);
  });

  test("keeps the lock over the restart", async () => {
    const { host: machine } = fleet.node("gpu-01");
    const lock = await machine.lock("test");
    await reboot();
    expect(lock.lost.aborted).toBe(false);
    const other = openFleet(stackOf(host), cleanEnv(), FAST);
    await expect(other.node("gpu-01").host.lock("other")).rejects.toMatchObject({ code: "lock.held" });
    await lock.release();
    await other.close();
  });

  test("that the machine refuses is not waited for", async () => {
    writeFileSync(at("inhibit"), "");
    await expect(reboot()).rejects.toMatchObject({
      code: "boot.refused",
      message: expect.stringMatching(/inhibited by backup/),
    });
  });

  test("that does not end is ended by the BMC", async () => {
    writeFileSync(at("stays-off"), "");
    await reboot({ timeoutSeconds: 0.5 });
    expect(powerCycles).toBe(1);
    expect(said).toContain("not back within 0.5 s: the BMC cuts the power");
  });

  test("that does not end has an error that says so when there is no BMC", async () => {
    writeFileSync(at("stays-off"), "");
    const without = openFleet(stackOf(host), cleanEnv(), FAST);
    await expect(reboot({ timeoutSeconds: 0.5 }, without)).rejects.toMatchObject({
      code: "boot.never-returned",
      message: expect.stringMatching(
        /gpu-01: not back within 0.5 s after systemctl reboot; last seen: .*refuses connections[\s\S]*by hand/,
      ),
    });
    await without.close();
  });

  test("ends at once when the run is to stop", async () => {
    const stop = new AbortController();
    writeFileSync(at("stays-off"), "");
    const waiting = fleet
      .node("gpu-01")
      .host.act(
        { do: "reboot", timeoutSeconds: 60 },
        { signal: stop.signal, onProgress: (line) => line === "restarting" && setTimeout(() => stop.abort(), 300) },
      );
    await expect(waiting).rejects.toMatchObject({ code: "run.stopped" });
  });
});

describe("a trial boot", () => {
  test("is set for the next start only, and ends well when that kernel runs", async () => {
    writeFileSync(at("kernel.next"), `${trial.kernel}\n`);
    await reboot({ trial });
    expect(readFileSync(at("grubenv"), "utf8")).toBe("next_entry=gnulinux-6.11\n");
    expect(said).toEqual(["restarting with 6.11.0-snp, this once", "back with 6.11.0-snp"]);
  });

  test("whose kernel never comes back leaves the node with its old one, and the error says so", async () => {
    writeFileSync(at("stays-off"), "");
    writeFileSync(at("kernel.next"), `${trial.kernel}\n`);
    await expect(reboot({ trial, timeoutSeconds: 0.5 })).rejects.toMatchObject({
      code: "boot.trial-failed",
      message: expect.stringMatching(
        /kernel 6\.11\.0-snp did not come up.*BMC cut the power; the node runs 6\.1\.0-old now/,
      ),
    });
    expect((await fleet.node("gpu-01").host.observe(KERNEL)).kernel).toMatchObject({ stdout: "6.1.0-old\n" });
  });

  test("that ends with another kernel has failed", async () => {
    await expect(reboot({ trial })).rejects.toMatchObject({
      code: "boot.trial-failed",
      message: expect.stringMatching(/6\.11\.0-snp did not come up; the node runs 6\.1\.0-old now/),
    });
    expect(powerCycles).toBe(0);
  });

  test("that has no saved default to fall back to is not tried", async () => {
    const before = readFileSync(at("boot_id"), "utf8");
    for (const menu of [MENU.replace(/set default=.*/, 'set default="0"'), undefined]) {
      if (menu === undefined) rmSync(at("boot/grub/grub.cfg"));
      else writeFileSync(at("boot/grub/grub.cfg"), menu);
      await expect(reboot({ trial })).rejects.toMatchObject({
        code: "boot.no-fall-back",
        message: expect.stringMatching(/GRUB_DEFAULT=saved/),
      });
    }
    expect(readFileSync(at("boot_id"), "utf8")).toBe(before);
    expect(existsSync(at("grubenv"))).toBe(false);
  });

  test.each([
    ["which the saved entry is", OLD, true],
    ["which it is not", "another", false],
  ])("says that the old kernel starts next only when that was seen: %s", async (_name, saved, says) => {
    writeFileSync(at("stays-off"), "");
    writeFileSync(at("grubenv"), `saved_entry=${saved}\n`);
    const without = openFleet(stackOf(host), cleanEnv(), FAST);
    const error: unknown = await reboot({ trial, timeoutSeconds: 0.5 }, without).catch((e: unknown) => e);
    await without.close();
    expect(error).toMatchObject({ code: "boot.never-returned" });
    expect(String(error).includes("the next start is with the old kernel again (6.1.0-old)")).toBe(says);
  });

  test("whose restart is refused is not left for the next restart, and the error says so", async () => {
    writeFileSync(at("inhibit"), "");
    writeFileSync(at("grubenv"), `saved_entry=${OLD}\n`);
    await expect(reboot({ trial })).rejects.toMatchObject({
      code: "boot.refused",
      message: expect.stringMatching(/inhibited by backup.*6\.11\.0-snp is not tried at the next start either/),
    });
    expect(readFileSync(at("grubenv"), "utf8")).toBe(`saved_entry=${OLD}\n`);
  });

  test("that cannot be taken back after a refused restart is said to be still set", async () => {
    writeFileSync(at("inhibit"), "");
    writeFileSync(at("grub-full"), "");
    await expect(reboot({ trial })).rejects.toMatchObject({
      code: "boot.refused",
      message: expect.stringMatching(/still tries kernel 6\.11\.0-snp .*too small.*grub-editenv - unset next_entry/),
    });
  });

  test("that GRUB did not note is not tried", async () => {
    writeFileSync(at("grub-deaf"), "");
    const before = readFileSync(at("boot_id"), "utf8");
    await expect(reboot({ trial })).rejects.toMatchObject({ code: "boot.trial-not-set" });
    expect(readFileSync(at("boot_id"), "utf8")).toBe(before);
  });
});

describe("a guest", () => {
  const onHost = (verb: string, script: string) =>
    writeFileSync(at(`on-${verb}`), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  const newBoot = () => writeFileSync(join(guestHost.dir, "boot_id"), `guest-boot-${Date.now()}\n`);
  const drop = () => `pkill -KILL -P $(cat '${guestHost.dir}/sshd.pid'); :`;

  test("is restarted by its host, from a facet on either", async () => {
    onHost("stop", `${drop()}; echo stopped-$1 >>'${at("vm-log")}'`);
    onHost("start", `echo started-$1 >>'${at("vm-log")}'; echo guest-$(cat /proc/uptime) >'${guestHost.dir}/boot_id'`);
    const { guest, host: below } = fleet.node("gpu-01");
    await guest.observe(KERNEL);
    await guest.act({ do: "restart-guest", timeoutSeconds: 20 }, options);
    await below.act({ do: "restart-guest", timeoutSeconds: 20 }, options);
    const unit = "teeup-vm-cvm0.service";
    expect(readFileSync(at("vm-log"), "utf8")).toBe(`stopped-${unit}\nstarted-${unit}\n`.repeat(2));
    expect((await guest.observe(KERNEL)).kernel).toMatchObject({ kind: "ran" });
  });

  test("that still runs its old boot has not been restarted", async () => {
    onHost("stop", ":");
    onHost("start", ":");
    const { guest } = fleet.node("gpu-01");
    await expect(guest.act({ do: "restart-guest", timeoutSeconds: 0.5 }, options)).rejects.toMatchObject({
      code: "guest.never-returned",
      message: expect.stringMatching(
        /gpu-01\/cvm0: the guest takes no SSH session within 0\.5 s; last seen: it still runs the old boot/,
      ),
    });
  });

  test("is waited for until its sshd answers", async () => {
    await guestHost.halt();
    const { host: below } = fleet.node("gpu-01");
    const waiting = below.act({ do: "wait-guest", timeoutSeconds: 20 }, options);
    newBoot();
    await guestHost.start();
    await waiting;
    await guestHost.halt();
    await expect(below.act({ do: "wait-guest", timeoutSeconds: 0.3 }, options)).rejects.toMatchObject({
      code: "guest.never-returned",
    });
    await guestHost.start();
  });
});
