import { expect, test } from "@jest/globals";
import { AliCloud } from "../../sim/stand-in/alicloud.ts";

test("two rules that say the same are one, which goes with either of them, as in the cloud", async () => {
  const cloud = new AliCloud(() => Promise.reject(new Error("no instance is made here")));
  const rules = cloud.cloud().kinds["alicloud:ecs/securityGroupRule:SecurityGroupRule"];
  if (rules === undefined) throw new Error("no such kind");
  const rule = { type: "ingress", ipProtocol: "tcp", portRange: "22/22", policy: "accept", securityGroupId: "sg-1" };
  const office = { ...rule, cidrIp: "203.0.113.7/32" };
  const first = await rules.create(office);
  const second = await rules.create(office);
  const other = await rules.create({ ...rule, cidrIp: "198.51.100.0/24" });
  await rules.delete(first.id, {});
  expect(await rules.read(second.id, {})).toBeUndefined();
  expect(await rules.read(other.id, {})).toMatchObject({ cidrIp: "198.51.100.0/24" });
});
