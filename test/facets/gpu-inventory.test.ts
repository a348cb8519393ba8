import { gpuInventory } from "../../providers/facets/gpu-inventory.ts";
import { runExamples } from "./run-examples.ts";

runExamples(gpuInventory);
