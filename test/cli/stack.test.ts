import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { loadStack } from "../../cli/stack.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "teeup-stack-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

const write = (text: string): string => {
  const file = join(dir, "Pulumi.x.yaml");
  writeFileSync(file, text);
  return file;
};

test("reads the project's own keys of a stack file and fills in defaults", async () => {
  const file = write(`
encryptionsalt: v1:abc
config:
  teeup:permit: reboot
  teeup:nodes:
    - name: gpu-01
      ssh: { host: gpu-01.rack7, user: ops }
  other:key: 1
`);
  const config = await loadStack({ file });
  expect(config.permit).toBe("reboot");
  expect(config.nodes[0]?.guest.port).toBe(2222);
});

test("an encrypted password is left to the environment, not taken for the password", async () => {
  const file = write(`
config:
  teeup:nodes:
    - name: gpu-01
      ssh: { host: gpu-01 }
      bmc: { url: "https://bmc-01", user: ops, password: { secure: "v1:zzz" } }
`);
  expect((await loadStack({ file })).nodes[0]?.bmc).toEqual({ url: "https://bmc-01", user: "ops" });
});

test("every wrong field is named in one error", async () => {
  const file = write(`
config:
  teeup:permit: everything
  teeup:nodes:
    - name: GPU_01
      ssh: { host: gpu-01, prt: 22 }
`);
  await expect(loadStack({ file })).rejects.toThrow(
    /teeup:permit: .*teeup:nodes\.0\.name: .*teeup:nodes\.0\.ssh: .*prt.*\[config\.invalid\]\n {2}next: /s,
  );
});

test("a file that is not there says so", async () => {
  await expect(loadStack({ file: join(dir, "Pulumi.none.yaml") })).rejects.toMatchObject({
    parts: {
      code: "config.unreadable",
      subject: join(dir, "Pulumi.none.yaml"),
      saw: expect.stringContaining("ENOENT"),
    },
  });
});
