import { z } from "zod";
import type { Answers, Asks } from "./ask.ts";
import { collected, text } from "./ask.ts";
import type { BootMenu } from "./boot-menu.ts";
import { BOOT_MENU_ASKS, parseBootMenu } from "./boot-menu.ts";
import type { Fact } from "./facts.ts";
import { absent, known, mapFact, unknown } from "./facts.ts";
import { GRUB_DROP_IN } from "./host.ts";
import type { WordPlace } from "./parse-grub.ts";
import { commandLineWords, findWord } from "./parse-grub.ts";
import { parseGrepLines } from "./parse-packages.ts";

const Word = z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.,:=/+-]*$/, "one word without blanks, quotes and dollar signs");

export const CommandLineSchema = z.strictObject({
  present: z.array(Word).describe("Words that the kernel's command line must have."),
  forbidden: z.array(Word).default(["iommu=pt"]).describe("Words that it must not have."),
  trials: z
    .literal(false)
    .optional()
    .describe(
      "False where no kernel is ever tried, as in an instance of a cloud: nothing then restarts the system when its kernel panics. Default: TeeUp adds panic=10, which ends a trial that panics.",
    ),
});
export type CommandLine = z.output<typeof CommandLineSchema>;

export interface CommandLineFacts {
  /** Words of the running kernel's command line. */
  readonly running: Fact<readonly string[]>;
  /** Lines of the files that grub-mkconfig sources. */
  readonly files: Fact<Readonly<Record<string, readonly string[]>>>;
  /** What the boot menu says now. */
  readonly menu: Fact<Pick<BootMenu, "everywhere" | "anywhere" | "savedDefault" | "by">>;
  /** What TeeUp had grubby add and take away, for its undoing; Debian's drop-in says that itself. */
  readonly record: Fact<CommandLineRecord>;
}

export const CMDLINE_RECORD = "/var/lib/teeup/kernel-cmdline.json";
const RecordSchema = z.strictObject({ added: z.array(Word), removed: z.array(Word) });
export type CommandLineRecord = z.output<typeof RecordSchema>;

export const COMMAND_LINE_ASKS = {
  running: { kind: "file", path: "/proc/cmdline" },
  files: { kind: "argv", argv: ["grep", "-rH", "", "/etc/default/grub", "/etc/default/grub.d"], maxBytes: 262_144 },
  ...BOOT_MENU_ASKS,
  record: { kind: "file", path: CMDLINE_RECORD },
} as const satisfies Asks;

export function parseCommandLine(answers: Answers<typeof COMMAND_LINE_ASKS>): CommandLineFacts {
  return {
    running: mapFact(text(answers.running), commandLineWords),
    files: mapFact(collected(answers.files), (stdout) =>
      Object.fromEntries(
        Object.entries(parseGrepLines(stdout)).filter(([path]) => !path.includes(".d/") || path.endsWith(".cfg")),
      ),
    ),
    menu: mapFact(parseBootMenu(answers), ({ everywhere, anywhere, savedDefault, by }) => {
      return { everywhere, anywhere, savedDefault, by };
    }),
    record: parseRecord(text(answers.record)),
  };
}

function parseRecord(file: Fact<string>): Fact<CommandLineRecord> {
  if (file.state !== "known") return file.state === "absent" ? absent : file;
  try {
    return known(RecordSchema.parse(JSON.parse(file.value)));
  } catch {
    return unknown(`${CMDLINE_RECORD} is not what TeeUp wrote; remove it`);
  }
}

/**
 * Seconds after which a kernel that panics restarts the machine, long enough for a console to get its last lines. Without
 * it a trial kernel that panics stands for ever; initramfs-tools restarts for the same word where it finds no root.
 */
const PANIC = "panic=10";

/** The wanted words of entries that have no drop-in: with `panic=`, unless somebody has it there already. */
export const entryWords = (want: CommandLine, there: readonly string[]): readonly string[] =>
  want.trials === false || [...want.present, ...there].some((word) => word.startsWith("panic=") && word !== PANIC)
    ? want.present
    : [PANIC, ...want.present];

/** The words that the drop-in adds. */
export const dropInWords = (want: CommandLine): readonly string[] =>
  want.trials === false || want.present.some((word) => word.startsWith("panic="))
    ? want.present
    : [PANIC, ...want.present];

/**
 * The drop-in: the default entry is the saved one, so that a trial boot has something to fall back to, and a panic goes
 * back to it. `panic=` comes first, where everybody else's wins; it acts at the trial itself, so nothing restarts for it.
 */
export function dropIn(want: CommandLine): string {
  const panic = dropInWords(want).filter((word) => !want.present.includes(word));
  const words = [...panic, "$GRUB_CMDLINE_LINUX", ...want.present].join(" ");
  return [
    "# Written by TeeUp; a change here is undone by the next up.",
    "GRUB_DEFAULT=saved",
    `GRUB_CMDLINE_LINUX="${words}"`,
    "",
  ].join("\n");
}

type Files = Readonly<Record<string, readonly string[]>>;

/** Where forbidden words stand, TeeUp's own file left out. */
export const forbiddenPlaces = (want: CommandLine, files: Files): (WordPlace & { word: string })[] =>
  want.forbidden.flatMap((word) =>
    findWord(files, word)
      .filter((place) => place.path !== GRUB_DROP_IN)
      .map((place) => ({ ...place, word })),
  );

/** Files that GRUB sources after ours and that throw away what ours appended. */
export const overriders = (files: Files): string[] =>
  Object.entries(files)
    .filter(([path, lines]) => path > GRUB_DROP_IN && lines.some(overrides))
    .map(([path]) => path);

const overrides = (line: string) =>
  /^\s*GRUB_DEFAULT=(?!saved\b|["']saved["'])/.test(line) ||
  (/^\s*GRUB_CMDLINE_LINUX=/.test(line) && !/\$\{?GRUB_CMDLINE_LINUX\b/.test(line));

/** Words that may stand several times; of every other name the last one counts. */
const SEVERAL = new Set(["console", "earlycon"]);
const nameOf = (word: string) => word.split("=")[0] ?? word;

/**
 * What grubby must be given so that `words` stand beside others of their name: it takes all others of a name away.
 * `replaced` are those that do go.
 */
export function besideOthers(
  words: readonly string[],
  there: readonly string[],
  off: readonly string[],
): { add: string[]; replaced: string[] } {
  const others = there.filter((w) => !words.includes(w) && !off.includes(w));
  const same = others.filter((other) => words.some((word) => nameOf(word) === nameOf(other)));
  return {
    add: [...same.filter((w) => SEVERAL.has(nameOf(w))), ...words],
    replaced: same.filter((w) => !SEVERAL.has(nameOf(w))),
  };
}
