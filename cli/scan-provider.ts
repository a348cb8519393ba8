import * as grpc from "@grpc/grpc-js";
import pluginMessages from "@pulumi/pulumi/proto/plugin_pb.js";
import * as providerGrpc from "@pulumi/pulumi/proto/provider_grpc_pb.js";
import messages from "@pulumi/pulumi/proto/provider_pb.js";
import jspb from "google-protobuf";
import empty from "google-protobuf/google/protobuf/empty_pb.js";
import struct from "google-protobuf/google/protobuf/struct_pb.js";
import { z } from "zod";
import type { NodeConfig } from "../providers/kit/config.ts";
import type { FacetScan } from "../providers/kit/scan.ts";
import { redact } from "../providers/machine/redact.ts";
import type { Scan } from "./scan-looks.ts";

/**
 * The provider of one stack while it is scanned, in this process: the engine attaches to it in place of the one that
 * it would start for each stack anew. It only ever reads, of any resource: what the engine asks beside is refused. What
 * other programs' dynamic resources stand for, it leaves as it is.
 */
export interface ScanProvider {
  /** For PULUMI_DEBUG_PROVIDERS. */
  readonly attach: string;
  /** Loads what looks; called while the engine starts, it costs no time where there are two processors. */
  warm(): void;
  close(): Promise<void>;
}

const PlaceSchema = z.strictObject({ host: z.string().min(1), hostKeys: z.array(z.string()).optional() });
const PartSchema = z.object({
  node: z.string(),
  facet: z.string(),
  want: z.unknown(),
  at: PlaceSchema.optional(),
  /** Of a plan: names of all facets, with blanks between them. */
  facets: z.string().optional(),
});
/** Of what a state keeps, this is what a look needs; decoding the rest would cost more than the look. */
export type Part = z.infer<typeof PartSchema>;
const KEYS: ReadonlySet<string> = new Set(Object.keys(PartSchema.shape));

/** `nodes`: those to look at, as their stack's config is now; `folder`: of the project, from which paths in it go. */
export async function openScan(nodes: readonly NodeConfig[], folder: string): Promise<ScanProvider> {
  let loading: Promise<Scan> | undefined;
  const load = () => {
    loading ??= import("./scan-looks.ts").then(({ Scan: Looks }) => new Looks(nodes, folder));
    return loading;
  };
  const server = new grpc.Server({ "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 });
  server.addService(SERVICE, handlersOf(load));
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  return {
    attach: `pulumi-nodejs:${port}`,
    warm: () => void load().catch(() => undefined),
    close: async () => {
      server.forceShutdown();
      await (await loading)?.close();
    },
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
function handlersOf(load: () => Promise<Scan>): grpc.UntypedServiceImplementation {
  const read = async (request: RawRead) => {
    const part = partOf(request.properties);
    return encodeRead(request, part === undefined ? undefined : await (await load()).look(part));
  };
  const known: Readonly<Record<string, (request: never) => unknown>> = {
    attach: () => new empty.Empty(),
    cancel: () => new empty.Empty(),
    getPluginInfo: () => new pluginMessages.PluginInfo(),
    configure: async (request: InstanceType<typeof messages.ConfigureRequest>) => {
      const args = request.getArgs()?.toJavaScript() ?? {};
      (await load()).configure(Object.fromEntries(Object.entries(args).map(([key, value]) => [key, plain(value)])));
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
