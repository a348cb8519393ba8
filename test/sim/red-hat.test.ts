import { beforeEach, describe, expect, test } from "@jest/globals";
import { facetNamed } from "../../providers/facets/index.ts";
import { type Goal, isFailing, Reconciler } from "../../providers/reconcile.ts";
import { makeRedHat } from "../../sim/model/red-hat.ts";
import { type HostTwin, hostTwin } from "../facets/host-twin.ts";

/*
 * grubby and GRUB's boot loader specification, which no registry has: the same facets on a twin of the Red Hat family.
 * Its grubby follows grubby-bls of 2018 (rhboot/grubby, Fedora's script), read and not run. rpm, dnf and dracut have
 * their own words in test/lab/rpm.test.ts.
 */
const OLD = "6.8.0-90-generic";
const NEW = "6.14.0-37.el9.x86_64";
const RUN = { permit: "reboot", onProgress: () => undefined, signal: new AbortController().signal } as const;

let twin: HostTwin;
beforeEach(() => {
  twin = hostTwin({ kernel: OLD });
  const { host } = twin.node;
  makeRedHat(host);
  host.packages.extra.push({ name: `kernel-core-${NEW}`, version: NEW, kernel: NEW });
  twin.node.reset("PowerCycle", "bmc");
  twin.node.settle();
});

const goal = (facet: string, want: object): Goal => {
  const found = facetNamed(facet);
  return { facet: found, node: "gpu-01", want: found.want.parse(want) };
};
const GOALS = (present = ["swiotlb=4194304,any", "console=ttyS1"]) => [
  goal("kernel", { release: NEW, packages: [`kernel-core-${NEW}`] }),
  goal("kernel-cmdline", { present }),
  goal("module-options", { options: [{ module: "kvm_amd", option: "sev", value: "1" }], load: ["vfio-pci"] }),
  goal("host-boot", {}),
];

async function up(goals: readonly Goal[]) {
  const reconciler = new Reconciler(twin.fleet);
  for (const each of goals) if (each.facet.pending !== undefined) await reconciler.look(each);
  const ran: string[] = [];
  const failing: string[] = [];
  for (const each of goals) {
    const done = await reconciler.reconcile(each, RUN);
    ran.push(...done.ran);
    failing.push(...done.findings.filter(isFailing).map((f) => `${f.code}: ${f.saw}`));
  }
  await reconciler.close();
  return { ran, failing };
}
const exec = (...argv: string[]) => twin.node.exec0(argv);

test("an untouched machine: lock, kernel, command line, options and initramfs, one restart into the kernel on trial", async () => {
  const { ran, failing } = await up(GOALS());
  expect(failing).toEqual([]);
  expect(ran).toEqual([
    ...["kernel.hold", "kernel.install", "kernel-cmdline.stage"],
    ...["module-options.stage", "module-options.stage-load", "module-options.load"],
    ...["host-boot.restart", "host-boot.keep", "host-boot.clear"],
  ]);
  expect(twin.node.host.now.kernel.release).toBe(NEW);
  expect(twin.node.host.now.cmdline).toMatch(/ swiotlb=4194304,any/);
  expect(exec("grubby", "--default-kernel")).toBe(`/boot/vmlinuz-${NEW}\n`);
  expect(twin.done).toContain("grubby --update-kernel=ALL --args=panic=10 swiotlb=4194304,any console=ttyS1");
  expect(twin.done).toContain("dracut --regenerate-all --force");
  expect(twin.node.journal.unmodelled).toEqual([]);
  expect(await up(GOALS())).toEqual({ ran: [], failing: [] });
});

describe("the command line", () => {
  test("a console of somebody else's stays, another value of one word goes and comes back on delete", async () => {
    exec("grubby", "--update-kernel=ALL", "--args=console=tty0 swiotlb=1,any iommu=pt");
    const cmdline = goal("kernel-cmdline", { present: ["swiotlb=4194304,any", "console=ttyS1"] });
    expect((await up([cmdline])).ran).toEqual(["kernel-cmdline.stage"]);
    const args = /args="([^"]*)"/.exec(exec("grubby", "--info=DEFAULT"))?.[1]?.split(" ").sort();
    expect(args).toEqual(
      ["console=tty0", "console=ttyS1", "crashkernel=1G", "panic=10", "ro", "swiotlb=4194304,any"].sort(),
    );
    const reconciler = new Reconciler(twin.fleet);
    await reconciler.undo(cmdline, RUN);
    await reconciler.close();
    const back = /args="([^"]*)"/.exec(exec("grubby", "--info=DEFAULT"))?.[1]?.split(" ").sort();
    expect(back).toEqual(["console=tty0", "crashkernel=1G", "iommu=pt", "ro", "swiotlb=1,any"].sort());
  });

  test("a word that is no longer wanted is taken off, and only that", async () => {
    await up([goal("kernel-cmdline", { present: ["a=1", "b=2"] })]);
    await up([goal("kernel-cmdline", { present: ["a=1"] })]);
    expect(exec("grubby", "--info=ALL")).toContain("a=1");
    expect(exec("grubby", "--info=ALL")).not.toContain("b=2");
  });

  test("a kernel that came later gets the words", async () => {
    await up([goal("kernel-cmdline", { present: ["a=1"] })]);
    exec("dnf", "install", "-y", `kernel-core-${NEW}`);
    expect((await up([goal("kernel-cmdline", { present: ["a=1"] })])).failing.join()).not.toContain("menu");
  });
});

test("a trial that panics falls back to the kernel before, and is not kept", async () => {
  twin.node.faults.brokenKernels = [NEW];
  await expect(up(GOALS())).rejects.toThrow(/trial kernel/);
  expect(twin.node.host.now.kernel.release).toBe(OLD);
  expect(exec("grubby", "--default-kernel")).toBe(`/boot/vmlinuz-${OLD}\n`);
});

test("an apt-only machine's tools are not asked: nothing of Debian is run", async () => {
  await up(GOALS());
  expect(twin.done.filter((action) => /^(apt|dpkg|update-grub|update-initramfs|grub-)/.test(action))).toEqual([]);
});
