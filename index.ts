import * as pulumi from "@pulumi/pulumi";
import { TeeUpError } from "./providers/kit/errors.ts";
import { alibabaGn8vTee } from "./stacks/alibaba-gn8v-tee.ts";
import { baiduBcc } from "./stacks/baidu-bcc.ts";
import { stackConfig } from "./stacks/nodes.ts";
import { onpremSnp } from "./stacks/onprem-snp.ts";
import { onpremTdx } from "./stacks/onprem-tdx.ts";

/** One program per platform; `teeup:platform` picks it. */
const PROGRAMS = {
  "onprem-snp": onpremSnp,
  "onprem-tdx": onpremTdx,
  "baidu-bcc": baiduBcc,
  "alibaba-gn8v-tee": alibabaGn8vTee,
} as const;

// Pulumi keeps each resource's call stack in the state; after an await the loader's frames are not part of it.
await Promise.resolve();

export const nodes = run();

/** A fault of the stack config is shown as it is said, without the program's stack. */
function run(): Record<string, unknown> {
  try {
    return PROGRAMS[stackConfig().platform]();
  } catch (error) {
    throw error instanceof TeeUpError ? new pulumi.RunError(error.message) : error;
  }
}
