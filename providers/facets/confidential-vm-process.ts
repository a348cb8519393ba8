import type { Answer } from "../kit/ask.ts";
import { ran } from "../kit/ask.ts";
import type { Fact } from "../kit/facts.ts";
import { absent, known, mapFact, unknown } from "../kit/facts.ts";
import { mainPidOf } from "../kit/parse-systemctl.ts";
import type { ConfidentialVmFacts } from "./confidential-vm-facts.ts";

/** Command lines without process numbers: the unit's own process, and QEMUs of that name that are not the VM's. */
export function processesOf(
  state: Fact<string>,
  answer: Answer,
  domainPid: Fact<string>,
): Pick<ConfidentialVmFacts, "process" | "strays"> {
  const listed = mapFact(ran(answer), (r) => (r.status > 1 ? undefined : r.stdout));
  if (state.state !== "known" || listed.state !== "known" || listed.value === undefined) {
    const why = listed.state === "known" ? "pgrep failed" : "there is no pgrep(1) or systemctl(1)";
    const fact = listed.state === "unknown" ? listed : state.state === "unknown" ? state : unknown(why);
    return { process: fact, strays: fact };
  }
  const all = [...listed.value.matchAll(/^(\d+) (.*)$/gm)].map(([, pid, argv = ""]) => ({ pid, argv: argv.trim() }));
  const main = mainPidOf(state.value);
  const own = all.find((p) => p.pid === main);
  // Editors and shells may name the unit too: only QEMU counts as a stray.
  const libvirts = domainPid.state === "known" ? domainPid.value.trim() : undefined;
  const strays = all
    .filter((p) => p !== own && p.pid !== libvirts && /^\S*(qemu|kvm)\S* /.test(p.argv))
    .map((p) => p.argv);
  const process = main === undefined ? absent : known(own?.argv ?? "a process without the VM's name");
  // Without it libvirt's own QEMU could not be told from a stray one.
  return { process, strays: domainPid.state === "unknown" ? domainPid : known(strays) };
}
