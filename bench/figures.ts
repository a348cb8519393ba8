import { z } from "zod";
import type { Accuracy } from "./accuracy/accuracy.ts";
import type { MOST_MS } from "./attest.ts";
import { type Drift20, HOSTS } from "./drift20.ts";
import type { FleetFigure } from "./fleet.ts";
import type { Preview, PreviewDetails } from "./preview.ts";
import { round } from "./timing.ts";

/** All that one run of the benchmark measured; what was left out is not there. */
export interface Figures {
  readonly drift20?: Drift20;
  readonly fleet?: readonly FleetFigure[];
  readonly preview?: Preview;
  readonly accuracy?: Accuracy;
  readonly details?: PreviewDetails;
  /** Processor time of one verification, milliseconds. */
  readonly attest?: { readonly snpMs: number; readonly tdxMs: number };
}

const number = z.number();
const numbers = z.array(number);
/** What a run prints with --json, as far as another one takes it over. */
export const FiguresSchema = z.object({
  drift20: z
    .object({ teeup: number, ansible: number, pyinfra: number, bareSsh2: number, emptyRefresh: number })
    .optional(),
  fleet: z.array(z.object({ nodes: number, seconds: number, floorSeconds: number, rssMiB: number })).optional(),
  preview: z.object({ oneNode: number, emptyProgram: number }).optional(),
  accuracy: z.object({ tried: number, missed: number, falseAlarms: number }).optional(),
  details: z
    .object({
      execs: z.object({ host: numbers, guest: numbers }),
      state: z.object({
        resources: number,
        bytes: number,
        bytesPerResource: number,
        facets: z.record(z.string(), number),
      }),
    })
    .optional(),
  attest: z.object({ snpMs: number, tdxMs: number }).optional(),
});

export interface Promised {
  readonly what: string;
  readonly measured: string;
  readonly promised: string;
  readonly holds: boolean;
}

const most = (what: string, measured: number, limit: number, unit = ""): Promised => ({
  what,
  measured: `${round(measured)}${unit}`,
  promised: `≤ ${limit}${unit}`,
  holds: measured <= limit,
});
const least = (what: string, measured: number, limit: number, unit = ""): Promised => ({
  what,
  measured: `${round(measured)}${unit}`,
  promised: `≥ ${limit}${unit}`,
  holds: measured >= limit,
});

export const PYINFRA_TIMES = 4;
const MIB = 1536;
const STATE_BYTES = 2048;

/** Each promise that the figures speak of, and whether they keep it. */
export function promises(figures: Figures, limits: typeof MOST_MS): readonly Promised[] {
  const { drift20, fleet = [], preview, accuracy, details, attest } = figures;
  const of = (nodes: number) => fleet.find((figure) => figure.nodes === nodes);
  const [hundred, thousand] = [of(100), of(1000)];
  return [
    ...(drift20 === undefined
      ? []
      : [
          least(`drift scan of ${HOSTS} hosts: times faster than Ansible`, drift20.ansible / drift20.teeup, 10),
          least(
            `drift scan of ${HOSTS} hosts: times faster than pyinfra`,
            drift20.pyinfra / drift20.teeup,
            PYINFRA_TIMES,
          ),
          most(
            `drift scan of ${HOSTS} hosts: times bare ssh2 and an empty refresh`,
            drift20.teeup / (drift20.bareSsh2 + drift20.emptyRefresh),
            2,
          ),
        ]),
    ...fleet.map(({ nodes, seconds, floorSeconds }) =>
      most(`${nodes} nodes: times the floor`, seconds / floorSeconds, 1.5),
    ),
    ...fleet.map(({ nodes, rssMiB }) =>
      most(`${nodes} nodes: memory of all processes of the scan`, rssMiB, MIB, " MiB"),
    ),
    ...(hundred === undefined || thousand === undefined
      ? []
      : [most("1000 nodes: times the seconds of 100", thousand.seconds / hundred.seconds, 11)]),
    ...(preview === undefined
      ? []
      : [most("no-op preview of one node: times an empty program's", preview.oneNode / preview.emptyProgram, 2)]),
    ...(details === undefined
      ? []
      : [
          most("SSH execs of a no-op preview, host", Math.max(...details.execs.host), 1),
          most("SSH execs of a no-op preview, guest", Math.max(...details.execs.guest), 1),
          most("state of a resource, average", details.state.bytesPerResource, STATE_BYTES, " bytes"),
        ]),
    ...(attest === undefined
      ? []
      : [
          most("one SEV-SNP report verified", attest.snpMs, limits.snp, " ms"),
          most("one TDX quote verified, without network", attest.tdxMs, limits.tdx, " ms"),
        ]),
    ...(accuracy === undefined
      ? []
      : [
          most(`changed facts of ${accuracy.tried} that were missed`, accuracy.missed, 0),
          most(`changed facts of ${accuracy.tried} with a false alarm`, accuracy.falseAlarms, 0),
        ]),
  ];
}
