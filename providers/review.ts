import { createTwoFilesPatch, FILE_HEADERS_ONLY } from "diff";
import type { Permit } from "./kit/disruption.ts";
import type { TeeUpError } from "./kit/errors.ts";
import type { Step } from "./kit/facet.ts";
import type { Fact } from "./kit/facts.ts";
import type { FacetReview, FileChange, NodeReview, StepReview } from "./kit/review.ts";
import { commandsOf, limitOf, REVIEW_VERSION } from "./kit/review.ts";
import { redact } from "./machine/redact.ts";
import type { Goal, Look, Reconciler } from "./reconcile.ts";
import { digest, waiting } from "./reconcile.ts";

/** A goal with what was seen of it. */
export interface Seen {
  readonly goal: Goal;
  readonly look: Look;
}

/**
 * What a reviewer is told of goals of one node. Reads the files that would be written, and nothing else beside what was
 * asked already. Throws `node.unreachable` like a look does.
 */
export async function reviewOf(
  reconciler: Reconciler,
  node: string,
  seen: readonly Seen[],
  permit: Permit,
): Promise<NodeReview> {
  const facets = await Promise.all(seen.map((one) => facetReview(reconciler, one)));
  const review: NodeReview = {
    version: REVIEW_VERSION,
    node,
    permit,
    facts: await factsOf(reconciler, node),
    guest: await reconciler.guest(node),
    facets,
  };
  return JSON.parse(redact(JSON.stringify(review))) as NodeReview;
}

async function factsOf(reconciler: Reconciler, node: string): Promise<NodeReview["facts"]> {
  const record = await reconciler.recorded(node);
  return record === undefined ? { from: "live" } : { from: "recorded", ...record };
}

/** Of a node that could not be looked at. */
export const unreachedReview = (node: string, permit: Permit, { parts }: TeeUpError): NodeReview => ({
  version: REVIEW_VERSION,
  node,
  permit,
  facts: { from: "live" },
  guest: "unknown",
  unreachable: { saw: redact(parts.saw), next: redact(parts.next) },
  facets: [],
});

/**
 * 32 hex digits for everything that would be done on a node and why: the wanted states, every step with its actions, and
 * what fails without a step; and for which machine it is, `place`. The same plan of the same node always has the same hash.
 * Of what goes by evidence, the steps by their titles: a preview asks for none, while a refresh before an up does, and what is
 * sent is bound to that very session.
 */
export const planHash = (node: string, seen: readonly Seen[], place: object): string =>
  digest(
    {
      node,
      place,
      goals: seen.map(({ goal, look }) => ({
        facet: goal.facet.name,
        want: goal.want,
        ...(goal.facet.evidence === undefined
          ? {
              steps: look.steps,
              findings: look.findings
                .filter(({ level }) => level === "fail" || level === "unknown")
                .map(({ code }) => code),
            }
          : { steps: look.steps.map(({ actions: _, ...step }) => step) }),
      })),
    },
    32,
  );

async function facetReview(reconciler: Reconciler, { goal, look }: Seen): Promise<FacetReview> {
  const paths = look.steps.flatMap(({ actions }) => actions.flatMap((a) => (a.do === "write" ? [a.path] : [])));
  const before = await reconciler.read(goal, [...new Set(paths)]);
  return {
    facet: goal.facet.name,
    steps: look.steps.map((step) => stepReview(step, before)),
    findings: look.findings.filter(({ level }) => level !== "pass"),
    waiting: [...waiting(look)],
    boots: look.pending?.boots ?? 0,
  };
}

function stepReview(step: Step, before: ReadonlyMap<string, Fact<string>>): StepReview {
  const { code, title, why, disruption, actions } = step;
  return {
    code,
    title,
    why,
    disruption,
    files: actions.flatMap((action) =>
      action.do === "write" ? [fileChange(action.path, action.content, before.get(action.path))] : [],
    ),
    commands: actions.flatMap(commandsOf),
    limitSeconds: actions.map(limitOf).reduce((a, b) => a + b, 0),
  };
}

function fileChange(path: string, content: string, fact: Fact<string> | undefined): FileChange {
  if (fact === undefined || fact.state === "unknown")
    return { path, before: "unknown", diff: "", why: fact?.why ?? "it was not read" };
  const old = fact.state === "known" ? fact.value : "";
  if (old === content) return { path, before: fact.state, diff: "" };
  const diff = createTwoFilesPatch(fact.state === "known" ? path : "/dev/null", path, old, content, "", "", {
    context: 2,
    headerOptions: FILE_HEADERS_ONLY,
  });
  return { path, before: fact.state, diff: diff.replace(NAMED_SECRET, "$1[redacted]") };
}

/** A review is read by more people than the file: what stands beside such a name is not shown, whoever's it is. */
const NAMED_SECRET =
  /((?:passw(?:or)?d|passphrase|secret|token|(?:api|access|subscription)[_-]?key)["']?[ \t]*[:=][ \t]*["']?)[^\s"',;]+/gi;
