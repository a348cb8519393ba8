/** `node bare.ts <nodes.json>`: one connection and one bare exec to each host, all at once. */
import { readFileSync } from "node:fs";
import { bareExec, NodesSchema } from "./fleet/floor.ts";

const nodes = NodesSchema.parse(JSON.parse(readFileSync(process.argv[2] ?? "", "utf8")));
await Promise.all(nodes.map(bareExec));
