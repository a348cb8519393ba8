import type { FileNode } from "./files.ts";

/** Text that stands for the content of a big binary: disk images, archives, packages, firmware. */

export interface Disk {
  /** Differs for every image that was made; resizes keep it. */
  readonly id: string;
  /** Which system is on it: `noble`, `jammy`, `noble+kernel=6.11.0-29-generic`, `blank`. */
  readonly image: string;
  readonly format: "qcow2" | "raw";
  /** Bytes a guest sees. */
  readonly virtual: number;
  readonly backing?: string;
}

const DISK = "disk-image ";
const ISO = "iso9660 ";
const ARCHIVE = "archive ";
const DEB = "debian-package ";

export const diskText = (disk: Disk): string => `${DISK}${JSON.stringify(disk)}\n`;
export const parseDisk = (text: string | undefined): Disk | undefined =>
  text?.startsWith(DISK) === true ? (JSON.parse(text.slice(DISK.length)) as Disk) : undefined;

export const isoText = (label: string, files: Readonly<Record<string, string>>): string =>
  `${ISO}${JSON.stringify({ label, files })}\n`;

/** Files of a cloud-init seed image; undefined for anything else. */
export function readIso(text: string | undefined): Readonly<Record<string, string>> | undefined {
  if (text?.startsWith(ISO) !== true) return undefined;
  const { label, files } = JSON.parse(text.slice(ISO.length)) as { label: string; files: Record<string, string> };
  return /^cidata$/i.test(label) ? files : undefined;
}

/** A zip or tar file: its members by path. */
export const archive = (members: Readonly<Record<string, FileNode>>): string =>
  `${ARCHIVE}${JSON.stringify(members)}\n`;
export const readArchive = (text: string | undefined): Readonly<Record<string, FileNode>> | undefined =>
  text?.startsWith(ARCHIVE) === true ? (JSON.parse(text.slice(ARCHIVE.length)) as Record<string, FileNode>) : undefined;

/** A .deb file: the package it holds. */
export const debText = (pkg: object): string => `${DEB}${JSON.stringify(pkg)}\n`;
export const readDeb = (text: string | undefined): object | undefined =>
  text?.startsWith(DEB) === true ? (JSON.parse(text.slice(DEB.length)) as object) : undefined;

/** SEV firmware `major.minor.build`. */
export interface SevFirmware {
  readonly major: number;
  readonly minor: number;
  readonly build: number;
}

export const sevFirmwareFile = (fw: SevFirmware): string => `sev-firmware ${fw.major}.${fw.minor}.${fw.build}\n`;

export function parseSevFirmware(text: string | undefined): SevFirmware | undefined {
  const match = /^sev-firmware (\d+)\.(\d+)\.(\d+)\n?$/.exec(text ?? "");
  return match === null ? undefined : { major: Number(match[1]), minor: Number(match[2]), build: Number(match[3]) };
}

/** What a QEMU binary says of itself. */
export const qemuData = (version: string, snp: boolean, vfio: boolean, tdx = false): string =>
  `qemu version=${version} snp=${snp ? 1 : 0} snp-vfio=${vfio ? 1 : 0}${tdx ? " tdx=1" : ""}`;
export const ovmfData = (version: string, snp: boolean, tdx = false): string =>
  `ovmf version=${version} sev-snp=${snp ? 1 : 0}${tdx ? " tdx=1" : ""}\n`;
