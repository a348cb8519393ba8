import { Command } from "@pulumi/command/remote/command.js";
import type * as pulumi from "@pulumi/pulumi";
import type { OneShotCommand } from "../providers/kit/config.ts";
import type { Door, Place } from "../providers/kit/machine.ts";
import { SAMPLE_WORKLOAD } from "../providers/kit/sample-workload.ts";
import { quoteWords } from "../providers/kit/words.ts";
import { NodeSession } from "../providers/resource.ts";
import type { NodeParts } from "./node-parts.ts";

/** What an instance runs once it is attested. */
export interface OneShotSettings {
  /** Run once, and again after a restart or another verdict. What they say is in the state, so is their argv. */
  readonly commands?: readonly OneShotCommand[] | undefined;
  /** Also run {@link SAMPLE_WORKLOAD}; default no. */
  readonly sampleWorkload?: boolean | undefined;
}

export interface OneShotArgs extends OneShotSettings {
  readonly node: string;
  readonly parts: NodeParts;
  readonly at?: pulumi.Input<Place> | undefined;
  readonly options?: pulumi.CustomResourceOptions;
}

/** How often the plugin knocks: TeeUp itself was there a moment ago. */
const DIALS = 3;

/**
 * Commands of @pulumi/command, one after the other, on a node whose attestation passed. They log in through the SSH agent,
 * so that no key is an input, and take only the host key that TeeUp verified.
 */
export function oneShots(
  parent: pulumi.Resource,
  name: string,
  { node, parts, at, options, ...run }: OneShotArgs,
): void {
  const sample = run.sampleWorkload === true ? [{ name: "sample-workload", argv: SAMPLE_WORKLOAD }] : [];
  const commands = [...sample, ...(run.commands ?? [])];
  if (commands.length === 0) return;
  const verdict = parts.attestation.apply((seen) => String(seen?.["verdict"] ?? "none"));
  const place = at === undefined ? {} : { at };
  const own = { ...options, parent };
  const session = new NodeSession(`${name}-session`, { node, verdict, ...place }, { ...own, dependsOn: parts.last });
  let before: pulumi.Resource = session;
  for (const command of commands) {
    before = new Command(
      `${name}-${command.name}`,
      {
        connection: session.door.apply(connectionOf),
        create: quoteWords(command.argv),
        triggers: [session.bootId, session.verdict],
        // sshd takes no such variables, and the output of another boot says nothing in this one.
        addPreviousOutputInEnv: false,
      },
      { ...own, dependsOn: before },
    );
  }
}

interface Connection {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly hostKey: string;
  readonly dialErrorLimit: number;
  readonly proxy?: Omit<Connection, "proxy">;
}

function connectionOf({ via, ...door }: Door): Connection {
  const own = { ...door, dialErrorLimit: DIALS };
  return via === undefined ? own : { ...own, proxy: connectionOf({ ...via, via: undefined }) };
}
