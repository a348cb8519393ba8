import { stackConfig } from "./stacks/nodes.ts";
import { onpremSnp } from "./stacks/onprem-snp.ts";

/** One program per platform; `teeup:platform` picks it. */
const PROGRAMS = { "onprem-snp": onpremSnp } as const;

export const nodes = PROGRAMS[stackConfig().platform]();
