import { z } from "zod";
import { collected, text } from "../kit/ask.ts";
import type { Step } from "../kit/facet.ts";
import { facet } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { known, mapFact, valueIfKnown } from "../kit/facts.ts";
import * as host from "../kit/host.ts";
import { judgeFact } from "../kit/judge.ts";
import { parseHolds } from "../kit/kernel.ts";
import { parseDpkgNames, parseLines, pipName } from "../kit/parse-packages.ts";
import { PACKAGES_EXAMPLES } from "./packages-examples.ts";

const SOURCE = "seed 001, Preparing the Host";

const Want = z.strictObject({
  names: z
    .array(z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9+.-]*$/))
    .min(1)
    .describe("Packages, as the host's distribution names them."),
  pip: z
    .array(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/))
    .default([])
    .describe("Python packages for the system's interpreter; only old recipes have any."),
});

interface Facts {
  readonly family: Fact<"debian" | "rpm" | "other">;
  readonly installed: Fact<readonly string[]>;
  readonly held: Fact<readonly string[]>;
  readonly pip: Fact<readonly string[]>;
}

const lacking = (want: readonly string[], have: readonly string[]) => want.filter((name) => !have.includes(name));

/** Wanted, missing, and on hold: apt would refuse them. */
const blocked = (want: z.output<typeof Want>, facts: Facts) =>
  lacking(want.names, valueIfKnown(facts.installed) ?? want.names).filter((name) =>
    valueIfKnown(facts.held)?.includes(name),
  );

const pipFinding = (want: readonly string[], pip: Facts["pip"]) =>
  judgeFact(pip, {
    code: "packages.pip-missing",
    want: `Python packages ${want.join(", ")}`,
    hint: "teeup installs them with the next up",
    source: SOURCE,
    good: (have) => lacking(want, have).length === 0,
    show: (have) => lacking(want, have).join(", ") || "all installed",
  });

/** Packages of the host's distribution. */
export const packages = facet({
  name: "packages",
  type: "Packages",
  on: "host",
  persona: "host",
  summary: "Packages that the kernel build, the virtual machine and TeeUp's own commands need.",
  sources: [SOURCE],
  want: Want,
  asks: host.PACKAGE_ASKS,
  parse: (a): Facts => {
    const family = mapFact(text(a.os), (t) => host.packageFamily(t) ?? ("other" as const));
    const rpm = valueIfKnown(family) === "rpm";
    return {
      family,
      installed: rpm ? mapFact(text(a.rpm), parseLines) : mapFact(text(a.dpkg), parseDpkgNames),
      held: parseHolds({ held: a.dpkg, locks: a.locks }, rpm ? known("rpm") : host.familyOf(text(a.os))).held,
      pip: mapFact(collected(a.pip), (stdout) => parseLines(stdout).map(pipName)),
    };
  },
  judge: (want, facts) => [
    judgeFact(facts.family, {
      code: "packages.distribution",
      want: "a Debian or Red Hat family system",
      hint: "install Ubuntu 22.04 or 24.04",
      source: "seed 001, Host OS Administrator",
      good: (family) => family !== "other",
    }),
    judgeFact(facts.installed, {
      code: "packages.missing",
      want: `${want.names.length} packages installed`,
      hint: "teeup installs them with the next up",
      source: SOURCE,
      good: (have) => lacking(want.names, have).length === 0,
      show: (have) => lacking(want.names, have).join(", ") || "all installed",
    }),
    judgeFact(facts.held, {
      code: "packages.held",
      want: "no missing package is on hold",
      hint: `${valueIfKnown(facts.family) === "rpm" ? "dnf versionlock delete" : "apt-mark unhold"} ${blocked(want, facts).join(" ")}`,
      source: SOURCE,
      good: () => blocked(want, facts).length === 0,
      show: () => blocked(want, facts).join(", ") || "none",
    }),
    ...(want.pip.length === 0 ? [] : [pipFinding(want.pip.map(pipName), facts.pip)]),
  ],
  plan: (want, facts): Step[] => {
    const family = valueIfKnown(facts.family);
    const have = valueIfKnown(facts.installed);
    if (family === undefined || family === "other" || have === undefined || facts.held.state === "unknown") return [];
    if (blocked(want, facts).length > 0) return [];
    const step = (code: string, what: string, names: readonly string[], actions: Step["actions"]): Step[] =>
      names.length === 0
        ? []
        : [
            {
              code,
              title: `install ${what} ${names.join(" ")}`,
              why: "later steps use them",
              disruption: "service",
              actions,
            },
          ];
    const names = lacking(want.names, have);
    const pip = facts.pip.state === "unknown" ? [] : lacking(want.pip.map(pipName), valueIfKnown(facts.pip) ?? []);
    return [
      ...step("packages.install", "packages", names, host.installPackages(family, names)),
      ...step("packages.pip", "Python packages", pip, [
        { do: "run", argv: ["python3", "-m", "pip", "install", ...pip], timeoutSeconds: 900 },
      ]),
    ];
  },
  show: (facts) => ({ family: valueIfKnown(facts.family), installed: valueIfKnown(facts.installed)?.length }),
  examples: PACKAGES_EXAMPLES,
  covers: [
    "001-HOST-02",
    "001-HOST-03",
    "001-HOST-04",
    "001-HOST-05",
    "001-HOST-06",
    "001-HOST-07",
    "004-19",
    "004-20",
  ],
});
