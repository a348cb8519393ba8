import { afterEach, describe, expect, test } from "@jest/globals";
import { FACETS } from "../../providers/facets/index.ts";
import { openFleet } from "../../providers/machine/fleet.ts";
import { type NodeRecord, Recording } from "../../providers/machine/record.ts";
import { Reconciler } from "../../providers/reconcile.ts";
import { type HostRecord, likenessOf } from "../../sim/from-record.ts";
import { makeNode, type TwinOptions } from "../../sim/twin.ts";
import { type Bench, bench, look, NODE, type Platform, SNP, TDX, TDX_8GPU } from "../e2e/drive.ts";

const open: Bench[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});
const at = async (options: TwinOptions, on: Platform): Promise<Bench> => {
  const made = await bench({ name: NODE, ...options }, on);
  open.push(made);
  return made;
};

async function recordOf({ config, env }: Bench): Promise<NodeRecord> {
  const recording = new Recording(openFleet(config, env));
  const reconciler = new Reconciler(recording);
  try {
    reconciler.prefetch(FACETS);
    await reconciler.reach(NODE);
    return await recording.record(NODE, new Date());
  } finally {
    await reconciler.close();
  }
}

describe("of a machine that nobody brought up, the twin of its record has the same to be done, facet by facet", () => {
  test.each([
    ["as it comes", {}, SNP],
    ["of Dell, older, with another kernel", { vendor: "dell", os: "ubuntu-22.04" }, SNP],
    ["with two GPUs", { gpus: 2 }, SNP],
    [
      "with a BIOS that is set, a command line and module options",
      {
        prepare: ({ bios, host, exec }) => {
          bios.force({ "SMEE#003E": "Enabled", "IOMMU#0196": "Enabled" });
          host.files.write("/etc/default/grub.d/50-own.cfg", 'GRUB_CMDLINE_LINUX_DEFAULT="iommu=pt panic=10"\n');
          host.files.write("/etc/modprobe.d/own.conf", "options kvm_amd sev=0\n");
          exec(host, ["update-grub"]);
        },
      },
      SNP,
    ],
    ["TDX", {}, TDX],
    ["TDX with eight GPUs and four switches, of Dell", { vendor: "dell" }, TDX_8GPU],
  ] as readonly [string, TwinOptions, Platform][])("%s", async (_name, options, on) => {
    const own = await at(options, on);
    const record = await recordOf(own);
    const { options: shape, apply, unlike } = likenessOf(record);
    const twin = await at({ ...shape, prepare: apply }, on);
    expect(unlike).toEqual(["addresses of PCI devices are the twin's own"]);
    expect((await look(twin)).byFacet).toEqual((await look(own)).byFacet);
    expect((await look(twin)).steps.map(({ title }) => title)).toEqual(
      (await look(own)).steps.map(({ title }) => title),
    );
  });
});

describe("what a twin cannot be is said, and never taken for what it is not", () => {
  const answer = (stdout: string) => ({ kind: "ran" as const, status: 0, stdout, stderr: "" });
  const record = (host: HostRecord["host"]): HostRecord => ({ node: NODE, host });
  const UNAME = JSON.stringify(["argv", ["uname", "-r"], null, null, null]);
  const RELEASE = JSON.stringify(["file", "/etc/os-release", null]);
  const GRUB = JSON.stringify([
    "argv",
    ["grep", "-rH", "", "/etc/default/grub", "/etc/default/grub.d"],
    null,
    262144,
    null,
  ]);
  test.each([
    [
      "nothing at all",
      {},
      [/PCI devices are not in the record/, /no such operating system/, /no kernel unknown/, /BIOS settings are not/],
    ],
    ["another Linux", { [RELEASE]: answer("ID=rocky\nVERSION_ID=9\n") }, [/no such operating system/]],
    [
      "a kernel of its own",
      { [RELEASE]: answer('ID=ubuntu\nVERSION_ID="24.04"\n'), [UNAME]: answer("6.99.0-custom\n") },
      [/no kernel 6\.99\.0-custom/],
    ],
    ["a BMC that answered nonsense", { bios: answer("{}") }, [/BIOS settings are not in the record/]],
    ["a command that failed", { [UNAME]: { ...answer("6.8.0-45-generic\n"), status: 1 } }, [/no kernel unknown/]],
    [
      "defaults of GRUB that no shell takes",
      { [GRUB]: answer('/etc/default/grub:GRUB_CMDLINE_LINUX="iommu=pt\n') },
      [/does not understand \/etc\/default\/grub/],
    ],
  ] as readonly [string, HostRecord["host"], RegExp[]][])("%s", (_name, host, expected) => {
    const { options, apply, unlike } = likenessOf(record(host));
    expect(makeNode({ ...options, prepare: apply }).up).toBe(true);
    for (const line of expected) expect(unlike).toEqual(expect.arrayContaining([expect.stringMatching(line)]));
  });
});
