import type { X509Certificate } from "node:crypto";
import type { Tcb } from "../kit/attest-policy.ts";
import { isZero, toHex } from "./hex.ts";
import { Refused } from "./refusals.ts";
import type { SnpProduct, SnpReport } from "./snp-report.ts";
import { readTcb, SNP_PRODUCTS, showTcb } from "./snp-report.ts";
import { extensions, name } from "./x509.ts";

/** Extensions of VCEK and VLEK: AMD 57230 (VCEK certificate and KDS interface), table 9. */
const OID = {
  product: "1.3.6.1.4.1.3704.1.2",
  bootloader: "1.3.6.1.4.1.3704.1.3.1",
  tee: "1.3.6.1.4.1.3704.1.3.2",
  snp: "1.3.6.1.4.1.3704.1.3.3",
  microcode: "1.3.6.1.4.1.3704.1.3.8",
  fmc: "1.3.6.1.4.1.3704.1.3.9",
  hwid: "1.3.6.1.4.1.3704.1.4",
  cspId: "1.3.6.1.4.1.3704.1.5",
} as const;

/** What the certificate of a report's signing key says: of which product, chip (or cloud) and TCB the key is. */
export interface SnpKey {
  readonly product: SnpProduct;
  readonly tcb: Tcb;
  /** VCEK only. */
  readonly hwid?: Buffer;
  /** VLEK only: the cloud provider whose chips share the key. */
  readonly cspId?: string;
}

export function readSnpKey(cert: X509Certificate): SnpKey {
  const found = extensions(cert);
  const der = (oid: string): Buffer | undefined => found.get(oid);
  const text = (oid: string, what: string): string => {
    const value = der(oid);
    // IA5String, short form.
    if (value?.[0] !== 0x16 || value[1] !== value.length - 2)
      throw new Refused("attest.malformed", `${name(cert)} has no readable ${what}`);
    return value.subarray(2).toString("latin1");
  };
  const svn = (oid: string, what: string): number => {
    const value = der(oid);
    // INTEGER of 0 to 255, in two content bytes from 128 on.
    const digits = value?.subarray(2);
    const sized = digits !== undefined && value?.[0] === 0x02 && value[1] === digits.length;
    const plain = digits?.length === 1 && (digits[0] ?? 255) < 128;
    const long = digits?.length === 2 && digits[0] === 0 && (digits[1] ?? 0) >= 128;
    if (!sized || !(plain || long)) throw new Refused("attest.malformed", `${name(cert)} has no readable ${what}`);
    return digits.readUInt8(digits.length - 1);
  };
  const named = text(OID.product, "product name");
  // "Milan-B0": name and stepping.
  const product = SNP_PRODUCTS.find((known) => named === known || named.startsWith(`${known}-`));
  if (product === undefined) throw new Refused("attest.unsupported", `${name(cert)} is of the product ${named}`);
  const hwid = der(OID.hwid);
  return {
    product,
    tcb: {
      ...(product === "Turin" ? { fmc: svn(OID.fmc, "FMC version") } : {}),
      bootloader: svn(OID.bootloader, "boot loader version"),
      tee: svn(OID.tee, "TEE version"),
      snp: svn(OID.snp, "SNP version"),
      microcode: svn(OID.microcode, "microcode version"),
    },
    ...(hwid === undefined ? {} : { hwid }),
    ...(der(OID.cspId) === undefined ? {} : { cspId: text(OID.cspId, "CSP id") }),
  };
}

/** The key's certificate is of the report's product, TCB and chip; else `attest.cert.binding`. */
export function checkBinding(key: SnpKey, report: SnpReport): void {
  const refuse = (saw: string): never => {
    throw new Refused("attest.cert.binding", saw);
  };
  if (report.product !== undefined && report.product !== key.product)
    refuse(`the report is of ${report.product}, the key of ${key.product}`);
  const reported = readTcb(report.tcb.reported, key.product);
  const differs = (Object.keys(key.tcb) as (keyof Tcb)[]).some((part) => key.tcb[part] !== reported[part]);
  if (differs) refuse(`the key is of the TCB ${showTcb(key.tcb)}; the report says ${showTcb(reported)}`);
  if (report.signer === "VLEK") {
    if (key.cspId === undefined || key.hwid !== undefined) refuse("the report says VLEK, the certificate is not one");
    return;
  }
  if (key.hwid === undefined || key.cspId !== undefined) refuse("the report says VCEK, the certificate is not one");
  if (report.chipIdMasked) refuse("the host masks the chip's id, so the report cannot be matched with a VCEK");
  const chip = Buffer.from(report.chipId, "hex");
  const { length = 0 } = key.hwid ?? {};
  // Turin's ids have 8 bytes; the report pads them.
  const sized = length === 64 || (key.product === "Turin" && length === 8);
  if (!sized || !chip.subarray(0, length).equals(key.hwid ?? Buffer.alloc(0)) || !isZero(chip.subarray(length)))
    refuse(
      `the key is of the chip ${toHex(key.hwid ?? Buffer.alloc(0)).slice(0, 16)}…; the report of ${report.chipId.slice(0, 16)}…`,
    );
}
