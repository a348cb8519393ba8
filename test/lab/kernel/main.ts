/** `node test/lab/kernel/main.ts`: builds the lab's kernels where they are not in the cache, and says where they are. */
import { labKernels } from "./kernels.ts";

const kernels = await labKernels((line) => process.stderr.write(`${line}\n`));
process.stdout.write(`${JSON.stringify(kernels, undefined, 2)}\n`);
