/**
 * Reads the openings of a circuit from its trail.
 *
 * @module
 */

import type { CircuitBreaker } from "../circuit_breaker.ts";
import type { AuditEventName, CircuitEvent } from "../contract.ts";
import type { Fuse } from "../fuse.ts";
import { type Trail, trailOf } from "./look.ts";

/** A stretch of time in which a circuit was OPEN or HALF_OPEN, in ms since the epoch. */
export interface Opening {
  /** `null` if it began before the trail does, as far as it was read. */
  readonly from: number | null;
  /** `null` if it goes on. */
  readonly to: number | null;
}

/** The recent past of a circuit. */
export interface Past {
  readonly kind: Trail["kind"];
  /** Latest first, rows of calls left out. */
  readonly events: readonly CircuitEvent[];
  /** Oldest first. */
  readonly openings: readonly Opening[];
  /** From when on the trail was read, in ms since the epoch; `null` if it is empty. */
  readonly since: number | null;
}

/** How many events are read. */
const LIMIT = 60;
/** The events that begin and end an opening. */
const BEGINS: readonly AuditEventName[] = ["opened"];
const ENDS: readonly AuditEventName[] = ["closed", "reset", "removed"];
const CALLS: readonly AuditEventName[] = ["success", "failure"];

/** Reads the past of a circuit. Costs one round trip, and four more where the trail has a row for each call. */
export async function pastOf(fuse: Fuse, breaker: CircuitBreaker): Promise<Past> {
  const { kind, events } = await trailOf(fuse, breaker, LIMIT);
  const ofCalls = events.some(({ event }) => CALLS.includes(event));
  const changes = ofCalls ? await changesOf(fuse, breaker) : [...events];
  changes.sort((a, b) => b.at.getTime() - a.at.getTime());
  return {
    kind,
    events: changes,
    openings: openingsOf(changes),
    since: changes.at(-1)?.at.getTime() ?? null,
  };
}

/** Rows of calls would displace those of openings. */
async function changesOf(fuse: Fuse, breaker: CircuitBreaker): Promise<CircuitEvent[]> {
  const kinds = [...BEGINS, ...ENDS];
  const trails = await Promise.all(kinds.map((kind) => trailOf(fuse, breaker, LIMIT, kind)));
  return trails.flatMap(({ events }) => [...events]);
}

/** Returns the openings in events. */
export function openingsOf(events: readonly CircuitEvent[]): Opening[] {
  const openings: Opening[] = [];
  let from: number | null | undefined;
  for (const { event, at } of events.toReversed()) {
    if (BEGINS.includes(event)) from ??= at.getTime();
    // The first row may end an opening that began earlier.
    else if (event === "closed" && from === undefined && openings.length === 0) {
      openings.push({ from: null, to: at.getTime() });
    } else if (ENDS.includes(event) && from !== undefined) {
      openings.push({ from, to: at.getTime() });
      from = undefined;
    }
  }
  if (from !== undefined) openings.push({ from, to: null });
  return openings;
}
