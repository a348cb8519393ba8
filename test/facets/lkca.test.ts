import { lkca } from "../../providers/facets/lkca.ts";
import { runExamples } from "./run-examples.ts";

runExamples(lkca);
