/** What grub.cfg and grubenv say, as far as choosing a kernel and its command line goes. */
export interface GrubMenu {
  /** Normal (not recovery) entries: kernel release → what grub-reboot and grub-set-default take. */
  readonly entries: Readonly<Record<string, string>>;
  /** Entry of a kernel that is not installed yet, with `%s` for its release; "" when the menu has no such pattern. */
  readonly pattern: string;
  /** True when the default is the saved entry, which is what a trial boot falls back to. */
  readonly savedDefault: boolean;
  /** Words on every kernel line, recovery entries included. */
  readonly everywhere: readonly string[];
  /** Words on any kernel line. */
  readonly anywhere: readonly string[];
}

export function parseGrubCfg(text: string): GrubMenu {
  const entries: Record<string, string> = {};
  let submenu = "";
  let pattern = "";
  let id = "";
  const lines: Set<string>[] = [];
  for (const line of text.split("\n")) {
    const head = /^(\s*)(menuentry|submenu) .*\$menuentry_id_option '([^']+)'/.exec(line);
    if (head?.[2] === "submenu") submenu = head[3] ?? "";
    if (head?.[2] === "menuentry") {
      if (head[1] === "") submenu = "";
      id = head[3] ?? "";
    }
    const kernel = /^\s*linux(?:16|efi)?\s+\S*\/vmlinuz-(\S+)\s*(.*)$/.exec(line);
    if (kernel?.[1] === undefined) continue;
    lines.push(new Set((kernel[2] ?? "").split(/\s+/).filter(Boolean)));
    const release = kernel[1];
    const normal = /^gnulinux-(.+)-advanced-(.+)$/.exec(id);
    if (normal?.[1] !== release) continue;
    const full = (name: string) => (submenu === "" ? name : `${submenu}>${name}`);
    entries[release] ??= full(id);
    pattern ||= full(`gnulinux-%s-advanced-${normal[2]}`);
  }
  const [first = new Set<string>(), ...rest] = lines;
  return {
    entries,
    pattern,
    savedDefault: /^\s*set default="\$\{saved_entry\}"/m.test(text),
    everywhere: [...first].filter((word) => rest.every((other) => other.has(word))).sort(),
    anywhere: [...new Set(lines.flatMap((words) => [...words]))].sort(),
  };
}

/** Entry of a release, installed or about to be; undefined when the menu gives no way to name it. */
export function entryOf(menu: Pick<GrubMenu, "entries" | "pattern">, release: string): string | undefined {
  return menu.entries[release] ?? (menu.pattern === "" ? undefined : menu.pattern.replace("%s", release));
}

/** `grub-editenv list`: the saved entry, "" when none is saved. */
export function parseSavedEntry(text: string): string {
  return /^saved_entry=(.*)$/m.exec(text)?.[1]?.trim() ?? "";
}

/** Words of a command line, quotes kept together. */
export function commandLineWords(text: string): string[] {
  return text.trim().match(/(?:[^\s"]|"[^"]*")+/g) ?? [];
}

/** Lines of a GRUB default file that put `word` on a kernel's command line. */
export interface WordPlace {
  readonly path: string;
  /** The line is a plain `GRUB_CMDLINE_LINUX[_DEFAULT]="…"` of /etc/default/grub: safe to rewrite. */
  readonly plain: boolean;
}

const PLAIN = /^(GRUB_CMDLINE_LINUX(?:_DEFAULT)?)=(["']?)([^"'`$\\]*)\2\s*$/;
const MAIN = "/etc/default/grub";

/** Where `word` stands in the files that grub-mkconfig sources; comments do not count. */
export function findWord(files: Readonly<Record<string, readonly string[]>>, word: string): WordPlace[] {
  return Object.entries(files).flatMap(([path, lines]) =>
    lines
      .filter((line) => !/^\s*#/.test(line) && hasWord(line, word))
      .map((line) => ({ path, plain: path === MAIN && PLAIN.test(line) })),
  );
}

function hasWord(line: string, word: string): boolean {
  const escaped = word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`(^|[\\s"'=])${escaped}($|[\\s"'])`).test(line);
}

/** Mark before the line that stood there, so that delete can put it back. */
const WAS = "#teeup-was ";

/** Takes `words` off the plain lines of /etc/default/grub; the old line stays above as a comment. */
export function withoutWords(lines: readonly string[], words: readonly string[]): string[] {
  return lines.flatMap((line) => {
    const match = PLAIN.exec(line);
    if (match?.[1] === undefined || !words.some((word) => hasWord(line, word))) return [line];
    const kept = (match[3] ?? "").split(/\s+/).filter((word) => word !== "" && !words.includes(word));
    return [WAS + line, `${match[1]}="${kept.join(" ")}"`];
  });
}

/** Undoes {@link withoutWords}: every marked line replaces the line below it. */
export function withOldWords(lines: readonly string[]): string[] {
  const out: string[] = [];
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] ?? "";
    if (line.startsWith(WAS)) {
      out.push(line.slice(WAS.length));
      i++;
    } else out.push(line);
  }
  return out;
}
