import { nvidiaPersistenced } from "../../providers/facets/nvidia-persistenced.ts";
import { runExamples } from "./run-examples.ts";

runExamples(nvidiaPersistenced);
