import type { BlockContent, PhrasingContent, RootContent } from "mdast";
import type { Disruption } from "../../providers/kit/disruption.ts";
import { ago } from "../../providers/machine/record.ts";
import { bullets, code, fence, heading, paragraph, render, strong, table, text } from "./markdown.ts";
import type { ReviewedNode, ReviewReport } from "./review-facts.ts";

/** GitHub takes 65,536 characters in a comment. */
export const MARKDOWN_CHARS = 65_000;

/** Nobody has measured these; what was measured would stand in docs/what-was-tried.md. */
const ESTIMATES: Readonly<Record<Disruption, string>> = {
  none: "none",
  service: "seconds: a service restarts",
  "gpu-reset": "about a minute without the GPUs",
  "guest-stop": "minutes: guests stop and start again",
  reboot: "5 to 15 minutes for each restart of the host",
  "power-cycle": "10 to 20 minutes for each power cycle",
  human: "as long as a person takes",
};

const STATUS: Readonly<Record<ReviewedNode["status"], string>> = {
  changes: "changes",
  "as-wanted": "as wanted",
  failing: "**fails**, and no step would mend it",
  unknown: "**unknown**",
  unreachable: "**unreachable**",
  later: "decided when the instance exists",
  removed: "removed",
};

/**
 * A review as a comment: at most {@link MARKDOWN_CHARS} characters. What does not fit is left out from the longest part on,
 * commands and file diffs first, and it is said what. Text of a machine stands in code only, so that it neither formats
 * nor mentions anybody.
 */
export function reviewMarkdown(report: ReviewReport, limit: number = MARKDOWN_CHARS): string {
  const head = render(headOf(report));
  const tail = render(tailOf(report));
  const parts: Part[] = report.nodes
    .filter((node) => node.facets.length + node.unknown.length + node.removed.length > 0)
    .flatMap(partsOf);
  const left: string[] = [];
  const size = () => parts.reduce((sum, part) => sum + textOf(part).length + 1, head.length + tail.length + 2);
  let over = size() - limit;
  if (over > 0) over += NOTE_CHARS;
  for (const part of parts.toSorted((a, b) => gain(b) - gain(a))) {
    if (over <= 0 || gain(part) <= 0) break;
    over -= gain(part);
    part.cut = true;
    left.push(part.name);
  }
  while (over > 0 && parts.length > 0) {
    const node = parts.at(-1)?.node;
    while (parts.length > 0 && parts.at(-1)?.node === node) over -= textOf(parts.pop() as Part).length + 1;
    left.unshift(`all of ${node}`);
  }
  const note =
    left.length === 0
      ? []
      : [
          paragraph(
            strong(`Shortened to ${limit} characters.`),
            text(" Left out here, and whole in the report's JSON: "),
            code(list(left, 12).slice(0, NOTE_CHARS - 200)),
          ),
        ];
  const out = [head, render(note), ...parts.map(textOf), tail].join("\n");
  return out.length <= limit ? out : `${out.slice(0, limit - CUT.length)}${CUT}`;
}

const NOTE_CHARS = 1200;
const textOf = ({ full, short, cut }: Part): string => (cut ? short : full);
const CUT = "\n\nThe rest was cut off.\n";
const gain = ({ full, short }: Part): number => full.length - short.length;
const list = (names: readonly string[], most: number): string =>
  names.length > most ? `${names.slice(0, most).join(", ")} and ${names.length - most} more` : names.join(", ");

/** A piece of the comment with what stands there when it is too long. */
interface Part {
  readonly node: string;
  readonly name: string;
  readonly full: string;
  readonly short: string;
  cut: boolean;
}

function headOf(report: ReviewReport): RootContent[] {
  const { nodes } = report;
  const count = (status: ReviewedNode["status"]) => nodes.filter((node) => node.status === status).length;
  const open = count("unknown") + count("unreachable") + count("failing");
  return [
    // By this a workflow finds the comment that it is to update.
    { type: "html", value: `<!-- teeup-report ${`${report.project}/${report.stack}`.replaceAll(/[^\w.-]/g, "_")} -->` },
    heading(2, text("TeeUp: what would change on "), code(report.stack)),
    paragraph(
      text(
        `Nodes: ${nodes.length}. ${count("changes") + count("removed")} would change, ${count("as-wanted")} are as wanted, ${open} could not be looked at or fail.`,
      ),
    ),
    ...(report.errors.length === 0 ? [] : [paragraph(strong("This preview is not whole:"))]),
    ...report.errors.slice(0, ERRORS).map((error): RootContent => fence("text", shorten(error))),
    ...(report.errors.length <= ERRORS
      ? []
      : [paragraph(text(`${report.errors.length - ERRORS} more errors are in the report's JSON.`))]),
    ...(report.detail === "full"
      ? []
      : [
          paragraph(
            text("Made from a preview without commands, file diffs and hash; those come with "),
            code("TEEUP_REVIEW=1 pulumi preview --json"),
            text("."),
          ),
        ]),
    table(
      ["Node", "", "Worst step", "Permit", "Restarts", "Guests", "Unknown"],
      nodes.map((node) => [
        [code(node.node)],
        markup(STATUS[node.status]),
        isSeen(node) ? [code(node.disruption)] : atLeast(node.disruption),
        isSeen(node) || node.disruption !== "none" ? permitOf(node) : NOT_KNOWN,
        isSeen(node)
          ? [text(node.downtime.restarts === 0 ? "none" : String(node.downtime.restarts))]
          : atLeast(node.downtime.restarts),
        node.guest.stops
          ? [strong(node.guest.state === "running" ? "a running guest stops" : "may stop")]
          : isSeen(node)
            ? [text("stay")]
            : NOT_KNOWN,
        isSeen(node) ? [text(node.unknown.length === 0 ? "nothing" : String(node.unknown.length))] : NOT_KNOWN,
      ]),
    ),
  ];
}

/** Errors that are shown, and the most characters of one: behind them stands what would be done. */
const ERRORS = 5;
const ERROR_CHARS = 2000;
/** Resources of other providers that are shown. */
const OTHERS = 50;
const shorten = (error: string): string =>
  error.length <= ERROR_CHARS ? error : `${error.slice(0, ERROR_CHARS)}… (whole in the report's JSON)`;

/** False when there is more to it than its steps: it was not looked at, or parts of it are undone. */
const isSeen = ({ status, facets, removed }: ReviewedNode): boolean =>
  !["unreachable", "later", "removed"].includes(status) &&
  removed.length === 0 &&
  (status !== "unknown" || facets.length > 0);
const NOT_KNOWN = [text("not known")];
const atLeast = (what: ReviewedNode["disruption"] | number): PhrasingContent[] =>
  what === "none" || what === 0 ? NOT_KNOWN : [code(String(what)), text(" or more")];

function permitOf({ permit, disruption }: ReviewedNode): PhrasingContent[] {
  if (disruption === "none") return [text("not needed")];
  if (disruption === "human") return [strong("a person must act")];
  if (permit === undefined) return [text("needs "), code(disruption)];
  return permit.enough
    ? [text("given: "), code(permit.given)]
    : [strong("needs"), text(" "), code(disruption), text(", has "), code(permit.given)];
}

function tailOf({ approval, others }: ReviewReport): RootContent[] {
  return [
    ...(others.length === 0
      ? []
      : [
          heading(3, text("Resources of other providers")),
          bullets(
            others.slice(0, OTHERS).map(({ op, name, type }) => [text(`${op} `), code(name), text(" "), code(type)]),
          ),
          ...(others.length <= OTHERS
            ? []
            : [paragraph(text(`${others.length - OTHERS} more are in the report's JSON.`))]),
        ]),
    ...(approval === undefined
      ? []
      : [
          heading(3, text("Approve exactly this")),
          paragraph(
            text("With this setting, an "),
            code("up"),
            text(" whose plan is another one is refused before anything is touched."),
          ),
          fence("sh", `pulumi config set teeup:approved ${approval}`),
        ]),
  ];
}

function partsOf(node: ReviewedNode): Part[] {
  const title = render([
    heading(3, code(node.node), text(": "), ...markup(STATUS[node.status])),
    ...(node.unreachable === undefined
      ? []
      : [paragraph(code(node.unreachable.saw)), paragraph(text("Next: "), code(node.unreachable.next))]),
    ...(node.facts?.from === "recorded"
      ? [
          paragraph(
            strong(`Previewed against facts recorded at ${node.facts.at}, ${ago(node.facts.at)}`),
            text(" (record "),
            code(node.facts.hash),
            text("); the node itself was not looked at."),
          ),
        ]
      : []),
    ...(node.status === "changes" && (node.removed.length === 0 || node.disruption !== "none")
      ? [paragraph(text(downtimeOf(node)))]
      : []),
    ...(node.removed.length === 0
      ? []
      : [
          paragraph(strong("Removed, and what they made is undone"), text(" (no preview lists those steps): ")),
          bullets(node.removed.map((facet) => [code(facet)])),
        ]),
    ...(node.unknown.length === 0
      ? []
      : [paragraph(strong("Unknown:")), bullets(node.unknown.map((line) => [code(shorten(line))]))]),
  ]);
  // What fails until the steps before it were taken is looked at again then.
  const later = node.facets.some(({ steps }) => steps.length > 0);
  const failingOf = ({ steps, findings }: ReviewedNode["facets"][number]) =>
    steps.length > 0 ? [] : findings.filter(({ level }) => level === "fail");
  const facets = node.facets.filter((facet) => facet.steps.length + failingOf(facet).length > 0);
  return [
    { node: node.node, name: node.node, full: title, short: title, cut: false },
    ...facets.map((facet) => {
      const steps = facet.steps.map((step) => [code(`[${step.disruption}]`), text(" "), code(step.title)]);
      const failing = failingOf(facet);
      const remark =
        facet.waiting.length > 0
          ? " (waits for a restart)"
          : failing.length > 0 && later
            ? " (fails now, and is looked at again after the other steps)"
            : "";
      const name = paragraph(strong(facet.facet), text(remark));
      const lines: RootContent[] = [
        name,
        ...(steps.length === 0 ? [] : [bullets(steps)]),
        ...(failing.length === 0
          ? []
          : [bullets(failing.map(({ code: id, want, saw }) => [code(shorten(`${id}: want ${want}, saw ${saw}`))]))]),
      ];
      const detail: RootContent[] = facet.steps.flatMap(({ files, commands, why }) => [
        ...(files.length + commands.length > 0 && why !== "" ? [paragraph(text("Because: "), code(why))] : []),
        ...files.flatMap((file): BlockContent[] =>
          file.before === "unknown"
            ? [paragraph(code(file.path), text(" is written; what it is now is unknown: "), code(file.why ?? ""))]
            : file.diff === ""
              ? [paragraph(code(file.path), text(file.before === "absent" ? " is made, empty" : " keeps its text"))]
              : [fence("diff", file.diff)],
        ),
        ...(commands.length === 0 ? [] : [fence("sh", commands.join("\n"))]),
      ]);
      const short = render(lines);
      const full = detail.length === 0 ? short : render([...lines, ...folded("commands and files", detail)]);
      return { node: node.node, name: `${node.node}/${facet.facet}`, full, short, cut: false };
    }),
  ];
}

function downtimeOf({ disruption, downtime, guest }: ReviewedNode): string {
  const { restarts, gpuResets, guestStops, atMostSeconds } = downtime;
  const times = (n: number, one: string, more: string) => (n === 0 ? [] : [n === 1 ? `1 ${one}` : `${n} ${more}`]);
  const counts = [
    ...times(restarts, "restart of the host", "restarts of the host"),
    ...times(gpuResets, "GPU reset", "GPU resets"),
    ...(guest.state === "none" ? [] : times(guestStops, "stop of a guest", "stops of a guest")),
  ];
  const limit = atMostSeconds === 0 ? "" : ` Given up after ${Math.ceil(atMostSeconds / 60)} min at the latest.`;
  return `Disruption ${disruption}: ${counts.join(", ") || "no restart"}. Expected downtime (an estimate): ${ESTIMATES[disruption]}.${limit}`;
}

const markup = (value: string): PhrasingContent[] =>
  value.split("**").flatMap((piece, n) => (piece === "" ? [] : [n % 2 === 1 ? strong(piece) : text(piece)]));
const folded = (summary: string, inside: readonly RootContent[]): RootContent[] => [
  { type: "html", value: `<details><summary>${summary}</summary>` },
  ...inside,
  { type: "html", value: "</details>" },
];
