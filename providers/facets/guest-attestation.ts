import type { Appraisal } from "../kit/appraisal.ts";
import type { Answers, Asks } from "../kit/ask.ts";
import { collected, ran, text } from "../kit/ask.ts";
import type { Finding } from "../kit/facet.ts";
import { facet } from "../kit/facet.ts";
import { mapFact, showFact } from "../kit/facts.ts";
import { findingsOf } from "../kit/findings.ts";
import { judgeFact } from "../kit/judge.ts";
import { RELEASED_FILE, SECRETS_DIR } from "../kit/secrets.ts";
import { guestAttestationExamples } from "./guest-attestation-examples.ts";
import {
  type GuestAttestationFacts,
  type GuestAttestationWant,
  lackingOf,
  leftOverOf,
  type Note,
  NoteSchema,
  planGuestAttestation,
  stands,
  Want,
  withdraw,
} from "./guest-attestation-parts.ts";

const SOURCE = "docs/trust.md; Documentation/ABI/testing/configfs-tsm (Linux 6.7)";
const { pass, fail, unsure } = findingsOf("guest-attestation", SOURCE);

const ASKS = {
  reports: { kind: "argv", argv: ["test", "-d", "/sys/kernel/config/tsm/report"] },
  note: { kind: "file", path: RELEASED_FILE },
  files: { kind: "argv", argv: ["find", SECRETS_DIR, "-maxdepth", "1", "-type", "f", "-printf", "%m %u:%g %f\\n"] },
} as const satisfies Asks;

/** Something that is no note of ours is one of nobody: the guest is attested anew. */
function noteOf(json: string): Note {
  try {
    return NoteSchema.parse(JSON.parse(json));
  } catch {
    return { policy: "", hostKey: "", released: {} };
  }
}

function parse(a: Answers<typeof ASKS>): GuestAttestationFacts {
  return {
    reports: mapFact(ran(a.reports), ({ status }) => status === 0),
    note: mapFact(text(a.note), noteOf),
    files: mapFact(collected(a.files), (out) =>
      out.split("\n").flatMap((line) => {
        const [, mode, owner, name] = /^(\d+) ([^\s:]+:[^\s:]+) (.+)$/.exec(line) ?? [];
        if (mode === undefined || owner === undefined || name === undefined) return [];
        return [{ name, mode: mode.padStart(4, "0"), owner }];
      }),
    ),
  };
}

const WANTED = "evidence of the guest that the controller verified";

function judgeAppraisal({ verdict, refusals, ...found }: Appraisal): readonly Finding[] {
  if (verdict === "pass")
    return [pass("verified", WANTED, `launch measurement ${found.measurement}, ${found.tcb}; its GPUs: ${found.gpu}`)];
  const level = verdict === "fail" ? fail : unsure;
  return refusals.map(({ code, saw, next }) =>
    level(code.replace(/^attest\./, "").replaceAll(".", "-"), WANTED, `${saw} [${code}]`, next),
  );
}

function judgeNote(want: GuestAttestationWant, facts: GuestAttestationFacts): Finding {
  if (facts.note.state === "unknown") return unsure("attested", WANTED, facts.note.why, `look at ${RELEASED_FILE}`);
  if (stands(want, facts)) return pass("attested", WANTED, "a pass in this boot, under this policy");
  const saw = facts.note.state === "known" ? "a pass under another policy or host key" : "none since it started";
  return fail("attested", WANTED, saw, "pulumi up attests it; teeup attest NODE does it by hand");
}

/** Evidence that the controller draws and verifies, and what it lets the guest have. */
export const guestAttestation = facet<GuestAttestationWant, GuestAttestationFacts, typeof ASKS>({
  name: "guest-attestation",
  type: "GuestAttestation",
  on: "guest",
  persona: "vm-user",
  summary:
    "The controller verifies the guest's SEV-SNP or TDX evidence over a nonce of its own, bound to the SSH session, and only then releases secrets.",
  sources: [SOURCE, "AMD 56860 (SEV-SNP firmware ABI); Intel TDX DCAP quoting library API"],
  want: Want,
  asks: ASKS,
  parse,
  judge(want, facts) {
    const { reports, files, appraisal } = facts;
    const lacking = lackingOf(want, facts).map(({ name }) => name);
    const leftOver = leftOverOf(want, facts);
    const wrong = [...lacking.map((n) => `${n}: not there as wanted`), ...leftOver.map((n) => `${n}: not wanted`)];
    const wanted = `${want.secrets.map(({ name }) => name).join(", ") || "no file"} in ${SECRETS_DIR}`;
    return [
      judgeFact(reports, {
        code: "guest-attestation.tsm",
        want: "a kernel that makes reports through configfs",
        hint: "a kernel with CONFIG_TSM_REPORTS (6.7) and sev-guest or tdx_guest loaded, and configfs mounted",
        source: SOURCE,
        good: (there) => there,
        show: (there) => (there ? "yes" : "no /sys/kernel/config/tsm/report"),
      }),
      ...(appraisal === undefined ? [judgeNote(want, facts)] : judgeAppraisal(appraisal)),
      files.state === "unknown"
        ? unsure("secrets", wanted, files.why, `ls -l ${SECRETS_DIR} in the guest`)
        : wrong.length === 0
          ? pass("secrets", wanted, wanted)
          : fail("secrets", wanted, wrong.join("; "), "pulumi up releases them once the guest's evidence holds"),
    ];
  },
  plan: planGuestAttestation,
  undo: (_want, { note, files }) => {
    const names = files.state === "known" ? files.value.map(({ name }) => name) : [];
    if (note.state === "unknown" || files.state === "unknown") return [];
    return note.state === "known" || names.length > 0 ? [withdraw(names, "nobody wants them there any more")] : [];
  },
  launch: ({ launch }) => launch,
  evidence: ({ policy, launch, gpu }) => ({ policy, launch, gpu }),
  show: ({ appraisal, note }) => {
    if (appraisal === undefined)
      return { verdict: `not looked at in this run; before: ${showFact(note, () => "pass")}` };
    const { refusals, session: _, ...shown } = appraisal;
    return { ...shown, ...(refusals.length === 0 ? {} : { refusals: refusals.map(({ code }) => code).join(" ") }) };
  },
  examples: guestAttestationExamples,
  covers: [],
});
