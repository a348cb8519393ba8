import { z } from "zod";
import type { JobLine } from "../kit/action.ts";
import { Sha256Schema } from "../kit/downloads.ts";
import type { Step } from "../kit/facet.ts";
import { showFact, valueIfKnown } from "../kit/facts.ts";
import { firstUnknown } from "../kit/findings.ts";
import { restartDisruption } from "../kit/guest.ts";
import * as host from "../kit/host.ts";
import type { FabricManagerFacts } from "./fabric-manager.ts";

export const FABRIC_MANAGER = "nvidia-fabricmanager.service";

const Name = z.string().regex(/^[a-z0-9][a-z0-9+.=:~-]*$/);
export const FabricManagerWant = z
  .strictObject({
    version: z
      .string()
      .regex(/^\d[\d.]*$/)
      .describe(
        "The driver's version, or its leading part: the fabric manager's is exactly that of the loaded driver.",
      ),
    packages: z
      .array(Name)
      .default([])
      .describe("Packages of the fabric manager, and of NSCQ where switches are attested; held."),
    files: z
      .array(z.strictObject({ url: z.url({ protocol: /^https?$/ }), sha256: Sha256Schema }))
      .default([])
      .describe("The same as .deb or .rpm files, for recipes that name files."),
  })
  .refine((w) => w.packages.length + w.files.length > 0, { path: ["packages"], error: "name packages or files" });
export type FabricManagerWant = z.output<typeof FabricManagerWant>;

export const bare = (name: string): string => name.replace(/=.*/, "");
/** NSCQ is what tools ask the NVSwitches through; wanted where the recipe brings it. */
export const wantsNscq = (want: FabricManagerWant): boolean =>
  [...want.packages, ...want.files.map((f) => f.url)].some((name) => name.includes("nscq"));
export const unheld = (want: FabricManagerWant, held: readonly string[]): string[] =>
  want.packages.map(bare).filter((p) => !held.includes(p));
/** Both of one driver release: the fabric manager refuses to serve any other. */
export const fits = (want: FabricManagerWant, version: string, driver: string | undefined): boolean =>
  driver === undefined
    ? version === want.version || version.startsWith(want.version.replace(/\.?$/, "."))
    : version === driver;

/** On dnf a lock on another version hides the wanted one from an installation. */
const inTheWay = (want: FabricManagerWant, { family, held }: FabricManagerFacts): string[] =>
  valueIfKnown(family) === "rpm" ? want.packages.map(bare).filter((p) => (valueIfKnown(held) ?? []).includes(p)) : [];

function install(want: FabricManagerWant, facts: FabricManagerFacts, stop: boolean): Step["actions"] {
  const driver = valueIfKnown(facts.driver);
  const apt = (...args: string[]): JobLine => ({ argv: [...host.APT, ...args] });
  // The archive may be ahead of the driver, which is held.
  const names = want.packages.map((p) => (driver === undefined || p.includes("=") ? p : `${p}=${driver}*`));
  // dnf takes `name-version`, and goes back to an older one by itself.
  const rpms = want.packages.map((p) =>
    driver === undefined || p.includes("=") ? p.replace("=", "-") : `${p}-${driver}`,
  );
  const locked = inTheWay(want, facts);
  const files = want.files.map((f) => host.download(f.url, f.sha256));
  const rpm = valueIfKnown(facts.family) === "rpm";
  return [
    ...files.map((f) => f.checks),
    ...host.job(
      "fabric-manager",
      [
        ...files.flatMap((f) => f.lines),
        ...(names.length === 0 || rpm ? [] : [apt("update")]),
        // Stopped first: killed before its start, the old process would run on behind a program that fits.
        ...(stop ? [{ argv: ["systemctl", "stop", FABRIC_MANAGER] } as const] : []),
        ...files.map(
          (f): JobLine => ({
            // rpm refuses a package that it has at this version, unlike dpkg.
            argv: rpm ? ["rpm", "--upgrade", "--oldpackage", "--replacepkgs", f.file] : ["dpkg", "--install", f.file],
          }),
        ),
        ...(names.length === 0
          ? []
          : rpm
            ? [
                ...(locked.length === 0 ? [] : [{ argv: ["dnf", "versionlock", "delete", ...locked] } as const]),
                { argv: ["dnf", "install", "-y", ...rpms] } as const,
              ]
            : [apt("install", "--allow-downgrades", "--allow-change-held-packages", ...names)]),
      ],
      1800,
    ),
  ];
}

export function planFabricManager(want: FabricManagerWant, facts: FabricManagerFacts): readonly Step[] {
  const { version, driver, active, enabled, held, nscq, family } = facts;
  if (firstUnknown(version, driver, active, enabled, held, nscq, family)) return [];
  const steps: Step[] = [];
  const step = (code: string, title: string, why: string, disruption: Step["disruption"], actions: Step["actions"]) =>
    void steps.push({ code: `fabric-manager.${code}`, title, why, disruption, actions });
  const good = version.state === "known" && fits(want, version.value, valueIfKnown(driver));
  const other = wantsNscq(want) && !(nscq.state === "known" && fits(want, nscq.value, valueIfKnown(driver)));
  const runs = valueIfKnown(active) === "active";
  if (!good || other) {
    const to = valueIfKnown(driver) ?? want.version;
    const why =
      "it serves exactly one driver version, and under Protected PCIe no GPU works before it has set up the NVSwitches";
    step(
      "install",
      `fabric manager: ${showFact(version)} → ${to}`,
      why,
      runs ? restartDisruption(facts.inService) : "none",
      install(want, facts, runs && !good),
    );
  }
  const hold = [...unheld(want, valueIfKnown(held) ?? []), ...(!good || other ? inTheWay(want, facts) : [])];
  if (hold.length > 0) {
    const rpm = valueIfKnown(family) === "rpm";
    const actions = [...(rpm ? host.lockPlugin(held) : []), host.holdPackages(rpm ? "rpm" : "debian", hold)];
    step("hold", `hold ${hold.join(", ")}`, "an upgrade would leave the driver behind", "none", actions);
  }
  if (!runs || !good || valueIfKnown(enabled) !== true) {
    const verb = runs && good ? "enable" : runs ? "restart" : "start";
    step(
      "start",
      verb === "enable" ? `enable ${FABRIC_MANAGER}` : `${verb} ${FABRIC_MANAGER}, also at every boot`,
      "the NVSwitches route nothing between the GPUs before",
      // What runs on the GPUs loses their links.
      verb === "restart" ? restartDisruption(facts.inService) : "none",
      [
        { do: "run", argv: ["systemctl", "enable", FABRIC_MANAGER] },
        ...(verb === "enable"
          ? []
          : [
              { do: "run", argv: ["systemctl", "restart", FABRIC_MANAGER], timeoutSeconds: 600 } as const,
              {
                do: "wait",
                argv: ["systemctl", "is-active", "--quiet", FABRIC_MANAGER],
                timeoutSeconds: 600,
                what: `${FABRIC_MANAGER} to be active`,
              } as const,
            ]),
      ],
    );
  }
  return steps;
}
