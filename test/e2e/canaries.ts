import { inspect } from "node:util";
import ssh2 from "ssh2";

/** Secrets that no other text may hold. One fresh set per run, so that nothing is found by chance. */
export interface Canaries {
  readonly privateKey: string;
  readonly publicKey: string;
  readonly passphrase: string;
  readonly bmcPassword: string;
  readonly sudoPassword: string;
}

export function freshCanaries(): Canaries {
  const random = () => Math.random().toString(36).slice(2, 12);
  const passphrase = `canary-passphrase-${random()}`;
  for (;;) {
    const pair = ssh2.utils.generateKeyPairSync("ed25519", { passphrase, cipher: "aes256-cbc", rounds: 2 });
    // ssh2 writes one in some hundreds so that it cannot be read back.
    if (ssh2.utils.parseKey(pair.private, passphrase) instanceof Error) continue;
    return {
      privateKey: pair.private,
      publicKey: pair.public.trim(),
      passphrase,
      bmcPassword: `canary/bmc "${random()}" \\ é`,
      sudoPassword: `canary sudo ${random()} $'`,
    };
  }
}

/** Every way in which a secret may be written down. */
function forms(secret: string): string[] {
  const bytes = Buffer.from(secret);
  return [
    secret,
    JSON.stringify(secret).slice(1, -1),
    inspect(secret).slice(1, -1),
    encodeURIComponent(secret),
    bytes.toString("base64"),
    bytes.toString("base64").replace(/=+$/, ""),
    bytes.toString("base64url"),
    bytes.toString("hex"),
    Buffer.from(`${secret}\n`).toString("base64"),
  ];
}

/** What was said, by where it was said. */
export class Said {
  readonly #texts: { readonly where: string; readonly text: string }[] = [];

  /** Anything: errors are kept with stack, cause and fields, objects with all they hold. */
  add(where: string, what: unknown): void {
    const whole = inspect(what, { depth: Number.POSITIVE_INFINITY, maxArrayLength: null, maxStringLength: null });
    this.#texts.push({ where, text: typeof what === "string" ? what : whole });
    if (typeof what === "object") this.#texts.push({ where, text: JSON.stringify(what) ?? "" });
  }

  /** How much was looked at, so that a test that heard nothing does not pass. */
  heard(where: string): number {
    return this.#texts.filter((t) => t.where === where).reduce((sum, { text }) => sum + text.length, 0);
  }

  /** How often `part` was said. */
  count(part: string): number {
    return this.#texts.reduce((sum, { text }) => sum + text.split(part).length - 1, 0);
  }

  /** `<canary> in <where>: <around it>` for each secret that got out. */
  leaks(canaries: Canaries): string[] {
    const secrets = [
      ...(["passphrase", "bmcPassword", "sudoPassword"] as const).map((name) => [name, canaries[name]] as const),
      ...canaries.privateKey
        .split("\n")
        .filter((line) => line.length >= 16 && !line.startsWith("-----"))
        .map((line) => ["privateKey", line] as const),
    ];
    return this.#texts.flatMap(({ where, text }) =>
      secrets.flatMap(([name, secret]) => {
        const at = forms(secret)
          .map((form) => text.indexOf(form))
          .find((n) => n >= 0);
        return at === undefined ? [] : [`${name} in ${where}: …${text.slice(Math.max(0, at - 60), at + 30)}`];
      }),
    );
  }
}
