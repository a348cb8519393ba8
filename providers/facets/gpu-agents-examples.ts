import type { Answer } from "../kit/ask.ts";
import { failed, missing, ok } from "../kit/ask.ts";
import { example } from "../kit/example.ts";
import type { Example } from "../kit/facet.ts";
import { GPU_AGENTS } from "../kit/gpu-agents.ts";
import { NO_MACHINE } from "../kit/guest.ts";
import type { GpuAgentsWant } from "./gpu-agents.ts";

const want: GpuAgentsWant = { units: ["cloudmonitor.service", "ollama.service"] };
/** `systemctl show` of all of them, of which a system has some. */
const shown = (there: Readonly<Record<string, string>>): Answer =>
  ok(
    GPU_AGENTS.map((name) =>
      there[name] === undefined
        ? `Id=${name}\nLoadState=not-found\nActiveState=inactive\nUnitFileState=\nAfter=\n`
        : `Id=${name}\nLoadState=loaded\n${there[name]}`,
    ).join("\n"),
  );
const RUNS = "ActiveState=active\nUnitFileState=enabled\n";
const AFTER = "After=network.target nvidia-persistenced.service basic.target\n";
const STOPPED = "ActiveState=inactive\nUnitFileState=disabled\n";
const daemon = (active: string) => ok(`ActiveState=${active}\nUnitFileState=enabled\nNeedDaemonReload=no\n`);
const good = {
  agents: shown({ "cloudmonitor.service": RUNS + AFTER }),
  stoppedAgents: missing,
  daemon: daemon("active"),
};

export const gpuAgentsExamples: readonly Example<GpuAgentsWant>[] = [
  example("the cloud's agent runs behind the daemon; the other is not there", want, good),
  example("a system without agents", want, { ...good, agents: shown({}) }),
  example(
    "stopped before the driver came, and the daemon runs now",
    want,
    {
      ...good,
      agents: shown({ "cloudmonitor.service": STOPPED + AFTER }),
      stoppedAgents: ok("cloudmonitor.service\n"),
    },
    ["gpu-agents.stopped"],
    ["gpu-agents.start"],
  ),
  example(
    "stopped, and the daemon does not run yet: nothing may open the GPU",
    want,
    {
      ...good,
      agents: shown({ "cloudmonitor.service": STOPPED + AFTER }),
      stoppedAgents: ok("cloudmonitor.service\n"),
      daemon: daemon("activating"),
    },
    ["gpu-agents.stopped"],
  ),
  example(
    "a unit whose Before= stands under [Install], where systemd does not look (003-70)",
    want,
    { ...good, agents: shown({ "cloudmonitor.service": `${RUNS}After=network.target\n` }) },
    ["gpu-agents.order"],
  ),
  example("an agent that another recipe names is none of this one's", want, {
    ...good,
    agents: shown({ "bcm-agent.service": `${RUNS}After=network.target\n` }),
  }),
  example("the answer is cut off", want, { ...good, agents: ok("Id=cloudmonitor.service\n") }, ["gpu-agents.order"]),
  example("systemd does not answer", want, { ...good, agents: failed("no answer within 20 s") }, ["gpu-agents.order"]),
  example(
    "no guest yet",
    want,
    { agents: NO_MACHINE, stoppedAgents: NO_MACHINE, daemon: NO_MACHINE },
    ["gpu-agents.order"],
    ["gpu-agents.start"],
  ),
];
