import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { SAMPLE_DONE } from "../../providers/kit/sample-workload.ts";
import { freshKeyPair } from "../../sim/model/keys.ts";
import { serveAgent } from "../../sim/stand-in/agent.ts";
import { commandPlugin } from "../../sim/stand-in/command.ts";
import { type Plugin, type Props, servePlugin } from "../../sim/stand-in/plugin.ts";
import type { Twin } from "../../sim/twin.ts";
import { askedOf } from "../../stacks/profiles/cloud-goals.ts";
import { CLOUD_PROFILES } from "../../stacks/profiles/resolve.ts";
import { pinsFor } from "../e2e/drive.ts";
import { MINUTES, nameOf, Site, Stack } from "./harness.ts";

/**
 * Commands that run once on an attested instance, through the real Pulumi and @pulumi/command. The plugin is a stand-in
 * (sim/stand-in/command.ts says what it does not cover) that logs in over real SSH. Each test goes on where the last ended.
 */
const PROFILE = CLOUD_PROFILES.find((p) => p.name === "baidu-bcc-gen7");
if (PROFILE === undefined) throw new Error("no such profile");
/** A word that a shell would take apart. */
const ODD = "/root/it's $HOME; `odd`";

let site: Site;
let twin: Twin;
let plugin: Plugin;
let agent: { close(): void };
let socket = "";
/** What the plugin was told of where to log in, in order. */
const connections: unknown[] = [];
let stack: Stack;
const config = (instance: object) => {
  const { name, ssh } = site.node("gpu-01", twin);
  return {
    "teeup:platform": "baidu-bcc",
    "teeup:permit": "service",
    "teeup:pins": pinsFor(askedOf(PROFILE, {})),
    "teeup:instance": instance,
    "teeup:nodes": [{ name, ssh }],
  };
};
const COMMANDS = { sampleWorkload: true, commands: [{ name: "hello", argv: ["cat", ODD] }] };

beforeAll(async () => {
  site = new Site();
  twin = await site.twin({ name: "gpu-01", cloud: "baidu", gpus: 8, switches: 4 });
  twin.host.files.write(ODD, "hello\n", { mode: "0644" });
  socket = site.path("agent", "socket");
  agent = await serveAgent(socket, twin.ssh.privateKey ?? "");
  const cloud = commandPlugin(socket);
  const kinds = Object.entries(cloud.kinds).map(([token, kind]) => {
    const create = (inputs: Props) => {
      connections.push(inputs["connection"]);
      return kind.create(inputs);
    };
    return [token, { ...kind, create }] as const;
  });
  plugin = await servePlugin({ ...cloud, kinds: Object.fromEntries(kinds) });
  stack = await Stack.create(site, {
    config: config({}),
    env: { PULUMI_DEBUG_PROVIDERS: plugin.attach, SSH_AUTH_SOCK: socket },
  });
}, 60_000);
afterAll(async () => {
  agent.close();
  plugin.close();
  await site.close();
});

/** Commands that came without TeeUp's batch: those of the plugin. */
const ran = () => twin.journal.entries.filter(({ verb }) => verb === "exec").map(({ argv }) => argv[0]);

async function counted(command: () => ReturnType<Stack["run"]>) {
  twin.journal.clear();
  const { status, said, stdout } = await command();
  expect(twin.journal.unmodelled).toEqual([]);
  return { status, stdout, said: status === 0 ? "" : said, ran: ran() };
}

const outputsOf = async (name: string) =>
  (await stack.export()).resources.find(({ urn }) => nameOf(urn) === name)?.outputs ?? {};

test(
  "without an SSH agent nothing is run, and the error says what to do",
  async () => {
    stack.configure(config(COMMANDS));
    const { SSH_AUTH_SOCK: before, ...rest } = stack.env;
    expect(before).toBe(socket);
    const alone = await Stack.create(site, {
      name: "alone",
      config: config(COMMANDS),
      env: { PULUMI_DEBUG_PROVIDERS: plugin.attach },
    });
    delete alone.env["SSH_AUTH_SOCK"];
    expect(rest["SSH_AUTH_SOCK"]).toBeUndefined();
    const up = await counted(() => alone.up());
    expect(up).toMatchObject({ status: expect.any(Number), ran: [] });
    expect(up.status).not.toBe(0);
    expect(up.stdout).toContain(
      "no SSH agent: commands log in through one, so that no private key stands in the state",
    );
    expect(up.stdout).toContain("ssh-add");
  },
  MINUTES,
);

describe("with an agent", () => {
  test(
    "a preview says that they would run",
    async () => {
      const { plans } = await stack.plans();
      expect(Object.keys(plans)).toEqual(
        expect.arrayContaining(["gpu-01-session", "gpu-01-sample-workload", "gpu-01-hello"]),
      );
    },
    MINUTES,
  );

  test(
    "up runs each of them once, after the attestation, and keeps what they said",
    async () => {
      const up = await counted(() => stack.up());
      expect(up).toMatchObject({ status: 0, said: "", ran: ["python3", "cat"] });
      expect((await outputsOf("gpu-01-sample-workload"))["stdout"]).toContain(SAMPLE_DONE);
      expect(await outputsOf("gpu-01-hello")).toMatchObject({ stdout: "hello" });
    },
    MINUTES,
  );

  test(
    "they take only the host key that was verified, and no secret is an input",
    async () => {
      const { triggers } = await outputsOf("gpu-01-hello");
      const line = twin.ssh.knownHosts.replace(/^\S+ /, "");
      expect(connections).toHaveLength(2);
      for (const connection of connections)
        expect(connection).toEqual({
          host: "127.0.0.1",
          port: twin.ssh.port,
          user: "ops",
          hostKey: line,
          dialErrorLimit: 3,
          // The package's own default.
          perDialTimeout: 15,
        });
      expect(triggers).toEqual([expect.stringMatching(/^[0-9a-f-]{36}$/), "pass"]);
      const { text } = await stack.export();
      expect(text).not.toContain("PRIVATE KEY");
    },
    MINUTES,
  );

  test(
    "a second up runs nothing",
    async () => {
      const up = await counted(() => stack.up());
      expect(up).toMatchObject({ status: 0, ran: [] });
      expect(up.stdout).toMatch(/Resources:\n +\d+ unchanged\n/);
    },
    MINUTES,
  );

  test(
    "after a restart they run again, in the boot that is attested anew",
    async () => {
      twin.node.reset("ForceRestart", "bmc");
      twin.node.settle();
      expect((await stack.plans()).plans["gpu-01-session"]).toEqual([
        "[none] run its commands again: it was restarted",
      ]);
      expect(await counted(() => stack.up())).toMatchObject({ status: 0, said: "", ran: ["python3", "cat"] });
      expect(await counted(() => stack.up())).toMatchObject({ status: 0, ran: [] });
    },
    MINUTES,
  );

  test(
    "an attestation that fails: they do not run",
    async () => {
      twin.node.reset("ForceRestart", "bmc");
      twin.node.settle();
      twin.drift("attestation-fails");
      const up = await counted(() => stack.up());
      expect(up.ran).toEqual([]);
      expect(up.status).not.toBe(0);
      delete twin.faults.attestation;
      expect(await counted(() => stack.up())).toMatchObject({ status: 0, said: "", ran: ["python3", "cat"] });
    },
    MINUTES,
  );

  test(
    "a command that fails fails its resource, with what it printed",
    async () => {
      stack.configure(config({ commands: [{ name: "fails", argv: ["cat", "/nowhere"] }] }));
      const { status, stdout } = await counted(() => stack.up());
      expect(status).not.toBe(0);
      expect(stdout).toContain("cat: /nowhere: No such file or directory");
    },
    MINUTES,
  );

  test(
    "a secret may not be among the words of a command",
    async () => {
      stack.configure(config({ commands: [{ name: "hello", argv: ["cat", ODD] }] }));
      await stack.secret("teeup:instance.commands[0].argv[1]", "hunter2");
      const { status, stdout } = await counted(() => stack.preview());
      expect(status).not.toBe(0);
      expect(stdout).toContain("[config.secret-command]");
      expect(stdout).not.toContain("hunter2");
    },
    MINUTES,
  );
});

describe("the plugin itself", () => {
  const connection = () => {
    const { host, port, user, knownHosts } = twin.ssh;
    return { host, port, user, hostKey: knownHosts.replace(/^\S+ /, "") };
  };
  const kind = () => commandPlugin(socket).kinds["command:remote:Command"]!;

  test("another host key than the given one is refused before anything runs", async () => {
    const [type = ""] = connection().hostKey.split(" ");
    const other = freshKeyPair("other").public.split(" ")[1] ?? "";
    twin.journal.clear();
    const create = kind().create({
      connection: { ...connection(), hostKey: `${type} ${other}` },
      create: "cat /etc/hostname",
    });
    await expect(create).rejects.toThrow("ssh: host key mismatch");
    expect(ran()).toEqual([]);
  });

  test("the package's types say what an input may be", () => {
    expect(kind().check({ create: "true", connexion: {} })).toEqual([
      { property: "connexion", reason: "command:remote:Command has no input of that name" },
      { property: "connection", reason: "command:remote:Command needs it" },
    ]);
    expect(kind().check({ create: ["true"], connection: connection() })).toEqual([
      { property: "create", reason: "a string is wanted, not a list" },
    ]);
  });
});
