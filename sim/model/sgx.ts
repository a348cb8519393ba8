import type { FileNode } from "./files.ts";
import { file, program } from "./files.ts";
import type { Package } from "./packages.ts";

/** Intel's archive, which its packages come from: only where a source names it. */
const INTEL = "download.01.org";
const PCCS = "/opt/intel/sgx-dcap-pccs";
export const QGS = "/opt/intel/tdx-qgs/qgs";
export const QGS_SOCKET = "/run/tdx-qgs/qgs.socket";
const MPA = "/opt/intel/sgx-ra-service/mpa_registration_tool";
export const MPA_LOG = "/var/log/mpa_registration.log";

const unit = (description: string, exec: string): FileNode =>
  file(
    `[Unit]\nDescription=${description}\nAfter=network.target\n\n[Service]\nExecStart=${exec}\n\n[Install]\nWantedBy=multi-user.target\n`,
  );

/** What makes quotes of a TD's report, as canonical/tdx sets it up; versions are made up. */
export const sgxPackages = (): Package[] => [
  { name: "nodejs", version: "20.19.4+dfsg-1", files: { "/usr/bin/node": program("node", "v20.19.4") } },
  {
    name: "sgx-dcap-pccs",
    version: "1.23.100.0-noble1",
    from: INTEL,
    depends: ["nodejs"],
    files: {
      // Nobody can take the key along: a person must ask Intel for one.
      [`${PCCS}/config/default.json`]: file(
        '{\n    "HTTPS_PORT" : 8081,\n    "ApiKey" : "",\n    "RefreshSchedule": "0 0 1 * *"\n}\n',
        "0600",
      ),
      "/usr/lib/systemd/system/pccs.service": unit(
        "Provisioning Certificate Caching Service (PCCS)",
        `/usr/bin/node -r esm ${PCCS}/pccs_server.js`,
      ),
    },
    enables: ["pccs.service"],
  },
  {
    name: "tdx-qgs",
    version: "1.23.100.0-noble1",
    from: INTEL,
    depends: ["libsgx-dcap-default-qpl"],
    files: {
      [QGS]: program("qgs"),
      "/etc/qgs.conf": file("port = 4050\nnumber_threads = 4\n"),
      "/usr/lib/systemd/system/qgsd.service": unit("Intel(R) TD Quoting Generation Service", `${QGS} --no-daemon`),
    },
    enables: ["qgsd.service"],
  },
  {
    name: "libsgx-dcap-default-qpl",
    version: "1.23.100.0-noble1",
    from: INTEL,
    files: {
      "/etc/sgx_default_qcnl.conf": file('{\n  "pccs_url": "https://localhost:8081/sgx/certification/v4/"\n}\n'),
    },
  },
  {
    name: "sgx-ra-service",
    version: "1.23.100.0-noble1",
    from: INTEL,
    files: {
      [MPA]: program("mpa_registration_tool"),
      "/usr/lib/systemd/system/mpa_registration_tool.service": unit("Intel MPA Registration", MPA),
    },
    enables: ["mpa_registration_tool.service"],
  },
];
