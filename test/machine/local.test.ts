import { afterEach, expect, test } from "@jest/globals";
import type { Fleet } from "../../providers/kit/machine.ts";
import { openLocal } from "../../providers/machine/local.ts";

let fleet: Fleet | undefined;
afterEach(() => fleet?.close());

const here = (env: NodeJS.ProcessEnv = process.env) => {
  fleet = openLocal("here", env, { silenceMs: 2000 });
  return fleet.node("here").host;
};

test("this machine answers as one behind SSH does: output, exit status, a missing file and a missing program", async () => {
  const answers = await here().observe({
    release: { kind: "file", path: "/proc/sys/kernel/osrelease" },
    uname: { kind: "argv", argv: ["uname", "-r"] },
    status: { kind: "argv", argv: ["sh", "-c", "exit 3"] },
    nothing: { kind: "file", path: "/nowhere/at/all" },
    program: { kind: "argv", argv: ["no-such-program-of-anybody"] },
  });
  if (answers.release.kind !== "ran" || answers.uname.kind !== "ran") throw new Error(JSON.stringify(answers));
  expect(answers.uname.stdout).toBe(answers.release.stdout);
  expect(answers.status).toMatchObject({ kind: "ran", status: 3 });
  expect([answers.nothing.kind, answers.program.kind]).toEqual(["missing", "missing"]);
});

test("a program that does not end is ended, and the answer says that it took too long", async () => {
  const { hang } = await here().observe({ hang: { kind: "argv", argv: ["sleep", "600"], timeoutSeconds: 1 } });
  expect(hang).toMatchObject({ kind: "failed", why: expect.stringMatching(/1 s/) });
});

test("no shell to start is an error of its own, not an answer", async () => {
  const asked = here({ PATH: "/nowhere" }).observe({ a: { kind: "file", path: "/etc/hostname" } });
  await expect(asked).rejects.toThrow(/^here: sh cannot be started here: .* \[local\.shell\]\n {2}next: /);
});

test("programs see no password of TeeUp's environment", async () => {
  const env = { ...process.env, TEEUP_BMC_PASSWORD: "a-password-4711" };
  const { seen } = await here(env).observe({ seen: { kind: "argv", argv: ["env"] } });
  expect(seen).toMatchObject({ kind: "ran", status: 0, stdout: expect.not.stringMatching(/TEEUP|4711/) });
});
