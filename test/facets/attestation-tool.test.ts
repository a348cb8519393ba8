import { attestationTool } from "../../providers/facets/attestation-tool.ts";
import { runExamples } from "./run-examples.ts";

runExamples(attestationTool);
