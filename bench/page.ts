import type { PhrasingContent, RootContent } from "mdast";
import { bullets, code, heading, paragraph, render, table, text } from "../cli/formats/markdown.ts";
import { HOSTS } from "./drift20.ts";
import { type Figures, type Promised, PYINFRA_TIMES } from "./figures.ts";
import { round } from "./timing.ts";

/** Where and how the figures were measured. */
export interface Conditions {
  /** ISO 8601, the day. */
  readonly day: string;
  readonly cpus: number;
  readonly node: string;
  readonly pulumi: string;
  /** Runs of each side. */
  readonly runs: number;
  /** Of the machine when the run began: processes that wanted a processor, over one and fifteen minutes. */
  readonly load: readonly [one: number, fifteen: number];
  /** All parts are of this run; otherwise some are of earlier ones. */
  readonly together: boolean;
}

const cells = (...values: readonly (string | number)[]): PhrasingContent[][] => values.map((v) => [text(String(v))]);

/** docs/benchmark.md. */
export function benchmarkPage(figures: Figures, kept: readonly Promised[], at: Conditions): string {
  const { drift20, fleet = [], preview, accuracy, details } = figures;
  const missed = kept.filter(({ holds }) => !holds).length;
  const children: RootContent[] = [
    paragraph(
      code("npm run bench"),
      text(
        ` writes this page; with -- --json it prints the figures as JSON. Last run: ${at.day}, ${at.cpus} processors, Node ${at.node}, Pulumi ${at.pulumi}; load of the machine as it began ${at.load[0]}, over the quarter of an hour before ${at.load[1]}. Medians of ${at.runs}, the sides of each comparison in turns; sizes above 1000 nodes once.${at.together ? "" : " Some parts are of earlier runs."} ${missed === 0 ? "Every promise is kept." : `${missed} of ${kept.length} promises are not kept.`}`,
      ),
    ),
    heading(2, text("Promises")),
    table(
      ["", "measured", "promised", ""],
      kept.map(({ what, measured, promised, holds }) => cells(what, measured, promised, holds ? "kept" : "NOT KEPT")),
    ),
  ];
  if (drift20 !== undefined)
    children.push(
      heading(2, text(`${HOSTS} hosts`)),
      table(
        ["side", "seconds"],
        [
          cells("teeup drift, all host facets", drift20.teeup),
          cells("ansible-playbook --check, 12 tasks, 16 forks, pipelining", drift20.ansible),
          cells("pyinfra --dry, 9 facts and 3 files", drift20.pyinfra),
          cells("bare ssh2, one exec of uname -r each", drift20.bareSsh2),
          cells("pulumi refresh of a stack with one resource that does nothing", drift20.emptyRefresh),
        ],
      ),
      paragraph(
        text(
          "Every side asks dpkg for holds: apt-mark showhold takes most of a second of a host's processor, whoever asks it. Real sshd, sh and dpkg of a Debian in namespaces of the same machine, so the hosts' work is on its processors too. They are bare: to every side they differ from what is wanted in all there is. They have no BMC; BIOS settings are judged by what the system shows. The peers are installed from PyPI by the benchmark, in the versions of bench/peers/requirements.txt.",
        ),
      ),
      ...(drift20.emptyRefresh * PYINFRA_TIMES <= drift20.pyinfra
        ? []
        : [
            paragraph(
              text(
                `No scan through Pulumi's engine can be ${PYINFRA_TIMES} times faster than pyinfra here: the refresh of an empty stack alone takes ${round(drift20.emptyRefresh / drift20.pyinfra)} of its time.`,
              ),
            ),
          ]),
    );
  if (fleet.length > 0)
    children.push(
      heading(2, text("Fleets")),
      table(
        ["nodes", "teeup drift, seconds", "floor, seconds", "memory, MiB"],
        fleet.map(({ nodes, seconds, floorSeconds, rssMiB }) => cells(nodes, seconds, floorSeconds, rssMiB)),
      ),
      bullets([
        [text("Stacks of 50 nodes, all host facets of each, through the real engine and its states.")],
        [
          text(
            "The floor: the same stacks, as many at a time, with a provider that does one bare exec for each node and nothing else.",
          ),
        ],
        [
          text(
            "The nodes are twins behind a real SSH server. One is brought up whole, by the real engine as well; the states of the others are its state under other names, and what it answers to a batch it is asked once. One process serves them all, on the same processors; its memory is not counted. Every 50th has drifted, and a run that says anything else of any node fails.",
          ),
        ],
        [
          text(
            "Memory: resident, of the scan and all its processes, at its highest; pages that two processes share count twice.",
          ),
        ],
      ]),
    );
  if (preview !== undefined && details !== undefined)
    children.push(
      heading(2, text("A preview")),
      paragraph(
        text(
          `A no-op preview of one whole node takes ${preview.oneNode} s, one of a program with one dynamic resource that does nothing ${preview.emptyProgram} s. The state has ${details.state.resources} resources with ${details.state.bytesPerResource} bytes on average.`,
        ),
      ),
    );
  if (accuracy !== undefined)
    children.push(
      heading(2, text("Accuracy")),
      paragraph(
        text(
          `Of ${accuracy.tried} random facts that changed on well twins (SNP, TDX with one and with eight GPUs, instances of two clouds), ${accuracy.missed} were missed and ${accuracy.falseAlarms} raised a false alarm. One at a time: a package, a hold, a word of the command line, a BIOS setting, a line of a unit or a policy, an override, a log line, and so on; one in five is of no concern to anybody. Who must see it is written beside the fact (bench/accuracy/facts.ts), not taken from the facets. Missed: a facet that it is about found all clean. False alarm: one that it is not about found something, or any did after it was taken back. Each is looked at over SSH by all facets of the recipe, as a scan does it; the engine between is left out here.`,
        ),
      ),
    );
  return `# Benchmark\n\n${render(children)}`;
}
