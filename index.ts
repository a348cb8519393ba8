import { stackConfig } from "./stacks/nodes.ts";
import { onpremSnp } from "./stacks/onprem-snp.ts";

/** One program per platform; `teeup:platform` picks it. */
const PROGRAMS = { "onprem-snp": onpremSnp } as const;

// Pulumi keeps each resource's call stack in the state; after an await the loader's frames are not part of it.
await Promise.resolve();

export const nodes = PROGRAMS[stackConfig().platform]();
