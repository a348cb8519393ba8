import { join, relative } from "node:path";
import * as grpc from "@grpc/grpc-js";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import * as providerGrpc from "@pulumi/pulumi/proto/provider_grpc_pb.js";
import messages from "@pulumi/pulumi/proto/provider_pb.js";
import fc from "fast-check";
import struct from "google-protobuf/google/protobuf/struct_pb.js";
import { openScan, type ScanProvider } from "../../cli/scan-provider.ts";
import { type Bench, bench, goalsOf, NODE } from "../e2e/drive.ts";

/** What the engine says to the provider of a scan, over the real protocol; test/pulumi/drift.test.ts has the engine. */
type Props = Record<string, unknown>;
type Client = InstanceType<typeof providerGrpc.ResourceProviderClient>;
const structOf = (value: Props) => struct.Struct.fromJavaScript(value as Record<string, struct.JavaScriptValue>);

let b: Bench;
let opened: { scan: ScanProvider; client: Client }[] = [];
beforeEach(async () => {
  b = await bench({ bmc: false });
});
afterEach(async () => {
  for (const { scan, client } of opened) {
    client.close();
    await scan.close();
  }
  opened = [];
  await b.close();
});

async function open(nodes = b.config.nodes, folder = "/"): Promise<Client> {
  const scan = await openScan(nodes, folder);
  const address = `127.0.0.1:${scan.attach.replace("pulumi-nodejs:", "")}`;
  const client = new providerGrpc.ResourceProviderClient(address, grpc.credentials.createInsecure());
  opened.push({ scan, client });
  const request = new messages.ConfigureRequest();
  // As a state has it: structured values are JSON text.
  const config = Object.entries(b.config).map(([key, value]): [string, string] => [
    `teeup:${key}`,
    typeof value === "string" ? value : JSON.stringify(value),
  ]);
  request.setArgs(structOf(Object.fromEntries(config)));
  await new Promise((resolve, reject) =>
    client.configure(request, (error, response) => (error === null ? resolve(response) : reject(error))),
  );
  return client;
}

function read(
  client: Client,
  outputs: Props,
  inputs: Props = {},
): Promise<{ id: string; outputs: Props; inputs: Props }> {
  const request = new messages.ReadRequest();
  request.setId("an id");
  request.setUrn("urn:pulumi:s::p::pulumi-nodejs:dynamic/x:Y::n");
  request.setProperties(structOf(outputs));
  request.setInputs(structOf(inputs));
  return new Promise((resolve, reject) =>
    client.read(request, (error, response) => {
      if (error !== null) return reject(error);
      const plain = (value: InstanceType<typeof struct.Struct> | undefined) => (value?.toJavaScript() ?? {}) as Props;
      resolve({
        id: response.getId(),
        outputs: plain(response.getProperties()),
        inputs: plain(response.getInputs()),
      });
    }),
  );
}

const part = (facet: string): Props => ({
  node: NODE,
  facet,
  want: goalsOf(b).find((goal) => goal.facet.name === facet)?.want,
});

test("a node's parts are looked at in one exec, of its plan's facets alone; all else comes back as it was", async () => {
  const client = await open();
  const facets = ["cpu", "kernel", "module-options"];
  const plan = { node: NODE, facet: "node-plan", facets: facets.join(" "), goals: "0" };
  const kept = { observed: { a: [1, null, "ü"] }, __provider: "text" };
  const [seen, ...parts] = await Promise.all([
    read(client, plan, { goals: [] }),
    ...facets.map((facet) => read(client, { ...part(facet), ...kept }, { want: 1 })),
  ]);
  expect(seen).toEqual({ id: "an id", outputs: plan, inputs: { goals: [] } });
  for (const [n, { outputs, inputs, id }] of parts.entries()) {
    const { scan, ...rest } = outputs;
    expect({ id, rest, inputs }).toEqual({
      id: "an id",
      rest: JSON.parse(JSON.stringify({ ...part(facets[n] ?? ""), ...kept })),
      inputs: { want: 1 },
    });
    expect(scan).toMatchObject({ facet: facets[n], status: expect.stringMatching(/^(clean|drifted)$/) });
  }
  const { hostExecs, guestExecs, mutations } = b.twin.journal.counts();
  expect([hostExecs, guestExecs, mutations, b.twin.journal.unmodelled]).toEqual([1, 0, 0, []]);
});

test("a part without a plan, as a program of parts alone has it, is looked at too", async () => {
  const { outputs } = await read(await open(), part("cpu"));
  expect(outputs["scan"]).toMatchObject({ facet: "cpu", status: "clean" });
});

test("paths of the stack's config go from the project's folder", async () => {
  const [node] = b.config.nodes;
  if (node === undefined) throw new Error("no node");
  const folder = join(b.folder, "project");
  const ssh = { ...node.ssh, keyFile: relative(folder, node.ssh.keyFile ?? "") };
  const look = async (at: string) => (await read(await open([{ ...node, ssh }], at), part("cpu"))).outputs["scan"];
  expect(await look(folder)).toMatchObject({ status: "clean" });
  expect(await look("/nowhere")).toMatchObject({ status: "broken", error: { code: "ssh.key-file" } });
});

test("another program's dynamic resource, and a node that is not to be looked at, come back untouched", async () => {
  const client = await open([]);
  await fc.assert(
    fc.asyncProperty(fc.dictionary(fc.string(), fc.jsonValue()), async (given) => {
      const outputs = JSON.parse(JSON.stringify(given)) as Props;
      expect((await read(client, outputs)).outputs).toEqual(outputs);
    }),
    { numRuns: 50 },
  );
  expect((await read(client, part("cpu"))).outputs).not.toHaveProperty("scan");
  expect(b.twin.journal.counts().connections).toBe(0);
});

test("it only reads: creating, updating, deleting and checking are refused, and nothing differs", async () => {
  const client = await open();
  const call = (name: "create" | "update" | "delete" | "check", request: object) =>
    new Promise((resolve, reject) =>
      (client[name] as (r: object, f: (error: Error | null) => void) => void).call(client, request, (error) =>
        error === null ? resolve(undefined) : reject(error),
      ),
    );
  await expect(call("create", new messages.CreateRequest())).rejects.toThrow(/a scan only reads: .*Create/);
  await expect(call("update", new messages.UpdateRequest())).rejects.toThrow(/a scan only reads/);
  await expect(call("delete", new messages.DeleteRequest())).rejects.toThrow(/a scan only reads/);
  await expect(call("check", new messages.CheckRequest())).rejects.toThrow(/a scan only reads/);
  const changes = await new Promise((resolve, reject) =>
    client.diff(new messages.DiffRequest(), (error, response) =>
      error === null ? resolve(response.getChanges()) : reject(error),
    ),
  );
  expect(changes).toBe(messages.DiffResponse.DiffChanges.DIFF_NONE);
});
