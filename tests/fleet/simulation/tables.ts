/**
 * The measured outages as tables.
 *
 * @module
 */
import { integer, type Table } from "../../tools/bench/table.ts";
import { COOLDOWN_MS, type Outage } from "./measure.ts";

/** The blocks of pages that these tables stand in: `<!-- simulate:late -->`. */
export const BLOCKS = {
  kind: "simulate",
  known: ["outage", "late", "ramp", "pace", "pace-large"],
} as const;

/** Returns the table of calls to a dead upstream, and of the times to open and close. */
export function outageTable(outages: readonly Outage[]): Table {
  return {
    name: "outage",
    title: "An outage of the upstream, over a fleet",
    columns: [
      ...["isolates", "consistency", "calls/s each", "sent to the dead upstream"],
      ...["opens after, ms", "all stop after, ms", "closes after, ms", "all send after, ms"],
    ],
    rows: outages.map((outage) => [
      integer(outage.isolates),
      outage.consistency,
      String(outage.rate),
      figure(outage.sent),
      figure(outage.openMs),
      figure(outage.stopMs),
      figure(outage.closeMs),
      figure(outage.returnMs),
    ]),
    notes: [
      `Default policy, a cooldown of ${
        integer(COOLDOWN_MS)
      } ms; 5 to 25 ms to the store, one way; calls ` +
      `of 5 to 100 ms. "Opens" and "all stop" count from the upstream's death, "closes" and "all send" ` +
      `from its recovery. Trials are among what is sent, and do not count for "all stop".`,
      stamp(outages),
    ],
  };
}

/** Returns the table of what each consistency costs: for a page. */
export function costTable(outages: readonly Outage[]): Table {
  const fleets = Map.groupBy(outages, ({ isolates, rate }) => `${isolates} ${rate}`);
  return {
    name: "late",
    title: "Openings, requests and late calls: eventual / strong",
    columns: [
      ...["isolates", "calls/s each", "openings", "requests a call"],
      ...["late calls an isolate", "of the worst isolate"],
    ],
    rows: [...fleets.values()].map((fleet) => {
      const both = (show: (outage: Outage) => string) => fleet.map(show).join(" / ");
      const { isolates, rate } = fleet[0]!;
      return [
        integer(isolates),
        String(rate),
        both(({ openings }) => openings.toFixed(1)),
        both(({ requests }) => requests.toFixed(2)),
        both(({ late }) => late.toFixed(2)),
        both(({ mostLate }) => integer(mostLate)),
      ];
    }),
    notes: [
      `An outage of 20 s and of twenty calls of each isolate, with a cooldown of ` +
      `${
        COOLDOWN_MS / 1_000
      } s; all counted from before it until after the recovery. Requests are ` +
      "those to the store, for each call that was made, run or not. Late calls are those that an " +
      "isolate sends to the dead upstream after the circuit has opened, trials apart: in the mean " +
      "over the isolates, and of the isolate with the most.",
    ],
  };
}

/** The sample sizes behind the figures. */
export function stamp(outages: readonly Outage[]): string {
  const runs = outages.map(({ runs }) => runs);
  const [least, most] = [Math.min(...runs), Math.max(...runs)];
  const many = least === most ? `${least}` : `${least} to ${most}`;
  return `Means of ${many} outages of each fleet, in virtual time.`;
}

function figure(value: number): string {
  return Number.isFinite(value) ? integer(value) : "never";
}
