/**
 * The measured outages as tables.
 *
 * @module
 */
import { integer, type Table } from "../bench/table.ts";
import { COOLDOWN_MS, type Outage } from "./measure.ts";

/** What a fleet sends to a dead upstream, and how soon it opens and closes. */
export function outageTable(outages: readonly Outage[]): Table {
  return {
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
      `Means of ${runsOf(outages)} outages each, in virtual time.`,
    ],
  };
}

/** What consistency costs: for the README. */
export function costTable(outages: readonly Outage[]): Table {
  return {
    title: "Trips, commands and late calls",
    columns: [
      ...["isolates", "consistency", "calls/s each", "trips", "commands a call"],
      ...["late calls an isolate", "at most"],
    ],
    rows: outages.map((outage) => [
      integer(outage.isolates),
      outage.consistency,
      String(outage.rate),
      outage.trips.toFixed(1),
      outage.commands.toFixed(2),
      outage.late.toFixed(2),
      integer(outage.mostLate),
    ]),
    notes: [
      "The same outages. Late calls are those that an isolate sends to the dead upstream after another " +
      "one has opened the circuit, trials apart: in the mean over the isolates, and of the one with " +
      "the most.",
    ],
  };
}

function runsOf(outages: readonly Outage[]): string {
  const runs = outages.map(({ runs }) => runs);
  const [least, most] = [Math.min(...runs), Math.max(...runs)];
  return least === most ? String(least) : `${least} to ${most}`;
}

function figure(value: number): string {
  return Number.isFinite(value) ? integer(value) : "never";
}
