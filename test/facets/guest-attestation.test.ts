import { guestAttestation } from "../../providers/facets/guest-attestation.ts";
import { runExamples } from "./run-examples.ts";

runExamples(guestAttestation);
