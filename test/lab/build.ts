/**
 * `npm run lab:build`: makes what the lab keeps in its cache, where it is not there yet, so that no test waits for it. Not
 * the image for AMD's IOMMU, which is one test's.
 */
import { ensurePackages, KERNEL_PACKAGES, KUBERNETES_PACKAGES } from "../../tools/debian.ts";
import { labCache } from "./cache.ts";
import { prepare } from "./foreground.ts";
import { labKernels } from "./kernel/kernels.ts";
import { ensureKubernetes } from "./kubernetes/cluster.ts";
import { ensureRpmRoot } from "./rpm/root.ts";
import { ensureImage } from "./vm/vm.ts";

prepare();
const fault = ensurePackages({ ...KERNEL_PACKAGES, ...KUBERNETES_PACKAGES });
if (fault !== undefined) throw new Error(fault);
await ensureImage();
await ensureRpmRoot();
await labKernels((line) => process.stderr.write(`${line}\n`));
await ensureKubernetes();
process.stdout.write(`The lab's image, RPM system and kernels are in ${labCache()}.\n`);
