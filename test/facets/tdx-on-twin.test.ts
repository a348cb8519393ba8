import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { execute } from "../../sim/commands/exec.ts";
import type { Machine } from "../../sim/model/machine.ts";
import { startTwin, type Twin, type TwinOptions } from "../../sim/twin.ts";
import { type Client, clientOf } from "../sim/up.ts";

type Settings = NonNullable<NonNullable<Parameters<typeof clientOf>[1]>["settings"]>;
interface Node {
  readonly twin: Twin;
  readonly client: Client;
}

/** What the twin's PCCS lacks for good: a person brings Intel's key. */
const USUAL = ["quote-service.api-key warn"];
const TOOL = "/opt/teeup/gpu-admin-tools/nvidia_gpu_tools.py";
const DOMAIN = "teeup-vm-cvm0";

const start = (options: TwinOptions): Promise<Twin> => startTwin({ tee: "tdx", ...options });

/** A TDX node that reached its attested GPUs, through the real client. */
async function attested(options: TwinOptions = {}, settings: Settings = {}, profile = "tdx-upstream"): Promise<Node> {
  const twin = await start(options);
  const client = clientOf(twin, { profile, settings });
  const { error } = await client.up({ permit: "power-cycle" });
  if (error !== undefined) throw error;
  twin.journal.clear();
  return { twin, client };
}
async function end({ twin, client }: Node): Promise<void> {
  client.close();
  await twin.stop();
}

/** Somebody else's hands on a machine. */
function by(machine: Machine, ...argv: string[]): string {
  const { status, stdout, stderr } = execute(machine, argv);
  if (status !== 0) throw new Error(`${argv.join(" ")}: ${stderr}`);
  return stdout;
}
const guestOf = (twin: Twin): Machine => {
  const guest = twin.node.guest?.machine;
  if (guest === undefined) throw new Error("no guest runs");
  return guest;
};
const ended = (twin: Twin): boolean => twin.node.guest === undefined;
const firstGpu = (twin: Twin): string =>
  twin.host.pci.find((d) => d.vendor === "10de" && d.class.startsWith("0302"))?.bdf ?? "";
const toolRuns = (twin: Twin): string[] =>
  twin.journal
    .mutations()
    .map((e) => e.argv.join(" "))
    .filter((a) => a.includes(TOOL));

type Case = readonly [name: string, inject: (twin: Twin) => void, finding: string, steps: readonly string[]];

/** Seen by a preview that writes nothing, repaired by `up` with just those steps. */
async function repaired({ twin, client }: Node, [, inject, finding, steps]: Case): Promise<void> {
  inject(twin);
  twin.journal.clear();
  const seen = await client.preview();
  expect(seen.failing).toContain(finding);
  expect(twin.journal.counts().mutations).toBe(0);
  const { ran, error } = await client.up({ permit: "guest-stop" });
  expect([error?.message, ran]).toEqual([undefined, steps]);
  const after = await client.preview();
  expect([after.planned, after.failing]).toEqual([[], USUAL]);
  expect(twin.journal.unmodelled).toEqual([]);
}

const edit = (twin: Twin, change: (xml: string) => string): void => {
  const xml = by(twin.host, "virsh", "dumpxml", "--inactive", DOMAIN);
  const edited = change(xml);
  expect(edited).not.toBe(xml);
  twin.host.files.write("/root/edited.xml", edited);
  by(twin.host, "virsh", "define", "/root/edited.xml");
};

const withNvram = (xml: string): string => xml.replace("</os>", "<nvram>/var/lib/libvirt/qemu/nvram/x.fd</nvram></os>");

describe("a TD of libvirt's with one GPU", () => {
  let node: Node;
  beforeAll(async () => {
    node = await attested();
  });
  afterAll(() => end(node));

  test("a second look shows nothing to do, and writes nothing", async () => {
    const seen = await node.client.preview();
    expect([seen.error?.message, seen.planned, seen.failing]).toEqual([undefined, [], USUAL]);
    expect(node.twin.journal.counts().mutations).toBe(0);
    expect(node.twin.journal.unmodelled).toEqual([]);
    expect(node.twin.host.files.exists("/etc/systemd/system/teeup-vm-cvm0.service")).toBe(false);
  });

  const cases: readonly Case[] = [
    [
      "somebody took launchSecurity out of the domain: the running TD stays, the next start is one again",
      (t) => edit(t, (xml) => xml.replace(/<launchSecurity[\s\S]*<\/launchSecurity>\n?/, "")),
      "confidential-vm.unit fail",
      ["confidential-vm.define"],
    ],
    [
      "somebody gave the domain half of its memory",
      (t) => edit(t, (xml) => xml.replaceAll("67108864", "33554432")),
      "confidential-vm.unit fail",
      ["confidential-vm.define"],
    ],
    [
      "somebody took the GPU out of the domain",
      (t) => edit(t, (xml) => xml.replace(/<hostdev[\s\S]*<\/hostdev>\n?/, "")),
      "confidential-vm.unit fail",
      ["confidential-vm.define"],
    ],
    [
      "somebody gave the domain NVRAM, where a firmware's settings outlive a restart",
      (t) => edit(t, withNvram),
      "confidential-vm.unit fail",
      ["confidential-vm.define"],
    ],
    [
      "somebody undefined the running domain: it would be gone at its end",
      (t) => void by(t.host, "virsh", "undefine", DOMAIN),
      "confidential-vm.enabled fail",
      ["confidential-vm.define"],
    ],
    [
      "no autostart",
      (t) => void by(t.host, "virsh", "autostart", "--disable", DOMAIN),
      "confidential-vm.enabled fail",
      ["confidential-vm.define"],
    ],
    [
      "libvirtd no longer starts with the host, and no domain with it",
      (t) => void by(t.host, "systemctl", "disable", "libvirtd.service"),
      "libvirt.enabled fail",
      ["libvirt.start"],
    ],
    [
      "QGS listens no more at its socket",
      (t) => void by(t.host, "rm", "-f", "/run/tdx-qgs/qgs.socket"),
      "quote-service.socket fail",
      ["quote-service.start"],
    ],
    [
      "the domain was destroyed",
      (t) => void by(t.host, "virsh", "destroy", DOMAIN),
      "confidential-vm.inactive fail",
      ["confidential-vm.start", "gpu-ready-state.set"],
    ],
    [
      "edited and started again: it runs otherwise than wanted",
      (t) => {
        edit(t, (xml) => xml.replaceAll("67108864", "33554432"));
        by(t.host, "virsh", "destroy", DOMAIN);
        by(t.host, "virsh", "start", DOMAIN);
      },
      "confidential-vm.argv fail",
      ["confidential-vm.restart", "gpu-ready-state.set"],
    ],
    [
      "nvidia-persistenced was stopped: the guest is restarted, by libvirt",
      (t) => void by(guestOf(t), "systemctl", "stop", "nvidia-persistenced.service"),
      "nvidia-persistenced.active fail",
      ["nvidia-persistenced.restart-guest", "gpu-ready-state.set"],
    ],
  ];
  test.each(cases)("%s", (...args) => repaired(node, args));

  test("a changed domain is no reason to stop a guest below its permit", async () => {
    const larger = clientOf(node.twin, {
      profile: "tdx-upstream",
      settings: { vm: { cpus: 32, memoryGiB: 128, diskGiB: 100 } },
    });
    node.twin.journal.clear();
    const refused = await larger.up({ permit: "gpu-reset" });
    expect(refused.error?.message).toContain("permit.refused");
    expect(node.twin.journal.counts().mutations).toBe(0);
    expect(ended(node.twin)).toBe(false);
    larger.close();
  });

  test("delete shuts the domain down and undefines it; its disk stays", async () => {
    await expect(node.client.undo("confidential-vm", "gpu-reset")).rejects.toThrow("permit.refused");
    expect(ended(node.twin)).toBe(false);
    // libvirt lets such a domain go only with its file.
    edit(node.twin, withNvram);
    expect(await node.client.undo("confidential-vm", "guest-stop")).toEqual(["confidential-vm.remove"]);
    expect(execute(node.twin.host, ["virsh", "dominfo", DOMAIN]).status).toBe(1);
    expect(ended(node.twin)).toBe(true);
    expect(node.twin.host.files.exists("/var/lib/teeup/vm/cvm0/disk.qcow2")).toBe(true);
  });
});

describe("eight GPUs and four NVSwitches", () => {
  const BOARD = { gpus: 8, switches: 4 };
  const PPCIE: Settings = { gpuMode: "ppcie" };
  let node: Node;
  beforeAll(async () => {
    node = await attested(BOARD, PPCIE);
  });
  afterAll(() => end(node));

  test("a second look shows nothing to do; the guest has them all", async () => {
    const seen = await node.client.preview();
    expect([seen.error?.message, seen.planned, seen.failing]).toEqual([undefined, [], USUAL]);
    expect(node.twin.journal.counts().mutations).toBe(0);
    expect(guestOf(node.twin).pci.filter((d) => d.vendor === "10de")).toHaveLength(12);
  });

  const cases: readonly Case[] = [
    [
      "half-switched: somebody took three devices out of Protected PCIe while the guest was down",
      (t) => {
        by(t.host, "virsh", "destroy", DOMAIN);
        const some = t.host.pci.filter((d) => d.vendor === "10de" && /^(0302|0680)/.test(d.class)).map((d) => d.bdf);
        const three = [...some.slice(0, 2), ...some.slice(-1)].join(",");
        by(t.host, "python3", TOOL, "--devices", three, "--set-ppcie-mode=off", "--reset-after-ppcie-mode-switch");
      },
      "gpu-cc-mode.half fail",
      ["gpu-cc-mode.set", "confidential-vm.start", "gpu-ready-state.set"],
    ],
    [
      "an NVSwitch's saved binding is gone",
      (t) => {
        const bdf = t.host.pci.find((d) => d.class.startsWith("0680") && d.vendor === "10de")?.bdf ?? "";
        by(t.host, "rm", "-f", `/etc/driverctl.d/pci-${bdf}`);
      },
      "vfio-binding.not-saved fail",
      ["vfio-binding.save"],
    ],
    [
      "the fabric manager was disabled",
      (t) => void by(guestOf(t), "systemctl", "disable", "nvidia-fabricmanager.service"),
      "fabric-manager.enabled fail",
      ["fabric-manager.start"],
    ],
    [
      "the fabric manager was stopped",
      (t) => void by(guestOf(t), "systemctl", "stop", "nvidia-fabricmanager.service"),
      "fabric-manager.active fail",
      ["fabric-manager.start"],
    ],
    [
      "the fabric manager may be upgraded away from the driver",
      (t) => void by(guestOf(t), "apt-mark", "unhold", "nvidia-fabricmanager-580"),
      "fabric-manager.held fail",
      ["fabric-manager.hold"],
    ],
    [
      "the switches' policy was loosened",
      (t) => guestOf(t).files.write("/etc/teeup/attestation/switch-local.rego", "package policy\nnv_match := true\n"),
      "attestation.policy-file fail",
      ["attestation.policy"],
    ],
  ];
  test.each(cases)("%s", (...args) => repaired(node, args));

  test("some of the GPUs alone are refused, and nothing is touched", async () => {
    const some = clientOf(node.twin, { profile: "tdx-upstream", settings: { ...PPCIE, gpus: [firstGpu(node.twin)] } });
    node.twin.journal.clear();
    const seen = await some.preview();
    expect(seen.failing).toContain("gpu-cc-mode.partial fail");
    expect(seen.planned.filter((step) => step.startsWith("gpu-cc-mode"))).toEqual([]);
    const refused = await some.up({ permit: "guest-stop", until: "gpu-cc-mode" });
    expect(refused.error).toBeDefined();
    expect(toolRuns(node.twin)).toEqual([]);
    expect(ended(node.twin)).toBe(false);
    some.close();
  });

  test("switches that give no evidence keep every GPU out of service", async () => {
    by(guestOf(node.twin), "nvidia-smi", "conf-compute", "-srs", "0");
    node.twin.node.traps.noSwitchRim = true;
    const { error, ran } = await node.client.up();
    node.twin.node.traps.noSwitchRim = false;
    expect([error?.message.includes("attestation.switch-rim"), ran]).toEqual([true, []]);
    expect((await node.client.up()).ran).toEqual(["gpu-ready-state.set"]);
  });

  test("another mode of all twelve is one step with one disruption, refused below its permit", async () => {
    const one = clientOf(node.twin, { profile: "tdx-upstream", settings: { gpus: [firstGpu(node.twin)] } });
    node.twin.journal.clear();
    const seen = await one.preview();
    expect(seen.planned.filter((step) => step.startsWith("gpu-cc-mode"))).toEqual(["gpu-cc-mode.set guest-stop"]);
    expect((await one.up({ permit: "gpu-reset", until: "gpu-cc-mode" })).error?.message).toContain("permit.refused");
    expect(node.twin.journal.counts().mutations).toBe(0);
    const done = await one.up({ permit: "guest-stop" });
    expect([done.error?.message, done.ran.filter((step) => step.startsWith("gpu-cc-mode"))]).toEqual([
      undefined,
      ["gpu-cc-mode.set"],
    ]);
    expect((await one.preview()).failing).toEqual(USUAL);
    one.close();
    // And back: all of them, in one step again.
    const back = await node.client.up({ permit: "guest-stop" });
    expect([back.error?.message, back.ran.filter((step) => step.startsWith("gpu-cc-mode"))]).toEqual([
      undefined,
      ["gpu-cc-mode.set"],
    ]);
  });
});

test("a TD as a systemd unit's QEMU: the recipe of seed 004", async () => {
  const node = await attested({}, {}, "intel-tdx-kvm-coco-20240512");
  const argv = by(node.twin.host, "pgrep", "-a", "-f", `[t]${DOMAIN.slice(1)}`);
  expect(argv).toContain("tdx-guest");
  expect(by(guestOf(node.twin), "cat", "/proc/cmdline")).toContain("clearcpuid=mtrr");
  const seen = await node.client.preview();
  expect([seen.planned, seen.failing]).toEqual([[], USUAL]);
  await end(node);
});
