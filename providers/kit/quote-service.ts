import { z } from "zod";
import type { Action, JobLine } from "./action.ts";
import type { Answers, Asks } from "./ask.ts";
import { collected, ran, text } from "./ask.ts";
import { Sha256Schema } from "./downloads.ts";
import type { Fact } from "./facts.ts";
import { absent, flatMapFact, known, mapFact, unknown } from "./facts.ts";
import { DPKG_PACKAGES, download } from "./host.ts";
import { parseDpkgNames, parseSha256sum } from "./parse-packages.ts";
import { parseSystemctlShow, SHOWN } from "./parse-systemctl.ts";

/** What a host needs so that its TDs get quotes. */
export const QuoteServiceSchema = z.strictObject({
  packages: z
    .array(z.string().regex(/^[a-z0-9][a-z0-9+.-]*$/))
    .min(1)
    .describe("Packages of PCCS, QGS and the registration of the platform."),
  repository: z
    .strictObject({
      name: z.string().regex(/^[a-z0-9-]+$/),
      url: z.url({ protocol: /^https$/ }),
      suite: z.string().regex(/^[a-z0-9.-]+$/),
      key: z.strictObject({ url: z.url({ protocol: /^https$/ }), sha256: Sha256Schema }),
    })
    .optional()
    .describe("Archive that has them, with its key as armoured text; default: the distribution's own."),
});
export type QuoteServiceWant = z.output<typeof QuoteServiceSchema>;
type Repository = NonNullable<QuoteServiceWant["repository"]>;

export const UNITS = ["pccs.service", "qgsd.service"] as const;
export const REGISTRATION = "mpa_registration_tool.service";
export const REGISTRATION_LOG = "/var/log/mpa_registration.log";
/** To be waited for only while the log has no such line: it is never emptied. */
export const AGENT_ENDS = {
  do: "wait",
  argv: ["grep", "-q", "Finished Registration Agent Flow", REGISTRATION_LOG],
  timeoutSeconds: 120,
  what: "the end of the platform's registration",
} as const satisfies Action;
/** Where QEMU and libvirt look for the quoting service; it listens there when its file names no port. */
export const QGS_SOCKET = "/run/tdx-qgs/qgs.socket";
export const QGS_FILE = "/etc/qgs.conf";
export const QGS_TEXT = `# Written by TeeUp; a change here is undone by the next up. Without a port it listens at ${QGS_SOCKET}.
number_threads = 4
`;
export const DEVICES = ["/dev/sgx_enclave", "/dev/sgx_provision"] as const;
const PCCS_FILE = "/opt/intel/sgx-dcap-pccs/config/default.json";

export const sourcesFile = ({ name }: Repository): string => `/etc/apt/sources.list.d/teeup-${name}.sources`;
/** Where apt finds the archive's key; one place, whatever the archive's name, so that it can be asked for. */
const KEY_FILE = "/etc/apt/keyrings/teeup-quote-service.asc";
export const sourcesText = (repository: Repository): string =>
  [
    "Types: deb",
    `URIs: ${repository.url}`,
    `Suites: ${repository.suite}`,
    "Components: main",
    "Architectures: amd64",
    `Signed-By: ${KEY_FILE}`,
    "",
  ].join("\n");

/** Fetches the archive's key, verified, and puts it where apt looks. */
export function keyLines(repository: Repository): { checks: ReturnType<typeof download>["checks"]; lines: JobLine[] } {
  const { file, checks, lines } = download(repository.key.url, repository.key.sha256);
  return { checks, lines: [...lines, { argv: ["install", "-D", "-m", "0644", file, KEY_FILE] }] };
}

export interface QuoteServiceFacts {
  readonly packages: Fact<readonly string[]>;
  /** SHA-256 of the archive's key where apt looks for it. */
  readonly key: Fact<string>;
  /** SGX devices that are there. */
  readonly devices: Fact<readonly string[]>;
  /** `active`, `inactive`, `failed`, …; `active, not enabled` when it does not start with the host. */
  readonly pccs: Fact<string>;
  readonly qgs: Fact<string>;
  readonly qgsFile: Fact<string>;
  /** Something is at QGS's socket: the file alone does not say that QGS has read it. */
  readonly socket: Fact<boolean>;
  /** `unclear`: the agent ended and says neither that it passed nor an error. `open`: it has not ended yet. */
  readonly registration: Fact<"registered" | "failed" | "unclear" | "open">;
  /** Last error of the registration. */
  readonly registrationError: string | null;
  /** PCCS has a key of Intel's provisioning service; which one is never read. */
  readonly apiKey: Fact<boolean>;
}

export const QUOTE_SERVICE_ASKS = {
  packages: DPKG_PACKAGES,
  key: { kind: "argv", argv: ["sha256sum", KEY_FILE] },
  devices: { kind: "argv", argv: ["stat", "-c", "%n %F", ...DEVICES] },
  pccs: { kind: "argv", argv: ["systemctl", "show", UNITS[0], ...SHOWN] },
  qgs: { kind: "argv", argv: ["systemctl", "show", UNITS[1], ...SHOWN] },
  qgsFile: { kind: "file", path: QGS_FILE },
  socket: { kind: "argv", argv: ["test", "-e", QGS_SOCKET] },
  registration: { kind: "argv", argv: ["grep", "-E", "(ERROR|passed successfully|Finished)", REGISTRATION_LOG] },
  // Only whether there is one: the key itself is a secret.
  apiKey: { kind: "argv", argv: ["grep", "-cE", '"ApiKey" *: *"[^"]+"', PCCS_FILE] },
} as const satisfies Asks;

export function parseQuoteService(a: Answers<typeof QUOTE_SERVICE_ASKS>): QuoteServiceFacts {
  const log = collected(a.registration);
  return {
    packages: mapFact(text(a.packages), parseDpkgNames),
    key: flatMapFact(collected(a.key), (stdout) => {
      const sum = parseSha256sum(stdout)[KEY_FILE];
      return sum === undefined ? absent : known(sum);
    }),
    devices: mapFact(collected(a.devices), (stdout) =>
      DEVICES.filter((path) => stdout.split("\n").includes(`${path} character special file`)),
    ),
    pccs: unitOf(text(a.pccs)),
    qgs: unitOf(text(a.qgs)),
    qgsFile: text(a.qgsFile),
    socket: flatMapFact(ran(a.socket), (r) => (r.status <= 1 ? known(r.status === 0) : unknown(`exit ${r.status}`))),
    registration: mapFact(log, (stdout) => registrationOf(stdout)),
    registrationError: log.state === "known" ? (/^.*\bERROR\b.*$/m.exec(log.value)?.[0].trim() ?? null) : null,
    apiKey: flatMapFact(ran(a.apiKey), ({ status, stderr }) =>
      status <= 1
        ? known(status === 0)
        : /No such file/.test(stderr)
          ? known(false)
          : unknown(stderr.trim() || `exit ${status}`),
    ),
  };
}

function unitOf(shown: Fact<string>): Fact<string> {
  const { active, enabled } = parseSystemctlShow(shown);
  return flatMapFact(active, (state) =>
    state === "active" ? mapFact(enabled, (on) => (on ? state : "active, not enabled")) : active,
  );
}

/** The last run of the agent decides. */
function registrationOf(log: string): "registered" | "failed" | "unclear" | "open" {
  const lines = log.split("\n").filter((line) => /ERROR|passed successfully/.test(line));
  const last = lines.at(-1);
  if (last === undefined) return /\bFinished\b/.test(log) ? "unclear" : "open";
  return /passed successfully/.test(last) ? "registered" : "failed";
}

/** A port line means that it listens on vsock instead of the socket. */
export const listensAtSocket = (file: string): boolean => !/^\s*port\s*=/m.test(file);

/** By its file and by the socket itself. */
export const listening = ({ qgsFile, socket }: QuoteServiceFacts) =>
  flatMapFact(qgsFile, (file) =>
    listensAtSocket(file)
      ? mapFact(socket, (is) => (is ? "there" : "no port is set, but there is no socket"))
      : known("a port is set: it listens on vsock"),
  );
