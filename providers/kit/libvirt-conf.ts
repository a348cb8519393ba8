import { z } from "zod";
import type { Action } from "./action.ts";
import type { Answer, Ask } from "./ask.ts";
import { ran } from "./ask.ts";
import type { Fact } from "./facts.ts";
import { flatMapFact, known, unknown } from "./facts.ts";

/** `key = value` lines of /etc/libvirt/qemu.conf. */
export const LibvirtSettingsSchema = z
  .record(
    z.string().regex(/^[a-z_]+$/),
    z.union([z.string().regex(/^[^"\\\n]*$/, "text without quotes, backslashes and newlines"), z.int()]),
  )
  .describe("Settings of /etc/libvirt/qemu.conf.");
export type LibvirtSettings = z.output<typeof LibvirtSettingsSchema>;

export const QEMU_CONF = "/etc/libvirt/qemu.conf";
const MARK = "# Written by TeeUp; a change below is undone by the next up.";
/** Stands before lines that were switched off. */
const OFF = "#teeup# ";

/** As libvirt writes a value: text in quotes, numbers bare. */
const shown = (value: string | number): string => (typeof value === "number" ? String(value) : `"${value}"`);
const keyOf = (line: string): string | undefined => /^\s*([a-z_]+)\s*=/.exec(line)?.[1];

/** Values that are in force; of a key that stands there twice, the last. */
export function settingsOf(text: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    text.split("\n").flatMap((line) => {
      // The spaces around the value are no part of the expression: blanks by the thousand would keep it busy for days.
      const match = /^\s*([a-z_]+)\s*=(.*)$/s.exec(line);
      return match?.[1] === undefined ? [] : [[match[1], match[2]?.trim() ?? ""]];
    }),
  );
}

/** Wanted settings that the file lacks or has otherwise, as `key = value`. */
export const lackingSettings = (want: LibvirtSettings, text: string): string[] => {
  const have = settingsOf(text);
  return Object.entries(want).flatMap(([key, value]) =>
    have[key] === shown(value) ? [] : [`${key} = ${shown(value)}`],
  );
};

export const showSettings = (want: LibvirtSettings, text: string): string =>
  lackingSettings(want, text)
    .map((s) => `not ${s}`)
    .join(", ") || "as wanted";

/** The file with the wanted settings at its end; older lines of the same keys are switched off, all others stay. */
export function withSettings(want: LibvirtSettings, text: string): string {
  const rest = withoutSettings(text)
    .split("\n")
    .map((line) => (keyOf(line) !== undefined && (keyOf(line) ?? "") in want ? `${OFF}${line}` : line));
  while (rest.at(-1) === "") rest.pop();
  const own = Object.entries(want).map(([key, value]) => `${key} = ${shown(value)}`);
  return [...rest, MARK, ...own, ""].join("\n");
}

/** The file as it was before {@link withSettings}. */
export function withoutSettings(text: string): string {
  const at = text.indexOf(MARK);
  const before = at < 0 ? text : text.slice(0, at);
  return before
    .split("\n")
    .map((line) => (line.startsWith(OFF) ? line.slice(OFF.length) : line))
    .join("\n");
}

const systemctl = (verb: string) => ({ do: "run", argv: ["systemctl", verb, "libvirtd.service"] }) as const;
export const startLibvirtd: readonly Action[] = [systemctl("enable"), systemctl("restart")];

/** A run that is killed between the two is seen by the next: {@link QEMU_CONF_UNREAD}. */
export const putInForce = (content: string): readonly Action[] => [
  { do: "write", path: QEMU_CONF, content },
  systemctl("restart"),
];

/**
 * Prints the file's name when it was changed after libvirtd, which reads it at its start only, was started: systemd leaves
 * such a link at every start of a unit (src/core/unit.c, unit_export_invocation_id). By the change of its inode, since
 * an editor may keep the time of its text.
 */
export const QEMU_CONF_UNREAD = {
  kind: "argv",
  argv: ["find", QEMU_CONF, "-maxdepth", "0", "-cnewer", "/run/systemd/units/invocation:libvirtd.service"],
} as const satisfies Ask;

/** Whether libvirtd, which is `active` or not, has yet to read its file. One that does not run will, when it starts. */
export function unreadOf(answer: Answer, active: Fact<string>): Fact<boolean> {
  if (active.state !== "known" || active.value !== "active") return active.state === "unknown" ? active : known(false);
  return flatMapFact(ran(answer), ({ status, stdout, stderr }) => {
    if (status === 0) return known(stdout.trim() !== "");
    return new RegExp(`${QEMU_CONF}\\W{0,3}: No such file`).test(stderr)
      ? known(false)
      : unknown(stderr.trim() || `exit ${status}`);
  });
}
