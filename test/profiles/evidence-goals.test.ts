import { expect, test } from "@jest/globals";
import { AttestationSchema } from "../../providers/kit/attestation-config.ts";
import { TeeUpError } from "../../providers/kit/errors.ts";
import { type EvidenceOf, evidenceGoals } from "../../stacks/profiles/evidence-goals.ts";

const SUM = "ab".repeat(48);
const SNP: EvidenceOf = {
  tee: "sev-snp",
  gpu: { tool: "nvattest", verifier: "local" },
  switches: false,
  launch: { vcpus: 16, cpuModel: "EPYC-v4" },
};
const { launch: _launch, ...CLOUD } = SNP;
const TDX: EvidenceOf = { tee: "tdx", gpu: undefined, switches: false };
const goals = (attestation: object, of = SNP) =>
  evidenceGoals({ attestation: AttestationSchema.parse(attestation) }, of);

test("a stack that asks for no evidence has no goal of it", () => {
  expect(evidenceGoals({}, SNP)).toEqual([]);
});

test.each<[string, object, EvidenceOf, object]>([
  ["a measurement that is given", { measurements: [SUM] }, SNP, { policy: { kind: "snp", measurements: [SUM] } }],
  ["a firmware that it is computed from", { firmware: "OVMF.fd" }, SNP, { launch: { firmware: "OVMF.fd", vcpus: 16 } }],
  ["a TD", { measurements: [SUM] }, TDX, { policy: { kind: "tdx", measurements: [SUM] }, gpu: [] }],
])("%s", (_name, attestation, of, want) => {
  expect(goals(attestation, of)).toMatchObject([{ facet: "guest-attestation", want }]);
});

test.each<[string, object, EvidenceOf, string]>([
  ["no measurement at all", {}, SNP, "measurements"],
  ["a firmware for a TD", { firmware: "OVMF.fd" }, TDX, "firmware"],
  ["a firmware for an instance of a cloud", { firmware: "OVMF.fd" }, CLOUD, "firmware"],
  ["a policy of SNP for a TD", { measurements: [SUM], snp: {} }, TDX, "snp"],
  ["a policy of TDX for an SNP guest", { measurements: [SUM], tdx: {} }, SNP, "tdx"],
])("%s is refused before anything is planned", (_name, attestation, of, field) => {
  const made = () => goals(attestation, of);
  expect(made).toThrow(TeeUpError);
  expect(made).toThrow(
    expect.objectContaining({
      parts: expect.objectContaining({ code: "config.attestation", subject: `teeup:attestation.${field}` }),
    }),
  );
});
