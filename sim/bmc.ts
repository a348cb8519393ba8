import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import type { BmcShape } from "./bmc-vendors.ts";
import { SHAPES } from "./bmc-vendors.ts";
import { selfSigned } from "./certificate.ts";
import type { Faults } from "./faults.ts";
import type { Journal } from "./journal.ts";
import type { BiosState, BiosValue, NodePower, ResetType } from "./model/bios.ts";
import { RESET_TYPES } from "./model/bios.ts";

/** What goes wrong on demand, besides `Faults.bmc` of the twin. Set and cleared while it runs. */
export interface BmcFaults {
  /** Answer so many requests with 503. */
  unavailable: number;
  /** The same for POST and PATCH alone. */
  unavailableForWrites: number;
  /** Break so many connections instead of answering. */
  drop: number;
  /** Never answer. */
  hang: boolean;
  /** Answer GETs of the BIOS with a page of HTML, or with JSON that is no BIOS. */
  biosIs: "well" | "html" | "wrong-schema";
  /** Take a PATCH with 2xx and stage nothing, as iDRAC does with attributes that are closed. */
  stageNothing: boolean;
  /** Link or redirect from the system to a BIOS on another server. */
  elsewhere: { readonly how: "link" | "redirect"; readonly url: string } | undefined;
  /** Somebody else changes the settings between a GET and the next PATCH. */
  otherWriter: boolean;
}

export interface SimBmcOptions {
  readonly bios: BiosState;
  /** Read at each request, since a twin may be made anew. */
  readonly power: () => NodePower;
  readonly journal?: Pick<Journal, "add"> | undefined;
  /** The twin's faults; only `bmc` is read. */
  readonly faults?: Faults | undefined;
  readonly user?: string;
  readonly password?: string;
  /** Default: a free one. */
  readonly port?: number;
  /** Which logins the BMC takes, default both. */
  readonly auth?: { readonly basic: boolean; readonly session: boolean };
  /** iDRAC firmware that offers no apply time: settings need a job made by hand. */
  readonly noApplyTimes?: boolean;
  /** Days until its certificate expires, default 365; negative: it has expired. */
  readonly certificateDays?: number;
}

export interface SimBmc {
  /** https://127.0.0.1:<port> */
  readonly url: string;
  readonly user: string;
  readonly password: string;
  /** SHA-256 fingerprint of its certificate now, colon separated; and the certificate as PEM. */
  readonly fingerprint: string;
  readonly certificate: string;
  readonly faults: BmcFaults;
  /** Method and path of every request, in order. */
  readonly requests: readonly {
    readonly method: string;
    readonly path: string;
    readonly status: number;
    readonly authorized: boolean;
  }[];
  readonly openSessions: number;
  /** A new certificate from the next connection on, as after a factory reset. */
  renewCertificate(): Promise<void>;
  close(): Promise<void>;
}

type Json = Readonly<Record<string, unknown>>;
interface Answer {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

const V1 = "/redfish/v1";
const SESSIONS = `${V1}/SessionService/Sessions`;
const link = (path: string): Json => ({ "@odata.id": path });
const etagOf = (value: unknown): string =>
  `"${createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 32)}"`;
const problem = (status: number, id: string, ...messages: string[]): Answer => ({
  status,
  body: {
    error: {
      code: `Base.1.10.${id}`,
      message: messages[0] ?? id,
      "@Message.ExtendedInfo": messages.map((Message) => ({ MessageId: `Base.1.10.${id}`, Message })),
    },
  },
});

/** Redfish service of a simulated BMC: real HTTPS, its own certificate, logins, ETags, staging and resets. */
export async function startBmc(options: SimBmcOptions): Promise<SimBmc> {
  const service = new Service(options);
  let certificate = await selfSigned(`${options.bios.vendor}-bmc`, options.certificateDays);
  const server = createServer({ key: certificate.key, cert: certificate.cert }, (request, response) => {
    service.handle(request, response).catch((error: unknown) => response.destroy(error as Error));
  });
  // A client that refuses the certificate breaks the connection; that is its right.
  server.on("tlsClientError", () => {});
  server.on("connection", (socket) => {
    if (options.faults?.bmc === "down") socket.destroy();
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port ?? 0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `https://127.0.0.1:${port}`,
    user: service.user,
    password: service.password,
    get fingerprint() {
      return certificate.fingerprint;
    },
    get certificate() {
      return certificate.cert;
    },
    faults: service.faults,
    requests: service.requests,
    get openSessions() {
      return service.sessions.size;
    },
    async renewCertificate() {
      certificate = await selfSigned(`${options.bios.vendor}-bmc`, options.certificateDays);
      server.setSecureContext({ key: certificate.key, cert: certificate.cert });
      server.closeAllConnections();
    },
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

class Service {
  readonly user: string;
  readonly password: string;
  readonly faults: BmcFaults = {
    unavailable: 0,
    unavailableForWrites: 0,
    drop: 0,
    hang: false,
    biosIs: "well",
    stageNothing: false,
    otherWriter: false,
    elsewhere: undefined,
  };
  readonly requests: { method: string; path: string; status: number; authorized: boolean }[] = [];
  /** Token → path of the session. */
  readonly sessions = new Map<string, string>();
  readonly #options: SimBmcOptions;
  readonly #shape: BmcShape;
  /** iDRAC: taken, but waiting for a job; no reset applies it. */
  #unscheduled: Record<string, BiosValue> = {};
  #settingsVersion = 0;

  constructor(options: SimBmcOptions) {
    this.#options = options;
    this.#shape = SHAPES[options.bios.vendor];
    this.user = options.user ?? "ops";
    this.password = options.password ?? randomBytes(12).toString("base64url");
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "GET", url = "/" } = request;
    const path = url.split("?")[0] ?? "/";
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (this.faults.drop > 0) {
      this.faults.drop--;
      response.destroy();
      return;
    }
    if (this.faults.hang || this.#options.faults?.bmc === "slow") return;
    const authorized = this.#authorized(request);
    const answer = this.#answer(method, path, Buffer.concat(chunks).toString("utf8"), request, authorized);
    this.requests.push({ method, path, status: answer.status, authorized });
    this.#send(response, path, answer);
  }

  #send(response: ServerResponse, path: string, { status, body, headers = {} }: Answer): void {
    const text = typeof body === "string" ? body : body === undefined ? "" : JSON.stringify(body);
    const zipped = this.#shape.gzip && path === this.#shape.registryUri;
    response.writeHead(status, {
      "content-type": typeof body === "string" ? "text/html" : "application/json; charset=utf-8",
      "odata-version": "4.0",
      ...(zipped ? { "content-encoding": "gzip" } : {}),
      ...headers,
    });
    response.end(zipped ? gzipSync(text) : text);
  }

  #authorized(request: IncomingMessage): boolean {
    const { basic = true, session = true } = this.#options.auth ?? {};
    if (this.#options.faults?.bmc === "401") return false;
    const token = request.headers["x-auth-token"];
    if (session && typeof token === "string") return this.sessions.has(token);
    const given = /^Basic (.+)$/.exec(request.headers.authorization ?? "")?.[1] ?? "";
    return basic && same(Buffer.from(given, "base64").toString("utf8"), `${this.user}:${this.password}`);
  }

  #answer(method: string, path: string, body: string, request: IncomingMessage, authorized: boolean): Answer {
    const fault = method === "GET" || this.faults.unavailable > 0 ? "unavailable" : "unavailableForWrites";
    if (this.faults[fault] > 0) {
      this.faults[fault]--;
      return problem(
        503,
        "ServiceTemporarilyUnavailable",
        "The service is temporarily unavailable. Retry in 5 seconds.",
      );
    }
    if (method === "GET" && (path === V1 || path === `${V1}/`)) return { status: 200, body: this.#root() };
    if (method === "POST" && path === SESSIONS) return this.#login(body);
    if (!authorized) {
      const challenge: Readonly<Record<string, string>> =
        this.#options.auth?.basic === false ? {} : { "www-authenticate": 'Basic realm="BMC"' };
      return { ...problem(401, "InsufficientPrivilege", "Authentication required."), headers: challenge };
    }
    if (method === "GET") return this.#get(path);
    const write = this.#write(method, path, body, request.headers["if-match"]);
    return write ?? problem(405, "OperationNotAllowed", `${method} is not allowed on ${path}.`);
  }

  #root(): Json {
    const registries = this.#shape.slash ? `${V1}/registries/` : `${V1}/Registries`;
    return {
      ...link(`${V1}/`),
      RedfishVersion: "1.17.0",
      Systems: link(this.#systems()),
      Registries: link(registries),
      SessionService: link(`${V1}/SessionService`),
      Links: { Sessions: link(SESSIONS) },
    };
  }

  #systems(): string {
    return this.#shape.slash ? `${V1}/systems/` : `${V1}/Systems`;
  }

  #login(body: string): Answer {
    const given = parse(body);
    const right =
      this.#options.auth?.session !== false &&
      this.#options.faults?.bmc !== "401" &&
      same(String(given["UserName"]), this.user) &&
      same(String(given["Password"]), this.password);
    if (!right) return problem(401, "ResourceAtUriUnauthorized", "Invalid user name or password.");
    const token = randomBytes(16).toString("hex");
    const path = `${SESSIONS}/${this.sessions.size + 1}`;
    this.sessions.set(token, path);
    return { status: 201, body: link(path), headers: { "x-auth-token": token, location: path } };
  }

  #get(path: string): Answer {
    const shape = this.#shape;
    const found = this.#resources()[path];
    if (path === shape.bios && this.faults.elsewhere !== undefined)
      return { status: 302, headers: { location: this.faults.elsewhere.url } };
    if (found !== undefined) {
      const body = found();
      if (path === shape.bios && this.faults.biosIs === "html")
        return { status: 200, body: "<html>Please log in</html>" };
      if (path === shape.bios && this.faults.biosIs === "wrong-schema")
        return { status: 200, body: { Attributes: [] } };
      return { status: 200, body, headers: { etag: path === shape.settings ? this.#settingsEtag() : etagOf(body) } };
    }
    // iLO sends the client to the same path with a slash.
    if (shape.slash && this.#resources()[`${path}/`] !== undefined)
      return { status: 308, headers: { location: `${path}/` } };
    return problem(404, "ResourceMissingAtURI", `The resource at the URI ${path} was not found.`);
  }

  #resources(): Readonly<Record<string, () => Json>> {
    const { bios, power } = this.#options;
    const shape = this.#shape;
    const info = `${shape.system}/ResetActionInfo`;
    return {
      [this.#systems()]: () => ({
        Members: [shape.otherSystem, shape.system].filter((s) => s !== undefined).map(link),
      }),
      ...(shape.otherSystem === undefined
        ? {}
        : { [shape.otherSystem]: () => ({ ...link(shape.otherSystem ?? ""), Manufacturer: "NVIDIA" }) }),
      [shape.system]: () => ({
        ...link(shape.system),
        Manufacturer: bios.manufacturer,
        Model: bios.model,
        BiosVersion: bios.biosVersion,
        PowerState: power().state,
        Bios: link(this.faults.elsewhere?.how === "link" ? this.faults.elsewhere.url : shape.bios),
        Actions: {
          "#ComputerSystem.Reset": {
            target: this.#resetTarget(),
            ...(shape.actionInfo
              ? { "@Redfish.ActionInfo": info }
              : { "ResetType@Redfish.AllowableValues": shape.resetTypes }),
          },
        },
      }),
      [info]: () => ({ Parameters: [{ Name: "ResetType", Required: true, AllowableValues: shape.resetTypes }] }),
      [shape.bios]: () => ({
        ...link(shape.bios),
        "@odata.type": "#Bios.v1_2_0.Bios",
        ...(bios.hasRegistry ? { AttributeRegistry: shape.registry } : {}),
        Attributes: bios.current,
        "@Redfish.Settings": {
          SettingsObject: link(shape.settings),
          ...(this.#applyTimes() === undefined ? {} : { SupportedApplyTimes: this.#applyTimes() }),
        },
      }),
      [shape.settings]: () => ({
        ...link(shape.settings),
        "@odata.etag": this.#settingsEtag(),
        Attributes: { ...(shape.showsOnlyStaged ? {} : bios.current), ...bios.staged, ...this.#unscheduled },
        ...(shape.jobs === undefined ? {} : { Oem: { Dell: { Jobs: link(shape.jobs) } } }),
      }),
      ...(bios.hasRegistry
        ? {
            [shape.slash ? `${V1}/registries/` : `${V1}/Registries`]: () => ({
              Members: [link(`${V1}/Registries/Base.1.10.0`), link(shape.registryFile)],
            }),
            [shape.registryFile]: () => ({
              Location: [
                { Language: "zh", Uri: "/zh.json" },
                { Language: "en", Uri: shape.registryUri },
              ],
            }),
            [shape.registryUri]: () => this.#registry(),
          }
        : {}),
      // A job lasts as long as what it applies: the reset that applies it completes it.
      ...(shape.jobs === undefined
        ? {}
        : {
            [shape.jobs]: () => ({
              Members: [
                {
                  JobType: "BIOSConfiguration",
                  JobState: Object.keys(bios.staged).length > 0 ? "Scheduled" : "Completed",
                },
              ],
            }),
          }),
    };
  }

  #applyTimes(): readonly string[] | undefined {
    return this.#options.noApplyTimes === true ? undefined : this.#shape.applyTimes;
  }

  #settingsEtag(): string {
    return etagOf([this.#options.bios.staged, this.#unscheduled, this.#settingsVersion]);
  }

  #registry(): Json {
    const { attributes, current, locked } = this.#options.bios;
    const isLocked = locked.bind(this.#options.bios);
    return {
      Id: this.#shape.registry,
      RegistryEntries: {
        Attributes: attributes.map((a) => ({
          AttributeName: a.name,
          DisplayName: a.displayName,
          Type: a.type,
          MenuPath: a.menuPath,
          CurrentValue: current[a.name] ?? null,
          ReadOnly: isLocked(a.name),
          GrayOut: isLocked(a.name),
          Hidden: false,
          ResetRequired: true,
          ...(a.type === "Integer" ? { LowerBound: a.lowerBound, UpperBound: a.upperBound, ScalarIncrement: 0 } : {}),
          ...(a.type === "Enumeration"
            ? { Value: a.values.map((v) => ({ ValueName: v.name, ValueDisplayName: v.displayName })) }
            : {}),
        })),
        Dependencies: attributes.flatMap((a) =>
          a.requires.map(({ attribute, value }) => ({
            DependencyFor: a.name,
            Type: "Map",
            Dependency: {
              MapFrom: [
                {
                  MapFromAttribute: attribute,
                  MapFromProperty: "CurrentValue",
                  MapFromCondition: typeof value === "number" ? "LSS" : "NEQ",
                  MapFromValue: value,
                },
              ],
              MapToAttribute: a.name,
              MapToProperty: "ReadOnly",
              MapToValue: true,
            },
          })),
        ),
      },
    };
  }

  #write(method: string, path: string, body: string, ifMatch: string | undefined): Answer | undefined {
    const session = [...this.sessions].find(([, at]) => at === path);
    if (method === "DELETE" && session !== undefined) {
      this.sessions.delete(session[0]);
      return { status: 204 };
    }
    const given = parse(body);
    if (method === "PATCH" && path === this.#shape.settings)
      return this.#record("stage-bios", [method, path, ...pairs(given["Attributes"])], this.#stage(given, ifMatch));
    if (method === "POST" && path === this.#shape.jobs)
      return this.#record("stage-bios", [method, path], this.#makeJob(given));
    if (method === "POST" && path === this.#resetTarget())
      return this.#record("reset", [method, path, String(given["ResetType"])], this.#reset(given));
    return undefined;
  }

  #resetTarget(): string {
    return `${this.#shape.system.replace(/\/$/, "")}/Actions/ComputerSystem.Reset${this.#shape.slash ? "/" : ""}`;
  }

  #record(verb: "stage-bios" | "reset", argv: readonly string[], answer: Answer): Answer {
    const done = answer.status < 300;
    this.#options.journal?.add({ machine: "bmc", verb, argv, mutating: done, status: done ? 0 : answer.status });
    return answer;
  }

  #stage(given: Json, ifMatch: string | undefined): Answer {
    const { bios } = this.#options;
    if (this.faults.otherWriter) this.#settingsVersion++;
    if (ifMatch === undefined && this.#shape.needsIfMatch)
      return problem(428, "PreconditionRequired", "If-Match is required.");
    if (ifMatch !== undefined && ifMatch !== "*" && ifMatch !== this.#settingsEtag())
      return problem(412, "PreconditionFailed", "The ETag supplied did not match.");
    const apply = given["@Redfish.SettingsApplyTime"] as Json | undefined;
    const times = this.#applyTimes();
    if (apply !== undefined && times === undefined)
      return problem(
        400,
        "PropertyUnknown",
        "The property @Redfish.SettingsApplyTime is not in the list of valid properties for the resource.",
      );
    if (apply !== undefined && !times?.includes(String(apply["ApplyTime"])))
      return problem(400, "PropertyValueNotInList", "The apply time is not supported.");
    const settings = given["Attributes"] as Readonly<Record<string, BiosValue>> | undefined;
    if (settings === undefined) return problem(400, "PropertyMissing", "The property Attributes is required.");
    if (this.faults.stageNothing) return { status: 200, body: {} };
    const before = { ...bios.staged };
    const errors = bios.stage(settings);
    if (errors.length > 0) return problem(400, "PropertyValueError", ...errors.map((e) => e.message));
    const { jobs } = this.#shape;
    if (jobs === undefined) return { status: 200, body: {} };
    if (apply !== undefined) return { status: 202, headers: { location: `${V1}/TaskService/Tasks/JID_1` } };
    bios.clearStaged();
    bios.stage(before);
    this.#unscheduled = { ...this.#unscheduled, ...settings };
    return { status: 200, body: {} };
  }

  #makeJob(given: Json): Answer {
    if (given["TargetSettingsURI"] !== this.#shape.settings)
      return problem(400, "PropertyValueNotInList", "TargetSettingsURI does not name a settings resource.");
    const errors = this.#options.bios.stage(this.#unscheduled);
    if (errors.length > 0) return problem(400, "PropertyValueError", ...errors.map((e) => e.message));
    this.#unscheduled = {};
    return { status: 200, headers: { location: `${this.#shape.jobs}/JID_1` } };
  }

  #reset(given: Json): Answer {
    const type = String(given["ResetType"]);
    const known = RESET_TYPES.find((t): t is ResetType => t === type);
    if (known === undefined || !this.#shape.resetTypes.includes(type))
      return problem(
        400,
        "ActionParameterValueNotInList",
        `The value ${type} for the parameter ResetType is not in the list of acceptable values.`,
      );
    this.#options.power().reset(known);
    return { status: 204 };
  }
}

function same(a: string, b: string): boolean {
  const [x, y] = [Buffer.from(a), Buffer.from(b)];
  return x.length === y.length && timingSafeEqual(x, y);
}

function parse(body: string): Json {
  try {
    const value: unknown = JSON.parse(body);
    return value !== null && typeof value === "object" ? (value as Json) : {};
  } catch {
    return {};
  }
}

const pairs = (attributes: unknown): string[] =>
  Object.entries((attributes ?? {}) as Json).map(([name, value]) => `${name}=${String(value)}`);
