import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestAmd, TestChip } from "./snp.ts";
import type { CollateralOptions, TestIntel } from "./tdx.ts";

/** Reference values that NVIDIA's service would have for the twin's GPUs; made up. */
const RIM_IDS = [
  ...["535.86.05", "550.144.03", "570.195.03", "580.95.05", "580.105.08"].map((v) => `NV_GPU_DRIVER_GH100_${v}`),
  "NV_GPU_VBIOS_1010_0200_882_96005E0001",
  "NV_SWITCH_BIOS_5612_0002_890_9610570001",
];

export interface CollateralServer {
  readonly url: string;
  /** Paths that were asked for, in order. */
  readonly asked: string[];
  /** What is served in place of the sound thing, by the beginning of its path; `null`: not found. */
  readonly instead: Map<string, Buffer | null>;
  close(): Promise<void>;
}

/** AMD's and Intel's services on loopback, with documents of the test roots under the vendors' own paths. */
export async function startCollateral(parts: {
  readonly amd?: { readonly amd: TestAmd; readonly chip: TestChip; readonly crl?: Buffer };
  readonly intel?: { readonly intel: TestIntel; readonly options?: CollateralOptions };
}): Promise<CollateralServer> {
  const documents = new Map<string, { body: Buffer; headers?: Record<string, string> }>();
  if (parts.amd !== undefined) {
    const { amd, chip, crl } = parts.amd;
    const base = `/vcek/v1/${amd.product}`;
    documents.set(`${base}/${chip.id.toString("hex")}`, { body: chip.key.der });
    documents.set(`${base}/cert_chain`, { body: Buffer.from(amd.ask.pem + amd.ark.pem) });
    documents.set(`${base}/crl`, { body: crl ?? (await amd.crl()) });
  }
  if (parts.intel !== undefined) {
    const made = await parts.intel.intel.collateral(parts.intel.options);
    documents.set("/tdx/certification/v4/tcb", {
      body: Buffer.from(made.tcbInfo),
      headers: { "TCB-Info-Issuer-Chain": encodeURIComponent(made.tcbInfoIssuerChain) },
    });
    documents.set("/tdx/certification/v4/qe/identity", {
      body: Buffer.from(made.qeIdentity),
      headers: { "SGX-Enclave-Identity-Issuer-Chain": encodeURIComponent(made.qeIdentityIssuerChain) },
    });
    documents.set("/sgx/certification/v4/pckcrl", { body: made.pckCrl });
    documents.set("/IntelSGXRootCA.der", { body: made.rootCrl });
  }
  documents.set("/v1/rim/ids", { body: Buffer.from(JSON.stringify({ ids: RIM_IDS })) });
  const asked: string[] = [];
  const instead = new Map<string, Buffer | null>();
  const server = createServer((request, response) => {
    const path = request.url ?? "/";
    asked.push(path);
    const other = [...instead].find(([start]) => path.startsWith(start));
    const found = documents.get(path.split("?")[0] ?? "");
    const body = other === undefined ? found?.body : (other[1] ?? undefined);
    if (body === undefined) response.writeHead(404).end();
    else response.writeHead(200, found?.headers).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    instead,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
