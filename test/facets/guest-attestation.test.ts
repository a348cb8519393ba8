import { describe, expect, test } from "@jest/globals";
import { guestAttestation } from "../../providers/facets/guest-attestation.ts";
import { good, want } from "../../providers/facets/guest-attestation-examples.ts";
import type { Appraisal } from "../../providers/kit/appraisal.ts";
import { type Answer, missing, ok } from "../../providers/kit/ask.ts";
import type { Facet } from "../../providers/kit/facet.ts";
import type { Look } from "../../providers/reconcile.ts";
import { planHash } from "../../providers/review.ts";
import { freshKeyPair } from "../../sim/model/keys.ts";
import { CONTEXT, factsOf, runExamples } from "./run-examples.ts";

runExamples(guestAttestation);

const hostKey = freshKeyPair("root@guest").public.trim();
const passed = (session = "one"): Appraisal => ({ verdict: "pass", refusals: [], gpu: "none", hostKey, session });
const started: Readonly<Record<string, Answer>> = { note: missing, files: ok("") };
const seen = (answers: Readonly<Record<string, Answer>>, appraisal?: Appraisal) => ({
  ...factsOf(guestAttestation, { ...good, ...answers }),
  ...(appraisal === undefined ? {} : { appraisal }),
});
const planned = (answers: Readonly<Record<string, Answer>>, appraisal?: Appraisal) =>
  guestAttestation.plan?.(want, seen(answers, appraisal), CONTEXT) ?? [];

describe("after a pass", () => {
  test("every secret goes to the key and the session that the evidence came over", () => {
    const [step] = planned(started, passed());
    expect(step?.actions).toEqual([
      expect.objectContaining({ do: "release", secret: "disk-key", to: hostKey, session: "one" }),
      expect.objectContaining({ do: "write" }),
    ]);
  });

  test("without a session or a key that it came over nothing goes out", () => {
    const { session: _s, ...nowhere } = passed();
    const { hostKey: _k, ...keyless } = passed();
    for (const appraisal of [nowhere, keyless]) expect(planned(started, appraisal)[0]?.actions).toEqual([]);
  });

  test("what is taken away is said, as are the words that it was read", () => {
    const files = ok("400 root:root disk-key\n400 root:root token\n");
    const [step] = planned({ files }, passed());
    expect(step?.title).toContain("remove token: what it has read it knows");
    expect(step?.actions).toContainEqual({ do: "remove", path: "/run/teeup/secrets/token" });
  });

  test("the session is no output: it is another one in every run", () => {
    expect(guestAttestation.show(seen({}, passed()))).toMatchObject({ verdict: "pass", hostKey });
    expect(guestAttestation.show(seen({}, passed()))).not.toHaveProperty("session");
  });
});

describe("a plan that was reviewed", () => {
  const hash = (answers: Readonly<Record<string, Answer>>, appraisal?: Appraisal) => {
    const facts = seen(answers, appraisal);
    const [steps, findings] = [planned(answers, appraisal), guestAttestation.judge(want, facts)];
    const look: Look = { facts, findings, steps, pending: undefined, observed: {} };
    const goal = { facet: guestAttestation as Facet, node: "gpu-01", want };
    return planHash("gpu-01", [{ goal, look }], {});
  };

  test("is the same one whether or not a refresh has asked for evidence before", () => {
    expect(hash(started, passed("one"))).toBe(hash(started));
    expect(hash(started, passed("two"))).toBe(hash(started));
  });

  test("is another one where secrets would be withdrawn, or others released", () => {
    const failed: Appraisal = { verdict: "fail", refusals: [], gpu: "none" };
    expect(hash({}, failed)).not.toBe(hash({}));
    expect(hash({ files: ok("") })).not.toBe(hash({}));
  });
});
