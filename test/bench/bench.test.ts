import { expect, test } from "@jest/globals";
import { run } from "../cli/run.ts";

test("npm run bench -- --json gives every figure of every side, and counts one exec per machine", async () => {
  const { stdout, stderr } = await run(["bench/run.ts", "--json", "--runs", "1"]);
  expect(stderr).toMatch(/^Bringing up the twin and the empty program/);
  const result = JSON.parse(stdout);
  expect(result).toEqual({
    preview: {
      node: { seconds: [expect.any(Number)], median: expect.any(Number) },
      empty: { seconds: [expect.any(Number)], median: expect.any(Number) },
      ratio: expect.any(Number),
      most: 2,
    },
    execsPerPreview: { host: [1], guest: [1], most: 1 },
    state: {
      resources: expect.any(Number),
      bytes: expect.any(Number),
      bytesPerResource: expect.any(Number),
      most: 2048,
      facets: expect.objectContaining({ attestation: expect.any(Number), "host-boot": expect.any(Number) }),
    },
    attest: { snpMs: expect.any(Number), tdxMs: expect.any(Number), most: { snp: 50, tdx: 200 } },
    machine: { cpus: expect.any(Number), node: process.version, pulumi: expect.stringMatching(/^v\d/) },
    ok: expect.any(Boolean),
  });
  // Wall times depend on what else the machine does; bytes do not.
  expect(result.state.bytesPerResource).toBeLessThanOrEqual(result.state.most);
  expect(Object.keys(result.state.facets)).toHaveLength(result.state.resources);
}, 180_000);
