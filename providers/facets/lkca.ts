import { z } from "zod";
import { lastLine, ran, text } from "../kit/ask.ts";
import type { Step } from "../kit/facet.ts";
import { facet } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { flatMapFact, known, mapFact, showFact, unknown, valueIfKnown } from "../kit/facts.ts";
import { firstUnknown } from "../kit/findings.ts";
import { inServiceOf, restartDisruption, SERVICE_ASKS } from "../kit/guest.ts";
import { DRACUT_ALL, dracutTakes } from "../kit/host.ts";
import { judgeFact } from "../kit/judge.ts";
import { lkcaExamples } from "./lkca-examples.ts";

const SOURCE = "seed 001, Enabling LKCA on the Guest VM; form of seed 002";
const PATH = "/etc/modprobe.d/nvidia-lkca.conf";
/** Says which text the initramfs was last made with; written after it was made. */
const STAMP = "/var/lib/teeup/lkca-initramfs";
/**
 * Says for which text this boot of the guest was made; empty again after the next. A restart with a fresh initramfs
 * that did not help is not repeated.
 */
const RESTARTED = "/run/teeup/lkca-restarted";

const Want = z.strictObject({
  text: z
    .string()
    .endsWith("\n")
    // Without -a, modprobe takes the second name for a parameter of the first: seed 001 misprints it so.
    .refine(
      (t) => !/modprobe\s+(?!-)\S+\s+(?!-)\w+\s*(;|$)/m.test(t),
      "one modprobe call loads one module: write a call for each, or modprobe -a",
    )
    .describe(`Text of ${PATH}.`),
});
export type LkcaWant = z.output<typeof Want>;
type Facts = {
  readonly config: Fact<string>;
  readonly stamp: Fact<string>;
  /** Which program makes the initramfs. */
  readonly maker: Fact<"update-initramfs" | "dracut">;
  /** The driver is loaded without the kernel's ECDSA and ECDH: it took the stubs. */
  readonly stubs: Fact<boolean>;
  /** Text for which the guest was restarted into this boot. */
  readonly restarted: Fact<string>;
  readonly inService: Fact<string>;
};

/** journalctl says on stderr why it cannot look: without pattern matching, without a journal. */
const stubsIn = ({ stdout, stderr }: { readonly stdout: string; readonly stderr: string }): Fact<boolean> =>
  /found stubs/.test(stdout) ? known(true) : stderr.trim() === "" ? known(false) : unknown(lastLine(stderr));

export const lkca = facet({
  name: "lkca",
  type: "Lkca",
  on: "guest",
  persona: "vm-admin",
  summary: "The kernel's own crypto (LKCA) is loaded before the nvidia driver, from the initramfs on.",
  sources: [SOURCE, "NVIDIA/open-gpu-kernel-modules#893"],
  want: Want,
  asks: {
    config: { kind: "file", path: PATH },
    stamp: { kind: "file", path: STAMP },
    initramfsTools: { kind: "argv", argv: ["test", "-x", "/usr/sbin/update-initramfs"] },
    log: {
      kind: "argv",
      argv: ["journalctl", "-k", "-b", "-o", "cat", "--no-pager", "--grep=libspdm expects LKCA but found stubs"],
    },
    restarted: { kind: "file", path: RESTARTED },
    ...SERVICE_ASKS,
  },
  parse(a): Facts {
    return {
      config: text(a.config),
      stamp: text(a.stamp),
      maker: mapFact(ran(a.initramfsTools), (r) => (r.status === 0 ? "update-initramfs" : "dracut")),
      stubs: flatMapFact(ran(a.log), stubsIn),
      restarted: text(a.restarted),
      inService: inServiceOf(a),
    };
  },
  judge: (want, facts) => [
    judgeFact(facts.config, {
      code: "lkca.config",
      want: `${PATH} as the profile has it`,
      hint: "pulumi up writes it",
      source: SOURCE,
      good: (t) => t === want.text,
      show: (t) => (t === want.text ? "as wanted" : t.trim().slice(0, 80)),
    }),
    judgeFact(facts.stamp, {
      code: "lkca.initramfs",
      want: "an initramfs made after it",
      hint: "pulumi up makes it (update-initramfs -u or dracut)",
      source: SOURCE,
      good: (t) => t === want.text,
      show: (t) => (t === want.text ? "made after it" : "made before it"),
    }),
    judgeFact(facts.stubs.state === "absent" ? known(false) : facts.stubs, {
      code: "lkca.stubs",
      want: "the driver found the kernel's crypto",
      hint:
        valueIfKnown(facts.restarted) === want.text
          ? `a restart with a new initramfs did not help: see that the kernel has the modules and that the initramfs holds ${PATH}; to try again: rm ${RESTARTED}`
          : "permit a restart of the guest",
      source: "NVIDIA/open-gpu-kernel-modules#893",
      good: (stubs) => !stubs,
      show: (stubs) => (stubs ? "libspdm expects LKCA but found stubs" : "no complaint"),
    }),
  ],
  plan(want, facts): Step[] {
    if (firstUnknown(facts.config, facts.stamp, facts.maker, facts.stubs, facts.restarted)) return [];
    const steps: Step[] = [];
    const written = valueIfKnown(facts.config) === want.text;
    const restart = valueIfKnown(facts.stubs) === true && valueIfKnown(facts.restarted) !== want.text;
    // With stubs the stamp proves nothing: an initramfs made since by others, or for another kernel, may lack the file.
    if (!written || restart || valueIfKnown(facts.stamp) !== want.text) {
      steps.push({
        code: "lkca.configure",
        title: written ? "make the initramfs again" : `write ${PATH} and make the initramfs`,
        why: "the driver needs ECDSA and ECDH of the kernel for its SPDM session",
        disruption: "none",
        actions: [
          ...(written ? [] : [{ do: "write", path: PATH, content: want.text } as const]),
          ...(valueIfKnown(facts.maker) === "dracut"
            ? [dracutTakes(PATH), DRACUT_ALL]
            : [{ do: "run", argv: ["update-initramfs", "-u"], timeoutSeconds: 600 } as const]),
          { do: "write", path: STAMP, content: want.text },
        ],
      });
    }
    if (restart) {
      steps.push({
        code: "lkca.restart",
        title: "restart the guest, so that the driver loads after the kernel's crypto",
        why: "the running driver took the stubs",
        disruption: restartDisruption(facts.inService),
        actions: [
          { do: "restart-guest", timeoutSeconds: 900 },
          { do: "write", path: RESTARTED, content: want.text },
        ],
      });
    }
    return steps;
  },
  show: ({ config, stubs }) => ({ config: config.state === "known", stubs: showFact(stubs) }),
  examples: lkcaExamples,
  covers: ["001-VM-05", "001-VM-06", "001-VM-07", "001-VM-08", "001-VM-09", "001-VM-10"],
});
