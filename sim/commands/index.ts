/**
 * The programs of the simulated machines.
 *
 * How to add one: make sim/commands/<program>.ts that exports a `Command` (command.ts), and list it in `ALL` below.
 *
 *     export const hostname: Command = {
 *       names: ["hostname"],
 *       base: true,                       // every fresh machine has /usr/bin/hostname
 *       mutates: never,                   // does this argv change the machine? The journal counts those
 *       run: (machine, argv, context) => ok(`${machine.hostname}\n`),
 *     };
 *
 * - `machine` is the whole model (sim/model/machine.ts): `machine.files`, `machine.running` (kernel, modules, command
 *   line of this boot), `machine.packages`, `machine.units`, `machine.logs`, `machine.node` (BIOS, GPUs, the guest).
 *   A command reads and changes the model; it never prints what the model does not say.
 * - argv words arrive as they were sent, `argv[0]` included. There is no shell.
 * - `options(argv, {flags, valued})` splits getopt style and reports options it was not told of as unmodelled.
 *   Call `unmodelled(argv)` for any argv you cannot answer truthfully: the exec then ends with 127 and the journal's
 *   `unmodelled` list names it; tests assert that this list is empty.
 * - `base: false` programs exist only once a package, clone or build has put their file there
 *   (`program("qemu-img", "8.2.2")` in files.ts; `context.data` is that text). They must still be listed here.
 * - `mutates` is checked: saying false and changing a file is an error.
 */

import { apt } from "./apt.ts";
import { awk } from "./awk.ts";
import { build } from "./build.ts";
import type { Command } from "./command.ts";
import { coreutils } from "./coreutils.ts";
import { dcap } from "./dcap.ts";
import { download } from "./download.ts";
import { dpkg } from "./dpkg.ts";
import { driverctl } from "./driverctl.ts";
import { find } from "./find.ts";
import { git } from "./git.ts";
import { gpuAdminTools } from "./gpu-admin-tools.ts";
import { grep } from "./grep.ts";
import { grub } from "./grub.ts";
import { hardware } from "./hardware.ts";
import { images } from "./images.ts";
import { journalctl } from "./journalctl.ts";
import { kmod } from "./kmod.ts";
import { mpa } from "./mpa.ts";
import { nvattest } from "./nvattest.ts";
import { nvidiaSmi } from "./nvidia-smi.ts";
import { nvidiaTools } from "./nvidia-tools.ts";
import { encodings } from "./openssl.ts";
import { processes } from "./processes.ts";
import { python } from "./python.ts";
import { redHat } from "./red-hat.ts";
import { sed } from "./sed.ts";
import { systemctl } from "./systemctl.ts";
import { virsh } from "./virsh.ts";

const ALL: readonly Command[] = [
  ...apt,
  awk,
  ...build,
  ...coreutils,
  ...dcap,
  ...download,
  ...dpkg,
  driverctl,
  find,
  git,
  gpuAdminTools,
  ...grep,
  ...grub,
  ...hardware,
  ...images,
  ...journalctl,
  ...kmod,
  mpa,
  nvattest,
  nvidiaSmi,
  ...nvidiaTools,
  ...encodings,
  ...processes,
  ...python,
  ...redHat,
  sed,
  ...systemctl,
  virsh,
];

export const COMMANDS: ReadonlyMap<string, Command> = new Map(
  ALL.flatMap((command) => command.names.map((name) => [name, command] as const)),
);
