import type { Answers, Asks } from "./ask.ts";
import { collected, text } from "./ask.ts";
import type { Fact } from "./facts.ts";
import { absent, flatMapFact, known, mapFact, unknown } from "./facts.ts";
import { GRUB_CFG, GRUB_ENVIRONMENT } from "./host.ts";
import type { GrubMenu } from "./parse-grub.ts";
import { parseGrubCfg, parseSavedEntry } from "./parse-grub.ts";
import { parseGrubby } from "./parse-grubby.ts";

/**
 * GRUB's menu in both families. Debian's is written into grub.cfg by update-grub; the Red Hat family keeps one file per
 * kernel (boot loader specification) and changes them with grubby.
 */
export interface BootMenu extends GrubMenu {
  /** What changes it. */
  readonly by: "update-grub" | "grubby";
}

export const BOOT_MENU_ASKS = {
  menu: GRUB_CFG,
  grubby: { kind: "argv", argv: ["grubby", "--info=ALL"], maxBytes: 262_144 },
  /** The first is grub.cfg on UEFI systems of release 8, whose path has the distribution's name in it. */
  grub2Default: {
    kind: "argv",
    argv: ["grep", "-hE", "^[[:space:]]*set default=", "/etc/grub2-efi.cfg", "/etc/grub2.cfg", "/boot/grub2/grub.cfg"],
  },
} as const satisfies Asks;

export const GRUB_ENVIRONMENT_ASKS = {
  saved: GRUB_ENVIRONMENT,
  saved2: { kind: "argv", argv: ["grub2-editenv", "list"] },
} as const satisfies Asks;

/** Absent when the machine has neither /boot/grub/grub.cfg nor grubby. */
export function parseBootMenu(answers: Answers<typeof BOOT_MENU_ASKS>): Fact<BootMenu> {
  const menu = text(answers.menu);
  if (menu.state !== "absent") return mapFact(menu, (t) => ({ ...parseGrubCfg(t), by: "update-grub" }));
  return flatMapFact(text(answers.grubby), (info) => {
    const { entries, pattern, everywhere, anywhere } = parseGrubby(info);
    if (pattern === "") return unknown("grubby --info=ALL shows no entry with an id: not boot loader specification");
    return flatMapFact(collected(answers.grub2Default), (lines) =>
      known({ entries, pattern, everywhere, anywhere, savedDefault: takesSaved(lines), by: "grubby" }),
    );
  });
}

/** grub.cfg has one such line for the one-shot entry, and one for every other start: that one must be the saved entry. */
function takesSaved(text: string): boolean {
  const defaults = text.split("\n").flatMap((line) => /set default="([^"]*)"/.exec(line)?.[1] ?? []);
  const usual = defaults.filter((d) => d !== `$\{next_entry}`);
  return usual.length > 0 && usual.every((d) => d === `$\{saved_entry}`);
}

/** The saved entry, "" when none is saved; absent when there is no GRUB that could tell. */
export function parseSaved(answers: Answers<typeof GRUB_ENVIRONMENT_ASKS>): Fact<string> {
  const [debian, redHat] = [text(answers.saved), text(answers.saved2)];
  const environment = debian.state === "absent" ? redHat : debian;
  return environment.state === "absent" ? absent : mapFact(environment, parseSavedEntry);
}
