import { z } from "zod";
import { collected, ok, ran, text } from "../kit/ask.ts";
import { example } from "../kit/example.ts";
import { facet } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { mapFact, showFact } from "../kit/facts.ts";
import { KERNEL_RELEASE, OS_RELEASE } from "../kit/host.ts";
import { judgeFact } from "../kit/judge.ts";
import { compareReleases, parseLines, parseOsRelease } from "../kit/parse-packages.ts";

const SOURCE = "seed 002, Creating the instance; seed 003, 适用范围 and 使用限制";

const Want = z.strictObject({
  os: z
    .array(z.strictObject({ id: z.string(), versionId: z.string() }))
    .min(1)
    .describe("Systems of /etc/os-release that the cloud supports here."),
  minimumKernel: z.string().min(1).describe("Lowest kernel release, as `uname -r` shows it."),
  uefi: z.boolean().default(true).describe("The instance must have started by UEFI."),
  noRdma: z.boolean().default(false).describe("No RDMA network interface may be attached."),
});
interface Facts {
  readonly os: Fact<{ readonly id: string; readonly versionId: string }>;
  readonly kernel: Fact<string>;
  readonly uefi: Fact<boolean>;
  readonly rdma: Fact<readonly string[]>;
}

/** What the cloud's document limits a confidential instance to: only a new instance would mend it, so nothing is planned. */
export const instanceSystem = facet({
  name: "instance-system",
  type: "InstanceSystem",
  on: "guest",
  persona: "vm-admin",
  summary: "A cloud instance's system, kernel and devices are among those that its cloud supports as confidential.",
  sources: [SOURCE],
  want: Want,
  asks: {
    os: OS_RELEASE,
    kernel: KERNEL_RELEASE,
    uefi: { kind: "argv", argv: ["test", "-d", "/sys/firmware/efi"] },
    rdma: {
      kind: "argv",
      argv: ["find", "/sys/class/infiniband", "-mindepth", "1", "-maxdepth", "1", "-printf", "%f\\n"],
    },
  },
  parse: (a): Facts => ({
    os: mapFact(text(a.os), (t) => {
      const { id, versionId } = parseOsRelease(t);
      return { id, versionId };
    }),
    kernel: mapFact(text(a.kernel), (t) => t.trim()),
    uefi: mapFact(ran(a.uefi), (r) => r.status === 0),
    rdma: mapFact(collected(a.rdma), parseLines),
  }),
  judge: (want, facts) => [
    judgeFact(facts.os, {
      code: "instance-system.os",
      want: want.os.map((os) => `${os.id} ${os.versionId}`).join(" or "),
      hint: "make the instance from an image that the cloud's document names",
      source: SOURCE,
      good: (os) => want.os.some((w) => w.id === os.id && w.versionId === os.versionId),
      show: (os) => `${os.id} ${os.versionId}`,
    }),
    judgeFact(facts.kernel, {
      code: "instance-system.kernel",
      want: `kernel ${want.minimumKernel} or newer`,
      hint: "make the instance from a newer image, or upgrade its kernel and restart it",
      source: SOURCE,
      good: (kernel) => compareReleases(kernel, want.minimumKernel) >= 0,
    }),
    ...(want.uefi
      ? [
          judgeFact(facts.uefi, {
            code: "instance-system.uefi",
            want: "started by UEFI",
            hint: "make the instance from a UEFI image: only those start as confidential instances",
            source: SOURCE,
            good: (uefi) => uefi,
            show: (uefi) => (uefi ? "UEFI" : "BIOS"),
          }),
        ]
      : []),
    ...(want.noRdma
      ? [
          judgeFact(facts.rdma, {
            code: "instance-system.rdma",
            want: "no RDMA interface",
            hint: "shut the instance down in the console and detach its elastic RDMA interfaces: several can crash it",
            source: "seed 003, 使用限制, 弹性RDMA网卡",
            good: (names) => names.length === 0,
            show: (names) => names.join(", ") || "none",
          }),
        ]
      : []),
  ],
  show: ({ os, kernel }) => ({ os: showFact(os, (o) => `${o.id} ${o.versionId}`), kernel: showFact(kernel) }),
  examples: [
    example(
      "an instance that the document describes",
      { os: [{ id: "ubuntu", versionId: "22.04" }], minimumKernel: "6.6.0", uefi: true, noRdma: true },
      { os: ok('ID=ubuntu\nVERSION_ID="22.04"\n'), kernel: ok("6.8.0-90-generic\n"), uefi: ok(""), rdma: ok("") },
    ),
    example(
      "the sample image of seed 002",
      { os: [{ id: "alinux", versionId: "3" }], minimumKernel: "5.10.134-18.al8.x86_64", uefi: true, noRdma: false },
      {
        os: ok('ID="alinux"\nID_LIKE="rhel fedora centos anolis"\nVERSION_ID="3"\n'),
        kernel: ok("5.10.134-18.al8.x86_64\n"),
        uefi: ok(""),
      },
    ),
    example(
      "a later build of the same kernel: a number where the wanted one has letters already",
      { os: [{ id: "alinux", versionId: "3" }], minimumKernel: "5.10.134-18.al8.x86_64", uefi: true, noRdma: false },
      { os: ok('ID="alinux"\nVERSION_ID="3"\n'), kernel: ok("5.10.134-18.0.5.al8.x86_64\n"), uefi: ok("") },
    ),
    example(
      "another system, an old kernel, BIOS, and an RDMA interface",
      { os: [{ id: "ubuntu", versionId: "22.04" }], minimumKernel: "6.6.0", uefi: true, noRdma: true },
      { os: ok('ID=ubuntu\nVERSION_ID="20.04"\n'), kernel: ok("5.4.0-1\n"), uefi: ok("", 1), rdma: ok("erdma_0\n") },
      ["instance-system.os", "instance-system.kernel", "instance-system.uefi", "instance-system.rdma"],
    ),
    example(
      "the system cannot be read",
      { os: [{ id: "ubuntu", versionId: "22.04" }], minimumKernel: "6.6.0", uefi: true, noRdma: true },
      { os: { kind: "denied", why: "permission denied" }, kernel: ok("6.8.0\n"), uefi: ok(""), rdma: ok("") },
      ["instance-system.os"],
    ),
  ],
  covers: [...["002-11", "002-12", "003-03", "003-04", "003-50", "003-52", "003-53", "003-54", "003-55"]],
});
