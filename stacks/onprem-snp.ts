import { SnpNode } from "../components/index.ts";
import { eachNode } from "./nodes.ts";

/** On-prem AMD SEV-SNP: every node of the stack config, from BIOS to attested GPU. */
export const onpremSnp = () => eachNode("onprem-snp", (name, args) => new SnpNode(name, args));
