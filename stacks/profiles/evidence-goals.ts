import type { Launch } from "../../providers/kit/appraisal.ts";
import type { AttestationConfig } from "../../providers/kit/attestation-config.ts";
import { TeeUpError } from "../../providers/kit/errors.ts";
import type { NodeGoal } from "./goals.ts";

export interface EvidenceSettings {
  /** What the guest has to prove to the controller, and what it gets then; without it nothing is asked. */
  readonly attestation?: AttestationConfig | undefined;
}

/** How a recipe's GPUs are asked for evidence, as the facet `attestation` asks them. */
type Appraisal = { readonly tool: "nvattest"; readonly verifier: "local" | "remote" } | { readonly tool: "python-sdk" };

export interface EvidenceOf {
  readonly tee: "sev-snp" | "tdx";
  /** Undefined where the GPUs have no evidence in their mode. */
  readonly gpu: Appraisal | undefined;
  readonly switches: boolean;
  /** How the guest is launched, where the controller may know; without its firmware, which the stack pins. */
  readonly launch?: Omit<Launch, "firmware" | "features">;
}

/**
 * The guest's evidence as a goal, where the stack wants it. Throws `config.attestation` where no measurement is pinned, for a
 * measurement that cannot be computed, and for a policy of the other kind of guests.
 */
export function evidenceGoals({ attestation }: EvidenceSettings, of: EvidenceOf): readonly NodeGoal[] {
  if (attestation === undefined) return [];
  const { measurements, firmware, gpus, secrets } = attestation;
  if (firmware !== undefined && (of.tee === "tdx" || of.launch === undefined))
    throw wrong(
      "firmware",
      "what a TD or an instance of a cloud measures is not computed from a firmware file",
      "give its value: teeup:attestation.measurements",
    );
  if (measurements.length === 0 && firmware === undefined)
    throw wrong(
      "measurements",
      "no launch measurement is pinned, and none is accepted blindly",
      "docs/trust.md, Measurements",
    );
  const [own, other] = of.tee === "tdx" ? (["tdx", "snp"] as const) : (["snp", "tdx"] as const);
  if (attestation[other] !== undefined)
    throw wrong(
      other,
      `the guests of this stack are ${of.tee === "tdx" ? "TDs" : "SEV-SNP guests"}: that policy would hold for none of them`,
      `teeup:attestation.${own}`,
    );
  const policy =
    of.tee === "tdx"
      ? { kind: "tdx", ...attestation.tdx, measurements }
      : { kind: "snp", ...attestation.snp, measurements };
  const gpu = gpus ? methodsOf(of) : [];
  const launch = firmware === undefined ? {} : { launch: { firmware, ...of.launch } };
  return [{ facet: "guest-attestation", want: { policy, gpu, secrets, ...launch } }];
}

function methodsOf({ gpu, switches }: EvidenceOf): readonly string[] {
  if (gpu === undefined) return [];
  if (gpu.tool === "python-sdk") return ["sdk"];
  return [gpu.verifier, ...(switches ? [gpu.verifier === "local" ? "switchLocal" : "switchRemote"] : [])];
}

const wrong = (field: string, saw: string, next: string): TeeUpError =>
  new TeeUpError({ code: "config.attestation", subject: `teeup:attestation.${field}`, saw, next });
