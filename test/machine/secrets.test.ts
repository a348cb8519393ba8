import { inspect } from "node:util";
import { describe, expect, test } from "@jest/globals";
import { openSecrets } from "../../providers/machine/secrets.ts";

const node = (script: string) => ({ command: [process.execPath, "-e", script] });
/** Of a secret `x` with this source. */
async function had(source: Parameters<typeof openSecrets>[0][string], options: { commandMs?: number } = {}) {
  return openSecrets({ x: source }, options)("x");
}
const printing = (hex: string) => node(`process.stdout.write(Buffer.from("${hex}", "hex"))`);

describe("what a command prints", () => {
  test("is the secret without its last line end, NUL and line ends in its midst as they are", async () => {
    expect(await had(node('process.stdout.write("one\\0two\\n three\\n\\n")'))).toBe("one\0two\n three\n");
    expect(await had(node('process.stdout.write("ends otherwise\\r\\n")'))).toBe("ends otherwise");
  });

  test.each([
    ["nothing", "", "secret.empty"],
    ["a line end", "0a", "secret.empty"],
    // What tools print for a field that is not there: to hide it would hide that word in everything.
    ["null", "6e756c6c0a", "secret.short"],
    // Half of random keys would arrive as other bytes, and as the same ones.
    ["a key of raw bytes", "00ff80c3287fe1a0b0c0d0e0f0010203", "secret.not-text"],
  ])("%s is no secret", async (_what, hex, code) => {
    await expect(had(printing(hex))).rejects.toMatchObject({ code });
  });

  test("is in no error, and neither is what it says besides", async () => {
    const said = "canary-said-beside";
    const failing = node(`console.log("${said}"); console.error("${said}"); process.exit(3)`);
    const error = await had(failing).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: "secret.command" });
    // Its own words hold the canary here; a real command has a file or an address.
    expect(inspect(error, { depth: 9 })).not.toContain(said);
  });
});

test("a command that asks something gets no answer, and is not waited for", async () => {
  const asking = node(
    'process.stdin.on("data", () => {}).on("end", () => process.stdout.write("nobody answers")).resume()',
  );
  expect(await had(asking)).toBe("nobody answers");
}, 30_000);

test("one that minds no signal is ended when its time is up", async () => {
  const stubborn = node('process.on("SIGTERM", () => {}); setInterval(() => {}, 1000)');
  await expect(had(stubborn, { commandMs: 1500 })).rejects.toMatchObject({
    code: "secret.command",
    parts: { saw: expect.stringContaining("did not end within 1.5 s") },
  });
}, 30_000);

test("a name that the stack has no secret for is unknown, whatever objects have by themselves", async () => {
  const secrets = openSecrets({ token: "a stored secret" });
  expect(await secrets("token")).toBe("a stored secret");
  for (const name of ["other", "constructor", "__proto__"])
    await expect(secrets(name)).rejects.toMatchObject({ code: "secret.unknown" });
});
