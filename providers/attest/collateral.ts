import { createHash } from "node:crypto";
import type { Collected } from "../kit/appraisal.ts";
import type { Bundle } from "./bundle.ts";
import { BundleSchema } from "./bundle.ts";
import { isZero } from "./hex.ts";
import { Refused, refusing } from "./refusals.ts";
import { readSnpKey } from "./snp-key.ts";
import type { SnpProduct, SnpReport } from "./snp-report.ts";
import { parseSnpReport, readTcb, SNP_PRODUCTS } from "./snp-report.ts";
import { pckOf } from "./tdx.ts";
import { certificate, pemBlocks } from "./x509.ts";

/** Whose service has a document: AMD's KDS, Intel's PCS, or where Intel's root publishes its list. */
export type Vendor = "amd" | "intel" | "intel-root";

export interface Document {
  readonly body: Buffer;
  /** Headers by their name in lower case. */
  readonly headers: Readonly<Record<string, string>>;
}

/** Gets a document that a vendor signed. Rejects with Refused `attest.collateral.missing` when it cannot be had. */
export type Fetch = (vendor: Vendor, path: string) => Promise<Document>;

/** Drivers of configfs-tsm by the kind of their reports. */
const PROVIDERS: Readonly<Record<string, "snp" | "tdx">> = { sev_guest: "snp", tdx_guest: "tdx" };

/**
 * Evidence as it was collected, made whole with what the vendors sign about it. What the guest's host sent along is used
 * where it is there; it is no more believed than what a cache or the network gives. Throws Refused.
 */
export async function bundleOf(
  { nonce, ownKey, provider, outblob, auxblob, gpu }: Collected,
  fetch: Fetch,
  { node, now, revocation }: { readonly node: string; readonly now: Date; readonly revocation: boolean },
): Promise<Bundle> {
  const kind = PROVIDERS[provider];
  if (kind === undefined)
    throw new Refused(
      "attest.unsupported",
      `reports of ${JSON.stringify(provider.slice(0, 40))}; known are ${Object.keys(PROVIDERS).join(", ")}`,
    );
  const [out, aux] = [outblob, auxblob].map((text) => Buffer.from(text, "base64")) as [Buffer, Buffer];
  const tee = kind === "snp" ? await snp(out, aux, fetch, revocation) : await tdx(out, fetch);
  const bundle = {
    format: "teeup evidence 1",
    collectedAt: now.toISOString(),
    node,
    nonce,
    hostKey: ownKey,
    ...(gpu === undefined
      ? {}
      : {
          gpu: {
            evidence: gpu.evidence,
            digest: createHash("sha384").update(Buffer.from(gpu.evidence, "base64")).digest("hex"),
            // Their tools ran there, also where those asked NVIDIA's service: its answer came through the guest.
            verifiedBy: "guest",
            verdict: gpu.verdict,
          },
        }),
    tee,
  };
  return refusing("attest.malformed", "what was collected", () => BundleSchema.parse(bundle));
}

const b64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");

async function snp(report: Buffer, aux: Buffer, fetch: Fetch, revocation: boolean): Promise<Bundle["tee"]> {
  const parsed = parseSnpReport(report);
  const table = certificateTable(aux);
  const given = table.get(parsed.signer === "VCEK" ? GUIDS.vcek : GUIDS.vlek);
  const key = given ?? (await vcek(parsed, fetch));
  const { product } = readSnpKey(certificate(key, `the ${parsed.signer} certificate`));
  const issuer = table.get(GUIDS.ask);
  const path = `${parsed.signer.toLowerCase()}/v1/${product}`;
  const issuers =
    issuer === undefined
      ? pemBlocks((await fetch("amd", `/${path}/cert_chain`)).body.toString("latin1"), "AMD's certificate chain")
      : [issuer];
  const crl = await fetch("amd", `/${path}/crl`).catch((error: unknown) => {
    if (revocation) throw error;
    return undefined;
  });
  return {
    kind: "snp",
    report: b64(report),
    key: b64(key),
    issuers: issuers.map(b64),
    ...(crl === undefined ? {} : { crl: b64(crl.body) }),
  };
}

/** The certificate of this very chip and TCB, as AMD 57230 (VCEK certificate and KDS interface) names it. */
async function vcek(report: SnpReport, fetch: Fetch): Promise<Buffer> {
  if (report.signer === "VLEK")
    throw new Refused("attest.collateral.missing", "the host sent no certificate of its VLEK, and nobody else has it");
  if (report.chipIdMasked)
    throw new Refused("attest.cert.binding", "the host masks the chip's id, so its certificate cannot be had");
  let last: unknown;
  // Reports below version 3 do not say of which product the chip is.
  for (const product of report.product === undefined ? SNP_PRODUCTS : [report.product]) {
    try {
      return (await fetch("amd", vcekPath(report, product))).body;
    } catch (error) {
      last = error;
    }
  }
  throw last;
}

export function vcekPath({ chipId, tcb: { reported } }: SnpReport, product: SnpProduct): string {
  const { fmc, bootloader, tee, snp: svn, microcode } = readTcb(reported, product);
  const two = (n: number): string => String(n).padStart(2, "0");
  const parts = [
    ...(fmc === undefined ? [] : [`fmcSPL=${two(fmc)}`]),
    ...[`blSPL=${two(bootloader)}`, `teeSPL=${two(tee)}`, `snpSPL=${two(svn)}`, `ucodeSPL=${two(microcode)}`],
  ];
  return `/vcek/v1/${product}/${product === "Turin" ? chipId.slice(0, 16) : chipId}?${parts.join("&")}`;
}

/** GHCB specification 56421, section 4.1.8.1: what a host may send along with a report. */
const GUIDS = {
  vcek: "63da758de6644564adc5f4b93be8accd",
  vlek: "a8074bc2a25a483eaae639c045a0b8a1",
  ask: "4ab7b379bbac4fe4a02f05aef327c782",
} as const;

/** Certificates by GUID, as hex; one that lies outside of the table is as if it were not there. */
export function certificateTable(aux: Buffer): ReadonlyMap<string, Buffer> {
  const found = new Map<string, Buffer>();
  for (let at = 0; at + 24 <= aux.length; at += 24) {
    const guid = aux.subarray(at, at + 16);
    if (isZero(guid)) break;
    const [offset, length] = [aux.readUInt32LE(at + 16), aux.readUInt32LE(at + 20)];
    if (length > 0 && offset + length <= aux.length)
      found.set(guid.toString("hex"), aux.subarray(offset, offset + length));
  }
  return found;
}

async function tdx(quote: Buffer, fetch: Fetch): Promise<Bundle["tee"]> {
  const { fmspc, ca } = pckOf(quote);
  const [tcb, qe, pckCrl, rootCrl] = await Promise.all([
    fetch("intel", `/tdx/certification/v4/tcb?fmspc=${fmspc}`),
    fetch("intel", "/tdx/certification/v4/qe/identity"),
    fetch("intel", `/sgx/certification/v4/pckcrl?ca=${ca}&encoding=der`),
    fetch("intel-root", "/IntelSGXRootCA.der"),
  ]);
  const chainOf = ({ headers }: Document, name: string): string =>
    refusing("attest.collateral.missing", `the header ${name}`, () => decodeURIComponent(headers[name] ?? ""));
  return {
    kind: "tdx",
    quote: b64(quote),
    collateral: {
      tcbInfo: tcb.body.toString("utf8"),
      tcbInfoIssuerChain: chainOf(tcb, "tcb-info-issuer-chain"),
      qeIdentity: qe.body.toString("utf8"),
      qeIdentityIssuerChain: chainOf(qe, "sgx-enclave-identity-issuer-chain"),
      pckCrl: b64(pckCrl.body),
      rootCrl: b64(rootCrl.body),
    },
  };
}
