import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { cp, mkdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { stringify } from "yaml";
import { writeArchive } from "../../../tools/image.ts";
import { cached, run } from "../cache.ts";
import { sweep } from "../sweep.ts";

const HERE = dirname(fileURLToPath(import.meta.url));
const exec = promisify(execFile);

/** Built from Go modules, whose sums go.sum has. */
const PROGRAMS = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl"];
const VERSION =
  "-X k8s.io/component-base/version.gitVersion=v1.35.0 -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=35";
const LDFLAGS = `-s -w ${VERSION}`;
/** Debian's, unpacked and not installed: none of their daemons starts on this machine. */
const PACKAGES = ["etcd-server", "containerd", "runc", "containernetworking-plugins", "busybox-static"];
export const PAUSE = "localhost/pause:1";

/** The programs of a Kubernetes, built and fetched once by the hash of their recipe; minutes for who comes first. */
export async function ensureKubernetes(): Promise<string> {
  const module = join(HERE, "module");
  const hash = createHash("sha256").update(JSON.stringify([PROGRAMS, LDFLAGS, PACKAGES]));
  for (const name of ["go.mod", "go.sum"]) hash.update(readFileSync(join(module, name)));
  return await cached(`kubernetes-${hash.digest("hex").slice(0, 12)}`, async (making) => {
    const env = { ...process.env, CGO_ENABLED: "0", GOGC: "400" };
    await mkdir(join(making, "bin"));
    const argv = ["build", "-trimpath", "-mod=readonly", "-ldflags", LDFLAGS, "-o", join(making, "bin/")];
    const programs = PROGRAMS.map((name) => `k8s.io/kubernetes/cmd/${name}`);
    await exec("go", [...argv, ...programs], { cwd: module, env, maxBuffer: 64 << 20 });
    const debs = join(making, "debs");
    await mkdir(debs);
    await exec("apt-get", ["download", ...PACKAGES], { cwd: debs });
    for (const deb of readdirSync(debs)) await run("dpkg", "-x", join(debs, deb), join(making, "root"));
    rmSync(debs, { recursive: true });
    // What a pod's sandbox runs: it waits, and nothing else.
    const folder = join(making, "pause-root");
    await mkdir(join(folder, "bin"), { recursive: true });
    await cp(join(making, "root/bin/busybox"), join(folder, "bin/busybox"));
    await writeArchive(
      join(making, "pause-image"),
      [folder],
      { Entrypoint: ["/bin/busybox", "sleep", "2147483647"] },
      PAUSE,
      join(making, "pause.tar"),
    );
    for (const name of ["pause-root", "pause-image"]) rmSync(join(making, name), { recursive: true });
  });
}

export interface Cluster {
  /** Folder of this cluster; ends with it. */
  readonly folder: string;
  /** Process that has all its namespaces. */
  readonly pid: number;
  /** Standard output of kubectl; throws what it says otherwise. */
  kubectl(argv: readonly string[], input?: string): Promise<string>;
  stop(): Promise<void>;
}

/** Starts a cluster of one machine with these images. Ends with this process, also when that is killed. */
export async function startCluster(images: readonly string[]): Promise<Cluster> {
  const built = await ensureKubernetes();
  sweep(tmpdir(), "teeup-kubernetes");
  const folder = mkdtempSync(join(tmpdir(), `teeup-kubernetes-${process.pid}-`));
  mkdirSync(join(folder, "images"));
  for (const [n, image] of [join(built, "pause.tar"), ...images].entries())
    await cp(image, join(folder, "images", `${n}.tar`), { mode: 1 });
  await writeConfig(folder, built);
  await run("sh", join(HERE, "certs.sh"), folder);
  const namespaces = ["--mount", "--net", "--pid", "--cgroup", "--uts", "--fork", "--kill-child", "--mount-proc"];
  const log = join(folder, "log");
  const child = spawn(
    "setpriv",
    ["--pdeathsig", "KILL", "unshare", ...namespaces, "bash", join(HERE, "node.sh"), folder, built],
    {
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (text: Buffer) => writeFileSync(log, text, { flag: "a" }));
  try {
    const end = Date.now() + 300_000;
    while (!existsSync(join(folder, "run/up"))) {
      if (child.exitCode !== null || Date.now() > end) throw new Error(`no cluster: ${tailOf(folder)}`);
      await pause(100);
    }
  } catch (error) {
    await stop(child, folder);
    throw error;
  }
  const pid = Number(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").trim().split(" ")[0]);
  return {
    folder,
    pid,
    kubectl: (argv, input = "") => {
      const inside = ["--target", String(pid), "--mount", "--net", "--pid", "--uts", `--wdns=${folder}`];
      const env = {
        PATH: `${built}/bin:${process.env["PATH"]}`,
        KUBECONFIG: join(folder, "pki/admin.kubeconfig"),
        HOME: folder,
      };
      const ran = spawn("nsenter", [...inside, join(built, "bin/kubectl"), ...argv], {
        env,
        stdio: ["pipe", "pipe", "pipe"],
      });
      ran.stdin.end(input);
      return said(ran, `kubectl ${argv.join(" ")}`);
    },
    stop: () => stop(child, folder),
  };
}

async function said(child: ChildProcess, what: string): Promise<string> {
  const [out, err]: [Buffer[], Buffer[]] = [[], []];
  child.stdout?.on("data", (chunk: Buffer) => out.push(chunk));
  child.stderr?.on("data", (chunk: Buffer) => err.push(chunk));
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new Error(`${what} ended with ${code}: ${Buffer.concat(err).toString("utf8")}`);
  return Buffer.concat(out).toString("utf8");
}

/** What the parts of a cluster that does not come up said last. */
function tailOf(folder: string): string {
  const logs = join(folder, "run/log");
  const files = [join(folder, "log"), ...(existsSync(logs) ? readdirSync(logs).map((name) => join(logs, name)) : [])];
  return files
    .filter((path) => existsSync(path))
    .map((path) => `${path}:\n${readFileSync(path, "utf8").split("\n").slice(-8).join("\n")}`)
    .join("\n");
}

async function stop(child: ChildProcess, folder: string): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }
  // The control groups of its pods outlive their processes by a moment.
  for (let tries = 0; tries < 50 && !removeGroups(); tries++) await pause(100);
  rmSync(folder, { recursive: true, force: true });
}

/** Removes what pods left under this process's own control groups; true when nothing of it is left. */
function removeGroups(): boolean {
  let left = false;
  const remove = (path: string) => {
    for (const entry of readdirSync(path, { withFileTypes: true }))
      if (entry.isDirectory()) remove(join(path, entry.name));
    try {
      rmdirSync(path);
    } catch {
      left = true;
    }
  };
  for (const line of readFileSync("/proc/self/cgroup", "utf8").trim().split("\n")) {
    const [, controllers = "", own = "/"] = /^\d+:(?:name=)?([^:]*):(.*)$/.exec(line) ?? [];
    for (const name of ["kubepods", "k8s.io"]) {
      const path = join("/sys/fs/cgroup", controllers, own, name);
      if (existsSync(path)) remove(path);
    }
  }
  return !left;
}

async function writeConfig(folder: string, built: string): Promise<void> {
  const socket = join(folder, "run/ctd/c.sock");
  await writeFile(
    join(folder, "containerd.toml"),
    `version = 2
root = "${folder}/run/ctd/root"
state = "${folder}/run/ctd/state"
[grpc]
  address = "${socket}"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "${PAUSE}"
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${built}/root/usr/lib/cni"
    conf_dir = "${folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "${built}/root/usr/sbin/runc"
        SystemdCgroup = false
`,
  );
  await mkdir(join(folder, "cni"));
  await writeFile(
    join(folder, "cni/10-bridge.conflist"),
    JSON.stringify({
      cniVersion: "1.0.0",
      name: "pods",
      plugins: [
        {
          type: "bridge",
          bridge: "cni0",
          isGateway: true,
          ipMasq: false,
          ipam: {
            type: "host-local",
            dataDir: join(folder, "run/ipam"),
            ranges: [[{ subnet: "10.98.0.0/24" }]],
            routes: [{ dst: "0.0.0.0/0" }],
          },
        },
      ],
    }),
  );
  await writeFile(
    join(folder, "kubelet.yaml"),
    stringify({
      apiVersion: "kubelet.config.k8s.io/v1beta1",
      kind: "KubeletConfiguration",
      address: "10.99.0.1",
      healthzBindAddress: "127.0.0.1",
      authentication: {
        anonymous: { enabled: false },
        webhook: { enabled: true },
        x509: { clientCAFile: join(folder, "pki/ca.crt") },
      },
      authorization: { mode: "Webhook" },
      cgroupDriver: "cgroupfs",
      failCgroupV1: false,
      failSwapOn: false,
      makeIPTablesUtilChains: false,
      containerRuntimeEndpoint: `unix://${socket}`,
      resolvConf: "",
      clusterDomain: "cluster.local",
      imageGCHighThresholdPercent: 100,
      evictionHard: { "imagefs.available": "1%", "nodefs.available": "1%", "memory.available": "100Mi" },
      podLogsDir: join(folder, "run/podlogs"),
      nodeStatusUpdateFrequency: "5s",
    }),
  );
}
