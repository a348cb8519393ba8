import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, expect, test } from "@jest/globals";
import { stringify } from "yaml";
import { PULUMI_VERSION } from "../../tools/toolchain.ts";
import { pinsOf } from "../e2e/drive.ts";
import { configOf, ROOT, Site, Stack } from "./harness.ts";

let site: Site;
afterEach(() => site.close());

/** `npm pack` swaps package.json for a moment: in a copy of the checkout, so that nobody beside us sees it. */
async function pack(): Promise<string> {
  const copy = dirname(site.path("checkout", "package.json"));
  const listed = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: ROOT,
    encoding: "utf8",
  });
  for (const file of listed.split("\0").filter((name) => name !== "" && !/^(test|bench)\//.test(name)))
    cpSync(join(ROOT, file), join(copy, file));
  symlinkSync(join(ROOT, "node_modules"), join(copy, "node_modules"));
  const into = dirname(site.path("packed", "x"));
  const packed = await site.start("npm", ["pack", "--pack-destination", into], copy, process.env).ended;
  expect([packed.status, packed.status === 0 ? "" : packed.said]).toEqual([0, ""]);
  const [tarball = "none"] = readdirSync(into);
  return join(into, tarball);
}

test("somebody else's Pulumi project installs the package, and three lines bring up a node", async () => {
  site = new Site();
  const twin = await site.twin({ name: "gpu-01" });
  const tarball = await pack();

  const folder = dirname(site.path("elsewhere", "package.json"));
  mkdirSync(folder, { recursive: true });
  const manifest = {
    name: "elsewhere",
    private: true,
    type: "module",
    dependencies: { "@pulumi/pulumi": PULUMI_VERSION },
  };
  writeFileSync(join(folder, "package.json"), JSON.stringify(manifest));
  writeFileSync(
    join(folder, "Pulumi.yaml"),
    stringify({ name: "elsewhere", main: "index.ts", runtime: { name: "nodejs", options: { typescript: false } } }),
  );
  const args = {
    node: "gpu-01",
    profile: "snp-upstream",
    guest: { publicKey: twin.ssh.publicKey },
    pins: pinsOf("snp-upstream"),
  };
  writeFileSync(
    join(folder, "index.ts"),
    [
      'import { SnpNode } from "teeup";',
      `const node = new SnpNode("gpu-01", ${JSON.stringify(args)});`,
      "export const attestation = node.attestation;",
      "",
    ].join("\n"),
  );
  const install = ["install", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund", tarball];
  const installed = await site.start("npm", install, folder, process.env).ended;
  expect([installed.status, installed.status === 0 ? "" : installed.said]).toEqual([0, ""]);

  const stack = await Stack.create(site, {
    config: configOf([site.node("gpu-01", twin)]),
    env: { TEEUP_BMC_PASSWORD: twin.bmc?.password ?? "" },
    program: { folder, project: "elsewhere" },
  });
  const up = await stack.up();
  expect([up.status, up.status === 0 ? "" : up.said]).toEqual([0, ""]);
  expect(await stack.outputs()).toMatchObject({ attestation: { verdict: "pass" } });
  expect(twin.journal.counts()).toMatchObject({ reboots: 1 });
  expect((await stack.preview("--expect-no-changes")).status).toBe(0);

  // Nothing but the text in the state says where the provider is.
  const destroyed = await stack.destroy();
  expect([destroyed.status, destroyed.status === 0 ? "" : destroyed.said]).toEqual([0, ""]);
  expect((await stack.export()).resources).toEqual([]);
}, 240_000);
