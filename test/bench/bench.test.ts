import { expect, test } from "@jest/globals";
import { run } from "../cli/run.ts";

test("npm run bench -- --json gives the figures of the parts that are asked for, and counts one exec per machine", async () => {
  const { stdout, stderr } = await run(["bench/run.ts", "--json", "--runs", "1", "--only", "preview,attest"]);
  expect(stderr).toMatch(/^Bringing up the twin…/);
  const result = JSON.parse(stdout);
  expect(result).toEqual({
    preview: { oneNode: expect.any(Number), emptyProgram: expect.any(Number) },
    details: {
      execs: { host: [1], guest: [1] },
      state: {
        resources: expect.any(Number),
        bytes: expect.any(Number),
        bytesPerResource: expect.any(Number),
        facets: expect.objectContaining({ attestation: expect.any(Number), "host-boot": expect.any(Number) }),
      },
    },
    attest: { snpMs: expect.any(Number), tdxMs: expect.any(Number) },
    promises: expect.arrayContaining([expect.objectContaining({ what: "state of a resource, average", holds: true })]),
    machine: expect.objectContaining({ node: process.version, pulumi: expect.stringMatching(/^v\d/), runs: 1 }),
    ok: expect.any(Boolean),
  });
  // Wall times depend on what else the machine does; bytes do not.
  expect(Object.keys(result.details.state.facets)).toHaveLength(result.details.state.resources);
}, 180_000);

test("a part that there is not is refused before anything is measured", async () => {
  const { status, stderr } = await run(["bench/run.ts", "--only", "everything"]);
  expect([status, stderr]).toEqual([1, expect.stringContaining("--only everything: there are accuracy, drift20")]);
});
