import type { Action } from "./action.ts";
import type { GrubMenu } from "./parse-grub.ts";

/** One entry of `grubby --info=ALL`. */
export interface GrubbyEntry {
  /** Path of the image, e.g. `/boot/vmlinuz-5.14.0-503.el9.x86_64`. */
  readonly kernel: string;
  /** Words of its command line, variables expanded, without `root=`. */
  readonly args: readonly string[];
  /** Name of its file below /boot/loader/entries; "" for the grubby of release 7, which has none. */
  readonly id: string;
}

const VALUE = /^(index|kernel|args|root|initrd|title|id)="?(.*?)"?$/;

/** Entries of `grubby --info`, rescue images included, in the order of the menu. */
export function parseGrubbyEntries(text: string): GrubbyEntry[] {
  const out: { kernel: string; args: string[]; id: string }[] = [];
  for (const line of text.split("\n")) {
    const [, key, value = ""] = VALUE.exec(line.trim()) ?? [];
    if (key === "index") out.push({ kernel: "", args: [], id: "" });
    const entry = out.at(-1);
    if (entry === undefined) continue;
    if (key === "kernel") entry.kernel = value;
    if (key === "args") entry.args = value.split(/\s+/).filter(Boolean);
    if (key === "id") entry.id = value;
  }
  return out.filter((entry) => entry.kernel !== "");
}

const releaseOf = (kernel: string) => /\/vmlinuz-(.+)$/.exec(kernel)?.[1] ?? "";

/** What choosing a kernel and its command line needs of `grubby --info=ALL`. */
export function parseGrubby(text: string): Omit<GrubMenu, "savedDefault"> {
  const all = parseGrubbyEntries(text);
  const entries: Record<string, string> = {};
  let pattern = "";
  for (const { kernel, id } of all) {
    const release = releaseOf(kernel);
    // The rescue image is no kernel to try: it starts with an initramfs of its own.
    if (release === "" || id === "" || /^0-rescue-/.test(release)) continue;
    entries[release] ??= id;
    if (id.endsWith(`-${release}`)) pattern ||= `${id.slice(0, -release.length)}%s`;
  }
  const lines = all.map((entry) => new Set(entry.args));
  const [first = new Set<string>(), ...rest] = lines;
  return {
    entries,
    pattern,
    everywhere: [...first].filter((word) => rest.every((other) => other.has(word))).sort(),
    anywhere: [...new Set(lines.flatMap((words) => [...words]))].sort(),
  };
}

/**
 * Puts words on the command line of every kernel and takes others off. grubby takes a word that it puts there for the
 * only one of its name: `console=ttyS0` would take every other `console=` away.
 */
export const grubbyUpdate = (add: readonly string[], remove: readonly string[]): Action => ({
  do: "run",
  argv: [
    "grubby",
    "--update-kernel=ALL",
    ...(remove.length === 0 ? [] : [`--remove-args=${remove.join(" ")}`]),
    ...(add.length === 0 ? [] : [`--args=${add.join(" ")}`]),
  ],
  timeoutSeconds: 300,
});

/** Makes a kernel the one that GRUB boots. */
export const grubbyDefault = (release: string): Action => ({
  do: "run",
  argv: ["grubby", `--set-default=/boot/vmlinuz-${release}`],
  timeoutSeconds: 300,
});
