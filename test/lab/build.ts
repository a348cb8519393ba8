/** `npm run lab:build`: makes what the lab keeps in its cache, where it is not there yet, so that no test waits for it. */
import { ensurePackages, KERNEL_PACKAGES } from "../../tools/debian.ts";
import { labCache } from "./cache.ts";
import { prepare } from "./foreground.ts";
import { labKernels } from "./kernel/kernels.ts";
import { ensureRpmRoot } from "./rpm/root.ts";
import { AMD, ensureImage } from "./vm/vm.ts";

prepare();
const fault = ensurePackages(KERNEL_PACKAGES);
if (fault !== undefined) throw new Error(fault);
await ensureImage();
await ensureImage(AMD.image);
await ensureRpmRoot();
await labKernels((line) => process.stderr.write(`${line}\n`));
process.stdout.write(`All that the lab keeps is in ${labCache()}.\n`);
