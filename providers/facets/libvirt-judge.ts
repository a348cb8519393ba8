import { z } from "zod";
import type { Finding } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { judgeFact } from "../kit/judge.ts";
import { LibvirtSettingsSchema, lackingSettings, QEMU_CONF, showSettings } from "../kit/libvirt-conf.ts";

export const SOURCE = "seed 004, Libvirt configuration for using the newly built qemu";
export const LibvirtWant = z.strictObject({
  packages: z
    .array(z.string().regex(/^[a-z0-9][a-z0-9+.-]*$/))
    .min(1)
    .describe("Packages of libvirt's daemon and of virsh."),
  settings: LibvirtSettingsSchema.default({}),
});

export type LibvirtWant = z.output<typeof LibvirtWant>;

export interface LibvirtFacts {
  readonly packages: Fact<readonly string[]>;
  /** Text of qemu.conf. */
  readonly conf: Fact<string>;
  /** libvirtd runs by an older text. */
  readonly unread: Fact<boolean>;
  /** Of the daemon, or of the socket that starts it. */
  readonly active: Fact<boolean>;
  /** The daemon itself starts with the host: its socket alone starts no domain. */
  readonly enabled: Fact<boolean>;
}

/** Packages that are wanted and not there. */
export const lacking = (want: LibvirtWant, have: readonly string[]) => want.packages.filter((n) => !have.includes(n));

export const judgeLibvirt = (want: LibvirtWant, facts: LibvirtFacts): Finding[] => [
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
        judgeFact(facts.unread, {
          code: "libvirt.unread",
          want: `libvirtd runs by ${QEMU_CONF} as it stands`,
          hint: "teeup restarts libvirtd with the next up; running guests stay",
          source: "libvirt, src/qemu/qemu_conf.c: read when the daemon starts",
          good: (unread) => !unread,
          show: (unread) => (unread ? "it was changed after libvirtd was started" : "read"),
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
    show: (enabled) => (enabled ? "enabled" : "not enabled"),
  }),
];
