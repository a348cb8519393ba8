import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { cached, mmdebstrap, run } from "../cache.ts";

/*
 * A system whose packages are rpm's: real rpm, dnf with its plugin for version locks, and dracut, all of Debian's
 * archive, since no distribution of the Red Hat family can be had here. Its kernels and tools are made-up packages that
 * the real rpmbuild makes, in a repository that the real createrepo_c describes. What Debian does not have is grubby and
 * GRUB with boot loader specification: those are the twin's alone.
 */

const SUITE = "bookworm";
const INCLUDE = [
  ...["rpm", "dnf", "dnf-plugins-core", "createrepo-c", "dracut-core", "kmod", "systemd", "udev", "zstd", "cpio"],
  ...["openssh-server", "procps", "binutils"],
];

export const OLD = "5.14.0-427.el9.x86_64";
export const NEW = "5.14.0-503.el9.x86_64";
export const NEWER = "5.14.0-570.el9.x86_64";

const HEAD = (name: string, more: string) =>
  `Name: ${name}\nVersion: %{v}\nRelease: %{r}\nSummary: made-up package of the lab\nLicense: none\nAutoReqProv: no\n${more}\n%description\nMade up.\n`;

/** Each with the versions that the repository has. */
const SPECS: readonly (readonly [string, string, readonly (readonly [string, string])[]])[] = [
  [
    "lab-tool",
    `${HEAD("lab-tool", "BuildArch: noarch")}%install\nmkdir -p %{buildroot}/usr/share/lab\necho %{v} >%{buildroot}/usr/share/lab/tool\n%files\n/usr/share/lab/tool\n`,
    [
      ["1.0", "1"],
      ["1.1", "1"],
    ],
  ],
  [
    "kernel-core",
    `${HEAD("kernel-core", "Provides: installonlypkg(kernel)")}%install
release=%{v}-%{r}.x86_64
mkdir -p %{buildroot}/boot %{buildroot}/lib/modules/$release
echo image >%{buildroot}/boot/vmlinuz-$release
echo CONFIG_VFIO_PCI=m >%{buildroot}/boot/config-$release
cd %{buildroot}/lib/modules/$release
touch modules.builtin modules.order modules.builtin.modinfo modules.dep
%files
/boot/*
/lib/modules/*
`,
    [OLD, NEW, NEWER].map((release) => {
      const [version = "", rest = ""] = release.split("-");
      return [version, rest.replace(/\.x86_64$/, "")] as const;
    }),
  ],
];

/** Files of the system, by path. */
const FILES: Readonly<Record<string, string>> = {
  // What the packages of a real one would own.
  "etc/os-release": 'NAME="Lab"\nID="lab"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9"\n',
  "etc/dnf/vars/releasever": "9\n",
  "etc/yum.repos.d/lab.repo":
    "[lab]\nname=lab\nbaseurl=file:///srv/lab-rpms/RPMS\nenabled=1\ngpgcheck=0\nmetadata_expire=0\n",
  "root/.ssh/authorized_keys": "",
};

/** Runs a program inside, in a mount and process namespace that ends with it. */
const inside = (root: string, ...argv: string[]) =>
  run(
    ...(["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c"] as const),
    'mount --make-rprivate / && mount -t proc proc "$0/proc" && exec chroot "$0" "$@"',
    root,
    ...argv,
  );

async function build(folder: string): Promise<void> {
  const root = join(folder, "root");
  await mmdebstrap(
    ...["--quiet", "--mode=root", "--variant=minbase", "--aptopt=APT::Install-Recommends false"],
    ...["man", "locale", "doc"].map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`),
    ...[`--include=${INCLUDE.join(",")}`, SUITE, root],
  );
  const put = (path: string, text: string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    rmSync(join(root, path), { force: true });
    writeFileSync(join(root, path), text, { mode: path.startsWith("root/") ? 0o600 : 0o644 });
  };
  for (const [path, text] of Object.entries(FILES)) put(path, text);
  // Debian's plugin that keeps a repository of its own of what was downloaded; no Red Hat system has it on.
  rmSync(join(root, "etc/dnf/plugins/local.conf"), { force: true });
  for (const [name, spec, versions] of SPECS) {
    put(`srv/lab-rpms/${name}.spec`, spec);
    for (const [version, release] of versions)
      await inside(
        root,
        ...["rpmbuild", "-bb", "--quiet", "--target", name === "kernel-core" ? "x86_64" : "noarch"],
        ...["--define", "_topdir /srv/lab-rpms", "--define", `v ${version}`, "--define", `r ${release}`],
        `/srv/lab-rpms/${name}.spec`,
      );
  }
  await inside(root, "createrepo_c", "--quiet", "/srv/lab-rpms/RPMS");
}

/** Folder of the system, built once (about a minute) under the lab's cache by the hash of this file. */
export async function ensureRpmRoot(): Promise<string> {
  const hash = createHash("sha256")
    .update(readFileSync(new URL(import.meta.url)))
    .digest("hex");
  return join(await cached(`rpm-${hash.slice(0, 16)}`, build), "root");
}
