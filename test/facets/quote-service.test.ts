import { expect, test } from "@jest/globals";
import { quoteService } from "../../providers/facets/quote-service.ts";
import { ok } from "../../providers/kit/ask.ts";
import { argvs, CONTEXT, factsOf, runExamples } from "./run-examples.ts";

runExamples(quoteService);

const ENDED = "[04-06-2024 03:05:54] INFO: Finished Registration Agent Flow.\n";

test("an earlier end of the agent is never taken for this one's: where its log has one, nothing waits for another", () => {
  const [good, bare] = ["quotes can be made", "nothing installed"].map((name) => {
    const found = quoteService.examples.find((e) => e.name === name);
    if (found === undefined) throw new Error(name);
    return found;
  });
  for (const example of [good, bare])
    for (const log of [ENDED, `ERROR: refused\n${ENDED}`, `passed successfully\n${ENDED}`]) {
      const facts = factsOf(quoteService, { ...example?.answers, registration: ok(log) });
      const steps = example === undefined ? [] : (quoteService.plan?.(example.want, facts, CONTEXT) ?? []);
      expect(steps.flatMap((s) => s.actions.filter((a) => a.do === "wait"))).toEqual([]);
      expect(argvs(steps).join()).not.toContain("mpa_registration");
    }
  const fresh = bare === undefined ? [] : quoteService.plan?.(bare.want, factsOf(quoteService, bare.answers), CONTEXT);
  expect(argvs(fresh ?? []).join()).toContain("restart mpa_registration_tool.service");
});
