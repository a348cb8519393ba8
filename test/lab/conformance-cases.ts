import { FACETS } from "../../providers/facets/index.ts";
import type { Action } from "../../providers/kit/action.ts";
import type { Ask } from "../../providers/kit/ask.ts";

/** What a case may need to know of the machine it runs on. */
export interface Place {
  readonly name: "twin" | "vm";
  /** PCI address of the device that looks like a GPU. */
  readonly gpu: string;
  readonly release: string;
}

interface Common {
  readonly topic: string;
  readonly name: string;
  /** Brings both machines into the same state, through the same client. */
  readonly before?: (place: Place) => readonly Action[];
  /** Makes texts comparable; {@link WHY} says why each may. */
  readonly same?: (text: string) => string;
  /** `plain`: a login user who does not become root. */
  readonly as?: "plain";
}

/** One question, one action, or the host's lock while another run holds it. */
export type Case = Common &
  (
    | { readonly ask: (place: Place) => Ask; readonly act?: undefined; readonly lock?: undefined }
    | { readonly act: (place: Place) => Action; readonly ask?: undefined; readonly lock?: undefined }
    | { readonly lock: true; readonly ask?: undefined; readonly act?: undefined }
  );

// How texts are made comparable, and why they may differ.

/** Only whether something is said: names of makers and boards, sums of files. */
const something = (text: string) => (text.trim() === "" ? text : "<something>");
/** The kinds of lines, each once: how many kernels, devices or packages there are is the machine's own. */
const kinds =
  (...patterns: readonly (readonly [string, RegExp])[]) =>
  (text: string): string => {
    const lines = text.split("\n").filter((line) => line !== "");
    const kind = (line: string) => patterns.find(([, pattern]) => pattern.test(line))?.[0] ?? line;
    return [...new Set(lines.map(kind))].sort().join("\n");
  };
/** Numbers: sizes, times, versions, process ids. */
const numbers = (text: string) => text.replace(/\d+(?:[.:~+-]\d+)*/g, "N");
/** Fields of lscpu that TeeUp reads; the rest depends on the processor. */
const lscpu = (text: string) => {
  const fields = [...text.matchAll(/"field":\s*"([^"]+):"/g)].map(([, name = ""]) => name);
  return ["Vendor ID", "Model name", "CPU family", "Model", "Flags"].filter((name) => fields.includes(name)).join(", ");
};
/** Blocks of lspci: its keys, and all of the device that looks like a GPU. */
const lspci = (text: string) => {
  const keys = new Set(text.split("\n").flatMap((line) => /^(\w+):\t/.exec(line)?.[1] ?? (line === "" ? [] : [line])));
  return [...keys]
    .filter((key) => !["IOMMUGroup", "NUMANode", "PhySlot", "ProgIf", "Rev", "SVendor", "SDevice"].includes(key))
    .sort()
    .join(" ");
};
/** Structure of grub.cfg: what TeeUp reads of it. Titles, classes and file system ids are the distribution's. */
const grubCfg = (text: string) =>
  kinds(["", /^$/])(
    text
      .split("\n")
      .filter((line) =>
        /^\s*(menuentry|submenu|linux|initrd|set default=|set next_entry=|save_env next_entry)\b/.test(line),
      )
      .map((line) =>
        line
          .replace(/(menuentry|submenu) '[^']*'(?: --\S+(?: \S+)?)*/, "$1 '<title>'")
          .replace(/ --class \S+/g, "")
          .replace(/<uuid>|\/dev\/\w+/g, "<fs>")
          .replace(/root=\S+/, "root=<fs>")
          .replace(/(initrd\s+)\S+/, "$1<initrd>"),
      )
      .join("\n"),
  );

/** Paths in the order of the folder, which is the file system's own. */
const inAnyOrder = (text: string) => text.split("\n").filter(Boolean).sort().join("\n");
/** Of a log the wording of the first line, and of the IOMMU's maker: Intel's there, AMD's here. */
const kernelLog = (text: string) =>
  kinds(["first line", /^Linux version /])(
    text
      .split("\n")
      .filter((line) => !/AMD-Vi/.test(line))
      .join("\n"),
  );

const NORMAL: Readonly<Record<string, (text: string) => string>> = {
  "lscpu -J": lscpu,
  "grep -m1 ^flags /proc/cpuinfo": kinds(["flags", /^flags\t\t:( [a-z0-9_]+)+ ?$/]),
  "grep -m 2 -E ^(cpu family|model)[[:space:]]*: /proc/cpuinfo": numbers,
  "ls /sys/kernel/iommu_groups": kinds(["group", /^\d+$/]),
  "/sys/class/dmi/id/sys_vendor": something,
  "/sys/class/dmi/id/product_name": something,
  "/sys/class/dmi/id/board_vendor": something,
  "/sys/class/dmi/id/board_name": something,
  "/sys/class/dmi/id/bios_version": something,
  "/etc/os-release": kinds(["field", /^[A-Z_]+=("[^"]*"|[a-z0-9.-]+)$/]),
  "/boot/grub/grub.cfg": grubCfg,
  "/proc/cmdline": (t) => t.replace(/^BOOT_IMAGE=\S+ root=\S+ ro/, "BOOT_IMAGE=<image> root=<fs> ro"),
  "lspci -Dvmmkn": lspci,
  "nproc --all": numbers,
};

/** Versions of packages, and what the archive has: by name both machines have the same made-up ones. */
const packageLines = kinds(
  // Those on hold stay as they are.
  ["installed", /^installed\t\S+\t.*\tinstall$/],
  ["removed or only known", /^(config-files|not-installed)\t\S+\t.*\t(unknown|deinstall|purge|install)$/],
  ["installed kernel, QEMU or OVMF", /^installed (linux|qemu|ovmf)\S* \S+$/],
  ["known kernel, QEMU or OVMF", /^not-installed (linux|qemu|ovmf)\S* $/],
);
const kernelConfig = kinds(["option", /^\/boot\/config-\S+:CONFIG_\w+=\S+$/]);
const parameters = kinds(["parameter", /^\/sys\/module\/(kvm_amd|vfio_pci)\/parameters\/\w+:.*$/]);
const qemuVersion = (t: string) => t.replace(/version \d\S+( \(.*\))?/, "version N").replace(/\(c\).*/, "(c)");
const objects = kinds(["object", /^ {2}[\w-]+$/]);

const LOG = "journalctl -k -b -o cat --no-pager";
Object.assign(NORMAL, {
  ...Object.fromEntries(
    questions()
      .filter(({ key }) => key.startsWith(LOG))
      .map(({ key }) => [key, kernelLog]),
  ),
  ...Object.fromEntries(
    questions()
      .filter(({ key }) => key.startsWith("find "))
      .map(({ key }) => [key, inAnyOrder]),
  ),
  ...Object.fromEntries(
    questions()
      .filter(({ key }) => /^grep -rHE \^CONFIG_/.test(key))
      .map(({ key }) => [key, kernelConfig]),
  ),
  ...Object.fromEntries(
    questions()
      .filter(({ key }) => key.startsWith("systemctl show teeup-vm-cvm0.service"))
      .map(({ key }) => [key, (t: string) => t.replace(/MainPID=[1-9]\d*/, "MainPID=<pid>")]),
  ),
  "grep -rH  /sys/module/kvm_amd/parameters /sys/module/kvm_intel/parameters /sys/module/vfio_pci/parameters":
    parameters,
  "dpkg-query --show --showformat=${db:Status-Status}\\t${Package}\\t${Provides}\\t${db:Status-Want}\\n *":
    packageLines,
  "dpkg-query --show --showformat=${db:Status-Status} ${Package} ${Version}\\n linux-* qemu-* ovmf*": packageLines,
  "/usr/bin/qemu-system-x86_64 --version": qemuVersion,
  "/usr/bin/qemu-system-x86_64 -object help": objects,
});

/** Questions of TeeUp that one of the two cannot be asked, each with its reason. */
export const NOT_ASKED: Readonly<Record<string, string>> = {
  bios: "the virtual machine has no BMC",
};

function keyOf(ask: Ask): string {
  return ask.kind === "argv" ? ask.argv.join(" ") : ask.kind === "file" ? ask.path : ask.kind;
}

function questions(): { readonly name: string; readonly key: string; readonly ask: Ask }[] {
  const byKey = new Map<string, { names: string[]; ask: Ask }>();
  for (const facet of FACETS)
    for (const [name, ask] of Object.entries(facet.asks)) {
      const key = JSON.stringify(ask);
      const had = byKey.get(key) ?? { names: [], ask };
      had.names.push(`${facet.name}.${name}`);
      byKey.set(key, had);
    }
  return [...byKey.values()].map(({ names, ask }) => ({ name: names[0] ?? "", key: keyOf(ask), ask }));
}

/** Every question of every facet, in whatever state the machines are. */
const all = (topic: string, before?: () => readonly Action[]): Case[] =>
  questions()
    .filter(({ ask }) => NOT_ASKED[keyOf(ask)] === undefined)
    .map(({ name, key, ask }, n) => ({
      ...{ topic, name, ask: () => ask },
      ...(n === 0 && before !== undefined ? { before } : {}),
      ...(NORMAL[key] === undefined ? {} : { same: NORMAL[key] }),
    }));

/** Under load the lab's machine takes minutes for what takes seconds. */
const run = (...argv: [string, ...string[]]): Action => ({ do: "run", argv, timeoutSeconds: 900 });
const write = (path: string, content: string, mode?: string): Action => ({
  do: "write",
  path,
  content,
  ...(mode === undefined ? {} : { mode }),
});

/** `words` is split at blanks; a question of the lab's own, with its own name. */
const asks = (topic: string, list: readonly (string | readonly [string, Partial<Common>])[]): Case[] =>
  list.map((entry) => {
    const [words, more] = typeof entry === "string" ? [entry, {}] : entry;
    const ask = (place: Place): Ask => ({
      kind: "argv",
      argv: words
        .split(" ")
        .map((word) => word.replaceAll("@gpu", place.gpu).replaceAll("@release", place.release)) as [
        string,
        ...string[],
      ],
      timeoutSeconds: 900,
    });
    return { topic, name: words, ask, ...more };
  });
const acts = (
  topic: string,
  list: readonly (readonly [string, Action | ((place: Place) => Action), Partial<Common>?])[],
): Case[] =>
  list.map(([name, action, more]) => ({
    topic,
    name,
    act: typeof action === "function" ? action : () => action,
    ...more,
  }));

const T = "/var/lib/teeup/conformance";
const PCI = "/sys/bus/pci/devices/@gpu";
const DRIVER = "/sys/bus/pci/drivers/vfio-pci";
/** A value for `cp` to write into a file of sysfs: the client has no shell to redirect with. */
const value = (name: string, text: string) => write(`${T}/${name}`, text);

/** What both machines start with. */
export const GRUB = `GRUB_DEFAULT=0
GRUB_TIMEOUT=0
GRUB_DISTRIBUTOR=Debian
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_CMDLINE_LINUX="console=ttyS0,115200 net.ifnames=0 no_timer_check clearcpuid=rep_good"
GRUB_DISABLE_OS_PROBER=true
GRUB_DISABLE_RECOVERY=true
`;
/** Newer releases of GRUB also name the files that they read. */
const withoutSources = (text: string) => text.replace(/^Sourcing file .*\n/gm, "");
const grubKinds = kinds(
  ["image", /^Found (linux|initrd) image: \/boot\/\S+$/],
  ["generating", /^Generating grub configuration file \.\.\.$/],
  ["done", /^done$/],
);
/** Complaints, and which packages came or went: TeeUp reads nothing else that apt says on its way. */
const grubOutput = (text: string) => grubKinds(withoutSources(text));
const aptOutput = (text: string) =>
  text
    .split("\n")
    .filter((line) => /^(E: |W: |Setting up |Removing |Inst |Remv )/.test(line))
    .map((line) => line.replace(/^(Inst \S+).*/, "$1"))
    .join("\n");
const unit = (exec: string, more = "") =>
  `[Unit]\nDescription=Conformance\n\n[Service]\nType=exec\nExecStart=${exec}\n${more}\n[Install]\nWantedBy=multi-user.target\n`;
const ETC = "/etc/systemd/system/lab-conf.service";
const FAIL = "/etc/systemd/system/lab-fail.service";
/** Process ids, and what the release of systemd writes around a message. */
const journal = (text: string) =>
  text
    .replace(/^.*: Consumed .* CPU time\.\n/gm, "")
    .replace(/\b\d{2,}\b/g, "N")
    .split("\n")
    .sort()
    .join("\n");

const FILES: readonly Case[] = [
  ...(["root", "plain"] as const).flatMap((who): Case[] => {
    const more = who === "plain" ? { as: "plain" as const } : {};
    const file = (name: string, path: string, maxBytes?: number, same?: (t: string) => string): Case => ({
      ...{ topic: "files", name: `${who}: ${name}`, ...more, ...(same === undefined ? {} : { same }) },
      ask: () => ({ kind: "file", path, ...(maxBytes === undefined ? {} : { maxBytes }) }),
    });
    return [
      file("a file", `${T}/plain.txt`),
      file("a file that only root may read", `${T}/secret.txt`),
      file("a file in a folder that only root may enter", `${T}/closed/file`),
      file("a missing file in a folder that only root may enter", `${T}/closed/none`),
      file("a missing file", `${T}/none`),
      file("a missing folder", `${T}/none/none`),
      file("a folder", T),
      file("a file longer than asked for", `${T}/plain.txt`, 4),
      file("a file just as long as asked for", `${T}/plain.txt`, 12),
      file("an empty file", `${T}/empty`),
      file("a link to a file", `${T}/link`),
      file("a link to nothing", `${T}/dangling`),
      file("a file below a file", `${T}/plain.txt/x`),
    ];
  }),
  ...asks("commands", [
    "no-such-program --version",
    "/no/such/program",
    "/etc/passwd",
    `${T}`,
    ["true", { as: "plain" }],
    "false",
    "cat /nope",
    [`cat ${T}/secret.txt`, { as: "plain" }],
    [`ls ${T}/closed`, { as: "plain" }],
    [`touch ${T}/new`, { as: "plain" }],
    [`mkdir ${T}/new`, { as: "plain" }],
    [`rm -f ${T}/plain.txt`, { as: "plain" }],
    ["modprobe vfio-pci", { as: "plain" }],
    ["systemctl daemon-reload", { as: "plain", same: (t) => t.split("\n").slice(0, 1).join("\n") }],
    "ls /nope",
    `ls ${T}`,
    "stat -c %F /nope",
    `stat -c %F ${T}`,
    `stat -c %a\u00a0%U:%G ${T}/secret.txt`,
    "stat -c %F /dev/null",
    "readlink /nope",
    `readlink ${T}/link`,
    `readlink -f ${T}/link`,
    `readlink -e ${T}/dangling`,
    "sha256sum /nope",
    `sha256sum ${T}/plain.txt`,
    `sha256sum ${T}`,
    `sha256sum --check --strict ${T}/sums.good`,
    `sha256sum --check --strict ${T}/sums.bad`,
    `sha256sum --check --strict ${T}/sums.none`,
    `sha256sum --check --strict ${T}/plain.txt`,
    `mkdir ${T}`,
    "mkdir /no/such",
    `mkdir -p ${T}/a/b`,
    `mkdir -p ${T}/plain.txt/x`,
    `rmdir ${T}/a`,
    `rm ${T}/none`,
    `rm ${T}/a`,
    `rm -rf ${T}/a`,
    `cp ${T}/none ${T}/x`,
    `cp ${T} ${T}/x`,
    `cp ${T}/plain.txt ${T}/copy.txt`,
    `mv ${T}/none ${T}/x`,
    `mv -f ${T}/copy.txt ${T}/moved.txt`,
    `touch ${T}/none/x`,
    `chmod 0600 ${T}/none`,
    `chown nobody-here ${T}/plain.txt`,
    `ln -s x ${T}/link`,
    `test -f ${T}/plain.txt`,
    `test -d ${T}/plain.txt`,
    "test -c /dev/null",
    "test -d /sys/module/kvm_nothing",
    `find /nope -name x`,
    [`find ${T} -maxdepth 1 -type f -name *.txt -printf %f\\n`, { same: inAnyOrder }],
    `find ${T} -maxdepth 1 -name *.none -printf %f\\n`,
    `find ${T} -maxdepth 1 -name plain.* -exec sha256sum {} +`,
    `grep -q hello ${T}/plain.txt`,
    `grep -q absent ${T}/plain.txt`,
    `grep -q x /nope`,
    `grep -rH hello ${T}/plain.txt /nope`,
    `grep -rsH . ${T}/empty /nope`,
    `grep -c o ${T}/plain.txt`,
    "grep -E ( /etc/passwd",
    `head -c 5 ${T}/plain.txt`,
    `tail -n 1 ${T}/plain.txt`,
    `wc -c ${T}/plain.txt`,
    `sed -n /hello/p ${T}/plain.txt`,
    "id -u",
    ["id -u", { as: "plain" }],
    "uname -r",
    "uname -m",
    ["df --output=avail -B1 /var", { same: (t) => numbers(t).replace(/ +/g, "") }],
    ["df --output=avail -B1 /nope", {}],
    ["findmnt -n -o FSTYPE /", {}],
    ["pgrep -f no-such-process-at-all", { same: numbers }],
    ["pgrep -f ^no-such-process-at-all", {}],
    "env LAB=1 true",
    "timeout 5 true",
  ]).map((one) => ({ ...one, ...("ask" in one && one.ask !== undefined ? { ask: withBlanks(one.ask) } : {}) }) as Case),
];

/** A no-break space of a name above stands for a blank inside one word. */
function withBlanks(ask: (place: Place) => Ask): (place: Place) => Ask {
  return (place) => {
    const made = ask(place);
    return made.kind === "argv"
      ? { ...made, argv: made.argv.map((w) => w.replaceAll("\u00a0", " ")) as [string, ...string[]] }
      : made;
  };
}

const PROTOCOL: readonly Case[] = [
  {
    ...{ topic: "protocol", name: "a command that takes too long" },
    ask: () => ({ kind: "argv", argv: ["sleep", "30"], timeoutSeconds: 1 }),
  },
  {
    ...{ topic: "protocol", name: "an answer longer than asked for" },
    ask: () => ({ kind: "argv", argv: ["cat", `${T}/plain.txt`], maxBytes: 4 }),
  },
  {
    ...{ topic: "protocol", name: "an open gate" },
    ask: () => ({ kind: "argv", argv: ["uname", "-m"], gates: [{ argv: ["true"], exit: 0, why: "never" }] }),
  },
  {
    ...{ topic: "protocol", name: "a shut gate" },
    ask: () => ({
      kind: "argv",
      argv: ["uname", "-m"],
      gates: [{ argv: ["false"], exit: 0, why: "the gate is shut" }],
    }),
  },
  {
    ...{ topic: "protocol", name: "a gate whose program is missing" },
    ask: () => ({
      kind: "argv",
      argv: ["uname", "-m"],
      gates: [{ argv: ["no-such-program"], exit: 0, why: "no program" }],
    }),
  },
  {
    ...{ topic: "protocol", name: "the second of two gates is shut" },
    ask: () => ({
      ...{ kind: "argv", argv: ["uname", "-m"] },
      gates: [
        { argv: ["true"], exit: 0, why: "first" },
        { argv: ["false"], exit: 0, why: "second" },
      ],
    }),
  },
  { ...{ topic: "protocol", name: "a nonce" }, ask: () => ({ kind: "argv", argv: ["test", "@nonce@", "=", "x"] }) },
  {
    topic: "protocol",
    name: "the host's lock, held by another run",
    lock: true,
    same: (t) => t.replace(/since \S+|\d{4}-\S+|pid \d+|\(\S+@\S+\)/g, "<holder>").replace(/\S+@\S+/g, "<who>"),
  },
];

const ACTIONS: readonly Case[] = acts("actions", [
  ["write a file", write(`${T}/acted.txt`, "one\n")],
  ["write it again", write(`${T}/acted.txt`, "two\n", "0600")],
  ["write into folders that are not there", write(`${T}/deep/er/file`, "x")],
  ["write below a file", write(`${T}/plain.txt/x`, "x")],
  ["write onto a folder", write(T, "x")],
  ["write into /proc", write("/proc/teeup", "x"), { same: (t) => t.replace(/teeup\.\w{6}/, "teeup.<random>") }],
  ["write into /sys", write("/sys/kernel/teeup", "x"), { same: (t) => t.replace(/teeup\.\w{6}/, "teeup.<random>") }],
  ["write for an owner who is not there", { do: "write", path: `${T}/owned`, content: "x", owner: "nobody-here:root" }],
  [
    "write as a plain user",
    write(`${T}/plainly`, "x"),
    { as: "plain", same: (t) => t.replace(/teeup\.\w{6}/, "teeup.<random>") },
  ],
  ["remove a file", { do: "remove", path: `${T}/acted.txt` }],
  ["remove it again", { do: "remove", path: `${T}/acted.txt` }],
  ["remove a folder", { do: "remove", path: `${T}/deep` }],
  ["remove below /sys", { do: "remove", path: "/sys/bus/pci/drivers_probe" }],
  ["remove as a plain user", { do: "remove", path: `${T}/plain.txt` }, { as: "plain" }],
  ["run", run("true")],
  ["run what fails", run("false")],
  ["run what fails and says why", run("cat", "/nope")],
  ["run what may fail", { do: "run", argv: ["false"], okStatus: [0, 1] }],
  ["run what is not there", run("no-such-program")],
  ["run what takes too long", { do: "run", argv: ["sleep", "30"], timeoutSeconds: 1 }],
  ["wait for what is there", { do: "wait", argv: ["true"], timeoutSeconds: 5, what: "truth" }],
  ["wait for what does not come", { do: "wait", argv: ["test", "-e", "/nope"], timeoutSeconds: 1, what: "the file" }],
  [
    "wait with a program that is missing",
    { do: "wait", argv: ["no-such-program"], timeoutSeconds: 1, what: "the program" },
  ],
  [
    "a job",
    {
      do: "job",
      name: "lab",
      lines: [{ argv: ["mkdir", "-p", `${T}/job`] }, { argv: ["touch", `${T}/job/done`], cwd: "/tmp" }],
    },
  ],
  [
    "the same job again",
    {
      do: "job",
      name: "lab",
      lines: [{ argv: ["mkdir", "-p", `${T}/job`] }, { argv: ["touch", `${T}/job/done`], cwd: "/tmp" }],
    },
  ],
  [
    "a job that fails",
    { do: "job", name: "lab-bad", lines: [{ argv: ["echo", "begin"] }, { argv: ["cat", "/nope"] }] },
    { same: journal },
  ],
  [
    "a job in a folder that is not there",
    { do: "job", name: "lab-cwd", lines: [{ argv: ["true"], cwd: "/nope" }] },
    { same: (t) => journal(t).replace(/\/var\/lib\/teeup\/jobs\/\S+\/script/g, "<script>") },
  ],
  [
    "a job whose program is missing",
    { do: "job", name: "lab-none", lines: [{ argv: ["no-such-program"] }] },
    { same: (t) => journal(t).replace(/\/var\/lib\/teeup\/jobs\/\S+\/script/g, "<script>") },
  ],
]);

const PACKAGES: readonly Case[] = asks("packages", [
  ["apt-get -y -o DPkg::Lock::Timeout=300 update", { same: aptOutput }],
  ["apt-get -y -s install lab-tool", { same: aptOutput }],
  ["apt-get -y install no-such-package", { same: aptOutput }],
  ["apt-get -y --no-remove install lab-tool=1.0-1", { same: aptOutput }],
  ["apt-get -y install lab-tool=9", { same: aptOutput }],
  "apt-mark showhold",
  "apt-mark hold lab-tool",
  "apt-mark hold lab-tool",
  "apt-mark showhold",
  "apt-mark hold no-such-package",
  ["apt-get -y install lab-tool=1.1-1", { same: aptOutput }],
  ["apt-get -y remove lab-tool", { same: aptOutput }],
  ["apt-get -y upgrade", { same: aptOutput }],
  "apt-mark unhold lab-tool",
  "apt-mark unhold lab-tool",
  ["apt-get -y install lab-agent", { same: aptOutput }],
  "apt-mark hold lab-kernel-tools",
  "apt-mark showhold",
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own fields
  "dpkg-query --show --showformat=${db:Status-Status}\u00a0${Package}\u00a0${db:Status-Want}\\n lab-*",
  "apt-mark unhold lab-kernel-tools",
  ["apt-cache policy no-such-package", {}],
  "dpkg-query --show no-such-package",
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own fields
  "dpkg-query --show --showformat=${db:Status-Status}\u00a0${Package}\u00a0${Version}\\n lab-tool",
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own fields
  "dpkg-query --show --showformat=${db:Status-Status}\u00a0${Package}\\n lab-* no-such-*",
  "dpkg --install /nope.deb",
  ["dpkg --print-architecture", {}],
  ["apt-get -y remove lab-agent", { same: aptOutput }],
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own fields
  "dpkg-query --show --showformat=${db:Status-Status}\u00a0${Package}\\n lab-agent",
  ["apt-get -y frobnicate", {}],
  "rpm -qa",
  "dnf --version",
  "apt-mark showauto lab-tool",
  "apt-mark showmanual lab-tool",
]).map((one) => (one.ask === undefined ? one : { ...one, ask: withBlanks(one.ask) }));

const SERVICES: readonly Case[] = asks("services and journal", [
  "systemctl show lab-none.service -p ActiveState -p UnitFileState -p NeedDaemonReload -p MainPID",
  "systemctl show lab-none.service -p LoadState",
  "systemctl is-active lab-none.service",
  "systemctl is-active --quiet lab-none.service",
  "systemctl is-failed lab-none.service",
  "systemctl is-enabled lab-none.service",
  "systemctl start lab-none.service",
  "systemctl stop lab-none.service",
  "systemctl restart lab-none.service",
  "systemctl enable lab-none.service",
  "systemctl disable lab-none.service",
  "systemctl reset-failed lab-none.service",
  "systemctl status lab-none.service",
  "systemctl cat lab-none.service",
  [
    "systemctl show lab-conf.service -p ActiveState -p UnitFileState -p NeedDaemonReload",
    { before: () => [write(ETC, unit("/bin/sleep 1000"))] },
  ],
  "systemctl is-enabled lab-conf.service",
  "systemctl daemon-reload",
  "systemctl start lab-conf.service",
  "systemctl is-active lab-conf.service",
  "systemctl enable lab-conf.service",
  "systemctl enable lab-conf.service",
  "systemctl is-enabled lab-conf.service",
  [
    "systemctl show lab-conf.service -p ActiveState -p UnitFileState -p NeedDaemonReload -p MainPID",
    { same: (t) => t.replace(/MainPID=[1-9]\d*/, "MainPID=<pid>") },
  ],
  ["pgrep -u root -a -f ^/bin/sleep\u00a01000", { same: (t) => t.replace(/^\d+/gm, "<pid>") }],
  ["systemctl show lab-conf.service -p NeedDaemonReload", { before: () => [write(ETC, unit("/bin/sleep 1001"))] }],
  ["systemctl restart lab-conf.service", { same: (t) => t.split("\n")[0] ?? "" }],
  "systemctl show lab-conf.service -p NeedDaemonReload",
  "systemctl disable --now lab-conf.service",
  "systemctl is-active lab-conf.service",
  ["systemctl start lab-conf.service", { before: () => [{ do: "remove", path: ETC }] }],
  ["systemctl start lab-conf.service", { before: () => [run("systemctl", "daemon-reload")] }],
  [
    "systemctl start lab-fail.service",
    { before: () => [write(FAIL, unit("/no/such/program")), run("systemctl", "daemon-reload")] },
  ],
  "systemctl is-active lab-fail.service",
  "systemctl is-failed lab-fail.service",
  ["systemctl show lab-fail.service -p ActiveState -p Result", {}],
  "systemctl reset-failed lab-fail.service",
  "systemctl is-active lab-fail.service",
  "systemctl mask lab-fail.service",
  ["systemctl mask lab-masked.service", {}],
  "systemctl start lab-masked.service",
  "systemctl is-enabled lab-masked.service",
  "systemctl unmask lab-masked.service",
  ["systemd-run --unit=lab-run --collect --quiet --property=Type=exec /bin/echo hello", {}],
  [
    "journalctl -u lab-run -n 5 -o cat --no-pager --grep=^hello$",
    {
      before: () => [
        {
          do: "wait",
          argv: ["journalctl", "-u", "lab-run", "-q", "-o", "cat", "--grep=^hello$"],
          timeoutSeconds: 60,
          what: "the greeting",
        },
      ],
    },
  ],
  ["systemctl is-active lab-run.service", {}],
  ["systemd-run --unit=lab-long --collect --quiet --property=Type=exec /bin/sleep 1000", {}],
  [
    "systemd-run --unit=lab-long --collect --quiet --property=Type=exec /bin/sleep 1000",
    { same: (t) => t.replace(/ or has a fragment file\.?/, "") },
  ],
  "systemctl show lab-long.service -p ActiveState",
  "systemctl stop lab-long.service",
  "systemctl show lab-long.service -p ActiveState",
  "systemd-run --unit=lab-miss --collect --quiet --property=Type=exec /no/such/program",
  "journalctl -u lab-none -n 5 -o cat --no-pager",
  "journalctl -k -b -o cat --no-pager --grep=nothing-says-this",
  ["journalctl -k -b -o cat --no-pager --grep=^linux\u00a0version\u00a0", { same: something }],
  ["journalctl -k -b -7 -o cat --no-pager", {}],
  ["systemctl frobnicate", {}],
  ["systemctl is-system-running", { same: (t) => t.replace("degraded", "running") }],
]).map((one) => (one.ask === undefined ? one : { ...one, ask: withBlanks(one.ask) }));

const MODULES: readonly Case[] = asks("modules", [
  "modprobe no-such-module",
  "modprobe -n -q no-such-module",
  "modprobe -r no-such-module",
  "rmmod no-such-module",
  "modinfo no-such-module",
  ["modinfo -F license vfio-pci", { same: something }],
  "test -d /sys/module/vfio_pci",
  "cat /sys/module/vfio_pci/parameters/disable_idle_d3",
  "modprobe vfio-pci",
  "modprobe vfio-pci",
  "test -d /sys/module/vfio_pci",
  "grep -oE ^(vfio_pci|kvm_amd)\u00a0 /proc/modules",
  [
    "grep ^vfio_pci\u00a0 /proc/modules",
    {
      same: (t) =>
        t.replace(/^(vfio_pci) \d+ \d+ \S+ Live 0x[0-9a-f]+( .*)?$/m, "$1 <size> <used> <by> Live <address>"),
    },
  ],
  ["lsmod", { same: kinds(["module", /^\w+ +\d+ +\d+( [\w,]+)?$/]) }],
  "cat /sys/module/vfio_pci/parameters/disable_idle_d3",
  ["grep -rH . /sys/module/vfio_pci/parameters", { same: parameters }],
  "modprobe -r vfio",
  ["rmmod vfio", { same: (t) => t.replace(/ by: .*/, " by: <modules>") }],
  "rmmod vfio-pci",
  "modprobe -r vfio-pci",
  [
    "modprobe vfio-pci",
    { before: () => [write("/etc/modprobe.d/teeup.conf", "options vfio_pci disable_idle_d3=1\n")] },
  ],
  "cat /sys/module/vfio_pci/parameters/disable_idle_d3",
  "rmmod vfio-pci",
  ["modprobe vfio-pci", { before: () => [write("/etc/modprobe.d/teeup.conf", "options vfio_pci no_such_option=1\n")] }],
  ["grep -oE ^vfio_pci\u00a0 /proc/modules", { before: () => [{ do: "remove", path: "/etc/modprobe.d/teeup.conf" }] }],
]).map((one) => (one.ask === undefined ? one : { ...one, ask: withBlanks(one.ask) }));

const sys = (t: string) =>
  t
    .replace(/iommu_groups\/\d+/g, "iommu_groups/<n>")
    .replace(/(?:\.\.\/)+devices\/pci\S+?\/(?=<gpu>)/g, "<up>/devices/pci<bus>/");
const BINDING: readonly Case[] = asks("PCI and VFIO", [
  `cat ${PCI}/vendor`,
  `cat ${PCI}/device`,
  `cat ${PCI}/class`,
  `cat ${PCI}/driver_override`,
  `readlink ${PCI}/driver`,
  [`readlink ${PCI}/iommu_group`, { same: sys }],
  [`readlink ${PCI}`, { same: sys }],
  ["cat /sys/bus/pci/devices/none/vendor", {}],
  ["driverctl list-overrides", {}],
  ["driverctl set-override 0000:ff:1f.7 vfio-pci", {}],
  ["driverctl --nosave set-override @gpu no-such-driver", {}],
  ["driverctl unset-override @gpu", {}],
  ["driverctl set-override @gpu vfio-pci", {}],
  [`readlink ${PCI}/driver`, { same: sys }],
  `cat ${PCI}/driver_override`,
  ["grep -rsH . /etc/driverctl.d", {}],
  ["driverctl list-overrides", {}],
  [`readlink ${DRIVER}/@gpu`, { same: sys }],
  ["driverctl set-override @gpu vfio-pci", {}],
  [
    `cp ${T}/gpu ${DRIVER}/bind`,
    {
      before: ({ gpu }) => [
        value("gpu", `${gpu}\n`),
        value("none", "0000:ff:1f.7\n"),
        value("override", "vfio-pci\n"),
        value("nothing", "\n"),
        value("id", "10de 2331\n"),
      ],
    },
  ],
  `cp ${T}/none ${DRIVER}/bind`,
  `cp ${T}/none ${DRIVER}/unbind`,
  `cp ${T}/none /sys/bus/pci/drivers_probe`,
  `cp ${T}/gpu ${DRIVER}/unbind`,
  `readlink ${PCI}/driver`,
  `cp ${T}/gpu ${DRIVER}/unbind`,
  `cp ${T}/gpu /sys/bus/pci/drivers_probe`,
  [`readlink ${PCI}/driver`, { same: sys }],
  `cp ${T}/gpu /sys/bus/pci/drivers_probe`,
  "rmmod vfio-pci",
  ["driverctl unset-override @gpu", { before: () => [run("modprobe", "vfio-pci")] }],
  `cat ${PCI}/driver_override`,
  `readlink ${PCI}/driver`,
  "grep -rsH . /etc/driverctl.d",
  `cp ${T}/gpu ${DRIVER}/bind`,
  `cp ${T}/override ${PCI}/driver_override`,
  `cat ${PCI}/driver_override`,
  `cp ${T}/gpu ${DRIVER}/bind`,
  `cp ${T}/gpu ${DRIVER}/unbind`,
  `cp ${T}/nothing ${PCI}/driver_override`,
  `cat ${PCI}/driver_override`,
  `cp ${T}/id ${DRIVER}/new_id`,
  [`readlink ${PCI}/driver`, { same: sys }],
  `cp ${T}/id ${DRIVER}/new_id`,
  `cp ${T}/id ${DRIVER}/remove_id`,
  `cp ${T}/id ${DRIVER}/remove_id`,
  `cp ${T}/gpu ${DRIVER}/unbind`,
  "modprobe -r vfio-pci",
  `cp ${T}/gpu /sys/bus/pci/drivers/no-such-driver/bind`,
  ["test -d /sys/kernel/iommu_groups/0", {}],
  ["test -c /dev/vfio/vfio", {}],
  ["lspci -Dvmmkn", { same: lspci }],
  ["lspci -n -d 10de::0302", { same: (t) => t.replace(/^[0-9a-f:.]+ /gm, "<slot> ").replace(/ \(rev \w+\)/, "") }],
  ["lspci -n -d ffff:", {}],
]);

const BOOT: readonly Case[] = asks("GRUB", [
  ["update-grub", { before: () => [write("/etc/default/grub", GRUB)], same: grubOutput }],
  ["cat /boot/grub/grub.cfg", { same: grubCfg }],
  "grub-editenv list",
  "grub-set-default no-such-entry",
  "grub-editenv list",
  "grub-reboot some-entry",
  "grub-editenv list",
  "grub-editenv - unset next_entry",
  "grub-editenv list",
  ["grub-reboot", { same: (t) => t.split("\n")[0] ?? "" }],
  "grub-editenv - unset saved_entry",
  "grub-editenv list",
  [
    "update-grub",
    {
      before: () => [
        write(
          "/etc/default/grub.d/50-teeup.cfg",
          'GRUB_DEFAULT=saved\nGRUB_CMDLINE_LINUX="panic=10 $GRUB_CMDLINE_LINUX a.b=1"\n',
        ),
      ],
      same: grubOutput,
    },
  ],
  ["cat /boot/grub/grub.cfg", { same: grubCfg }],
  "grep -rH . /etc/default/grub.d",
  [
    "update-grub",
    {
      before: () => [write("/etc/default/grub.d/60-bad.cfg", 'GRUB_CMDLINE_LINUX="unclosed\n')],
      same: (t) =>
        kinds(
          ["sourcing", /^Sourcing file /],
          ["complaint", /Unterminated quoted string/],
          ["syntax", /[Ss]yntax error/],
        )(t),
    },
  ],
  ["update-grub", { before: () => [{ do: "remove", path: "/etc/default/grub.d/60-bad.cfg" }], same: grubOutput }],
  "test -x /usr/sbin/update-initramfs",
  [
    "update-initramfs -u -k no-such-kernel",
    {
      same: (t) =>
        kinds(["complaint", /no-such-kernel/])(
          t
            .split("\n")
            .filter((line) => line.includes("no-such"))
            .join("\n"),
        ),
    },
  ],
]).map((one) => (one.ask === undefined ? one : { ...one, ask: withBlanks(one.ask) }));

const SET_UP: readonly Action[] = [
  run("mkdir", "-p", `${T}/closed`),
  write(`${T}/plain.txt`, "hello\nworld\n"),
  write(`${T}/secret.txt`, "secret\n", "0600"),
  write(`${T}/closed/file`, "x\n"),
  run("chmod", "0700", `${T}/closed`),
  write(`${T}/empty`, ""),
  run("ln", "-s", "-f", `${T}/plain.txt`, `${T}/link`),
  run("ln", "-s", "-f", `${T}/gone`, `${T}/dangling`),
  write(`${T}/sums.good`, `4a1e67f2fe1d1cc7b31d0ca2ec441da4778203a036a77da10344c85e24ff0f92  ${T}/plain.txt\n`),
  write(`${T}/sums.bad`, `${"0".repeat(64)}  ${T}/plain.txt\n`),
  write(`${T}/sums.none`, `${"0".repeat(64)}  ${T}/none.txt\n`),
];

/** Every case, in order: later ones stand on what earlier ones left. */
export const CASES: readonly Case[] = [
  ...all("questions, untouched", () => [
    write("/etc/default/grub", GRUB),
    // Debian's, of comments alone.
    { do: "remove", path: "/etc/default/grub.d/init-select.cfg" },
    run("update-grub"),
  ]),
  { topic: "files", name: "set up", before: () => SET_UP, ask: () => ({ kind: "file", path: `${T}/sums.good` }) },
  ...FILES,
  ...PROTOCOL,
  ...ACTIONS,
  ...PACKAGES,
  ...SERVICES,
  ...MODULES,
  ...BINDING,
  ...BOOT,
  ...all("questions, provisioned", () => [
    write("/etc/modprobe.d/teeup.conf", "# Written by TeeUp\noptions vfio_pci disable_idle_d3=1\n"),
    write("/etc/modules-load.d/teeup.conf", "vfio-pci\n"),
    write("/run/teeup/staged/module-options", ""),
    write("/var/lib/teeup/vfio.json", "{}\n"),
    write("/var/lib/teeup/vm/cvm0/disk.id", "x\n"),
    write("/etc/systemd/system/teeup-vm-cvm0.service", unit("/bin/sleep 2000")),
    write("/var/lib/teeup/artifacts/linux-image-6.1.deb", "no package\n"),
    write("/var/lib/teeup/artifacts/linux-image-6.1.recipe.json", "{}\n"),
    write("/opt/teeup/qemu/recipe.json", "{}\n"),
    write("/opt/teeup/gpu-admin-tools/nvidia_gpu_tools.py", "# no tool\n"),
    run("systemctl", "daemon-reload"),
    run("systemctl", "start", "teeup-vm-cvm0.service"),
    run("modprobe", "vfio-pci"),
    run("apt-mark", "hold", "lab-tool"),
    run("grub-reboot", "1"),
  ]),
];
