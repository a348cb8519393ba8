import { z } from "zod";
import { text } from "../kit/ask.ts";
import { facet, type Step } from "../kit/facet.ts";
import { type Fact, mapFact, valueIfKnown } from "../kit/facts.ts";
import { firstUnknown, isTrue } from "../kit/findings.ts";
import { DPKG_NAMES, installPackages } from "../kit/host.ts";
import { judgeFact } from "../kit/judge.ts";
import {
  LibvirtSettingsSchema,
  lackingSettings,
  putInForce,
  QEMU_CONF,
  showSettings,
  startLibvirtd,
  withoutSettings,
  withSettings,
} from "../kit/libvirt-conf.ts";
import { parseDpkgNames } from "../kit/parse-packages.ts";
import { parseSystemctlShow, SHOWN } from "../kit/parse-systemctl.ts";
import { LIBVIRT_EXAMPLES } from "./libvirt-examples.ts";

const SOURCE = "seed 004, Libvirt configuration for using the newly built qemu";
const Want = z.strictObject({
  packages: z
    .array(z.string().regex(/^[a-z0-9][a-z0-9+.-]*$/))
    .min(1)
    .describe("Packages of libvirt's daemon and of virsh."),
  settings: LibvirtSettingsSchema.default({}),
});

interface Facts {
  readonly packages: Fact<readonly string[]>;
  /** Text of qemu.conf. */
  readonly conf: Fact<string>;
  /** Of the daemon, or of the socket that starts it. */
  readonly active: Fact<boolean>;
  /** The daemon itself starts with the host: its socket alone starts no domain. */
  readonly enabled: Fact<boolean>;
}

const lacking = (want: z.output<typeof Want>, have: readonly string[]) =>
  want.packages.filter((n) => !have.includes(n));

export const libvirt = facet({
  name: "libvirt",
  type: "Libvirt",
  on: "host",
  persona: "host",
  summary: "libvirt: installed, running, and its settings for QEMU as the recipe has them.",
  sources: [SOURCE, "canonical/tdx README, Boot TD with virsh"],
  want: Want,
  asks: {
    packages: DPKG_NAMES,
    conf: { kind: "file", path: QEMU_CONF, maxBytes: 262_144 },
    daemon: { kind: "argv", argv: ["systemctl", "show", "libvirtd.service", ...SHOWN] },
    socket: { kind: "argv", argv: ["systemctl", "show", "libvirtd.socket", ...SHOWN] },
  },
  parse: (a): Facts => {
    const [daemon, socket] = [a.daemon, a.socket].map((answer) => parseSystemctlShow(text(answer)).active);
    const up = (fact: Fact<string> | undefined) => mapFact(fact ?? { state: "absent" }, (s) => s === "active");
    return {
      packages: mapFact(text(a.packages), parseDpkgNames),
      conf: text(a.conf),
      active: valueIfKnown(up(daemon)) === true ? up(daemon) : up(socket),
      enabled: parseSystemctlShow(text(a.daemon)).enabled,
    };
  },
  judge: (want, facts) => [
    judgeFact(facts.packages, {
      code: "libvirt.packages",
      want: want.packages.join(", "),
      hint: "teeup installs them with the next up",
      source: SOURCE,
      good: (have) => lacking(want, have).length === 0,
      show: (have) => (lacking(want, have).length === 0 ? "installed" : `missing: ${lacking(want, have).join(", ")}`),
    }),
    ...(Object.keys(want.settings).length === 0
      ? []
      : [
          judgeFact(facts.conf, {
            code: "libvirt.settings",
            want: `${QEMU_CONF}: ${lackingSettings(want.settings, "").join("; ")}`,
            hint: "teeup writes them with the next up and restarts libvirtd",
            source: SOURCE,
            good: (conf) => lackingSettings(want.settings, conf).length === 0,
            show: (conf) => showSettings(want.settings, conf),
          }),
        ]),
    judgeFact(facts.active, {
      code: "libvirt.active",
      want: "libvirtd answers, or its socket does",
      hint: "journalctl -u libvirtd",
      source: SOURCE,
      good: (active) => active,
      show: (active) => (active ? "active" : "neither is active"),
    }),
    judgeFact(facts.enabled, {
      code: "libvirt.enabled",
      want: "libvirtd starts with the host, and its domains with it",
      hint: "teeup enables it with the next up",
      source: SOURCE,
      good: (enabled) => enabled,
    }),
  ],
  plan: (want, facts): Step[] => {
    const have = valueIfKnown(facts.packages);
    if (have === undefined || facts.conf.state === "unknown" || firstUnknown(facts.active, facts.enabled)) return [];
    const names = lacking(want, have);
    const conf = valueIfKnown(facts.conf) ?? "";
    const settings = lackingSettings(want.settings, conf);
    const step = (code: string, title: string, why: string, actions: Step["actions"]): Step[] => [
      { code: `libvirt.${code}`, title, why, disruption: "service", actions },
    ];
    const configure = putInForce(withSettings(want.settings, conf));
    return [
      ...(names.length === 0
        ? []
        : step("install", `install ${names.join(" ")}`, "missing", installPackages("debian", names))),
      // Where it is about to be installed, its file has but comments: the settings may stand there alone.
      ...(settings.length === 0
        ? []
        : step(
            "configure",
            `${QEMU_CONF}: ${settings.join("; ")}, and restart libvirtd`,
            "not so yet, or not read by libvirtd",
            configure,
          )),
      ...(names.length === 0 &&
      (!isTrue(facts.enabled) || (settings.length === 0 && valueIfKnown(facts.active) !== true))
        ? step("start", "start libvirtd, also at every boot", "not active, or not enabled", startLibvirtd)
        : []),
    ];
  },
  undo: (_want, facts): Step[] => {
    const conf = valueIfKnown(facts.conf);
    if (conf === undefined || withoutSettings(conf) === conf) return [];
    return [
      {
        code: "libvirt.restore",
        title: `restore ${QEMU_CONF} and restart libvirtd`,
        why: "deleted",
        disruption: "service",
        actions: putInForce(withoutSettings(conf)),
      },
    ];
  },
  show: (facts) => ({ active: valueIfKnown(facts.active) ?? facts.active.state }),
  examples: LIBVIRT_EXAMPLES,
  covers: ["004-45", "004-46", "004-47", "004-48"],
});
