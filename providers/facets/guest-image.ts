import { z } from "zod";
import { isThere, ran, text } from "../kit/ask.ts";
import { facet } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { known, showFact, unknown } from "../kit/facts.ts";
import { findingsOf, firstUnknown } from "../kit/findings.ts";
import { ARTIFACTS_DIR } from "../kit/host.ts";
import { VM_ASKS } from "../kit/libvirt.ts";
import { guestImageExamples } from "./guest-image-examples.ts";
import {
  DISK_ID,
  diskIdOf,
  parseDiskId,
  planGuestImage,
  SEED_ID,
  seedIdOf,
  undoGuestImage,
  VM_FOLDER,
} from "./guest-image-plan.ts";

const SOURCE = "seed 001, Create the VM Base Image and Installing the Guest OS; a pinned cloud image replaces the ISO";
const { pass, fail, unsure } = findingsOf("guest-image", SOURCE);

const Want = z.strictObject({
  url: z.url({ protocol: /^https?$/ }).describe("Cloud image."),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/, "64 hex digits")
    .describe("SHA-256 of the image file."),
  diskGiB: z.int().min(8).max(16384).default(100).describe("Size of the guest's disk in GiB (seed 001: 500)."),
  user: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,30}$/)
    .default("teeup")
    .describe("Login name that cloud-init makes."),
  publicKey: z
    .string("missing: set guest.publicKey of the node to one OpenSSH public key line")
    .regex(/^(ssh-|ecdsa-|sk-)\S+ [A-Za-z0-9+/=]+( [^\n]*)?$/, "one OpenSSH public key line")
    .describe("OpenSSH public key of that user."),
});
export type GuestImageWant = z.output<typeof Want>;

export interface GuestImageFacts {
  /** Of the VM's files and the downloaded images, those that are there. */
  readonly files: Fact<readonly string[]>;
  /** What the disk was made from: image and size. */
  readonly diskId: Fact<string>;
  /** Digest of the seed. */
  readonly seedId: Fact<string>;
  /** libvirt has the VM as a domain: then it is libvirt that stops it. */
  readonly domain: Fact<boolean>;
}

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
      argv: ["find", VM_FOLDER, ARTIFACTS_DIR, "-maxdepth", "1", "-type", "f", "-name", "*.*", "-printf", "%f\\n"],
    },
    diskId: { kind: "file", path: DISK_ID },
    seedId: { kind: "file", path: SEED_ID },
    domain: VM_ASKS.domain,
  },
  parse({ files, diskId, seedId, domain }): GuestImageFacts {
    const found = ran(files);
    const ours = (out: string) =>
      out
        .split("\n")
        .filter((f) => /^(disk\.qcow2|seed\.iso|[0-9a-f]{64}\.img)$/.test(f))
        .sort();
    return {
      // find exits 1 while a folder is not there yet; what it did find counts.
      files:
        found.state !== "known"
          ? found
          : found.value.status <= 1
            ? known(ours(found.value.stdout))
            : unknown(`find exit ${found.value.status}`),
      diskId: text(diskId),
      seedId: text(seedId),
      domain: isThere(domain),
    };
  },
  judge(want, { files, diskId, seedId, domain }) {
    const wanted = `a ${want.diskGiB} GiB disk from image ${want.sha256.slice(0, 12)}`;
    const why = firstUnknown(files, diskId, seedId, domain);
    if (why !== undefined || files.state !== "known") {
      return [unsure("unknown", wanted, why ?? "there is no find(1)", `look at ${VM_FOLDER}`)];
    }
    const judgeDisk = () => {
      if (diskId.state !== "known" || !files.value.includes("disk.qcow2")) {
        return fail("disk", wanted, "no disk", "pulumi up makes it");
      }
      if (diskId.value === diskIdOf(want)) return pass("disk", wanted, "recorded as made from it");
      const was = parseDiskId(diskId.value);
      return was.sha256 === want.sha256
        ? fail("size", wanted, `${was.gib} GiB`, "pulumi up grows it, with permit guest-stop; a disk never shrinks")
        : fail(
            "other-image",
            wanted,
            `made from ${was.sha256.slice(0, 12)}`,
            "delete the GuestImage resource, then up",
          );
    };
    const seed = `a seed for user ${want.user}`;
    return [
      judgeDisk(),
      seedId.state === "known" && seedId.value === seedIdOf(want) && files.value.includes("seed.iso")
        ? pass("seed", seed, "made from it")
        : fail("seed", seed, seedId.state === "known" ? "another seed" : "no seed", "pulumi up makes it"),
    ];
  },
  plan: planGuestImage,
  undo: undoGuestImage,
  show: ({ diskId, seedId }) => ({ disk: showFact(diskId).trim(), seed: showFact(seedId).trim().slice(0, 12) }),
  examples: guestImageExamples,
  covers: [
    ...["001-HOST-54", "001-HOST-55", "001-HOST-56", "001-HOST-57", "001-HOST-58", "001-HOST-59", "001-HOST-60"],
    ...["001-HOST-61", "001-HOST-62", "001-HOST-63", "001-HOST-64", "001-HOST-65", "001-HOST-66"],
    ...["004-57", "004-58"],
    ...["004-06", "004-57", "004-58"],
  ],
});
