import { Cpu, Packages } from "../../../../components/parts.ts";

const node = "gpu-01";
const cpu = new Cpu("cpu", { node, tee: "sev-snp" });
export const packages = new Packages("packages", { node, names: ["git", "jq"] }, { dependsOn: cpu }).urn;
