import { z } from "zod";
import type { Answers, Asks } from "./ask.ts";
import { collected, text } from "./ask.ts";
import type { Fact } from "./facts.ts";
import { mapFact } from "./facts.ts";
import { GRUB_CFG, GRUB_DROP_IN } from "./host.ts";
import type { GrubMenu, WordPlace } from "./parse-grub.ts";
import { commandLineWords, findWord, parseGrubCfg } from "./parse-grub.ts";
import { parseGrepLines } from "./parse-packages.ts";

const Word = z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.,:=/+-]*$/, "one word without blanks, quotes and dollar signs");

export const CommandLineSchema = z.strictObject({
  present: z.array(Word).describe("Words that the kernel's command line must have."),
  forbidden: z.array(Word).default(["iommu=pt"]).describe("Words that it must not have."),
});
export type CommandLine = z.output<typeof CommandLineSchema>;

export interface CommandLineFacts {
  /** Words of the running kernel's command line. */
  readonly running: Fact<readonly string[]>;
  /** Lines of the files that grub-mkconfig sources. */
  readonly files: Fact<Readonly<Record<string, readonly string[]>>>;
  /** What the boot menu says now. */
  readonly menu: Fact<Pick<GrubMenu, "everywhere" | "anywhere" | "savedDefault">>;
}

export const COMMAND_LINE_ASKS = {
  running: { kind: "file", path: "/proc/cmdline" },
  files: { kind: "argv", argv: ["grep", "-rH", "", "/etc/default/grub", "/etc/default/grub.d"], maxBytes: 262_144 },
  menu: GRUB_CFG,
} as const satisfies Asks;

export function parseCommandLine(answers: Answers<typeof COMMAND_LINE_ASKS>): CommandLineFacts {
  return {
    running: mapFact(text(answers.running), commandLineWords),
    files: mapFact(collected(answers.files), (stdout) =>
      Object.fromEntries(
        Object.entries(parseGrepLines(stdout)).filter(([path]) => !path.includes(".d/") || path.endsWith(".cfg")),
      ),
    ),
    menu: mapFact(text(answers.menu), (t) => {
      const { everywhere, anywhere, savedDefault } = parseGrubCfg(t);
      return { everywhere, anywhere, savedDefault };
    }),
  };
}

/**
 * Seconds after which a kernel that panics restarts the machine, long enough for a console to get its last lines. Without
 * it a trial kernel that panics stands for ever; initramfs-tools restarts for the same word where it finds no root.
 */
const PANIC = "panic=10";

/**
 * The drop-in: the default entry is the saved one, so that a trial boot has something to fall back to, and a panic goes
 * back to it. `panic=` comes first, where everybody else's wins; it acts at the trial itself, so nothing restarts for it.
 */
export function dropIn(want: CommandLine): string {
  const panic = want.present.some((word) => word.startsWith("panic=")) ? [] : [PANIC];
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
