import { createHash } from "node:crypto";
import type { GuestLaunch, TeeSigner } from "../model/tsm.ts";
import type { Fields, TestAmd, TestChip } from "./snp.ts";
import type { TdFields, TestIntel } from "./tdx.ts";

export interface SignerOptions<F> {
  /** What a launch measures as; default a digest of firmware, vCPUs and CPU model, which no real firmware would give. */
  readonly measure?: (launch: GuestLaunch | undefined) => Buffer;
  /** What is otherwise than in a sound guest's report. */
  readonly fields?: () => F;
  /** Last say over what leaves the processor, e.g. a report that was kept from another time. */
  readonly edit?: (outblob: Buffer) => Buffer;
}

/** Stands for the launch digest where nobody compares it with a real one. */
export const standInMeasurement = (launch: GuestLaunch | undefined): Buffer =>
  createHash("sha384")
    .update(JSON.stringify(launch === undefined ? "an instance" : [launch.firmware, launch.cpus, launch.cpuModel]))
    .digest();

/** A chip of the test AMD in a twin. With `certificates` its host sends them along, as QEMU can. */
export function snpSigner(
  amd: TestAmd,
  chip: TestChip,
  {
    measure = standInMeasurement,
    fields,
    edit,
    certificates = false,
  }: SignerOptions<Fields> & { certificates?: boolean } = {},
): TeeSigner {
  return {
    provider: "sev_guest",
    report(reportData, launch) {
      const policy = launch?.policy === undefined ? {} : { policy: BigInt(launch.policy) };
      const report = chip.report({ reportData, measurement: measure(launch), ...policy, ...fields?.() });
      return {
        outblob: edit?.(report) ?? report,
        auxblob: certificates ? certificateTable(amd, chip) : Buffer.alloc(0),
      };
    },
  };
}

/** A platform of the test Intel in a twin. */
export function tdxSigner(
  intel: TestIntel,
  { measure = standInMeasurement, fields, edit }: SignerOptions<TdFields> = {},
): TeeSigner {
  return {
    provider: "tdx_guest",
    report(reportData, launch) {
      const quote = intel.quote({ reportData, mrTd: measure(launch), ...fields?.() });
      return { outblob: edit?.(quote) ?? quote, auxblob: Buffer.alloc(0) };
    },
  };
}

/** GHCB specification: GUID, offset and length of each certificate, a zero entry, then the certificates. */
export function certificateTable(amd: TestAmd, chip: TestChip): Buffer {
  const certs = [
    ["63da758de6644564adc5f4b93be8accd", chip.key.der],
    ["4ab7b379bbac4fe4a02f05aef327c782", amd.ask.der],
    ["c0b406a4a803495297433fb6014cd0ae", amd.ark.der],
  ] as const;
  const head = Buffer.alloc(24 * (certs.length + 1));
  let offset = head.length;
  certs.forEach(([guid, der], i) => {
    head.set(Buffer.from(guid, "hex"), 24 * i);
    head.writeUInt32LE(offset, 24 * i + 16);
    head.writeUInt32LE(der.length, 24 * i + 20);
    offset += der.length;
  });
  return Buffer.concat([head, ...certs.map(([, der]) => der)]);
}
