import { z } from "zod";
import type { Action } from "./action.ts";

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
/** Stands in the file until libvirtd, which reads it at its start only, was restarted: a run may be killed before. */
export const UNREAD = "# Not read by libvirtd yet.";
/** Stands before lines that were switched off. */
const OFF = "#teeup# ";

/** As libvirt writes a value: text in quotes, numbers bare. */
const shown = (value: string | number): string => (typeof value === "number" ? String(value) : `"${value}"`);
const keyOf = (line: string): string | undefined => /^\s*([a-z_]+)\s*=/.exec(line)?.[1];

/** Values that are in force; of a key that stands there twice, the last. */
export function settingsOf(text: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    text.split("\n").flatMap((line) => {
      const match = /^\s*([a-z_]+)\s*=\s*(.*?)\s*$/.exec(line);
      return match?.[1] === undefined ? [] : [[match[1], match[2] ?? ""]];
    }),
  );
}

/** Wanted settings that the file lacks or has otherwise, as `key = value`; all of them while libvirtd has read none. */
export const lackingSettings = (want: LibvirtSettings, text: string): string[] => {
  const have: Readonly<Record<string, string>> = text.includes(UNREAD) ? {} : settingsOf(text);
  return Object.entries(want).flatMap(([key, value]) =>
    have[key] === shown(value) ? [] : [`${key} = ${shown(value)}`],
  );
};

export function showSettings(want: LibvirtSettings, text: string): string {
  const lacks = lackingSettings(want, text).map((s) => `not ${s}`);
  return lacks.length === 0 ? "as wanted" : text.includes(UNREAD) ? "not read by libvirtd yet" : lacks.join(", ");
}

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
    .filter((line) => line !== UNREAD)
    .map((line) => (line.startsWith(OFF) ? line.slice(OFF.length) : line))
    .join("\n");
}

const systemctl = (verb: string) => ({ do: "run", argv: ["systemctl", verb, "libvirtd.service"] }) as const;
export const startLibvirtd: readonly Action[] = [systemctl("enable"), systemctl("restart")];

/** Writes the file so that a run which is killed before libvirtd has read it is seen by the next. */
export function putInForce(content: string): readonly Action[] {
  const ended = content === "" || content.endsWith("\n") ? content : `${content}\n`;
  const marked = `${ended}${ended.includes(MARK) ? "" : `${MARK}\n`}${UNREAD}\n`;
  const write = (text: string) => ({ do: "write", path: QEMU_CONF, content: text }) as const;
  return [write(marked), systemctl("restart"), write(content)];
}
