import { collected, ran, text } from "../kit/ask.ts";
import { facet } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { absent, flatMapFact, known, mapFact, showFact, unknown } from "../kit/facts.ts";
import { parsed } from "../kit/findings.ts";
import { inServiceOf, SERVICE_ASKS } from "../kit/guest.ts";
import { DPKG_PACKAGES, familyOf, OS_RELEASE, ofFamily, VERSION_LOCKS } from "../kit/host.ts";
import { isNvSwitch, LSPCI, parseLspci } from "../kit/parse-lspci.ts";
import { parseDriverVersion } from "../kit/parse-nvidia-smi.ts";
import { parseDpkgHolds, parseVersionLocks } from "../kit/parse-packages.ts";
import { parseSystemctlShow, SHOWN } from "../kit/parse-systemctl.ts";
import { fabricManagerExamples } from "./fabric-manager-examples.ts";
import { judgeFabricManager, SOURCE } from "./fabric-manager-judge.ts";
import { FABRIC_MANAGER, FabricManagerWant, planFabricManager } from "./fabric-manager-plan.ts";

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
    aptHeld: DPKG_PACKAGES,
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
        () => mapFact(text(a.aptHeld), parseDpkgHolds),
        () => mapFact(text(a.locks), parseVersionLocks),
      ),
      inService: inServiceOf(a),
    };
  },
  judge: judgeFabricManager,
  plan: planFabricManager,
  show: ({ version, active, switches }) => ({
    version: showFact(version),
    active: showFact(active),
    switches: showFact(switches),
  }),
  examples: fabricManagerExamples,
  covers: ["002-46", "002-48", "002-51", "002-52", "002-53", "002-70", "003-08", "003-09"],
});
