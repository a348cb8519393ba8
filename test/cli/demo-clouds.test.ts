import { afterAll, expect, test } from "@jest/globals";
import { ownPlace, run } from "./run.ts";

/* The demo of instances: Baidu's is adopted, Alibaba's is made by stand-ins of the plugins and of the cloud. */

const place = ownPlace();
afterAll(place.remove);

test.each([
  // Whatever needs a restart is a person's at Baidu; at Alibaba one restart brings the bounce buffers.
  { platform: "baidu", gpus: 8, reboots: 0, lost: "instance stopped", planned: 10 },
  // Before the instance exists only its making is known.
  { platform: "alibaba", gpus: 1, reboots: 1, lost: "instance released", planned: 1 },
  { platform: "alibaba-8gpu", gpus: 8, reboots: 1, lost: "instance released", planned: 1 },
])(
  "npm run demo -- --json, $platform: from nothing to attested, drift and a lost instance seen and repaired, destroyed",
  async ({ platform, gpus, reboots, lost, planned }) => {
    const { status, stdout, stderr } = await run(["cli/demo.ts", "--json", "--platform", platform], place.env);
    expect([status, status === 0 ? "" : stdout + stderr]).toEqual([0, ""]);
    // The keys are those of test/cli/demo.test.ts.
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
      drift: { injected: `lkca, ${lost}`, seen: true, repaired: true },
      destroyed: true,
      seconds: expect.any(Number),
    });
    const { firstPreview, steps } = JSON.parse(stdout);
    expect(firstPreview.steps).toBeGreaterThanOrEqual(planned);
    expect(steps).toBeGreaterThanOrEqual(20);
    expect(place.leftovers()).toEqual([]);
  },
  400_000,
);

test("npm run demo -- --platform alibaba: says that the cloud is a stand-in, and ends with the instance that was released", async () => {
  const { status, stdout, stderr } = await run(["cli/demo.ts", "--platform", "alibaba"], { NO_COLOR: "1" });
  expect([status, status === 0 ? "" : stdout + stderr]).toEqual([0, ""]);
  const parts = [
    /^── No instance yet, in a cloud that is a stand-in$/m,
    /nothing is ordered, nothing costs anything/,
    /docs\/what-was-tried\.md/,
    /^ {2}\[none\] make an instance ecs\.gn8v-tee\.4xlarge in cn-beijing-l/m,
    /^ {2}\[later\] attestation: decided when the instance exists$/m,
    /^── pulumi up$/m,
    /alicloud:ecs:Instance gpu-01-instance created/,
    /^── teeup check gpu-01$/m,
    /^\d+ findings in [\d.]+ s: \d+ pass, 0 warn, 0 fail, 0 unknown$/m,
    /^✓ pass$/m,
    /^── Sample workload, run once after the attestation$/m,
    /^GPU 0: 64 MiB there and back$/m,
    /^── Behind Pulumi's back: instance released$/m,
    /alicloud:ecs:Instance gpu-01-instance delete/,
    /^Exit status 7:/m,
    /instance-plan\.absent: .*saw none in the cloud/,
    /gpu-01 cannot be reached/,
    /^Your own node: docs\/alibaba-gn8v-tee\.md$/m,
    /npm run demo -- --json --platform alibaba$/m,
  ];
  let at = 0;
  for (const part of parts) {
    const found = stdout.slice(at).search(part);
    expect([String(part), found >= 0]).toEqual([String(part), true]);
    at += found;
  }
}, 300_000);
