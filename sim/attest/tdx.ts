import { createHash, generateKeyPairSync, sign } from "node:crypto";
import type { Identity, Validity } from "./pki.ts";
import { anchorOf, integer, issue, LONG, revocationList, tlv, vendorExtension } from "./pki.ts";

/** Intel as tests have it: root, platform CA, TCB signer, a platform with its quoting enclave. No release trusts it. */
export interface TestIntel {
  readonly root: Identity;
  readonly platformCa: Identity;
  readonly tcbSigner: Identity;
  readonly pck: Identity;
  readonly anchor: ReturnType<typeof anchorOf>;
  quote(fields?: TdFields): Buffer;
  collateral(options?: CollateralOptions): Promise<TestCollateral>;
}

export interface TestCollateral {
  readonly tcbInfo: string;
  readonly tcbInfoIssuerChain: string;
  readonly qeIdentity: string;
  readonly qeIdentityIssuerChain: string;
  readonly pckCrl: Buffer;
  readonly rootCrl: Buffer;
}

/** What tests change in a TD report; everything else is as a sound TD has it. */
export interface TdFields {
  readonly version?: 4 | 5;
  readonly mrTd?: Buffer;
  readonly rtmrs?: readonly Buffer[];
  readonly reportData?: Buffer;
  /** TDATTRIBUTES as a number; default SEPT_VE_DISABLE alone. */
  readonly attributes?: bigint;
  /** TEE_TCB_SVN; index 0 is the module's version, 1 its generation. */
  readonly tcbSvn?: readonly number[];
  readonly mrSignerSeam?: Buffer;
  readonly qeIsvSvn?: number;
  readonly qeAttributes?: number;
}

export interface CollateralOptions {
  readonly validity?: Validity;
  readonly tcbStatus?: string;
  readonly advisories?: readonly string[];
  readonly fmspc?: string;
  /** Least version of the module TDX_01 that is up to date. */
  readonly moduleSvn?: number;
  readonly revoked?: readonly Identity[];
  readonly tcbSigner?: Identity;
  readonly crlSigner?: Identity;
}

export const FMSPC = "00806f050000";
export const SEPT_VE_DISABLE = 1n << 28n;
export const MRTD = createHash("sha384").update("an MRTD for tests").digest();

const INTEL = "O=Intel Corporation, L=Santa Clara, ST=CA, C=US";
const QE_SIGNER = createHash("sha256").update("the test QE's signer").digest();
const CPU_SVN = Array.from({ length: 16 }, (_, i) => (i < 4 ? 5 : 0));

export async function testIntel(
  validity: Validity = LONG,
  commonNames: { pck?: string; tcb?: string; ca?: string } = {},
): Promise<TestIntel> {
  const root = await issue({ subject: `CN=Intel SGX Root CA, ${INTEL}`, kind: "p256", ca: true });
  const platformCa = await issue({
    subject: `CN=${commonNames.ca ?? "Intel SGX PCK Platform CA"}, ${INTEL}`,
    kind: "p256",
    issuer: root,
    ca: true,
  });
  const tcbSigner = await issue({
    subject: `CN=${commonNames.tcb ?? "Intel SGX TCB Signing"}, ${INTEL}`,
    kind: "p256",
    issuer: root,
  });
  const pck = await issue({
    subject: `CN=${commonNames.pck ?? "Intel SGX PCK Certificate"}, ${INTEL}`,
    kind: "p256",
    issuer: platformCa,
    validity,
    extensions: [vendorExtension("1.2.840.113741.1.13.1", sgxExtension())],
  });
  const attestation = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const quote = (fields: TdFields = {}): Buffer => makeQuote(fields, { root, platformCa, pck }, attestation);
  const collateral = async (options: CollateralOptions = {}): Promise<TestCollateral> => {
    const { tcbSigner: signer = tcbSigner, validity: times = LONG, revoked = [] } = options;
    const chain = signer.pem + root.pem;
    return {
      tcbInfo: signedBody("tcbInfo", tcbInfo(options, times), signer),
      tcbInfoIssuerChain: chain,
      qeIdentity: signedBody("enclaveIdentity", qeIdentity(times), signer),
      qeIdentityIssuerChain: chain,
      pckCrl: await revocationList(options.crlSigner ?? platformCa, revoked, times),
      rootCrl: await revocationList(root, revoked, times),
    };
  };
  return { root, platformCa, tcbSigner, pck, anchor: anchorOf(root), quote, collateral };
}

function makeQuote(
  fields: TdFields,
  { root, platformCa, pck }: Pick<TestIntel, "root" | "platformCa" | "pck">,
  attestation: { publicKey: import("node:crypto").KeyObject; privateKey: import("node:crypto").KeyObject },
): Buffer {
  const { version = 4 } = fields;
  const header = Buffer.alloc(48);
  header.writeUInt16LE(version, 0);
  header.writeUInt16LE(2, 2);
  header.writeUInt32LE(0x81, 4);
  Buffer.from("939a7233f79c4ca9940a0db3957f0607", "hex").copy(header, 12);
  // Version 5 says which body follows: 2 is a TD report 1.0 of 584 bytes.
  const kind = Buffer.alloc(version === 5 ? 6 : 0);
  if (version === 5) {
    kind.writeUInt16LE(2, 0);
    kind.writeUInt32LE(584, 2);
  }
  const signed = Buffer.concat([header, kind, tdReport(fields)]);
  const { x = "", y = "" } = attestation.publicKey.export({ format: "jwk" });
  const attestationKey = Buffer.concat([Buffer.from(x, "base64url"), Buffer.from(y, "base64url")]);
  const authData = Buffer.alloc(32, 7);
  const qe = qeReport(createHash("sha256").update(attestationKey).update(authData).digest(), fields);
  const chain = Buffer.from(pck.pem + platformCa.pem + root.pem);
  const qeCertification = Buffer.concat([qe, raw(qe, pck.privateKey), sized16(authData), certification(5, chain)]);
  const auth = Buffer.concat([raw(signed, attestation.privateKey), attestationKey, certification(6, qeCertification)]);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(auth.length);
  return Buffer.concat([signed, length, auth]);
}

function tdReport(fields: TdFields): Buffer {
  const b = Buffer.alloc(584);
  b.set(fields.tcbSvn ?? [5, 1, 5, 0], 0);
  fields.mrSignerSeam?.copy(b, 64);
  b.writeBigUInt64LE(fields.attributes ?? SEPT_VE_DISABLE, 120);
  b.writeBigUInt64LE(0xe7n, 128);
  (fields.mrTd ?? MRTD).copy(b, 136);
  fields.rtmrs?.forEach((value, i) => {
    value.copy(b, 328 + 48 * i);
  });
  fields.reportData?.copy(b, 520);
  return b;
}

function qeReport(hash: Buffer, { qeIsvSvn = 4, qeAttributes = 0x11 }: TdFields): Buffer {
  const b = Buffer.alloc(384);
  b.writeUInt8(qeAttributes, 48);
  QE_SIGNER.copy(b, 128);
  b.writeUInt16LE(2, 256);
  b.writeUInt16LE(qeIsvSvn, 258);
  hash.copy(b, 320);
  return b;
}

/** ECDSA P-256 over SHA-256, r and s of 32 bytes each. */
const raw = (data: Buffer, key: import("node:crypto").KeyObject): Buffer =>
  sign("sha256", data, { key, dsaEncoding: "ieee-p1363" });

function sized16(data: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16LE(data.length);
  return Buffer.concat([length, data]);
}

function certification(type: number, data: Buffer): Buffer {
  const head = Buffer.alloc(6);
  head.writeUInt16LE(type, 0);
  head.writeUInt32LE(data.length, 2);
  return Buffer.concat([head, data]);
}

/** The SGX extension of a PCK certificate, with what a verifier reads of it. */
function sgxExtension(): Buffer {
  const oid = (...last: number[]): Buffer =>
    tlv(6, Buffer.from([0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01, ...last]));
  const pair = (id: Buffer, value: Buffer): Buffer => tlv(0x30, id, value);
  return tlv(
    0x30,
    pair(oid(1), tlv(4, Buffer.alloc(16, 1))),
    pair(
      oid(2),
      tlv(
        0x30,
        ...CPU_SVN.map((svn, i) => pair(oid(2, i + 1), integer(svn))),
        pair(oid(2, 17), integer(11)),
        pair(oid(2, 18), tlv(4, Buffer.from(CPU_SVN))),
      ),
    ),
    pair(oid(3), tlv(4, Buffer.from([0, 0]))),
    pair(oid(4), tlv(4, Buffer.from(FMSPC, "hex"))),
    pair(oid(5), tlv(0x0a, Buffer.from([1]))),
  );
}

function signedBody(key: string, inner: unknown, { privateKey }: Identity): string {
  const text = JSON.stringify(inner);
  return `{"${key}":${text},"signature":"${raw(Buffer.from(text), privateKey).toString("hex")}"}`;
}

const when = (date: Date): string => date.toISOString().replace(/\.\d+Z$/, "Z");

function tcbInfo(options: CollateralOptions, { from, to }: Validity): unknown {
  const components = (svns: readonly number[]) => Array.from({ length: 16 }, (_, i) => ({ svn: svns[i] ?? 0 }));
  const advisories = options.advisories === undefined ? {} : { advisoryIDs: options.advisories };
  const parts = { mrsigner: "00".repeat(48), attributes: "00".repeat(8), attributesMask: "FF".repeat(8) };
  return {
    id: "TDX",
    version: 3,
    issueDate: when(from),
    nextUpdate: when(to),
    fmspc: (options.fmspc ?? FMSPC).toUpperCase(),
    pceId: "0000",
    tcbType: 0,
    tcbEvaluationDataNumber: 17,
    tdxModule: parts,
    tdxModuleIdentities: [
      {
        id: "TDX_01",
        ...parts,
        tcbLevels: [
          { tcb: { isvsvn: options.moduleSvn ?? 4 }, tcbDate: when(from), tcbStatus: "UpToDate" },
          { tcb: { isvsvn: 2 }, tcbDate: when(from), tcbStatus: "OutOfDate" },
        ],
      },
    ],
    tcbLevels: [
      {
        tcb: { sgxtcbcomponents: components([5, 5, 5, 5]), pcesvn: 11, tdxtcbcomponents: components([3, 0, 5]) },
        tcbDate: when(from),
        tcbStatus: options.tcbStatus ?? "UpToDate",
        ...advisories,
      },
    ],
  };
}

const qeIdentity = ({ from, to }: Validity) => ({
  id: "TD_QE",
  version: 2,
  issueDate: when(from),
  nextUpdate: when(to),
  tcbEvaluationDataNumber: 17,
  miscselect: "00000000",
  miscselectMask: "FFFFFFFF",
  attributes: "11000000000000000000000000000000",
  attributesMask: "FBFFFFFFFFFFFFFF0000000000000000",
  mrsigner: QE_SIGNER.toString("hex").toUpperCase(),
  isvprodid: 2,
  tcbLevels: [{ tcb: { isvsvn: 4 }, tcbDate: when(from), tcbStatus: "UpToDate" }],
});
