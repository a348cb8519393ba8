import { guestEvidence } from "../../providers/facets/guest-evidence.ts";
import { runExamples } from "./run-examples.ts";

runExamples(guestEvidence);
