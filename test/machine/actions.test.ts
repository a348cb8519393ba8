import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { Action } from "../../providers/kit/action.ts";
import type { Fleet, Machine } from "../../providers/kit/machine.ts";
import { openFleet } from "../../providers/machine/fleet.ts";
import { cleanEnv, FAST, type Host, stackOf, startHost, stopHosts } from "./sshd.ts";

let host: Host;
let fleet: Fleet;
let machine: Machine;
const go = new AbortController().signal;
const act = (action: Action, signal = go, onProgress: (line: string) => void = () => {}) =>
  machine.act(action, { signal, onProgress });

beforeAll(async () => {
  host = await startHost();
  fleet = openFleet(stackOf(host), cleanEnv(), FAST);
  machine = fleet.node("gpu-01").host;
});
afterAll(async () => {
  await fleet.close();
  await stopHosts();
});
const place = (name: string) => join(host.dir, "lib/teeup", name);

describe("write", () => {
  test("makes the file with its content, mode and owner, in folders that it makes", async () => {
    await act({
      do: "write",
      path: place("a/b/file.conf"),
      content: "options kvm_amd sev=1\n# é 😀 'quoted' $HOME\n",
      mode: "0600",
      owner: "64001:64001",
    });
    expect(readFileSync(place("a/b/file.conf"), "utf8")).toBe("options kvm_amd sev=1\n# é 😀 'quoted' $HOME\n");
    const { mode, uid, gid } = statSync(place("a/b/file.conf"));
    expect([mode & 0o7777, uid, gid]).toEqual([0o600, 64001, 64001]);
  });

  test("replaces a file in one go: a reader sees the old or the new one, and nothing else is left", async () => {
    const content = (n: number) => `${n}\n`.repeat(20_000);
    await act({ do: "write", path: place("whole"), content: content(1) });
    let running = true;
    const writing = (async () => {
      for (let n = 0; n < 5; n++) await act({ do: "write", path: place("whole"), content: content(n % 2) });
      running = false;
    })();
    while (running) {
      expect([content(0), content(1)]).toContain(readFileSync(place("whole"), "utf8"));
      await new Promise(setImmediate);
    }
    await writing;
    expect(readdirSync(place(".")).filter((name) => name.startsWith("whole"))).toEqual(["whole"]);
    expect(statSync(place("whole")).mode & 0o7777).toBe(0o644);
  });

  test("says what the machine said when it cannot", async () => {
    await expect(act({ do: "write", path: "/proc/teeup/x", content: "" })).rejects.toMatchObject({
      code: "action.put-failed",
      message: expect.stringMatching(/gpu-01: cannot write \/proc\/teeup\/x: .*\/proc\/teeup.*No such file/),
    });
    await expect(act({ do: "write", path: "relative", content: "" })).rejects.toMatchObject({ code: "action.path" });
  });
});

test("remove takes a file away and is content when there is none", async () => {
  writeFileSync(place("gone"), "");
  await act({ do: "remove", path: place("gone") });
  await act({ do: "remove", path: place("gone") });
  expect(existsSync(place("gone"))).toBe(false);
  mkdirSync(place("folder"));
  await expect(act({ do: "remove", path: place("folder") })).rejects.toMatchObject({ code: "action.remove-failed" });
});

describe("run that finds somebody else's lock", () => {
  // apt's own words (apt 2.6); the file says how often they still come.
  const busy = (name: string, says = "Could not get lock") => {
    const text = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 440 (unattended-upgr)";
    const script = `n=$(cat "$0"); [ "$n" -gt 0 ] || exit 0; echo $((n - 1)) >"$0"; echo "$1" >&2; exit 100`;
    return { do: "run", argv: ["sh", "-c", script, place(name), text], retryWhile: [says] } as const satisfies Action;
  };

  test("waits until it is free, and says once who has it", async () => {
    writeFileSync(place("twice"), "2");
    const lines: string[] = [];
    await act(busy("twice"), go, (line) => lines.push(line));
    expect(readFileSync(place("twice"), "utf8").trim()).toBe("0");
    expect(lines).toEqual([expect.stringMatching(/^waiting: .*held by process 440 \(unattended-upgr\)$/)]);
  });

  test("names the holder when it does not become free", async () => {
    writeFileSync(place("ever"), "1000000");
    const hurried = openFleet(stackOf(host), { ...cleanEnv(), TEEUP_TIMEOUT_SCALE: "0.002" }, FAST);
    const end = hurried.node("gpu-01").host.act(busy("ever"), { signal: go, onProgress: () => {} });
    await expect(end).rejects.toMatchObject({
      code: "action.busy",
      message: expect.stringMatching(/process 440 \(unattended-upgr\)[\s\S]*next: .*ps -fp/),
    });
    await hurried.close();
  });

  test("is run once when it fails for another reason", async () => {
    writeFileSync(place("other"), "5");
    await expect(act(busy("other", "no room"))).rejects.toMatchObject({ code: "action.failed" });
    expect(readFileSync(place("other"), "utf8").trim()).toBe("4");
  });
});

test("run of a check that says nothing fails in the words given for it", async () => {
  const means = { saw: "the kernel made no IOMMU groups", next: "turn the IOMMU on" };
  await expect(act({ do: "run", argv: ["test", "-d", "/nowhere"], means })).rejects.toMatchObject({
    code: "action.failed",
    message: expect.stringMatching(/gpu-01: the kernel made no IOMMU groups: "test -d \/nowhere" .*\n.*next: turn the/),
  });
});

describe("run", () => {
  test("hands its words to the program as they are", async () => {
    await act({ do: "run", argv: ["tee", place("it's; rm -rf $HOME")] });
    expect(existsSync(place("it's; rm -rf $HOME"))).toBe(true);
  });

  test.each<[string, Action, object]>([
    [
      "another status",
      { do: "run", argv: ["sh", "-c", "echo why >&2; exit 3"] },
      { code: "action.failed", message: expect.stringMatching(/ended with 3: why/) },
    ],
    ["no such program", { do: "run", argv: ["update-grub-of-nobody"] }, { code: "action.missing" }],
    [
      "no end",
      { do: "run", argv: ["sleep", "30"], timeoutSeconds: 1 },
      { code: "action.timeout", message: expect.stringMatching(/within 1 s/) },
    ],
  ])("fails at %s", async (_name, action, error) => {
    await expect(act(action)).rejects.toMatchObject(error);
  });

  test("takes the statuses that mean success", async () => {
    await act({ do: "run", argv: ["sh", "-c", "exit 3"], okStatus: [0, 3] });
  });

  test("does not start when the run is to stop", async () => {
    await expect(act({ do: "run", argv: ["touch", place("never")] }, AbortSignal.abort())).rejects.toMatchObject({
      code: "run.stopped",
    });
    expect(existsSync(place("never"))).toBe(false);
  });

  test("makes what was known before forgotten, whether it failed or not", async () => {
    const ask = { text: { kind: "file", path: place("fact") } } as const;
    for (const [text, after] of [
      ["1", "exit 0"],
      ["2", "exit 1"],
    ] as const) {
      writeFileSync(place("fact"), "old");
      machine.forget();
      expect((await machine.observe(ask)).text).toMatchObject({ stdout: "old" });
      await act({ do: "run", argv: ["sh", "-c", `printf ${text} >'${place("fact")}'; ${after}`] }).catch(
        () => undefined,
      );
      expect((await machine.observe(ask)).text).toMatchObject({ stdout: text });
    }
  });
});

describe("wait", () => {
  const wait = (file: string, timeoutSeconds: number): Action => ({
    do: "wait",
    argv: ["test", "-e", place(file)],
    timeoutSeconds,
    what: "the file",
  });

  test("ends when the command exits 0", async () => {
    let ended = false;
    const waiting = act(wait("soon", 20)).then(() => {
      ended = true;
    });
    await act({ do: "run", argv: ["true"] });
    expect(ended).toBe(false);
    writeFileSync(place("soon"), "");
    await waiting;
  });

  test("goes on over a lost connection", async () => {
    const waiting = act(wait("later", 20));
    await act({ do: "run", argv: ["true"] });
    host.dropConnections();
    writeFileSync(place("later"), "");
    await waiting;
  });

  test("gives up when its time is up and says what the command said", async () => {
    await expect(act(wait("never", 0.2))).rejects.toMatchObject({
      code: "action.wait-timeout",
      message: expect.stringMatching(/the file did not come within 0.2 s.*exit 1/),
    });
  });

  test("ends when the run is to stop", async () => {
    const stop = new AbortController();
    const waiting = act(wait("never", 60), stop.signal);
    stop.abort();
    await expect(waiting).rejects.toMatchObject({ code: "run.stopped" });
  });
});

test("stage-bios needs a BMC, and hands it the settings", async () => {
  await expect(act({ do: "stage-bios", settings: { Sme: "Enabled" } })).rejects.toMatchObject({ code: "bmc.none" });
  const staged: unknown[] = [];
  const bmc = { url: "https://bmc.test", user: "ops", password: "bmc-secret" };
  const other = openFleet(stackOf(host, {}, { bmc }), cleanEnv(), {
    ...FAST,
    bmc: async () => ({
      bios: async () => ({}) as never,
      powerCycle: async () => {},
      stage: async (settings) => {
        staged.push(settings);
        if (settings["Sme"] === "no") throw new Error("the BMC says: bmc-secret is wrong");
      },
    }),
  });
  const one = other.node("gpu-01").host;
  await one.act({ do: "stage-bios", settings: { Sme: "Enabled" } }, { signal: go, onProgress: () => {} });
  expect(staged).toEqual([{ Sme: "Enabled" }]);
  await expect(
    one.act({ do: "stage-bios", settings: { Sme: "no" } }, { signal: go, onProgress: () => {} }),
  ).rejects.toThrow("the BMC says: [redacted] is wrong");
  await other.close();
});
