import { failed, missing, ok } from "../kit/ask.ts";
import { example } from "../kit/example.ts";
import { QEMU_CONF } from "../kit/libvirt-conf.ts";

const show = (state: string, enabled = "enabled") =>
  ok(`ActiveState=${state}\nUnitFileState=${enabled}\nNeedDaemonReload=no\n`);

const want = {
  packages: ["libvirt-daemon-system", "libvirt-clients"],
  settings: { user: "root", dynamic_ownership: 0, security_driver: "none" },
};
const packages = ok(want.packages.map((name) => `installed\t${name}\t\n`).join(""));
const conf = ok('#user = "libvirt-qemu"\nuser = "root"\ndynamic_ownership = 0\nsecurity_driver = "none"\n');
const LINK = "/run/systemd/units/invocation:libvirtd.service";
const idle = ok("", 1, `find: '${LINK}': No such file or directory\n`);
const good = { packages, conf, unread: idle, daemon: show("inactive"), socket: show("active") };
const bare = { packages: ok(""), conf: missing, unread: idle, daemon: show("inactive"), socket: show("inactive") };
const codes = (...names: string[]) => names.map((name) => `libvirt.${name}`);
export const LIBVIRT_EXAMPLES = [
  example("as the recipe has it, started by its socket", want, good),
  example("not installed", want, bare, codes("packages", "settings", "active"), codes("install", "configure")),
  example(
    "its own settings",
    want,
    { ...good, conf: ok('user = "libvirt-qemu"\n') },
    codes("settings"),
    codes("configure"),
  ),
  example(
    "its settings stand there, and libvirtd was started before: a killed run, or somebody's edit and another back",
    want,
    { ...good, daemon: show("active"), unread: ok(`${QEMU_CONF}\n`) },
    codes("unread"),
    codes("start"),
  ),
  example("libvirtd has read them", want, { ...good, daemon: show("active"), unread: ok("") }),
  example("libvirtd runs, and nothing says since when", want, { ...good, daemon: show("active") }, codes("unread")),
  example("no settings wanted", { packages: want.packages, settings: {} }, { ...good, conf: ok("") }),
  example("stopped", want, { ...good, socket: show("failed") }, codes("active"), codes("start")),
  example(
    "its socket alone starts with the host: no domain does",
    want,
    { ...good, daemon: show("inactive", "disabled") },
    codes("enabled"),
    codes("start"),
  ),
  example("no answer", want, { ...good, conf: failed("connection lost") }, codes("settings")),
];
