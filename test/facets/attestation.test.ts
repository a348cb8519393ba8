import { attestation } from "../../providers/facets/attestation.ts";
import { runExamples } from "./run-examples.ts";

runExamples(attestation);
