import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { type Manifest, publishedManifest, restore, swap } from "../../tools/pack.ts";

const REPOSITORY = join(import.meta.dirname, "../..");
const ours = JSON.parse(readFileSync(join(REPOSITORY, "package.json"), "utf8")) as Manifest;

let place: string;
beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), "teeup-pack-"));
});
afterEach(() => rmSync(place, { recursive: true, force: true }));

test("users get compiled files under the same names, the provider's among them", () => {
  const published = publishedManifest(ours);
  expect(published.exports).toEqual({
    ".": { types: "./dist/components/index.d.ts", default: "./dist/components/index.js" },
    "./host-provider": { types: "./dist/providers/host-provider.d.ts", default: "./dist/providers/host-provider.js" },
    "./package.json": "./package.json",
  });
  expect(published.bin).toEqual({ teeup: "dist/cli/main.js" });
});

test("users get nothing that only works in this repository", () => {
  const published = publishedManifest(ours);
  expect(Object.keys(published)).not.toEqual(expect.arrayContaining(["scripts"]));
  expect(Object.keys(published)).not.toEqual(expect.arrayContaining(["devDependencies"]));
  expect(JSON.stringify(published)).not.toMatch(/(?<!\.d)\.ts"/);
});

test("the SDK follows the user's copy; everything else stays pinned", () => {
  const { "@pulumi/pulumi": sdk, ...rest } = publishedManifest(ours).dependencies as Record<string, string>;
  expect(sdk).toBe(`^${ours.dependencies["@pulumi/pulumi"]}`);
  for (const version of Object.values(rest)) expect(version).toMatch(/^\d+\.\d+\.\d+$/);
});

test("the CLI's pinned modules and the SDK are one version", async () => {
  const { PULUMI_VERSION } = await import("../../tools/toolchain.ts");
  expect(ours.dependencies["@pulumi/pulumi"]).toBe(PULUMI_VERSION);
  const modules = readFileSync(join(REPOSITORY, "tools/toolchain/cli/go.mod"), "utf8");
  expect(modules).toContain(`github.com/pulumi/pulumi/pkg/v3 v${PULUMI_VERSION}`);
});

/** Odd spacing on purpose: what comes back must be the same bytes, not the same meaning. */
const TEXT = `${JSON.stringify(ours, null, 3)}\n\n`;

test("swap and restore give the same bytes back and leave nothing behind", () => {
  writeFileSync(join(place, "package.json"), TEXT);
  swap(place);
  expect(JSON.parse(readFileSync(join(place, "package.json"), "utf8"))).toEqual(publishedManifest(ours));
  restore(place);
  expect(readFileSync(join(place, "package.json"), "utf8")).toBe(TEXT);
  expect(readdirSync(place)).toEqual(["package.json"]);
});

test("a swap after one that was never undone starts from ours", () => {
  writeFileSync(join(place, "package.json"), TEXT);
  swap(place);
  swap(place);
  restore(place);
  expect(readFileSync(join(place, "package.json"), "utf8")).toBe(TEXT);
});

test("restore without a swap changes nothing", () => {
  writeFileSync(join(place, "package.json"), TEXT);
  restore(place);
  expect(readFileSync(join(place, "package.json"), "utf8")).toBe(TEXT);
});

test("a manifest that cannot be published leaves ours in place", () => {
  writeFileSync(join(place, "package.json"), "{ not json");
  expect(() => swap(place)).toThrow();
  expect(readFileSync(join(place, "package.json"), "utf8")).toBe("{ not json");
  expect(existsSync(join(place, "package.json.unpacked"))).toBe(false);
});
