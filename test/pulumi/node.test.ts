import { writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import ssh2 from "ssh2";
import type { Twin } from "../../sim/twin.ts";
import { PLATFORMS } from "../e2e/drive.ts";
import { configOf, isFacet, MINUTES, nameOf, ROOT, Site, Stack } from "./harness.ts";

/**
 * The way of one node of each platform through the real Pulumi, from untouched to gone; each test goes on where the last
 * one ended.
 */

/** Three secrets of a node, each given as a person gives it. */
const CANARY = {
  bmc: "canary-Bmc-9f2b71",
  sudo: "canary-Sudo-5d81c3",
  passphrase: "canary-Phrase-e07a64",
};
/** One command of Pulumi takes seconds; on a whole board, and beside other work, more of them. */

/** ssh2 writes one pair in some hundreds so that it cannot be read back: those are thrown away. */
function lockedKeyPair(): { private: string; public: string } {
  for (;;) {
    const pair = ssh2.utils.generateKeyPairSync("ed25519", {
      passphrase: CANARY.passphrase,
      cipher: "aes256-ctr",
      rounds: 4,
    });
    if (!(ssh2.utils.parseKey(pair.private, CANARY.passphrase) instanceof Error))
      return { private: pair.private, public: pair.public.trim() };
  }
}

describe.each(PLATFORMS.map((p) => [p.name, p] as const))("%s", (_name, on) => {
  const { gpus = 1, switches = 0 } = on.twin;
  /** Everything that anybody could read of what was run. */
  const seen: string[] = [];

  let site: Site;
  let twin: Twin;
  let stack: Stack;

  beforeAll(async () => {
    site = new Site();
    const keys = lockedKeyPair();
    twin = await site.twin({
      ...on.twin,
      name: "gpu-01",
      authorizedKeys: [keys.public],
      bmcOptions: { password: CANARY.bmc },
    });
    twin.faults.sudoPassword = CANARY.sudo;
    const node = site.node("gpu-01", twin);
    const keyFile = site.path("keys", "locked");
    writeFileSync(keyFile, keys.private, { mode: 0o600 });
    stack = await Stack.create(site, {
      // The default permit.
      config: configOf(
        [{ ...node, ssh: { ...(node["ssh"] as object), keyFile }, guest: { publicKey: keys.public } }],
        "none",
        on.stack,
      ),
      env: { TEEUP_SUDO_PASSWORD: CANARY.sudo, TEEUP_SSH_PASSPHRASE: CANARY.passphrase },
    });
    await stack.secret("teeup:nodes[0].bmc.password", CANARY.bmc);
  }, MINUTES);
  afterAll(() => site.close());

  /** Runs a command and counts what it does to the node. */
  async function counted(command: () => ReturnType<Stack["run"]>) {
    twin.journal.clear();
    const ran = await command();
    const journal = JSON.stringify(twin.journal.entries);
    seen.push(ran.stdout, ran.stderr, journal);
    expect(twin.journal.unmodelled).toEqual([]);
    return { ...ran, ...twin.journal.counts() };
  }

  const plans = async () => {
    const { text, plans } = await stack.plans();
    seen.push(text);
    return plans;
  };

  /** Lines of a plan that are steps, not findings. */
  const steps = (plan: readonly string[] = []) => plan.filter((line) => !/^\[(check|unknown)\]/.test(line));

  describe("an untouched node", () => {
    let whole: readonly string[];

    test(
      "a preview lists every step with its disruption, and changes nothing",
      async () => {
        twin.journal.clear();
        const all = await plans();
        whole = steps(all["gpu-01-plan"]);
        expect(whole.length).toBeGreaterThan(25);
        for (const line of whole) expect(line).toMatch(/^\[(none|service|gpu-reset|guest-stop|reboot)\] \S/);
        expect(whole.filter((line) => line.startsWith("[reboot]"))).toHaveLength(1);
        // The whole plan is that of the parts, and nothing else.
        const parts = Object.entries(all).filter(([name]) => name !== "gpu-01-plan");
        expect(parts.flatMap(([, plan]) => steps(plan)).sort()).toEqual([...whole].sort());
        expect(twin.journal.counts()).toMatchObject({ mutations: 0, reboots: 0, hostExecs: 1 });
      },
      MINUTES,
    );

    test(
      "what a terminal shows is the plan, without the provider's text or the wants of the parts once more",
      async () => {
        const short = await counted(() => stack.preview());
        expect(short).toMatchObject({ status: 0, mutations: 0 });
        // Pulumi cuts long lines.
        for (const line of whole) expect(short.stdout).toContain(line.slice(0, 100));
        const long = await counted(() => stack.preview("--diff"));
        expect(long).toMatchObject({ status: 0, mutations: 0 });
        for (const line of whole) expect(long.stdout).toContain(line.slice(0, 100));
        expect(short.said + long.said).not.toMatch(/__provider|createRequire|\n +at /);
        expect(long.stdout.match(/driverctl/g)?.length).toBeLessThan(6);
      },
      MINUTES,
    );

    test(
      "permit none: up touches nothing, lists what needs more, and says the one command that permits it",
      async () => {
        const { status, stdout, said, ...counts } = await counted(() => stack.up());
        expect(status).not.toBe(0);
        expect(counts).toMatchObject({ mutations: 0, reboots: 0, gpuResets: 0 });
        const error = stdout.slice(stdout.indexOf("Diagnostics:"));
        const refused = whole.filter((line) => !line.startsWith("[none]"));
        expect(refused.length).toBeGreaterThan(2);
        for (const line of refused) expect(error).toContain(line);
        expect(error).toContain("teeup:permit is none; nothing was changed");
        expect(error.match(/next: .*/g)).toEqual(["next: pulumi config set teeup:permit reboot && pulumi up"]);
        expect(said).not.toMatch(/\n +at |unhandled/);
      },
      MINUTES,
    );

    test(
      "permitted: up brings it from BIOS to attested with one restart, and the verdict is an output",
      async () => {
        await stack.set("teeup:permit", "reboot");
        const { status, said, ...counts } = await counted(() => stack.up());
        expect([status, status === 0 ? "" : said]).toEqual([0, ""]);
        expect(counts).toMatchObject({ reboots: on.restarts, gpuResets: gpus + switches });
        expect(counts.mutations).toBeGreaterThan(whole.length);
        expect(await stack.outputs()).toEqual({
          nodes: {
            "gpu-01": {
              attestation: {
                verdict: "pass",
                claims: expect.objectContaining({ gpus, measurements: "success" }),
                ...(switches === 0 ? {} : { switches: `${switches} pass` }),
              },
            },
          },
        });
      },
      MINUTES,
    );
  });

  describe("a node as wanted", () => {
    test(
      "a part takes 2 KB of state on average, also while the plan of its making stands in it",
      async () => {
        const { text, resources } = await stack.export();
        seen.push(text);
        const parts = resources
          .filter(isFacet)
          // Pulumi writes where the checkout lies into every resource several times; that path's length is not ours.
          .map((resource) => JSON.stringify(resource).replaceAll(ROOT, ""));
        expect(parts.length).toBeGreaterThanOrEqual(25);
        const bytes = parts.reduce((sum, part) => sum + Buffer.byteLength(part), 0);
        expect(bytes / parts.length).toBeLessThanOrEqual(2048);
        // Where the program makes the node, and nothing of how TeeUp does.
        for (const part of parts) expect(part).not.toContain("/components/");
        expect(parts.filter((part) => /"sourcePosition":"[^"]*\/stacks\//.test(part))).toHaveLength(parts.length);
      },
      MINUTES,
    );

    test(
      "a second up changes nothing, neither in Pulumi nor on the node",
      async () => {
        const { status, stdout, ...counts } = await counted(() => stack.up());
        expect(status).toBe(0);
        expect(stdout).toMatch(/Resources:\n +\d+ unchanged\n/);
        expect(counts).toMatchObject({ mutations: 0, reboots: 0, hostExecs: 1, guestExecs: 1 });
      },
      MINUTES,
    );

    test.each([
      ["preview", ["preview", "--expect-no-changes"]],
      ["refresh", ["refresh", "--preview-only", "--expect-no-changes"]],
    ])(
      "a clean %s exits 0",
      async (_name, argv) => {
        expect(await counted(() => stack.run(...argv))).toMatchObject({ status: 0, mutations: 0, hostExecs: 1 });
      },
      MINUTES,
    );
  });

  describe("a node that somebody changed", () => {
    /** Drifts that do not touch each other, in the hardware, on the host and in the guest. */
    const DRIFTS = ["packages", "kernel", "module-options", "gpu-tools", "lkca", "gpu-ready-state"];

    test(
      "a preview shows every drift at its resource, and a refresh exits 7",
      async () => {
        for (const drift of DRIFTS) twin.drift(drift);
        twin.journal.clear();
        const drifted = await plans();
        expect(Object.keys(drifted).sort()).toEqual([...DRIFTS.map((d) => `gpu-01-${d}`), "gpu-01-plan"].sort());
        for (const drift of DRIFTS) expect(steps(drifted[`gpu-01-${drift}`])).not.toEqual([]);
        expect(twin.journal.counts().mutations).toBe(0);

        const refresh = await counted(() => stack.run("refresh", "--preview-only", "--expect-no-changes"));
        expect(refresh).toMatchObject({ status: 7, mutations: 0 });
        for (const drift of DRIFTS) expect(refresh.stdout).toMatch(new RegExp(` gpu-01-${drift} update`));
      },
      MINUTES,
    );

    test(
      "up repairs them all",
      async () => {
        const { status, mutations, reboots } = await counted(() => stack.up());
        expect({ status, reboots }).toEqual({ status: 0, reboots: 0 });
        expect(mutations).toBeGreaterThanOrEqual(DRIFTS.length);
        expect(await plans()).toEqual({});
      },
      MINUTES,
    );

    test(
      "what nobody can mend from here is one error with what to do, and no stack",
      async () => {
        twin.drift("attestation-fails");
        const { status, stdout, mutations } = await counted(() => stack.up());
        expect({ status, mutations }).toEqual({ status: 1, mutations: 0 });
        const errors = stdout.match(/gpu-01 · attestation\.\S+: want .*, saw .*\n +next: .*/g) ?? [];
        // One of the GPUs, one of the switches.
        expect(errors).toHaveLength(switches === 0 ? 1 : 2);
        expect(new Set(errors).size).toBe(errors.length);
        expect(stdout).not.toMatch(/\n +at |__provider/);
        seen.push((await stack.export()).text);
        delete twin.faults.attestation;
        expect(await counted(() => stack.up())).toMatchObject({ status: 0, mutations: 0 });
      },
      MINUTES,
    );
  });

  describe("the end", () => {
    test(
      "destroy goes by the permit of today: without the program, which would know the last up's only, nothing is done",
      async () => {
        const last = await counted(() => stack.run("destroy", "--yes", "--skip-preview"));
        expect([last.status === 0, last.mutations]).toEqual([false, 0]);
        expect(last.said).toMatch(/\[destroy\.old-config\]\n +next: PULUMI_RUN_PROGRAM=true pulumi destroy/);
        await stack.set("teeup:permit", "none");
        const none = await counted(() => stack.destroy());
        expect([none.status === 0, none.mutations]).toEqual([false, 0]);
        expect(none.said).toMatch(
          /teeup:permit is none; nothing was changed\. These steps need more: \[permit\.refused\]/,
        );
        await stack.set("teeup:permit", "reboot");
      },
      MINUTES,
    );

    test(
      "destroy undoes what was made and leaves no resource",
      async () => {
        const { status, said, mutations } = await counted(() => stack.destroy());
        expect([status, status === 0 ? "" : said]).toEqual([0, ""]);
        expect(mutations).toBeGreaterThan(5);
        const { files } = twin.host;
        for (const path of [
          "/etc/modprobe.d/teeup.conf",
          "/etc/default/grub.d/50-teeup.cfg",
          "/etc/systemd/system/teeup-vm-cvm0.service",
          "/etc/libvirt/qemu/teeup-vm-cvm0.xml",
          "/var/lib/teeup/vm/cvm0/disk.qcow2",
        ])
          expect([path, files.readIf(path)]).toEqual([path, undefined]);
        expect(files.listIf("/etc/driverctl.d")).toEqual([]);
        expect(twin.node.guest?.machine?.running).toBeUndefined();
        expect((await stack.export()).resources.map(({ urn }) => nameOf(urn))).toEqual([]);
      },
      MINUTES,
    );

    test("the secrets occur nowhere: output, plan, state, errors, journal", () => {
      const text = seen.join("\n");
      expect(text.length).toBeGreaterThan(100_000);
      for (const secret of Object.values(CANARY))
        for (const form of [secret, Buffer.from(secret).toString("base64"), encodeURIComponent(secret)])
          expect([form, text.includes(form)]).toEqual([form, false]);
    });
  });
});
