import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { expect, test } from "@jest/globals";
import { ROOT } from "../cli/run.ts";

/** A provider whose engine never answered on its port: only its parent tells it that the engine is no more. */
const PROVIDER = `
  import { connectEngine } from ${JSON.stringify(`${ROOT}/providers/engine.ts`)};
  connectEngine("127.0.0.1:1").gone.addEventListener("abort", () => { console.log("gone"); process.exit(); });
  setTimeout(() => { console.log("still there"); process.exit(); }, 20_000);
  console.log("ready");
`;
const ENGINE = `
  import { spawn } from "node:child_process";
  spawn(process.execPath, ["--input-type=module", "-e", ${JSON.stringify(PROVIDER)}], { stdio: "inherit" });
`;

test("a provider hears that the engine which started it was killed, though it never listened", async () => {
  const engine = spawn(process.execPath, ["--input-type=module", "-e", ENGINE], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const heard: string[] = [];
  for await (const line of createInterface({ input: engine.stdout })) {
    heard.push(line);
    if (line === "ready") engine.kill("SIGKILL");
  }
  expect(heard).toEqual(["ready", "gone"]);
}, 60_000);
