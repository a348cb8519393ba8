import { AlibabaNode } from "../components/alibaba-node.ts";
import { TeeUpError } from "../providers/kit/errors.ts";
import { stackConfig } from "./nodes.ts";

/** Alibaba Cloud gn8v-tee: every node of the stack config is an instance that this stack makes, with its network. */
export function alibabaGn8vTee(): Record<string, unknown> {
  const { nodes, profile, pins, instance, attestation: demands } = stackConfig();
  const { sshFrom, ...shape } = instance;
  return Object.fromEntries(
    nodes.map(({ name, guest }) => {
      const { publicKey } = guest;
      if (publicKey === undefined || sshFrom.length === 0)
        throw new TeeUpError({
          code: "config.instance",
          node: name,
          subject: publicKey === undefined ? "guest.publicKey" : "teeup:instance.sshFrom",
          saw: publicKey === undefined ? "no public key to log in with" : "nobody may reach the instance's sshd",
          next:
            publicKey === undefined
              ? "set guest.publicKey of the node to the public half of its ssh.keyFile"
              : "set teeup:instance.sshFrom to the address ranges that you connect from, e.g. [203.0.113.7/32]",
        });
      const made = new AlibabaNode(name, {
        node: name,
        profile,
        pins,
        publicKey,
        sshFrom,
        ...shape,
        attestation: demands,
      });
      const { attestation, evidence, plan, instanceId, address, hostKey } = made;
      return [name, { attestation, evidence, plan, instanceId, address, hostKey }];
    }),
  );
}
