import { z } from "zod";
import { TeeUpError } from "./errors.ts";
import type { Door } from "./machine.ts";

/**
 * What stands before commands that run once: the boot that a node is in and the verdict of its attestation, which are
 * their triggers, and how the node is reached, with the host key that was verified. Nothing is run here.
 */
export const NODE_SESSION = "node-session";

type Props = Readonly<Record<string, unknown>>;

const InputsSchema = z.looseObject({ node: z.string(), verdict: z.string() });
const BeforeSchema = z.object({ bootId: z.string(), verdict: z.string() });

export const isSession = (props: Props): boolean => props["facet"] === NODE_SESSION;

/**
 * Why the commands would run; empty when they would not. `before`: inputs or outputs of the last time; `bootId` is
 * undefined where the node does not say.
 */
export function againBecause(before: Props, news: Props, bootId: string | undefined): string[] {
  const old = BeforeSchema.safeParse(before);
  if (!old.success) return ["[none] run its commands, once in this boot"];
  return [
    ...(old.data.bootId === bootId
      ? []
      : [`[none] run its commands again: ${bootId === undefined ? "its boot cannot be told" : "it was restarted"}`]),
    ...(old.data.verdict === InputsSchema.parse(news).verdict
      ? []
      : ["[none] run its commands again: another verdict of its attestation"]),
  ];
}

/**
 * Outputs. Throws `one-shot.not-attested`, `one-shot.no-boot`, `one-shot.no-agent` (the plugin would want the private key
 * as an input, and TeeUp gives it none) or `one-shot.bastions`.
 */
export function openSession(
  news: Props,
  bootId: string | undefined,
  door: Door | undefined,
  agent: string | undefined,
): Props {
  const { node, verdict } = InputsSchema.parse(news);
  const refuse = (code: string, saw: string, next: string) =>
    new TeeUpError({ code: `one-shot.${code}`, node, subject: "commands", saw, next });
  if (verdict !== "pass")
    throw refuse("not-attested", `its attestation is no pass: ${verdict}; nothing was run`, `teeup check ${node}`);
  if (bootId === undefined || door === undefined)
    throw refuse("no-boot", "it does not say which boot it is in; nothing was run", `teeup check ${node}`);
  if (agent === undefined)
    throw refuse(
      "no-agent",
      "no SSH agent: commands log in through one, so that no private key stands in the state; nothing was run",
      'eval "$(ssh-agent)" && ssh-add <the node\'s ssh.keyFile>, then pulumi up',
    );
  if (door.via?.via !== undefined)
    throw refuse(
      "bastions",
      "it lies behind more than one bastion, and commands know one",
      "connect through one bastion",
    );
  return { node, facet: NODE_SESSION, bootId, verdict, door };
}
