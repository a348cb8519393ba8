import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** A made-up package: what apt and dpkg do with it is real, what is in it is one file. */
interface Made {
  readonly name: string;
  readonly version: string;
  readonly depends?: string;
}

/** The packages of the guest's only apt source; no test needs the network. */
export const PACKAGES: readonly Made[] = [
  { name: "lab-tool", version: "1.0-1" },
  { name: "lab-tool", version: "1.1-1" },
  { name: "lab-agent", version: "2.0-1", depends: "lab-tool (>= 1.0-1)" },
  { name: "lab-kernel-tools", version: "3.0-1" },
];

/** Builds the packages into `folder`, with the index that makes the folder an apt source. */
export function putPackages(folder: string, work: string): void {
  mkdirSync(folder, { recursive: true });
  const index = PACKAGES.map(({ name, version, depends }) => {
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
    const file = `${name}_${version}_all.deb`;
    execFileSync("dpkg-deb", ["--build", "--root-owner-group", tree, join(folder, file)], { stdio: "pipe" });
    const sum = createHash("sha256")
      .update(readFileSync(join(folder, file)))
      .digest("hex");
    return `${control}Filename: ./${file}\nSize: ${statSync(join(folder, file)).size}\nSHA256: ${sum}\n`;
  });
  writeFileSync(join(folder, "Packages"), index.join("\n"));
}
