import { nvidiaDriver } from "../../providers/facets/nvidia-driver.ts";
import { runExamples } from "./run-examples.ts";

runExamples(nvidiaDriver);
