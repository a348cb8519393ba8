import { z } from "zod";

export { hex } from "../kit/attest-policy.ts";

/** Bytes as base64 (RFC 4648, padded), at most `most` bytes: longer evidence is not looked at. */
export const base64 = (most: number): z.ZodBase64 => z.base64().max(Math.ceil(most / 3) * 4);

export const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);

export const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
