import { gpuTools } from "../../providers/facets/gpu-tools.ts";
import { runExamples } from "./run-examples.ts";

runExamples(gpuTools);
