import { gunzipSync } from "node:zlib";
import pRetry from "p-retry";
import { Agent, errors, request } from "undici";
import { z } from "zod";
import type { BmcConfig } from "../kit/config.ts";
import { TeeUpError } from "../kit/errors.ts";
import { keepSecret, redact } from "./redact.ts";
import { certificateOf, connectorFor, PinMismatch } from "./redfish-tls.ts";

export interface RedfishOptions {
  /** For one request, answer included. BMCs take seconds for a registry. Default 30 s. */
  readonly requestMs: number;
  /** Further tries of a GET after a 5xx or a broken connection. Default 3. */
  readonly retries: number;
  /** First pause between tries; it doubles. Default 500 ms. */
  readonly retryMs: number;
}
const DEFAULTS: RedfishOptions = { requestMs: 30_000, retries: 3, retryMs: 500 };
const MAX_BYTES = 32 << 20;

export interface Reply {
  readonly status: number;
  readonly body: unknown;
  readonly etag: string | undefined;
  readonly location: string | undefined;
}

/** HTTP to one BMC: verified TLS, one login, errors that name the node and the next step. Never a secret in them. */
export class RedfishHttp {
  readonly #node: string;
  readonly #config: BmcConfig;
  readonly #password: string;
  readonly #options: RedfishOptions;
  #agent: Promise<Agent> | undefined;
  #session: { token: string; location: string | undefined } | undefined;
  /** Set once the BMC refused the login: it is not tried again, since BMCs lock accounts. */
  #refused: TeeUpError | undefined;

  constructor(node: string, config: BmcConfig, password: string, options: Partial<RedfishOptions> = {}) {
    this.#node = node;
    this.#config = config;
    this.#password = password;
    this.#options = { ...DEFAULTS, ...options };
    keepSecret(password);
    keepSecret(this.#basic());
  }

  /** GET; tried again on 5xx and on broken connections. `orMissing` turns a 404 into undefined. */
  async get<T>(path: string, schema: z.ZodType<T>): Promise<{ value: T; etag: string | undefined }>;
  async get<T>(
    path: string,
    schema: z.ZodType<T>,
    orMissing: true,
  ): Promise<{ value: T; etag: string | undefined } | undefined>;
  async get<T>(path: string, schema: z.ZodType<T>, orMissing = false) {
    const again = (e: unknown): boolean =>
      e instanceof TeeUpError && ["bmc.server-error", "bmc.refused", "bmc.connection"].includes(e.code);
    const { retries, retryMs } = this.#options;
    const reply = await pRetry(() => this.#send("GET", path), {
      retries,
      minTimeout: retryMs,
      shouldRetry: ({ error }) => again(error),
    });
    if (reply.status === 404 && orMissing) return undefined;
    if (reply.status >= 300) throw this.#rejected("GET", path, reply);
    const parsed = schema.safeParse(reply.body);
    if (!parsed.success) throw this.#malformed(path, z.prettifyError(parsed.error).replaceAll("\n", " "));
    return { value: parsed.data, etag: reply.etag };
  }

  /** POST, PATCH or DELETE: sent once, whatever comes back. */
  async write(method: "POST" | "PATCH" | "DELETE", path: string, body?: unknown, etag?: string): Promise<Reply> {
    const reply = await this.#send(method, path, body, etag === undefined ? {} : { "if-match": etag });
    if (reply.status >= 300) throw this.#rejected(method, path, reply);
    return reply;
  }

  /** Ends the session on the BMC, if one was made, and the connections. */
  async close(): Promise<void> {
    const { location } = this.#session ?? {};
    if (location !== undefined) await this.write("DELETE", location).catch(() => undefined);
    this.#session = undefined;
    const agent = await this.#agent?.catch(() => undefined);
    this.#agent = undefined;
    await agent?.close();
  }

  /** An error about this BMC. */
  error(code: string, saw: string, next: string, subject = "bmc"): TeeUpError {
    return new TeeUpError({ code: `bmc.${code}`, node: this.#node, subject, saw: redact(saw), next });
  }

  async #send(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Reply> {
    if (this.#refused !== undefined) throw this.#refused;
    const before = this.#session;
    const first = await this.#once(method, path, body, { ...headers, ...this.#login() });
    if (first.status !== 401) return first;
    // Basic switched off on this BMC, or a session that ran out. A BMC that offers Basic refused the password.
    if (before === undefined && /basic/i.test(first.challenge)) throw this.#unauthorized(path);
    this.#session = undefined;
    await this.#openSession();
    const second = await this.#once(method, path, body, { ...headers, ...this.#login() });
    if (second.status === 401) throw this.#unauthorized(path);
    return second;
  }

  async #openSession(): Promise<void> {
    const path = "/redfish/v1/SessionService/Sessions";
    const reply = await this.#once("POST", path, { UserName: this.#config.user, Password: this.#password }, {});
    const { token } = reply;
    if (reply.status >= 300 || token === undefined) throw this.#unauthorized(path);
    keepSecret(token);
    this.#session = { token, location: reply.location };
  }

  #login(): Record<string, string> {
    return this.#session === undefined
      ? { authorization: `Basic ${this.#basic()}` }
      : { "x-auth-token": this.#session.token };
  }

  #basic(): string {
    return Buffer.from(`${this.#config.user}:${this.#password}`).toString("base64");
  }

  async #once(
    method: string,
    path: string,
    body: unknown,
    headers: Record<string, string>,
    hops = 0,
  ): Promise<Reply & { challenge: string; token: string | undefined }> {
    const url = this.#url(path);
    this.#agent ??= this.#connect();
    const dispatcher = await this.#agent;
    let response: Awaited<ReturnType<typeof request>>;
    let text: string;
    try {
      response = await request(url.href, {
        dispatcher,
        method: method as "GET",
        headers: {
          accept: "application/json",
          "odata-version": "4.0",
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          ...headers,
        },
        body: body === undefined ? null : JSON.stringify(body),
        signal: AbortSignal.timeout(this.#options.requestMs),
      });
      const bytes = Buffer.from(await response.body.arrayBuffer());
      // iLO sends its registries zipped, asked or not.
      const zipped = response.headers["content-encoding"] === "gzip";
      text = (zipped ? gunzipSync(bytes, { maxOutputLength: MAX_BYTES }) : bytes).toString("utf8");
    } catch (error) {
      throw await this.#broken(method, path, error);
    }
    const header = (name: string): string | undefined => [response.headers[name]].flat()[0];
    const status = response.statusCode;
    const location = header("location");
    // iLO redirects to the same path with a slash; credentials never follow to another origin.
    if (method === "GET" && [301, 302, 307, 308].includes(status) && location !== undefined && hops < 3)
      return this.#once(method, location, body, headers, hops + 1);
    if (status >= 500)
      throw this.error(
        "server-error",
        `${method} ${path}: status ${status} ${messageOf(text)}`,
        `wait for the BMC to be ready, or restart it, then: teeup check ${this.#node}`,
      );
    return {
      status,
      body: status === 401 || text === "" ? undefined : this.#json(path, text, header("content-type")),
      etag: header("etag"),
      location,
      token: header("x-auth-token"),
      challenge: header("www-authenticate") ?? "",
    };
  }

  async #connect(): Promise<Agent> {
    const connect = await connectorFor(this.#node, this.#config);
    return new Agent({ connect, allowH2: false, connections: 4, maxResponseSize: MAX_BYTES });
  }

  /** Only paths of this BMC: a link to elsewhere would carry the password there. */
  #url(path: string): URL {
    const base = new URL(this.#config.url);
    const url = URL.canParse(path, base.href) ? new URL(path, base) : undefined;
    if (url?.origin === base.origin) return url;
    throw this.#malformed(path, "a link that leaves this BMC");
  }

  #json(path: string, text: string, type: string | undefined): unknown {
    try {
      return JSON.parse(text);
    } catch {
      throw this.error(
        "not-json",
        `${path}: ${type ?? "no content type"}, beginning ${JSON.stringify(text.slice(0, 60))}`,
        "is bmc.url the address of a Redfish service? Open it in a browser",
      );
    }
  }

  #malformed(path: string, what: string): TeeUpError {
    return this.error(
      "schema",
      `${path} is not as Redfish has it: ${what.slice(0, 300)}`,
      "update the BMC's firmware; if that does not help, report this with its model",
    );
  }

  #rejected(method: string, path: string, { status, body }: Reply): TeeUpError {
    const said = `${method} ${path}: status ${status} ${messageOf(body)}`;
    if (status === 412) return this.error("conflict", `${said}: the settings were changed meanwhile`, "run it again");
    if (status === 403)
      return this.error(
        "forbidden",
        said,
        `give the BMC user ${this.#config.user} the privilege to configure and to reset the system`,
      );
    if (status === 404)
      return this.error("not-found", said, "update the BMC's firmware, or leave `bmc` out of the node");
    return this.error("rejected", said, `what the BMC says must be changed first; then: teeup check ${this.#node}`);
  }

  #unauthorized(path: string): TeeUpError {
    const variable = `TEEUP_BMC_PASSWORD_${this.#node.toUpperCase().replaceAll("-", "_")}`;
    this.#refused = this.error(
      "unauthorized",
      `${path}: the BMC at ${this.#config.url} refuses user ${this.#config.user}`,
      `set ${variable} (or TEEUP_BMC_PASSWORD), or: pulumi config set --secret --path 'teeup:nodes[<index>].bmc.password'`,
    );
    return this.#refused;
  }

  async #broken(method: string, path: string, error: unknown): Promise<TeeUpError> {
    const { url, certificate } = this.#config;
    const at = `${method} ${path} at ${url}`;
    const e = error as NodeJS.ErrnoException;
    const code = e.code ?? "";
    if (error instanceof TeeUpError) return error;
    if (error instanceof PinMismatch)
      return this.error(
        "certificate-changed",
        `${url} shows certificate ${error.seen}, pinned is ${certificate}; nothing was sent`,
        "find out why it changed; if that is right, set bmc.certificate to the new fingerprint",
        "bmc.certificate",
      );
    if (/CERT|SELF_SIGNED|UNABLE_TO_|ERR_TLS|ERR_SSL/.test(code)) {
      const seen = await certificateOf(url);
      return this.error(
        "certificate-untrusted",
        `${url} shows certificate ${seen ?? "(none)"}: ${e.message}; nothing was sent`,
        "compare the fingerprint with the BMC's own page, then set bmc.certificate to it, or bmc.caFile to the CA",
        "bmc.certificate",
      );
    }
    if (
      e.name === "TimeoutError" ||
      e instanceof errors.ConnectTimeoutError ||
      e instanceof errors.HeadersTimeoutError ||
      e instanceof errors.BodyTimeoutError ||
      code === "ETIMEDOUT"
    )
      return this.error(
        "timeout",
        `${at}: no answer within ${this.#options.requestMs / 1000} s`,
        `is the BMC up and reachable from here? curl -k ${url}/redfish/v1/`,
      );
    if (code === "ECONNREFUSED")
      return this.error(
        "refused",
        `${at}: connection refused`,
        "is bmc.url right, and is Redfish switched on in the BMC?",
        "bmc.url",
      );
    if (code === "ENOTFOUND" || code === "EAI_AGAIN")
      return this.error("unknown-host", `${at}: the name does not resolve`, "correct bmc.url", "bmc.url");
    if (e instanceof errors.ResponseExceededMaxSizeError)
      return this.error("schema", `${at}: an answer of more than ${MAX_BYTES >> 20} MiB`, "update the BMC's firmware");
    return this.error(
      "connection",
      `${at}: ${e.message || code}`,
      `teeup check ${this.#node}, once the BMC can be reached`,
    );
  }
}

const Extended = z.object({
  error: z.object({
    message: z.string().optional(),
    "@Message.ExtendedInfo": z
      .array(z.object({ Message: z.string().optional(), MessageId: z.string().optional() }))
      .optional(),
  }),
});

/** The BMC's own words: the messages of a Redfish error, else the beginning of the text. */
function messageOf(body: unknown): string {
  let value = body;
  if (typeof body === "string")
    try {
      value = JSON.parse(body);
    } catch {
      return body.replace(/\s+/g, " ").slice(0, 120);
    }
  const parsed = Extended.safeParse(value);
  if (!parsed.success) return "";
  const { message, "@Message.ExtendedInfo": info } = parsed.data.error;
  const said = info?.map((m) => m.Message ?? m.MessageId).filter((m) => m !== undefined);
  return (said !== undefined && said.length > 0 ? said.join(" ") : (message ?? "")).slice(0, 400);
}
