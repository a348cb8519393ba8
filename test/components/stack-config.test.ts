import { afterEach, expect, test } from "@jest/globals";
import * as pulumi from "@pulumi/pulumi";
import { stackConfig } from "../../stacks/nodes.ts";

const KEYS = "PULUMI_CONFIG_SECRET_KEYS";
afterEach(() => {
  delete process.env[KEYS];
  pulumi.runtime.setAllConfig({});
});

/** As Pulumi gives a program its config; `hidden` are keys that were set with --secret. */
function given(secrets: object, hidden: readonly string[]): void {
  process.env[KEYS] = JSON.stringify(hidden);
  const nodes = [{ name: "gpu-01", ssh: { host: "gpu-01.example" } }];
  pulumi.runtime.setAllConfig({ "teeup:nodes": JSON.stringify(nodes), "teeup:secrets": JSON.stringify(secrets) });
}

test("a secret that stands in the stack's file as it is ends the program, and is not said again", () => {
  const canary = "canary of a plain secret";
  given({ "disk-key": canary }, []);
  let said = "";
  try {
    stackConfig();
  } catch (error) {
    said = (error as Error).message;
  }
  expect(said).toContain("[config.plain-secret]");
  expect(said).toContain("disk-key stand");
  expect(said).not.toContain(canary);
});

test("an encrypted one is kept from the program, and a command needs no encryption", () => {
  given({ "disk-key": "canary of a stored secret" }, ["teeup:secrets"]);
  expect(JSON.stringify(stackConfig())).not.toContain("canary");
  given({ token: { command: ["vault", "read"] } }, []);
  expect(stackConfig()).not.toHaveProperty("secrets");
});
