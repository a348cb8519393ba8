import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Action } from "../../providers/kit/action.ts";
import type { Answer, Ask } from "../../providers/kit/ask.ts";
import { StackConfigSchema } from "../../providers/kit/config.ts";
import { TeeUpError } from "../../providers/kit/errors.ts";
import type { Fleet, Machine } from "../../providers/kit/machine.ts";
import { openFleet } from "../../providers/machine/fleet.ts";
import { NAPLES } from "../../sim/model/system.ts";
import { startTwin } from "../../sim/twin.ts";
import { CASES, type Case, GRUB, NOT_ASKED, type Place } from "./conformance-cases.ts";
import { conformancePage, type Row, rowsOf } from "./conformance-page.ts";
import { SPARE } from "./vm/machine.ts";
import { PACKAGES } from "./vm/repository.ts";
import { startVm } from "./vm/vm.ts";

/** One machine under the same questions: reached as root through sudo, and as a plain user who may not become root. */
export interface Side {
  readonly place: Place;
  readonly root: Machine;
  readonly plain: Machine;
  /** A second client, for what two runs do to each other. */
  readonly other: Machine;
  close(): Promise<void>;
}

const NODE = "gpu-01";
const QUICK = { pollFirstMs: 20, pollMaxMs: 500 } as const;
const ACT = { onProgress: () => undefined, signal: new AbortController().signal } as const;

function side(place: Place, ssh: Readonly<Record<string, unknown>>, close: () => Promise<void>): Side {
  const open = (more: object): Fleet =>
    openFleet(
      StackConfigSchema.parse({ nodes: [{ name: NODE, ssh: { ...ssh, ...more } }] }),
      { PATH: process.env["PATH"], HOME: "/nonexistent" },
      QUICK,
    );
  const fleets = [open({}), open({ sudo: false }), open({})] as const;
  const [root, plain, other] = fleets.map((fleet) => fleet.node(NODE).host) as [Machine, Machine, Machine];
  return {
    ...{ place, root, plain, other },
    close: async () => {
      for (const fleet of fleets) await fleet.close();
      await close();
    },
  };
}

/** The twin in the state in which the lab's machine is: the same packages, no SEV in its processor, the same settings. */
export async function twinSide(): Promise<Side> {
  const plain = { ...NAPLES, flags: NAPLES.flags.filter((flag) => !/^(sme|sev)/.test(flag)) };
  const twin = await startTwin({ name: "lab", cpu: plain, bmc: false, jobPolls: 1, sevFirmwareFile: null });
  const folder = mkdtempSync(join(tmpdir(), "teeup-conformance-"));
  const keyFile = join(folder, "id");
  writeFileSync(keyFile, twin.ssh.privateKey ?? "", { mode: 0o600 });
  const { packages } = twin.host;
  packages.extra.push(
    ...PACKAGES.map(({ name, version, depends }) => ({
      ...{ name, version },
      ...(depends === undefined ? {} : { depends: [depends.split(" ")[0] ?? ""] }),
    })),
  );
  for (const name of ["driverctl", "qemu-system-x86", "curl"])
    for (const pkg of packages.resolve([name])) packages.install(pkg, pkg.name === name);
  twin.host.files.write("/etc/modprobe.d/blacklist-nouveau.conf", "blacklist nouveau\n");
  twin.host.files.remove("/lib/firmware/amd");
  twin.host.packages.heard.set("ovmf", { hold: false });
  // The machine has no package that would bring another kernel.
  for (const name of ["linux-generic", "linux-image-generic", "linux-headers-generic"]) twin.host.packages.remove(name);
  twin.host.files.write("/etc/default/grub", GRUB);
  twin.node.bios.force({ "IOMMU#0196": "Enabled" });
  twin.node.exec0(["update-grub"]);
  twin.node.reset("PowerCycle", "bmc");
  twin.node.settle();
  const gpu = [...twin.node.gpus.keys()][0] ?? "";
  const place = { name: "twin", gpu, release: twin.host.now.kernel.release } as const;
  return side(
    place,
    { host: twin.ssh.host, port: twin.ssh.port, user: twin.ssh.user, keyFile, hostKey: twin.ssh.hostKey },
    async () => {
      await twin.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  );
}

export async function vmSide(): Promise<Side> {
  const vm = await startVm();
  const release = await vm.sh("uname -r");
  const { ssh } = vm.node(NODE, "ops") as { ssh: Readonly<Record<string, unknown>> };
  return side({ name: "vm", gpu: SPARE, release }, ssh, () => vm.stop());
}

/**
 * Cases that travel in one exec, as the questions of a preview do: neighbours of one user, none of them prepared. The
 * shell answers them in order; the same question twice would be asked only once, so it begins another group.
 */
export function groups(cases: readonly Case[]): Case[][] {
  const out: Case[][] = [];
  let seen = new Set<string>();
  for (const one of cases) {
    const group = out.at(-1);
    const key = one.ask === undefined ? "" : JSON.stringify(one.ask({ name: "twin", gpu: "gpu", release: "release" }));
    const joins =
      group !== undefined &&
      one.before === undefined &&
      [one, group[0]].every((c) => c?.ask !== undefined) &&
      one.as === group[0]?.as &&
      !seen.has(key);
    if (joins) group.push(one);
    else {
      out.push([one]);
      seen = new Set();
    }
    seen.add(key);
  }
  return out;
}

/** What one side says to a group of cases, in order. */
export async function said({ root, plain, other, place }: Side, group: readonly Case[]): Promise<Said[]> {
  const [one] = group;
  if (one === undefined) return [];
  const machine = one.as === "plain" ? plain : root;
  for (const action of one.before?.(place) ?? []) await root.act(action, ACT);
  machine.forget();
  if (one.lock === true) {
    const held = await root.lock("pulumi up");
    try {
      return [await outcome(async () => (await other.lock("pulumi preview")).release())];
    } finally {
      await held.release();
    }
  }
  if (one.act !== undefined) {
    const action: Action = one.act(place);
    return [await outcome(() => machine.act(action, ACT))];
  }
  const asks: Record<string, Ask> = {};
  for (const [n, { ask }] of group.entries()) if (ask !== undefined) asks[n] = ask(place);
  return Object.values(await machine.observe(asks));
}

export type Said =
  | Answer
  | { readonly kind: "done" }
  | { readonly kind: "error"; readonly code: string; readonly saw: string };

async function outcome(work: () => Promise<void>): Promise<Said> {
  try {
    await work();
    return { kind: "done" };
  } catch (error) {
    if (!(error instanceof TeeUpError)) throw error;
    return { kind: "error", code: error.code, saw: error.parts.saw };
  }
}

/** The same, so that two machines can be compared. */
export function comparable(answer: Said, one: Case, place: Place): unknown {
  const tidy = (text: string): string => (one.same ?? ((t: string) => t))(everywhere(text, place));
  switch (answer.kind) {
    case "ran":
      return {
        ...{ kind: answer.kind, status: answer.status, stdout: tidy(answer.stdout), stderr: tidy(answer.stderr) },
        ...(answer.nonce === undefined ? {} : { nonce: /^[0-9a-f]{64}$/.test(answer.nonce) }),
      };
    case "missing":
    case "done":
      return { kind: answer.kind };
    case "error":
      return { kind: answer.kind, code: answer.code, saw: tidy(answer.saw) };
    default:
      return { kind: answer.kind, why: tidy(answer.why) };
  }
}

/** What differs between any two machines and is no answer to any question. */
function everywhere(text: string, { gpu, release }: Place): string {
  return text
    .replaceAll(release, "<release>")
    .replaceAll(gpu, "<gpu>")
    .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "<uuid>");
}

/** Every case on one side; each sees what the ones before it left. */
export async function answers(cases: readonly Case[], one: Side): Promise<Said[]> {
  const out: Said[] = [];
  for (const group of groups(cases)) {
    try {
      out.push(...(await said(one, group)));
    } catch (error) {
      // One case that goes wrong does not take the others along; it counts as no answer.
      out.push(...group.map(() => ({ kind: "failed", why: `threw: ${String(error)}` }) as const));
    }
  }
  return out;
}

/** `topic · name`, with a number where the same is asked again. */
export function keysOf(cases: readonly Case[]): string[] {
  const seen = new Map<string, number>();
  return cases.map(({ topic, name }) => {
    const key = `${topic} · ${name}`;
    const nth = (seen.get(key) ?? 0) + 1;
    seen.set(key, nth);
    return nth === 1 ? key : `${key} (${nth})`;
  });
}

/** What one side says to every case, comparable, by key. */
export async function heard(cases: readonly Case[], one: Side): Promise<Record<string, unknown>> {
  const all = await answers(cases, one);
  return Object.fromEntries(
    keysOf(cases).map((key, n) => {
      const [answer, asked] = [all[n], cases[n]];
      return [key, answer === undefined || asked === undefined ? "no answer" : comparable(answer, asked, one.place)];
    }),
  );
}

/** Answers of the lab's machine as the lab last heard them. */
export const RECORDED = new URL("conformance-recorded.json", import.meta.url);
export const PAGE = new URL("../../docs/conformance.md", import.meta.url);

/** Asks twin and machine everything, and writes what the machine said (RECORDED) and the table of both (PAGE). */
export async function compareAndRecord(): Promise<Row[]> {
  const [twin, vm] = await Promise.all([twinSide(), vmSide()]);
  try {
    const [a, b] = await Promise.all([heard(CASES, twin), heard(CASES, vm)]);
    const kernel = vm.place.release;
    const recorded = { origin: `the lab's virtual machine, kernel ${kernel}`, kernel, pending: [], answers: b };
    writeFileSync(RECORDED, `${JSON.stringify(recorded, null, 1)}\n`);
    const rows = rowsOf(keysOf(CASES), a, b);
    writeFileSync(PAGE, conformancePage(rows, kernel, NOT_ASKED, []));
    return rows;
  } finally {
    await twin.close();
    await vm.close();
  }
}
