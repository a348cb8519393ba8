import type { TwinNode } from "./model/node.ts";

export function applyScenario(_node: TwinNode, name: string, _when: "off" | "on"): void {
  throw new Error(`no scenario is called ${name}`);
}
