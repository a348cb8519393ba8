import { createHash, randomBytes } from "node:crypto";
import type { Collected } from "../kit/appraisal.ts";
import type { Answer, Answers } from "../kit/ask.ts";
import { ATTEST_ASKS, type Method, verdictOf } from "../kit/attest.ts";
import { TeeUpError } from "../kit/errors.ts";
import type { Entry, Frame } from "../kit/protocol.ts";
import { answerOf } from "../kit/protocol.ts";
import { gpuNonce, reportData } from "../kit/report-data.ts";
import type { Asker } from "./batch.ts";
import { keyType } from "./host-keys.ts";
import type { SessionId } from "./shell.ts";

/** Where the kernel makes reports (Documentation/ABI/testing/configfs-tsm). */
const REPORTS = "/sys/kernel/config/tsm/report";
/** A quote has at most 16 KiB, and the certificates of a chip about 6. */
const BLOB_BYTES = 65_536;
const SECONDS = 60;

/** The session that evidence is collected over: every part of it has to go over the same one. */
export interface Session {
  /** Machine that errors name. */
  readonly node: string;
  /** Which one it is now; connects when nothing did yet. */
  id(): Promise<SessionId>;
  readonly asker: Asker;
  /** Runs entries, refused on any session but that one. */
  change(entries: readonly Entry[], only: SessionId): Promise<{ frames: readonly (Frame | undefined)[]; why: string }>;
}

/**
 * GPU evidence first, over a nonce that is derived from this look's, then a report over nonce, host key and the digest of
 * that evidence. Asked through configfs without any shell: an entry is made for the question and removed again.
 * Sessions never come back, so what was asked before the report was of the same one, or the report is not had.
 * Throws TeeUpError `evidence.gpu`, `evidence.tsm`, `evidence.truncated`, `evidence.oversized`, `ssh.other-session`.
 */
export async function collect(session: Session, gpu: readonly Method[]): Promise<Collected> {
  const only = await session.id();
  const blob = only.hostKey;
  const hostKey = lineOf(blob);
  const nonce = randomBytes(32);
  const evidence = gpu.length === 0 ? undefined : await gpuEvidence(session, gpu, gpuNonce({ nonce, hostKey }));
  const bytes = evidence === undefined ? undefined : Buffer.from(evidence.text);
  const digest = bytes === undefined ? Buffer.alloc(0) : createHash("sha384").update(bytes).digest();
  const data = reportData({ nonce, hostKey, gpuEvidenceDigest: digest });

  const name = `teeup-${randomBytes(6).toString("hex")}`;
  const [entry, file] = [`${REPORTS}/${name}`, `/run/teeup/${name}`];
  const run = (...argv: string[]): Entry => ({ verb: "run", argv, seconds: SECONDS });
  const blobOf = (attribute: string): Entry => ({
    verb: "ask",
    argv: ["base64", "-w0", `${entry}/${attribute}`],
    seconds: SECONDS,
    maxBytes: Math.ceil(BLOB_BYTES / 3) * 4,
    gates: [],
  });
  const { frames, why } = await session.change(
    [
      run("mkdir", entry),
      { verb: "put", path: file, mode: "0600", owner: "root:root", content: data.toString("base64") },
      run("openssl", "base64", "-d", "-A", "-in", file, "-out", `${entry}/inblob`),
      blobOf("outblob"),
      blobOf("auxblob"),
      { verb: "read", path: `${entry}/provider`, maxBytes: 256 },
      { verb: "read", path: `/etc/ssh/ssh_host_${KEY_FILES[keyType(blob)] ?? "ed25519"}_key.pub`, maxBytes: 16_384 },
      run("rmdir", entry),
      { verb: "remove", path: file },
    ],
    only,
  );
  const failed = (code: string, saw: string, next: string) =>
    new TeeUpError({ code, node: session.node, subject: "evidence", saw, next });
  const [made, put, asked, out, aux, provider, own] = frames;
  for (const [what, frame] of [
    ["no entry for a report could be made", made],
    ["what the report is to be bound to could not be sent", put],
    ["what the report is to be bound to could not be given to the kernel", asked],
  ] as const) {
    if (frame?.kind === "ran" && frame.status === 0) continue;
    const said = frame === undefined ? why : frame.stderr.trim() || frame.kind;
    throw failed("evidence.tsm", `${what}: ${said}`, NO_TSM);
  }
  const blobText = (frame: Frame | undefined, what: string): string => {
    const answer = blobAnswer(frame, why);
    if ((frame?.stdoutBytes ?? 0) > Math.ceil(BLOB_BYTES / 3) * 4)
      throw failed("evidence.oversized", `the ${what} has more than ${BLOB_BYTES} bytes`, NO_TSM);
    if (answer.kind !== "ran" || answer.status !== 0)
      throw failed(
        "evidence.tsm",
        `the ${what} could not be read: ${answer.kind === "ran" ? answer.stderr.trim() : "why" in answer ? answer.why : answer.kind}`,
        NO_TSM,
      );
    return answer.stdout.trim();
  };
  // A guest without certificates has an attribute that is empty, or none.
  const auxblob = aux?.kind === "ran" && aux.status === 0 ? blobText(aux, "certificates") : "";
  const ownKey = own?.kind === "ran" ? own.stdout.trim() : "";
  return {
    nonce: nonce.toString("hex"),
    session: only.id,
    hostKey,
    ownKey,
    provider: provider?.kind === "ran" ? provider.stdout.trim() : "",
    outblob: blobText(out, "report"),
    auxblob,
    ...(bytes === undefined || evidence === undefined
      ? {}
      : { gpu: { evidence: bytes.toString("base64"), verdict: evidence.verdict } }),
  };
}

const NO_TSM = `ls ${REPORTS} in the guest; its kernel needs CONFIG_TSM_REPORTS (6.7) and the driver sev-guest or tdx_guest`;
const KEY_FILES: Readonly<Record<string, string>> = {
  "ssh-ed25519": "ed25519",
  "ssh-rsa": "rsa",
  "ecdsa-sha2-nistp256": "ecdsa",
  "ecdsa-sha2-nistp384": "ecdsa",
  "ecdsa-sha2-nistp521": "ecdsa",
};

const lineOf = (blob: Buffer): string => `${keyType(blob)} ${blob.toString("base64")}`;

const BLOB_ENTRY: Entry = { verb: "ask", argv: [], seconds: SECONDS, maxBytes: BLOB_BYTES * 2, gates: [] };
const blobAnswer = (frame: Frame | undefined, why: string): Answer =>
  frame === undefined ? { kind: "failed", why } : answerOf(BLOB_ENTRY, frame);

/** What the GPUs' tools print over the derived nonce, one text for all; their verdict is the guest's own. */
async function gpuEvidence(
  { node, asker }: Session,
  methods: readonly Method[],
  nonce: Buffer,
): Promise<{ text: string; verdict: "pass" | "fail" }> {
  const hex = nonce.toString("hex");
  // One at a time: what is under way asks the same GPUs.
  await asker.observe(ATTEST_ASKS);
  const asks = Object.fromEntries(
    methods.map((method) => {
      const { argv, ...ask } = ATTEST_ASKS[method];
      return [method, { ...ask, argv: argv.map((word) => word.replaceAll("@nonce@", hex)) as [string, ...string[]] }];
    }),
  );
  const answers: Record<string, Answer> = await asker.fresh({ ...asks, lspci: ATTEST_ASKS.lspci });
  const seen = methods.map((method) => {
    const answer = answers[method] ?? { kind: "failed", why: "not asked" };
    const nonced = answer.kind === "ran" ? { ...answer, nonce: hex } : answer;
    return { method, answer: nonced, fact: verdictOf(method, { ...answers, [method]: nonced } as Asked) };
  });
  for (const { method, fact } of seen)
    if (fact.state !== "known")
      throw new TeeUpError({
        code: "evidence.gpu",
        node,
        subject: "evidence",
        saw: `no evidence of the GPUs (${method}): ${fact.state === "absent" ? "its tool or its policy is not installed" : fact.why}`,
        next: `teeup check ${node.split("/")[0]}, facet attestation`,
      });
  return {
    text: JSON.stringify(seen.map(({ method, answer }) => [method, answer.kind === "ran" ? answer.stdout : ""])),
    verdict: seen.every(({ fact }) => fact.state === "known" && fact.value.verdict === "pass") ? "pass" : "fail",
  };
}
type Asked = Answers<typeof ATTEST_ASKS>;
