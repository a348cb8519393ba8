/**
 * `npm run lab:build`: makes what the lab keeps in its cache, where it is not there yet, so that no test waits for it. Not
 * the image for AMD's IOMMU and not Kubernetes, which are one test's each.
 */
import { ensurePackages, KERNEL_PACKAGES } from "../../tools/debian.ts";
import { labCache } from "./cache.ts";
import { prepare } from "./foreground.ts";
import { labKernels } from "./kernel/kernels.ts";
import { ensureRpmRoot } from "./rpm/root.ts";
import { ensureImage } from "./vm/vm.ts";

prepare();
const fault = ensurePackages(KERNEL_PACKAGES);
if (fault !== undefined) throw new Error(fault);
// The image last: it boots, and beside the tests that could take longer than a boot may.
await labKernels((line) => process.stderr.write(`${line}\n`));
await ensureRpmRoot();
await ensureImage();
process.stdout.write(`The lab's image, RPM system and kernels are in ${labCache()}.\n`);
