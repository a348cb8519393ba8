import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { openFleet } from "../../providers/machine/fleet.ts";
import { fingerprint, parseKeys } from "../../providers/machine/host-keys.ts";
import { pinHost, seeHosts } from "../../providers/machine/trust.ts";
import {
  cleanEnv,
  FAST,
  type Host,
  type HostKeyType,
  knownAs,
  stackOf,
  startHost,
  stopHosts,
  tempFolder,
} from "./sshd.ts";

let host: Host;
let other: Host;
const KERNEL = { kernel: { kind: "argv", argv: ["uname", "-r"] } } as const;

beforeAll(async () => {
  [host, other] = await Promise.all([
    startHost({ hostKeys: ["ed25519", "ecdsa", "rsa"] }),
    startHost({ hostKeys: ["rsa"] }),
  ]);
});
afterAll(stopHosts);

/** A known_hosts file with these lines. */
function known(...lines: string[]): string {
  const file = join(tempFolder("known-"), "known_hosts");
  writeFileSync(file, lines.map((line) => `${line}\n`).join(""));
  return file;
}
const line = (type: HostKeyType, of: Host = host, name = knownAs(host)) => `${name} ${of.hostKeys[type]}`;
const print = (key: string) => fingerprint(key.split(" ")[1] ?? "");

async function connect(ssh: Record<string, unknown>, to: Host = host) {
  const before = to.log().length;
  const fleet = openFleet(stackOf(to, ssh), cleanEnv(), FAST);
  try {
    const { kernel } = await fleet.node("gpu-01").host.observe(KERNEL);
    return kernel.kind === "ran" ? "in" : kernel;
  } catch (error) {
    // Refused means: not even a try to log in.
    expect(to.log().slice(before)).not.toMatch(/Accepted|Failed|publickey/);
    return error as Error & { code: string };
  } finally {
    await fleet.close();
  }
}

describe("a host key that is known lets in", () => {
  test.each<[string, () => string]>([
    ["each type alone: ed25519", () => known(line("ed25519"))],
    ["each type alone: ecdsa", () => known(line("ecdsa"))],
    ["each type alone: rsa", () => known(line("rsa"))],
    [
      "beside others of the same name",
      () => known(line("ed25519", other, "elsewhere").replace("undefined", ""), line("rsa", other), line("rsa")),
    ],
    ["in a line of several names", () => known(line("ed25519", host, `gpu-01,${knownAs(host)},10.0.0.1`))],
    ["by a pattern", () => known(line("ed25519", host, `[127.0.0.*]:${host.port}`))],
    [
      "by a hashed name",
      () => {
        const file = known(line("rsa"));
        execFileSync("ssh-keygen", ["-H", "-f", file], { stdio: "ignore" });
        expect(readFileSync(file, "utf8")).not.toContain("127.0.0.1");
        return file;
      },
    ],
  ])("%s", async (_name, file) => {
    expect(await connect({ knownHosts: file() })).toBe("in");
  });

  test.each<HostKeyType>(["ed25519", "ecdsa", "rsa"])("by a pinned fingerprint: %s", async (type) => {
    expect(await connect({ hostKey: print(host.hostKeys[type]), knownHosts: known() })).toBe("in");
  });
});

describe("a host key is refused before logging in", () => {
  test("when nobody has confirmed it", async () => {
    const error = await connect({ knownHosts: known() });
    expect(error).toMatchObject({
      code: "ssh.host-key-unknown",
      message: expect.stringContaining(print(host.hostKeys.ed25519)),
      parts: expect.objectContaining({ node: "gpu-01", next: expect.stringContaining("teeup trust gpu-01") }),
    });
    expect(await connect({ knownHosts: "/none/known_hosts" })).toMatchObject({ code: "ssh.host-key-unknown" });
  });

  test("when it is known for another port only", async () => {
    expect(await connect({ knownHosts: known(line("ed25519", host, "[127.0.0.1]:1")) })).toMatchObject({
      code: "ssh.host-key-unknown",
    });
  });

  test.each<[string, () => string]>([
    ["when another of its type is known", () => known(line("rsa", other))],
    [
      "when one of a type is known that it does not have",
      () => known(line("ed25519", host).replace(host.hostKeys.ed25519, foreignEd25519())),
    ],
  ])("%s", async (_name, file) => {
    expect(await connect({ knownHosts: file() })).toMatchObject({
      code: "ssh.host-key-changed",
      message: expect.stringMatching(/SHA256:\S+, which is not the one that is known .*teeup trust gpu-01/s),
    });
  });

  test("when it only has keys of other types than the known one", async () => {
    expect(await connect({ knownHosts: known(line("ed25519", host, knownAs(other))) }, other)).toMatchObject({
      code: "ssh.host-key-changed",
    });
  });

  test("when another fingerprint is pinned, whatever known_hosts says", async () => {
    const ssh = { hostKey: print(other.hostKeys.rsa), knownHosts: known(line("ed25519")) };
    expect(await connect(ssh)).toMatchObject({
      code: "ssh.host-key-changed",
      message: expect.stringContaining(ssh.hostKey),
    });
  });

  test("when it is revoked, even if it is known or pinned", async () => {
    const file = known(line("ed25519"), `@revoked * ${host.hostKeys.ed25519}`);
    expect(await connect({ knownHosts: file })).toMatchObject({
      code: "ssh.host-key-revoked",
      message: expect.stringContaining(print(host.hostKeys.ed25519)),
    });
    expect(await connect({ knownHosts: file, hostKey: print(host.hostKeys.ed25519) })).toMatchObject({
      code: "ssh.host-key-revoked",
    });
  });

  test("when OpenSSH's RevokedHostKeys has it, or cannot be read", async () => {
    const list = known(host.hostKeys.ed25519);
    const krl = (keys: string) => {
      execFileSync("ssh-keygen", ["-q", "-k", "-f", `${keys}.krl`, keys]);
      return `${keys}.krl`;
    };
    const others = known(other.hostKeys.rsa);
    for (const [file, outcome] of [
      [list, "ssh.host-key-revoked"],
      [krl(list), "ssh.host-key-revoked"],
      ["/none", "ssh.host-key-revoked"],
      [others, "in"],
      [krl(others), "in"],
    ]) {
      const config = join(tempFolder("cfg-"), "config");
      writeFileSync(config, `RevokedHostKeys ${file}\n`);
      const fleet = openFleet(
        stackOf(host, { knownHosts: known(line("ed25519")) }),
        {},
        { ...FAST, sshConfigFile: config },
      );
      const result = await fleet
        .node("gpu-01")
        .host.observe(KERNEL)
        .then(
          () => "in",
          (e) => e.code,
        );
      expect(result).toBe(outcome);
      await fleet.close();
    }
  });

  test("when it is only a certificate authority's", async () => {
    expect(await connect({ knownHosts: known(`@cert-authority ${line("ed25519")}`) })).toMatchObject({
      code: "ssh.host-key-unknown",
      message: expect.stringMatching(/certificate authority is known/),
    });
  });
});

function foreignEd25519(): string {
  const file = join(tempFolder("key-"), "k");
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", file]);
  return readFileSync(`${file}.pub`, "utf8").trim();
}

test("a refused host is not tried again until it is to be looked at anew", async () => {
  const fleet = openFleet(stackOf(host, { knownHosts: known() }), cleanEnv(), FAST);
  const machine = fleet.node("gpu-01").host;
  await machine.observe(KERNEL).catch(() => undefined);
  const before = host.log().length;
  await expect(machine.observe({ other: { kind: "file", path: "/etc/hostname" } })).rejects.toMatchObject({
    code: "ssh.host-key-unknown",
  });
  expect(host.log().length).toBe(before);
  await fleet.close();
});

describe("trust", () => {
  test("shows every key of a host without logging in, and pins what a person confirmed", async () => {
    const knownHosts = known(
      "elsewhere ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
    );
    const stack = stackOf(host, { knownHosts });
    const before = host.log().length;
    const [seen] = await seeHosts(stack, "gpu-01", cleanEnv(), FAST);
    expect(host.log().slice(before)).not.toMatch(/Accepted|Failed|publickey/);
    expect(seen).toMatchObject({ role: "node", name: knownAs(host), verdict: "unknown", file: knownHosts });
    expect(new Set(seen?.keys.map((k) => k.fingerprint))).toEqual(new Set(Object.values(host.hostKeys).map(print)));
    await pinHost(seen!, print(host.hostKeys.rsa));
    expect(
      readFileSync(knownHosts, "utf8")
        .split("\n")
        .map((l) => l.split(" ")[0]),
    ).toEqual(["elsewhere", knownAs(host), ""]);
    expect(await connect({ knownHosts })).toBe("in");
    expect((await seeHosts(stack, "gpu-01", cleanEnv(), FAST))[0]?.verdict).toBe("good");
  });

  test("replaces what was known before, and leaves other lines", async () => {
    const knownHosts = known(`@revoked * ${foreignEd25519()}`, line("rsa", other), `other ${foreignEd25519()}`);
    const [seen] = await seeHosts(stackOf(host, { knownHosts }), "gpu-01", cleanEnv(), FAST);
    expect(seen?.verdict).toBe("changed");
    await pinHost(seen!);
    const text = readFileSync(knownHosts, "utf8");
    expect(text).toMatch(/^@revoked \* /);
    expect(text).toContain("\nother ");
    expect(text).not.toContain(other.hostKeys.rsa.split(" ")[1]);
    expect(await connect({ knownHosts })).toBe("in");
  });

  test("makes known_hosts where there is none, and hashes where OpenSSH would", async () => {
    const folder = tempFolder("trust-");
    const config = join(folder, "config");
    writeFileSync(config, "HashKnownHosts yes\n");
    const knownHosts = join(folder, "new/known_hosts");
    const [seen] = await seeHosts(stackOf(host, { knownHosts }), "gpu-01", {}, { ...FAST, sshConfigFile: config });
    await pinHost(seen!);
    expect(readFileSync(knownHosts, "utf8")).toMatch(/^(\|1\|\S+ \S+ \S+\n){3}$/);
    expect(await connect({ knownHosts })).toBe("in");
  });

  test("refuses a fingerprint that the host does not show, and a revoked key", async () => {
    const knownHosts = known(`@revoked * ${host.hostKeys.ed25519}`);
    const [seen] = await seeHosts(stackOf(host, { knownHosts }), "gpu-01", cleanEnv(), FAST);
    await expect(pinHost(seen!)).rejects.toMatchObject({ code: "ssh.host-key-revoked" });
    const [fresh] = await seeHosts(stackOf(host, { knownHosts: known() }), "gpu-01", cleanEnv(), FAST);
    await expect(pinHost(fresh!, print(other.hostKeys.rsa))).rejects.toMatchObject({ code: "ssh.host-key-changed" });
  });

  test("of a host that cannot be reached says so", async () => {
    await expect(seeHosts(stackOf(host, { port: 1 }), "gpu-01", cleanEnv(), FAST)).rejects.toMatchObject({
      code: "ssh.refused",
    });
    await expect(seeHosts(stackOf(host), "gpu-02", cleanEnv(), FAST)).rejects.toMatchObject({
      code: "config.unknown-node",
    });
  });
});

test("host keys are found in known_hosts lines, .pub files and a console's noise", () => {
  const key = "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
  expect(
    parseKeys(
      [
        `ssh-ed25519 ${key} root@x`,
        `[h]:2 ssh-rsa AAAAB3x= c`,
        `@revoked * ssh-ed25519 ${key}`,
        `@cert-authority *.x ecdsa-sha2-nistp256 AAAAE2==`,
        `<14>Nov 21 cloud-init[1]: ssh-ed25519 ${key} root@cvm0\r`,
        "ssh-ed25519-cert-v01@openssh.com AAAAIHNz",
        "a line without a key",
      ].join("\n"),
    ),
  ).toEqual([
    { mark: "", type: "ssh-ed25519", key },
    { mark: "", type: "ssh-rsa", key: "AAAAB3x=" },
    { mark: "revoked", type: "ssh-ed25519", key },
    { mark: "cert-authority", type: "ecdsa-sha2-nistp256", key: "AAAAE2==" },
    { mark: "", type: "ssh-ed25519", key },
  ]);
});
