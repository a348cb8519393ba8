import * as grpc from "@grpc/grpc-js";
import pluginMessages from "@pulumi/pulumi/proto/plugin_pb.js";
import * as providerGrpc from "@pulumi/pulumi/proto/provider_grpc_pb.js";
import messages from "@pulumi/pulumi/proto/provider_pb.js";
import empty from "google-protobuf/google/protobuf/empty_pb.js";
import struct from "google-protobuf/google/protobuf/struct_pb.js";

/**
 * A Pulumi resource provider over the engine's own gRPC protocol, for providers whose plugins cannot be had where the
 * tests run. Pulumi attaches to it when PULUMI_DEBUG_PROVIDERS names it with its port, so the engine, the language
 * host, the SDK and the package (@pulumi/alicloud, @pulumi/command) are the real ones.
 *
 * It does not cover: the plugin's own start and its download, GetSchema, Construct, Call, Parameterize, import of
 * existing resources, detailed diffs, replacements that a plugin itself wants deleted first, secrets that stay marked inside the provider, and time-outs.
 */
export type Props = Readonly<Record<string, unknown>>;

/** How the protocol writes a value that a preview cannot know. */
export const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

export interface Kind {
  /** Empty when the inputs are right; each failure as `property: what is wrong`. */
  check(inputs: Props): readonly { readonly property: string; readonly reason: string }[];
  /** Inputs whose change makes another resource. */
  readonly replaceOn: readonly string[];
  /** Outputs that nobody knows before the resource is made. */
  readonly computed: readonly string[];
  create(inputs: Props): Promise<{ readonly id: string; readonly outputs: Props }>;
  /** Undefined: it is gone. */
  read(id: string, outputs: Props): Promise<Props | undefined>;
  update(id: string, inputs: Props, outputs: Props): Promise<Props>;
  delete(id: string, outputs: Props): Promise<void>;
}

export interface Cloud {
  readonly package: string;
  /** Of the npm package, which asks for the plugin of its own version. */
  readonly version: string;
  readonly kinds: Readonly<Record<string, Kind>>;
  readonly functions: Readonly<Record<string, (args: Props) => Promise<Props>>>;
}

export interface Plugin {
  /** An entry of PULUMI_DEBUG_PROVIDERS. */
  readonly attach: string;
  close(): void;
}

type Unary = (request: never, metadata: grpc.Metadata) => Promise<unknown>;

const propsOf = (value: { toJavaScript(): unknown } | undefined): Props => (value?.toJavaScript() ?? {}) as Props;
const structOf = (value: Props) =>
  struct.Struct.fromJavaScript(JSON.parse(JSON.stringify(value)) as Record<string, struct.JavaScriptValue>);
const hasUnknown = (value: unknown): boolean => JSON.stringify(value ?? null).includes(UNKNOWN);
const typeOf = (urn: string): string => (urn.split("::")[2] ?? "").split("$").at(-1) ?? "";

/** Serves one cloud on a free port of loopback. */
export async function servePlugin(cloud: Cloud): Promise<Plugin> {
  const kind = (urn: string): Kind => {
    const found = cloud.kinds[typeOf(urn)];
    if (found === undefined) throw new Error(`the stand-in of ${cloud.package} has no ${typeOf(urn)}`);
    return found;
  };
  const service: Readonly<Record<string, Unary>> = {
    handshake: async () => {
      const response = new messages.ProviderHandshakeResponse();
      return response;
    },
    attach: async () => new empty.Empty(),
    cancel: async () => new empty.Empty(),
    getPluginInfo: async () => {
      const info = new pluginMessages.PluginInfo();
      info.setVersion(cloud.version);
      return info;
    },
    checkConfig: async (request: InstanceType<typeof messages.CheckRequest>) => {
      const response = new messages.CheckResponse();
      response.setInputs(request.getNews());
      return response;
    },
    diffConfig: async () => new messages.DiffResponse(),
    configure: async () => {
      const response = new messages.ConfigureResponse();
      response.setSupportspreview(true);
      return response;
    },
    check: async (request: InstanceType<typeof messages.CheckRequest>) => {
      const response = new messages.CheckResponse();
      response.setInputs(request.getNews());
      response.setFailuresList(
        kind(request.getUrn())
          .check(propsOf(request.getNews()))
          .map(({ property, reason }) => {
            const failure = new messages.CheckFailure();
            failure.setProperty(property);
            failure.setReason(reason);
            return failure;
          }),
      );
      return response;
    },
    diff: async (request: InstanceType<typeof messages.DiffRequest>) => {
      const olds = propsOf(request.getOldInputs() ?? request.getOlds());
      const news = propsOf(request.getNews());
      const keys = [...new Set([...Object.keys(olds), ...Object.keys(news)])].filter((key) => !key.startsWith("__"));
      const changed = keys.filter((key) => JSON.stringify(olds[key]) !== JSON.stringify(news[key]));
      const response = new messages.DiffResponse();
      const { DIFF_NONE, DIFF_SOME } = messages.DiffResponse.DiffChanges;
      response.setChanges(changed.length === 0 ? DIFF_NONE : DIFF_SOME);
      response.setDiffsList(changed);
      response.setReplacesList(changed.filter((key) => kind(request.getUrn()).replaceOn.includes(key)));
      return response;
    },
    create: async (request: InstanceType<typeof messages.CreateRequest>) => {
      const inputs = propsOf(request.getProperties());
      const response = new messages.CreateResponse();
      const of = kind(request.getUrn());
      if (request.getPreview()) {
        const later = Object.fromEntries(of.computed.map((name) => [name, UNKNOWN]));
        response.setProperties(structOf({ ...inputs, ...later }));
        return response;
      }
      const { id, outputs } = await of.create(inputs);
      response.setId(id);
      response.setProperties(structOf(outputs));
      return response;
    },
    read: async (request: InstanceType<typeof messages.ReadRequest>) => {
      const response = new messages.ReadResponse();
      const outputs = await kind(request.getUrn()).read(request.getId(), propsOf(request.getProperties()));
      if (outputs === undefined) return response;
      response.setId(request.getId());
      response.setProperties(structOf(outputs));
      response.setInputs(request.getInputs());
      return response;
    },
    update: async (request: InstanceType<typeof messages.UpdateRequest>) => {
      const response = new messages.UpdateResponse();
      const olds = propsOf(request.getOlds());
      const news = propsOf(request.getNews());
      const outputs = request.getPreview()
        ? { ...olds, ...news }
        : await kind(request.getUrn()).update(request.getId(), news, olds);
      response.setProperties(structOf(outputs));
      return response;
    },
    delete: async (request: InstanceType<typeof messages.DeleteRequest>) => {
      await kind(request.getUrn()).delete(request.getId(), propsOf(request.getProperties()));
      return new empty.Empty();
    },
    invoke: async (request: InstanceType<typeof messages.InvokeRequest>) => {
      const response = new messages.InvokeResponse();
      const args = propsOf(request.getArgs());
      const run = cloud.functions[request.getTok()];
      if (run === undefined) throw new Error(`the stand-in of ${cloud.package} has no ${request.getTok()}`);
      if (!hasUnknown(args)) response.setReturn(structOf(await run(args)));
      return response;
    },
  };
  const server = new grpc.Server();
  const missing: grpc.handleUnaryCall<unknown, unknown> = (call, done) =>
    done({ code: grpc.status.UNIMPLEMENTED, details: `the stand-in has no ${call.getPath()}` });
  const handlers = Object.fromEntries(
    Object.keys(providerGrpc.ResourceProviderService).map((name) => {
      const handle = service[name];
      if (handle === undefined) return [name, missing];
      const unary: grpc.handleUnaryCall<never, unknown> = (call, done) => {
        handle(call.request, call.metadata).then(
          (response) => done(null, response),
          (error: unknown) =>
            done({ code: grpc.status.UNKNOWN, details: error instanceof Error ? error.message : String(error) }),
        );
      };
      return [name, unary];
    }),
  );
  server.addService(
    providerGrpc.ResourceProviderService as unknown as grpc.ServiceDefinition,
    handlers as unknown as grpc.UntypedServiceImplementation,
  );
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  return { attach: `${cloud.package}:${port}`, close: () => server.forceShutdown() };
}
