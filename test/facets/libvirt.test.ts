import { expect, test } from "@jest/globals";
import { libvirt } from "../../providers/facets/libvirt.ts";
import { ok } from "../../providers/kit/ask.ts";
import type { Step } from "../../providers/kit/facet.ts";
import { QEMU_CONF } from "../../providers/kit/libvirt-conf.ts";
import { argvs, CONTEXT, codes, factsOf, runExamples } from "./run-examples.ts";

runExamples(libvirt);

const example = libvirt.examples.find((e) => e.name === "its own settings");
if (example === undefined) throw new Error("no example");
const { want, answers } = example;
const DAEMON = ok("ActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\n");
/** libvirtd runs since before the file was written, or since after. */
const after = (conf: string, read: boolean) =>
  factsOf(libvirt, { ...answers, conf: ok(conf), daemon: DAEMON, unread: ok(read ? "" : `${QEMU_CONF}\n`) });
/** What the file says when the run is killed behind each action. */
const written = (steps: readonly Step[] | undefined): string[] =>
  (steps ?? []).flatMap((s) => s.actions.flatMap((a) => (a.do === "write" ? [a.content] : [])));

test("killed between the file and libvirtd's restart, the next run restarts it", () => {
  const steps = libvirt.plan?.(want, after('user = "libvirt-qemu"\n', true), CONTEXT);
  expect(steps?.[0]?.actions.map((a) => a.do)).toEqual(["write", "run"]);
  const [text = ""] = written(steps);
  const next = libvirt.plan?.(want, after(text, false), CONTEXT) ?? [];
  expect(argvs(next)).toContainEqual("systemctl restart libvirtd.service");
  expect(libvirt.plan?.(want, after(text, true), CONTEXT)).toEqual([]);
});

test("so with what is deleted: a killed undo is done again, and gives the file back as it was", () => {
  const before = 'user = "libvirt-qemu"\n';
  const [text = ""] = written(libvirt.plan?.(want, after(before, true), CONTEXT));
  expect(written(libvirt.undo?.(want, after(text, true), CONTEXT))).toEqual([before]);
  expect(codes(libvirt.undo?.(want, after(before, false), CONTEXT))).toEqual(["libvirt.restore"]);
  expect(libvirt.undo?.(want, after(before, true), CONTEXT)).toEqual([]);
  // Where no setting was wanted none was written, and an edit of somebody else's is theirs to put in force.
  expect(libvirt.undo?.({ ...want, settings: {} }, after(before, false), CONTEXT)).toEqual([]);
});
