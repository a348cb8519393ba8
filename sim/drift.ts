import type { TwinNode } from "./model/node.ts";

export function applyDrift(_node: TwinNode, name: string): void {
  throw new Error(`no drift is called ${name}`);
}
