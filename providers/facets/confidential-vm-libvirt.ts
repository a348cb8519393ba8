import type { Action } from "../kit/action.ts";
import { domainDifferences, domainXml, type Leaves, parseDomain } from "../kit/domain-xml.ts";
import type { Finding, PlanContext, Step } from "../kit/facet.ts";
import { findingsOf } from "../kit/findings.ts";
import { DOMAIN, DOMAIN_SOURCE, shutDomain, VIRSH } from "../kit/libvirt.ts";
import type { VmSpec } from "../kit/qemu-args.ts";
import { LAUNCH, VM_FILES } from "../kit/qemu-args.ts";
import type { ConfidentialVmFacts } from "./confidential-vm-facts.ts";
import { human, removeUnit, restartNote, start, TRIED } from "./confidential-vm-plan.ts";
import type { ConfidentialVmWant } from "./confidential-vm-want.ts";

export const LIBVIRT =
  "libvirt docs/formatdomain.rst, Launch Security; canonical/tdx guest-tools/trust_domain.xml.template";
const { pass, fail } = findingsOf("confidential-vm", LIBVIRT);
const SHOW = [...VIRSH, "dumpxml", DOMAIN].join(" ");

const wantedLeaves = (spec: VmSpec, want: ConfidentialVmWant): Leaves =>
  parseDomain(domainXml(spec, want.gpuMode)) ?? {};
const some = (list: readonly string[]) =>
  `${list.slice(0, 2).join("; ").slice(0, 200)}${list.length > 2 ? "; and more" : ""}`;

/** How the domain stands to the wanted one: as it is defined, and as it runs. */
function standing(spec: VmSpec, want: ConfidentialVmWant, { domain, live, info }: ConfidentialVmFacts) {
  const wanted = wantedLeaves(spec, want);
  const state = info.state === "known" ? info.value.state : "shut off";
  return {
    state,
    defined: domain.state === "known" ? domainDifferences(wanted, domain.value.leaves) : undefined,
    autostart: info.state === "known" && info.value.autostart,
    running: state === "running" && live.state === "known" ? domainDifferences(wanted, live.value) : undefined,
    tee: live.state === "known" ? live.value["launchSecurity@type"] : undefined,
  };
}

export function judgeDomain(want: ConfidentialVmWant, spec: VmSpec, facts: ConfidentialVmFacts): readonly Finding[] {
  const { title } = LAUNCH[want.tee];
  const { state, defined, autostart, running, tee } = standing(spec, want, facts);
  if (defined === undefined)
    return [fail("absent", `a confidential VM (${title}) as domain ${DOMAIN}`, "no domain", "pulumi up makes it")];
  const judgeRunning = () => {
    if (running === undefined) {
      const hint = `pulumi up starts it; else ${VIRSH[0]} start ${DOMAIN}, and the console in ${VM_FILES.console}`;
      return fail("inactive", "a running VM", state, hint);
    }
    if (tee !== want.tee)
      return fail(
        "not-confidential",
        `launchSecurity of type ${want.tee}`,
        tee ?? "none",
        "pulumi up, with permit guest-stop",
      );
    if (running.length === 0) return pass("running", `a VM with ${title}`, `running with ${title}`);
    return fail(
      "argv",
      "the running domain as wanted",
      some(running),
      `pulumi up, with permit guest-stop; ${SHOW} shows it`,
    );
  };
  return [
    defined.length === 0
      ? pass("unit", "the domain as wanted", DOMAIN)
      : fail("unit", "the domain as wanted", some(defined), `pulumi up defines it anew; ${SHOW} shows what was edited`),
    autostart
      ? pass("enabled", "started at every boot of the host", "autostart")
      : fail("enabled", "started at every boot of the host", "no autostart", "pulumi up turns it on"),
    judgeRunning(),
  ];
}

export function planDomain(
  want: ConfidentialVmWant,
  spec: VmSpec,
  facts: ConfidentialVmFacts,
  context: PlanContext,
): readonly Step[] {
  const { state, defined, autostart, running } = standing(spec, want, facts);
  const unitThere = facts.unit.state === "known" || facts.process.state === "known";
  const good = running?.length === 0;
  if (good && defined?.length === 0 && autostart && !unitThere) return [];
  const xml = domainXml(spec, want.gpuMode, facts.domain.state === "known" ? facts.domain.value.uuid : undefined);
  const define: readonly Action[] = [
    { do: "write", path: DOMAIN_SOURCE, content: xml },
    { do: "run", argv: [...VIRSH, "define", DOMAIN_SOURCE] },
    { do: "run", argv: [...VIRSH, "autostart", DOMAIN] },
  ];
  const why = "libvirt starts the guest with the host";
  if (good && facts.process.state !== "known") {
    const title = `define domain ${DOMAIN} as wanted; the running VM stays`;
    const actions = [...(facts.unit.state === "known" ? removeUnit : []), ...define];
    return [{ code: "confidential-vm.define", title, why, disruption: "none", actions }];
  }
  const go = start([...VIRSH, "start", DOMAIN]);
  if (running === undefined && state === "shut off" && !unitThere && !context.guestRunning) {
    const title = `start a confidential VM (${LAUNCH[want.tee].title}, libvirt) with ${want.cpus} vCPUs, ${want.memoryGiB} GiB and its GPUs`;
    return [{ code: "confidential-vm.start", title, why, disruption: "none", actions: [...define, ...go] }];
  }
  const note = restartNote(JSON.stringify(running ?? state), JSON.stringify(wantedLeaves(spec, want)));
  if (defined?.length === 0 && facts.tried.state === "known" && facts.tried.value === note) {
    const title = `find out why a restart of domain ${DOMAIN} changed nothing (${SHOW}); then rm ${TRIED}`;
    return human("confidential-vm.stuck", title, "the same restart again would stop the guest for nothing");
  }
  const what = unitThere
    ? "it is a systemd unit's now"
    : running === undefined
      ? `it is ${state}, or another guest has a GPU`
      : some(running);
  return [
    {
      code: "confidential-vm.restart",
      title: `restart the confidential VM: ${what}`,
      why: "what a domain is given changes only with a new process",
      disruption: "guest-stop",
      actions: [
        ...(unitThere ? removeUnit : []),
        ...(facts.domain.state === "known" ? shutDomain : []),
        ...define,
        { do: "write", path: TRIED, content: note },
        ...go,
      ],
    },
  ];
}
