import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { openFleet } from "../../providers/machine/fleet.ts";
import { execCount, resetExecCount } from "../../providers/machine/ssh.ts";
import { seeHosts } from "../../providers/machine/trust.ts";
import { cleanEnv, FAST, type Host, knownAs, OPS_PASSWORD, stackOf, startHost, stopHosts, tempFolder } from "./sshd.ts";

let host: Host;
const WHO = { who: { kind: "argv", argv: ["id", "-un"] } } as const;
beforeAll(async () => {
  host = await startHost();
});
const agents: ChildProcess[] = [];
afterAll(async () => {
  for (const agent of agents) agent.kill();
  await stopHosts();
});

/** Who one is on the machine, or the error. */
async function connect(ssh: Record<string, unknown>, env: Record<string, string> = {}, on: Host = host) {
  const fleet = openFleet(stackOf(on, ssh), cleanEnv(env), FAST);
  try {
    const { who } = await fleet.node("gpu-01").host.observe(WHO);
    return who.kind === "ran" ? who.stdout.trim() : who;
  } catch (error) {
    return error as Error & { code: string };
  } finally {
    await fleet.close();
  }
}

function keyFile(passphrase = "", authorize = true, on: Host = host): string {
  const file = join(tempFolder("key-"), "id");
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", passphrase, "-f", file]);
  if (authorize) writeFileSync(join(on.dir, "etc/authorized_keys"), readFileSync(`${file}.pub`), { flag: "a" });
  return file;
}

describe("logging in", () => {
  test.each(["rsa", "ecdsa", "ed25519"])("with an %s key", async (type) => {
    const file = join(tempFolder("key-"), "id");
    execFileSync("ssh-keygen", ["-q", "-t", type, "-N", "", "-f", file]);
    writeFileSync(join(host.dir, "etc/authorized_keys"), readFileSync(`${file}.pub`), { flag: "a" });
    expect(await connect({ keyFile: file })).toBe("root");
  });

  test("with a key behind a passphrase, for all nodes or for one", async () => {
    const file = keyFile("open sesame");
    expect(await connect({ keyFile: file }, { TEEUP_SSH_PASSPHRASE: "open sesame" })).toBe("root");
    expect(
      await connect({ keyFile: file }, { TEEUP_SSH_PASSPHRASE: "no", TEEUP_SSH_PASSPHRASE_GPU_01: "open sesame" }),
    ).toBe("root");
    expect(await connect({ keyFile: file })).toMatchObject({
      code: "ssh.key-passphrase",
      message: expect.stringMatching(/no passphrase is set[\s\S]*TEEUP_SSH_PASSPHRASE/),
    });
    const wrong = await connect({ keyFile: file }, { TEEUP_SSH_PASSPHRASE: "close sesame" });
    expect(wrong).toMatchObject({ code: "ssh.key-passphrase", message: expect.stringMatching(/does not open it/) });
    expect(String(wrong)).not.toContain("close sesame");
  });

  test("with the agent, where the key file is encrypted or not named", async () => {
    const file = keyFile("open sesame");
    const socket = join(tempFolder("agent-"), "sock");
    const agent = spawn("ssh-agent", ["-D", "-a", socket]);
    agents.push(agent);
    await once(agent.stdout, "data");
    const askpass = join(tempFolder("ask-"), "pass");
    writeFileSync(askpass, "#!/bin/sh\necho 'open sesame'\n", { mode: 0o755 });
    execFileSync("ssh-add", [file], {
      env: { PATH: process.env["PATH"], SSH_AUTH_SOCK: socket, SSH_ASKPASS: askpass, SSH_ASKPASS_REQUIRE: "force" },
      stdio: "ignore",
    });
    expect(await connect({ keyFile: file }, { SSH_AUTH_SOCK: socket })).toBe("root");
    expect(await connect({ keyFile: undefined }, { SSH_AUTH_SOCK: socket })).toBe("root");
  });

  test("that is refused says who tried what", async () => {
    const file = keyFile("", false);
    const error = await connect({ keyFile: file });
    expect(error).toMatchObject({
      code: "ssh.auth-failed",
      message: expect.stringMatching(
        new RegExp(`gpu-01 · ssh: root@127\\.0\\.0\\.1:${host.port} accepts none of: ${file}[\\s\\S]*next: ssh -v`),
      ),
    });
  });

  test.each([
    ["a key file that is not there", "/none/id", /ENOENT/],
    ["a key file that is no key", "/etc/passwd", /is no private key/],
  ])("with %s", async (_name, file, why) => {
    expect(await connect({ keyFile: file })).toMatchObject({
      code: "ssh.key-file",
      message: expect.stringMatching(why),
    });
  });
});

describe("~/.ssh/config", () => {
  const withConfig = async (text: string, ssh: Record<string, unknown>) => {
    const file = join(tempFolder("cfg-"), "config");
    writeFileSync(file, text);
    return connect(
      { port: undefined, user: undefined, keyFile: undefined, knownHosts: undefined, ...ssh },
      { TEEUP_SSH_CONFIG: file },
    );
  };
  const all = () =>
    `HostName 127.0.0.1\n  Port ${host.port}\n  User root\n  IdentityFile ${host.key}\n  UserKnownHostsFile ${host.dir}/known_hosts\n  GlobalKnownHostsFile none`;
  beforeAll(() => {
    stackOf(host);
  });

  test("says how an alias is reached", async () => {
    expect(await withConfig(`Host rack7-gpu\n  ${all()}\n`, { host: "rack7-gpu" })).toBe("root");
  });

  test("counts less than what the node says", async () => {
    expect(
      await withConfig(`Host rack7-gpu\n  ${all().replace("User root", "User nobody")}\n`, {
        host: "rack7-gpu",
        user: "root",
      }),
    ).toBe("root");
  });

  test("names the host in known_hosts by HostKeyAlias", async () => {
    const file = join(tempFolder("known-"), "known_hosts");
    writeFileSync(file, `the-alias ${host.hostKeys.ed25519}\n`);
    expect(await withConfig(`Host x\n  ${all()}\n  HostKeyAlias the-alias\n`, { host: "x", knownHosts: file })).toBe(
      "root",
    );
  });

  test.each([
    ["that OpenSSH cannot read", "Host x\n  Nonsense yes\n", /Bad configuration option: nonsense/],
    ["with a ProxyCommand", "Host x\n  ProxyCommand nc %h %p\n", /ProxyCommand.*not supported/],
  ])("%s is a clear error", async (_name, text, why) => {
    expect(await withConfig(text, { host: "x" })).toMatchObject({
      code: "config.ssh",
      message: expect.stringMatching(why),
    });
  });

  test("gets no option for a host name", async () => {
    expect(await connect({ host: "-oProxyCommand=touch" })).toMatchObject({ code: "config.ssh" });
  });
});

describe("sudo", () => {
  let withPassword: Host;
  let denied: Host;
  beforeAll(async () => {
    [withPassword, denied] = await Promise.all([startHost({ sudo: "password" }), startHost({ sudo: "denied" })]);
  });
  const ops = { user: "ops" };

  test("makes a login user root", async () => {
    expect(await connect(ops)).toBe("root");
    expect(await connect({ ...ops, sudo: false })).toBe("ops");
  });

  test("gets its password when it asks, and the questions still take one exec", async () => {
    resetExecCount();
    expect(await connect(ops, { TEEUP_SUDO_PASSWORD: OPS_PASSWORD }, withPassword)).toBe("root");
    expect(execCount("gpu-01")).toBe(1);
    expect(
      await connect(ops, { TEEUP_SUDO_PASSWORD: "no", TEEUP_SUDO_PASSWORD_GPU_01: OPS_PASSWORD }, withPassword),
    ).toBe("root");
  });

  test("that asks for no password never sees one", async () => {
    expect(await connect(ops, { TEEUP_SUDO_PASSWORD: OPS_PASSWORD })).toBe("root");
  });

  test("that asks for a password that is not set is one clear error", async () => {
    expect(await connect(ops, {}, withPassword)).toMatchObject({
      code: "sudo.password-needed",
      message: expect.stringMatching(/TEEUP_SUDO_PASSWORD/),
    });
  });

  test("that does not take the password is told once, not three times", async () => {
    const error = await connect(ops, { TEEUP_SUDO_PASSWORD: "wrong-password" }, withPassword);
    expect(error).toMatchObject({ code: "sudo.password-wrong" });
    expect(String(error)).not.toContain("wrong-password");
  });

  test("that the user may not use is one clear error", async () => {
    expect(await connect(ops, { TEEUP_SUDO_PASSWORD: OPS_PASSWORD }, denied)).toMatchObject({ code: "sudo.denied" });
  });

  test("guards the lock as well", async () => {
    const fleet = openFleet(stackOf(withPassword, ops), cleanEnv({ TEEUP_SUDO_PASSWORD: OPS_PASSWORD }), FAST);
    const lock = await fleet.node("gpu-01").host.lock("test");
    const other = openFleet(stackOf(withPassword, ops), cleanEnv({ TEEUP_SUDO_PASSWORD: OPS_PASSWORD }), FAST);
    await expect(other.node("gpu-01").host.lock("other")).rejects.toMatchObject({ code: "lock.held" });
    expect(JSON.parse(readFileSync(join(withPassword.dir, "run/teeup.owner"), "utf8"))).toMatchObject({
      purpose: "test",
    });
    await lock.release();
    await (await other.node("gpu-01").host.lock("other")).release();
    await other.close();
    await fleet.close();
  });
});

describe("a bastion", () => {
  let bastion: Host;
  const both = () => {
    const file = join(tempFolder("known-"), "known_hosts");
    writeFileSync(file, `${knownAs(host)} ${host.hostKeys.ed25519}\n${knownAs(bastion)} ${bastion.hostKeys.ed25519}\n`);
    return file;
  };
  beforeAll(async () => {
    bastion = await startHost();
    writeFileSync(join(bastion.dir, "etc/authorized_keys"), readFileSync(`${host.key}.pub`), { flag: "a" });
  });
  const through = () => ({ bastion: `root@127.0.0.1:${bastion.port}` });

  test("leads to the node", async () => {
    const before = bastion.log().length;
    expect(await connect({ ...through(), knownHosts: both() })).toBe("root");
    expect(bastion.log().slice(before)).toMatch(/Accepted publickey/);
  });

  test("is one connection for all nodes behind it", async () => {
    const before = bastion.log().length;
    const ssh = { ...through(), knownHosts: both() };
    const one = stackOf(host, ssh);
    const stack = { ...one, nodes: ["gpu-01", "gpu-02", "gpu-03"].map((name) => ({ ...one.nodes[0]!, name })) };
    const fleet = openFleet(stack, cleanEnv(), FAST);
    const answers = await Promise.all(fleet.names.map((name) => fleet.node(name).host.observe(WHO)));
    expect(answers.map(({ who }) => who.kind)).toEqual(["ran", "ran", "ran"]);
    expect(
      bastion
        .log()
        .slice(before)
        .match(/Accepted publickey/g),
    ).toHaveLength(1);
    await fleet.close();
  });

  test("comes from ProxyJump, and may have one of its own", async () => {
    const file = join(tempFolder("cfg-"), "config");
    const jump = `HostName 127.0.0.1\n  Port ${bastion.port}\n  User root\n  IdentityFile ${host.key}`;
    writeFileSync(
      file,
      `GlobalKnownHostsFile none\nHost inner\n  ${jump}\n  ProxyJump outer\nHost outer\n  ${jump}\nHost 127.0.0.1\n  ProxyJump inner\n`,
    );
    const before = bastion.log().length;
    expect(await connect({ knownHosts: both() }, { TEEUP_SSH_CONFIG: file })).toBe("root");
    expect(
      bastion
        .log()
        .slice(before)
        .match(/Accepted publickey/g),
    ).toHaveLength(2);
    expect(
      await connect(
        { knownHosts: both(), bastion: `root@127.0.0.1:${bastion.port},inner` },
        { TEEUP_SSH_CONFIG: file },
      ),
    ).toBe("root");
    expect(await connect({ knownHosts: both(), bastion: "none" }, { TEEUP_SSH_CONFIG: file })).toBe("root");
  });

  test("that is its own bastion is a clear error", async () => {
    const file = join(tempFolder("cfg-"), "config");
    writeFileSync(file, "Host a\n  ProxyJump b\nHost b\n  ProxyJump a\n");
    expect(await connect({ bastion: "a" }, { TEEUP_SSH_CONFIG: file })).toMatchObject({
      code: "config.ssh",
      message: expect.stringMatching(/circle/),
    });
  });

  test("whose key is unknown is refused before logging in, and named as the bastion", async () => {
    const file = join(tempFolder("known-"), "known_hosts");
    writeFileSync(file, `${knownAs(host)} ${host.hostKeys.ed25519}\n`);
    const before = bastion.log().length;
    const ssh = { ...through(), knownHosts: file };
    expect(await connect(ssh)).toMatchObject({
      code: "ssh.host-key-unknown",
      message: expect.stringMatching(/gpu-01 · ssh\.bastion/),
    });
    const seen = await seeHosts(stackOf(host, ssh), "gpu-01", cleanEnv(), FAST);
    expect(seen.map(({ role, verdict, name }) => [role, verdict, name])).toEqual([
      ["bastion", "unknown", knownAs(bastion)],
    ]);
    expect(bastion.log().slice(before)).not.toMatch(/Accepted/);
    const behind = await seeHosts(stackOf(host, { ...ssh, knownHosts: both() }), "gpu-01", cleanEnv(), FAST);
    expect(behind.map(({ role, verdict }) => [role, verdict])).toEqual([
      ["bastion", "good"],
      ["node", "good"],
    ]);
  });

  test("does not vouch for the node's key", async () => {
    const file = join(tempFolder("known-"), "known_hosts");
    writeFileSync(file, `${knownAs(bastion)} ${bastion.hostKeys.ed25519}\n`);
    expect(await connect({ ...through(), knownHosts: file })).toMatchObject({
      code: "ssh.host-key-unknown",
      message: expect.stringMatching(/gpu-01 · ssh:/),
    });
  });

  test("behind which nothing listens, or that is no place, is a clear error", async () => {
    expect(await connect({ ...through(), knownHosts: both(), port: 1 })).toMatchObject({
      why: expect.stringMatching(/127\.0\.0\.1:1 through the bastion .*refuses connections/),
    });
    expect(await connect({ bastion: "a b" })).toMatchObject({
      code: "config.ssh",
      message: expect.stringMatching(/"a b" is not \[user@\]host/),
    });
  });
});
