import { createHash } from "node:crypto";
import type { JobLine } from "../kit/action.ts";
import { VM_DIR, VM_NAME } from "../kit/argv.ts";
import { metaData, userData } from "../kit/cloud-init.ts";
import type { Step } from "../kit/facet.ts";
import { firstUnknown, isTrue } from "../kit/findings.ts";
import { ARTIFACTS_DIR, job } from "../kit/host.ts";
import { stopVm } from "../kit/libvirt.ts";
import { VM_FILES } from "../kit/qemu-args.ts";
import type { GuestImageFacts, GuestImageWant } from "./guest-image.ts";

export const VM_FOLDER = `${VM_DIR}/${VM_NAME}`;
/** Both are written last, so that what they say has happened. */
export const DISK_ID = `${VM_FOLDER}/disk.id`;
export const SEED_ID = `${VM_FOLDER}/seed.id`;

const seedOf = (want: GuestImageWant) => ({
  // One disk is one cloud-init instance: a new key in the seed reaches the guest only with a new disk.
  instanceId: `teeup-${want.sha256.slice(0, 16)}`,
  hostname: VM_NAME,
  user: want.user,
  publicKey: want.publicKey.trim(),
});

export function seedIdOf(want: GuestImageWant): string {
  const seed = seedOf(want);
  return `${createHash("sha256").update(userData(seed)).update(metaData(seed)).digest("hex")}\n`;
}

export const diskIdOf = (want: GuestImageWant): string => `${want.sha256} ${want.diskGiB}\n`;

export function parseDiskId(id: string): { readonly sha256: string; readonly gib: number } {
  const [sha256 = "", gib] = id.trim().split(" ");
  return { sha256, gib: Number(gib) };
}

function makeSeed(want: GuestImageWant): Step {
  const seed = seedOf(want);
  return {
    code: "guest-image.seed",
    title: `cloud-init seed for user ${want.user}`,
    why: "it makes the user and prints the host keys; a disk that was booted already keeps what it was made with",
    disruption: "none",
    actions: [
      { do: "write", path: `${VM_FOLDER}/user-data`, content: userData(seed), mode: "0600" },
      { do: "write", path: `${VM_FOLDER}/meta-data`, content: metaData(seed), mode: "0600" },
      { do: "run", argv: ["cloud-localds", VM_FILES.seed, `${VM_FOLDER}/user-data`, `${VM_FOLDER}/meta-data`] },
      { do: "write", path: SEED_ID, content: seedIdOf(want) },
    ],
  };
}

function makeDisk(want: GuestImageWant, downloaded: boolean): Step {
  const image = `${ARTIFACTS_DIR}/${want.sha256}.img`;
  const part = `${VM_FILES.disk}.part`;
  const curl = ["curl", "--fail", "--location", "--silent", "--show-error", "--retry", "3"] as const;
  const download: readonly JobLine[] = [
    { argv: [...curl, "--output", `${image}.part`, want.url] },
    { argv: ["sha256sum", "--check", "--strict", `${image}.sha256`] },
    { argv: ["mv", "-f", `${image}.part`, image] },
  ];
  return {
    code: "guest-image.disk",
    title: `disk of ${want.diskGiB} GiB from ${want.url.split("/").at(-1)} (sha256 ${want.sha256.slice(0, 12)})`,
    why: "the confidential VM boots from it",
    disruption: "none",
    actions: [
      { do: "write", path: `${image}.sha256`, content: `${want.sha256}  ${image}.part\n` },
      { do: "write", path: `${DISK_ID}.part`, content: diskIdOf(want) },
      ...job(
        "guest-image",
        [
          ...(downloaded ? [] : download),
          { argv: ["mkdir", "-p", VM_FOLDER] },
          { argv: ["qemu-img", "convert", "-O", "qcow2", image, part] },
          { argv: ["qemu-img", "resize", part, `${want.diskGiB}G`] },
          // The host keys of the guest that was on an earlier disk go with it.
          { argv: ["rm", "-f", VM_FILES.console] },
          { argv: ["mv", "-f", part, VM_FILES.disk] },
          // In the job, so that a run that dies meanwhile leaves no disk that nobody knows.
          { argv: ["mv", "-f", `${DISK_ID}.part`, DISK_ID] },
        ],
        3600,
      ),
    ],
  };
}

function changeDisk(
  want: GuestImageWant,
  was: { readonly sha256: string; readonly gib: number },
  domain: boolean,
): Step {
  if (was.sha256 === want.sha256 && was.gib < want.diskGiB) {
    return {
      code: "guest-image.grow",
      title: `grow the guest's disk: ${was.gib} → ${want.diskGiB} GiB`,
      why: "the VM must be off for it; its file system grows at the next boot",
      disruption: "guest-stop",
      actions: [
        ...stopVm(domain ? "libvirt" : "qemu"),
        { do: "run", argv: ["qemu-img", "resize", VM_FILES.disk, `${want.diskGiB}G`] },
        { do: "write", path: DISK_ID, content: diskIdOf(want) },
      ],
    };
  }
  return {
    code: "guest-image.replace",
    title: "replace the guest's disk: all data on it would be lost",
    why: "TeeUp never deletes a guest's data by itself: delete the GuestImage resource first, or ask for what is there",
    disruption: "human",
    actions: [],
  };
}

export function planGuestImage(want: GuestImageWant, facts: GuestImageFacts): readonly Step[] {
  const { files, diskId, seedId, domain } = facts;
  if (firstUnknown(files, diskId, seedId, domain) !== undefined || files.state !== "known") return [];
  const has = (name: string) => files.value.includes(name);
  const seeded = seedId.state === "known" && seedId.value === seedIdOf(want) && has("seed.iso");
  const disk = diskId.state === "known" && has("disk.qcow2") ? diskId.value : undefined;
  return [
    ...(seeded ? [] : [makeSeed(want)]),
    ...(disk === undefined ? [makeDisk(want, has(`${want.sha256}.img`))] : []),
    ...(disk === undefined || disk === diskIdOf(want) ? [] : [changeDisk(want, parseDiskId(disk), isTrue(domain))]),
  ];
}

/** The downloaded image stays for the next guest. */
export function undoGuestImage(_want: GuestImageWant, facts: GuestImageFacts): readonly Step[] {
  const { files, diskId, seedId } = facts;
  if (firstUnknown(files, diskId, seedId) !== undefined || files.state !== "known") return [];
  const ours = files.value.some((f) => f === "disk.qcow2" || f === "seed.iso");
  if (!ours && diskId.state === "absent" && seedId.state === "absent") return [];
  return [
    {
      code: "guest-image.remove",
      title: `remove ${VM_FOLDER} with the guest's disk: its data are lost`,
      why: "TeeUp made it",
      // Data that are gone are worse than a stop, whether the VM runs or not.
      disruption: "guest-stop",
      actions: [{ do: "run", argv: ["rm", "-rf", VM_FOLDER] }],
    },
  ];
}
