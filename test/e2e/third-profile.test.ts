import { afterEach, expect, test } from "@jest/globals";
import { facetNamed } from "../../providers/facets/index.ts";
import { nodeGoals } from "../../stacks/profiles/goals.ts";
import { profileFor, resolveProfile } from "../../stacks/profiles/resolve.ts";
import { madeUp } from "../profiles/made-up-profile.ts";
import { type Bench, bench, look, NODE, pinsFor, SNP, up } from "./drive.ts";

let b: Bench | undefined;
afterEach(async () => {
  await b?.close();
  b = undefined;
});

test("a recipe of one file, listed nowhere, brings up a node: SEV-SNP started by libvirt, and an edited domain is seen", async () => {
  b = await bench({ os: "ubuntu-26.04" }, SNP);
  const { config, twin } = b;
  const recipe = resolveProfile(profileFor("sev-snp", madeUp), pinsFor(madeUp));
  const node = config.nodes[0];
  if (node === undefined) throw new Error("no node");
  const { gpuMode, vm } = config;
  const goals = Object.values(nodeGoals(recipe, { gpus: "all", gpuMode, vm, guest: node.guest }))
    .flat()
    .map(({ facet, want }) => ({ facet: facetNamed(facet), node: NODE, want: facetNamed(facet).want.parse(want) }));

  expect((await up(b, "reboot", goals)).findings).toEqual([]);
  expect((await look(b, goals)).byFacet).toEqual({});
  expect(twin.node.exec0(["virsh", "--connect", "qemu:///system", "dumpxml", "teeup-vm-cvm0"])).toMatch(
    /<launchSecurity type=.sev-snp./,
  );

  // What an SNP guest's reboot ends no libvirt brings back by itself: it is seen, and the next up starts it.
  const { node: machine } = twin;
  machine.exec(machine.guest?.machine ?? machine.host, ["systemctl", "reboot"]);
  machine.runLater();
  machine.settle();
  expect((await look(b, goals)).byFacet["confidential-vm"]).toEqual({
    findings: ["confidential-vm.inactive"],
    steps: ["confidential-vm.start"],
  });
  expect((await up(b, "reboot", goals)).findings).toEqual([]);

  twin.drift("confidential-vm-domain");
  expect(Object.keys((await look(b, goals)).byFacet)).toEqual(["confidential-vm"]);
  expect((await up(b, "reboot", goals)).findings).toEqual([]);
  expect((await look(b, goals)).byFacet).toEqual({});
  expect(twin.journal.unmodelled).toEqual([]);
});
