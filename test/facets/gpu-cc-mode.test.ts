import { describe, expect, test } from "@jest/globals";
import { gpuCcMode } from "../../providers/facets/gpu-cc-mode.ts";
import { GUEST_HOLDS_GPU } from "../../providers/kit/argv.ts";
import { missing, ok } from "../../providers/kit/ask.ts";
import { execute } from "../../sim/commands/exec.ts";
import { hostTwin } from "./host-twin.ts";
import { argvs, bad, CONTEXT, factsOf, NO_MACHINE, runExamples } from "./run-examples.ts";

runExamples(gpuCcMode);

const want = { gpus: "all", mode: "on" } as const;
const off = gpuCcMode.examples[1]!.answers;
const plan = (answers: typeof off, guestRunning = false) =>
  gpuCcMode.plan?.(want, factsOf(gpuCcMode, answers), { ...CONTEXT, guestRunning });

describe("switching", () => {
  test("looks first whether a guest or a driver took the GPU since, and touches nothing else", () => {
    const steps = plan(off);
    expect(argvs(steps)).toEqual([
      GUEST_HOLDS_GPU.join(" "),
      "grep -q ^nvidia  /proc/modules",
      "git --no-optional-locks -C /opt/teeup/gpu-admin-tools diff --quiet HEAD",
      "python3 -EsB /opt/teeup/gpu-admin-tools/nvidia_gpu_tools.py --devices 0000:81:00.0 --set-cc-mode=on --reset-after-cc-mode-switch",
    ]);
    expect(steps?.[0]?.actions.slice(0, 2)).toMatchObject([{ okStatus: [1] }, { okStatus: [1] }]);
    expect(steps?.[0]?.title).toContain("off → on");
  });

  test("the known issue: without disable_idle_d3 the GPU leaves vfio-pci and comes back", () => {
    expect(argvs(plan({ ...off, idleD3: ok("N\n") })).filter((a) => a.startsWith("driverctl"))).toEqual([
      "driverctl --nosave set-override 0000:81:00.0 none",
      "driverctl --nosave set-override 0000:81:00.0 vfio-pci",
    ]);
    expect(argvs(plan({ ...off, idleD3: missing })).filter((a) => a.startsWith("driverctl"))).toHaveLength(2);
  });

  test("a GPU that is not vfio-pci's is not given to it here", () => {
    const lspci = ok("Slot:\t0000:81:00.0\nClass:\t0302\nVendor:\t10de\nDevice:\t2331\n");
    expect(argvs(plan({ ...off, lspci, idleD3: ok("N\n") })).join()).not.toContain("driverctl");
  });

  test("a running guest makes it a guest-stop that stops the VM first", () => {
    const steps = plan(off, true);
    expect(steps?.map((s) => s.disruption)).toEqual(["guest-stop"]);
    expect(argvs(steps)[0]).toBe("systemctl stop teeup-vm-cvm0.service");
  });

  test("only GPUs that differ, and only wanted ones", () => {
    const two = ["81", "c1"];
    const lspci = ok(two.map((b) => `Slot:\t0000:${b}:00.0\nClass:\t0302\nVendor:\t10de\nDevice:\t2331\n`).join("\n"));
    const line = (b: string, mode: string) => `INFO GPU 0000:${b}:00.0 H100 0x2331 BAR0 0x1 CC mode is ${mode}\n`;
    const answers = { ...off, lspci, modes: ok("", 0, line("81", "on") + line("c1", "off")) };
    expect(argvs(plan(answers)).at(-1)).toContain("--devices 0000:c1:00.0 ");
    const facts = factsOf(gpuCcMode, answers);
    expect(gpuCcMode.plan?.({ gpus: ["0000:81:00.0"], mode: "on" }, facts, CONTEXT)).toEqual([]);
  });
});

describe("while a guest holds the GPU", () => {
  const held = { ...off, held: ok("4711\n"), modes: { kind: "skipped", why: "held by a running guest" } } as const;

  test("nothing is known of the mode, and nothing is planned", () => {
    const facts = factsOf(gpuCcMode, held);
    expect(facts.modes).toEqual({ state: "absent" });
    expect(plan(held)).toEqual([]);
    expect(gpuCcMode.judge(want, facts).map((f) => [f.code, f.level])).toEqual([["gpu-cc-mode.unknown", "unknown"]]);
  });

  test("a unit that says on vouches for its own process only", () => {
    const unitFor = (mode: string) =>
      ok(`ExecStart=qemu -device vfio-pci,host=0000:81:00.0\n[X-TeeUp]\nGpuMode=${mode}\n`);
    const levels = (pid: number, wanted = "on") => {
      const vm = ok(`ActiveState=active\nMainPID=${pid}\n`);
      const facts = factsOf(gpuCcMode, { ...held, unit: unitFor(wanted), vm });
      return [gpuCcMode.judge(want, facts)[0]?.level, gpuCcMode.plan?.(want, facts, CONTEXT)?.length];
    };
    expect(levels(4711)).toEqual(["pass", 0]);
    expect(levels(4711, "")).toEqual(["warn", 0]);
    expect(levels(99)).toEqual(["unknown", 0]);
    expect(levels(0)).toEqual(["unknown", 0]);
    expect(levels(99, "off")).toEqual(["unknown", 0]);
  });

  test("beside a domain that does not run, the unit's process is judged by its unit", () => {
    const unit = ok("ExecStart=qemu -device vfio-pci,host=0000:81:00.0\n[X-TeeUp]\nGpuMode=off\n");
    const live = ok(
      '<domain type="kvm"><metadata><teeup:vm xmlns:teeup="urn:teeup:vm" gpuMode="on"/></metadata><devices><hostdev type="pci"><source><address domain="0x0000" bus="0x81" slot="0x00" function="0x0"/></source></hostdev></devices></domain>',
    );
    const both = { ...held, unit, vm: ok("ActiveState=active\nMainPID=4711\n"), domain: live, live };
    const facts = factsOf(gpuCcMode, { ...both, domainPid: missing });
    expect(facts.vm).toMatchObject({ value: { mode: "off", launcher: "qemu" } });
    expect(bad(gpuCcMode.judge(want, facts))).toEqual(["gpu-cc-mode.mode"]);
    expect(argvs(gpuCcMode.plan?.(want, facts, CONTEXT))[0]).toBe("systemctl stop teeup-vm-cvm0.service");
    expect(factsOf(gpuCcMode, { ...both, domainPid: ok("4711\n") }).vm).toMatchObject({
      value: { launcher: "libvirt" },
    });
  });

  test("only QEMU's process holds a GPU, not one that names the driver; whoever's QEMU it is", () => {
    const { node } = hostTwin();
    const holds = () => execute(node.host, GUEST_HOLDS_GPU).status;
    node.host.spawn(["tail", "-f", "/etc/modprobe.d/vfio-pci.conf"]);
    node.host.spawn(["vim", "/home/a/qemu-vfio-pci,host.txt"]);
    node.host.spawn(["sudo", ...GUEST_HOLDS_GPU]);
    expect(holds()).toBe(1);
    for (const argv of [
      ["/usr/bin/qemu-system-x86_64", "-device", "vfio-pci,host=0000:81:00.0"],
      ["/usr/libexec/qemu-kvm", "-device", '{"driver":"vfio-pci","host":"0000:81:00.0"}'],
      ["/usr/bin/kvm", "-device", "vfio-pci,id=a,host=81:00.0"],
    ]) {
      const pid = node.host.spawn(argv);
      expect([argv[0], holds()]).toEqual([argv[0], 0]);
      node.host.now.processes.delete(pid);
    }
  });

  test("an answer that came all the same changes nothing: the holder counts", () => {
    expect(plan({ ...held, modes: off["modes"]! })).toEqual([]);
  });
});

describe("Protected PCIe", () => {
  const plansOf = (name: string) => {
    const e = gpuCcMode.examples.find((x) => x.name.startsWith(name));
    if (e === undefined) throw new Error(name);
    return gpuCcMode.plan?.(e.want, factsOf(gpuCcMode, e.answers), CONTEXT) ?? [];
  };
  const tools = (name: string) => argvs(plansOf(name)).filter((a) => a.includes("nvidia_gpu_tools.py"));

  test("twelve devices are one step, one command and one disruption", () => {
    const steps = plansOf("eight GPUs and four switches");
    expect(steps.map((s) => [s.disruption, s.title])).toEqual([
      ["gpu-reset", "CC mode of 8 GPUs and 4 NVSwitches: off → ppcie, with a GPU reset"],
    ]);
    const [command, ...more] = tools("eight GPUs and four switches");
    expect(more).toEqual([]);
    expect(/--devices (\S+)/.exec(command ?? "")?.[1]?.split(",")).toHaveLength(12);
    expect(command).toContain("--set-ppcie-mode=on --reset-after-ppcie-mode-switch");
  });

  test("a half-switched fabric: only the rest is switched", () => {
    expect(tools("half-switched")).toHaveLength(1);
    expect(/--devices (\S+)/.exec(tools("half-switched")[0] ?? "")?.[1]?.split(",")).toHaveLength(8);
  });

  test("the fabric stays in Protected PCIe while a wanted GPU is missing", () => {
    const e = gpuCcMode.examples.find((x) => x.name.startsWith("back to CC mode on"));
    const facts = factsOf(gpuCcMode, e?.answers ?? {});
    for (const mode of ["on", "off"] as const)
      expect(gpuCcMode.plan?.({ gpus: ["0000:99:00.0"], mode }, facts, CONTEXT)).toEqual([]);
  });

  test("leaving it: the whole fabric first, then CC mode of what is wanted", () => {
    for (const name of ["back to CC mode on", "one GPU in CC mode on, from a guest"]) {
      const [leave, set, ...more] = tools(name);
      expect(more).toEqual([]);
      expect(/--devices (\S+)/.exec(leave ?? "")?.[1]?.split(",")).toHaveLength(12);
      expect(leave).toContain("--set-ppcie-mode=off");
      expect(set).toContain("--devices 0000:11:00.0 --set-cc-mode=on");
    }
  });
});

test("off is not known of a device that did not say that it is out of Protected PCIe", () => {
  const e = gpuCcMode.examples.find((x) => x.name.startsWith("one switch says nothing"));
  const facts = factsOf(gpuCcMode, e?.answers ?? {});
  for (const mode of ["off", "on"] as const)
    expect(bad(gpuCcMode.judge({ gpus: "all", mode }, facts))).toContain("gpu-cc-mode.ppcie-unread");
});

test("devtools is never taken for on", () => {
  const answers = { ...off, modes: ok("", 0, "INFO GPU 0000:81:00.0 H100 0x2331 BAR0 0x1 CC mode is devtools\n") };
  expect(bad(gpuCcMode.judge(want, factsOf(gpuCcMode, answers)))).toEqual(["gpu-cc-mode.mode"]);
});

test("pgrep missing is not the same as no guest", () => {
  const facts = factsOf(gpuCcMode, { ...off, held: missing });
  expect(facts.held.state).toBe("unknown");
  expect(gpuCcMode.plan?.(want, facts, CONTEXT)).toEqual([]);
  expect(factsOf(gpuCcMode, { ...off, held: NO_MACHINE }).held.state).toBe("unknown");
});
