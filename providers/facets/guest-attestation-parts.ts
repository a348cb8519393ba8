import { createHash } from "node:crypto";
import { z } from "zod";
import type { Action } from "../kit/action.ts";
import { type Appraisal, LaunchSchema, WantedPolicySchema } from "../kit/appraisal.ts";
import { METHODS } from "../kit/attest.ts";
import type { Step } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { firstUnknown } from "../kit/findings.ts";
import { sshKeyBlob } from "../kit/report-data.ts";
import { RELEASED_FILE, type Release, ReleaseSchema, SECRETS_DIR } from "../kit/secrets.ts";

export const Want = z.strictObject({
  policy: WantedPolicySchema.describe("What the guest has to prove. Debug is refused whatever is written here."),
  launch: LaunchSchema.optional().describe("SEV-SNP: the accepted measurement is computed from it."),
  gpu: z
    .array(z.enum(METHODS as [(typeof METHODS)[number], ...(typeof METHODS)[number][]]))
    .default([])
    .describe("How the GPUs are asked for the evidence that the report binds; none by default."),
  secrets: z.array(ReleaseSchema).default([]).describe(`Files that it gets in ${SECRETS_DIR} after a pass.`),
});
export type GuestAttestationWant = z.output<typeof Want>;

/** What TeeUp wrote after the last pass of this boot. The guest's root could write it too: it decides what is left to do, never a release. */
export const NoteSchema = z.strictObject({
  policy: z.string(),
  /** SHA-256 fingerprint of the host key that the evidence was bound to. */
  hostKey: z.string(),
  /** Version by name. */
  released: z.record(z.string(), z.string()),
});
export type Note = z.output<typeof NoteSchema>;

export interface SecretFile {
  readonly name: string;
  readonly mode: string;
  readonly owner: string;
}

export interface GuestAttestationFacts {
  /** The kernel makes reports through configfs. */
  readonly reports: Fact<boolean>;
  readonly note: Fact<Note>;
  readonly files: Fact<readonly SecretFile[]>;
  /** Present where this run may ask for evidence. */
  readonly appraisal?: Appraisal;
}

/** 16 hex digits: under which demands the last pass was. */
export const demandOf = ({ policy, launch, gpu }: GuestAttestationWant): string =>
  createHash("sha256")
    .update(JSON.stringify([policy, launch, gpu]))
    .digest("hex")
    .slice(0, 16);

export const fingerprintOf = (line: string): string =>
  `SHA256:${createHash("sha256").update(sshKeyBlob(line)).digest("base64").replace(/=+$/, "")}`;

/** Wanted secrets that are not there as they should be. */
export function lackingOf({ secrets }: GuestAttestationWant, { note, files }: GuestAttestationFacts): Release[] {
  const there = new Map(files.state === "known" ? files.value.map((file) => [file.name, file]) : []);
  const released = note.state === "known" ? note.value.released : {};
  return secrets.filter(({ name, mode, owner, version }) => {
    const file = there.get(name);
    return file === undefined || file.mode !== mode || file.owner !== owner || released[name] !== version;
  });
}

/** Files of released secrets that nobody wants there any more. */
export function leftOverOf({ secrets }: GuestAttestationWant, { files }: GuestAttestationFacts): string[] {
  const names = new Set(secrets.map(({ name }) => name));
  return files.state === "known" ? files.value.map(({ name }) => name).filter((name) => !names.has(name)) : [];
}

/** The last pass of this boot was under these very demands, and bound to the session's key where that is known. */
export function stands(want: GuestAttestationWant, { note, appraisal }: GuestAttestationFacts): boolean {
  if (note.state !== "known" || note.value.policy !== demandOf(want)) return false;
  return appraisal?.hostKey === undefined || note.value.hostKey === fingerprintOf(appraisal.hostKey);
}

const pathOf = (name: string): string => `${SECRETS_DIR}/${name}`;
const list = (names: readonly string[]): string => names.join(", ") || "none";

export function planGuestAttestation(want: GuestAttestationWant, facts: GuestAttestationFacts): readonly Step[] {
  const { reports, note, files, appraisal } = facts;
  if (firstUnknown(reports, note, files) !== undefined) return [];
  const names = files.state === "known" ? files.value.map(({ name }) => name) : [];
  if (appraisal?.verdict === "fail")
    return note.state === "known" || names.length > 0 ? [withdraw(names, "its evidence no longer holds")] : [];
  const lacking = lackingOf(want, facts);
  const leftOver = leftOverOf(want, facts);
  if (stands(want, facts) && lacking.length + leftOver.length === 0) return [];
  if (appraisal?.verdict === "unknown" || (reports.state === "known" && !reports.value)) return [];
  const gives = lacking.length > 0 ? `, and release ${list(lacking.map(({ name }) => name))} to it` : "";
  const takes = leftOver.length > 0 ? `; remove ${list(leftOver)}: what it has read it knows, rotate them` : "";
  return [
    {
      code: "guest-attestation.attest",
      title: `attest the guest from here, over a fresh nonce${gives}${takes}`,
      why: "what a guest says of itself proves nothing; nothing secret goes in before its evidence holds",
      disruption: "none",
      // Before the evidence was had there is nobody to release anything to.
      actions: [...given(want, lacking, leftOver, appraisal)],
    },
  ];
}

function* given(
  want: GuestAttestationWant,
  lacking: readonly Release[],
  leftOver: readonly string[],
  { hostKey: to, session }: Pick<Appraisal, "hostKey" | "session"> = {},
): Iterable<Action> {
  if (to === undefined || session === undefined) return;
  for (const { name, mode, owner } of lacking)
    yield { do: "release", secret: name, path: pathOf(name), mode, owner, to, session };
  for (const name of leftOver) yield { do: "remove", path: pathOf(name) };
  const released = Object.fromEntries(want.secrets.map(({ name, version }) => [name, version]));
  const note: Note = { policy: demandOf(want), hostKey: fingerprintOf(to), released };
  yield { do: "write", path: RELEASED_FILE, content: `${JSON.stringify(note)}\n`, mode: "0600" };
}

/** The files go; what the guest has read it knows. */
export const withdraw = (names: readonly string[], because: string): Step => ({
  code: "guest-attestation.withdraw",
  title: `withdraw the guest's secrets (${list(names)}): ${because}; what it has read it knows: rotate them`,
  why: "secrets are for a guest whose evidence holds",
  disruption: "none",
  actions: [
    ...names.map((name) => ({ do: "remove", path: pathOf(name) }) as const),
    { do: "remove", path: RELEASED_FILE },
  ],
});
