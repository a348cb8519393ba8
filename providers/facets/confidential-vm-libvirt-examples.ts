import type { Answer } from "../kit/ask.ts";
import { missing, ok } from "../kit/ask.ts";
import { domainXml } from "../kit/domain-xml.ts";
import type { Example } from "../kit/facet.ts";
import { example, shown, spec, td, up } from "./confidential-vm-example-parts.ts";
import type { ConfidentialVmWant } from "./confidential-vm-want.ts";

const NO_DOMAIN = ok("", 1, "error: failed to get domain 'teeup-vm-cvm0'\n");
const info = (state: string, autostart = "enable") =>
  ok(`Id:             3\nName:           teeup-vm-cvm0\nState:          ${state}\nAutostart:      ${autostart}\n`);
/** As libvirt answers for a domain: with an identity, addresses and controllers of its own. */
const dumped = (wanted: ConfidentialVmWant, edit: (xml: string) => string = (x) => x) =>
  ok(
    edit(
      domainXml(spec(wanted), wanted.gpuMode, "5b7a2c1e-0d4f-4a3b-9c8d-7e6f5a4b3c2d")
        .replace('machine="q35"', 'machine="pc-q35-10.1"')
        .replace(
          "<memballoon",
          '<controller type="usb" index="0" model="qemu-xhci"/><input type="mouse" bus="ps2"/><memballoon',
        )
        .replace(
          "</hostdev>",
          '<alias name="hostdev0"/><address type="pci" domain="0x0000" bus="0x03" slot="0x00" function="0x0"/></hostdev>',
        ),
    ),
  );
const stranger = (xml: string) => xml.replace(/<metadata>[\s\S]*<\/metadata>/, "");
const lv: ConfidentialVmWant = { ...td, launcher: "libvirt" };
const libvirt: Readonly<Record<string, Answer>> = {
  unit: missing,
  state: shown("inactive", ""),
  process: ok("4711 /usr/bin/qemu-system-x86_64 -name guest=teeup-vm-cvm0,debug-threads=on\n"),
  domainFile: dumped(lv),
  domainPid: ok("4711\n"),
  domain: dumped(lv),
  live: dumped(lv),
  info: info("running"),
};

export const libvirtExamples: readonly Example<ConfidentialVmWant>[] = [
  example("a libvirt domain, running as wanted", libvirt, [], [], lv),
  example(
    "no domain yet",
    {
      ...libvirt,
      process: ok("", 1),
      domainFile: missing,
      domainPid: missing,
      domain: NO_DOMAIN,
      live: NO_DOMAIN,
      info: NO_DOMAIN,
    },
    ["confidential-vm.absent"],
    ["confidential-vm.start"],
    lv,
  ),
  example(
    "somebody edited the domain: it is no TD at its next start",
    { ...libvirt, domain: dumped(lv, (xml) => xml.replace(/<launchSecurity[\s\S]*<\/launchSecurity>/, "")) },
    ["confidential-vm.unit"],
    ["confidential-vm.define"],
    lv,
  ),
  example(
    "somebody gave the running domain a folder of the host",
    {
      ...libvirt,
      live: dumped(lv, (xml) =>
        xml.replace(
          "<memballoon",
          '<filesystem type="mount"><source dir="/srv"/><target dir="x"/></filesystem><memballoon',
        ),
      ),
    },
    ["confidential-vm.argv"],
    ["confidential-vm.restart"],
    lv,
  ),
  example(
    "it would not come back after the host's reboot",
    { ...libvirt, info: info("running", "disable") },
    ["confidential-vm.enabled"],
    ["confidential-vm.define"],
    lv,
  ),
  example(
    "the domain was shut off",
    { ...libvirt, process: ok("", 1), domainPid: missing, info: info("shut off") },
    ["confidential-vm.inactive"],
    ["confidential-vm.start"],
    lv,
  ),
  example(
    "from a unit to libvirt",
    { ...up, domain: NO_DOMAIN, live: NO_DOMAIN, info: NO_DOMAIN },
    ["confidential-vm.other-launcher", "confidential-vm.absent"],
    ["confidential-vm.restart"],
    lv,
  ),
  example(
    "from libvirt to a unit",
    libvirt,
    ["confidential-vm.other-launcher", "confidential-vm.absent"],
    ["confidential-vm.restart"],
    td,
  ),
  example(
    "a transient domain of somebody else's has the VM's name",
    {
      ...libvirt,
      domainFile: missing,
      domain: dumped(lv, stranger),
      live: dumped(lv, stranger),
      info: info("running", "disable"),
    },
    ["confidential-vm.stray", "confidential-vm.unit", "confidential-vm.enabled", "confidential-vm.argv"],
    ["confidential-vm.stray"],
    lv,
  ),
  example(
    "TeeUp's own domain, undefined while it ran",
    { ...libvirt, domainFile: missing, info: info("running", "disable") },
    ["confidential-vm.enabled"],
    ["confidential-vm.define"],
    lv,
  ),
  example(
    "a transient domain of the VM's name beside the unit's VM",
    {
      ...up,
      process: ok(
        `${up["process"]?.kind === "ran" ? up["process"].stdout : ""}815 /usr/bin/qemu-system-x86_64 -name guest=teeup-vm-cvm0\n`,
      ),
      domainPid: ok("815\n"),
    },
    ["confidential-vm.stray"],
    [],
  ),
  example(
    "libvirtd does not run",
    { ...libvirt, info: ok("", 1, "error: failed to connect to the hypervisor\n") },
    ["confidential-vm.unknown"],
    [],
    lv,
  ),
];
