import { TdxNode } from "../components/index.ts";
import { eachNode } from "./nodes.ts";

/** On-prem Intel TDX: every node of the stack config, from BIOS to attested GPU. */
export const onpremTdx = () => eachNode("onprem-tdx", (name, args) => new TdxNode(name, args));
