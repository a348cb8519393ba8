import * as shlex from "shlex";
import { parseJobScript } from "../../providers/kit/job.ts";
import { agentsLook, isAgent } from "./agents.ts";
import type { Work } from "./clock.ts";
import { systemdTime } from "./clock.ts";
import { configureFabric, FABRIC_MANAGER } from "./fabric.ts";
import { qemuProgram, startGuest } from "./guest.ts";
import { LIBVIRTD } from "./libvirt.ts";
import type { Machine } from "./machine.ts";
import { closeGpus, openGpu } from "./nvidia.ts";
import { QGS, QGS_SOCKET } from "./sgx.ts";

export interface UnitFile {
  readonly path: string;
  readonly text: string;
  readonly values: ReadonlyMap<string, readonly string[]>;
  readonly masked: boolean;
}

export interface UnitState {
  readonly name: string;
  active: "inactive" | "activating" | "active" | "deactivating" | "failed";
  sub: string;
  result: string;
  mainPid: number;
  execMainStatus: number;
  execMainPid: number;
  restarts: number;
  since: number;
  invocation: string;
  transient?: {
    readonly argv: readonly string[];
    readonly collect: boolean;
    readonly type: string;
    readonly description: string;
  };
  work?: Work;
}

export interface UnitResult {
  readonly status: number;
  readonly stderr: string;
}

const FOLDERS = ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
const OK: UnitResult = { status: 0, stderr: "" };

export const unitName = (name: string): string =>
  /\.(service|timer|socket|target|mount|path)$/.test(name) ? name : `${name}.service`;

/** systemd of one machine: unit files as loaded, what runs, and why something does not. */
export class Units {
  readonly #machine: Machine;
  #loaded = new Map<string, UnitFile>();
  readonly states = new Map<string, UnitState>();

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** The unit file on disk now. */
  onDisk(name: string): UnitFile | undefined {
    const { files } = this.#machine;
    for (const folder of FOLDERS) {
      const path = `${folder}/${name}`;
      const node = files.lstat(path);
      if (node === undefined) continue;
      if (node.kind === "link" && node.target === "/dev/null")
        return { path, text: "", values: new Map(), masked: true };
      const texts = [files.readIf(path) ?? ""];
      for (const base of FOLDERS)
        for (const dropIn of files.listIf(`${base}/${name}.d`))
          if (dropIn.endsWith(".conf")) texts.push(files.readIf(`${base}/${name}.d/${dropIn}`) ?? "");
      return { path, text: texts.join("\n"), values: parseUnit(texts), masked: false };
    }
    return undefined;
  }

  /** The unit as systemd knows it: files new to it are read, changed ones only after daemon-reload. */
  loaded(name: string): UnitFile | undefined {
    const had = this.#loaded.get(name);
    if (had !== undefined) return had;
    const disk = this.onDisk(name);
    if (disk !== undefined) this.#loaded.set(name, disk);
    return disk;
  }

  needsReload(name: string): boolean {
    const had = this.#loaded.get(name);
    return had !== undefined && had.text !== this.onDisk(name)?.text;
  }

  reload(): void {
    this.#loaded = new Map();
  }

  state(name: string): UnitState {
    const had = this.states.get(name);
    if (had !== undefined) return had;
    return {
      name,
      active: "inactive",
      sub: "dead",
      result: "success",
      mainPid: 0,
      execMainStatus: 0,
      execMainPid: 0,
      restarts: 0,
      since: 0,
      invocation: "",
    };
  }

  #keep(state: UnitState): UnitState {
    this.states.set(state.name, state);
    return state;
  }

  enabledState(name: string): "enabled" | "disabled" | "static" | "masked" | "transient" | "" {
    if (this.states.get(name)?.transient !== undefined) return "transient";
    const disk = this.onDisk(name);
    if (disk === undefined) return "";
    if (disk.masked) return "masked";
    if (this.#wantedBy(name).length > 0) return "enabled";
    return disk.values.has("Install.WantedBy") || disk.values.has("Install.RequiredBy") ? "disabled" : "static";
  }

  #wantedBy(name: string): string[] {
    const { files } = this.#machine;
    return files
      .listIf("/etc/systemd/system")
      .filter((folder) => /\.(wants|requires)$/.test(folder))
      .map((folder) => `/etc/systemd/system/${folder}/${name}`)
      .filter((path) => files.lstat(path) !== undefined);
  }

  enable(name: string): UnitResult & { readonly stdout: string } {
    const disk = this.onDisk(name);
    if (disk === undefined)
      return { status: 1, stdout: "", stderr: `Failed to enable unit: Unit file ${name} does not exist.\n` };
    if (disk.masked)
      return { status: 1, stdout: "", stderr: `Failed to enable unit: Unit file ${disk.path} is masked.\n` };
    const targets = [
      ...(disk.values.get("Install.WantedBy") ?? []).flatMap((v) => v.split(/\s+/)).map((t) => `${t}.wants`),
      ...(disk.values.get("Install.RequiredBy") ?? []).flatMap((v) => v.split(/\s+/)).map((t) => `${t}.requires`),
    ];
    const made = targets
      .map((target) => `/etc/systemd/system/${target}/${name}`)
      .filter((path) => this.#machine.files.lstat(path) === undefined);
    for (const path of made) this.#machine.files.link(disk.path, path);
    return { status: 0, stdout: "", stderr: made.map((path) => `Created symlink ${path} -> ${disk.path}.\n`).join("") };
  }

  disable(name: string): UnitResult {
    const links = this.#wantedBy(name);
    for (const path of links) this.#machine.files.remove(path);
    return { status: 0, stderr: links.map((path) => `Removed "${path}".\n`).join("") };
  }

  /** False when a file of its own stands where the link would. */
  mask(name: string): boolean {
    const node = this.#machine.files.lstat(`/etc/systemd/system/${name}`);
    if (node !== undefined && node.kind !== "link") return false;
    this.#machine.files.link("/dev/null", `/etc/systemd/system/${name}`);
    return true;
  }

  /** True when it was masked. */
  unmask(name: string): boolean {
    const path = `/etc/systemd/system/${name}`;
    const node = this.#machine.files.lstat(path);
    if (node?.kind !== "link" || node.target !== "/dev/null") return false;
    this.#machine.files.remove(path);
    return true;
  }

  start(name: string): UnitResult {
    const unit = this.loaded(name);
    if (unit === undefined) return { status: 5, stderr: `Failed to start ${name}: Unit ${name} not found.\n` };
    if (unit.masked) return { status: 1, stderr: `Failed to start ${name}: Unit ${name} is masked.\n` };
    const now = this.state(name);
    // A unit that does not run is not kept in memory: its file is looked for again.
    if (now.active === "inactive" && this.onDisk(name) === undefined) {
      this.#loaded.delete(name);
      return { status: 5, stderr: `Failed to start ${name}: Unit ${name} not found.\n` };
    }
    if (now.active === "active" || (now.active === "activating" && now.work !== undefined)) return OK;
    if (/\.(target|timer|socket|path|mount)$/.test(name)) {
      this.#keep({
        ...now,
        active: "active",
        sub: name.endsWith(".timer") ? "waiting" : "active",
        since: this.#machine.clock.now,
      });
      return OK;
    }
    for (const other of [
      ...(unit.values.get("Unit.Requires") ?? []),
      ...(unit.values.get("Unit.BindsTo") ?? []),
    ].flatMap((v) => v.split(/\s+/))) {
      if (/\.service$/.test(other) && this.start(other).status !== 0) {
        return { status: 1, stderr: `A dependency job for ${name} failed. See 'journalctl -xe' for details.\n` };
      }
    }
    for (const condition of unit.values.get("Unit.ConditionPathExists") ?? []) {
      const negated = condition.startsWith("!");
      if (this.#machine.files.exists(condition.replace(/^!/, "")) === negated) return OK;
    }
    return this.#launch(name, unit);
  }

  #launch(name: string, unit: UnitFile): UnitResult {
    const machine = this.#machine;
    const before = this.state(name);
    const state = this.#keep({
      name,
      active: "activating",
      sub: "start",
      result: "success",
      mainPid: 0,
      execMainStatus: 0,
      execMainPid: 0,
      restarts: before.active === "inactive" || before.active === "failed" ? 0 : before.restarts,
      since: machine.clock.now,
      invocation: machine.node.uuid().replaceAll("-", ""),
    });
    const type = unit.values.get("Service.Type")?.at(-1) ?? "simple";
    machine.logs.unit(name, "systemd", `Starting ${describe(unit, name)}...`);
    for (const line of unit.values.get("Service.ExecStartPre") ?? []) {
      const argv = parseExecLine(line);
      const result = machine.node.exec(machine, argv.argv);
      if (result.stderr !== "") machine.logs.unit(name, argv.argv[0] ?? "", result.stderr);
      if (result.status !== 0 && !argv.ignoreFailure) return this.#exited(state, unit, result.status, true);
    }
    const starts = unit.values.get("Service.ExecStart") ?? [];
    if (type === "oneshot") {
      for (const line of starts) {
        const argv = parseExecLine(line);
        const result = machine.node.exec(machine, argv.argv);
        if (result.stdout + result.stderr !== "")
          machine.logs.unit(name, argv.argv[0] ?? "", result.stdout + result.stderr);
        if (result.status !== 0 && !argv.ignoreFailure) return this.#exited(state, unit, result.status, true);
      }
      const stays = /^(yes|true|1)$/.test(unit.values.get("Service.RemainAfterExit")?.at(-1) ?? "");
      Object.assign(state, { active: stays ? "active" : "inactive", sub: stays ? "exited" : "dead" });
      machine.logs.unit(name, "systemd", `Finished ${describe(unit, name)}.`);
      return OK;
    }
    const argv = parseExecLine(starts[0] ?? "").argv;
    return this.#service(state, unit, argv, type);
  }

  /** Starts the main process of a service. */
  #service(state: UnitState, unit: UnitFile, argv: readonly string[], type: string): UnitResult {
    const machine = this.#machine;
    const { name } = state;
    const program = argv[0] ?? "";
    const waits = type === "exec" || type === "forking" || type === "notify";
    const running = (sub = "running") => {
      const pid = machine.spawn(argv, name);
      Object.assign(state, { active: "active", sub, mainPid: pid, execMainPid: pid, since: machine.clock.now });
      machine.logs.unit(name, "systemd", `Started ${describe(unit, name)}.`);
    };
    if (!machine.files.exists(program)) {
      machine.logs.unit(name, "systemd", `${name}: Failed to locate executable ${program}: No such file or directory`);
      machine.logs.unit(name, "systemd", `${name}: Failed at step EXEC spawning ${program}: No such file or directory`);
      return this.#exited(state, unit, 203, waits);
    }
    if (qemuProgram(machine, program) !== undefined) {
      running();
      const failure = startGuest(machine.node, name, argv);
      if (failure === undefined) return OK;
      machine.logs.unit(name, "qemu-system-x86_64", failure);
      return this.#exited(state, unit, 1, false);
    }
    if (program === QGS) {
      running();
      const listens = !/^\s*port\s*=/m.test(machine.files.readIf("/etc/qgs.conf") ?? "");
      if (listens) machine.files.write(QGS_SOCKET, "");
      else machine.files.remove(QGS_SOCKET);
      return OK;
    }
    if (program === LIBVIRTD) {
      const complaint = machine.libvirt.daemonStarts();
      if (complaint === undefined) {
        running();
        return OK;
      }
      machine.logs.unit(name, "libvirtd", complaint);
      return this.#exited(state, unit, 1, true);
    }
    if (program === FABRIC_MANAGER) {
      const complaint = configureFabric(machine);
      if (complaint === undefined) running();
      machine.logs.unit(
        name,
        "nv-fabricmanager",
        complaint ?? "Successfully configured all the available GPUs and NVSwitches to route NVLink traffic.",
      );
      return complaint === undefined ? OK : this.#exited(state, unit, 1, true);
    }
    if (program.endsWith("/nvidia-persistenced")) return this.#persistenced(state, unit, argv, running);
    if (isAgent(program)) {
      running();
      agentsLook(machine);
      return OK;
    }
    if (DAEMONS.some((daemon) => program.endsWith(daemon))) {
      running();
      return OK;
    }
    running();
    const result = machine.node.exec(machine, argv);
    if (result.stdout + result.stderr !== "")
      machine.logs.unit(name, program.split("/").at(-1) ?? "", result.stdout + result.stderr);
    return this.#exited(state, unit, result.status, false);
  }

  #persistenced(state: UnitState, unit: UnitFile, argv: readonly string[], running: () => void): UnitResult {
    const machine = this.#machine;
    const failed = (text: string): UnitResult => {
      machine.logs.unit(state.name, "nvidia-persistenced", text);
      return this.#exited(state, unit, 1, true);
    };
    if (!machine.now.modules.has("nvidia")) {
      // The daemon's own nvidia-modprobe loads the module.
      machine.node.exec(machine, ["modprobe", "nvidia"]);
      if (!machine.now.modules.has("nvidia"))
        return failed(
          "Failed to query NVIDIA devices. Please ensure that the NVIDIA device files (/dev/nvidia*) exist, and that user 0 has read and write permissions for those files.",
        );
    }
    const persistence = !argv.includes("--no-persistence-mode");
    const finish = (): UnitResult => {
      running();
      machine.logs.unit(state.name, "nvidia-persistenced", `Started (${state.mainPid})`);
      if (!persistence) return OK;
      for (const bdf of machine.now.gpus.keys()) {
        const complaint = openGpu(machine, bdf);
        machine.logs.unit(
          state.name,
          "nvidia-persistenced",
          complaint === undefined ? `device ${bdf} - persistence mode enabled.` : `device ${bdf} - failed to open.`,
        );
        machine.logs.unit(state.name, "nvidia-persistenced", `device ${bdf} - NUMA memory onlined.`);
      }
      if (machine.node.guest?.machine === machine) machine.node.guest.gpuUsed = true;
      return OK;
    };
    const slow = machine.node.faults.persistencedPolls ?? 0;
    if (slow <= 0) return finish();
    let left = slow;
    const work: Work = {
      name: state.name,
      step: () => {
        machine.clock.advance(60);
        if (--left > 0) return false;
        delete state.work;
        if (state.active === "activating") finish();
        return true;
      },
    };
    state.work = work;
    machine.clock.start(work);
    return OK;
  }

  /** The main process is gone. */
  #exited(state: UnitState, unit: UnitFile, status: number, waited: boolean): UnitResult {
    const machine = this.#machine;
    const { name } = state;
    if (state.mainPid !== 0) machine.running?.processes.delete(state.mainPid);
    Object.assign(state, { mainPid: 0, execMainStatus: status });
    const clean = status === 0;
    if (!clean) {
      machine.logs.unit(
        name,
        "systemd",
        `${name}: Main process exited, code=exited, status=${status}/${status === 203 ? "EXEC" : "FAILURE"}`,
      );
      machine.logs.unit(name, "systemd", `${name}: Failed with result 'exit-code'.`);
    } else machine.logs.unit(name, "systemd", `${name}: Deactivated successfully.`);
    Object.assign(state, {
      active: clean ? "inactive" : "failed",
      sub: clean ? "dead" : "failed",
      result: clean ? "success" : "exit-code",
    });
    const restart = unit.values.get("Service.Restart")?.at(-1) ?? "no";
    if (restart === "always" || (restart === "on-failure" && !clean) || (restart === "on-success" && clean))
      this.#autoRestart(state, unit);
    const job = `Job for ${name} failed because the control process exited with error code.\nSee "systemctl status ${name}" and "journalctl -xeu ${name}" for details.\n`;
    return waited && !clean ? { status: 1, stderr: job } : OK;
  }

  #autoRestart(state: UnitState, unit: UnitFile): void {
    const machine = this.#machine;
    const limited = unit.values.get("Unit.StartLimitIntervalSec")?.at(-1) !== "0" && state.restarts >= 5;
    if (limited) {
      machine.logs.unit(state.name, "systemd", `${state.name}: Start request repeated too quickly.`);
      Object.assign(state, { active: "failed", sub: "failed" });
      return;
    }
    Object.assign(state, { active: "activating", sub: "auto-restart" });
    const work: Work = {
      name: `restart of ${state.name}`,
      endless: true,
      step: () => {
        if (this.states.get(state.name) !== state || state.sub !== "auto-restart") return true;
        machine.clock.advance(5);
        state.restarts++;
        const { restarts } = state;
        machine.logs.unit(
          state.name,
          "systemd",
          `${state.name}: Scheduled restart job, restart counter is at ${restarts}.`,
        );
        this.#launch(state.name, this.loaded(state.name) ?? unit);
        const next = this.states.get(state.name);
        if (next !== undefined) next.restarts = restarts;
        return true;
      },
    };
    state.work = work;
    machine.clock.start(work);
  }

  /** The main process of a running service ended by itself, e.g. QEMU because its guest went down. */
  processEnded(name: string, status: number): void {
    const state = this.states.get(name);
    const unit = this.loaded(name);
    if (state === undefined || state.active !== "active" || unit === undefined || this.stopping === name) return;
    this.#exited(state, unit, status, false);
  }

  stop(name: string): UnitResult {
    const machine = this.#machine;
    const state = this.states.get(name);
    if (state === undefined || state.active === "inactive") {
      return this.loaded(name) === undefined && state === undefined
        ? { status: 5, stderr: `Failed to stop ${name}: Unit ${name} not loaded.\n` }
        : OK;
    }
    if (state.work !== undefined) {
      machine.clock.cancel(state.work);
      delete state.work;
    }
    if (state.mainPid !== 0) machine.running?.processes.delete(state.mainPid);
    Object.assign(state, { active: "inactive", sub: "dead", result: "success", mainPid: 0 });
    if (machine.node.guest?.unit === name) machine.node.endGuest("stopped");
    if (/nvidia-persistenced/.test(name)) closeGpus(machine);
    machine.logs.unit(name, "systemd", `Stopped ${describe(this.loaded(name), name)}.`);
    if (state.transient !== undefined) this.states.delete(name);
    return OK;
  }

  /** Set while ExecStop of a unit runs: its end is then wanted. */
  stopping: string | undefined;

  /** Runs one Exec line of a unit. */
  runExec(line: string): void {
    this.#machine.node.exec(this.#machine, parseExecLine(line).argv);
  }

  /** systemd-run: a transient service. */
  startTransient(
    name: string,
    argv: readonly string[],
    options: { collect: boolean; type: string; description: string },
  ): UnitResult {
    const machine = this.#machine;
    const before = this.states.get(name);
    if (before !== undefined && before.active !== "inactive") {
      return {
        status: 1,
        stderr: `Failed to start transient service unit: Unit ${name} was already loaded or has a fragment file.\n`,
      };
    }
    const program = argv[0] ?? "";
    if (program.includes("/") && !machine.files.exists(program))
      return { status: 1, stderr: `Failed to find executable ${program}: No such file or directory\n` };
    const state = this.#keep({
      ...this.state(name),
      active: "active",
      sub: "running",
      since: machine.clock.now,
      invocation: machine.node.uuid().replaceAll("-", ""),
      transient: { argv, ...options },
    });
    if (options.type === "exec") machine.logs.unit(name, "systemd", `Starting ${name} - ${options.description}...`);
    machine.logs.unit(name, "systemd", `Started ${name} - ${options.description}.`);
    const pid = machine.spawn(argv, name);
    Object.assign(state, { mainPid: pid, execMainPid: pid });
    const script = argv[0]?.endsWith("sh") ? machine.files.readIf(argv[1] ?? "") : undefined;
    let lines: readonly { argv: readonly string[]; cwd: string }[];
    if (script === undefined) lines = [{ argv, cwd: "/" }];
    else {
      try {
        lines = parseJobScript(script);
      } catch (error) {
        machine.node.journal.unmodelled.push(`script ${argv[1]}: ${String(error)}`);
        machine.logs.unit(name, "sh", "syntax error");
        this.#transientEnded(state, 2);
        return OK;
      }
    }
    const perTick = Math.max(1, Math.ceil(lines.length / machine.node.jobPolls));
    let at = 0;
    let idle = Math.max(0, machine.node.jobPolls - lines.length);
    const work: Work = {
      name,
      step: () => {
        if (machine.running === undefined) return true;
        // It stays until somebody stops it.
        if (script === undefined && program.endsWith("/sleep")) return true;
        if (idle > 0) {
          idle--;
          const next = lines[at];
          if (at === 0 && next !== undefined && idle === 0)
            machine.logs.unit(name, "sh", `+ ${shlex.join([...next.argv])}`);
          return false;
        }
        for (let n = 0; n < perTick && at < lines.length; n++, at++) {
          const line = lines[at];
          if (line === undefined) break;
          machine.logs.unit(name, "sh", `+ ${shlex.join([...line.argv])}`);
          const fault = machine.node.faults.failJobLine;
          const hit = fault !== undefined && fault.times > 0 && line.argv.join(" ").includes(fault.text);
          if (hit) fault.times--;
          const result = hit
            ? { status: 1, stdout: "", stderr: `${line.argv[0]}: error: injected failure\n` }
            : shellLine(machine, argv[1] ?? "", line);
          machine.node.journal.add({
            machine: machine.kind,
            verb: "job",
            argv: line.argv,
            mutating: false,
            status: result.status,
          });
          const output = result.stdout + result.stderr;
          if (output !== "") machine.logs.unit(name, line.argv[0]?.split("/").at(-1) ?? "sh", output);
          if (result.status !== 0) {
            delete state.work;
            this.#transientEnded(state, result.status);
            return true;
          }
        }
        if (at < lines.length) return false;
        delete state.work;
        this.#transientEnded(state, 0);
        return true;
      },
    };
    state.work = work;
    machine.clock.start(work);
    return OK;
  }

  #transientEnded(state: UnitState, status: number): void {
    const machine = this.#machine;
    machine.running?.processes.delete(state.mainPid);
    const clean = status === 0;
    Object.assign(state, {
      active: clean ? "inactive" : "failed",
      sub: clean ? "dead" : "failed",
      result: clean ? "success" : "exit-code",
      mainPid: 0,
      execMainStatus: status,
    });
    machine.logs.unit(
      state.name,
      "systemd",
      clean
        ? `${state.name}: Deactivated successfully.`
        : `${state.name}: Main process exited, code=exited, status=${status}/${EXIT_NAMES[status] ?? "n/a"}`,
    );
    if (!clean) machine.logs.unit(state.name, "systemd", `${state.name}: Failed with result 'exit-code'.`);
    if (clean || state.transient?.collect === true) this.states.delete(state.name);
  }

  resetFailed(name?: string): void {
    for (const [key, state] of [...this.states])
      if (state.active === "failed" && (name === undefined || name === key)) this.states.delete(key);
  }

  /** The machine goes down: nothing runs any more. */
  powerOff(): void {
    for (const state of this.states.values()) if (state.work !== undefined) this.#machine.clock.cancel(state.work);
    this.states.clear();
    this.#loaded = new Map();
  }

  /** Enabled units start at boot. */
  boot(): void {
    this.states.clear();
    this.#loaded = new Map();
    const { files } = this.#machine;
    const folders = files.listIf("/etc/systemd/system").filter((f) => /\.(wants|requires)$/.test(f));
    for (const name of this.#ordered([
      ...new Set(folders.flatMap((folder) => files.list(`/etc/systemd/system/${folder}`))),
    ]))
      this.start(name);
  }

  /** By name, and then as Before= and After= ask. */
  #ordered(names: readonly string[]): string[] {
    const words = (name: string, key: string) =>
      (this.loaded(name)?.values.get(`Unit.${key}`) ?? []).flatMap((v) => v.split(/\s+/));
    const done: string[] = [];
    const add = (name: string, path: readonly string[]) => {
      if (done.includes(name) || path.includes(name)) return;
      const first = names.filter(
        (other) => words(name, "After").includes(other) || words(other, "Before").includes(name),
      );
      for (const other of first) add(other, [...path, name]);
      done.push(name);
    };
    for (const name of [...names].sort()) add(name, []);
    return done;
  }

  /** Units that run, or start at boot, and say themselves that this one comes after them. */
  #beforeIt(name: string): string[] {
    const { files } = this.#machine;
    const wanted = files
      .listIf("/etc/systemd/system")
      .filter((folder) => /\.(wants|requires)$/.test(folder))
      .flatMap((folder) => files.list(`/etc/systemd/system/${folder}`));
    const known = [...new Set([...wanted, ...this.states.keys()])];
    return known.filter((other) =>
      (this.loaded(other)?.values.get("Unit.Before") ?? []).some((words) => words.split(/\s+/).includes(name)),
    );
  }

  /** Properties for `systemctl show`, in systemd's spelling. */
  properties(name: string): Record<string, string> {
    const state = this.state(name);
    const unit = state.transient === undefined ? this.loaded(name) : undefined;
    const known = unit !== undefined || state.transient !== undefined;
    return {
      Type: state.transient?.type ?? unit?.values.get("Service.Type")?.at(-1) ?? "simple",
      Restart: unit?.values.get("Service.Restart")?.at(-1) ?? "no",
      MainPID: String(state.mainPid),
      Result: state.result,
      NRestarts: String(state.restarts),
      ExecMainPID: String(state.execMainPid),
      ExecMainCode: state.active === "failed" || (state.active === "inactive" && state.execMainPid !== 0) ? "1" : "0",
      ExecMainStatus: String(state.execMainStatus),
      Id: name,
      Names: name,
      After: [...(unit?.values.get("Unit.After") ?? []), ...this.#beforeIt(name)].join(" "),
      Description: state.transient?.description ?? describe(unit, name),
      LoadState: unit?.masked === true ? "masked" : known ? "loaded" : "not-found",
      ActiveState: state.active,
      SubState: state.sub,
      FragmentPath: unit?.path ?? (state.transient === undefined ? "" : `/run/systemd/transient/${name}`),
      UnitFileState: this.enabledState(name),
      ActiveEnterTimestamp: state.active === "active" ? systemdTime(state.since) : "",
      ExecMainStartTimestamp: state.since === 0 ? "" : systemdTime(state.since),
      NeedDaemonReload: this.needsReload(name) ? "yes" : "no",
      InvocationID: state.invocation,
      Transient: state.transient === undefined ? "no" : "yes",
      StatusText: "",
    };
  }
}

const EXIT_NAMES: Readonly<Record<number, string>> = { 1: "FAILURE", 2: "INVALIDARGUMENT", 203: "EXEC" };

/** A line of a job's script, which goes to its folder first and then becomes the program. */
function shellLine(
  machine: Machine,
  script: string,
  { argv, cwd }: { readonly argv: readonly string[]; readonly cwd: string },
): { status: number; stdout: string; stderr: string } {
  const refused = (status: number, why: string) => ({ status, stdout: "", stderr: `${script}: 4: ${why}\n` });
  if (!machine.files.isDir(cwd)) return refused(2, `cd: can't cd to ${cwd}`);
  const result = machine.node.exec(machine, argv, { cwd });
  return result.status === 127 ? refused(127, `exec: ${argv[0]}: not found`) : result;
}

/** Programs that stay when started. */
const DAEMONS = [
  "/sleep",
  "/sshd",
  "/usr/bin/node",
  "/cron",
  "/agetty",
  "/unattended-upgrade-shutdown",
  "/dcgm",
  "/nv-hostengine",
];

const describe = (unit: UnitFile | undefined, name: string): string => {
  const text = unit?.values.get("Unit.Description")?.at(-1);
  return text === undefined ? name : `${name} - ${text}`;
};

/** `Section.Key` → values; an empty value clears the ones before it. */
function parseUnit(texts: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const values = new Map<string, string[]>();
  for (const text of texts) {
    let section = "";
    for (const line of text.replaceAll("\\\n", " ").split("\n")) {
      const head = /^\[([^\]]+)\]\s*$/.exec(line);
      if (head?.[1] !== undefined) section = head[1];
      const entry = /^\s*([A-Za-z0-9-]+)\s*=\s*(.*?)\s*$/.exec(line);
      if (entry?.[1] === undefined || /^\s*[#;]/.test(line)) continue;
      const key = `${section}.${entry[1]}`;
      if (entry[2] === "") values.set(key, []);
      else values.set(key, [...(values.get(key) ?? []), entry[2] ?? ""]);
    }
  }
  return values;
}

/** One Exec line: prefixes, quotes and the escapes of `%` and `$`. */
export function parseExecLine(line: string): { argv: string[]; ignoreFailure: boolean } {
  const prefix = /^[-@:+!]*/.exec(line)?.[0] ?? "";
  const words = shlex.split(line.slice(prefix.length)).map((word) => word.replaceAll("%%", "%").replaceAll("$$", "$"));
  return { argv: words, ignoreFailure: prefix.includes("-") };
}
