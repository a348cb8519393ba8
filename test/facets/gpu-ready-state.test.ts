import { gpuReadyState } from "../../providers/facets/gpu-ready-state.ts";
import { runExamples } from "./run-examples.ts";

runExamples(gpuReadyState);
