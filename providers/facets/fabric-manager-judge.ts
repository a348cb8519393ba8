import type { Finding } from "../kit/facet.ts";
import { valueIfKnown } from "../kit/facts.ts";
import { judgeFact } from "../kit/judge.ts";
import type { FabricManagerFacts } from "./fabric-manager.ts";
import type { FabricManagerWant } from "./fabric-manager-plan.ts";
import { FABRIC_MANAGER, fits, unheld, wantsNscq } from "./fabric-manager-plan.ts";

export const SOURCE =
  "seed 002, 8 GPU (fabric manager, driver and NSCQ of one version, started before nvidia-persistenced); seed 003";

export function judgeFabricManager(want: FabricManagerWant, facts: FabricManagerFacts): readonly Finding[] {
  const driver = valueIfKnown(facts.driver);
  const version = `the driver's version, ${driver ?? want.version}`;
  return [
    judgeFact(facts.switches, {
      code: "fabric-manager.switches",
      want: "NVSwitches in the guest",
      hint: "see confidential-vm (gpuMode ppcie) and vfio-binding (switches) on the host",
      source: SOURCE,
      good: (n) => n > 0,
      show: (n) => `${n} NVSwitches`,
    }),
    judgeFact(facts.version, {
      code: "fabric-manager.version",
      want: `fabric manager of ${version}`,
      hint: "pulumi up installs it: another version refuses to serve this driver",
      source: SOURCE,
      good: (v) => fits(want, v, driver),
    }),
    ...(wantsNscq(want)
      ? [
          judgeFact(facts.nscq, {
            code: "fabric-manager.nscq",
            want: `libnvidia-nscq of ${version}`,
            hint: "pulumi up installs it: the NVSwitches are attested through it",
            source: SOURCE,
            good: (v) => fits(want, v, driver),
          }),
        ]
      : []),
    judgeFact(facts.held, {
      code: "fabric-manager.held",
      want: "its packages on hold",
      hint: "pulumi up holds them: an upgrade would leave the driver behind",
      source: SOURCE,
      good: (held) => unheld(want, held).length === 0,
      show: (held) =>
        unheld(want, held)
          .map((p) => `${p} is not held`)
          .join(", ") || "held",
    }),
    judgeFact(facts.enabled, {
      code: "fabric-manager.enabled",
      want: "started at every boot",
      hint: `systemctl enable ${FABRIC_MANAGER}`,
      source: SOURCE,
      good: (enabled) => enabled,
      show: (enabled) => (enabled ? "enabled" : "not enabled"),
    }),
    judgeFact(facts.active, {
      code: "fabric-manager.active",
      want: "active",
      hint: `pulumi up starts it; else journalctl -u ${FABRIC_MANAGER} says what it lacks`,
      source: SOURCE,
      good: (state) => state === "active",
    }),
  ];
}
