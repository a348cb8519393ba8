import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../cache.ts";

/** A made-up package: what apt and dpkg do with it is real, what is in it is one file. */
interface Made {
  readonly name: string;
  readonly version: string;
  readonly depends?: string;
}

/** The made-up packages of the guest's only apt source; no test needs the network. */
export const PACKAGES: readonly Made[] = [
  { name: "lab-tool", version: "1.0-1" },
  { name: "lab-tool", version: "1.1-1" },
  { name: "lab-agent", version: "2.0-1", depends: "lab-tool (>= 1.0-1)" },
  { name: "lab-kernel-tools", version: "3.0-1" },
];

/** Builds the packages into `folder`, beside those that are there, with the index that makes the folder an apt source. */
export async function putPackages(folder: string, work: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  for (const { name, version, depends } of PACKAGES) {
    const tree = join(work, "package");
    rmSync(tree, { recursive: true, force: true });
    mkdirSync(join(tree, "DEBIAN"), { recursive: true });
    mkdirSync(join(tree, "usr/share/lab"), { recursive: true });
    writeFileSync(join(tree, "usr/share/lab", name), `${name} ${version}\n`);
    const control = [
      `Package: ${name}`,
      `Version: ${version}`,
      "Architecture: all",
      "Maintainer: TeeUp's lab <lab@example.invalid>",
      ...(depends === undefined ? [] : [`Depends: ${depends}`]),
      "Description: made-up package of the lab",
      "",
    ].join("\n");
    writeFileSync(join(tree, "DEBIAN/control"), control);
    const file = join(folder, `${name}_${version}_all.deb`);
    await run("dpkg-deb", "--build", "--root-owner-group", tree, file);
  }
  const index: string[] = [];
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".deb"))) {
    const path = join(folder, file);
    const control = await run("dpkg-deb", "--field", path);
    const sum = createHash("sha256").update(readFileSync(path)).digest("hex");
    index.push(`${control}Filename: ./${file}\nSize: ${statSync(path).size}\nSHA256: ${sum}\n`);
  }
  writeFileSync(join(folder, "Packages"), index.join("\n"));
}
