import { afterEach, describe, expect, test } from "@jest/globals";
import { downloadSha256 } from "../../sim/model/internet.ts";
import { ALIBABA, ALIBABA_8GPU, BAIDU, type Bench, bench, INSTANCES, look, type Platform, up } from "./drive.ts";

/** Instances of clouds on a twin: from the cloud's image to attested GPUs, by the reconciler over SSH. */
let b: Bench | undefined;
afterEach(async () => {
  await b?.close();
  b = undefined;
});

describe("an untouched instance", () => {
  test.each(INSTANCES.map((p) => [p.name, p] as const))(
    "%s: a preview writes nothing; up goes to attested GPUs; then nothing is left",
    async (_name, on) => {
      b = await bench({}, on);
      const { journal, host } = b.twin;
      const first = await look(b);
      expect(journal.counts()).toMatchObject({ mutations: 0, reboots: 0 });

      const { ran, findings } = await up(b);
      expect(findings).toEqual([]);
      expect(journal.unmodelled).toEqual([]);
      expect(journal.counts().reboots).toBe(on.restarts);
      // Every device keeps the one session that it has had since the cloud gave it.
      expect(journal.counts().gpuResets).toBe(0);
      // Nothing ran that the preview had not shown, but for what follows from it.
      const shown = first.steps.map((s) => s.code);
      expect(ran.filter((code) => !shown.includes(code)).sort()).toEqual(
        [...AFTERWORK, ...(on.restarts > 0 ? ["host-boot.clear"] : [])].sort(),
      );
      const { gpus } = b.twin.node;
      expect([...gpus.values()].map((g) => [g.session, g.ready])).toEqual([...gpus].map(() => ["up", true]));
      const agents = on === BAIDU ? ["bcm-agent", "has-agent"] : ["cloudmonitor"];
      for (const name of agents)
        expect(host.units.properties(`${name}.service`)).toMatchObject({ ActiveState: "active" });

      journal.clear();
      expect((await look(b)).byFacet).toEqual({});
      expect(await up(b)).toEqual({ ran: [], findings: [] });
      expect(journal.counts()).toMatchObject({ mutations: 0, reboots: 0 });
    },
  );
  const AFTERWORK = ["gpu-agents.start", "gpu-ready-state.set"];
});

describe("a TDX quote with Intel's samples", () => {
  const on: Platform = { ...BAIDU, stack: { ...BAIDU.stack, instance: { quote: true } } };
  const QCNL = "/etc/sgx_default_qcnl.conf";

  test("packages, generator and verifier are built, a quote is made once and verified at every look", async () => {
    b = await bench({}, on);
    const { journal, host, node } = b.twin;
    const { ran, findings } = await up(b);
    expect(findings).toEqual([]);
    expect(journal.unmodelled).toEqual([]);
    expect(ran.filter((code) => code.startsWith("tdx-quote."))).toEqual(
      ["packages", "generator", "verifier", "quote", "pccs"].map((what) => `tdx-quote.${what}`),
    );
    const done = journal.entries.flatMap((e) => (e.verb === "job" ? [e.argv.join(" ")] : []));
    // The document's own sums are compared beside SHA-256 (003-17).
    expect(done.filter((line) => line.startsWith("md5sum --check"))).toHaveLength(3);
    expect(done.find((line) => line.includes("sgx_linux_x64_sdk"))).toBeDefined();
    expect(host.files.read(QCNL)).toMatch(
      /"pccs_url": "https:\/\/pccs\.baidubce\.com:8081\/sgx\/certification\/v4\/"[\s\S]*"use_secure_cert": true/,
    );
    // Looking makes no quote: the sample extends two of the TD's measurements each time.
    expect(host.now.rtmrExtends).toBe(1);
    journal.clear();
    expect((await look(b)).byFacet).toEqual({});
    expect(await up(b)).toEqual({ ran: [], findings: [] });
    expect(journal.counts().mutations).toBe(0);
    expect(host.now.rtmrExtends).toBe(1);

    // The next boot is another one: its quote is made again, nothing else is.
    node.reset("ForceRestart", "bmc");
    node.settle();
    const again = await up(b);
    expect(again.ran.filter((code) => code.startsWith("tdx-quote."))).toEqual(["tdx-quote.quote"]);
    expect(again.findings).toEqual([]);
  });

  test("a file whose MD5 is not the document's is not installed", async () => {
    b = await bench({}, on);
    const url =
      "https://download.01.org/intel-sgx/sgx-dcap/1.21/linux/distro/ubuntu22.04-server/sgx_debian_local_repo.tgz";
    const { internet } = b.twin.node;
    const node = internet.get(url);
    if (node?.kind !== "file") throw new Error("no such download");
    internet.serve(url, { ...node, md5: "0".repeat(32) });
    await expect(up(b)).rejects.toThrow(/tdx-quote\.packages: job [\s\S]*sgx_debian_local_repo\.tgz: FAILED/);
    expect(b.twin.host.files.exists("/srv/sgx_debian_local_repo")).toBe(false);
  });

  test("a quote that the platform's certificates do not vouch for fails, and says how to see why", async () => {
    b = await bench({}, on);
    expect((await up(b)).findings).toEqual([]);
    b.twin.node.internet.down = true;
    const { byFacet, findings } = await look(b);
    expect(byFacet["tdx-quote"]).toEqual({ steps: [], findings: ["tdx-quote.quote"] });
    expect(findings.find((f) => f.code === "tdx-quote.quote")?.hint).toContain("QuoteVerificationSample/app -quote");
  });
});

describe("a run that ends in the middle, with the instance", () => {
  /** The change after which the connection breaks and the instance loses its power. */
  const after = [
    "systemctl disable --now cloudmonitor.service",
    "modprobe nvidia",
    "systemctl start nvidia-persistenced.service",
  ];
  test.each(after)("%s: the next run ends with attested GPUs, and the agent runs", async (change) => {
    b = await bench({}, ALIBABA);
    const { journal, faults, node, host } = b.twin;
    const add = journal.add.bind(journal);
    let broken = false;
    journal.add = (entry) => {
      add(entry);
      if (!broken && entry.argv.join(" ") === change) {
        broken = true;
        // Counted down once this entry is through: its answer is never sent.
        faults.dropAfterMutation = 1;
      }
    };
    await expect(up(b)).rejects.toThrow(/ssh\.lost|lock\.held|ssh\./);
    journal.add = add;
    delete faults.dropAfterMutation;
    node.reset("ForceRestart", "bmc");
    node.settle();
    // Nobody but nvidia-persistenced opened the GPU in between.
    expect([...node.gpus.values()].map((g) => g.session)).not.toContain("destroyed");

    expect((await up(b)).findings).toEqual([]);
    expect([...node.gpus.values()].map((g) => [g.session, g.ready])).toEqual([["up", true]]);
    expect(host.units.properties("cloudmonitor.service")).toMatchObject({
      ActiveState: "active",
      UnitFileState: "enabled",
    });
    expect((await look(b)).byFacet).toEqual({});
  });
});

test("a kernel that an upgrade brought has no driver: it is built for it, and the GPU gets a new session", async () => {
  b = await bench({}, ALIBABA);
  expect((await up(b)).findings).toEqual([]);
  const { node, host, journal } = b.twin;
  const kernel = "5.10.134-19.1.al8.x86_64";
  host.packages.extra.push(
    { name: `kernel-core-${kernel}`, version: kernel, kernel },
    { name: `kernel-devel-${kernel}`, version: kernel },
  );
  node.exec0(["dnf", "install", "-y", `kernel-core-${kernel}`, `kernel-devel-${kernel}`]);
  node.exec0(["grubby", `--set-default=/boot/vmlinuz-${kernel}`]);
  node.reset("ForceRestart", "bmc");
  node.settle();
  expect(host.now.kernel.release).toBe(kernel);
  // The words that grubby gave every kernel are there, as is the initramfs with LKCA: only the driver is not.
  const { byFacet } = await look(b);
  expect(byFacet["nvidia-driver"]?.steps).toEqual([
    "nvidia-driver.agents",
    "nvidia-driver.install",
    "nvidia-driver.load",
  ]);
  expect(byFacet["kernel-cmdline"]).toBeUndefined();
  expect(byFacet["lkca"]).toBeUndefined();

  journal.clear();
  expect((await up(b)).findings).toEqual([]);
  expect(journal.unmodelled).toEqual([]);
  expect([...node.gpus.values()].map((g) => [g.session, g.ready])).toEqual([["up", true]]);
  expect((await look(b)).byFacet).toEqual({});
});

test("NSCQ alone is missing, as after a run that ended between two packages: rpm refuses none that it has", async () => {
  b = await bench({}, ALIBABA_8GPU);
  expect((await up(b)).findings).toEqual([]);
  const { node } = b.twin;
  node.exec0(["rpm", "--erase", "libnvidia-nscq-570"]);
  expect((await look(b)).byFacet["fabric-manager"]).toEqual({
    steps: ["fabric-manager.install"],
    findings: ["fabric-manager.nscq"],
  });
  expect((await up(b)).findings).toEqual([]);
  expect((await look(b)).byFacet).toEqual({});
});

test("an installation of CUDA's toolkit that ended in the middle is none, and is made whole by the next up", async () => {
  b = await bench({}, ALIBABA);
  const { internet, host } = b.twin.node;
  const url =
    "https://developer.download.nvidia.com/compute/cuda/12.4.1/local_installers/cuda_12.4.1_550.54.15_linux.run";
  const whole = internet.get(url);
  if (whole?.kind !== "file") throw new Error("no such download");
  internet.serve(url, { ...whole, content: "an installer that finds the disk full\n", sha256: downloadSha256(url) });
  await expect(up(b)).rejects.toThrow(/cuda-toolkit\.install: job/);
  host.files.mkdir("/usr/local/cuda-12.4/bin");
  internet.serve(url, whole);
  expect((await look(b)).byFacet["cuda-toolkit"]?.findings).toContain("cuda-toolkit.version");
  expect((await up(b)).findings).toEqual([]);
  expect(host.files.exists("/usr/local/cuda-12.4.unfinished")).toBe(false);
});
