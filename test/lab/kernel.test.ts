import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { type LabKernel, type LabKernels, labKernels } from "./kernel/kernels.ts";
import { type Ended, look, type Production, up, type Want } from "./production.ts";
import { startVm, stopVms, type Vm } from "./vm/vm.ts";

/*
 * A kernel package that was really built, installed by the production code: apt and dpkg, initramfs-tools, GRUB and its
 * one-shot entry, the restart. What happened is read from the machine's serial console, which no code of ours writes.
 * The tests follow each other on one machine.
 */
const NODE = "lab-01";
/** Where the machine is busy a restart takes minutes; the build, where there is none yet, some more. */
const LONG = 1_800_000;

let kernels: LabKernels;
let vm: Vm;
/** The kernel that the machine came with. */
let first: string;

const wants = ({ release, package: name, version, sha256, file }: LabKernel): readonly Want[] => [
  // An emulated CPU that is starved misses the ticks that a kernel counts at boot.
  ["kernel-cmdline", { present: ["no_timer_check"] }],
  [
    "kernel-build",
    {
      release,
      base: release.replace(/-lab-.*$/, ""),
      // Of the recipe only; what is installed is the artifact.
      source: { url: "https://salsa.debian.org/kernel-team/linux.git", commit: "0".repeat(40) },
      version,
      artifact: { from: `/srv/${file}`, sha256 },
    },
  ],
  ["kernel", { release, packages: [name], file: `/var/lib/teeup/artifacts/${file}` }],
  ["host-boot", {}],
];
const production = (kernel: LabKernel, more: Partial<Production> = {}): Production => ({
  node: vm.node(NODE),
  wants: wants(kernel),
  ...more,
});
const put = async ({ path, file }: LabKernel) => {
  await vm.sh(`base64 -d >/srv/${file}`, readFileSync(path).toString("base64"));
};
const saved = async () => /saved_entry=(.*)/.exec(await vm.sh("grub-editenv list"))?.[1] ?? "";
const release = () => vm.sh("uname -r");
/** Kernels that began to boot since `mark`, by their own first line. */
const booted = (mark: number) =>
  [
    ...vm
      .serial()
      .slice(mark)
      .matchAll(/Linux version (\S+)/g),
  ].map(([, version]) => version);
const clean = (ended: Ended) => expect([ended.error?.message, ended.findings]).toEqual([undefined, []]);

beforeAll(async () => {
  kernels = await labKernels((line) => process.stderr.write(`${line}\n`));
  vm = await startVm();
  first = await release();
}, LONG);
afterAll(stopVms);

test(
  "a built kernel is installed by dpkg, tried once through GRUB, and made the default only when it has come up",
  async () => {
    const { good } = kernels;
    await put(good);
    const mark = vm.serial().length;
    /** GRUB's default at the moment when the trial kernel is up. */
    let atTrial = "";
    const ended = await up(
      production(good, {
        onDone: async (action) => {
          if (action.do === "reboot") atTrial = await saved();
        },
      }),
    );
    clean(ended);
    expect(ended.ran).toEqual([
      "kernel-cmdline.stage",
      "kernel-build.fetch",
      "kernel.install",
      "kernel.hold",
      "host-boot.restart",
      "host-boot.keep",
      "host-boot.clear",
    ]);
    // One restart, straight into the new kernel, with what brings a panic back.
    expect(booted(mark)).toEqual([good.release]);
    expect(vm.serial().slice(mark)).toMatch(/Command line: BOOT_IMAGE=\/boot\/vmlinuz-\S+-lab-good .*\bpanic=10\b/);
    expect(atTrial).toContain(`gnulinux-${first}-advanced-`);
    expect(await saved()).toContain(`gnulinux-${good.release}-advanced-`);
    expect(await release()).toBe(good.release);
    expect(await vm.sh(`dpkg-query -W -f '\${db:Status-Status} \${Version}' ${good.package}`)).toBe("installed 1");
    expect((await vm.sh("apt-mark showhold")).split("\n")).toContain(good.package);
  },
  LONG,
);

test(
  "a second up does nothing, and a restart by somebody else stays with the new kernel",
  async () => {
    expect((await look(production(kernels.good))).steps).toEqual([]);
    const mark = vm.serial().length;
    await vm.reboot();
    expect(booted(mark)).toEqual([kernels.good.release]);
    const again = await up(production(kernels.good));
    clean(again);
    expect(again.ran).toEqual([]);
  },
  LONG,
);

test(
  "a kernel that panics: the machine comes back with the old one by itself, and the error says so",
  async () => {
    const { good, panics } = kernels;
    await put(panics);
    const mark = vm.serial().length;
    const { error, ran } = await up(production(panics));
    expect(ran).toEqual(["kernel-build.fetch", "kernel.install", "kernel.hold"]);
    expect(error?.parts).toMatchObject({
      code: "boot.trial-failed",
      node: NODE,
      subject: "host-boot.restart",
      saw: `kernel ${panics.release} did not come up; the node runs ${good.release} now`,
      next: expect.stringMatching(/console.*pulumi up again/),
    });
    // Both kernels, in this order, on the console; nobody reset the machine.
    const serial = vm.serial().slice(mark);
    expect(booted(mark)).toEqual([panics.release, good.release]);
    expect(serial).toMatch(/Kernel panic - not syncing: VFS: Unable to mount root fs/);
    expect(serial).toMatch(/Rebooting in 10 seconds\.\./);
    expect(serial.indexOf("Rebooting in 10 seconds")).toBeLessThan(serial.lastIndexOf(`Linux version ${good.release}`));
    expect(await release()).toBe(good.release);
    expect(await saved()).toContain(`gnulinux-${good.release}-advanced-`);
    expect(await vm.sh("grub-editenv list")).not.toMatch(/^next_entry=./m);
  },
  LONG,
);

test(
  "it is not tried again by itself, and wanting the good kernel again ends well",
  async () => {
    const { good, panics } = kernels;
    const mark = vm.serial().length;
    const stuck = await up(production(panics));
    expect(stuck.error).toBeUndefined();
    expect(stuck.findings).toMatchObject([
      {
        code: "host-boot.ineffective",
        saw: expect.stringContaining(panics.release),
        hint: expect.stringMatching(/rm \//),
      },
    ]);
    const back = await up(production(good));
    clean(back);
    expect(back.ran).toEqual(["host-boot.clear"]);
    expect(booted(mark)).toEqual([]);
    expect((await look(production(good))).steps).toEqual([]);
  },
  LONG,
);
