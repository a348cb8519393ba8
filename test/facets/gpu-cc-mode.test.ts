import { gpuCcMode } from "../../providers/facets/gpu-cc-mode.ts";
import { runExamples } from "./run-examples.ts";

runExamples(gpuCcMode);
