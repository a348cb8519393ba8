import * as pulumi from "@pulumi/pulumi";
import { Cpu, Packages } from "../../../../components/parts.ts";
import { configuredNodes } from "../../../../providers/kit/config.ts";

for (const node of configuredNodes(pulumi.runtime.getConfig("teeup:nodes"))) {
  const cpu = new Cpu(`${node}-cpu`, { node, tee: "sev-snp" });
  new Packages(`${node}-packages`, { node, names: ["git", "cloud-image-utils"] }, { dependsOn: cpu });
}
