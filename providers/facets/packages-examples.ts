import { ok } from "../kit/ask.ts";
import { example } from "../kit/example.ts";

export const PACKAGES_EXAMPLES = [
  example(
    "all there, one as a virtual package",
    { names: ["git", "iasl"], pip: [] },
    {
      os: ok("ID=ubuntu\nID_LIKE=debian\n"),
      dpkg: ok("installed\tgit\t\ninstalled\tacpica-tools\tiasl (= 20200925)\n"),
    },
  ),
  example(
    "one of each missing",
    { names: ["git", "jq"], pip: ["numpy"] },
    { os: ok("ID=debian\n"), dpkg: ok("installed\tgit\t\nconfig-files\tjq\t\n"), pip: ok("") },
    ["packages.missing", "packages.pip-missing"],
    ["packages.install", "packages.pip"],
  ),
  example(
    "what is missing is on hold: apt would refuse it",
    { names: ["git", "jq"], pip: [] },
    { os: ok("ID=debian\n"), dpkg: ok("installed\tgit\t\tinstall\nnot-installed\tjq\t\thold\n") },
    ["packages.missing", "packages.held"],
  ),
  example(
    "Red Hat family: one missing, another one locked",
    { names: ["git", "jq"], pip: [] },
    {
      os: ok('ID="alinux"\nID_LIKE="rhel fedora centos anolis"\n'),
      rpm: ok("git\n"),
      locks: ok("git-0:2.43.5-1.al8.*\n"),
    },
    ["packages.missing"],
    ["packages.install"],
  ),
  example(
    "Red Hat family: what is missing is locked",
    { names: ["jq"], pip: [] },
    { os: ok("ID=fedora\n"), rpm: ok("git\n"), locks: ok("# Added lock on Mon\njq-0:1.6-17.el9.*\n") },
    ["packages.missing", "packages.held"],
  ),
  example(
    "dpkg broken",
    { names: ["git"], pip: [] },
    { os: ok("ID=ubuntu\n"), dpkg: ok("", 2, "dpkg-query: error: parsing file") },
    ["packages.missing", "packages.held"],
  ),
];
