import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { gone, isAlive, type Ran, Site, Stack } from "../pulumi/harness.ts";
import { SPARE } from "./vm/machine.ts";
import { startVm, stopVms, type Vm } from "./vm/vm.ts";

/*
 * A node's life on a real kernel: the real Pulumi, the production provider and its SSH, real GRUB, modprobe, sysfs, VFIO,
 * systemd, apt, dpkg and journal. What stands in for hardware: the card (vm/ids.ts), and QEMU's SNP (stand-in-qemu.pl).
 * The tests follow each other on one machine.
 */
const NODE = "lab-01";
const QEMU = "/opt/lab/qemu-system-x86_64";
const UNIT = "teeup-vm-cvm0.service";
const DROP_IN = "/etc/default/grub.d/50-teeup.cfg";
const WORDS = ["intel_iommu=on", "iommu.strict=1"];
/** Every one of these is minutes where the machine is busy, and seconds where it is not. */
const LONG = 3_600_000;

let site: Site;
let vm: Vm;
let stack: Stack;
let downloads: Server;
/** Answers the guest image's download, once a test lets it. */
let serve: () => void;
let asked: Promise<void>;
let requests = 0;

const fine = (ran: Ran) => expect([ran.status, ran.status === 0 ? "" : ran.said]).toEqual([0, ""]);
const driver = async () =>
  (await vm.run(`readlink /sys/bus/pci/devices/${SPARE}/driver`)).stdout.trim().split("/").at(-1);

/** One after the other: what follows a failed one would only wait and say the same again. */
let failed: string | undefined;
const step =
  <A extends readonly unknown[]>(work: (...args: A) => Promise<void>) =>
  async (...args: A): Promise<void> => {
    if (failed !== undefined) throw new Error(`not tried: ${failed}`);
    failed = "an earlier step failed";
    await work(...args);
    failed = undefined;
  };

beforeAll(async () => {
  site = new Site();
  vm = await startVm();
  const image = site.path("guest.qcow2");
  execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", image, "64M"]);
  const bytes = readFileSync(image);
  const gate = new Promise<void>((resolve) => {
    serve = resolve;
  });
  let came: () => void;
  asked = new Promise<void>((resolve) => {
    came = resolve;
  });
  downloads = createServer((_request, response) => {
    requests++;
    came();
    void gate.then(() => response.end(bytes));
  }).listen(0, "127.0.0.1");
  await once(downloads, "listening");

  await vm.sh(
    `mkdir -p /opt/lab && cat >${QEMU} && chmod 755 ${QEMU}`,
    readFileSync(join(import.meta.dirname, "stand-in-qemu.pl"), "utf8"),
  );
  const publicKey = (await vm.sh("cat /root/.ssh/authorized_keys")).trim();
  stack = await Stack.create(site, {
    name: "lab",
    program: { folder: join(import.meta.dirname, "stack"), project: "teeup" },
    config: {
      "teeup:permit": "reboot",
      // As ops, so that everything goes through sudo.
      "teeup:nodes": [{ ...vm.node(NODE, "ops"), guest: { user: "ops", publicKey } }],
      "lab:machine": JSON.stringify({
        node: NODE,
        publicKey,
        qemu: QEMU,
        image: {
          // QEMU's user network leads to this machine's loopback.
          url: `http://10.0.2.2:${(downloads.address() as AddressInfo).port}/guest.qcow2`,
          sha256: createHash("sha256").update(bytes).digest("hex"),
        },
      }),
    },
  });
}, LONG);

afterAll(async () => {
  await stopVms();
  downloads.closeAllConnections();
  downloads.close();
  await site.close();
});

test(
  "somebody else holds the host's lock: up names them and changes nothing",
  step(async () => {
    const owner = { id: "1", who: "eve@desk", pid: 7, purpose: "pulumi up of rack7", since: "2026-01-01T00:00:00Z" };
    // Held as TeeUp holds it: for as long as somebody keeps the other end open.
    await vm.sh(
      `mkfifo /run/hold; (flock -n /run/teeup.lock tee /run/teeup.owner </run/hold >/dev/null 2>&1 &); (echo '${JSON.stringify(owner)}'; exec sleep infinity) >/run/hold 2>/dev/null & echo $! >/run/holder`,
    );
    await vm.until("cat /run/teeup.owner", ({ stdout }) => stdout.includes("eve@desk"));
    const up = await stack.up("--target", "**packages");
    expect(up.status).not.toBe(0);
    expect(up.said).toContain("eve@desk (pid 7) holds the node since 2026-01-01T00:00:00Z: pulumi up of rack7");
    expect(up.said).toContain("[lock.held]");
    expect((await vm.run("dpkg -s lab-agent")).status).not.toBe(0);
    await vm.sh("pkill -P $(cat /run/holder); kill $(cat /run/holder)");
    await vm.until("flock -n /run/teeup.lock true", ({ status }) => status === 0);
  }),
  LONG,
);

test(
  "a killed up: its job goes on by itself, and the next up waits for that one and ends well, with one restart",
  step(async () => {
    const before = await vm.bootId();
    const killed = stack.start("up", "--yes", "--skip-preview");
    const early = await Promise.race([asked, killed.ended]);
    expect(early?.said).toBeUndefined();
    const provider = killed.provider();
    killed.child.kill("SIGKILL");
    if (provider !== undefined) process.kill(provider, "SIGKILL");
    await killed.ended;
    if (provider !== undefined && isAlive(provider)) await gone(provider);
    const unit = (await vm.sh("systemctl list-units --plain --no-legend 'teeup-*' | cut -d' ' -f1")).trim();
    expect(unit).toMatch(/^teeup-guest-image-\w+\.service$/);

    fine(await stack.run("cancel", "--yes"));
    serve();
    const up = await stack.up();
    fine(up);
    expect(requests).toBe(1);
    expect(await vm.bootId()).not.toBe(before);
    // A clone's console begins empty: each start since then stands on it.
    expect(vm.serial().match(/Linux version /g)).toHaveLength(1);
  }),
  LONG,
);

test(
  "what stands on the machine after up",
  step(async () => {
    const cmdline = (await vm.sh("cat /proc/cmdline")).split(" ");
    expect(cmdline).toEqual(expect.arrayContaining(WORDS));
    expect(await vm.sh(`cat ${DROP_IN}`)).toContain(WORDS.join(" "));
    expect(await vm.sh("grep -c 'intel_iommu=on iommu.strict=1' /boot/grub/grub.cfg")).not.toBe("0");
    expect(await vm.sh("cat /sys/module/vfio_pci/parameters/disable_idle_d3")).toBe("Y");

    expect(await driver()).toBe("vfio-pci");
    expect(await vm.sh("cat /etc/driverctl.d/*")).toBe("vfio-pci");
    expect(await vm.sh(`systemctl is-active ${UNIT}; systemctl is-enabled ${UNIT}`)).toBe("active\nenabled");
    // The nested machine really has the device: the kernel gave it the group and the device's file.
    const group = (await vm.sh(`readlink /sys/bus/pci/devices/${SPARE}/iommu_group`)).split("/").at(-1);
    const files = await vm.sh("ls -l /proc/$(pgrep -x qemu-system-x86)/fd");
    expect(files).toContain(`/dev/vfio/${group}`);
    expect(files).toContain("anon_inode:[vfio-device]");
    expect(files).toContain("/var/lib/teeup/vm/cvm0/disk.qcow2");
    expect(JSON.parse(await vm.sh("qemu-img info -U --output=json /var/lib/teeup/vm/cvm0/disk.qcow2"))).toMatchObject({
      "virtual-size": 8 * 2 ** 30,
    });

    expect((await vm.sh("apt-mark showhold")).split("\n")).toEqual(["ovmf", "qemu-system-x86"]);
    const installed = await vm.sh(
      "dpkg -s lab-agent lab-tool cloud-image-utils ovmf | grep -c '^Status: install ok installed\\|^Status: hold ok installed'",
    );
    expect(installed).toBe("4");
    expect(await vm.sh("journalctl -o cat --no-pager -u 'teeup-guest-image-*' | head -50")).toContain("Image resized");
  }),
  LONG,
);

test(
  "a second up has nothing to do",
  step(async () => {
    const up = await stack.up("--expect-no-changes");
    fine(up);
    expect(up.said).toMatch(/\b9 unchanged/);
    expect((await stack.run("refresh", "--preview-only", "--expect-no-changes")).status).toBe(0);
  }),
  LONG,
);

/** By hand: whose resource must say so, what is done, and all that its plan then holds. */
const DRIFTS = [
  ["confidential-vm", `systemctl stop ${UNIT}`, /start a confidential VM/],
  ["vfio-binding", `echo ${SPARE} >/sys/bus/pci/drivers/vfio-pci/unbind`, /bind 0000:00:10.0 \(no driver\)/],
  ["kernel-cmdline", `sed -i s/iommu.strict=1/iommu.strict=0/ ${DROP_IN}`, /stage kernel command line/],
  ["vm-stack", "apt-mark unhold ovmf", /hold ovmf/],
  ["packages", "apt-get -y remove lab-agent", /install packages lab-agent/],
  ["module-options", "rm /etc/modprobe.d/teeup.conf", /write \/etc\/modprobe.d\/teeup.conf/],
] as const;

test(
  "the unit stopped, the device unbound, the drop-in edited, a hold taken away, a package removed, module options gone, all by hand: preview and refresh say so, each of its own resource and of no other",
  step(async () => {
    for (const [, line] of DRIFTS) await vm.sh(line);
    const names = DRIFTS.map(([resource]) => resource).sort();
    const { plans } = await stack.plans();
    expect(Object.keys(plans).sort()).toEqual(names);
    for (const [resource, , plan] of DRIFTS) expect(plans[resource]?.join("\n")).toMatch(plan);
    const refresh = await stack.run("refresh", "--preview-only", "--expect-no-changes");
    expect(refresh.status).toBe(7);
    const updates = new Set([...refresh.stdout.matchAll(/^ ~ +\S+ (\S+) update /gm)].map(([, name]) => name));
    expect([...updates].sort()).toEqual(names);
  }),
  LONG,
);

test(
  "up mends all of it, without a restart",
  step(async () => {
    const before = await vm.bootId();
    fine(await stack.up());
    expect(await vm.bootId()).toBe(before);
    expect(await driver()).toBe("vfio-pci");
    expect(await vm.sh(`systemctl is-active ${UNIT}`)).toBe("active");
    expect(await vm.sh(`grep -c iommu.strict=1 ${DROP_IN}`)).toBe("1");
    expect((await vm.sh("apt-mark showhold")).split("\n")).toContain("ovmf");
    fine(await stack.up("--expect-no-changes"));
  }),
  LONG,
);

test(
  "after a power cut everything comes back by itself",
  step(async () => {
    await vm.powerCycle();
    await vm.until(`systemctl is-active ${UNIT}`, ({ stdout }) => stdout.trim() === "active");
    expect(await driver()).toBe("vfio-pci");
    expect(await vm.sh("cat /sys/module/vfio_pci/parameters/disable_idle_d3")).toBe("Y");
    fine(await stack.preview("--expect-no-changes"));
  }),
  LONG,
);

test(
  "destroy gives back what up took",
  step(async () => {
    await stack.set("teeup:permit", "guest-stop");
    fine(await stack.destroy());
    expect((await stack.export()).resources).toEqual([]);
    expect(await driver()).toBe("");
    expect((await vm.run("cat /etc/driverctl.d/*")).status).not.toBe(0);
    for (const file of [
      DROP_IN,
      "/etc/modprobe.d/teeup.conf",
      "/etc/modules-load.d/teeup.conf",
      "/etc/modules-load.d/teeup-vfio.conf",
      `/etc/systemd/system/${UNIT}`,
      "/var/lib/teeup/vm/cvm0",
    ])
      expect([file, (await vm.run(`test -e ${file}`)).status]).toEqual([file, 1]);
    expect((await vm.run("grep -c iommu.strict /boot/grub/grub.cfg")).stdout.trim()).toBe("0");
    expect(await vm.sh("apt-mark showhold")).toBe("");
    expect((await vm.run("pgrep -x qemu-system-x86")).status).toBe(1);
    // What is installed stays, as the README says.
    expect((await vm.run("dpkg -s lab-agent")).status).toBe(0);
  }),
  LONG,
);
