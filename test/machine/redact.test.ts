import { createHash, generateKeyPairSync } from "node:crypto";
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { StackConfigSchema } from "../../providers/kit/config.ts";
import { TeeUpError } from "../../providers/kit/errors.ts";
import { openFleet } from "../../providers/machine/fleet.ts";
import { keepSecret, oneLine, redact, redactError } from "../../providers/machine/redact.ts";

const PEM = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString();

test.each([
  ["a private key", `before\n${PEM}after`, "before\n[redacted]\nafter"],
  ["a private key cut short", `x ${PEM.slice(0, 60)}`, "x [redacted]"],
  ["a private key inside JSON", JSON.stringify({ key: PEM, next: 1 }), '{"key":"[redacted]\\n","next":1}'],
  [
    "an Authorization header",
    "Authorization: Basic b3BzOnNlY3JldA==\nHost: x",
    "Authorization: Basic [redacted]\nHost: x",
  ],
  ["a header in JSON", '{"authorization":"Bearer abc.def","x":1}', '{"authorization":"Bearer [redacted]","x":1}'],
  ["a Redfish session", "X-Auth-Token: 0123abc", "X-Auth-Token: [redacted]"],
  ["a password in a URL", "https://ops:hunter2@bmc-01/redfish", "https://ops:[redacted]@bmc-01/redfish"],
])("%s is hidden wherever it comes from", (_name, text, shown) => {
  expect(redact(text)).toBe(shown);
});

test("what is no secret stays as it is", () => {
  for (const text of [
    "ssh-ed25519 AAAAC3Nza root@x",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "https://bmc-01:443/redfish",
    "sudo: a password is required",
  ])
    expect(redact(text)).toBe(text);
});

test("a registered secret is hidden in every form in which it may be repeated", () => {
  fc.assert(
    fc.property(
      fc
        .string({ minLength: 6, maxLength: 30 })
        .filter((s) => s.trim().length >= 6 && !"[redacted]".includes(s.trim())),
      (secret) => {
        keepSecret(secret);
        for (const form of [
          secret,
          JSON.stringify(secret),
          encodeURIComponent(secret),
          Buffer.from(secret).toString("base64"),
        ]) {
          const shown = redact(`<${form}>`);
          expect(shown).not.toContain(secret);
          expect(shown).toContain("[redacted]");
        }
      },
    ),
    { numRuns: 50 },
  );
});

test("a key file is hidden line by line", () => {
  keepSecret(PEM);
  expect(redact(`bad line: ${PEM.split("\n")[1]}`)).toBe("bad line: [redacted]");
});

test("JSON stays JSON", () => {
  keepSecret('quo"te\\back');
  fc.assert(
    fc.property(fc.json(), (json) => {
      expect(() => JSON.parse(redact(json))).not.toThrow();
    }),
  );
  expect(JSON.parse(redact(JSON.stringify({ a: 'x quo"te\\back y' })))).toEqual({ a: "x [redacted] y" });
});

const OSC_52 = "\u001b]52;c;Y3VybCBldmls\u0007";
const CONTROLS = /[^\P{Cc}\n\t]/u;

test("nothing that a terminal obeys is left, lines and tabs are", () => {
  expect(redact(`a\n\tb${OSC_52}\r\u009b2Kc\u0000\u007f`)).toBe("a\n\tb]52;c;Y3VybCBldmls2Kc");
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => expect(redact(text)).not.toMatch(CONTROLS)));
});

test("nothing of it hides in JSON either, which stays JSON", () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom("\u001b", "\u0007", "\u009b", "\\", "u001b", '"', "x") }), (text) => {
      expect(JSON.parse(redact(JSON.stringify({ text })))).toEqual({ text: text.replace(/\p{Cc}/gu, "") });
    }),
  );
});

test("a control character inside a secret does not let it through", () => {
  keepSecret("canary-in-two");
  expect(redact("canary\u001b-in-\u0007two")).toBe("[redacted]");
});

test("an error is shown without secrets, its cause too", () => {
  keepSecret("canary-secret");
  const error = redactError(
    new TeeUpError(
      { code: "a.b", node: "gpu-01", subject: "canary-secret", saw: "saw canary-secret", next: "say canary-secret" },
      { cause: new Error("cause canary-secret") },
    ),
  );
  expect(error).toMatchObject({ code: "a.b", cause: expect.objectContaining({ message: "cause [redacted]" }) });
  expect(`${error.message}${error.stack}${JSON.stringify(error)}`).not.toContain("canary-secret");
});

test("what the environment and the stack config hold is secret from the start", () => {
  const config = StackConfigSchema.parse({
    nodes: [
      { name: "gpu-01", ssh: { host: "x" }, bmc: { url: "https://bmc", user: "ops", password: "canary-of-the-stack" } },
    ],
  });
  const fleet = openFleet(config, {
    TEEUP_SSH_PASSPHRASE: "canary-passphrase",
    TEEUP_SUDO_PASSWORD_GPU_01: "canary-sudo",
    TEEUP_BMC_PASSWORD: "canary-bmc",
    PULUMI_CONFIG_PASSPHRASE: "canary-pulumi",
  });
  fleet.node("gpu-01");
  expect(redact("canary-passphrase canary-sudo canary-bmc canary-pulumi canary-of-the-stack")).toBe(
    "[redacted] [redacted] [redacted] [redacted] [redacted]",
  );
});

test("a long secret, and however many there are: all are hidden, and what hides them quotes none", () => {
  const letters = (n: number, seed: string) =>
    Array.from({ length: Math.ceil(n / 64) }, (_, i) => createHash("sha256").update(`${seed} ${i}`).digest("hex"))
      .join("")
      .slice(0, n);
  const long = letters(60_000, "long");
  const many = Array.from({ length: 2000 }, (_, i) => letters(40, `many ${i}`));
  for (const secret of [long, ...many, many.slice(0, 3).join("\n"), `${many[7]} and what follows it`])
    keepSecret(secret);
  const text = `a ${long} b ${many.join(" ")} c ${Buffer.from(long).toString("base64")} d ${many[7]} and what follows it`;
  const out = redact(text);
  expect(out.replaceAll("[redacted]", "").replace(/\s+/g, " ")).toBe("a b c d ");
});

test.each([
  " ",
  "a.",
  "a://",
  "a://b:",
  "://:",
  "Authorization:",
  "-----BEGIN A",
  "-----BEGIN PRIVATE KEY-----",
  "\\\\",
  "\\\\u0007",
])("a machine that answers with nothing but %s holds nobody up", (part) => {
  const before = performance.now();
  oneLine(`x${part.repeat(65_536 / part.length)}x`);
  expect(performance.now() - before).toBeLessThan(2000);
});
