import { createHash } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import pRetry, { AbortError } from "p-retry";
import { z } from "zod";

/** A file of the controller. */
export const readHere = (path: string): Promise<Uint8Array> => readFile(path);

/** Where vendors publish what they sign. */
const VENDORS = {
  amd: "https://kdsintf.amd.com",
  intel: "https://api.trustedservices.intel.com",
  "intel-root": "https://certificates.trustedservices.intel.com",
  /** Ids of reference values, which nobody signs: they only keep an upgrade from being planned. */
  nvidia: "https://rim.attestation.nvidia.com",
} as const;

const MOST_BYTES = 1_048_576;
const GET_MS = 15_000;
/** AMD's service answers 429 to whoever asks often; lists are for days. */
const FRESH_MS = 12 * 3_600_000;

const KeptSchema = z.strictObject({
  at: z.int(),
  headers: z.record(z.string(), z.string()),
  body: z.base64(),
});
type Kept = z.infer<typeof KeptSchema>;

export interface CollateralDocument {
  readonly body: Buffer;
  readonly headers: Readonly<Record<string, string>>;
}

export interface CollateralOptions {
  /** A mirror of all three under their own paths. */
  readonly mirror?: string | undefined;
  /** Default `$XDG_CACHE_HOME/teeup/collateral`, or below ~/.cache. */
  readonly folder?: string | undefined;
  readonly env: NodeJS.ProcessEnv;
}

/**
 * Documents of the vendors, kept for twelve hours and, when nobody answers, for as long as they are good: that is for whoever
 * verifies them to say, who trusts neither this cache nor the network. Rejects with the last thing that went wrong.
 */
export function openCollateral({ mirror, folder, env }: CollateralOptions) {
  const cache =
    folder ?? join(env["XDG_CACHE_HOME"] || join(env["HOME"] || homedir(), ".cache"), "teeup", "collateral");
  return async (vendor: keyof typeof VENDORS, path: string): Promise<CollateralDocument> => {
    const url = `${(mirror ?? VENDORS[vendor]).replace(/\/$/, "")}${path}`;
    const file = join(cache, `${createHash("sha256").update(url).digest("hex")}.json`);
    const kept = await keptIn(file);
    if (kept !== undefined && Date.now() - kept.at < FRESH_MS) return open(kept);
    try {
      const fresh = await pRetry(() => get(url), { retries: 2, minTimeout: 500 });
      // A cache that cannot be written costs time, nothing else.
      await keep(cache, file, fresh).catch(() => undefined);
      return open(fresh);
    } catch (error) {
      if (kept !== undefined) return open(kept);
      const { cause } = error as { cause?: { code?: string } };
      throw new Error(`GET ${url}: ${cause?.code ?? (error as Error).message}`, { cause: error });
    }
  };
}

const open = ({ headers, body }: Kept): CollateralDocument => ({ headers, body: Buffer.from(body, "base64") });

async function get(url: string): Promise<Kept> {
  const response = await fetch(url, { signal: AbortSignal.timeout(GET_MS) });
  if (!response.ok) {
    const said = new Error(`status ${response.status}`);
    throw response.status === 429 || response.status >= 500 ? said : new AbortError(said);
  }
  // None of these documents is a web page; who is asked to log in first, or told of a gateway's trouble, gets one.
  if (/^\s*text\/html\b/i.test(response.headers.get("content-type") ?? ""))
    throw new AbortError("a web page in place of the document: a proxy's?");
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > MOST_BYTES) throw new AbortError(`more than ${MOST_BYTES} bytes`);
    chunks.push(chunk);
  }
  const headers = Object.fromEntries([...response.headers].filter(([name]) => name.endsWith("-issuer-chain")));
  return { at: Date.now(), headers, body: Buffer.concat(chunks).toString("base64") };
}

async function keptIn(file: string): Promise<Kept | undefined> {
  try {
    return KeptSchema.parse(JSON.parse(await readFile(file, "utf8")));
  } catch {
    return undefined;
  }
}

async function keep(folder: string, file: string, kept: Kept): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(`${file}.${process.pid}`, JSON.stringify(kept));
  await rename(`${file}.${process.pid}`, file);
}
