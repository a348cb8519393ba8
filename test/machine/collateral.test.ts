import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { openCollateral } from "../../providers/machine/collateral.ts";

let server: Server;
let folder: string;
let answer: { readonly status: number; readonly type: string; readonly body: string };
let asked: number;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "teeup-collateral-"));
  asked = 0;
  server = createServer((_request, response) => {
    asked++;
    response.writeHead(answer.status, { "content-type": answer.type }).end(answer.body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  rmSync(folder, { recursive: true });
});

const fetched = async () => {
  const mirror = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return (await openCollateral({ mirror, folder, env: {} })("amd", "/vcek/v1/Genoa/crl")).body.toString();
};
const list = { status: 200, type: "application/octet-stream", body: "the list" };
const page = { status: 200, type: "text/html; charset=utf-8", body: "<html>Please log in</html>" };

test("a document is asked for once, and kept", async () => {
  answer = list;
  expect([await fetched(), await fetched(), asked]).toEqual(["the list", "the list", 1]);
});

test.each([
  ["a web page of a proxy", page, /a web page in place of the document/],
  ["that there is none", { ...list, status: 404 }, /status 404/],
])("%s is no document and is not kept: the next one who asks gets the right one", async (_name, wrong, why) => {
  answer = wrong;
  await expect(fetched()).rejects.toThrow(why);
  expect(readdirSync(folder)).toEqual([]);
  answer = list;
  expect(await fetched()).toBe("the list");
});
