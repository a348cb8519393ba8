import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import ssh2 from "ssh2";
import { trustNode } from "../../cli/trust.ts";
import { fingerprint } from "../../providers/machine/host-keys.ts";
import { freshKeyPair } from "../../sim/model/keys.ts";

const { Server } = ssh2;
const key = freshKeyPair("host");
const [, blob = ""] = key.public.split(" ");
const right = fingerprint(blob);
const wrong = `SHA256:${"A".repeat(43)}`;

let dir: string;
let server: InstanceType<typeof Server>;
let port: number;
let logins: number;
let said: string;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "teeup-trust-"));
  logins = 0;
  said = "";
  server = new Server({ hostKeys: [key.private] }, (client) => {
    client.on("error", () => undefined);
    client.on("authentication", (context) => {
      logins++;
      context.reject();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  port = (server.address() as AddressInfo).port;
});
afterEach(async () => {
  await new Promise<void>((resolve) => server.close(() => resolve()));
  rmSync(dir, { recursive: true });
});

const knownHosts = () => join(dir, "known_hosts");
const known = () => (existsSync(knownHosts()) ? readFileSync(knownHosts(), "utf8") : "");
const line = () => `[127.0.0.1]:${port} ssh-ed25519 ${blob}\n`;

/** Runs `teeup trust gpu-01` with this typed in. */
function trust(typed: string, options: { yes?: boolean; fingerprint?: string[] } = {}, ssh = ""): Promise<void> {
  const file = join(dir, "Pulumi.x.yaml");
  writeFileSync(
    file,
    `config: { teeup:nodes: [{ name: gpu-01, ssh: { host: 127.0.0.1, port: ${port}, user: ops, knownHosts: ${knownHosts()} ${ssh} } }] }`,
  );
  const input = new PassThrough();
  input.end(typed);
  const output = new PassThrough();
  output.on("data", (chunk: Buffer) => {
    said += chunk.toString();
  });
  return trustNode(
    "gpu-01",
    { file, ...options },
    { input, output },
    { ...process.env, TEEUP_SSH_CONFIG: "/dev/null" },
  );
}

test("shows the fingerprint, asks, and writes the key after a yes, without logging in", async () => {
  await trust("yes\n");
  expect(said).toContain(`node [127.0.0.1]:${port} is not known yet. It shows:\n  ssh-ed25519          ${right}`);
  expect(known()).toBe(line());
  expect(logins).toBe(0);
});

test.each(["no\n", "y\n", "\n", ""])("anything but yes, here %j, writes nothing", async (typed) => {
  await expect(trust(typed)).rejects.toMatchObject({ parts: { code: "trust.declined" } });
  expect(known()).toBe("");
});

test("a host that is trusted already is said to be, and nothing is asked", async () => {
  writeFileSync(knownHosts(), line());
  await trust("");
  expect(said).toContain("is trusted already");
});

test("with the right fingerprint and --yes nothing is asked", async () => {
  await trust("", { yes: true, fingerprint: [wrong, right] });
  expect(known()).toBe(line());
});

test("a wrong fingerprint is refused whatever else is said", async () => {
  await expect(trust("yes\n", { fingerprint: [wrong] })).rejects.toMatchObject({
    parts: { code: "ssh.host-key-changed" },
  });
  await expect(trust("", { yes: true, fingerprint: [wrong] })).rejects.toMatchObject({
    parts: { code: "ssh.host-key-changed" },
  });
  expect(known()).toBe("");
});

test("--yes without a fingerprint would trust whoever answers, so it is refused", async () => {
  await expect(trust("", { yes: true })).rejects.toMatchObject({ parts: { code: "trust.needs-fingerprint" } });
});

test("a changed key is shown beside the old one, which it replaces only by more than a yes", async () => {
  const other = freshKeyPair("other").public.split(" ")[1] ?? "";
  const old = `[127.0.0.1]:${port} ssh-ed25519 ${other}\n`;
  writeFileSync(knownHosts(), old);
  await expect(trust("no\n")).rejects.toMatchObject({ parts: { code: "trust.declined" } });
  expect(said).toContain("OTHER KEYS");
  expect(said).toContain(`Known in ${knownHosts()}:\n  ssh-ed25519          ${fingerprint(other)}`);
  expect(known()).toBe(old);
  await expect(trust("yes\n")).rejects.toMatchObject({ parts: { code: "trust.declined" } });
  expect(known()).toBe(old);
  await trust(`replace [127.0.0.1]:${port}\n`);
  expect(known()).toBe(line());
});

test("a key that the stack config pins otherwise is not trusted by known_hosts", async () => {
  await expect(trust("yes\n", {}, `, hostKey: "${wrong}"`)).rejects.toMatchObject({ parts: { code: "trust.pinned" } });
  expect(known()).toBe("");
});

test("a revoked key cannot be trusted", async () => {
  writeFileSync(knownHosts(), `@revoked * ssh-ed25519 ${blob}\n`);
  await expect(trust("yes\n")).rejects.toMatchObject({ parts: { code: "ssh.host-key-revoked" } });
});
