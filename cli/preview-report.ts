import { readFile } from "node:fs/promises";
import { text as textOf } from "node:stream/consumers";
import { TeeUpError } from "../providers/kit/errors.ts";
import type { ReviewReport } from "./formats/review-facts.ts";
import { reviewReport } from "./formats/review-facts.ts";
import { runPulumi } from "./pulumi.ts";

export interface PreviewSource {
  /** File with what `pulumi preview --json` printed, `-` for stdin; without one a preview is made now. */
  readonly preview?: string | undefined;
  /** Stack of the preview that is made now; default: the selected one. */
  readonly stack?: string | undefined;
  /** Exit status of the preview in the file; default 0. A policy that refuses it leaves no other trace. */
  readonly status?: number | undefined;
}

/**
 * What a preview says, for people who review it. Throws `report.unreadable`, `report.no-preview`, and
 * `report.preview-failed` when a preview that is made now gives nothing.
 */
export async function previewReport(source: PreviewSource): Promise<ReviewReport> {
  if (source.preview === undefined) return preview(source.stack);
  const { status = 0 } = source;
  return reviewReport(await read(source.preview), status === 0 ? [] : [endedWith(status, "its own output says why")]);
}

/** 0: all was looked at. 3, as of `teeup drift`: a node could not be, or the preview is not whole. */
export const reportStatus = ({ errors, nodes }: ReviewReport): 0 | 3 =>
  errors.length > 0 || nodes.some(({ status }) => status === "unknown" || status === "unreachable") ? 3 : 0;

async function read(path: string): Promise<string> {
  if (path === "-") return textOf(process.stdin);
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new TeeUpError({
      code: "report.unreadable",
      subject: path,
      saw: error instanceof Error ? error.message : String(error),
      next: "TEEUP_REVIEW=1 pulumi preview --json > preview.json makes one",
    });
  }
}

const endedWith = (status: number, said: string): string => `pulumi preview ended with status ${status}: ${said}`;

async function preview(stack: string | undefined): Promise<ReviewReport> {
  const argv = ["preview", "--json", ...(stack === undefined ? [] : ["--stack", stack])];
  const { status, stdout, stderr } = await runPulumi(argv, { env: { TEEUP_REVIEW: "1" } });
  const saw = endedWith(status, stderr.trim().split("\n").slice(0, 5).join("\n") || "no message");
  // A preview that failed half-way still tells the rest, and the report says that it is not whole.
  if (stdout.trimStart().startsWith("{")) return reviewReport(stdout, status === 0 ? [] : [saw]);
  throw new TeeUpError({
    code: "report.preview-failed",
    subject: stack === undefined ? "the selected stack" : `stack ${stack}`,
    saw,
    next: "pulumi preview, which says more",
  });
}
