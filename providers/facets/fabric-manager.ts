import { collected, ran, text } from "../kit/ask.ts";
import { facet } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { absent, flatMapFact, known, mapFact, showFact, unknown, valueIfKnown } from "../kit/facts.ts";
import { parsed } from "../kit/findings.ts";
import { inServiceOf, SERVICE_ASKS } from "../kit/guest.ts";
import { familyOf, HELD_PACKAGES, OS_RELEASE, ofFamily, VERSION_LOCKS } from "../kit/host.ts";
import { judgeFact } from "../kit/judge.ts";
import { isNvSwitch, LSPCI, parseLspci } from "../kit/parse-lspci.ts";
import { parseDriverVersion } from "../kit/parse-nvidia-smi.ts";
import { parseLines, parseVersionLocks } from "../kit/parse-packages.ts";
import { parseSystemctlShow, SHOWN } from "../kit/parse-systemctl.ts";
import { fabricManagerExamples } from "./fabric-manager-examples.ts";
import {
  FABRIC_MANAGER,
  FabricManagerWant,
  fits,
  planFabricManager,
  unheld,
  wantsNscq,
} from "./fabric-manager-plan.ts";

const SOURCE =
  "seed 002, 8 GPU (fabric manager, driver and NSCQ of one version, started before nvidia-persistenced); seed 003";

export interface FabricManagerFacts {
  /** NVSwitches that the guest sees. */
  readonly switches: Fact<number>;
  readonly version: Fact<string>;
  /** Version of the loaded driver. */
  readonly driver: Fact<string>;
  readonly nscq: Fact<string>;
  readonly active: Fact<string>;
  readonly enabled: Fact<boolean>;
  readonly family: Fact<"debian" | "rpm">;
  readonly held: Fact<readonly string[]>;
  readonly inService: Fact<string>;
}

/** Under Protected PCIe the guest has the NVSwitches, so it is the guest that sets them up. */
export const fabricManager = facet({
  name: "fabric-manager",
  type: "FabricManager",
  on: "guest",
  persona: "vm-admin",
  summary: "NVIDIA's fabric manager, of the driver's very version, sets up the guest's NVSwitches.",
  sources: [SOURCE, "NVIDIA Fabric Manager User Guide, Installation (version must match the driver)"],
  want: FabricManagerWant,
  asks: {
    lspci: LSPCI,
    version: { kind: "argv", argv: ["nv-fabricmanager", "--version"] },
    loaded: { kind: "file", path: "/proc/driver/nvidia/version" },
    nscq: {
      kind: "argv",
      argv: [
        "find",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib64",
        "-maxdepth",
        "1",
        "-name",
        "libnvidia-nscq.so.*",
        "-printf",
        "%f\\n",
      ],
    },
    state: { kind: "argv", argv: ["systemctl", "show", FABRIC_MANAGER, ...SHOWN] },
    os: OS_RELEASE,
    aptHeld: HELD_PACKAGES,
    locks: VERSION_LOCKS,
    ...SERVICE_ASKS,
  },
  parse(a): FabricManagerFacts {
    const family = familyOf(text(a.os));
    const { active, enabled } = parseSystemctlShow(text(a.state));
    return {
      switches: mapFact(parsed(text(a.lspci), parseLspci, "lspci"), (list) => list.filter(isNvSwitch).length),
      version: flatMapFact(ran(a.version), (r) => {
        const version = /\bversion is\s*:?\s*(\d[\d.]*)/i.exec(`${r.stdout}\n${r.stderr}`)?.[1];
        return version === undefined ? unknown(`nv-fabricmanager --version: exit ${r.status}`) : known(version);
      }),
      driver: mapFact(parsed(text(a.loaded), parseDriverVersion, "/proc/driver/nvidia/version"), (d) => d.version),
      nscq: flatMapFact(collected(a.nscq), (t) => {
        const version = /^libnvidia-nscq\.so\.(\d{3}\.\d+[\d.]*)$/m.exec(t)?.[1];
        return version === undefined ? absent : known(version);
      }),
      active,
      enabled,
      family,
      held: ofFamily(
        family,
        () => mapFact(text(a.aptHeld), parseLines),
        () => mapFact(text(a.locks), parseVersionLocks),
      ),
      inService: inServiceOf(a),
    };
  },
  judge(want, facts) {
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
  },
  plan: planFabricManager,
  show: ({ version, active, switches }) => ({
    version: showFact(version),
    active: showFact(active),
    switches: showFact(switches),
  }),
  examples: fabricManagerExamples,
  covers: ["002-46", "002-48", "002-51", "002-52", "002-53", "002-70", "003-08", "003-09"],
});
