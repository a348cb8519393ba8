import { beforeEach, describe, expect, test } from "@jest/globals";
import { facetNamed } from "../../providers/facets/index.ts";
import { parseGrubCfg } from "../../providers/kit/parse-grub.ts";
import type { Goal } from "../../providers/reconcile.ts";
import { isFailing, Reconciler } from "../../providers/reconcile.ts";
import { downloadSha256, memberSha256 } from "../../sim/model/internet.ts";
import { MILAN } from "../../sim/model/system.ts";
import { nodeGoals } from "../../stacks/profiles/goals.ts";
import { profileByName, resolveProfile, unknowns } from "../../stacks/profiles/resolve.ts";
import { GOOD_BIOS, type HostTwin, hostTwin } from "./host-twin.ts";

const RUN = { permit: "reboot", onProgress: () => undefined, signal: new AbortController().signal } as const;

/** Goals of the host persona of a profile, with every open value as the twin's internet serves it. */
function goalsOf(name: string): Goal[] {
  const profile = profileByName(name);
  const firmware = profile.host.sevFirmware?.value.file;
  const pins = Object.fromEntries(
    unknowns(profile).map((path) => {
      if (path.endsWith("commit")) return [path, "12".repeat(20)];
      if (path === "host.sevFirmware.file.sha256") return [path, downloadSha256(firmware?.url ?? "")];
      if (path === "host.sevFirmware.file.memberSha256")
        return [path, memberSha256(firmware?.url ?? "", firmware?.member ?? "")];
      return [path, "ab".repeat(32)];
    }),
  );
  const settings = {
    gpus: "all",
    gpuMode: "on",
    vm: { cpus: 4, memoryGiB: 8, diskGiB: 20 },
    guest: { user: "teeup", port: 2222 },
  } as const;
  return nodeGoals(resolveProfile(profile, pins), settings).host.map(({ facet, want }) => {
    const found = facetNamed(facet);
    return { facet: found, node: "gpu-01", want: found.want.parse(want) };
  });
}

async function up(twin: HostTwin, goals: readonly Goal[]) {
  const reconciler = new Reconciler(twin.fleet);
  for (const goal of goals) if (goal.facet.pending !== undefined) await reconciler.look(goal);
  const ran: string[] = [];
  const failing: string[] = [];
  for (const goal of goals) {
    const done = await reconciler.reconcile(goal, RUN);
    ran.push(...done.ran);
    failing.push(...done.findings.filter(isFailing).map((f) => f.code));
  }
  await reconciler.close();
  return { ran, failing };
}

/** What a preview says: codes of steps, and of what fails without one. */
async function preview(twin: HostTwin, goals: readonly Goal[]) {
  const reconciler = new Reconciler(twin.fleet);
  const steps: string[] = [];
  const failing: string[] = [];
  const changes = twin.node.host.files.changes;
  for (const goal of goals) {
    const look = await reconciler.look(goal);
    steps.push(...look.steps.map((s) => s.code));
    failing.push(...look.findings.filter(isFailing).map((f) => f.code));
  }
  expect(twin.node.host.files.changes).toBe(changes);
  expect(twin.node.journal.unmodelled).toEqual([]);
  return { steps, failing };
}

const UPSTREAM = goalsOf("snp-upstream");
const SEED = goalsOf("nvidia-du-11462-001-v1.0");

describe.each([
  ["snp-upstream", UPSTREAM, { kernel: "6.8.0-90-generic" }, "6.14.0-37-generic"],
  [
    "nvidia-du-11462-001-v1.0",
    SEED,
    { os: "ubuntu-22.04", kernel: "6.8.0-45-generic", cpu: MILAN, firmware: { major: 1, minor: 49, build: 3 } },
    "5.19.0-rc6-snp-host-d9bd54fea4d2",
  ],
] as const)("host persona of %s on an untouched host", (_name, goals, options, release) => {
  let twin: HostTwin;
  beforeEach(() => {
    twin = hostTwin(options);
  });

  test("a first preview lists every step and writes nothing; up runs just those, with one restart", async () => {
    const first = await preview(twin, goals);
    const { ran, failing } = await up(twin, goals);
    expect(failing).toEqual([]);
    // What can only be known after the restart comes on top.
    expect(ran.filter((code) => !["host-boot.keep", "host-boot.clear"].includes(code))).toEqual(first.steps);
    expect(twin.done.filter((a) => a === "reboot")).toHaveLength(1);
    expect(twin.node.host.now.kernel.release).toBe(release);
    expect(twin.node.journal.unmodelled).toEqual([]);
  });

  test("a second up changes nothing", async () => {
    await up(twin, goals);
    const changes = twin.node.host.files.changes;
    expect(await up(twin, goals)).toEqual({ ran: [], failing: [] });
    expect(twin.node.host.files.changes).toBe(changes);
  });

  test("the next restart, by whomever, boots the same kernel with the same words", async () => {
    await up(twin, goals);
    twin.node.reset("PowerCycle", "bmc");
    twin.node.settle();
    expect(await preview(twin, goals)).toEqual({ steps: [], failing: [] });
  });
});

describe("drift on a provisioned host", () => {
  const drifts: [string, (twin: HostTwin) => void, string[]][] = [
    ["a package is removed", (t) => t.node.host.packages.remove("driverctl"), ["packages.install"]],
    ["a hold is taken off", (t) => exec(t, ["apt-mark", "unhold", "linux-generic"]), ["kernel.hold"]],
    [
      "the drop-in is edited",
      (t) => t.node.host.files.write("/etc/default/grub.d/50-teeup.cfg", "GRUB_DEFAULT=0\n"),
      ["kernel-cmdline.stage"],
    ],
    [
      "somebody follows the web's recipe",
      (t) => {
        t.node.host.files.write("/etc/default/grub", 'GRUB_CMDLINE_LINUX_DEFAULT="amd_iommu=on iommu=pt"\n');
        exec(t, ["update-grub"]);
      },
      ["kernel-cmdline.strip"],
    ],
    [
      "module options are edited",
      (t) => t.node.host.files.write("/etc/modprobe.d/teeup.conf", "options kvm_amd sev_snp=0\n"),
      ["module-options.stage"],
    ],
    ["vfio-pci is unloaded", (t) => exec(t, ["rmmod", "vfio_pci"]), ["module-options.load"]],
    [
      "QEMU is gone",
      (t) => t.node.host.files.remove("/opt/teeup/qemu/bin/qemu-system-x86_64"),
      ["vm-stack.build-qemu"],
    ],
    ["the default entry is another", (t) => exec(t, ["grub-set-default", "0"]), ["host-boot.keep"]],
  ];

  test.each(drifts)("%s: seen by preview, repaired by up without a restart", async (_name, drift, steps) => {
    const twin = hostTwin();
    await up(twin, UPSTREAM);
    drift(twin);
    expect((await preview(twin, UPSTREAM)).steps).toEqual(steps);
    const reboots = twin.done.filter((a) => a === "reboot").length;
    expect((await up(twin, UPSTREAM)).failing).toEqual([]);
    expect(twin.done.filter((a) => a === "reboot")).toHaveLength(reboots);
    expect(await preview(twin, UPSTREAM)).toEqual({ steps: [], failing: [] });
  });

  test("000-17, trap 3: apt brought another kernel and the node restarted into it: held again and restarted back", async () => {
    const twin = hostTwin();
    await up(twin, UPSTREAM);
    const { host } = twin.node;
    exec(twin, ["apt-get", "install", "-y", "linux-image-6.11.0-29-generic"]);
    const { entries } = parseGrubCfg(host.files.read("/boot/grub/grub.cfg"));
    exec(twin, ["grub-set-default", entries["6.11.0-29-generic"] ?? ""]);
    twin.node.reset("PowerCycle", "bmc");
    twin.node.settle();
    expect(host.now.kernel.release).toBe("6.11.0-29-generic");
    expect((await preview(twin, UPSTREAM)).steps).toEqual(["host-boot.restart"]);
    expect((await up(twin, UPSTREAM)).failing).toEqual([]);
    expect(host.now.kernel.release).toBe("6.14.0-37-generic");
  });
});

function exec(twin: HostTwin, argv: readonly string[]): void {
  const { status, stderr } = twin.node.exec(twin.node.host, argv);
  if (status !== 0) throw new Error(`${argv.join(" ")}: ${stderr}`);
}

describe("traps", () => {
  const broken: [string, Record<string, string | number>, string[]][] = [
    ["IOMMU off in the BIOS", { ...GOOD_BIOS, "IOMMU#0196": "Disabled" }, ["snp-ready.iommu-passthrough"]],
    ["SNP off in the BIOS", { ...GOOD_BIOS, "SEV-SNPSupport#01A7": "Disabled" }, ["snp-ready.rmp"]],
    [
      "no RMP memory reserved",
      { ...GOOD_BIOS, "SNPMemory(RMPTable)Coverage#003C": "Disabled" },
      ["snp-ready.rmp-not-reserved"],
    ],
  ];

  test.each(broken)("%s: one restart, then the one finding that says why", async (_name, bios, codes) => {
    const twin = hostTwin({ bios });
    const { failing } = await up(twin, UPSTREAM);
    for (const code of codes) expect(failing).toContain(code);
    expect(new Set(failing.map((code) => code.split(".")[0]))).toEqual(new Set(["snp-ready"]));
    expect(twin.done.filter((a) => a === "reboot")).toHaveLength(1);
    // The next up does not restart for what a restart cannot mend.
    expect((await up(twin, UPSTREAM)).ran).toEqual([]);
    expect(twin.done.filter((a) => a === "reboot")).toHaveLength(1);
  });

  test("001-HOST-45 to 50: a file for another processor is refused, never downloaded", async () => {
    const twin = hostTwin({ os: "ubuntu-22.04", firmware: { major: 1, minor: 49, build: 3 } });
    const { failing } = await up(twin, SEED);
    expect(failing.slice(0, 2)).toEqual(["sev-firmware.processor", "sev-firmware.file"]);
    expect(failing).toContain("snp-ready.firmware-too-old");
    expect(twin.done).not.toContain("job sev-firmware");
  });

  test("a trial kernel that never comes back: the old one runs again, and the next up does not try again by itself", async () => {
    const twin = hostTwin();
    twin.node.faults.brokenKernels = ["6.14.0-37-generic"];
    await expect(up(twin, UPSTREAM)).rejects.toThrow("6.8.0-90-generic runs again");
    expect(twin.node.host.now.kernel.release).toBe("6.8.0-90-generic");
    const second = await up(twin, UPSTREAM);
    expect(second.failing).toContain("host-boot.ineffective");
    expect(twin.done.filter((a) => a === "reboot")).toHaveLength(1);
    twin.node.faults.brokenKernels = [];
    exec(twin, ["rm", "-f", "/var/lib/teeup/restart.json"]);
    expect((await up(twin, UPSTREAM)).failing).toEqual([]);
  });

  test("killed between any two actions: the next up converges with one restart in all", async () => {
    const whole = hostTwin();
    await up(whole, UPSTREAM);
    for (let n = 0; n < whole.done.length; n++) {
      const twin = hostTwin();
      const { host } = twin.fleet.node("gpu-01");
      const { act } = host;
      let left = n;
      Object.assign(host, {
        act: async (...args: Parameters<typeof act>) => {
          if (left-- === 0) throw new Error("killed");
          await act(...args);
        },
      });
      await expect(up(twin, UPSTREAM)).rejects.toThrow("killed");
      Object.assign(host, { act });
      expect([n, (await up(twin, UPSTREAM)).failing]).toEqual([n, []]);
      expect([n, twin.node.journal.reboots]).toEqual([n, whole.node.journal.reboots]);
    }
  });
});

test("delete restores what the host had: no holds, no drop-ins, the next boot without TeeUp's words", async () => {
  const twin = hostTwin();
  const { files } = twin.node.host;
  const before = files.read("/etc/default/grub");
  await up(twin, UPSTREAM);
  const reconciler = new Reconciler(twin.fleet);
  for (const each of [...UPSTREAM].reverse()) await reconciler.undo(each, RUN);
  for (const each of UPSTREAM) expect(await reconciler.undo(each, RUN)).toEqual([]);
  expect(files.read("/etc/default/grub")).toBe(before);
  for (const path of [
    "/etc/default/grub.d/50-teeup.cfg",
    "/etc/modprobe.d/teeup.conf",
    "/etc/modules-load.d/teeup.conf",
  ])
    expect([path, files.exists(path)]).toEqual([path, false]);
  expect(twin.node.exec(twin.node.host, ["apt-mark", "showhold"]).stdout).toBe("");
  expect(files.read("/boot/grub/grub.cfg")).not.toContain("disable_idle_d3");
});
