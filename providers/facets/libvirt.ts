import { text } from "../kit/ask.ts";
import { facet, type Step } from "../kit/facet.ts";
import { absent, type Fact, mapFact, valueIfKnown } from "../kit/facts.ts";
import { firstUnknown, isTrue } from "../kit/findings.ts";
import { DPKG_PACKAGES, installPackages } from "../kit/host.ts";
import {
  lackingSettings,
  putInForce,
  QEMU_CONF,
  QEMU_CONF_UNREAD,
  startLibvirtd,
  unreadOf,
  withoutSettings,
  withSettings,
} from "../kit/libvirt-conf.ts";
import { parseDpkgNames } from "../kit/parse-packages.ts";
import { parseSystemctlShow, SHOWN } from "../kit/parse-systemctl.ts";
import { LIBVIRT_EXAMPLES } from "./libvirt-examples.ts";
import { judgeLibvirt, type LibvirtFacts, LibvirtWant, lacking, SOURCE } from "./libvirt-judge.ts";

export const libvirt = facet({
  name: "libvirt",
  type: "Libvirt",
  on: "host",
  persona: "host",
  summary: "libvirt: installed, running, and its settings for QEMU as the recipe has them.",
  sources: [SOURCE, "canonical/tdx README, Boot TD with virsh"],
  want: LibvirtWant,
  asks: {
    packages: DPKG_PACKAGES,
    conf: { kind: "file", path: QEMU_CONF, maxBytes: 262_144 },
    unread: QEMU_CONF_UNREAD,
    daemon: { kind: "argv", argv: ["systemctl", "show", "libvirtd.service", ...SHOWN] },
    socket: { kind: "argv", argv: ["systemctl", "show", "libvirtd.socket", ...SHOWN] },
  },
  parse: (a): LibvirtFacts => {
    const [daemon, socket] = [a.daemon, a.socket].map((answer) => parseSystemctlShow(text(answer)).active);
    const up = (fact: Fact<string> | undefined) => mapFact(fact ?? { state: "absent" }, (s) => s === "active");
    return {
      packages: mapFact(text(a.packages), parseDpkgNames),
      conf: text(a.conf),
      unread: unreadOf(a.unread, daemon ?? absent),
      active: valueIfKnown(up(daemon)) === true ? up(daemon) : up(socket),
      enabled: parseSystemctlShow(text(a.daemon)).enabled,
    };
  },
  judge: judgeLibvirt,
  plan: (want, facts): Step[] => {
    const have = valueIfKnown(facts.packages);
    if (have === undefined || facts.conf.state === "unknown" || firstUnknown(facts.unread, facts.active, facts.enabled))
      return [];
    const names = lacking(want, have);
    const conf = valueIfKnown(facts.conf) ?? "";
    const settings = lackingSettings(want.settings, conf);
    const reread = Object.keys(want.settings).length > 0 && isTrue(facts.unread);
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
        : step("configure", `${QEMU_CONF}: ${settings.join("; ")}, and restart libvirtd`, "not so yet", configure)),
      ...(names.length === 0 &&
      (!isTrue(facts.enabled) || (settings.length === 0 && (reread || valueIfKnown(facts.active) !== true)))
        ? step(
            "start",
            "start libvirtd, also at every boot",
            reread ? `it has not read ${QEMU_CONF} as it stands` : "not active, or not enabled",
            startLibvirtd,
          )
        : []),
    ];
  },
  undo: (want, facts): Step[] => {
    const conf = valueIfKnown(facts.conf);
    const reread = Object.keys(want.settings).length > 0 && isTrue(facts.unread);
    if (conf === undefined || (withoutSettings(conf) === conf && !reread)) return [];
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
