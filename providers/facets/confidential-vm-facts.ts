import type { Answer } from "../kit/ask.ts";
import { ran } from "../kit/ask.ts";
import type { Leaves } from "../kit/domain-xml.ts";
import { MADE_FOR, parseDomain, uuidOfDomain } from "../kit/domain-xml.ts";
import type { Fact } from "../kit/facts.ts";
import { absent, flatMapFact, known, unknown } from "../kit/facts.ts";
import { firstUnknown, isTrue } from "../kit/findings.ts";
import { DOMAIN } from "../kit/libvirt.ts";
import type { PciDevice } from "../kit/parse-lspci.ts";
import type { ConfidentialVmWant } from "./confidential-vm-want.ts";

export interface ConfidentialVmFacts {
  /** GPUs and NVSwitches. */
  readonly devices: Fact<readonly PciDevice[]>;
  readonly unit: Fact<string>;
  readonly active: Fact<string>;
  readonly enabled: Fact<boolean>;
  /** systemd has not read the unit file as it is now. */
  readonly stale: Fact<boolean>;
  /** Arguments of the unit's process, joined by blanks; absent when it has none. */
  readonly process: Fact<string>;
  /** The same of root's other QEMUs that carry the VM's name. */
  readonly strays: Fact<readonly string[]>;
  /** What the last restart was for, see {@link restartNote}: the same again would change nothing. */
  readonly tried: Fact<string>;
  /** libvirt keeps a domain of the VM's name: known without asking libvirtd. */
  readonly domainFile: Fact<boolean>;
  /** libvirt runs a domain of the VM's name and keeps none: it is gone when it ends. */
  readonly transient: Fact<boolean>;
  /** The domain as it is defined, and as it runs. */
  readonly domain: Fact<{ readonly leaves: Leaves; readonly uuid: string | undefined }>;
  readonly live: Fact<Leaves>;
  /** `running`, `shut off`, `paused`, `crashed`, … and whether it starts with the host. */
  readonly info: Fact<{ readonly state: string; readonly autostart: boolean }>;
}

/** What cannot be seen, of that which the wanted launcher goes by. */
export const whyUnknown = (want: ConfidentialVmWant, f: ConfidentialVmFacts): string | undefined =>
  firstUnknown(f.devices, f.unit, f.active, f.enabled, f.stale, f.process, f.strays, f.tried, f.domainFile) ??
  (want.launcher === "libvirt" ? firstUnknown(f.domain, f.live, f.info) : undefined);

/** A domain that TeeUp made, and that somebody undefined while it ran. */
export const undefinedOwn = ({ transient, live }: ConfidentialVmFacts): boolean =>
  isTrue(transient) && live.state === "known" && MADE_FOR in live.value;

/** QEMUs that carry the VM's name and are not the VM. An undefined domain of TeeUp's own libvirt keeps again, if it is to. */
export const straysOf = (want: ConfidentialVmWant, facts: ConfidentialVmFacts): string[] => [
  ...(facts.strays.state === "known" ? facts.strays.value : []),
  ...(isTrue(facts.transient) && !(want.launcher === "libvirt" && undefinedOwn(facts))
    ? [`a transient libvirt domain ${DOMAIN}`]
    : []),
];

/** virsh ends with 1 for a domain that is not there and for a libvirtd that is not: only its words tell. */
function said(answer: Answer): Fact<string> {
  return flatMapFact(ran(answer), ({ status, stdout, stderr }) => {
    if (status === 0) return known(stdout);
    return /failed to get domain|Domain not found/i.test(stderr)
      ? absent
      : unknown(`virsh exit ${status}: ${stderr.trim().split("\n").at(-1) ?? ""}`);
  });
}

export function domainsOf(a: {
  readonly domain: Answer;
  readonly live: Answer;
  readonly info: Answer;
}): Pick<ConfidentialVmFacts, "domain" | "live" | "info"> {
  const leaves = (answer: Answer) =>
    flatMapFact(said(answer), (xml): Fact<{ leaves: Leaves; uuid: string | undefined }> => {
      const parsed = parseDomain(xml);
      return parsed === undefined
        ? unknown("could not understand virsh dumpxml")
        : known({ leaves: parsed, uuid: uuidOfDomain(xml) });
    });
  return {
    domain: leaves(a.domain),
    live: flatMapFact(leaves(a.live), (d) => known(d.leaves)),
    info: flatMapFact(said(a.info), (t) => {
      const field = (name: string) => new RegExp(`^${name}:\\s+(\\S.*?)\\s*$`, "m").exec(t)?.[1];
      const [state, autostart] = [field("State"), field("Autostart")];
      if (state === undefined || (autostart !== "enable" && autostart !== "disable"))
        return unknown("could not understand virsh dominfo");
      return known({ state, autostart: autostart === "enable" });
    }),
  };
}
