/**
 * A twin in a process of its own, driven over Node's IPC channel: as little shared with what talks to it as a real
 * machine would share. Ends with its parent.
 */
import { downloadSha256, memberSha256 } from "../../sim/model/internet.ts";
import type { TwinOptions } from "../../sim/twin.ts";
import { startTwin } from "../../sim/twin.ts";
import type { TwinFacts, TwinQuestion } from "./twin.ts";

if (process.send === undefined) throw new Error("this is started by cli/demo/twin.ts");
const reply = (message: object): void => {
  process.send?.(message);
};

const [options = "{}"] = process.argv.slice(2);
const twin = await startTwin(JSON.parse(options) as TwinOptions);

process.on("message", (question: TwinQuestion) => {
  try {
    reply({ id: question.id, answer: answer(question) });
  } catch (error) {
    reply({ id: question.id, error: error instanceof Error ? error.message : String(error) });
  }
});
// The parent is gone, or wants us to go.
process.on("disconnect", () => void twin.stop().finally(() => process.exit(0)));

const { bmc } = twin;
if (bmc === undefined) throw new Error("the demo's twin has a BMC");
const { host, port, user, hostKey, privateKey = "", publicKey = "" } = twin.ssh;
const facts: TwinFacts = {
  ssh: { host, port, user, hostKey, privateKey, publicKey },
  bmc: { url: bmc.url, user: bmc.user, password: bmc.password, certificate: bmc.fingerprint },
};
reply({ id: 0, answer: facts });

function answer(question: TwinQuestion): unknown {
  switch (question.ask) {
    case "counts":
      return twin.journal.counts();
    case "clear":
      twin.journal.clear();
      return null;
    case "mutations":
      return twin.journal.mutations().map(({ machine, verb, argv }) => ({ machine, verb, argv }));
    case "unmodelled":
      return twin.journal.unmodelled;
    case "drift":
      twin.drift(question.name);
      return null;
    case "removeFile":
      twin.host.files.remove(question.path);
      return null;
    case "hasFile":
      return twin.host.files.readIf(question.path) !== undefined;
    case "sha256":
      return question.member === undefined ? downloadSha256(question.url) : memberSha256(question.url, question.member);
  }
}
