import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, expect, test } from "@jest/globals";
import { type LabKernel, labKernels } from "./kernel/kernels.ts";
import { destroy, look, type Production, up, type Want } from "./production.ts";
import { freeLock, holdLock, TRAPS } from "./traps.ts";
import { SPARE } from "./vm/machine.ts";
import { ensureImage, startVm, stopVms, type Vm } from "./vm/vm.ts";

/*
 * Things that go wrong on real nodes, on a real kernel with a real apt, GRUB and systemd: what the production code then
 * says, and that the next run ends well once the cause is gone. Each test has a machine of its own.
 */
const NODE = "lab-01";
/** Where the machine is busy a restart takes minutes. */
const LONG = 1_200_000;

// The images' own minutes, where they are not there yet, are no test's.
beforeAll(async () => {
  await ensureImage();
  await labKernels();
}, 2 * LONG);
afterEach(stopVms);
afterAll(stopVms);

const production = (vm: Vm, wants: readonly Want[], more: Partial<Production> = {}): Production => ({
  node: vm.node(NODE),
  wants,
  ...more,
});
const driver = async (vm: Vm, bdf: string) =>
  (await vm.run(`readlink /sys/bus/pci/devices/${bdf}/driver`)).stdout.trim().split("/").at(-1);
const well = { error: undefined, findings: [] };

test.each(TRAPS.map((trap) => [trap.name, trap] as const))(
  "%s",
  async (_name, trap) => {
    const vm = await startVm(trap.vm.options);
    const how = production(vm, trap.wants, { permit: trap.permit ?? "reboot" });
    const go = trap.destroy === true ? destroy : up;
    if (trap.first !== undefined) expect(await up({ ...how, wants: trap.first })).toMatchObject(well);
    await trap.vm.set(vm);

    // Six seconds instead of five minutes of waiting for somebody else's lock.
    const { error } = await go({ ...how, env: { TEEUP_TIMEOUT_SCALE: "0.02" } });
    expect(error?.parts).toMatchObject({
      ...trap.ends,
      node: NODE,
      saw: expect.stringMatching(trap.ends.saw),
      next: expect.stringMatching(trap.ends.next),
    });

    await trap.vm.clear(vm);
    const cured = { ...how, wants: trap.cured ?? trap.wants };
    expect(await go(cured)).toMatchObject(well);
    if (trap.destroy !== true) expect(await look(cured)).toMatchObject({ steps: [], findings: [] });
    if (trap.vm.proof !== undefined) expect(await vm.sh(trap.vm.proof.ask)).toBe(trap.vm.proof.says);
    expect((await go(cured)).ran).toEqual([]);
  },
  LONG,
);

test(
  "what a real kernel says without an IOMMU: drivers_probe and new_id succeed, nothing is bound, only the log tells",
  async () => {
    const vm = await startVm({ iommu: "none" });
    await vm.sh(`modprobe vfio-pci && echo vfio-pci >/sys/bus/pci/devices/${SPARE}/driver_override`);
    expect((await vm.run(`echo ${SPARE} >/sys/bus/pci/drivers_probe`)).status).toBe(0);
    expect(await driver(vm, SPARE)).toBe("");
    await vm.sh(`echo >/sys/bus/pci/devices/${SPARE}/driver_override`);
    expect((await vm.run("echo 10de 2331 >/sys/bus/pci/drivers/vfio-pci/new_id")).status).toBe(0);
    expect(await driver(vm, SPARE)).toBe("");
    expect((await vm.run(`echo ${SPARE} >/sys/bus/pci/drivers/vfio-pci/bind`)).status).not.toBe(0);
    expect(await vm.sh("journalctl -k -b -o cat --no-pager")).toMatch(
      `vfio-pci: probe of ${SPARE} failed with error -22`,
    );

    const { error } = await up(production(vm, [["vfio-binding", { gpus: "all" }]]));
    expect(error?.parts).toMatchObject({ code: "action.failed", subject: "vfio-binding.bind", node: NODE });
    const { findings } = await look(production(vm, [["vfio-binding", { gpus: "all" }]]));
    expect(findings).toMatchObject([{ code: "vfio-binding.iommu-off", hint: expect.stringMatching(/BIOS/) }]);
  },
  LONG,
);

test(
  "a lock that becomes free is waited for, and what waits is said",
  async () => {
    const vm = await startVm();
    await holdLock(vm, "/var/lib/dpkg/lock-frontend");
    let freed: Promise<unknown> | undefined;
    const ended = await up(
      production(vm, [["packages", { names: ["lab-agent"] }]], {
        onProgress: (line) => {
          if (line.includes("waiting: ")) freed ??= freeLock(vm);
        },
      }),
    );
    expect(ended).toMatchObject(well);
    await freed;
    expect(ended.progress.join("\n")).toMatch(/waiting: .*frontend lock was locked by another process with pid \d+/);
    expect(await vm.sh("dpkg-query -W -f '$" + "{db:Status-Status}' lab-agent")).toBe("installed");
  },
  LONG,
);

/** A kernel package fetched over HTTP and installed: a job and a long run of dpkg. */
const kernelWants = (kernel: LabKernel, from: string): readonly Want[] => [
  [
    "kernel-build",
    {
      release: kernel.release,
      base: kernel.release.replace(/-lab-.*$/, ""),
      source: { url: "https://salsa.debian.org/kernel-team/linux.git", commit: "0".repeat(40) },
      version: kernel.version,
      artifact: { from, sha256: kernel.sha256 },
    },
  ],
];

/** Serves one file to the machine, each time only when `gate` is done. */
async function serve(body: Buffer, gate: () => Promise<unknown>) {
  let requests = 0;
  const server = createServer((_request, response) => {
    requests++;
    void gate().then(() => response.end(body));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    // QEMU's user network leads to this machine's loopback.
    url: (name: string) => `http://10.0.2.2:${(server.address() as AddressInfo).port}/${name}`,
    requests: () => requests,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

test(
  "a restart in the middle of dpkg: up says that the connection went, and the next one ends well",
  async () => {
    const { good } = await labKernels();
    const vm = await startVm();
    const file = `/srv/${good.file}`;
    await vm.sh(`base64 -d >${file}`, readFileSync(good.path).toString("base64"));
    const wants: readonly Want[] = [["kernel", { release: good.release, packages: [good.package], file }]];
    const before = await vm.bootId();
    const running = up(production(vm, wants));
    // The package is unpacked and its scripts make the initramfs.
    await vm.until("pgrep -f mkinitramfs", ({ status }) => status === 0);
    await vm.run("systemctl reboot").catch(() => undefined);
    const { error, ran } = await running;
    expect(ran).toEqual([]);
    expect(error?.parts).toMatchObject({
      node: NODE,
      subject: "kernel.install",
      code: expect.stringMatching(/^(ssh\.lost|action\.failed)$/),
      next: expect.stringMatching(/pulumi up again/),
    });

    await vm.booted(before);
    expect(await vm.sh("dpkg --audit")).not.toBe("");
    const again = await up(production(vm, wants));
    expect([again.error?.message, again.findings]).toEqual([undefined, []]);
    expect(await vm.sh("dpkg --audit")).toBe("");
    expect(await vm.sh(`ls /boot/initrd.img-${good.release} && grep -c ${good.release} /boot/grub/grub.cfg`)).toMatch(
      /initrd/,
    );
    expect((await look(production(vm, wants))).steps).toEqual([]);
  },
  LONG,
);

test(
  "sshd is restarted and every session cut in the middle of a job: the job goes on, and up with it",
  async () => {
    const { good } = await labKernels();
    const vm = await startVm();
    const cut = async () => {
      // The main sshd of the new start is none of these.
      await vm
        .run("systemd-run --quiet --collect sh -c 'systemctl restart ssh; pkill -KILL -f \"^sshd: \"'")
        .catch(() => undefined);
      await vm.until("systemctl is-active ssh", ({ stdout }) => stdout.trim() === "active");
    };
    const server = await serve(readFileSync(good.path), cut);
    try {
      const pid = await vm.sh("systemctl show -P MainPID ssh");
      const wants = kernelWants(good, server.url("kernel.deb"));
      const ended = await up(production(vm, wants));
      expect([ended.error?.message, ended.findings]).toEqual([undefined, []]);
      expect(ended.ran).toEqual(["kernel-build.fetch"]);
      expect(await vm.sh("systemctl show -P MainPID ssh")).not.toBe(pid);
      expect(ended.progress.join("\n")).toMatch(/kernel-fetch goes on; the connection does not/);
      // Once: whoever came back found the job that was there.
      expect(server.requests()).toBe(1);
      expect(await vm.sh("journalctl -o cat --no-pager _PID=1 | grep -c 'Started teeup-kernel-fetch-'")).toBe("1");
      expect((await up(production(vm, wants))).ran).toEqual([]);
    } finally {
      server.close();
    }
  },
  LONG,
);

test(
  "the clock jumps by more than a year, forwards in a job and back after it: nothing is done twice, nothing drifts",
  async () => {
    const { good } = await labKernels();
    const vm = await startVm();
    const server = await serve(readFileSync(good.path), () => vm.sh("date -s '+400 days' >/dev/null"));
    try {
      const wants: readonly Want[] = [
        ["packages", { names: ["lab-tool"] }],
        ["module-options", { options: [], load: ["vfio-pci"] }],
        ["vfio-binding", { gpus: "all" }],
        ...kernelWants(good, server.url("kernel.deb")),
      ];
      expect(await up(production(vm, wants))).toMatchObject(well);
      const { digest } = await look(production(vm, wants));
      await vm.sh("date -s '-800 days' >/dev/null");
      expect(await look(production(vm, wants))).toMatchObject({ steps: [], findings: [], digest });
      expect((await up(production(vm, wants))).ran).toEqual([]);
      expect(server.requests()).toBe(1);
      // Taken away with the clock in the past, it is brought back.
      await vm.sh("apt-get -y remove lab-tool && rm -r /var/lib/teeup/artifacts");
      expect(await up(production(vm, wants))).toMatchObject({
        ...well,
        ran: ["packages.install", "kernel-build.fetch"],
      });
      expect(server.requests()).toBe(2);
    } finally {
      server.close();
    }
  },
  LONG,
);
