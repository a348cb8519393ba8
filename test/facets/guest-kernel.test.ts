import { guestKernel } from "../../providers/facets/guest-kernel.ts";
import { runExamples } from "./run-examples.ts";

runExamples(guestKernel);
