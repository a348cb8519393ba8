import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "@jest/globals";
import { ownPlace, ROOT, run } from "./run.ts";

const place = ownPlace();
afterAll(place.remove);

test.each([
  // Supermicro's settings of SEV-SNP depend on nothing: one restart for kernel, command line, modules and BIOS together.
  // Those of TDX open one after another.
  ["snp", 1, 1],
  ["tdx", 1, 4],
  ["tdx-8gpu", 8, 4],
])(
  "npm run demo -- --json, %s: one object on stdout, and every part of the journey went well",
  async (platform, gpus, reboots) => {
    const { status, stdout, stderr } = await run(["cli/demo.ts", "--json", "--platform", platform], place.env);
    expect([status, status === 0 ? "" : stderr]).toEqual([0, ""]);
    expect(stdout.trimEnd().split("\n")).toHaveLength(1);
    expect(JSON.parse(stdout)).toEqual({
      ok: true,
      platform,
      resources: expect.any(Number),
      stateBytes: expect.any(Number),
      reboots,
      steps: expect.any(Number),
      firstPreview: { steps: expect.any(Number), writes: 0 },
      secondUp: { changes: 0, mutations: 0 },
      attestation: { verdict: "pass", claims: expect.objectContaining({ gpus, measurements: "success" }) },
      drift: { injected: "module-options", seen: true, repaired: true },
      destroyed: true,
      seconds: expect.any(Number),
    });
    const { resources, firstPreview, steps, seconds } = JSON.parse(stdout);
    // A plan and at least one resource for each part of a node that TeeUp knows.
    expect(resources).toBeGreaterThanOrEqual(25);
    expect(firstPreview.steps).toBeGreaterThanOrEqual(25);
    expect(steps).toBeGreaterThanOrEqual(firstPreview.steps);
    expect(seconds).toBeGreaterThan(1);
    expect(place.leftovers()).toEqual([]);
  },
  300_000,
);

test("npm run demo: Pulumi's own display, then findings, verdict, times and what to do next", async () => {
  const { status, stdout, stderr } = await run(["cli/demo.ts"], { NO_COLOR: "1" });
  expect([status, status === 0 ? "" : stdout + stderr]).toEqual([0, ""]);
  const parts = [
    /^── pulumi preview$/m,
    /Previewing update/,
    /^ {2}\[reboot\] restart the host into kernel /m,
    /^── pulumi up$/m,
    /Updating \(demo\)/,
    /^── teeup check gpu-01$/m,
    /^├─ Hardware IT administrator$/m,
    /^\d+ findings in [\d.]+ s: \d+ pass, 0 warn, 0 fail, 0 unknown$/m,
    /^── Attestation$/m,
    /^✓ pass$/m,
    /^── How long it took$/m,
    /│ up: restart of the host +│ +[\d.]+ s │/,
    /^Restarts of the host: 1\./m,
    /^── Next$/m,
    /npm run demo -- --json/,
  ];
  let at = 0;
  for (const part of parts) {
    const found = stdout.slice(at).search(part);
    expect([String(part), found >= 0]).toEqual([String(part), true]);
    at += found;
  }

  // The README quotes this very plan.
  const [, quoted = ""] =
    /<!-- preview:begin -->\n```text\n([\s\S]*?)```/.exec(readFileSync(join(ROOT, "README.md"), "utf8")) ?? [];
  const shown = stdout.split("\n").map((line) => line.trim());
  const lines = quoted.split("\n").filter((line) => line !== "" && line !== "…");
  expect(lines.length).toBeGreaterThan(10);
  const invented = lines.filter(
    (line) => !shown.some((s) => (line.endsWith("…") ? s.startsWith(line.slice(0, -1)) : s === line)),
  );
  expect(invented).toEqual([]);
}, 120_000);

test("a platform that this version does not have is named", async () => {
  const { status, stdout, stderr } = await run(["cli/demo.ts", "--platform", "cca"]);
  expect([status, stdout, stderr]).toEqual([
    1,
    "",
    "--platform cca: this version has snp, tdx, tdx-8gpu, baidu, alibaba, alibaba-8gpu\n",
  ]);
});
