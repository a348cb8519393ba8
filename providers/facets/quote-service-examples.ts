import { failed, missing, ok } from "../kit/ask.ts";
import { example } from "../kit/example.ts";
import { QGS_TEXT } from "../kit/quote-service.ts";

const want = {
  packages: ["sgx-dcap-pccs", "tdx-qgs", "sgx-ra-service"],
  repository: {
    name: "intel-sgx",
    url: "https://download.01.org/intel-sgx/sgx_repo/ubuntu",
    suite: "noble",
    key: { url: "https://download.01.org/intel-sgx/sgx_repo/ubuntu/intel-sgx-deb.key", sha256: "ab".repeat(32) },
  },
};
const show = (state: string, enabled = "enabled") =>
  ok(`ActiveState=${state}\nUnitFileState=${enabled}\nNeedDaemonReload=no\n`);
const line = (text: string) => `[04-06-2024 03:05:54] ${text}\n`;
const PASSED = line("INFO: Registration Flow - PLATFORM_ESTABLISHMENT or TCB_RECOVERY passed successfully.");
const FAILED = line("ERROR: Registration Flow - Registration Server returned an error (Error 400).");
const FINISHED = line("INFO: Finished Registration Agent Flow.");
const KEY = "/etc/apt/keyrings/teeup-quote-service.asc";
const good = {
  key: ok(`${"ab".repeat(32)}  ${KEY}\n`),
  packages: ok(want.packages.map((name) => `installed\t${name}\t\n`).join("")),
  devices: ok("/dev/sgx_enclave character special file\n/dev/sgx_provision character special file\n"),
  pccs: show("active"),
  qgs: show("active"),
  qgsFile: ok(QGS_TEXT),
  socket: ok(""),
  registration: ok(PASSED + FINISHED),
  apiKey: ok("1\n"),
};
const gone = (path: string) => ok("", 2, `grep: ${path}: No such file or directory\n`);
const bare = {
  ...good,
  key: ok("", 1, `sha256sum: ${KEY}: No such file or directory\n`),
  packages: ok(""),
  pccs: show("inactive"),
  qgs: show("inactive"),
  qgsFile: missing,
  socket: ok("", 1),
  registration: gone("/var/log/mpa_registration.log"),
  apiKey: gone("/opt/intel/sgx-dcap-pccs/config/default.json"),
};
const code = (...codes: string[]) => codes.map((c) => `quote-service.${c}`);

export const QUOTE_SERVICE_EXAMPLES = [
  example("quotes can be made", want, good),
  example("the distribution's own packages", { packages: want.packages }, { ...good, key: bare.key }),
  example(
    "its key was fetched, and a run was killed before the installation",
    want,
    { ...bare, key: good.key },
    code("packages", "pccs", "qgs", "socket", "registration", "api-key"),
    code("install"),
  ),
  example(
    "somebody put another key in its place",
    want,
    { ...good, key: ok(`${"cd".repeat(32)}  ${KEY}\n`) },
    code("key"),
    code("key"),
  ),
  example("its key cannot be read", want, { ...good, key: failed("connection lost") }, code("key")),
  example(
    "nothing installed",
    want,
    bare,
    code("key", "packages", "pccs", "qgs", "socket", "registration", "api-key"),
    code("key", "install"),
  ),
  example(
    "QGS on vsock",
    want,
    { ...good, qgsFile: ok("port = 4050\nnumber_threads = 4\n") },
    code("socket"),
    code("start"),
  ),
  example(
    "its file was written, and a run was killed before QGS read it",
    want,
    { ...good, socket: ok("", 1) },
    code("socket"),
    code("start"),
  ),
  example(
    "QGS does not start with the host",
    want,
    { ...good, qgs: show("active", "disabled") },
    code("qgs"),
    code("start"),
  ),
  example("QGS failed", want, { ...good, qgs: show("failed") }, code("qgs"), code("start")),
  example(
    "SGX off in the BIOS",
    want,
    { ...good, devices: ok("", 1, "stat: cannot statx '/dev/sgx_enclave': No such file or directory\n") },
    code("sgx"),
  ),
  example("not registered yet", want, { ...good, registration: ok("", 1) }, code("registration"), code("register")),
  example(
    "the registration failed: the BIOS must make new keys",
    want,
    { ...good, registration: ok(FAILED + FINISHED) },
    code("registration-failed"),
  ),
  example(
    "the agent ended and says neither: it would say the same again",
    want,
    { ...good, registration: ok(FINISHED) },
    code("registration-unclear"),
  ),
  example(
    "its packages are missing, what an earlier run of the agent said stands",
    want,
    { ...good, packages: ok(""), registration: ok(PASSED + FINISHED) },
    code("packages"),
    code("install"),
  ),
  example("registered after an error", want, { ...good, registration: ok(FAILED + FINISHED + PASSED + FINISHED) }),
  example("no key of Intel's provisioning service", want, { ...good, apiKey: ok("0\n", 1) }, code("api-key")),
  example("systemctl does not answer", want, { ...good, qgs: failed("no answer within 20 s") }, code("qgs")),
];
