import { describe, expect, test } from "@jest/globals";
import { tdxQuote } from "../../providers/facets/tdx-quote.ts";
import { qcnlGood, qcnlText } from "../../providers/facets/tdx-quote-plan.ts";

const want = tdxQuote.examples[0]!.want;

describe("what up makes of the certificates' configuration is what the next look takes for good", () => {
  test.each(
    tdxQuote.examples.flatMap(({ name, answers: { qcnl } }) =>
      qcnl?.kind === "ran" ? [[name, qcnl.stdout] as const] : [],
    ),
  )("%s", (_name, text) => {
    expect(qcnlGood(want, qcnlText(want, text))).toBe(true);
  });

  test("comments stay as they are, and the address keeps its path", () => {
    const text =
      '{\n  // "pccs_url": "https://a.example/x/"\n  "pccs_url": "https://localhost:8081/sgx/v4/"\n  //"use_secure_cert": false\n  ,"use_secure_cert": false\n}\n';
    expect(qcnlText(want, text)).toBe(
      '{\n  // "pccs_url": "https://a.example/x/"\n  "pccs_url": "https://pccs.baidubce.com:8081/sgx/v4/"\n  //"use_secure_cert": false\n  ,"use_secure_cert": true\n}\n',
    );
  });
});
