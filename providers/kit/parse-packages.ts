/** /etc/os-release: `id` of Ubuntu 24.04 is `ubuntu`, `like` [`debian`]. Missing fields are "". */
export function parseOsRelease(text: string): { id: string; like: string[]; versionId: string } {
  const field = (name: string): string => {
    const match = new RegExp(`^${name}=(?:"([^"]*)"|'([^']*)'|([^\\s"']*))\\s*$`, "m").exec(text);
    return match?.[1] ?? match?.[2] ?? match?.[3] ?? "";
  };
  return { id: field("ID"), like: field("ID_LIKE").split(/\s+/).filter(Boolean), versionId: field("VERSION_ID") };
}

/** Lines `status name version` of dpkg-query: name → version of what is installed. */
export function parseDpkgVersions(text: string): Record<string, string> {
  const out: [string, string][] = [];
  for (const line of text.split("\n")) {
    const [status, name, version = ""] = line.split(" ");
    if (status === "installed" && name !== undefined && name !== "") out.push([name, version]);
  }
  return Object.fromEntries(out.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Lines `status<TAB>name<TAB>provides<TAB>want`: sorted names of what is on hold, installed or not. */
export const parseDpkgHolds = (text: string): string[] =>
  parseLines(text)
    .flatMap((line) => {
      const [, name = "", , want] = line.split("\t");
      return want === "hold" && name !== "" ? [name] : [];
    })
    .sort();

/** Lines `status<TAB>name<TAB>provides<TAB>want`: sorted names of what is installed, and of what that stands in for. */
export function parseDpkgNames(text: string): string[] {
  const names = new Set<string>();
  for (const line of text.split("\n")) {
    const [status, name, provides = ""] = line.split("\t");
    if (status !== "installed" || name === undefined || name === "") continue;
    names.add(name);
    for (const part of provides.split(",")) {
      const provided = part.trim().split(/[\s:(]/)[0];
      if (provided !== undefined && provided !== "") names.add(provided);
    }
  }
  return [...names].sort();
}

/**
 * Lines `name-epoch:version-release.*` of dnf's version locks: what each holds, as bare name and as rpm names the
 * package with and without its architecture. Excluded versions (`!`) hold nothing.
 */
export function parseVersionLocks(text: string): string[] {
  const held = new Set<string>();
  for (const line of parseLines(text)) {
    const lock = /^([^#!\s].*?)-(?:(\d+):)?([^-:]+)-([^-]+?)(?:\.(\*|x86_64|noarch))?$/.exec(line);
    if (lock?.[1] === undefined) continue;
    const whole = `${lock[1]}-${lock[3]}-${lock[4]}`;
    for (const name of [lock[1], whole, `${whole}.x86_64`, `${whole}.noarch`]) held.add(name);
  }
  return [...held].sort();
}

/** Lines `name version-release.arch` of rpm: each package whole, and those of {@link isRpmKernelPart} by name as well. */
export function parseRpmKernels(text: string): string[] {
  return [
    ...new Set(
      parseLines(text).flatMap((line) => {
        const [name = "", version = ""] = line.split(" ");
        return [`${name}-${version}`, ...(isRpmKernelPart(name) ? [name] : [])];
      }),
    ),
  ].sort();
}

/** Packages whose newer version would be another kernel; dnf keeps several versions of them side by side. */
export const isRpmKernelPart = (name: string): boolean =>
  /^kernel(?:-(?:core|modules|modules-core|modules-extra))?$/.test(name);

/** Non-empty lines, sorted, each once. */
export function parseLines(text: string): string[] {
  return [
    ...new Set(
      text
        .split("\n")
        .map((line) => line.trim())
        .filter(Boolean),
    ),
  ].sort();
}

/** sha256sum's lines: path → 64 hex digits. */
export function parseSha256sum(text: string): Record<string, string> {
  const out: [string, string][] = [];
  for (const line of text.split("\n")) {
    const match = /^\\?([0-9a-f]{64}) [ *](.+)$/.exec(line);
    if (match?.[1] !== undefined && match[2] !== undefined) out.push([match[2], match[1]]);
  }
  return Object.fromEntries(out.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Lines `path:text` of `grep -rH`: path → its lines, in order. Paths must not hold a colon. */
export function parseGrepLines(text: string): Record<string, string[]> {
  const out: Record<string, string[]> = {};
  for (const line of text.split("\n")) {
    const at = line.indexOf(":");
    if (at <= 0 || !line.startsWith("/")) continue;
    const path = line.slice(0, at);
    const lines = out[path] ?? [];
    lines.push(line.slice(at + 1));
    out[path] = lines;
  }
  return Object.fromEntries(Object.entries(out).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Compares dotted versions number by number; letters and missing parts count as 0. */
export function compareVersions(a: string, b: string): number {
  const parts = (v: string) =>
    v
      .split(/[^0-9]+/)
      .filter(Boolean)
      .map(Number);
  const [x, y] = [parts(a), parts(b)];
  for (let i = 0; i < Math.max(x.length, y.length); i++) {
    const d = (x[i] ?? 0) - (y[i] ?? 0);
    if (d !== 0) return Math.sign(d);
  }
  return 0;
}

/**
 * Compares kernel releases as rpm does: part by part, a number is newer than letters in its place (`18.1.al8` than
 * `18.al8`), and what letters say tells nothing.
 */
export function compareReleases(a: string, b: string): number {
  const parts = (v: string) => v.match(/\d+|[a-z]+/gi) ?? [];
  const [x, y] = [parts(a), parts(b)];
  const isNumber = (part: string) => /^\d/.test(part);
  for (let i = 0; i < Math.max(x.length, y.length); i++) {
    // What one of them does not have any more is 0 beside a number, and nothing beside letters.
    const [p = "0", q = "0"] = [x[i], y[i]];
    const bothSay = i < x.length && i < y.length;
    const d =
      isNumber(p) && isNumber(q) ? Number(p) - Number(q) : bothSay ? Number(isNumber(p)) - Number(isNumber(q)) : 0;
    if (d !== 0) return Math.sign(d);
  }
  return 0;
}

/** Name of a Python package as pip compares it, also from `Name-1.2.dist-info`. */
export function pipName(name: string): string {
  return name
    .replace(/-[^-]*\.dist-info$/, "")
    .toLowerCase()
    .replace(/[-_.]+/g, "-");
}
