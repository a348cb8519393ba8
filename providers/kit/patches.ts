import { z } from "zod";
import type { JobLine } from "./action.ts";
import { checkout } from "./host.ts";

export const GitSchema = z.strictObject({
  url: z.url({ protocol: /^https$/ }),
  commit: z.string().regex(/^[0-9a-f]{40}$/, "a commit's 40 hex digits"),
  branch: z.string().optional().describe("For people only; a branch is never followed."),
});
type Git = z.output<typeof GitSchema>;

/** Files of patches with the repository, at one commit, that they come from. */
export const PinnedFilesSchema = z.array(
  z.strictObject({ from: GitSchema, file: z.string().regex(/^[\w.][\w./+-]*$/) }),
);
export type PinnedFile = z.output<typeof PinnedFilesSchema>[number];

/** Checkouts of the repositories below `root`, each once, and where a file of them then lies. */
export function patchSources(
  files: readonly PinnedFile[],
  root: string,
): { lines: JobLine[]; path(file: PinnedFile): string } {
  const sources = [...new Map(files.map((f) => [`${f.from.url} ${f.from.commit}`, f.from])).values()];
  const folder = (from: Git) =>
    `${root}/patches-${sources.findIndex((s) => s.url === from.url && s.commit === from.commit)}`;
  return {
    lines: sources.flatMap((from) => checkout(from.url, from.commit, folder(from))),
    path: ({ from, file }) => `${folder(from)}/${file}`,
  };
}

/**
 * Applies mailboxes to a fresh checkout. Who commits is nobody's name: git am needs one, and none is set on a host. A
 * mailbox that an earlier, killed run was amid is given up first; the checkout before has brought its files back.
 */
export const amLines = (mailboxes: readonly string[], tree: string): JobLine[] =>
  mailboxes.length === 0
    ? []
    : [
        { argv: ["rm", "-rf", `${tree}/.git/rebase-apply`] },
        ...mailboxes.map(
          (file): JobLine => ({
            argv: [
              "git",
              "-C",
              tree,
              "-c",
              "user.name=TeeUp",
              "-c",
              "user.email=teeup@localhost",
              "am",
              "--quiet",
              "--empty=drop",
              file,
            ],
          }),
        ),
      ];

/** A mailbox named `…_baseline_<digits>.mbox` fits that commit alone; what is wrong, or undefined. */
export function baselineFault(source: Git, series: readonly PinnedFile[] | undefined): string | undefined {
  for (const { file } of series ?? []) {
    const baseline = /_baseline_([0-9a-f]+)\.mbox$/.exec(file)?.[1];
    if (baseline !== undefined && !source.commit.startsWith(baseline))
      return `${file} is made for commit ${baseline}…, not for ${source.commit.slice(0, 12)}`;
  }
  return undefined;
}
