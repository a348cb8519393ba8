import type { Answer } from "../kit/ask.ts";
import { failed, missing, ok } from "../kit/ask.ts";
import type { Example } from "../kit/facet.ts";
import type { GuestImageWant } from "./guest-image.ts";
import { diskIdOf, seedIdOf } from "./guest-image-plan.ts";

const want: GuestImageWant = {
  url: "https://images.example.org/noble.img",
  sha256: "a".repeat(64),
  diskGiB: 100,
  user: "teeup",
  publicKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIexample ops@example.org",
};
const made: Readonly<Record<string, Answer>> = {
  files: ok(`disk.qcow2\nseed.iso\nconsole.log\n${want.sha256}.img\n`),
  diskId: ok(diskIdOf(want)),
  seedId: ok(seedIdOf(want)),
};
const example = (
  name: string,
  answers: Readonly<Record<string, Answer>>,
  findings: readonly string[],
  steps: readonly string[],
  wanted = want,
): Example<GuestImageWant> => ({ name, want: wanted, answers: { ...made, ...answers }, findings, steps });

export const guestImageExamples: readonly Example<GuestImageWant>[] = [
  example("made", {}, [], []),
  example(
    "nothing there",
    { files: ok("", 1), diskId: missing, seedId: missing },
    ["guest-image.disk", "guest-image.seed"],
    ["guest-image.seed", "guest-image.disk"],
  ),
  example(
    "killed while the disk was made",
    { files: ok("seed.iso\ndisk.qcow2.part\n"), diskId: missing },
    ["guest-image.disk"],
    ["guest-image.disk"],
  ),
  example("a larger disk", {}, ["guest-image.size"], ["guest-image.grow"], { ...want, diskGiB: 200 }),
  example("a smaller disk is a person's work", {}, ["guest-image.size"], ["guest-image.replace"], {
    ...want,
    diskGiB: 50,
  }),
  example(
    "another image: the guest's data is not deleted",
    { diskId: ok(`${"b".repeat(64)} 100\n`) },
    ["guest-image.other-image"],
    ["guest-image.replace"],
  ),
  example("another key", { seedId: ok("0\n") }, ["guest-image.seed"], ["guest-image.seed"]),
  example("no answer", { diskId: failed("connection lost") }, ["guest-image.unknown"], []),
];
