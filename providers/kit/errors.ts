/** What every error of TeeUp carries: who, what was seen, and what to do next. Never a secret. */
export interface ErrorParts {
  /** Stable code, `<room>.<what>`, e.g. `ssh.host-key-unknown`. */
  readonly code: string;
  /** Node (and guest, as `node/vm`) the error is about; absent for errors of the stack itself. */
  readonly node?: string;
  /** Facet code, config field or step the error is about. */
  readonly subject?: string;
  /** What was seen, in the machine's own words where there are any. */
  readonly saw: string;
  /** The next command to run or the thing to change. */
  readonly next: string;
}

/** The one error type that reaches a person. Its message is complete: node, subject, what was seen, next step. */
export class TeeUpError extends Error {
  override readonly name = "TeeUpError";
  readonly parts: ErrorParts;
  /** How Pulumi knows errors of which a person is to see the message alone, without the program's stack. */
  declare readonly __pulumiRunError: true;

  constructor(parts: ErrorParts, options?: { cause?: unknown }) {
    const who = [parts.node, parts.subject].filter((s) => s !== undefined).join(" · ");
    // The code stands with what it names, before a list that may follow.
    const [first = "", ...more] = parts.saw.split("\n");
    const saw = [`${first} [${parts.code}]`, ...more].join("\n");
    super(`${who === "" ? "" : `${who}: `}${saw}\n  next: ${parts.next}`, options);
    this.parts = parts;
    Object.defineProperty(this, "__pulumiRunError", { value: true });
  }

  get code(): string {
    return this.parts.code;
  }
}
