/**
 * Sends the notices that were not sent as changes happened, from the trail.
 *
 * @module
 */

import type { AuditEventName } from "../contract.ts";
import type { DeliveredTrail } from "../cursors.ts";
import { inScope } from "../events.ts";
import { type Fuse, insideOf } from "../fuse.ts";
import { newId } from "../records.ts";
import { ofRow, summaryOf, type Telling } from "./notices.ts";
import type { Quiet } from "./quiet.ts";
import { LOOK_BACK_MS, Remembered, trailsOf } from "./remember.ts";
import type { Sender, Senders } from "./senders.ts";

/** The rows of a request, and the time in which no other `drain()` delivers, in ms. */
const PAGE = 100;
const HOLD_MS = 120_000;
/** The most pages of a run: the request of a cron trigger has to end. */
const MAX_PAGES = 100;

/** The trails to read, and the channels to send to. */
export interface Draining {
  readonly fuse: Fuse;
  readonly events: readonly AuditEventName[];
  readonly quietMs: number;
  /** The name of the cursors. */
  readonly name: string;
  readonly senders: Senders;
  readonly quiet: Quiet;
}

/** Sends every channel its outstanding notices. Returns the number of notices. */
export async function drainTrails(draining: Draining): Promise<number> {
  const trails = trailsOf(draining.fuse);
  if (trails.length === 0) {
    throw new TypeError(
      "Cannot drain notices: no store keeps a trail that can be delivered; libsql(), d1(), " +
        "durableObject() and tiered() do",
    );
  }
  const { registry } = insideOf(draining.fuse)!;
  let count = 0;
  const failures: unknown[] = [];
  for (const [store, { all, gather }] of distinct(trails)) {
    try {
      await gather?.(registry.clock());
    } catch (error) {
      failures.push(error);
    }
    for (const trail of all) {
      const counts = await Promise.all(draining.senders.all.map(async (sender) => {
        try {
          return await drainTrail({ ...draining, store, trail, sender });
        } catch (error) {
          failures.push(error);
          return 0;
        }
      }));
      count += Math.max(...counts);
    }
  }
  if (failures.length > 0) throw failures[0];
  return count;
}

/** Returns the store that gathers for the stores that share a trail: the circuits are its own. */
function distinct(trails: ReturnType<typeof trailsOf>): ReturnType<typeof trailsOf> {
  const gathers = ([, { gather }]: typeof trails[number]) => Number(gather !== undefined);
  const sorted = trails.toSorted((a, b) => gathers(a) - gathers(b));
  return [...new Map(sorted.map((entry) => [entry[1].all, entry])).values()];
}

/** Sends one channel the notices of one trail. */
async function drainTrail(
  { fuse, events, quietMs, name, quiet, store, trail, sender }: Draining & {
    readonly store: string;
    readonly trail: DeliveredTrail;
    readonly sender: Sender;
  },
): Promise<number> {
  const narrowing = insideOf(fuse)!.to;
  const cursor = { name, channel: sender.index };
  const holder = newId();
  let count = 0;
  for (let page = 0; page < MAX_PAGES; page++) {
    const claim = await trail.claim({
      ...{ ...cursor, holder, holdMs: HOLD_MS, lookBackMs: LOOK_BACK_MS, events, limit: PAGE },
    });
    if (claim === null) break;
    const { position, end, more, rows, announced } = claim;
    const remembered = new Remembered(announced);
    const untold = rows.map((row) => ofRow(row, store))
      .filter((telling) => inScope(narrowing, telling.circuit) && !remembered.has(telling));
    const tellings = together(untold, quietMs);
    try {
      if (tellings.length > 0) await sender.send(tellings);
    } catch (error) {
      await trail.move({ ...cursor, holder, from: position, to: position, announced: [] });
      throw error;
    }
    quiet.forget(untold);
    count += tellings.length;
    const move = { from: position, to: end, announced: remembered.found };
    // If another `drain()` holds the cursor by now, it delivers from where the cursor was.
    if (!await trail.move({ ...cursor, holder, ...move }) || !more) break;
  }
  return count;
}

/** Makes one notice of changes of a circuit that follow each other within the quiet time. */
function together(tellings: readonly Telling[], quietMs: number): Telling[] {
  const groups = new Map<string, Telling[]>();
  const all: Telling[][] = [];
  for (const telling of tellings) {
    const { circuit: { key }, notice: { at } } = telling;
    const group = groups.get(key);
    if (group !== undefined && at.getTime() - group.at(-1)!.notice.at.getTime() < quietMs) {
      group.push(telling);
      continue;
    }
    const begun = [telling];
    groups.set(key, begun);
    all.push(begun);
  }
  return all.map(summaryOf);
}
