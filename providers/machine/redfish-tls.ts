import { readFile } from "node:fs/promises";
import tls from "node:tls";
import { buildConnector } from "undici";
import type { BmcConfig } from "../kit/config.ts";
import { TeeUpError } from "../kit/errors.ts";

const CONNECT_MS = 10_000;

/** A certificate that is not the pinned one; it ends the connection before a byte of HTTP is written. */
export class PinMismatch extends Error {
  readonly seen: string;
  constructor(seen: string) {
    super(`certificate ${seen} is not the pinned one`);
    this.seen = seen;
  }
}

/**
 * How undici connects to a BMC. With a pin the chain is not looked at, since a BMC's certificate is mostly self-signed:
 * the certificate's own fingerprint decides, and the socket is handed over only when it matches. Without a pin the
 * chain and the host name are verified against `caFile`, else the CAs of Node and of the system.
 */
export async function connectorFor(node: string, config: BmcConfig): Promise<buildConnector.connector> {
  // No session is resumed, so that every connection shows its certificate.
  const common = { allowH2: false, maxCachedSessions: 0, timeout: CONNECT_MS };
  const pin = config.certificate?.toUpperCase();
  if (pin === undefined) return buildConnector({ ...common, ca: await caOf(node, config), rejectUnauthorized: true });
  const connect = buildConnector({ ...common, rejectUnauthorized: false });
  return (options, done) =>
    connect(options, (error, socket) => {
      if (error !== null) return done(error, null);
      const seen = socket instanceof tls.TLSSocket ? socket.getPeerX509Certificate()?.fingerprint256 : undefined;
      if (seen === pin) return done(null, socket);
      socket.destroy();
      done(new PinMismatch(seen ?? "none"), null);
    });
}

async function caOf(node: string, { caFile }: BmcConfig): Promise<string[]> {
  if (caFile === undefined)
    return [...new Set([...tls.getCACertificates("default"), ...tls.getCACertificates("system")])];
  try {
    return [await readFile(caFile, "utf8")];
  } catch (error) {
    throw new TeeUpError({
      code: "bmc.ca-file",
      node,
      subject: "bmc.caFile",
      saw: `${caFile} cannot be read: ${(error as Error).message}`,
      next: "name a readable PEM file, or pin the certificate with bmc.certificate",
    });
  }
}

/**
 * SHA-256 fingerprint of the certificate a server shows, colon separated; undefined when it shows none in time.
 * For people to compare: nothing is sent over this connection.
 */
export function certificateOf(url: string): Promise<string | undefined> {
  const { hostname, port } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, "");
  return new Promise((resolve) => {
    const socket = tls.connect({ host, port: Number(port || 443), rejectUnauthorized: false, timeout: CONNECT_MS });
    const end = (seen?: string): void => {
      socket.destroy();
      resolve(seen);
    };
    socket.once("secureConnect", () => end(socket.getPeerX509Certificate()?.fingerprint256));
    socket.once("timeout", () => end());
    socket.once("error", () => end());
  });
}
