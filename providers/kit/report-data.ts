import { createHash } from "node:crypto";

/** What a guest's TEE report has to be bound to. */
export interface Binding {
  /** Drawn by the controller for this one attestation; 32 bytes. */
  readonly nonce: Uint8Array;
  /** Public line of the guest's SSH host key, as in ssh_host_*_key.pub or known_hosts; comment and options are ignored. */
  readonly hostKey: string;
  /** SHA-384 of the GPU evidence's bytes; empty for a guest without GPUs. */
  readonly gpuEvidenceDigest: Uint8Array;
}

const REPORT_DATA = "teeup report_data v1";
const GPU_NONCE = "teeup gpu nonce v1";

/**
 * The 64 bytes that a TEE report of a guest must carry:
 *
 *     SHA-512( f("teeup report_data v1") ‖ f(nonce) ‖ f(host key) ‖ f(GPU evidence digest) )
 *     f(x) = length of x in bytes, 4 bytes big-endian, then x
 *
 * The nonce has 32 bytes; the host key is the blob of RFC 4253 section 6.6 (the base64 word of the public line, decoded);
 * the digest has 48 bytes, or none where the guest has no GPU. The lengths keep two different bindings from being the
 * same bytes; the first word keeps this hash from meaning anything elsewhere. The one function for whoever makes a
 * report and whoever verifies it.
 *
 * Throws RangeError for a nonce or digest of another length and for a line that is no SSH public key.
 */
export function reportData({ nonce, hostKey, gpuEvidenceDigest }: Binding): Buffer {
  if (nonce.length !== 32) throw new RangeError(`a nonce of ${nonce.length} bytes; 32 are wanted`);
  if (gpuEvidenceDigest.length !== 48 && gpuEvidenceDigest.length !== 0)
    throw new RangeError(`a GPU evidence digest of ${gpuEvidenceDigest.length} bytes; 48 (SHA-384) are wanted`);
  return framed("sha512", [Buffer.from(REPORT_DATA), nonce, sshKeyBlob(hostKey), gpuEvidenceDigest]);
}

/**
 * The nonce of the GPU evidence that goes with a report, 32 bytes as NVIDIA's tools take it:
 * SHA-256 over the same framing of "teeup gpu nonce v1", the nonce and the host key. GPU evidence of another session
 * or another attestation does not answer it.
 */
export function gpuNonce({ nonce, hostKey }: Pick<Binding, "nonce" | "hostKey">): Buffer {
  if (nonce.length !== 32) throw new RangeError(`a nonce of ${nonce.length} bytes; 32 are wanted`);
  return framed("sha256", [Buffer.from(GPU_NONCE), nonce, sshKeyBlob(hostKey)]);
}

/** The blob of an SSH public line. Its inner type has to be the line's: two lines of one key are one blob. */
export function sshKeyBlob(line: string): Buffer {
  const found = /(?:^|\s)((?:ssh|ecdsa|sk)-[\w@.-]+)\s+([A-Za-z0-9+/]{16,}={0,2})(?:\s|$)/.exec(line);
  const blob = Buffer.from(found?.[2] ?? "", "base64");
  const type = blob.length > 4 ? blob.subarray(4, 4 + blob.readUInt32BE(0)).toString("latin1") : "";
  if (found === null || type !== found[1]) throw new RangeError("not the line of an SSH public key");
  return blob;
}

function framed(algorithm: "sha256" | "sha512", parts: readonly Uint8Array[]): Buffer {
  const hash = createHash(algorithm);
  for (const part of parts) {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(part.length);
    hash.update(length).update(part);
  }
  return hash.digest();
}
