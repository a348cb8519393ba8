import { expect, test } from "@jest/globals";
import type { Facet, Step } from "../../providers/kit/facet.ts";
import type { Look, Reconciler } from "../../providers/reconcile.ts";
import { reviewOf } from "../../providers/review.ts";

const PATH = "/etc/sgx_default_qcnl.conf";

/** The review of a step that writes this over that. */
async function diffOf(before: string, after: string): Promise<string> {
  const stub = {
    guest: async () => "none",
    recorded: async () => undefined,
    read: async () => new Map([[PATH, { state: "known", value: before }]]),
  } as unknown as Reconciler;
  const step: Step = {
    code: "x.write",
    title: "write it",
    why: "",
    disruption: "none",
    actions: [{ do: "write", path: PATH, content: after }],
  };
  const look: Look = { facts: {}, findings: [], steps: [step], pending: undefined, observed: {} };
  const facet = { name: "x" } as unknown as Facet;
  const { facets } = await reviewOf(stub, "gpu-01", [{ goal: { facet, node: "gpu-01", want: {} }, look }], "none");
  return facets[0]?.steps[0]?.files[0]?.diff ?? "none";
}

test.each([
  ['  "user_token": "s3cr3t-0",', '  "user_token": "[redacted]",'],
  ['"Ocp-Apim-Subscription-Key" : "s3cr3t-0"', '"Ocp-Apim-Subscription-Key" : "[redacted]"'],
  ["vnc_password = 's3cr3t-0'", "vnc_password = '[redacted]'"],
  ["passwd: $6$s3cr3t-0", "passwd: [redacted]"],
  ["API_KEY=s3cr3t-0 next=1", "API_KEY=[redacted] next=1"],
  ["client-secret: s3cr3t-0", "client-secret: [redacted]"],
])("what stands beside a secret's name in a file is not shown to a reviewer: %s", async (line, shown) => {
  const diff = await diffOf(`a\n${line}\nz\n`, `b\n${line}\nz\n`);
  expect(diff).not.toContain("s3cr3t-0");
  expect(diff.split("\n")).toEqual(expect.arrayContaining(["-a", "+b", ` ${shown}`, " z"]));
  // A change of the secret alone is still one.
  expect(await diffOf(`${line}\n`, `${line.replace("s3cr3t-0", "other-1")}\n`)).toMatch(
    /\n-.*\[redacted\].*\n\+.*\[redacted\]/,
  );
});

test("what is no secret stays: a key's value on the next line, options, the kernel's own words", async () => {
  const text = "tokens 4\npassword:\n  policy: strong\nmem_encrypt=on kvm_amd.sev=1\nsecret_boot off\n";
  const diff = await diffOf("old\n", text);
  for (const line of text.trim().split("\n")) expect(diff).toContain(`+${line}`);
});
