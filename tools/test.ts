/** `npm test`: makes sure that the Debian packages that the tests use are there, then runs jest with the same arguments. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";

/** A program of each package; the tests run the real sshd, sudo and flock on loopback. */
const NEEDED = {
  "openssh-server": "/usr/sbin/sshd",
  "openssh-client": "/usr/bin/ssh-keygen",
  sudo: "/usr/bin/sudo",
  "util-linux": "/usr/bin/flock",
  procps: "/usr/bin/pgrep",
} as const;

const lacking = () =>
  Object.entries(NEEDED)
    .filter(([, file]) => !existsSync(file))
    .map(([name]) => name);

function prepare(): string | undefined {
  const names = lacking();
  if (names.length === 0) return undefined;
  const advice = `the tests need root and the Debian packages ${names.join(", ")}: apt-get install ${names.join(" ")}`;
  if (process.getuid?.() !== 0 || !existsSync("/usr/bin/apt-get")) return advice;
  process.stderr.write(`Installing ${names.join(", ")} for the tests (half a minute).\n`);
  // No daemon of these packages may start here: the tests start their own.
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
  const apt = (...args: string[]) =>
    spawnSync("apt-get", args, { stdio: ["ignore", "ignore", "inherit"], env }).status === 0;
  const installed = () => apt("install", "-y", "-q", "--no-install-recommends", ...names);
  if (!(installed() || (apt("update", "-q") && installed())) || lacking().length > 0) return advice;
  return undefined;
}

const fault = prepare();
if (fault !== undefined) {
  process.stderr.write(`${fault}\n`);
  process.exitCode = 1;
} else {
  const jest = ["--experimental-vm-modules", "--disable-warning=ExperimentalWarning", "node_modules/jest/bin/jest.js"];
  // Assertions compare plain text; a CI variable alone would turn colours on.
  const env = { ...process.env, NO_COLOR: "1" };
  const argv = [...jest, ...process.argv.slice(2)];
  process.exitCode = spawnSync(process.execPath, argv, { stdio: "inherit", env }).status ?? 1;
}
