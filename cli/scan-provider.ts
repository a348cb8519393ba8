import { isAbsolute, join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import pluginMessages from "@pulumi/pulumi/proto/plugin_pb.js";
import * as providerGrpc from "@pulumi/pulumi/proto/provider_grpc_pb.js";
import messages from "@pulumi/pulumi/proto/provider_pb.js";
import jspb from "google-protobuf";
import empty from "google-protobuf/google/protobuf/empty_pb.js";
import struct from "google-protobuf/google/protobuf/struct_pb.js";
import { z } from "zod";
import { FACETS, facetNamed } from "../providers/facets/index.ts";
import type { Appraise } from "../providers/kit/appraisal.ts";
import type { NodeConfig, StackConfig } from "../providers/kit/config.ts";
import { TeeUpError } from "../providers/kit/errors.ts";
import type { Facet } from "../providers/kit/facet.ts";
import type { Place } from "../providers/kit/machine.ts";
import { PARTS } from "../providers/kit/names.ts";
import { readStackConfig } from "../providers/kit/read-config.ts";
import { type FacetScan, scanConfig, scanText } from "../providers/kit/scan.ts";
import { openFleet } from "../providers/machine/fleet.ts";
import { redact } from "../providers/machine/redact.ts";
import { type Goal, Reconciler } from "../providers/reconcile.ts";
import { scanned, unscanned } from "../providers/scan.ts";

/**
 * The provider of one stack while it is scanned, in this process: the engine attaches to it in place of the one that
 * it would start for each stack anew. It only ever reads, of any resource: what the engine asks beside is refused. What
 * other programs' dynamic resources stand for, it leaves as it is.
 */
export interface ScanProvider {
  /** For PULUMI_DEBUG_PROVIDERS. */
  readonly attach: string;
  close(): Promise<void>;
}

/** How long reads of a node wait for its plan, which says what will be asked; a state of parts alone has none. */
const PLAN_MS = 100;

const PlaceSchema = z.strictObject({ host: z.string().min(1), hostKeys: z.array(z.string()).optional() });
const PartSchema = z.object({
  node: z.string(),
  facet: z.string(),
  want: z.unknown(),
  at: PlaceSchema.optional(),
  /** Of a plan: names of all facets, with blanks between them. */
  facets: z.string().optional(),
});
/** Name of the resource that shows a node's whole plan. */
const NODE_PLAN = "node-plan";
type Part = z.infer<typeof PartSchema>;
/** Of what a state keeps, this is what a look needs; decoding the rest would cost more than the look. */
const KEYS: ReadonlySet<string> = new Set(Object.keys(PartSchema.shape));

/** `nodes`: those to look at, as their stack's config is now; `folder`: of the project, from which paths in it go. */
export async function openScan(nodes: readonly NodeConfig[], folder: string): Promise<ScanProvider> {
  const scan = new Scan(scanText(nodes.map((node) => withPaths(node, folder))));
  const server = new grpc.Server({ "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 });
  server.addService(SERVICE, handlersOf(scan));
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  return {
    attach: `pulumi-nodejs:${port}`,
    close: async () => {
      server.forceShutdown();
      await scan.close();
    },
  };
}

/** What a scan of one stack knows of its nodes. */
class Scan {
  readonly #nodes: string;
  /** By node: asked what its plan says, or without one whatever any facet may ask. */
  readonly #asked = new Map<
    string,
    { readonly done: Promise<void>; readonly ask: (facets: readonly Facet[]) => void }
  >();
  #reconciler: Reconciler | undefined;
  #names: ReadonlySet<string> = new Set();
  #misconfigured: unknown = new Error("the provider was not configured");

  constructor(nodes: string) {
    this.#nodes = nodes;
  }

  /** With the config of the last update, as the state has it. */
  configure(config: Readonly<Record<string, unknown>>): void {
    try {
      const kept = readStackConfig((key) => config[key]);
      const known = scanConfig(kept, this.#nodes);
      const fleet = openFleet(known, process.env);
      this.#names = new Set(fleet.names);
      this.#reconciler = new Reconciler(fleet, { appraise: appraiseOf(kept) });
    } catch (error) {
      this.#misconfigured = error;
    }
  }

  /** What the node's part looks like now. Never throws: one node's trouble would end the engine's look at all others. */
  async look({ node, facet, want, at, facets }: Part): Promise<FacetScan | undefined> {
    if (facet !== NODE_PLAN && !(facet in PARTS)) return undefined;
    try {
      if (this.#reconciler === undefined) throw this.#misconfigured;
      if (!this.#names.has(node)) return undefined;
      const asked = this.#askedOf(node, this.#reconciler, at);
      if (facet === NODE_PLAN) {
        if (facets !== undefined) asked.ask(FACETS.filter(({ name }) => facets.split(" ").includes(name)));
        return undefined;
      }
      await asked.done;
      await this.#reconciler.reach(node);
      return scanned(facet, await this.#reconciler.look(goalOf(node, facet, want), { evidence: true }));
    } catch (error) {
      return unscanned(facet, error);
    }
  }

  async close(): Promise<void> {
    await this.#reconciler?.close();
  }

  /** All that is asked of a node goes out at once, in one exec. */
  #askedOf(node: string, reconciler: Reconciler, at: Place | undefined) {
    const had = this.#asked.get(node);
    if (had !== undefined) return had;
    const { promise, resolve } = Promise.withResolvers<void>();
    const ask = (facets: readonly Facet[]) => {
      clearTimeout(timer);
      if (at === undefined) reconciler.prefetch(facets, [node]);
      else reconciler.locate(node, at, facets);
      resolve();
    };
    const timer = setTimeout(() => ask(FACETS), PLAN_MS);
    const made = { done: promise, ask };
    this.#asked.set(node, made);
    return made;
  }
}

/** Loaded only where evidence is verified, as the engine's own provider does it. */
function appraiseOf(config: StackConfig): Appraise {
  let appraise: Promise<Appraise> | undefined;
  return async (...args) => {
    appraise ??= import("../providers/appraise.ts").then(({ siteAppraiser }) => siteAppraiser(config, process.env));
    return (await appraise)(...args);
  };
}

function goalOf(node: string, name: string, want: unknown): Goal {
  const facet = facetNamed(name);
  const parsed = facet.want.safeParse(want);
  if (parsed.success) return { facet, node, want: parsed.data };
  throw new TeeUpError({
    code: "want.invalid",
    node,
    subject: name,
    saw: parsed.error.issues.map((i) => `${["want", ...i.path].join(".")}: ${i.message}`).join("; "),
    next: `docs/facets.md#${name} describes every field`,
  });
}

/** Paths in a stack's config go from its project's folder, where the engine's own provider runs. */
function withPaths({ ssh, bmc, guest, ...node }: NodeConfig, folder: string): NodeConfig {
  const from = (path: string) => (isAbsolute(path) || path.startsWith("~") ? path : join(folder, path));
  const placed = <T extends object>(part: T, ...keys: readonly (keyof T)[]): T => ({
    ...part,
    ...Object.fromEntries(keys.flatMap((key) => (typeof part[key] === "string" ? [[key, from(part[key])]] : []))),
  });
  return {
    ...node,
    ssh: placed(ssh, "keyFile", "knownHosts"),
    guest: placed(guest, "keyFile"),
    ...(bmc === undefined ? {} : { bmc: placed(bmc, "caFile") }),
  };
}

/** The fields of a ReadRequest that a look needs; what the engine keeps goes back to it as it came, undecoded. */
interface RawRead {
  readonly id: string;
  readonly properties: Uint8Array;
  readonly inputs: Uint8Array;
}

/** Of a stack's parts most bytes are of no interest: decoding all and encoding them again took longer than the looks. */
function decodeRead({ buffer, byteOffset, byteLength }: Buffer): RawRead {
  // A view, which the library takes as it is.
  const reader = new jspb.BinaryReader(new Uint8Array(buffer, byteOffset, byteLength));
  let id = "";
  let [properties, inputs]: Uint8Array[] = [];
  while (reader.nextField()) {
    if (reader.getFieldNumber() === 1) id = reader.readString();
    else if (reader.getFieldNumber() === 3) properties = reader.readBytes();
    else if (reader.getFieldNumber() === 4) inputs = reader.readBytes();
    else reader.skipField();
  }
  const nothing = new Uint8Array();
  return { id, properties: properties ?? nothing, inputs: inputs ?? nothing };
}

/** What a look needs of a part's Struct; undefined for what is no part of a node. */
function partOf(properties: Uint8Array): Part | undefined {
  const values: Record<string, unknown> = {};
  const reader = new jspb.BinaryReader(properties);
  while (reader.nextField()) {
    const entry = new jspb.BinaryReader(reader.readBytes());
    let key = "";
    while (entry.nextField()) {
      if (entry.getFieldNumber() === 1) key = entry.readString();
      else if (entry.getFieldNumber() === 2 && KEYS.has(key))
        values[key] = struct.Value.deserializeBinary(entry.readBytes()).toJavaScript();
      else entry.skipField();
    }
  }
  return PartSchema.safeParse(values).data;
}

/** The answer to a read: what came, and in the Struct, whose entries may stand in any order, one more. */
function encodeRead({ id, properties, inputs }: RawRead, seen: FacetScan | undefined): Uint8Array {
  const message = (...fields: readonly (readonly [number, string | Uint8Array])[]) => {
    const writer = new jspb.BinaryWriter();
    for (const [field, value] of fields)
      if (typeof value === "string") writer.writeString(field, value);
      else writer.writeBytes(field, value);
    return writer.getResultBuffer();
  };
  const scan = () => struct.Value.fromJavaScript(JSON.parse(JSON.stringify(seen)) as struct.JavaScriptValue);
  const more = seen === undefined ? [] : [message([1, message([1, "scan"], [2, scan().serializeBinary()])])];
  return message([1, id], [2, Buffer.concat([properties, ...more])], [3, inputs]);
}

/** How the protocol marks a secret; the signature is the SDK's specialSigKey with specialSecretSig. */
const SecretSchema = z.object({
  "4dabf18193072939515e22adb298388d": z.literal("1b47061264138c4ac30d75fd1eb44270"),
  value: z.unknown(),
});
const plain = (value: unknown): unknown => {
  const secret = SecretSchema.safeParse(value);
  return secret.success ? secret.data.value : value;
};

type Unary = grpc.handleUnaryCall<never, unknown>;

const UNCHANGED = new messages.DiffResponse();
UNCHANGED.setChanges(messages.DiffResponse.DiffChanges.DIFF_NONE);

const asItIs = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const { read: READ, diff: DIFF, ...OTHERS } = providerGrpc.ResourceProviderService;
const SERVICE = {
  ...OTHERS,
  read: { ...READ, requestDeserialize: decodeRead, responseSerialize: asItIs },
  diff: { ...DIFF, requestDeserialize: asItIs },
} as unknown as grpc.ServiceDefinition;

/** Those calls of the protocol that a refresh makes; any other is refused. */
function handlersOf(scan: Scan): grpc.UntypedServiceImplementation {
  const read = async (request: RawRead) => {
    const part = partOf(request.properties);
    return encodeRead(request, part === undefined ? undefined : await scan.look(part));
  };
  const known: Readonly<Record<string, (request: never) => unknown>> = {
    attach: () => new empty.Empty(),
    cancel: () => new empty.Empty(),
    getPluginInfo: () => new pluginMessages.PluginInfo(),
    configure: (request: InstanceType<typeof messages.ConfigureRequest>) => {
      const args = request.getArgs()?.toJavaScript() ?? {};
      scan.configure(Object.fromEntries(Object.entries(args).map(([key, value]) => [key, plain(value)])));
      return new messages.ConfigureResponse();
    },
    read,
    diff: () => UNCHANGED,
  };
  const refused: Unary = (call, done) =>
    done({ code: grpc.status.UNIMPLEMENTED, details: `a scan only reads: ${call.getPath()}` });
  const handlers = Object.fromEntries(
    Object.keys(SERVICE).map((name): [string, Unary] => {
      const handle = known[name];
      if (handle === undefined) return [name, refused];
      return [
        name,
        ({ request }, done) =>
          void Promise.resolve(handle(request)).then(
            (response) => done(null, response),
            (error: unknown) =>
              done({
                code: grpc.status.UNKNOWN,
                details: redact(error instanceof Error ? error.message : String(error)),
              }),
          ),
      ];
    }),
  );
  return handlers as unknown as grpc.UntypedServiceImplementation;
}
