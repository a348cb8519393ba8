import { lstat, rm, writeFile } from "node:fs/promises";
import pc from "picocolors";
import { siteAppraiser } from "../providers/appraise.ts";
import type { Bundle } from "../providers/attest/bundle.ts";
import type { Policy } from "../providers/attest/policy.ts";
import type { Result } from "../providers/attest/verify.ts";
import { FACETS, facetNamed } from "../providers/facets/index.ts";
import type { Appraisal } from "../providers/kit/appraisal.ts";
import { TeeUpError } from "../providers/kit/errors.ts";
import { findNode, openFleet } from "../providers/machine/fleet.ts";
import { oneLine } from "../providers/machine/redact.ts";
import { Reconciler } from "../providers/reconcile.ts";
import { goalsOfNode } from "../stacks/profiles/resolve.ts";
import { renderVerified, type Verified } from "./attest.ts";
import type { StackSource } from "./stack.ts";
import { loadStack, placeOf } from "./stack.ts";

export interface AttestOptions extends StackSource {
  /** Where to write evidence, nonce, host key and policy: what `teeup attest verify` reads. */
  readonly out?: string | undefined;
  /** Where to write the signed result. */
  readonly ear?: string | undefined;
}

export interface Attested {
  readonly node: string;
  /** With what was verified, where evidence could be had. */
  readonly appraisal: Appraisal;
  readonly verified?: Verified;
}

/**
 * Asks a node's guest for evidence over a fresh nonce and verifies it as the stack wants it. Releases and withdraws nothing.
 * Throws `attest.not-wanted` for a stack that wants none, and what reaching the node throws.
 */
export async function attestNode(
  name: string,
  { out, ear, ...source }: AttestOptions,
  env = process.env,
): Promise<Attested> {
  const config = await loadStack(source);
  const node = findNode(config, name);
  const facet = facetNamed("guest-attestation");
  const goal = goalsOfNode(config, node.guest).find((one) => one.facet === facet.name);
  const request = goal === undefined ? undefined : facet.evidence?.(facet.want.parse(goal.want));
  if (request === undefined)
    throw new TeeUpError({
      code: "attest.not-wanted",
      node: name,
      subject: "teeup:attestation",
      saw: "the stack does not say what its guests have to prove",
      next: "docs/trust.md, In a stack",
    });
  const fleet = openFleet({ ...config, nodes: [node] }, env);
  const reconciler = new Reconciler(fleet);
  const seen: { bundle: Bundle; policy: Policy; result: Result }[] = [];
  try {
    for (const file of [out, ear]) await removeOlder(file);
    if (!reconciler.located(name)) reconciler.locate(name, await placeOf(name, source), FACETS);
    await reconciler.reach(name);
    const appraise = siteAppraiser(config, env, {
      onVerified: (_node, bundle, policy, result) => void seen.push({ bundle, policy, result }),
    });
    const { session: _, ...appraisal } = await appraise(fleet.node(name).guest, name, request);
    const [last] = seen;
    if (out !== undefined && last !== undefined)
      await writeFile(out, `${JSON.stringify({ ...last.bundle, policy: last.policy })}\n`);
    if (ear !== undefined && appraisal.ear !== undefined) await writeFile(ear, `${appraisal.ear}\n`);
    if (last === undefined) return { node: name, appraisal };
    return {
      node: name,
      appraisal,
      verified: { ...last.result, nonceFrom: "given", hostKeyFrom: "given", policyFrom: "given" },
    };
  } finally {
    await reconciler.close();
  }
}

/** An older look's result must not stand for this one, which may have none. A device or a pipe stays. */
async function removeOlder(file: string | undefined): Promise<void> {
  if (file === undefined) return;
  const there = await lstat(file).catch(() => undefined);
  if (there?.isFile() === true) await rm(file);
}

/** What a person reads; for evidence that could not be had, why and what to do. */
export function renderAttested({ appraisal, verified }: Attested): string {
  // What the appraisal adds to the verification: a report that was given before, and what is no fault of the guest's.
  const same = verified?.verdict === appraisal.verdict && verified.refusals.length === appraisal.refusals.length;
  if (verified !== undefined && same) return renderVerified(verified);
  return [
    appraisal.verdict === "fail" ? `${pc.red("✗")} refused` : `${pc.yellow("?")} no verdict could be had`,
    ...appraisal.refusals.flatMap(({ code, saw, next }) => [`  ${pc.red(code)}: ${oneLine(saw)}`, `    next: ${next}`]),
  ].join("\n");
}
