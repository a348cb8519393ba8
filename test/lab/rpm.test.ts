import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { facetNamed } from "../../providers/facets/index.ts";
import { StackConfigSchema } from "../../providers/kit/config.ts";
import { openFleet } from "../../providers/machine/fleet.ts";
import { type Goal, isFailing, Reconciler } from "../../providers/reconcile.ts";
import { cleanEnv } from "../machine/sshd.ts";
import { type LabHost, type LabHosts, startHosts } from "./hosts/hosts.ts";
import { ensureRpmRoot, NEW, NEWER, OLD } from "./rpm/root.ts";

/*
 * Real rpm, dnf, version locks and dracut under the production client. Not here: grubby and a GRUB with boot loader
 * specification, which no registry has (test/sim/rpm.test.ts has them on the twin), systemd as process 1, a restart.
 */
let hosts: LabHosts;
let host: LabHost;
beforeAll(async () => {
  hosts = await startHosts(1, await ensureRpmRoot());
  [host] = hosts.list as [LabHost];
  await host.shell.sh(`dnf install -y kernel-core-${OLD} lab-tool-1.0 2>&1`);
}, 600_000);
afterAll(async () => {
  await hosts?.stop();
  expect(readFileSync("/proc/mounts", "utf8")).not.toContain(`teeup-hosts-${process.pid}-`);
});

const RUN = { permit: "reboot", onProgress: () => undefined, signal: new AbortController().signal } as const;

/** As one run of the provider does it, with connections of its own. */
async function run<T>(
  facet: string,
  want: object,
  work: (reconciler: Reconciler, goal: Goal) => Promise<T>,
): Promise<T> {
  const reconciler = new Reconciler(openFleet(StackConfigSchema.parse({ nodes: [host.node()] }), cleanEnv()));
  const found = facetNamed(facet);
  try {
    return await work(reconciler, { facet: found, node: host.name, want: found.want.parse(want) });
  } finally {
    await reconciler.close();
  }
}

const up = (facet: string, want: object): Promise<{ ran: string[]; failing: string[] }> =>
  run(facet, want, async (reconciler, goal) => {
    const done = await reconciler.reconcile(goal, RUN);
    return { ran: [...done.ran], failing: done.findings.filter(isFailing).map((f) => f.code) };
  });
const restore = (facet: string, want: object) => run(facet, want, (reconciler, goal) => reconciler.undo(goal, RUN));

describe("packages", () => {
  test("a missing package is installed by the real dnf, and the next up does nothing", async () => {
    await host.shell.sh("dnf remove -y lab-tool");
    expect(await up("packages", { names: ["lab-tool"] })).toEqual({ ran: ["packages.install"], failing: [] });
    expect(await host.shell.sh("cat /usr/share/lab/tool")).toBe("1.1");
    expect(await up("packages", { names: ["lab-tool"] })).toEqual({ ran: [], failing: [] });
  }, 300_000);

  test("what is missing and locked at another version is a finding, and nothing is run", async () => {
    await host.shell.sh("dnf remove -y lab-tool; dnf versionlock add lab-tool-1.0-1");
    const { ran, failing } = await up("packages", { names: ["lab-tool"] });
    expect(ran).toEqual([]);
    expect(failing).toEqual(["packages.missing", "packages.held"]);
    await host.shell.sh("dnf versionlock delete lab-tool");
  }, 300_000);

  test("a package that no repository has: dnf's own words", async () => {
    await expect(up("packages", { names: ["no-such-package"] })).rejects.toThrow(
      /Unable to find a match: no-such-package/,
    );
  }, 300_000);
});

describe("a kernel", () => {
  const want = { release: NEW, packages: [`kernel-core-${NEW}`] };

  test("is locked and installed by the real dnf while another version is locked, and stays when everything is upgraded", async () => {
    await host.shell.sh(`dnf versionlock add kernel-core-${OLD}`);
    const { ran } = await up("kernel", want);
    expect(ran).toEqual(["kernel.hold", "kernel.install"]);
    expect(await host.shell.sh("rpm -qa kernel-core | sort")).toBe(`kernel-core-${OLD}\nkernel-core-${NEW}`);
    await host.shell.sh("dnf upgrade -y 2>&1");
    expect(await host.shell.sh("rpm -qa kernel-core")).not.toContain(NEWER);
    expect((await up("kernel", want)).ran).toEqual([]);
  }, 300_000);

  test("whose lock is gone is locked again; without the lock an upgrade does bring another one", async () => {
    await host.shell.sh("dnf versionlock clear");
    expect(await host.shell.sh("dnf upgrade --assumeno 2>&1 || true")).toContain("5.14.0-570.el9");
    expect((await up("kernel", want)).ran).toEqual(["kernel.hold"]);
    expect(await host.shell.sh("dnf upgrade --assumeno 2>&1 || true")).not.toContain("5.14.0-570.el9");
  }, 300_000);

  test("that is deleted may be upgraded again", async () => {
    await restore("kernel", want);
    expect(await host.shell.sh("dnf versionlock list 2>/dev/null")).not.toContain("kernel-core");
  }, 300_000);

  test("that no repository has: neither the lock nor the install is taken for done", async () => {
    const none = { release: "9.9.9-1.el9.x86_64", packages: ["kernel-core-9.9.9-1.el9.x86_64"] };
    await expect(up("kernel", none)).rejects.toThrow(/kernel-core-9\.9\.9-1\.el9\.x86_64/);
  }, 300_000);
});

describe("module options", () => {
  const want = { options: [{ module: "vfio_pci", option: "disable_idle_d3", value: "1" }], load: [] };
  const held = (release: string) =>
    host.shell.sh(`lsinitrd /boot/initrd.img-${release} etc/modprobe.d/teeup.conf 2>/dev/null || true`);

  test("are in the initramfs of every kernel, made by the real dracut", async () => {
    const { ran } = await up("module-options", want);
    expect(ran).toEqual(["module-options.stage", "module-options.stage-load"]);
    for (const release of [OLD, NEW]) expect(await held(release)).toContain("options vfio_pci disable_idle_d3=1");
    expect((await up("module-options", want)).ran).toEqual([]);
  }, 600_000);

  test("of a run that was killed before dracut: only the initramfs is made again", async () => {
    await host.shell.sh("rm /var/lib/teeup/module-options-initramfs");
    expect((await up("module-options", want)).ran).toEqual(["module-options.initramfs"]);
  }, 600_000);

  test("a dracut that fails leaves the old initramfs, and its stamp is not written", async () => {
    const before = await host.shell.sh(`sha256sum /boot/initrd.img-${NEW}`);
    await host.shell.sh("rm /var/lib/teeup/module-options-initramfs; mv /usr/bin/cpio /usr/bin/cpio.away");
    try {
      await expect(up("module-options", want)).rejects.toThrow(/dracut/);
      expect(await host.shell.sh(`sha256sum /boot/initrd.img-${NEW}`)).toBe(before);
      expect(await host.shell.sh("ls /var/lib/teeup")).not.toContain("module-options-initramfs");
    } finally {
      await host.shell.sh("mv /usr/bin/cpio.away /usr/bin/cpio");
    }
  }, 600_000);

  test("that are deleted leave the initramfs too", async () => {
    await restore("module-options", want);
    expect(await held(NEW)).not.toContain("disable_idle_d3");
  }, 600_000);
});

test("without grubby the command line is not known, and nothing is planned", async () => {
  const look = await run("kernel-cmdline", { present: ["a=1"] }, (reconciler, goal) => reconciler.look(goal));
  expect(look.steps).toEqual([]);
  expect(look.findings.filter(isFailing).map((f) => f.code)).toContain("kernel-cmdline.menu");
}, 60_000);
