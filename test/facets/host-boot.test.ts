import { describe, expect, test } from "@jest/globals";
import { hostBoot as facet } from "../../providers/facets/host-boot.ts";
import { failed, missing, ok } from "../../providers/kit/ask.ts";
import type { PlanContext } from "../../providers/kit/facet.ts";
import { CONTEXT, codes, factsOf } from "./run-examples.ts";

const want = facet.want.parse({});
const OLD = "gnulinux-advanced-5b6f>gnulinux-6.8.0-90-generic-advanced-5b6f";
const NEW = "gnulinux-advanced-5b6f>gnulinux-6.14.0-37-generic-advanced-5b6f";
const menu = ok(
  `submenu 'Advanced' $menuentry_id_option 'gnulinux-advanced-5b6f' {\n${["6.14.0-37-generic", "6.8.0-90-generic"]
    .map(
      (r) =>
        `\tmenuentry 'x' $menuentry_id_option 'gnulinux-${r}-advanced-5b6f' {\n\t\tlinux /boot/vmlinuz-${r} ro\n\t}\n`,
    )
    .join("")}}\n`,
);
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
    "restart the host into kernel 6.14.0-37-generic (tried once, then the default): kernel-cmdline: command line lacks x=1; kernel: kernel 6.8.0-90-generic runs, 6.14.0-37-generic is wanted",
  );
  expect(step?.actions).toEqual([
    { do: "run", argv: ["grub-set-default", OLD] },
    { do: "write", path: "/run/teeup/restart-asked", content: "" },
    {
      do: "write",
      path: "/var/lib/teeup/restart.json",
      content: `${JSON.stringify({ reasons: ["kernel-cmdline: command line lacks x=1", `kernel: ${kernel.reasons[0]}`], boots: 1 })}\n`,
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

test("BIOS settings that depend on each other: the title says how many restarts, and a good kernel is kept before the next", () => {
  const bios = { facet: "bios", reasons: ["Snp is Disabled"], boots: 2 };
  const steps = plan(onNew, waiting(bios));
  expect(codes(steps)).toEqual(["host-boot.keep", "host-boot.restart"]);
  expect(steps[1]?.title).toBe("restart the host, first of 2 times: bios: Snp is Disabled");
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
