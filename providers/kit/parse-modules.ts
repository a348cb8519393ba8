/** One `options` word of a modprobe.d file. Names use underscores, as the kernel does. */
export interface ModuleOption {
  readonly file: string;
  readonly module: string;
  readonly option: string;
  readonly value: string;
}

export const moduleName = (name: string): string => name.replaceAll("-", "_");

/** `options` lines of modprobe.d files (path → lines), in the order modprobe reads them: by file name. */
export function parseModprobeOptions(files: Readonly<Record<string, readonly string[]>>): ModuleOption[] {
  const base = (path: string) => path.slice(path.lastIndexOf("/") + 1);
  return Object.entries(files)
    .filter(([path]) => path.endsWith(".conf"))
    .sort(([a], [b]) => (base(a) < base(b) ? -1 : 1))
    .flatMap(([file, lines]) =>
      lines.flatMap((line) => {
        const [keyword, module, ...words] = line.trim().split(/\s+/);
        if (keyword !== "options" || module === undefined) return [];
        return words.map((word) => {
          const at = word.indexOf("=");
          const option = at < 0 ? word : word.slice(0, at);
          return {
            file,
            module: moduleName(module),
            option: moduleName(option),
            value: at < 0 ? "" : word.slice(at + 1),
          };
        });
      }),
    );
}

/** `path:value` lines below /sys/module → `module.parameter` → value. */
export function parseModuleParameters(text: string): Record<string, string> {
  const out: [string, string][] = [];
  for (const line of text.split("\n")) {
    const match = /^\/sys\/module\/([^/]+)\/parameters\/([^/:]+):(.*)$/.exec(line);
    if (match?.[1] !== undefined && match[2] !== undefined) out.push([`${match[1]}.${match[2]}`, match[3] ?? ""]);
  }
  return Object.fromEntries(out.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** True when both mean the same to the kernel: Y, y, 1 and on are on, N, n, 0 and off off. */
export function sameParameter(a: string, b: string): boolean {
  const plain = (v: string) => (/^(?:[yY1]|on)$/.test(v) ? "1" : /^(?:[nN0]|off)$/.test(v) ? "0" : v);
  return plain(a.trim()) === plain(b.trim());
}
