import type { Answer } from "../kit/ask.ts";
import { failed, missing, ok } from "../kit/ask.ts";
import type { Example } from "../kit/facet.ts";
import { NO_MACHINE } from "../kit/guest.ts";
import { demandOf, type GuestAttestationWant, type Note, Want } from "./guest-attestation-parts.ts";

export const want: GuestAttestationWant = Want.parse({
  policy: { kind: "snp", measurements: ["ab".repeat(48)] },
  gpu: ["local"],
  secrets: [{ name: "disk-key" }],
});
const NOTE: Note = { policy: demandOf(want), hostKey: `SHA256:${"A".repeat(43)}`, released: { "disk-key": "1" } };
const FILE = "400 root:root disk-key\n";
export const good: Readonly<Record<string, Answer>> = {
  reports: ok(""),
  note: ok(`${JSON.stringify(NOTE)}\n`),
  files: ok(FILE),
};
const noFolder = ok("", 1, "find: '/run/teeup/secrets': No such file or directory\n");
const example = (
  name: string,
  answers: Readonly<Record<string, Answer>>,
  findings: readonly string[],
  steps: readonly string[],
): Example<GuestAttestationWant> => ({ name, want, answers: { ...good, ...answers }, findings, steps });

const [ATTESTED, SECRETS] = ["guest-attestation.attested", "guest-attestation.secrets"];
const ATTEST = ["guest-attestation.attest"];

/** What a preview sees, which asks for no evidence; what evidence comes to is in the facet's own tests. */
export const guestAttestationExamples: readonly Example<GuestAttestationWant>[] = [
  example("a pass in this boot, and its secret is there", {}, [], []),
  example("started anew since", { note: missing, files: noFolder }, [ATTESTED, SECRETS], ATTEST),
  example(
    "no guest yet",
    { reports: NO_MACHINE, note: NO_MACHINE, files: NO_MACHINE },
    ["guest-attestation.tsm", ATTESTED, SECRETS],
    ATTEST,
  ),
  example(
    "the last pass was under another policy",
    { note: ok(JSON.stringify({ ...NOTE, policy: "0" })) },
    [ATTESTED],
    ATTEST,
  ),
  example("what lies there is no note", { note: ok("{}") }, [ATTESTED, SECRETS], ATTEST),
  example("somebody removed the secret", { files: ok("") }, [SECRETS], ATTEST),
  example("somebody opened the secret to others", { files: ok(FILE.replace("400", "444")) }, [SECRETS], ATTEST),
  example(
    "the secret was rotated",
    { note: ok(JSON.stringify({ ...NOTE, released: { "disk-key": "0" } })) },
    [SECRETS],
    ATTEST,
  ),
  example(
    "a secret that nobody wants there any more",
    { files: ok(`${FILE}400 root:root token\n`) },
    [SECRETS],
    ATTEST,
  ),
  example(
    "a kernel without reports",
    { reports: ok("", 1), note: missing },
    ["guest-attestation.tsm", ATTESTED, SECRETS],
    [],
  ),
  example("the folder cannot be looked at", { files: ok("", 1, "find: Input/output error\n") }, [SECRETS], []),
  example("no answer", { note: failed("connection lost") }, [ATTESTED, SECRETS], []),
];
