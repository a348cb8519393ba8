import type { Step } from "../kit/facet.ts";
import { valueIfKnown } from "../kit/facts.ts";
import { firstUnknown } from "../kit/findings.ts";
import { restartDisruption } from "../kit/guest.ts";
import { holdPackages, installPackages, lockPlugin } from "../kit/host.ts";
import { entryOf } from "../kit/parse-grub.ts";
import { grubbyDefault } from "../kit/parse-grubby.ts";
import type { GuestKernelFacts, GuestKernelWant } from "./guest-kernel.ts";
import { lackingWords, stageWords } from "./guest-kernel-words.ts";

const DROP_IN = "/etc/default/grub.d/60-teeup-kernel.cfg";

export const missingOf = (want: GuestKernelWant, facts: GuestKernelFacts): readonly string[] =>
  want.packages.filter((name) => valueIfKnown(facts.packages)?.[name] === undefined);
/** Of what is installed now and of what the install step brings. */
export const unheld = (want: GuestKernelWant, facts: GuestKernelFacts): readonly string[] => {
  const installed = valueIfKnown(facts.packages) ?? {};
  return [...want.packages, ...want.hold.filter((name) => installed[name] !== undefined)].filter(
    (name) => valueIfKnown(facts.held)?.includes(name) !== true,
  );
};

export function planGuestKernel(want: GuestKernelWant, facts: GuestKernelFacts): readonly Step[] {
  const family = valueIfKnown(facts.family);
  if (
    family === undefined ||
    firstUnknown(
      facts.running,
      facts.packages,
      facts.held,
      facts.grub,
      ...(want.commandLine.length > 0 ? [facts.words] : []),
    )
  )
    return [];
  const steps: Step[] = [];
  const lacking = missingOf(want, facts);
  if (lacking.length > 0) {
    steps.push({
      code: "guest-kernel.install",
      title: `install kernel ${want.release} (${lacking.length} packages)`,
      why: `the recipe's guest kernel is ${want.release}`,
      disruption: "none",
      actions: installPackages(family, lacking),
    });
  }
  const hold = unheld(want, facts);
  if (hold.length > 0) {
    const others = hold.filter((name) => !want.packages.includes(name));
    const title = `hold kernel ${[want.release, ...others].join(", ")}`;
    steps.push({
      code: "guest-kernel.hold",
      title,
      why: "no upgrade may replace the kernel",
      disruption: "none",
      actions: [...lockPlugin(facts.holds), holdPackages(family, hold)],
    });
  }
  // A lock of dnf is by name: while another version is locked, this one is not to be had.
  if (family === "rpm") steps.reverse();
  const grub = valueIfKnown(facts.grub);
  const entry = grub === undefined ? undefined : entryOf(grub, want.release);
  if (grub === undefined || grub.default === "" || grub.default !== grub.entries[want.release]) {
    steps.push({
      code: "guest-kernel.default",
      title: `make ${want.release} the kernel that GRUB boots`,
      why: "a newer kernel in the image would be booted otherwise",
      disruption: "none",
      actions:
        family === "rpm"
          ? [grubbyDefault(want.release)]
          : [
              { do: "write", path: DROP_IN, content: `# Written by TeeUp.\nGRUB_DEFAULT="${entry ?? "0"}"\n` },
              { do: "run", argv: ["update-grub"] },
            ],
    });
  }
  steps.push(...stageWords(want, facts, family));
  const lack = lackingWords(want, facts.words);
  const other = valueIfKnown(facts.running) !== want.release;
  if (other || lack.length > 0) {
    steps.push({
      code: "guest-kernel.restart",
      title: `restart the guest: ${other ? `${valueIfKnown(facts.running) ?? "no kernel"} → ${want.release}` : `for ${lack.join(" ")}`}`,
      why: "a kernel and its command line run from the next boot on",
      disruption: restartDisruption(facts.inService),
      actions: [{ do: "restart-guest", timeoutSeconds: 900 }],
    });
  }
  return steps;
}
