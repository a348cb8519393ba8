import { join } from "node:path";
import { bytesOf } from "../cli/demo/journey.ts";
import { isFacetResource, type PulumiRun, PulumiStack, ROOT } from "../cli/demo/pulumi.ts";
import { startDemoTwin } from "../cli/demo/twin.ts";
import { inTurns } from "./timing.ts";

/** Seconds, medians. */
export interface Preview {
  /** A no-op preview of one whole node. */
  readonly oneNode: number;
  /** A no-op preview of a program with one dynamic resource that does nothing. */
  readonly emptyProgram: number;
}

export interface PreviewDetails {
  /** SSH execs of each preview. */
  readonly execs: { readonly host: readonly number[]; readonly guest: readonly number[] };
  /** After the first up, when each part's plan of that up is still in it: it is never larger. */
  readonly state: {
    readonly resources: number;
    readonly bytes: number;
    readonly bytesPerResource: number;
    readonly facets: Readonly<Record<string, number>>;
  };
}

/** A stack of one dynamic resource that does nothing, brought up. */
export async function emptyStack(dir: string): Promise<PulumiStack> {
  const program = join(ROOT, "bench/empty");
  const stack = await PulumiStack.create({
    dir: join(dir, "empty"),
    stack: "empty",
    config: {},
    project: "empty",
    program,
  });
  good(await stack.up());
  return stack;
}

export async function measurePreview(
  dir: string,
  empty: PulumiStack,
  runs: number,
  say: (text: string) => void,
): Promise<Preview & PreviewDetails> {
  say("Bringing up the twin…");
  const twin = await startDemoTwin(join(dir, "twin"));
  try {
    const node = await PulumiStack.create({
      dir: join(dir, "node"),
      stack: "node",
      config: twin.config,
      env: twin.env,
    });
    good(await node.up());
    const execs = { host: [] as number[], guest: [] as number[] };
    const quiet = async (stack: PulumiStack) => good(await stack.preview({}, "--expect-no-changes")).seconds;
    say("Previews of it and of an empty program…");
    const seconds = await inTurns(runs, {
      emptyProgram: () => quiet(empty),
      oneNode: async () => {
        await twin.clear();
        const took = await quiet(node);
        const { hostExecs, guestExecs, mutations } = await twin.counts();
        if (mutations > 0) throw new Error(`a no-op preview made ${mutations} changes`);
        execs.host.push(hostExecs);
        execs.guest.push(guestExecs);
        return took;
      },
    });
    const { resources } = await node.export();
    const facets = resources.filter(isFacetResource).map((resource): [string, number] => [
      String(resource.outputs["facet"]),
      // Pulumi writes where the checkout lies into every resource several times; how long that path is, is not our doing.
      bytesOf(JSON.parse(JSON.stringify(resource).replaceAll(ROOT, ""))),
    ]);
    const bytes = facets.reduce((sum, [, of]) => sum + of, 0);
    const bytesPerResource = Math.round(bytes / facets.length);
    const state = { resources: facets.length, bytes, bytesPerResource, facets: Object.fromEntries(facets) };
    return { ...seconds, execs, state };
  } finally {
    await twin.close();
  }
}

function good(run: PulumiRun): PulumiRun {
  if (run.status === 0) return run;
  throw new Error(`pulumi did not do what it was to do:\n${run.stdout}${run.stderr}`);
}
