import { createHash } from "node:crypto";
import { z } from "zod";
import { VM_DIR, VM_NAME } from "../kit/argv.ts";
import { failed, missing, ok, ran, text } from "../kit/ask.ts";
import { metaData, userData } from "../kit/cloud-init.ts";
import type { Step } from "../kit/facet.ts";
import { facet, pass } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { known, showFact, unknown } from "../kit/facts.ts";
import { fail, firstUnknown, unsure } from "../kit/findings.ts";
import { ARTIFACTS_DIR, job } from "../kit/host.ts";
import { VM_FILES, VM_UNIT } from "../kit/qemu-snp.ts";

const SOURCE = "seed 001, Create the VM Base Image and Installing the Guest OS, replaced by a pinned cloud image";
const DIR = `${VM_DIR}/${VM_NAME}`;
const ARTIFACTS = ARTIFACTS_DIR;
/** Written last, so that what it says has happened. */
const DISK_ID = `${DIR}/disk.id`;
const SEED_ID = `${DIR}/seed.id`;

const Want = z.strictObject({
  url: z.url({ protocol: /^https?$/ }).describe("Cloud image."),
  sha256: z.string().regex(/^[0-9a-f]{64}$/).describe("SHA-256 of the image file, 64 hex digits."),
  diskGiB: z.int().min(8).max(16384).default(100).describe("Size of the guest's disk in GiB (seed 001: 500)."),
  user: z.string().regex(/^[a-z][a-z0-9-]{0,30}$/).default("teeup").describe("Login name that cloud-init makes."),
  publicKey: z.string().regex(/^(ssh-|ecdsa-|sk-)\S+ \S+/).describe("OpenSSH public key line for that user."),
});
type Want = z.infer<typeof Want>;
type Facts = {
  /** Names of files in the VM's folder and of downloaded images. */
  readonly files: Fact<readonly string[]>;
  readonly diskId: Fact<string>;
  readonly seedId: Fact<string>;
};

const seed = (want: Want) => ({
  // One disk is one cloud-init instance: a new key in the seed reaches the guest only with a new disk.
  instanceId: `teeup-${want.sha256.slice(0, 16)}`,
  hostname: VM_NAME,
  user: want.user,
  publicKey: want.publicKey.trim(),
});
const seedIdOf = (want: Want): string =>
  `${createHash("sha256").update(userData(seed(want))).update(metaData(seed(want))).digest("hex")}\n`;
const diskIdOf = (want: Want): string => `${want.sha256} ${want.diskGiB}\n`;
const parseDiskId = (id: string) => {
  const [sha256, gib] = id.trim().split(" ");
  return { sha256, gib: Number(gib) };
};

export const guestImage = facet({
  name: "guest-image",
  type: "GuestImage",
  on: "host",
  persona: "host",
  summary: "The guest's disk, made from a pinned cloud image, and its cloud-init seed.",
  sources: [SOURCE, "cloud-init documentation, NoCloud", "qemu-img(1)"],
  want: Want,
  asks: {
    files: {
      kind: "argv",
      argv: ["find", DIR, ARTIFACTS, "-maxdepth", "1", "-type", "f", "-name", "*.*", "-printf", "%f\\n"],
    },
    diskId: { kind: "file", path: DISK_ID },
    seedId: { kind: "file", path: SEED_ID },
  },
  parse({ files, diskId, seedId }): Facts {
    const found = ran(files);
    return {
      files:
        found.state !== "known"
          ? found
          : // find exits 1 while a folder is not there yet; what it did find counts.
            found.value.status <= 1
            ? known(found.value.stdout.split("\n").filter((f) => /^(disk\.qcow2|seed\.iso|[0-9a-f]{64}\.img)$/.test(f)).sort())
            : unknown(`find exit ${found.value.status}`),
      diskId: text(diskId),
      seedId: text(seedId),
    };
  },
  judge(want, { files, diskId, seedId }) {
    const why = firstUnknown(files, diskId, seedId);
    const wanted = `a ${want.diskGiB} GiB disk from image ${want.sha256.slice(0, 12)}`;
    if (why !== undefined || files.state !== "known") return [unsure("guest-image.unknown", wanted, why ?? "no find(1)", `ls -l ${DIR}`, SOURCE)];
    const disk =
      diskId.state !== "known" || !files.value.includes("disk.qcow2")
        ? fail("guest-image.disk", wanted, "no disk", "teeup up makes it", SOURCE)
        : diskId.value === diskIdOf(want)
          ? pass("guest-image.disk", wanted, "made from it", SOURCE)
          : parseDiskId(diskId.value).sha256 !== want.sha256
            ? fail("guest-image.other-image", wanted, `made from ${diskId.value.slice(0, 12)}`, "delete the GuestImage resource to lose the old disk, then up", SOURCE)
            : fail("guest-image.size", wanted, `${parseDiskId(diskId.value).gib} GiB`, "teeup up grows it; a disk never shrinks", SOURCE);
    const good = seedId.state === "known" && seedId.value === seedIdOf(want) && files.value.includes("seed.iso");
    return [
      disk,
      good
        ? pass("guest-image.seed", `seed for ${want.user}`, "made from it", SOURCE)
        : fail("guest-image.seed", `seed for ${want.user}`, seedId.state === "known" ? "another seed" : "no seed", "teeup up makes it", SOURCE),
    ];
  },
  plan(want, { files, diskId, seedId }) {
    if (firstUnknown(files, diskId, seedId) || files.state !== "known") return [];
    const steps: Step[] = [];
    if (seedId.state !== "known" || seedId.value !== seedIdOf(want) || !files.value.includes("seed.iso")) {
      steps.push({
        code: "guest-image.seed",
        title: `cloud-init seed for user ${want.user}`,
        why: "it makes the user, its key, and prints the host keys; an existing disk keeps what it was made with",
        disruption: "none",
        actions: [
          { do: "write", path: `${DIR}/user-data`, content: userData(seed(want)), mode: "0600" },
          { do: "write", path: `${DIR}/meta-data`, content: metaData(seed(want)), mode: "0600" },
          { do: "run", argv: ["cloud-localds", VM_FILES.seed, `${DIR}/user-data`, `${DIR}/meta-data`] },
          { do: "write", path: SEED_ID, content: seedIdOf(want) },
        ],
      });
    }
    const image = `${ARTIFACTS}/${want.sha256}.img`;
    if (diskId.state !== "known" || !files.value.includes("disk.qcow2")) {
      steps.push({
        code: "guest-image.disk",
        title: `disk of ${want.diskGiB} GiB from ${want.url.split("/").at(-1)} (${want.sha256.slice(0, 12)})`,
        why: "the confidential VM boots from it",
        disruption: "none",
        actions: [
          { do: "write", path: `${image}.sha256`, content: `${want.sha256}  ${image}.part\n` },
          ...job(
            "guest-image",
            [
              ...(files.value.includes(`${want.sha256}.img`)
                ? []
                : ([
                    { argv: ["curl", "--fail", "--location", "--silent", "--show-error", "--retry", "3", "--output", `${image}.part`, want.url] },
                    { argv: ["sha256sum", "--check", "--status", `${image}.sha256`] },
                    { argv: ["mv", "-f", `${image}.part`, image] },
                  ] as const)),
              { argv: ["qemu-img", "convert", "-O", "qcow2", image, `${VM_FILES.disk}.part`] },
              { argv: ["qemu-img", "resize", `${VM_FILES.disk}.part`, `${want.diskGiB}G`] },
              // The old guest's host keys go with its disk.
              { argv: ["rm", "-f", VM_FILES.console] },
              { argv: ["mv", "-f", `${VM_FILES.disk}.part`, VM_FILES.disk] },
            ],
            3600,
          ),
          { do: "write", path: DISK_ID, content: diskIdOf(want) },
        ],
      });
    } else if (diskId.value !== diskIdOf(want)) {
      const was = parseDiskId(diskId.value);
      const grow = was.sha256 === want.sha256 && was.gib < want.diskGiB;
      steps.push({
        code: grow ? "guest-image.grow" : "guest-image.replace",
        title: grow ? `grow the disk: ${was.gib} → ${want.diskGiB} GiB` : "replace the guest's disk: its data would be lost",
        why: grow ? "the guest's cloud-init grows the file system at the next boot" : "TeeUp never deletes a guest's data by itself: delete the GuestImage resource first",
        disruption: grow ? "guest-stop" : "human",
        actions: grow
          ? [
              { do: "run", argv: ["systemctl", "stop", VM_UNIT], timeoutSeconds: 180, okStatus: [0, 5] },
              { do: "run", argv: ["qemu-img", "resize", VM_FILES.disk, `${want.diskGiB}G`] },
              { do: "write", path: DISK_ID, content: diskIdOf(want) },
            ]
          : [],
      });
    }
    return steps;
  },
  undo: (_want, { diskId, seedId }, context) =>
    diskId.state === "absent" && seedId.state === "absent"
      ? []
      : [
          {
            code: "guest-image.remove",
            title: `remove ${DIR} with the guest's disk`,
            why: "TeeUp made it; the downloaded image stays for the next guest",
            disruption: context.guestRunning ? "guest-stop" : "none",
            actions: [{ do: "run", argv: ["rm", "-rf", DIR] }],
          },
        ],
  show: ({ diskId, seedId }) => ({ disk: showFact(diskId).trim(), seed: showFact(seedId).trim().slice(0, 12) }),
  examples: [],
  covers: [],
});
