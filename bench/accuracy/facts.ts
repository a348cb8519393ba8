import { z } from "zod";
import { FACETS } from "../../providers/facets/index.ts";
import type { FacetName } from "../../providers/kit/names.ts";
import { applyDrift } from "../../sim/drift.ts";
import type { BiosValue } from "../../sim/model/bios.ts";
import type { Machine } from "../../sim/model/machine.ts";
import type { Change, Place } from "./place.ts";

/**
 * Facts that somebody may change on a node behind TeeUp's back, one at a time, each drawn from many. Which facet has to
 * see it is said here by what the recipe and the guides say of the fact, never by what a facet answers.
 */
type Fact = (place: Place) => Change | undefined;

/** One of these lines is taken away, or a word of it becomes another one. */
function alteredLine(place: Place, text: string, lines: readonly string[]): { text: string; what: string } | undefined {
  const line = place.pick(lines);
  if (line === undefined) return undefined;
  const words = line.split(/(?<=[\s=,])/).filter((word) => /\w/.test(word));
  const word = place.pick(words);
  if (word === undefined || place.below(2) === 0)
    return { text: text.replace(`${line}\n`, ""), what: `without ${JSON.stringify(line)}` };
  const other = line.replace(
    word,
    word.replace(/\w/, (c) => (c === "x" ? "y" : "x")),
  );
  return { text: text.replace(line, other), what: `${JSON.stringify(line)} is ${JSON.stringify(other)}` };
}

const linesOf = (text: string): string[] =>
  text.split("\n").filter((line) => line.trim() !== "" && !/^\s*[#;]/.test(line));

/** A line of the file that says something is another one, or not there; or the file is not there. */
function editedFile(place: Place, machine: Machine, path: string, must: FacetName, may: readonly FacetName[] = []) {
  const text = machine.files.readIf(path);
  if (text === undefined) return undefined;
  const undo = place.keep(machine, path);
  const altered = place.below(4) === 0 ? undefined : alteredLine(place, text, linesOf(text));
  if (altered === undefined) machine.files.remove(path);
  else if (altered.text === text) return undefined;
  else machine.files.write(path, altered.text);
  return { what: `${machine.hostname}:${path} ${altered?.what ?? "is gone"}`, must: [must], may, undo };
}

const removedFile = (place: Place, machine: Machine, path: string, must: FacetName): Change | undefined => {
  if (!machine.files.exists(path)) return undefined;
  const undo = place.keep(machine, path);
  machine.files.remove(path);
  return { what: `${machine.hostname}:${path} is gone`, must: [must], undo };
};

function removedPackage(machine: Machine, name: string | undefined, must: FacetName, may: readonly FacetName[] = []) {
  const had = name === undefined ? undefined : machine.packages.installed.get(name);
  if (name === undefined || had === undefined) return undefined;
  machine.packages.installed.delete(name);
  const undo = () => void machine.packages.installed.set(name, had);
  return { what: `package ${name} of ${machine.hostname} is gone`, must: [must], may, undo };
}

function released(machine: Machine, name: string | undefined, must: FacetName): Change | undefined {
  const had = name === undefined ? undefined : machine.packages.installed.get(name);
  if (had?.hold !== true) return undefined;
  had.hold = false;
  return {
    what: `package ${name} of ${machine.hostname} is no longer on hold`,
    must: [must],
    undo: () => {
      had.hold = true;
    },
  };
}

function stopped(machine: Machine, unit: string, must: FacetName): Change | undefined {
  const state = machine.units.states.get(unit);
  if (state?.active !== "active") return undefined;
  const [before, running] = [{ ...state }, machine.now];
  const process = running.processes.get(state.mainPid);
  if (process !== undefined) running.processes.delete(state.mainPid);
  Object.assign(state, { active: "failed", sub: "failed", result: "signal", mainPid: 0 });
  return {
    what: `${unit} of ${machine.hostname} was killed`,
    must: [must],
    undo: () => {
      Object.assign(state, before);
      if (process !== undefined) running.processes.set(before.mainPid, process);
    },
  };
}

const disabled = (place: Place, machine: Machine, unit: string, must: FacetName): Change | undefined => {
  const path = `/etc/systemd/system/multi-user.target.wants/${unit}`;
  const change = removedFile(place, machine, path, must);
  return change === undefined ? undefined : { ...change, what: `${unit} of ${machine.hostname} is disabled` };
};

/** What the guides want of the twin's board (docs/sources.md, BIOS attributes over Redfish; menus of seeds 001 and 004). */
const WANTED_BIOS: readonly string[] = [
  "SMEE#003E",
  "SEVASIDCount#003D",
  "SEV-ESASIDSpaceLimitControl#003F",
  "SEV-ESASIDSpaceLimit#700C",
  "SNPMemory(RMPTable)Coverage#003C",
  "IOMMU#0196",
  "SEV-SNPSupport#01A7",
  "LimitCPUPAto46Bits_F319",
  "MemoryEncryption_TME__3C77",
  "TotalMemoryEncryptionMulti_Tenant_TME_MT__F31B",
  "TrustDomainExtension_TDX__3C79",
  "TDXSecureArbitrationModeLoader_SEAMLoader__3C7A",
  "TME_MT_TDXKeySplit_F31D",
  "SWGuardExtensions_SGX__3C7B",
];
/** What no guide speaks of. */
const OTHER_BIOS: readonly string[] = [
  "SR-IOVSupport#0045",
  "CorrectableErrorThreshold#3C34",
  "SMTControl#0038",
  "Hyper_Threading_ALL__F27F",
];

function setBios(place: Place, names: readonly string[], must: readonly FacetName[]): Change | undefined {
  const { bios } = place.node;
  if (place.node.instance !== undefined) return undefined;
  const name = place.pick(names.filter((each) => each in bios.current));
  const attribute = bios.attributes.find((each) => each.name === name);
  if (name === undefined || attribute === undefined) return undefined;
  const before = bios.current[name] as BiosValue;
  const { lowerBound = 0, upperBound = 1 } = attribute;
  const value: BiosValue | undefined =
    attribute.type === "Integer"
      ? [lowerBound, upperBound].find((bound) => bound !== before)
      : place.pick(attribute.values.map((each) => each.displayName).filter((each) => each !== before));
  if (value === undefined) return undefined;
  bios.force({ [name]: value });
  return {
    what: `BIOS setting ${name} is ${value} and no longer ${before}`,
    must,
    // A setting that has to be brought back needs a restart; without SGX there are no enclaves to sign quotes in.
    may: must.length === 0 ? [] : ["host-boot", ...(/SGX/.test(name) ? (["quote-service"] as const) : [])],
    undo: () => bios.force({ [name]: before }),
  };
}

const GUEST_TROUBLE = [
  "nvidia 0000:01:00.0: swiotlb buffer is full (sz: 4096 bytes), total 524288 (slots), used 524288 (slots)",
  "NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x62:0xffff:2477)",
  "NVRM: libspdm expects LKCA but found stubs!",
  "NVRM: Failed to establish session with the GPU",
] as const;

function logged(machine: Machine, text: string, must: readonly FacetName[]): Change {
  const { logs } = machine;
  const at = logs.lines.length;
  logs.kernel(text);
  return { what: `${machine.hostname} logs ${JSON.stringify(text)}`, must, undo: () => void logs.lines.splice(at, 1) };
}

const guestTrouble: Fact = (place) => {
  const line = place.pick(GUEST_TROUBLE) ?? "";
  if (!place.has("guest-evidence")) return undefined;
  // The driver's word on the kernel's crypto is about both.
  return { ...logged(place.inside, line, ["guest-evidence"]), may: /LKCA/.test(line) ? ["lkca"] : [] };
};

const VM_FOLDER = "/var/lib/teeup/vm/cvm0";

/** Of a machine of one's own: its host. */
const HOST_FACTS: Readonly<Record<string, Fact>> = {
  package: (p) => removedPackage(p.host, p.pick(p.names("packages", "names")), "packages"),
  "kernel package off hold": (p) =>
    released(p.host, p.pick([...p.names("kernel", "packages"), "linux-image-generic", "linux-generic"]), "kernel"),
  "kernel package": (p) => removedPackage(p.host, p.pick(p.names("kernel", "packages")), "kernel"),
  "VM stack off hold": (p) =>
    released(p.host, p.pick([...p.names("vm-stack", "packages"), ...(p.has("snp-ready") ? ["ovmf"] : [])]), "vm-stack"),
  "command line drop-in": (p) =>
    p.has("kernel-cmdline") ? editedFile(p, p.host, "/etc/default/grub.d/50-teeup.cfg", "kernel-cmdline") : undefined,
  "forbidden word": (p) => {
    const word = p.pick(p.names("kernel-cmdline", "forbidden"));
    if (word === undefined) return undefined;
    const path = `/etc/default/grub.d/9${p.below(10)}-local.cfg`;
    const undo = p.keep(p.host, path);
    p.host.files.write(path, `GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX ${word}"\n`);
    return { what: `${path} puts ${word} on the command line`, must: ["kernel-cmdline"], undo };
  },
  "module options": (p) =>
    p.has("module-options")
      ? editedFile(
          p,
          p.host,
          p.pick(["/etc/modprobe.d/teeup.conf", "/etc/modules-load.d/teeup.conf"]) ?? "",
          "module-options",
        )
      : undefined,
  "module option in another file": (p) => {
    const options = z.object({ module: z.string(), option: z.string(), value: z.string() });
    if (!p.has("module-options")) return undefined;
    const { options: wanted } = p.want("module-options", z.looseObject({ options: z.array(options) }));
    const one = p.pick(wanted);
    if (one === undefined) return undefined;
    const path = `/etc/modprobe.d/${p.pick(["aa", "kvm", "zz-local"])}.conf`;
    const undo = p.keep(p.host, path);
    p.host.files.write(path, `options ${one.module} ${one.option}=0\n`);
    return { what: `${path} says ${one.module} ${one.option}=0`, must: ["module-options"], undo };
  },
  "default boot entry": (p) => {
    if (!p.has("host-boot", "kernel")) return undefined;
    const path = "/boot/grub/grubenv";
    const undo = p.keep(p.host, path);
    const entry = p.pick(["0", "1>2", "Advanced options for Ubuntu"]) ?? "0";
    if (p.host.files.readIf(path)?.includes(`saved_entry=${entry}\n`) !== false) return undefined;
    p.node.exec(p.host, ["grub-set-default", entry]);
    return { what: `entry ${entry} boots by default`, must: ["host-boot"], undo };
  },
  bios: (p) => (p.has("bios") ? setBios(p, WANTED_BIOS, ["bios"]) : undefined),
  "gpu-admin-tools": (p) => {
    const files = p.host.files.walk("/opt/teeup/gpu-admin-tools").filter((path) => path.endsWith(".py"));
    return p.has("gpu-tools") ? editedFile(p, p.host, p.pick(files) ?? "", "gpu-tools") : undefined;
  },
  "override of a device": (p) => {
    const paths = p.host.files.listIf("/etc/driverctl.d").map((name) => `/etc/driverctl.d/${name}`);
    const path = p.pick(paths.filter((each) => p.host.files.readIf(each)?.trim() === "vfio-pci"));
    if (path === undefined) return undefined;
    if (p.below(2) === 0) return removedFile(p, p.host, path, "vfio-binding");
    const undo = p.keep(p.host, path);
    const driver = p.pick(["nouveau", "nvidia"]) ?? "";
    p.host.files.write(path, `${driver}\n`);
    return { what: `${path} says ${driver}`, must: ["vfio-binding"], undo };
  },
  "device off the bus": (p) => {
    const gpu = p.pick([...p.node.gpus.values()]);
    if (gpu === undefined || !p.has("gpu-inventory")) return undefined;
    gpu.broken = true;
    const undo = () => {
      gpu.broken = false;
    };
    return { what: `GPU ${gpu.bdf} fell off the bus`, must: ["gpu-inventory"], undo };
  },
  "VM's disk or seed": (p) =>
    p.has("guest-image")
      ? removedFile(
          p,
          p.host,
          `${VM_FOLDER}/${p.pick(["disk.qcow2", "disk.id", "seed.iso", "seed.id"])}`,
          "guest-image",
        )
      : undefined,
  "VM's unit": (p) => editedFile(p, p.host, "/etc/systemd/system/teeup-vm-cvm0.service", "confidential-vm"),
  "VM off at boot": (p) => disabled(p, p.host, "teeup-vm-cvm0.service", "confidential-vm"),
  "QEMU's recipe": (p) => editedFile(p, p.host, "/opt/teeup/qemu/recipe.json", "vm-stack"),
  "quote service's port": (p) => {
    if (!p.has("quote-service")) return undefined;
    const undo = p.keep(p.host, "/etc/qgs.conf");
    const port = 1024 + p.below(60_000);
    p.host.files.write("/etc/qgs.conf", `port = ${port}\n`);
    return { what: `QGS listens on vsock port ${port}`, must: ["quote-service"], undo };
  },
  "quote service's unit": (p) => {
    const unit = `${p.pick(["qgsd", "pccs"])}.service`;
    if (!p.has("quote-service")) return undefined;
    return p.below(2) === 0 ? stopped(p.host, unit, "quote-service") : disabled(p, p.host, unit, "quote-service");
  },
  "quote service's package": (p) =>
    removedPackage(p.host, p.pick(p.names("quote-service", "packages")), "quote-service"),
  "libvirt's package": (p) => removedPackage(p.host, p.pick(p.names("libvirt", "packages")), "libvirt"),
};

/** Of the confidential system: a guest, or an instance of a cloud. */
const INSIDE_FACTS: Readonly<Record<string, Fact>> = {
  "guest's kernel off hold": (p) =>
    released(
      p.inside,
      p.pick([...p.names("guest-kernel", "packages"), ...p.names("guest-kernel", "hold")]),
      "guest-kernel",
    ),
  "guest's kernel package": (p) =>
    removedPackage(p.inside, p.pick(p.names("guest-kernel", "packages")), "guest-kernel"),
  lkca: (p) => (p.has("lkca") ? editedFile(p, p.inside, "/etc/modprobe.d/nvidia-lkca.conf", "lkca") : undefined),
  "driver off hold": (p) => released(p.inside, p.pick(p.names("nvidia-driver", "packages")), "nvidia-driver"),
  "driver's package": (p) => removedPackage(p.inside, p.pick(p.names("nvidia-driver", "packages")), "nvidia-driver"),
  "fabric manager off at boot": (p) =>
    p.has("fabric-manager") ? disabled(p, p.inside, "nvidia-fabricmanager.service", "fabric-manager") : undefined,
  "fabric manager off hold": (p) => released(p.inside, p.pick(p.names("fabric-manager", "packages")), "fabric-manager"),
  "persistenced off at boot": (p) =>
    p.has("nvidia-persistenced")
      ? disabled(p, p.inside, "nvidia-persistenced.service", "nvidia-persistenced")
      : undefined,
  "persistenced's arguments": (p) => {
    const path = "/etc/systemd/system/nvidia-persistenced.service";
    const text = p.inside.files.readIf(path);
    const flag = p.pick(p.has("nvidia-persistenced") ? p.names("nvidia-persistenced", "args") : []);
    if (text === undefined || flag === undefined || !text.includes(` ${flag}`)) return undefined;
    const undo = p.keep(p.inside, path);
    p.inside.files.write(path, text.replace(` ${flag}`, ""));
    return { what: `${path} has no ${flag}`, must: ["nvidia-persistenced"], undo };
  },
  "where certificates of quotes come from": (p) => {
    const path = "/etc/sgx_default_qcnl.conf";
    const text = p.has("tdx-quote") ? p.inside.files.readIf(path) : undefined;
    if (text === undefined) return undefined;
    const undo = p.keep(p.inside, path);
    p.inside.files.write(
      path,
      text.replace(/https:\/\/[^/]+/, `https://${p.pick(WORDS)}.example:${1024 + p.below(60_000)}`),
    );
    return { what: `${path} names another server`, must: ["tdx-quote"], undo };
  },
  "trouble in the kernel's log": guestTrouble,
  "attestation's tool": (p) => {
    const gone = p.has("attestation-tool")
      ? removedFile(p, p.inside, "/usr/bin/nvattest", "attestation-tool")
      : undefined;
    // Without it nothing attests, and nothing may be set ready.
    return gone === undefined ? undefined : { ...gone, may: ["attestation", "gpu-ready-state"] };
  },
  "attestation's policy": (p) => {
    const folder = "/etc/teeup/attestation";
    const path = p.pick(p.inside.files.listIf(folder).map((name) => `${folder}/${name}`));
    // A policy that nothing passes takes the verdict with it, and a GPU that is ready all the same is no good.
    return path === undefined || !p.has("attestation")
      ? undefined
      : editedFile(p, p.inside, path, "attestation", ["gpu-ready-state"]);
  },
  "attestation's verdict": (p) => {
    const fault = p.pick([
      "ocsp",
      "rim-missing",
      "time-out",
      "malformed",
      "truncated",
      "nonce",
      "measurements",
      "policy",
      "empty",
    ] as const);
    if (fault === undefined || !p.has("attestation")) return undefined;
    p.node.faults.attestation = fault;
    const undo = () => void delete p.node.faults.attestation;
    // Nobody sets a GPU ready that was not attested.
    return { what: `attestation: ${fault}`, must: ["attestation"], may: ["gpu-ready-state"], undo };
  },
};

const OF_GUESTS = FACETS.filter((facet) => facet.on === "guest").map((facet) => facet.name as FacetName);

/** What ends the guest: all that is about it may say so too. The twin is made anew. */
const endsGuest =
  (name: string, must: readonly FacetName[]): Fact =>
  (p) => {
    if (p.node.instance !== undefined || !p.has(...must)) return undefined;
    applyDrift(p.node, name);
    return { what: `the drift of that name in sim/drift.ts`, must, may: ["confidential-vm", ...OF_GUESTS] };
  };

const WITH_THE_GUEST: Readonly<Record<string, Fact>> = {
  "confidential-vm": endsGuest("confidential-vm", ["confidential-vm"]),
  "gpu-cc-mode": endsGuest("gpu-cc-mode", ["gpu-cc-mode"]),
  "snp-ready": endsGuest("snp-ready", ["snp-ready"]),
  "tdx-ready": endsGuest("tdx-ready", ["tdx-ready"]),
};

const WORDS = ["backup", "metrics", "notes", "rotate", "inventory", "motd", "audit", "shift"] as const;
const machineOf = (p: Place): Machine => (p.node.instance === undefined && p.below(2) === 0 ? p.host : p.inside);

/** What nobody asked for and no facet may speak of. */
const NO_CONCERN: Readonly<Record<string, Fact>> = {
  "another file": (p) => {
    const machine = machineOf(p);
    const folder = p.pick(["/tmp", "/var/log", "/home/ops", "/srv", "/etc/cron.d", "/etc/sysctl.d", "/opt"]);
    const path = `${folder}/${p.pick(WORDS)}-${p.below(1000)}.conf`;
    const undo = p.keep(machine, path);
    machine.files.write(path, `${p.pick(WORDS)} = ${p.below(1_000_000)}\n`);
    return { what: `${machine.hostname}:${path}`, must: [], undo };
  },
  "another package": (p) => {
    const machine = machineOf(p);
    const name = `${p.pick(WORDS)}-tools`;
    const pkg = { name, version: `${p.below(9)}.${p.below(40)}-1` };
    machine.packages.installed.set(name, { pkg, hold: p.below(2) === 0, manual: true });
    return {
      what: `package ${name} on ${machine.hostname}`,
      must: [],
      undo: () => void machine.packages.installed.delete(name),
    };
  },
  "another line in the kernel's log": (p) => {
    const text = p.pick([
      "EXT4-fs (nvme0n1p2): re-mounted. Opts: (null). Quota mode: none.",
      "mlx5_core 0000:c1:00.0: Port module event: module 0, Cable plugged",
      `perf: interrupt took too long (${2500 + p.below(900)} > 2500), lowering kernel.perf_event_max_sample_rate`,
      "systemd-journald[712]: File /var/log/journal/system.journal corrupted or uncleanly shut down, renaming and replacing.",
      `TCP: request_sock_TCP: Possible SYN flooding on port ${1024 + p.below(60_000)}. Sending cookies.`,
    ]);
    return logged(machineOf(p), text ?? "", []);
  },
  "another BIOS setting": (p) => (p.has("bios") ? setBios(p, OTHER_BIOS, []) : undefined),
  "another module's options": (p) => {
    const machine = machineOf(p);
    const path = `/etc/modprobe.d/${p.pick(WORDS)}.conf`;
    const undo = p.keep(machine, path);
    machine.files.write(path, `options ${p.pick(["snd_hda_intel", "bonding", "loop"])} max_loop=${p.below(64)}\n`);
    return { what: `${machine.hostname}:${path}`, must: [], undo };
  },
  "another setting of GRUB": (p) => {
    if (!p.has("kernel")) return undefined;
    const path = `/etc/default/grub.d/${20 + p.below(20)}-${p.pick(WORDS)}.cfg`;
    const undo = p.keep(p.host, path);
    p.host.files.write(path, `${p.pick(["GRUB_TIMEOUT", "GRUB_RECORDFAIL_TIMEOUT"])}=${p.below(30)}\n`);
    return { what: `${p.host.hostname}:${path}`, must: [], undo };
  },
  "another unit": (p) => {
    const machine = machineOf(p);
    const path = `/etc/systemd/system/${p.pick(WORDS)}.service`;
    const undo = p.keep(machine, path);
    machine.files.write(path, "[Service]\nExecStart=/usr/bin/true\n");
    machine.units.reload();
    return {
      what: `${machine.hostname}:${path}`,
      must: [],
      undo: () => {
        undo();
        machine.units.reload();
      },
    };
  },
  "time that passes": (p) => {
    const hours = 1 + p.below(24 * 60);
    p.node.clock.advance(hours * 3600);
    return { what: `${hours} hours pass`, must: [], undo: () => undefined };
  },
  "a connection that breaks": (p) => {
    p.node.onDown("host");
    return { what: "every connection breaks", must: [], undo: () => undefined };
  },
};

const onHosts = (facts: Readonly<Record<string, Fact>>) =>
  Object.entries(facts).map(([name, fact]): [string, Fact] => [
    name,
    (place) => (place.node.instance === undefined ? fact(place) : undefined),
  ]);

const FACTS: readonly (readonly [string, Fact])[] = [
  ...onHosts(HOST_FACTS),
  ...onHosts(WITH_THE_GUEST),
  ...Object.entries(INSIDE_FACTS),
  ...Object.entries(NO_CONCERN),
];

/** How many kinds of facts there are. */
export const KINDS = FACTS.length;

/** Changes one fact; which one, the place's numbers say. */
export function changeOne(place: Place): Change {
  // What this machine does not have is drawn again.
  for (let tries = 0; tries < 1000; tries++) {
    const [name, fact] = FACTS[place.below(KINDS)] as (typeof FACTS)[number];
    const change = fact(place);
    if (change !== undefined) return { ...change, what: `${name}: ${change.what}` };
    place.skip();
  }
  throw new Error("nothing here can be changed");
}
