import { TeeUpError } from "../kit/errors.ts";

/**
 * The one boundary between what this process knows and what it says. Every text that leaves providers/machine/ passes
 * {@link redact}: answers, errors, progress. Secrets are registered where they are loaded.
 */
const secrets = new Set<string>();
let patterns: readonly (RegExp | string)[] | undefined;

const HIDDEN = "[redacted]";
/** A shorter "secret" would tear holes into every text and still not be hidden by that. */
const SHORTEST = 3;

// Whatever its origin. Written to stop at a quote or backslash that is not `\n`, so that JSON stays JSON.
const PATTERNS: readonly (readonly [RegExp, string])[] = [
  [
    /-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?:(?:[\w+/=:,\s.-]|\\[nr])*?-----END [A-Z0-9 ]*PRIVATE KEY-----|(?:[\w+/=:,\s.-]|\\[nr])*)/g,
    HIDDEN,
  ],
  [/\b((?:Proxy-)?Authorization["']?\s*[:=]\s*["']?(?:[A-Za-z]+\s+)?)[^\s"'\\,;]+/gi, `$1${HIDDEN}`],
  [/\b(X-Auth-Token["']?\s*[:=]\s*["']?)[^\s"'\\,;]+/gi, `$1${HIDDEN}`],
  // From its slashes on: to look for a scheme at every letter takes an hour for what one answer may hold.
  [/(:\/\/[^\s/:@"']*:)[^\s/@"']+(?=@)/g, `$1${HIDDEN}`],
];

/** Registers a secret of this process: it is hidden from now on, also in the forms in which it may be repeated. */
export function keepSecret(secret: string | Buffer): void {
  const text = secret.toString();
  // Key files are also hidden line by line: an error may quote a part.
  const parts = text.includes("\n")
    ? text.split("\n").filter((line) => line.length >= 16 && !line.startsWith("-----"))
    : [];
  for (const part of [text, text.trim(), ...parts].flatMap((p) => [p, withoutControls(p)])) {
    if (part.length < SHORTEST || secrets.has(part)) continue;
    patterns = undefined;
    for (const form of [
      part,
      JSON.stringify(part).slice(1, -1),
      encodeURIComponent(part.toWellFormed()),
      Buffer.from(part).toString("base64"),
    ])
      secrets.add(form);
  }
}

/**
 * A text as it may leave providers/machine/: without control characters of a machine, which a terminal would obey
 * (line end and tab stay), and without secrets as {@link hideSecrets} does it.
 */
export function redact(text: string): string {
  // First: a secret may be told apart by nothing but a control character in its midst.
  return hideSecrets(withoutControls(text));
}

/** {@link redact}, on one line: no text of a stranger can then pass for a line of ours, such as the next step. */
export const oneLine = (text: string): string =>
  redact(text)
    .split(/[\n\u2028\u2029]/)
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .join("; ");

/**
 * Nothing but line ends and tabs is left of the control characters: no ESC, OSC, BEL, CR or C1. JSON that a machine
 * wrote may hold them as `\u001b`, which whoever reads it would turn into the character again.
 */
const withoutControls = (text: string): string =>
  text
    .replace(/[^\P{Cc}\n\t]/gu, "")
    .replace(/(?<!\\)((?:\\\\)*)(?:\\u00(?:0[0-8bcdef]|1[0-9a-f]|7f|[89][0-9a-f]))+/gi, "$1");

/** The text without any secret that this process has loaded, and without what looks like one; for own, coloured text. */
export function hideSecrets(text: string): string {
  patterns ??= compile();
  let out = text;
  for (const pattern of patterns) out = out.replaceAll(pattern, HIDDEN);
  for (const [regex, put] of PATTERNS) out = out.replace(regex, put);
  return out;
}

/** An expression that is much longer cannot be compiled, and that error would quote it: every secret there is. */
const MOST_PATTERN_CHARS = 8192;

/** Longest first, also from one to the next: a secret may be a part of another. One that is too long stands for itself. */
function compile(): (RegExp | string)[] {
  const longestFirst = [...secrets].sort((a, b) => b.length - a.length);
  const out: (RegExp | string)[] = longestFirst.filter((s) => s.length > MOST_PATTERN_CHARS);
  let words: string[] = [];
  let length = 0;
  const end = () => {
    if (words.length > 0) out.push(new RegExp(words.join("|"), "g"));
    words = [];
    length = 0;
  };
  for (const secret of longestFirst.slice(out.length)) {
    if (length + secret.length > MOST_PATTERN_CHARS) end();
    words.push(secret.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
    length += secret.length;
  }
  end();
  return out;
}

/** A copy of an error that is fit to be shown; its cause keeps only a redacted message. */
export function redactError(error: unknown): Error {
  const cause = error instanceof Error && error.cause !== undefined ? { cause: redactError(error.cause) } : undefined;
  if (!(error instanceof TeeUpError))
    return new Error(redact(error instanceof Error ? error.message : String(error)), cause);
  const { code, node, subject, saw, next } = error.parts;
  return new TeeUpError(
    {
      code,
      ...(node === undefined ? {} : { node }),
      ...(subject === undefined ? {} : { subject: redact(subject) }),
      saw: redact(saw),
      next: redact(next),
    },
    cause,
  );
}
