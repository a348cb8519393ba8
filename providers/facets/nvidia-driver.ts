import { lastLine, ran, text } from "../kit/ask.ts";
import { facet } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { absent, flatMapFact, known, mapFact, showFact, unknown } from "../kit/facts.ts";
import { parsed } from "../kit/findings.ts";
import { AGENT_ASKS, parseAgents, parseStopped } from "../kit/gpu-agents.ts";
import { inServiceOf, SERVICE_ASKS } from "../kit/guest.ts";
import { DPKG_PACKAGES } from "../kit/host.ts";
import { judgeFact } from "../kit/judge.ts";
import { parseDriverVersion, parseModinfo } from "../kit/parse-nvidia-smi.ts";
import { parseDpkgHolds } from "../kit/parse-packages.ts";
import { nvidiaDriverExamples } from "./nvidia-driver-examples.ts";
import type { Module, NvidiaDriverFacts } from "./nvidia-driver-plan.ts";
import { good, NvidiaDriverWant, planNvidiaDriver, show, unheld } from "./nvidia-driver-plan.ts";

const SOURCE = "seed 001, Installing the NVIDIA Driver and CUDA Toolkit";

/** How modinfo says that the running kernel has no such module. */
const NOT_FOUND = /Module nvidia not found/;

export const nvidiaDriver = facet({
  name: "nvidia-driver",
  type: "NvidiaDriver",
  on: "guest",
  persona: "vm-admin",
  summary: "NVIDIA's driver with open kernel modules, at the recipe's version.",
  sources: [SOURCE, "NVIDIA/nvtrust#151 (a driver without a published RIM cannot be attested)"],
  want: NvidiaDriverWant,
  asks: {
    module: { kind: "argv", argv: ["modinfo", "nvidia"] },
    loaded: { kind: "file", path: "/proc/driver/nvidia/version" },
    held: DPKG_PACKAGES,
    ...SERVICE_ASKS,
    ...AGENT_ASKS,
  },
  parse(a): NvidiaDriverFacts {
    const module = ran(a.module);
    return {
      installed: flatMapFact(module, ({ status, stdout, stderr }): Fact<Module> => {
        const complaint = stderr.trim();
        if (status !== 0) return complaint === "" || NOT_FOUND.test(complaint) ? absent : unknown(lastLine(complaint));
        const read = parseModinfo(stdout);
        return read === undefined ? unknown("could not understand modinfo") : known(read);
      }),
      loaded: parsed(text(a.loaded), parseDriverVersion, "/proc/driver/nvidia/version"),
      held: mapFact(text(a.held), parseDpkgHolds),
      inService: inServiceOf(a),
      agents: parseAgents(a.agents),
      stopped: parseStopped(a.stoppedAgents),
    };
  },
  judge: (want, facts) => [
    judgeFact(facts.installed, {
      code: "nvidia-driver.installed",
      want: `driver ${want.version} with open kernel modules, for the running kernel`,
      hint: "pulumi up installs it; without it for this kernel, look whether DKMS built it (dkms status)",
      source: SOURCE,
      good: good(want),
      show,
    }),
    judgeFact(facts.loaded, {
      code: "nvidia-driver.loaded",
      want: `driver ${want.version} loaded`,
      hint: "modprobe nvidia; when another version is loaded, permit a restart of the guest",
      source: SOURCE,
      good: good(want),
      show,
    }),
    ...(want.kind === "packages"
      ? [
          judgeFact(facts.held, {
            code: "nvidia-driver.held",
            want: "its packages on hold",
            hint: "pulumi up holds them: an upgrade may bring a version without a published RIM",
            source: "NVIDIA/nvtrust#151",
            good: (held) => unheld(want, held).length === 0,
            show: (held) =>
              unheld(want, held)
                .map((p) => `${p} is not held`)
                .join(", ") || "held",
          }),
        ]
      : []),
  ],
  plan: planNvidiaDriver,
  references: ({ version }) => [{ what: "driver", version }],
  show: ({ installed, loaded }) => ({
    installed: showFact(installed, show),
    loaded: showFact(loaded, (m) => m.version),
  }),
  examples: nvidiaDriverExamples,
  covers: ["001-VM-11", "001-VM-12", "001-VM-13", "001-VM-14", "001-VM-15", "001-VM-16"],
});
