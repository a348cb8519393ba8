import { describe, expect, test } from "@jest/globals";
import { lkca } from "../../providers/facets/lkca.ts";
import { missing, ok } from "../../providers/kit/ask.ts";
import { argvs, CONTEXT, codes, factsOf, NO_MACHINE, runExamples } from "./run-examples.ts";

runExamples(lkca);

const { want, answers } = lkca.examples[0]!;

test.each([
  "install nvidia /sbin/modprobe ecdsa_generic ecdh; /sbin/modprobe --ignore-install nvidia\n",
  "install nvidia modprobe ecdsa_generic ecdh\n",
])("the guide's misprint is refused: %j", (text) => {
  expect(lkca.want.safeParse({ text }).error?.issues[0]?.message).toContain("modprobe");
});

test.each([
  "install nvidia /sbin/modprobe ecdsa_generic; /sbin/modprobe ecdh; /sbin/modprobe --ignore-install nvidia\n",
  "install nvidia /sbin/modprobe -a ecdsa_generic ecdh; /sbin/modprobe --ignore-install nvidia\n",
  'install nvidia /sbin/modprobe ecdsa_generic; /sbin/modprobe ecdh; /sbin/modprobe --ignore-install nvidia\noptions nvidia NVreg_RegistryDwords="RmEnableProtectedPcie=0x1"\n',
])("each of the right forms is taken: %j", (text) => {
  expect(lkca.want.safeParse({ text }).success).toBe(true);
});

test("the initramfs is made by what the guest has, and said to be made only afterwards", () => {
  const fresh = { ...answers, config: missing, stamp: missing };
  const plan = (initramfsTools: (typeof answers)[string]) =>
    lkca.plan?.(want, factsOf(lkca, { ...fresh, initramfsTools }), CONTEXT);
  expect(argvs(plan(ok("")))).toEqual(["update-initramfs -u"]);
  expect(argvs(plan(ok("", 1)))).toEqual(["dracut --regenerate-all --force"]);
  expect(plan(ok(""))?.[0]?.actions.at(-1)).toMatchObject({ do: "write", path: "/var/lib/teeup/lkca-initramfs" });
});

describe("the driver took the stubs", () => {
  const stubs = { ...answers, log: ok("NVRM: libspdm expects LKCA but found stubs!\n"), nvidia: ok("", 1) };
  const plan = (more: typeof answers) => lkca.plan?.(want, factsOf(lkca, { ...stubs, ...more }), CONTEXT) ?? [];

  test("although the stamp is there: the initramfs is made again before the guest is restarted", () => {
    const steps = plan({});
    expect(steps.flatMap((s) => s.actions.map((a) => (a.do === "run" ? a.argv.join(" ") : a.do)))).toEqual([
      "update-initramfs -u",
      "write",
      "restart-guest",
      "write",
    ]);
  });

  test("again after that restart: no other one is planned, and the finding says what to look at", () => {
    const mark = plan({}).at(-1)?.actions.at(-1);
    if (mark?.do !== "write") throw new Error("the restart leaves no mark");
    expect(mark.path).toMatch(/^\/run\//);
    const after = { ...stubs, restarted: ok(mark.content) };
    expect(plan(after)).toEqual([]);
    expect(lkca.judge(want, factsOf(lkca, after)).find((f) => f.level === "fail")).toMatchObject({
      code: "lkca.stubs",
      hint: expect.stringContaining(`rm ${mark.path}`),
    });
  });

  test("after a restart for another text: it is restarted for this one", () => {
    expect(plan({ restarted: ok("other\n") }).map((s) => s.code)).toEqual(["lkca.configure", "lkca.restart"]);
  });
});

test("a restart interrupts nobody before the GPU was set ready; afterwards, or when it cannot be told, it does", () => {
  const stubs = { ...answers, log: ok("NVRM: libspdm expects LKCA but found stubs!\n"), nvidia: ok("", 1) };
  const disruption = (inService: (typeof answers)[string]) =>
    lkca
      .plan?.(want, factsOf(lkca, { ...stubs, inService }), CONTEXT)
      .filter((s) => s.code === "lkca.restart")
      .map((s) => s.disruption);
  expect(disruption(missing)).toEqual(["service"]);
  // With the driver loaded, a missing mark alone does not tell that nobody works there.
  expect(
    codes(
      lkca
        .plan?.(want, factsOf(lkca, { ...stubs, nvidia: ok(""), inService: missing }), CONTEXT)
        ?.filter((s) => s.disruption === "guest-stop"),
    ),
  ).toEqual(["lkca.restart"]);
  expect(disruption(NO_MACHINE)).toEqual(["service"]);
  expect(disruption(ok("…\n"))).toEqual(["guest-stop"]);
  expect(disruption({ kind: "denied", why: "no" })).toEqual(["guest-stop"]);
});
