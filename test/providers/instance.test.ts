import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { z } from "zod";
import type { Action } from "../../providers/kit/action.ts";
import { text } from "../../providers/kit/ask.ts";
import type { Cloud } from "../../providers/kit/cloud.ts";
import { CLOUDS, inCloud } from "../../providers/kit/cloud.ts";
import { StackConfigSchema } from "../../providers/kit/config.ts";
import { TeeUpError } from "../../providers/kit/errors.ts";
import type { Facet, Step } from "../../providers/kit/facet.ts";
import { facet } from "../../providers/kit/facet.ts";
import { valueIfKnown } from "../../providers/kit/facts.ts";
import type { NodeMachines } from "../../providers/kit/machine.ts";
import { openFleet } from "../../providers/machine/fleet.ts";
import { fingerprint } from "../../providers/machine/host-keys.ts";
import { type Goal, Reconciler, type Run } from "../../providers/reconcile.ts";
import { type Bench, bench, NODE } from "../e2e/drive.ts";
import { FakeFleet, type FakeMachine } from "./fake-fleet.ts";

/** A node that is an instance of a cloud: one machine, which is the confidential VM itself. */

const STAGED = "/etc/staged";
const RUNNING = "/run/running";

/** Stages a word, and restarts the guest when the running system lacks it. */
const staged = facet({
  name: "staged",
  type: "Staged",
  on: "guest",
  persona: "vm-admin",
  summary: "",
  sources: [],
  covers: [],
  examples: [],
  want: z.object({ word: z.string() }),
  asks: { staged: { kind: "file", path: STAGED }, running: { kind: "file", path: RUNNING } },
  parse: (a) => ({ staged: valueIfKnown(text(a.staged)), running: valueIfKnown(text(a.running)) }),
  judge: () => [],
  plan: (want, { staged: has, running }): Step[] => [
    ...(has === want.word ? [] : [step("staged.write", [{ do: "write", path: STAGED, content: want.word }])]),
    ...(running === want.word ? [] : [step("staged.restart", [{ do: "restart-guest", timeoutSeconds: 60 }])]),
  ],
  show: (facts) => facts,
}) as unknown as Facet;

function step(code: string, actions: readonly Action[]): Step {
  return { code, title: code, why: "the test wants it", disruption: "none", actions };
}

/** A fleet whose node is an instance: its guest is its host. */
class InstanceFleet extends FakeFleet {
  readonly cloud: Cloud;

  constructor(cloud: Cloud) {
    super(NODE);
    this.cloud = cloud;
  }

  override node(name: string): NodeMachines {
    const { host } = super.node(name);
    return { host, guest: host, cloud: this.cloud };
  }
}

const run: Run = { permit: "reboot", onProgress: () => undefined, signal: new AbortController().signal };
const goal = (word = "x"): Goal => ({ facet: staged, node: NODE, want: { word } });
const errorOf = (promise: Promise<unknown>): Promise<TeeUpError> =>
  promise.then(
    () => Promise.reject(new Error("it resolved")),
    (error: unknown) => (error instanceof TeeUpError ? error : Promise.reject(error)),
  );

describe("a restart that the instance must not do itself", () => {
  test.each([
    ["restart-guest", { do: "restart-guest", timeoutSeconds: 1 }],
    ["reboot", { do: "reboot" }],
  ] as const)("%s is a person's, in the console of Baidu", (_name, action) => {
    expect(inCloud("baidu", step("x", [action]))).toEqual({
      ...step("x", []),
      disruption: "human",
      title: expect.stringContaining(CLOUDS.baidu.console),
      afterOthers: true,
    });
    expect(inCloud("alibaba", step("x", [action]))).toEqual(step("x", [action]));
    expect(inCloud(undefined, step("x", [action]))).toEqual(step("x", [action]));
  });

  test("what else a facet does stays as it is", () => {
    const write = step("x", [{ do: "write", path: "/etc/x", content: "" }]);
    expect(inCloud("baidu", write)).toBe(write);
  });

  test("up does all that comes before it, then stops with what a person is to do; after that it goes on", async () => {
    const fleet = new InstanceFleet("baidu");
    const { host } = fleet.node(NODE) as unknown as { host: FakeMachine };
    const error = await errorOf(new Reconciler(fleet).reconcile(goal(), run));
    expect(error.code).toBe("reconcile.human");
    expect(error.parts.saw).toContain("what could be done before is done");
    expect(error.parts.saw).toContain(CLOUDS.baidu.console);
    expect(host.acted.map((a) => a.do)).toEqual(["write"]);

    // The person restarts the instance: what was staged runs.
    host.files.set(RUNNING, "x");
    const again = new InstanceFleet("baidu");
    Object.assign(again.machines, fleet.machines);
    host.forget();
    host.lockedBy = undefined;
    expect((await new Reconciler(again).reconcile(goal(), run)).ran).toEqual([]);
  });

  test("an instance of Alibaba restarts itself", async () => {
    const fleet = new InstanceFleet("alibaba");
    const { host } = fleet.node(NODE) as unknown as { host: FakeMachine };
    host.onAct = (action) => {
      if (action.do === "restart-guest") host.files.set(RUNNING, host.files.get(STAGED) ?? "");
    };
    expect((await new Reconciler(fleet).reconcile(goal(), run)).ran).toEqual(["staged.write", "staged.restart"]);
  });

  test("a facet of the host below is refused: nobody can look there", async () => {
    const other = { ...staged, on: "host", name: "gpu-cc-mode" } as Facet;
    const error = await errorOf(new Reconciler(new InstanceFleet("baidu")).look({ ...goal(), facet: other }));
    expect([error.code, error.parts.node]).toEqual(["facet.no-host", NODE]);
  });
});

describe("an instance behind real SSH", () => {
  let site: Bench;
  beforeAll(async () => {
    site = await bench({ bmc: false });
  });
  afterAll(() => site.close());

  const configOf = (more: object) => {
    const [node] = site.config.nodes;
    return StackConfigSchema.parse({ ...site.config, nodes: [{ ...node, ...more }] });
  };

  test("guest facets look at the node itself, and its restart is its own", async () => {
    const reconciler = new Reconciler(openFleet(configOf({ cloud: "alibaba" }), site.env, FAST));
    const { boots } = site.twin.host;
    const restart = {
      ...staged,
      plan: () => (site.twin.host.boots > boots ? [] : [step("r", [{ do: "restart-guest", timeoutSeconds: 60 }])]),
    } as Facet;
    const done = await reconciler.reconcile({ ...goal(), facet: restart }, run);
    expect([done.ran, site.twin.host.boots]).toEqual([["r"], boots + 1]);
    expect(site.twin.journal.counts().guestExecs).toBe(0);
    await reconciler.close();
  });

  test("the address and the host keys may come later, from the stack itself", async () => {
    const { hostKey: _, host, ...ssh } = site.config.nodes[0]?.ssh ?? { host: "" };
    const fleet = openFleet(configOf({ cloud: "alibaba", ssh: { ...ssh, knownHosts: "/dev/null" } }), site.env, FAST);
    const reconciler = new Reconciler(fleet);
    reconciler.prefetch([staged]);
    expect(reconciler.located(NODE)).toBe(false);
    expect((await errorOf(reconciler.reach(NODE))).code).toBe("node.no-place");

    const [, key = ""] = site.twin.ssh.knownHosts.split(/ (.*)/);
    const other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHN5bnRoZXRpY3N5bnRoZXRpY3N5bnRoZXRpY3N5bnRo";
    reconciler.locate(NODE, { host, hostKeys: [other] }, [staged]);
    const wrong = await errorOf(reconciler.reach(NODE));
    expect(wrong.message).toContain("ssh.host-key-changed");
    expect(wrong.message).toContain("what the cloud says of the instance");

    reconciler.locate(NODE, { host, hostKeys: [key] }, [staged]);
    await reconciler.reach(NODE);
    await reconciler.close();
  });

  test("a fingerprint that somebody pinned holds, whatever the cloud says of the instance's keys", async () => {
    const { hostKey: _, host, ...ssh } = site.config.nodes[0]?.ssh ?? { host: "" };
    const [, key = ""] = site.twin.ssh.knownHosts.split(/ (.*)/);
    const pinned = (hostKey: string) => {
      const config = configOf({ cloud: "alibaba", ssh: { ...ssh, hostKey, knownHosts: "/dev/null" } });
      const reconciler = new Reconciler(openFleet(config, site.env, FAST));
      reconciler.locate(NODE, { host, hostKeys: [key] }, [staged]);
      return reconciler.reach(NODE).finally(() => reconciler.close());
    };
    await pinned(fingerprint(Buffer.from(key.split(" ")[1] ?? "", "base64")));
    expect((await errorOf(pinned(`SHA256:${"A".repeat(43)}`))).message).toContain("ssh.host-key-changed");
  });

  test("without host keys from anywhere the node is unknown, and refused", async () => {
    const { hostKey: _, host, ...ssh } = site.config.nodes[0]?.ssh ?? { host: "" };
    const fleet = openFleet(configOf({ cloud: "alibaba", ssh: { ...ssh, knownHosts: "/dev/null" } }), site.env, FAST);
    const reconciler = new Reconciler(fleet);
    reconciler.locate(NODE, { host }, [staged]);
    expect((await errorOf(reconciler.reach(NODE))).message).toContain("ssh.host-key-unknown");
    await reconciler.close();
  });
});

test("an address may be left out only where a program makes the node", () => {
  const nodes = [{ name: NODE, ssh: {} }];
  const parsed = StackConfigSchema.safeParse({ nodes });
  expect(parsed.error?.issues.map((i) => i.path.join("."))).toEqual(["nodes.0.ssh.host"]);
  expect(StackConfigSchema.safeParse({ nodes: [{ ...nodes[0], cloud: "alibaba" }] }).success).toBe(true);
});

const FAST = { pollFirstMs: 5, pollMaxMs: 20, silenceMs: 3000 };
