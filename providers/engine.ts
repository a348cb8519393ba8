import * as grpc from "@grpc/grpc-js";
import * as engineGrpc from "@pulumi/pulumi/proto/engine_grpc_pb.js";
import engineMessages from "@pulumi/pulumi/proto/engine_pb.js";

/** What a provider process knows of the Pulumi engine that started it. */
export interface Engine {
  /** Shows one passing line in Pulumi's display; never stored. Errors are ignored: progress is not worth a failure. */
  progress(line: string): void;
  /** One line that stays, without being a warning. */
  say(line: string): void;
  /** One line that stays among Pulumi's diagnostics; the command goes on and its exit status does not change. */
  warn(line: string): void;
  /** Aborted once the engine is no more (its CLI was killed): it no longer listens, or this process has another parent. */
  readonly gone: AbortSignal;
  /** Asks the engine for an answer; when there is nobody, {@link Engine.gone} is aborted before this resolves. */
  listens(): Promise<void>;
}

/** How often the engine's channel is looked at while something changes machines, in milliseconds. */
const WATCH_MS = 500;

/**
 * Connects to the engine at `address` (the provider process gets it as its first argument).
 * Without an address, as in tests and the CLI, progress goes nowhere and the engine is never gone.
 */
export function connectEngine(address: string | undefined): Engine {
  const gone = new AbortController();
  if (address === undefined || !/^[\w.[\]:-]+:\d+$/.test(address))
    return {
      progress: () => undefined,
      say: () => undefined,
      warn: () => undefined,
      gone: gone.signal,
      listens: async () => undefined,
    };
  const client = new engineGrpc.EngineClient(address, grpc.credentials.createInsecure());
  let wasReady = false;
  const parent = process.ppid;
  const watch = setInterval(() => {
    const state = client.getChannel().getConnectivityState(true);
    if (state === grpc.connectivityState.READY) wasReady = true;
    if (process.ppid !== parent || (wasReady && state === grpc.connectivityState.TRANSIENT_FAILURE)) {
      gone.abort();
      clearInterval(watch);
    }
  }, WATCH_MS);
  watch.unref();
  const log = (severity: 1 | 2, line: string, ephemeral: boolean): void => {
    const request = new engineMessages.LogRequest();
    request.setSeverity(severity);
    request.setMessage(line);
    request.setEphemeral(ephemeral);
    client.log(request, () => undefined);
  };
  const { INFO, WARNING } = engineMessages.LogSeverity;
  return {
    gone: gone.signal,
    progress: (line) => log(INFO, line, true),
    say: (line) => log(INFO, line, false),
    warn: (line) => log(WARNING, line, false),
    listens: () =>
      new Promise((resolve) => {
        client.getRootResource(new engineMessages.GetRootResourceRequest(), (error) => {
          if (error?.code === grpc.status.UNAVAILABLE) gone.abort();
          resolve();
        });
      }),
  };
}
