import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { execute } from "../../sim/commands/exec.ts";
import type { Machine } from "../../sim/model/machine.ts";
import type { Twin } from "../../sim/twin.ts";
import { startTwin } from "../../sim/twin.ts";
import type { Client } from "../sim/up.ts";
import { clientOf } from "../sim/up.ts";

/** A node that reached its attested GPU, through the real client. */
async function attested(options: Parameters<typeof clientOf>[1] = {}): Promise<{ twin: Twin; client: Client }> {
  const twin = await startTwin({});
  const client = clientOf(twin, options);
  const { error } = await client.up();
  if (error !== undefined) throw error;
  twin.journal.clear();
  return { twin, client };
}

const guestOf = (twin: Twin): Machine => {
  const guest = twin.node.guest?.machine;
  if (guest === undefined) throw new Error("no guest runs");
  return guest;
};
/** Somebody else's hands on a machine. */
function by(machine: Machine, ...argv: string[]): void {
  const { status, stderr } = execute(machine, argv);
  if (status !== 0) throw new Error(`${argv.join(" ")}: ${stderr}`);
}

describe("drift of the GPU, the VM and the guest", () => {
  let twin: Twin;
  let client: Client;
  beforeAll(async () => ({ twin, client } = await attested()));
  afterAll(async () => {
    client.close();
    await twin.stop();
  });

  test("an untouched node shows none", async () => {
    const seen = await client.preview();
    expect([seen.error, seen.planned, seen.failing]).toEqual([undefined, [], []]);
    expect(twin.journal.counts().mutations).toBe(0);
  });

  const host = (f: (m: Machine) => void) => () => f(twin.host);
  const guest = (f: (m: Machine) => void) => () => f(guestOf(twin));
  const VM = "teeup-vm-cvm0.service";
  const cases: readonly [string, () => void, string, readonly string[]][] = [
    [
      "a file of the GPU tool was changed",
      host((m) => m.files.write("/opt/teeup/gpu-admin-tools/nvidia_gpu_tools.py", "print('hi')\n")),
      "gpu-tools.changed fail",
      ["gpu-tools.install"],
    ],
    [
      "the saved binding is gone",
      host((m) => by(m, "rm", "-f", "/etc/driverctl.d/pci-0000:81:00.0")),
      "vfio-binding.not-saved fail",
      ["vfio-binding.save"],
    ],
    [
      "vfio-pci is not loaded at boot",
      host((m) => by(m, "rm", "-f", "/etc/modules-load.d/teeup-vfio.conf")),
      "vfio-binding.modules-load fail",
      ["vfio-binding.modules-load"],
    ],
    [
      "the seed says something else",
      host((m) => m.files.write("/var/lib/teeup/vm/cvm0/seed.id", "0\n")),
      "guest-image.seed fail",
      ["guest-image.seed"],
    ],
    [
      "the VM is disabled",
      host((m) => by(m, "systemctl", "disable", VM)),
      "confidential-vm.enabled fail",
      ["confidential-vm.define"],
    ],
    [
      "the VM's unit was edited",
      host((m) => m.files.write(`/etc/systemd/system/${VM}`, "[Service]\nExecStart=/bin/true\n")),
      "confidential-vm.unit fail",
      ["confidential-vm.define"],
    ],
    [
      "the VM was stopped",
      host((m) => by(m, "systemctl", "stop", VM)),
      "confidential-vm.inactive fail",
      ["confidential-vm.start", "gpu-ready-state.set"],
    ],
    [
      "the VM was stopped and the GPU's mode switched",
      host((m) => {
        by(m, "systemctl", "stop", VM);
        by(
          m,
          "python3",
          "/opt/teeup/gpu-admin-tools/nvidia_gpu_tools.py",
          "--devices",
          "gpus",
          "--set-cc-mode=off",
          "--reset-after-cc-mode-switch",
        );
      }),
      "gpu-cc-mode.mode fail",
      ["gpu-cc-mode.set", "confidential-vm.start", "gpu-ready-state.set"],
    ],
    [
      "the guest's kernel may be upgraded",
      guest((m) => by(m, "apt-mark", "unhold", "linux-image-6.8.0-90-generic")),
      "guest-kernel.held fail",
      ["guest-kernel.hold"],
    ],
    [
      "LKCA was taken out",
      guest((m) => by(m, "rm", "-f", "/etc/modprobe.d/nvidia-lkca.conf")),
      "lkca.config fail",
      ["lkca.configure"],
    ],
    [
      "the driver may be upgraded",
      guest((m) => by(m, "apt-mark", "unhold", "nvidia-utils-580-server")),
      "nvidia-driver.held fail",
      ["nvidia-driver.hold"],
    ],
    [
      "nvidia-persistenced was stopped: its session is lost",
      guest((m) => by(m, "systemctl", "stop", "nvidia-persistenced.service")),
      "nvidia-persistenced.active fail",
      ["nvidia-persistenced.restart-guest", "gpu-ready-state.set"],
    ],
    [
      "the attestation policy was loosened",
      guest((m) => m.files.write("/etc/teeup/attestation/local.rego", "package policy\nnv_match := true\n")),
      "attestation.policy-file fail",
      ["attestation.policy"],
    ],
    [
      "the GPUs were taken out of service",
      guest((m) => by(m, "nvidia-smi", "conf-compute", "-srs", "0")),
      "gpu-ready-state.not-ready fail",
      ["gpu-ready-state.set"],
    ],
  ];

  test.each(cases)("%s", async (_name, inject, finding, steps) => {
    inject();
    const seen = await client.preview();
    expect(seen.failing).toContain(finding);
    const { ran, error } = await client.up();
    expect([error?.message, ran]).toEqual([undefined, steps]);
    const after = await client.preview();
    expect([after.planned, after.failing]).toEqual([[], []]);
    expect(twin.journal.unmodelled).toEqual([]);
  });
});

describe("a running guest is never touched below its permit", () => {
  test("another VM size needs permit guest-stop", async () => {
    const { twin, client } = await attested();
    const larger = clientOf(twin, { settings: { vm: { cpus: 32, memoryGiB: 128, diskGiB: 100 } } });
    const refused = await larger.up({ permit: "gpu-reset" });
    expect(refused.error?.message).toContain("permit.refused");
    expect(twin.journal.counts().mutations).toBe(0);
    const done = await larger.up({ permit: "guest-stop" });
    expect([done.error?.message, done.ran]).toEqual([undefined, ["confidential-vm.restart", "gpu-ready-state.set"]]);
    client.close();
    larger.close();
    await twin.stop();
  });

  test("another CC mode stops the guest, and only when that is permitted", async () => {
    const { twin, client } = await attested();
    const devtools = clientOf(twin, { settings: { gpuMode: "devtools" } });
    const before = await devtools.preview();
    expect(before.planned).toContain("gpu-cc-mode.set guest-stop");
    const refused = await devtools.up({ permit: "gpu-reset", until: "gpu-cc-mode" });
    expect(refused.error?.message).toContain("permit.refused");
    expect(twin.journal.counts().mutations).toBe(0);
    const done = await devtools.up({ permit: "guest-stop", until: "guest-evidence" });
    expect([done.error?.message, done.ran.slice(0, 2)]).toEqual([
      undefined,
      ["gpu-cc-mode.set", "confidential-vm.start"],
    ]);
    // The pinned policy is one for production: a GPU that can be debugged is not asked, and so never set ready.
    const whole = await devtools.up({ permit: "guest-stop" });
    expect(whole.error).toBeUndefined();
    expect(whole.ran).not.toContain("gpu-ready-state.set");
    client.close();
    devtools.close();
    await twin.stop();
  });
});

describe("more than one GPU", () => {
  test("all of them are bound, passed on and attested; one that is asked for by address leaves the other alone", async () => {
    const twin = await startTwin({ gpus: 2 });
    const one = clientOf(twin, { settings: { gpus: ["0000:81:00.0"] } });
    const first = await one.up();
    expect(first.error?.message).toBeUndefined();
    expect(twin.node.guest?.devices).toEqual(["0000:81:00.0"]);
    const all = clientOf(twin);
    const second = await all.up({ permit: "guest-stop" });
    expect(second.error?.message).toBeUndefined();
    expect(twin.node.guest?.devices).toHaveLength(2);
    expect((await all.preview()).failing).toEqual([]);
    one.close();
    all.close();
    await twin.stop();
  });
});

describe("restarts of the guest", () => {
  test("a guest whose GPU may be ready is stopped by permit only, whether or not it is marked", async () => {
    const { twin, client } = await attested();
    by(guestOf(twin), "systemctl", "stop", "nvidia-persistenced.service");
    expect((await client.preview()).planned).toContain("nvidia-persistenced.restart-guest guest-stop");
    expect((await client.up({ permit: "service" })).error?.message).toContain("permit.refused");
    by(guestOf(twin), "rm", "-f", "/var/lib/teeup/in-service");
    expect((await client.up({ permit: "service" })).error?.message).toContain("permit.refused");
    expect((await client.up({ permit: "guest-stop" })).error?.message).toBeUndefined();
    client.close();
    await twin.stop();
  });
});

describe("the known issue: a GPU that a guest used sinks into D3", () => {
  test("without disable_idle_d3 it leaves vfio-pci for the switch, and comes back", async () => {
    const { twin, client } = await attested();
    twin.host.now.modules.get("vfio_pci")?.parameters.set("disable_idle_d3", "N");
    by(twin.host, "systemctl", "stop", "teeup-vm-cvm0.service");
    const devtools = clientOf(twin, { settings: { gpuMode: "devtools" } });
    const done = await devtools.up({ permit: "guest-stop", until: "vfio-binding" });
    const argvs = twin.journal.mutations().map((e) => e.argv.join(" "));
    expect([done.error?.message, done.ran.includes("gpu-cc-mode.set")]).toEqual([undefined, true]);
    expect(argvs.filter((a) => a.startsWith("driverctl"))).toEqual([
      "driverctl --nosave set-override 0000:81:00.0 none",
      "driverctl --nosave set-override 0000:81:00.0 vfio-pci",
    ]);
    client.close();
    devtools.close();
    await twin.stop();
  });
});

describe("attestation fails closed, and the GPU is not set ready", () => {
  const faults = [
    ["nonce", "attestation.nonce"],
    ["ocsp", "attestation.ocsp"],
    ["rim-missing", "attestation.rim"],
    ["measurements", "attestation.overall-false"],
    ["policy", "attestation.policy"],
    ["malformed", "attestation.malformed"],
    ["truncated", "attestation.malformed"],
    ["empty", "attestation.malformed"],
    ["exit-512", "attestation.evidence"],
    ["time-out", "attestation.no-answer"],
  ] as const;
  let twin: Twin;
  let client: Client;
  beforeAll(async () => ({ twin, client } = await attested()));
  afterAll(async () => {
    client.close();
    await twin.stop();
  });

  test.each(faults)("%s", async (fault, code) => {
    by(guestOf(twin), "nvidia-smi", "conf-compute", "-srs", "0");
    twin.faults.attestation = fault;
    const { error, ran } = await client.up();
    delete twin.faults.attestation;
    expect(error?.message).toContain(code);
    expect(ran).toEqual([]);
    const seen = await client.preview();
    expect(seen.failing).toEqual(["gpu-ready-state.not-ready fail"]);
  });
});
