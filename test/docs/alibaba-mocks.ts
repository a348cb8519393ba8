import * as pulumi from "@pulumi/pulumi";
import { AlibabaNode } from "../../components/alibaba-node.ts";
import { askedOf } from "../../stacks/profiles/cloud-goals.ts";
import { CLOUD_PROFILES } from "../../stacks/profiles/resolve.ts";
import { pinsFor } from "../e2e/drive.ts";

export type Made = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** What the program of a recipe asks the cloud's plugin to make: inputs by the last part of their type. No engine, no cloud. */
export async function madeBy(profileName: string, more: object = {}): Promise<Made> {
  const profile = CLOUD_PROFILES.find((p) => p.name === profileName);
  if (profile === undefined) throw new Error(`no recipe ${profileName}`);
  const made: Record<string, Readonly<Record<string, unknown>>> = {};
  await pulumi.runtime.setMocks({
    newResource: ({ type, name, inputs }) => {
      made[type.split(":").at(-1) ?? type] = inputs as Record<string, unknown>;
      return {
        id: `${name}-id`,
        state: { ...inputs, publicIp: "203.0.113.9", at: { host: "203.0.113.9", hostKeys: [] } },
      };
    },
    call: ({ token, inputs }) =>
      token.endsWith("getEcsInvocations") ? { invocations: [] } : { ids: [inputs["instanceType"]].filter(Boolean) },
  });
  const node = new AlibabaNode("gpu-01", {
    node: "gpu-01",
    profile: profileName,
    pins: pinsFor(askedOf(profile, {})),
    publicKey: "ssh-ed25519 AAAA ops@rack7",
    sshFrom: ["203.0.113.7/32"],
    ...more,
  });
  await new Promise((resolve) => node.instanceId.apply(resolve));
  return made;
}
