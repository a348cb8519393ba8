import type { Fact } from "./facts.ts";
import { mapFact, unknown } from "./facts.ts";

/** Properties to show of a unit; systemd answers for a unit that does not exist too. */
export const SHOWN = ["-p", "ActiveState", "-p", "UnitFileState", "-p", "NeedDaemonReload"] as const;

/** The number of a unit's process in `systemctl show UNIT -p MainPID`; undefined when it has none. */
export const mainPidOf = (text: string): string | undefined => /^MainPID=([1-9]\d*)$/m.exec(text)?.[1];

/** `systemctl show UNIT` with {@link SHOWN}. */
export function parseSystemctlShow(text: Fact<string>): {
  /** `active`, `activating`, `inactive`, `failed`, … */
  readonly active: Fact<string>;
  readonly enabled: Fact<boolean>;
  /** systemd has not read the unit file as it is now. */
  readonly stale: Fact<boolean>;
} {
  const get = (key: string): Fact<string> => {
    const value = mapFact(text, (t) => new RegExp(`^${key}=(.*)$`, "m").exec(t)?.[1]?.trim());
    if (value.state !== "known") return value;
    return value.value === undefined ? unknown(`systemctl shows no ${key}`) : { state: "known", value: value.value };
  };
  return {
    active: get("ActiveState"),
    enabled: mapFact(get("UnitFileState"), (s) => s === "enabled"),
    stale: mapFact(get("NeedDaemonReload"), (s) => s === "yes"),
  };
}
