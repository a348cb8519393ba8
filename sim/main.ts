import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { Command, Option } from "commander";
import { DRIFTS } from "./drift.ts";
import type { Faults } from "./faults.ts";
import { type HostRecord, likenessOf } from "./from-record.ts";
import type { BiosVendor } from "./model/bios.ts";
import { DOWNLOADS, downloadSha256 } from "./model/internet.ts";
import type { OsName } from "./model/system.ts";
import { SCENARIOS } from "./scenarios.ts";
import type { Twin, TwinOptions } from "./twin.ts";
import { startTwin } from "./twin.ts";

const PLATFORMS: Readonly<Record<string, Pick<TwinOptions, "tee" | "cloud" | "gpus" | "switches">>> = {
  snp: {},
  tdx: { tee: "tdx" },
  "tdx-8gpu": { tee: "tdx", gpus: 8, switches: 4 },
  baidu: { cloud: "baidu", gpus: 8, switches: 4 },
};

/**
 * A twin as a program. Prints one line of JSON that says how to reach it, then obeys one JSON request per line of
 * stdin and answers each with one line: `{"do": "journal"}`, `{"do": "mutations"}`, `{"do": "clear"}`,
 * `{"do": "drift", "name": …}`, `{"do": "faults", "set": {…}}`, `{"do": "state"}`, `{"do": "power", "on": false}` (as a
 * cloud's console does it to an instance). Ends on SIGTERM, SIGINT and, with `--until-eof`, when stdin ends.
 */
const program = new Command("sim")
  .description("A simulated confidential GPU node behind real SSH and a real Redfish BMC, on loopback.")
  .addOption(new Option("--platform <name>").choices(Object.keys(PLATFORMS)).default("snp"))
  .addOption(
    new Option("--scenario <name>", "change the untouched machine first").choices([...SCENARIOS.map((s) => s.name)]),
  )
  .addOption(
    new Option("--vendor <name>", "BIOS and BMC")
      .choices(["supermicro", "dell", "asrockrack", "hpe", "lenovo"])
      .default("supermicro"),
  )
  .addOption(
    new Option("--os <name>", "default: the platform's own").choices(["ubuntu-26.04", "ubuntu-24.04", "ubuntu-22.04"]),
  )
  .option("--name <host>", "host name; default: twin, or the record's node")
  .option("--record <file>", "a machine like the node of this record (teeup record)")
  .option("--gpus <n>", "number of GPUs; default: the platform's own", Number)
  .option("--ssh-port <port>", "0 takes a free one", Number, 0)
  .option("--authorized-key <file>", "public key that may log in; without it a key is made")
  .option("--key <file>", "write the made private key there instead of printing it")
  .option("--no-bmc", "a node without a BMC")
  .option("--until-eof", "end when stdin ends")
  .option("--list", "list scenarios and drifts, and end");

program.parse();
const options = program.opts<{
  platform: string;
  scenario?: string;
  vendor: BiosVendor;
  os?: OsName;
  name?: string;
  record?: string;
  gpus?: number;
  sshPort: number;
  authorizedKey?: string;
  key?: string;
  bmc: boolean;
  untilEof?: boolean;
  list?: boolean;
}>();

const say = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);

if (options.list === true) {
  say({
    scenarios: SCENARIOS.map(({ name, about, expect }) => ({ name, about, expect })),
    drifts: DRIFTS.map(({ name, facet, about }) => ({ name, facet, about })),
  });
} else await serve();

async function serve(): Promise<void> {
  const likeness =
    options.record === undefined
      ? undefined
      : likenessOf(JSON.parse(readFileSync(options.record, "utf8")) as HostRecord);
  const twin = await startTwin({
    vendor: options.vendor,
    ...PLATFORMS[options.platform],
    ...(likeness === undefined ? {} : { ...likeness.options, prepare: likeness.apply }),
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(options.os === undefined ? {} : { os: options.os }),
    ...(options.gpus === undefined ? {} : { gpus: options.gpus }),
    sshPort: options.sshPort,
    bmc: options.bmc,
    ...(options.scenario === undefined ? {} : { scenario: options.scenario }),
    ...(options.authorizedKey === undefined
      ? {}
      : { authorizedKeys: [readFileSync(options.authorizedKey, "utf8").trim()] }),
  });
  const { privateKey, ...ssh } = twin.ssh;
  if (options.key !== undefined && privateKey !== undefined) writeFileSync(options.key, privateKey, { mode: 0o600 });
  say({
    ssh: { ...ssh, ...(options.key === undefined ? { privateKey } : { keyFile: options.key }) },
    ...(twin.bmc === undefined
      ? {}
      : {
          bmc: {
            url: twin.bmc.url,
            user: twin.bmc.user,
            password: twin.bmc.password,
            certificate: twin.bmc.fingerprint,
          },
        }),
    ...(likeness === undefined ? {} : { unlike: likeness.unlike }),
    downloads: Object.fromEntries(DOWNLOADS.map(({ url }) => [url, downloadSha256(url)])),
  });
  const stop = async () => {
    await twin.stop();
    process.exit(0);
  };
  process.once("SIGTERM", () => void stop());
  process.once("SIGINT", () => void stop());
  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => say(answer(twin, line)));
  if (options.untilEof === true) lines.once("close", () => void stop());
}

function answer(twin: Twin, line: string): unknown {
  try {
    const request = JSON.parse(line) as { do?: string; name?: string; on?: boolean; set?: Partial<Faults> };
    switch (request.do) {
      case "journal":
        return { ok: true, ...twin.journal.counts(), unmodelled: twin.journal.unmodelled };
      case "mutations":
        return { ok: true, mutations: twin.journal.mutations() };
      case "clear":
        twin.journal.clear();
        return { ok: true };
      case "drift":
        twin.drift(request.name ?? "");
        return { ok: true };
      case "power":
        twin.node.power.reset(request.on === true ? "On" : "ForceOff");
        if (request.on === true) twin.node.settle();
        return { ok: true, up: twin.node.up };
      case "faults":
        Object.assign(twin.faults, request.set);
        return { ok: true, faults: twin.faults };
      case "state": {
        const guest = twin.node.guest;
        return {
          ok: true,
          up: twin.node.up,
          kernel: twin.host.running?.kernel.release,
          gpus: [...twin.node.gpus.values()].map(({ bdf, mode, ready }) => ({ bdf, mode, ready })),
          guest:
            guest === undefined
              ? undefined
              : {
                  snp: guest.tee === "sev-snp",
                  tee: guest.tee,
                  gpus: guest.devices,
                  kernel: guest.machine.running?.kernel.release,
                },
          bios: { current: twin.node.bios.current, staged: twin.node.bios.staged },
        };
      }
      default:
        return { ok: false, error: `unknown request ${JSON.stringify(request.do)}` };
    }
  } catch (error) {
    return { ok: false, error: error instanceof Error ? error.message : String(error) };
  }
}
