import { expect, test } from "@jest/globals";
import { vmStack as facet } from "../../providers/facets/vm-stack.ts";
import { VM_STACK_EXAMPLES } from "../../providers/facets/vm-stack-examples.ts";
import type { Action } from "../../providers/kit/action.ts";
import { vmStackPaths } from "../../providers/kit/vm-stack.ts";
import { argvs, CONTEXT, codes, factsOf } from "./run-examples.ts";

const named = (name: string) => {
  const found = VM_STACK_EXAMPLES.find((e) => e.name === name);
  if (found === undefined) throw new Error(name);
  return { want: found.want, facts: factsOf(facet, found.answers) };
};
const jobs = (actions: readonly Action[] = []) =>
  actions.flatMap((a) => (a.do === "job" ? a.lines.map((l) => l.argv.join(" ")) : []));

test("the distribution's packages are installed and held: an upgrade would replace what guests were measured with", () => {
  const { want, facts } = named("no packages");
  const steps = facet.plan?.(want, facts, CONTEXT);
  expect(argvs(steps).slice(2)).toEqual([
    "apt-get -y --no-remove install qemu-system-x86 ovmf",
    "apt-mark hold qemu-system-x86 ovmf",
  ]);
  expect(vmStackPaths(want)).toEqual({ qemu: "/usr/bin/qemu-system-x86_64", ovmf: "/usr/share/ovmf/OVMF.fd" });
});

test("QEMU from a tarball: verified before it is unpacked, the recipe last", () => {
  const { want, facts } = named("QEMU gone");
  const [step] = facet.plan?.(want, facts, CONTEXT) ?? [];
  const lines = jobs(step?.actions);
  expect(lines[1]).toBe("sha256sum --check --strict /var/lib/teeup/artifacts/qemu-9.2.4.tar.xz.sha256");
  expect(lines.findIndex((l) => l.startsWith("tar "))).toBeGreaterThan(1);
  expect(lines.at(-2)).toBe("make install");
  expect(lines.at(-1)).toMatch(/\/opt\/teeup\/qemu\/recipe\.json$/);
  expect(vmStackPaths(want)).toEqual({
    qemu: "/opt/teeup/qemu/bin/qemu-system-x86_64",
    ovmf: "/usr/share/ovmf/OVMF.fd",
  });
});

test("001-HOST-09: QEMU and OVMF from pinned commits, in two jobs", () => {
  const { want, facts } = named("forks to build");
  const [qemu, ovmf] = facet.plan?.(want, facts, CONTEXT) ?? [];
  expect(jobs(qemu?.actions)[1]).toBe(
    `git -C /var/lib/teeup/build/qemu fetch --quiet --depth=1 https://example.org/qemu.git ${"12".repeat(20)}`,
  );
  expect(jobs(ovmf?.actions)).toContain(
    "install -D -m 0644 /var/lib/teeup/build/ovmf/Build/OvmfX64/RELEASE_GCC5/FV/OVMF.fd /opt/teeup/ovmf/OVMF.fd",
  );
  expect(vmStackPaths(want).ovmf).toBe("/opt/teeup/ovmf/OVMF.fd");
});

test("a QEMU that is too old to pass a GPU to an SNP guest fails, whatever its build", () => {
  const { want, facts } = named("distribution's QEMU too old");
  expect(facet.judge(want, facts).find((f) => f.level === "fail")?.saw).toBe("version 8.2.2, without sev-snp-guest");
});

test("delete takes the holds off, once", () => {
  const { want, facts } = named("packages in place");
  expect(argvs(facet.undo?.(want, facts, CONTEXT))).toEqual(["apt-mark unhold qemu-system-x86 ovmf"]);
  expect(codes(facet.undo?.(want, named("no packages").facts, CONTEXT))).toEqual([]);
});
