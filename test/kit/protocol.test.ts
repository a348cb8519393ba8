import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import type { Entry, Frame } from "../../providers/kit/protocol.ts";
import { answerOf, compileBatch, decodeFrames, encodeFrame, parseBatch } from "../../providers/kit/protocol.ts";

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "teeup-protocol-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Runs a script the way a node does. */
function shell(script: string): Buffer {
  return spawnSync("dash", ["-s"], { input: script, maxBuffer: 64 << 20 }).stdout;
}
const MARK = "00112233445566778899aabbccddeeff";
const compiled = (...entries: Entry[]) => compileBatch(entries, MARK);
const run = (...entries: Entry[]) => decodeFrames(shell(compiled(...entries)), MARK);
const ask = (argv: string[], more: Partial<Extract<Entry, { verb: "ask" }>> = {}): Entry => ({
  verb: "ask",
  argv,
  seconds: 20,
  maxBytes: 65_536,
  gates: [],
  ...more,
});

/** Words that shells, option parsers and line splitters get wrong. */
const word = fc
  .oneof(
    fc.string({ unit: "grapheme" }),
    fc.string({ unit: "binary" }).filter((s) => s.isWellFormed()),
    fc.constantFrom(
      "",
      "-",
      "--",
      "-n",
      "$HOME",
      "`id`",
      "$(id)",
      "a'b",
      "'",
      "''",
      "'\n'",
      '"',
      "\\",
      "\n",
      "\n\n",
      "#x",
      "*",
      "~",
      "!",
      "if",
      "A=b",
      "};",
      "# end",
    ),
    fc.string({ unit: fc.constantFrom("'", '"', "\\", "\n", "\r", "\t", " ", "$", "`", "a", "é", "😀") }),
  )
  .map((s) => s.replaceAll("\0", ""));
const argv = fc.array(word, { minLength: 1, maxLength: 5 });
const path = word.map((s) => `/${s}`);
const count = fc.nat({ max: 99_999 });
const entry: fc.Arbitrary<Entry> = fc.oneof(
  fc.record({
    verb: fc.constant("ask" as const),
    argv,
    seconds: count,
    maxBytes: count,
    gates: fc.array(fc.record({ argv, exit: fc.nat({ max: 255 }) }), { maxLength: 3 }),
  }),
  fc.record({ verb: fc.constant("read" as const), path, maxBytes: count }),
  fc.record({ verb: fc.constant("run" as const), argv, seconds: count }),
  fc.record({
    verb: fc.constant("put" as const),
    path,
    mode: fc.constantFrom("0644", "0600", "0755"),
    owner: fc.constantFrom("root:root", "nobody:nogroup"),
    content: fc.string({ unit: "binary" }).filter((s) => s.isWellFormed()),
  }),
  fc.record({ verb: fc.constant("remove" as const), path }),
);

describe("a batch", () => {
  test("is read back as it was written", () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 8 }), (entries) => {
        expect(parseBatch(compileBatch(entries, MARK))).toEqual({ mark: MARK, entries });
      }),
      { numRuns: 300 },
    );
  });

  test("hands every word to the program unchanged", () => {
    fc.assert(
      fc.property(fc.array(fc.array(word, { maxLength: 5 }), { minLength: 1, maxLength: 12 }), (lists) => {
        const frames = run(...lists.map((words) => ask(["printf", "%s\\0", "first", ...words])));
        lists.forEach((words, id) => {
          expect(frames.get(id)).toMatchObject({ kind: "ran", status: 0, stderr: "" });
          expect(frames.get(id)?.stdout.split("\0").slice(0, -1)).toEqual(["first", ...words]);
        });
      }),
      { numRuns: 25 },
    );
  });

  test("runs programs only, whatever the first word is", () => {
    const first = ["if", "exit", "A=b", "cd", "-x", "", "$(id)", "frame", "~", "{", "return"];
    const frames = run(...first.map((word) => ask([word, "9"])), ask(["echo", "still here"]));
    expect(frames.size).toBe(first.length + 1);
    expect(first.map((_, id) => frames.get(id)?.kind)).toEqual(first.map(() => "missing"));
    expect(frames.get(first.length)?.stdout).toBe("still here\n");
  });

  test("that was cut short does nothing", () => {
    const victim = join(dir, "victim");
    const script = compiled(
      { verb: "put", path: join(dir, "made"), mode: "0644", owner: "root:root", content: "x" },
      { verb: "run", argv: ["rm", "-f", victim], seconds: 5 },
      { verb: "remove", path: `${victim}-longer` },
    );
    writeFileSync(victim, "here");
    const body = script.indexOf("# entries");
    for (let cut = body; cut < script.length - "\n# end\n".length; cut += 7) shell(script.slice(0, cut));
    shell(script.slice(0, script.lastIndexOf("}")));
    expect(readdirSync(dir)).toEqual(["victim"]);
    shell(script);
    expect(readdirSync(dir)).toEqual(["made"]);
  });

  test("refuses text that cannot arrive as it is", () => {
    expect(() => compiled(ask(["echo", "a\0b"]))).toThrow(/NUL/);
    expect(() => compiled(ask(["echo", "\ud800"]))).toThrow(/surrogate/);
    expect(() => compiled({ verb: "read", path: "/a\0b", maxBytes: 1 })).toThrow(/NUL/);
    expect(() => compiled({ verb: "put", path: "/x", mode: "0644", owner: "root:root", content: "\udc00" })).toThrow(
      /surrogate/,
    );
  });

  test.each([
    ["another script", "echo hello\n"],
    ["a batch without its end", compiled().slice(0, -2)],
    ["a changed prelude", compiled().replace("umask 022", "umask 000")],
    ["a verb of its own", compiled({ verb: "remove", path: "/x" }).replace("\nremove 0", "\nreboot 0")],
  ])("is not recognised in %s", (_name, script) => {
    expect(() => parseBatch(script)).toThrow();
  });
});

describe("frames", () => {
  const encode = (frame: Frame) => encodeFrame(frame, MARK);
  const frame: fc.Arbitrary<Frame> = fc.record({
    id: fc.nat({ max: 500 }),
    kind: fc.constantFrom("ran", "missing", "denied", "skipped", "timeout", "error"),
    status: fc.nat({ max: 255 }),
    stdout: fc.oneof(
      fc.constant("\n#teeup 0\nabc\n#teeup ran 0\n"),
      fc.string({ unit: "binary" }).filter((s) => s.isWellFormed()),
    ),
    stderr: fc.string(),
  });
  const frames = fc.uniqueArray(frame, { selector: (f) => f.id, maxLength: 6 });

  test("of a whole output are all there", () => {
    fc.assert(
      fc.property(frames, (list) => {
        const decoded = decodeFrames(Buffer.concat(list.map(encode)), MARK);
        expect([...decoded.keys()]).toEqual(list.map((f) => f.id));
        for (const f of list) expect(decoded.get(f.id)).toMatchObject(f);
      }),
    );
  });

  test("of a cut output are a head of the list, never a wrong one", () => {
    fc.assert(
      fc.property(frames, fc.nat(), (list, at) => {
        const whole = Buffer.concat(list.map(encode));
        const decoded = [...decodeFrames(whole.subarray(0, at % (whole.length + 1)), MARK).values()];
        expect(decoded).toMatchObject(list.slice(0, decoded.length));
      }),
      { numRuns: 500 },
    );
  });

  test("stand after what a login shell printed", () => {
    const [first] = [
      ...decodeFrames(
        Buffer.concat([
          Buffer.from("Welcome!\nno newline"),
          encode({ id: 0, kind: "ran", status: 0, stdout: "x", stderr: "" }),
        ]),
        MARK,
      ).values(),
    ];
    expect(first).toMatchObject({ id: 0, stdout: "x" });
    expect(decodeFrames(Buffer.from("This account is not available.\n"), MARK).size).toBe(0);
  });

  test("with something between them are refused", () => {
    const good = encode({ id: 0, kind: "ran", status: 0, stdout: "x", stderr: "" });
    expect(() => decodeFrames(Buffer.concat([good, Buffer.from("noise\n"), good]), MARK)).toThrow(/unexpected output/);
  });
});

describe("an answer", () => {
  const answer = (entry: Entry) => answerOf(entry, run(entry).get(0));

  test("has the program's status and both streams", () => {
    expect(answer(ask(["sh", "-c", "echo out; echo err >&2; exit 3"]))).toEqual({
      kind: "ran",
      status: 3,
      stdout: "out\n",
      stderr: "err\n",
    });
  });

  test("that is as long as allowed comes, one byte more is refused", () => {
    const zeros = (n: number) => ask(["head", "-c", String(n), "/dev/zero"], { maxBytes: 5000 });
    expect(answer(zeros(5000))).toMatchObject({ kind: "ran", stdout: "\0".repeat(5000) });
    expect(answer(zeros(5001))).toEqual({ kind: "failed", why: "the answer is longer than 5000 bytes" });
    expect(answer(ask(["cat", "/dev/zero"], { maxBytes: 10 }))).toMatchObject({ kind: "failed" });
  });

  test("counts bytes, not what a decoder makes of them", () => {
    expect(answer(ask(["printf", "\\377\\377\\377"], { maxBytes: 3 }))).toMatchObject({ kind: "ran" });
  });

  test("that does not come in time is failed, a program that ends with 124 or 137 is not", () => {
    expect(answer(ask(["sleep", "9"], { seconds: 1 }))).toEqual({ kind: "failed", why: "no answer within 1 s" });
    expect(answer(ask(["sh", "-c", "exit 124"]))).toMatchObject({ kind: "ran", status: 124 });
    expect(answer(ask(["sh", "-c", "kill -9 $$"]))).toMatchObject({ kind: "ran", status: 137 });
  });

  test("of a missing program, a missing file and a folder keep apart", () => {
    expect(answer(ask(["teeup-no-such-program"]))).toEqual({ kind: "missing" });
    expect(answer({ verb: "read", path: join(dir, "none", "x"), maxBytes: 9 })).toEqual({ kind: "missing" });
    expect(answer({ verb: "read", path: "/", maxBytes: 9 })).toMatchObject({ kind: "failed" });
  });

  test("that may not be read is denied, and so is what lies in a folder that may not be searched", () => {
    const closed = mkdtempSync(join(dir, "closed-"));
    writeFileSync(join(closed, "f"), "x");
    chmodSync(join(closed, "f"), 0o600);
    chmodSync(dir, 0o755);
    const as = (path: string) =>
      decodeFrames(
        spawnSync("setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups", "dash", "-s"], {
          input: compiled({ verb: "read", path, maxBytes: 9 }),
        }).stdout,
        MARK,
      ).get(0)?.kind;
    chmodSync(closed, 0o755);
    expect(as(join(closed, "f"))).toBe("denied");
    chmodSync(closed, 0o700);
    expect(as(join(closed, "f"))).toBe("denied");
    expect(as(join(closed, "none"))).toBe("denied");
    expect(as(join(dir, "none"))).toBe("missing");
  });

  test("behind a shut gate is skipped with that gate's reason, and the next ask is not", () => {
    const gates = [
      { argv: ["true"], exit: 0 },
      { argv: ["false"], exit: 0 },
    ];
    const shut = ask(["touch", join(dir, "never")], { gates });
    const frames = run(shut, ask(["echo", "next"]), ask(["echo", "open"], { gates: [{ argv: ["false"], exit: 1 }] }));
    expect(answerOf(shut, frames.get(0), ["first", "second"])).toEqual({ kind: "skipped", why: "second" });
    expect(frames.get(1)?.stdout).toBe("next\n");
    expect(frames.get(2)?.stdout).toBe("open\n");
    expect(existsSync(join(dir, "never"))).toBe(false);
  });
});

describe("an action", () => {
  const put = (path: string, content: string, mode = "0640", owner = "root:root"): Entry => ({
    verb: "put",
    path,
    content,
    mode,
    owner,
  });

  test("writes any text with its mode, in folders that it makes, and leaves nothing else there", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "binary" }).filter((s) => s.isWellFormed()),
        (content) => {
          const path = join(dir, "w", "deep", "file");
          expect(run(put(path, content)).get(0)).toMatchObject({ kind: "ran", status: 0 });
          expect(readFileSync(path, "utf8")).toBe(content);
          expect(statSync(path).mode & 0o7777).toBe(0o640);
          expect(readdirSync(join(dir, "w", "deep"))).toEqual(["file"]);
        },
      ),
      { numRuns: 10 },
    );
  });

  test("writes a large file", () => {
    const content = "é😀\n".repeat(200_000);
    run(put(join(dir, "large"), content));
    expect(readFileSync(join(dir, "large"), "utf8")).toBe(content);
  });

  test("that cannot write keeps the old file and says why", () => {
    writeFileSync(join(dir, "old"), "old");
    const frame = run(put(join(dir, "old"), "new", "0644", "nobody-here:root")).get(0);
    expect(frame).toMatchObject({ kind: "ran", status: 1, stderr: expect.stringContaining("nobody-here") });
    expect(readFileSync(join(dir, "old"), "utf8")).toBe("old");
    expect(run(put("/dev/full/x", "new")).get(0)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("/dev/full"),
    });
    expect(run(put(join(dir, "w"), "over a folder")).get(0)).toMatchObject({ status: 1 });
    expect(readdirSync(dir).filter((name) => name.includes(".teeup."))).toEqual([]);
  });

  test("removes a file, is content when there is none, and fails on a folder", () => {
    writeFileSync(join(dir, "-rf"), "");
    const frames = run(
      { verb: "remove", path: join(dir, "-rf") },
      { verb: "remove", path: join(dir, "-rf") },
      { verb: "remove", path: join(dir, "w") },
    );
    expect([0, 1, 2].map((id) => frames.get(id)?.status)).toEqual([0, 0, 1]);
    expect(existsSync(join(dir, "w"))).toBe(true);
  });

  test("keeps the end of a long output", () => {
    const frame = run({ verb: "run", argv: ["sh", "-c", "seq 1 100000; seq 1 100000 >&2; exit 4"], seconds: 20 }).get(
      0,
    );
    expect(frame?.status).toBe(4);
    expect(frame?.stdout.length).toBe(16_384);
    expect(frame?.stdout.endsWith("99999\n100000\n")).toBe(true);
    expect(frame?.stderr.endsWith("100000\n")).toBe(true);
  });
});

test("nothing is left behind in the places for temporary files", async () => {
  const left = () =>
    ["/dev/shm", tmpdir()].flatMap((d) => readdirSync(d)).filter((n) => /^teeup\.\w{8}$|^tmp\.\w{10}$/.test(n));
  const before = left();
  run(ask(["echo"]), ask(["sleep", "5"], { seconds: 1 }));
  // Batches of other tests come and go meanwhile; only what stays is left behind.
  const stay = left().filter((name) => !before.includes(name));
  while (stay.some((name) => left().includes(name))) await setTimeout(50);
});
