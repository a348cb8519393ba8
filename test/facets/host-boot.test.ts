import { describe, expect, test } from "@jest/globals";
import { hostBoot as facet } from "../../providers/facets/host-boot.ts";
import { failed, missing, ok } from "../../providers/kit/ask.ts";
import type { PlanContext } from "../../providers/kit/facet.ts";
import { CONTEXT, codes, factsOf } from "./run-examples.ts";

const want = facet.want.parse({});
const OLD = "gnulinux-advanced-5b6f>gnulinux-6.8.0-90-generic-advanced-5b6f";
const NEW = "gnulinux-advanced-5b6f>gnulinux-6.14.0-37-generic-advanced-5b6f";
const menuText = (first: string) =>
  `${first}\nsubmenu 'Advanced' $menuentry_id_option 'gnulinux-advanced-5b6f' {\n${[
    "6.14.0-37-generic",
    "6.8.0-90-generic",
  ]
    .map(
      (r) =>
        `\tmenuentry 'x' $menuentry_id_option 'gnulinux-${r}-advanced-5b6f' {\n\t\tlinux /boot/vmlinuz-${r} ro\n\t}\n`,
    )
    .join("")}}\n`;
// biome-ignore lint/suspicious/noTemplateCurlyInString: GRUB's own variable
const menu = ok(menuText('set default="${saved_entry}"'));
const unsavedMenu = ok(menuText('set default="0"'));
const onOld = { running: ok("6.8.0-90-generic\n"), saved: ok(""), menu, record: missing, asked: missing };
const onNew = { ...onOld, running: ok("6.14.0-37-generic\n"), saved: ok(`saved_entry=${OLD}\n`) };

const kernel = {
  facet: "kernel",
  reasons: ["kernel 6.8.0-90-generic runs, 6.14.0-37-generic is wanted"],
  boots: 1,
  trial: { entry: NEW, kernel: "6.14.0-37-generic" },
};
const cmdline = { facet: "kernel-cmdline", reasons: ["command line lacks x=1"], boots: 1 };
const quiet = { facet: "module-options", reasons: [], boots: 0 };
const waiting = (...pending: PlanContext["pending"]): PlanContext => ({ ...CONTEXT, pending });
const plan = (answers: Parameters<typeof factsOf>[1], context: PlanContext) =>
  facet.plan?.(want, factsOf(facet, answers), context) ?? [];

test("one restart for all that waits; the kernel is tried once, and the one that runs is what it falls back to", () => {
  const [step, ...more] = plan(onOld, waiting(kernel, cmdline, quiet));
  expect(more).toEqual([]);
  expect(step).toMatchObject({ code: "host-boot.restart", disruption: "reboot" });
  expect(step?.title).toBe(
    "restart the host into kernel 6.14.0-37-generic (tried once; made the default when it has come up and nothing waits): kernel-cmdline: command line lacks x=1; kernel: kernel 6.8.0-90-generic runs, 6.14.0-37-generic is wanted",
  );
  expect(step?.actions).toEqual([
    { do: "run", argv: ["grub-set-default", OLD] },
    { do: "write", path: "/run/teeup/restart-asked", content: "" },
    {
      do: "write",
      path: "/var/lib/teeup/restart.json",
      content: `${JSON.stringify({ reasons: ["kernel-cmdline: command line lacks x=1", `kernel: ${kernel.reasons[0]}`], boots: 1, trial: "6.14.0-37-generic" })}\n`,
    },
    { do: "reboot", trial: kernel.trial, timeoutSeconds: 1200 },
  ]);
});

test("nothing waits: nothing is planned", () => {
  expect(plan({ ...onNew, saved: ok(`saved_entry=${NEW}\n`) }, waiting(quiet))).toEqual([]);
});

test("after a good trial the kernel becomes the default and the record goes", () => {
  const record = ok(`${JSON.stringify({ reasons: [`kernel: ${kernel.reasons[0]}`] })}\n`);
  const steps = plan({ ...onNew, record }, waiting({ ...kernel, reasons: [], boots: 0 }));
  expect(codes(steps)).toEqual(["host-boot.keep", "host-boot.clear"]);
  expect(steps[0]?.actions).toEqual([{ do: "run", argv: ["grub-set-default", NEW] }]);
});

test("a kernel is never made the default while another one is to be tried", () => {
  expect(codes(plan(onOld, waiting(kernel)))).toEqual(["host-boot.restart"]);
});

describe("BIOS settings that depend on each other", () => {
  const bios = { facet: "bios", reasons: ["Snp is Disabled"], boots: 2 };

  test("the title says how many restarts, and the kernel on trial stays on trial until nothing waits", () => {
    const record = ok(`${JSON.stringify({ reasons: ["kernel: old"], trial: "6.14.0-37-generic" })}\n`);
    const steps = plan({ ...onNew, record }, waiting(bios));
    expect(codes(steps)).toEqual(["host-boot.restart"]);
    expect(steps[0]?.title).toMatch(/into kernel 6\.14\.0-37-generic .*, first of 2 times: bios: Snp is Disabled$/);
    expect(steps[0]?.actions.some((a) => a.do === "run")).toBe(false);
    expect(steps[0]?.actions.at(-1)).toMatchObject({ do: "reboot", trial: { entry: NEW } });
  });

  test("without a trial the kernel that runs is what starts again", () => {
    const steps = plan(onNew, waiting(bios));
    expect(steps[0]?.title).toBe("restart the host, first of 2 times: bios: Snp is Disabled");
    expect(steps[0]?.actions[0]).toEqual({ do: "run", argv: ["grub-set-default", NEW] });
  });
});

test("a kernel that is not the one that was tried is not kept", () => {
  const record = ok(`${JSON.stringify({ reasons: ["kernel: old"], trial: "6.14.0-37-generic" })}\n`);
  expect(codes(plan({ ...onOld, record }, waiting()))).toEqual(["host-boot.clear"]);
});

describe("GRUB without the saved default", () => {
  test("tries no kernel, since nothing would start after it: a person must act", () => {
    const [step, ...more] = plan({ ...onOld, menu: unsavedMenu }, waiting(kernel));
    expect(more).toEqual([]);
    expect(step).toMatchObject({ code: "host-boot.no-saved-default", disruption: "human", actions: [] });
    expect(step?.title).toMatch(/kernel-cmdline.*GRUB_DEFAULT=saved/);
  });

  test("is found before, and said how to mend", () => {
    const facts = factsOf(facet, { ...onOld, menu: unsavedMenu });
    expect(facet.judge(want, facts).find((f) => f.code === "host-boot.no-saved-default")).toMatchObject({
      level: "warn",
      hint: expect.stringMatching(/kernel-cmdline.*GRUB_DEFAULT=saved/),
    });
  });

  test("restarts for other reasons, and in a plan where kernel-cmdline writes the menu first", () => {
    expect(codes(plan({ ...onOld, menu: unsavedMenu }, waiting(quiet, { ...cmdline, facet: "bios" })))).toEqual([
      "host-boot.restart",
    ]);
    expect(codes(plan({ ...onOld, menu: unsavedMenu }, waiting(kernel, cmdline)))).toEqual(["host-boot.restart"]);
  });
});

describe("a restart that did not help", () => {
  const record = ok(`${JSON.stringify({ reasons: ["kernel-cmdline: command line lacks x=1"] })}\n`);
  const settled = { ...onNew, saved: ok(`saved_entry=${NEW}\n`), record };

  test("is not repeated for the same reasons, and says so", () => {
    const facts = factsOf(facet, settled);
    expect(facet.plan?.(want, facts, waiting(cmdline))).toEqual([]);
    expect(facet.judge(want, facts).find((f) => f.level === "fail")).toMatchObject({
      code: "host-boot.ineffective",
      saw: "restarted for: kernel-cmdline: command line lacks x=1",
      hint: expect.stringContaining("rm /var/lib/teeup/restart.json"),
    });
  });

  test("is planned again when it never took place, as after a killed run", () => {
    expect(codes(plan({ ...settled, asked: ok("") }, waiting(cmdline)))).toEqual(["host-boot.restart"]);
  });

  test("is planned again for a new reason", () => {
    const more = { ...cmdline, reasons: ["command line lacks y=1"] };
    expect(codes(plan(settled, waiting(more)))).toEqual(["host-boot.restart"]);
  });
});

test.each(["running", "saved", "menu", "record", "asked"])("nothing is planned when %s is unknown", (name) => {
  expect(plan({ ...onOld, [name]: failed("connection lost") }, waiting(kernel))).toEqual([]);
});

test("a record that TeeUp did not write is unknown", () => {
  const facts = factsOf(facet, { ...onNew, record: ok("{}") });
  expect(facet.judge(want, facts).find((f) => f.level === "unknown")?.code).toBe("host-boot.ineffective");
});
