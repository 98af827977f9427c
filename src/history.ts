/**
 * The trail of a store that keeps one.
 *
 * @module
 */

import { known, quote, wrong } from "./checks.ts";
import type { AuditEventName, CircuitEvent, Driver, EventQuery, StoredEvent } from "./contract.ts";
import { identify, toKey } from "./key.ts";
import { OVERRIDES } from "./records.ts";

/**
 * Reads the trail of a store, latest first.
 *
 * @throws {TypeError} If it keeps none, or the cursor is from another store of the Fuse.
 * @throws {RangeError} If the limit, a date or the kind of event is invalid.
 */
export async function* historyOf(
  driver: Driver,
  name: string,
  query: EventQuery & { readonly key?: string },
): AsyncGenerator<CircuitEvent, void, undefined> {
  if (driver.history === undefined) {
    throw new TypeError(
      `Cannot read history: store ${
        quote(name)
      } keeps no trail; a store with "audited" in its traits does`,
    );
  }
  limitOf(query);
  const own = query.cursor === undefined ? query : { ...query, cursor: placeOf(query, [name])[1] };
  yield* eventsOf(name, driver.history(own));
}

/** Rows of a store, with their circuits: `name` is the store's name in the Fuse. */
export async function* eventsOf(
  name: string,
  rows: AsyncIterable<StoredEvent>,
): AsyncGenerator<CircuitEvent, void, undefined> {
  for await (const { key, ...row } of rows) yield { ...row, ...identify(name, key) };
}

/** The events of a trail. */
export const EVENTS: readonly AuditEventName[] = [
  ...["opened", "closed", "half_opened", "reset"] as const,
  ...OVERRIDES,
  ...["released", "reborn", "imported", "edited", "removed", "success", "failure"] as const,
];

/**
 * Checks a query, and returns the number of events that it asks for.
 *
 * @throws {RangeError | TypeError} Naming the option, what came and what is allowed.
 */
export function limitOf(query: EventQuery & { readonly key?: string }): number {
  known("history query", query, ["event", "from", "to", "limit", "cursor", "key"]);
  const { event, from, to, limit, key } = query;
  const refuse = (option: string, allowed: string, value: unknown): never => {
    throw new RangeError(wrong("read history", option, allowed, value));
  };
  if (event !== undefined && !EVENTS.includes(event)) {
    refuse("event", `one of ${EVENTS.join(", ")}`, event);
  }
  for (const [option, value] of [["from", from], ["to", to]] as const) {
    if (value !== undefined && !(value instanceof Date && Number.isFinite(value.getTime()))) {
      refuse(option, "a valid Date", value);
    }
  }
  if (key !== undefined && typeof key !== "string") refuse("key", "the key of a circuit", key);
  if (limit === undefined) return Infinity;
  if (!Number.isSafeInteger(limit) || limit < 0) refuse("limit", "an integer of at least 0", limit);
  return limit;
}

// Stores make their own cursors, and a Fuse has several stores: its cursors name the store.
const OF_FUSE = /^fuse:([^:]*):(.*)$/s;

/** Returns the cursor of a store's event in the form of the Fuse. */
export function cursorOf(store: string, cursor: string): string {
  return `fuse:${toKey({ name: store, context: null, boundary: null })}:${cursor}`;
}

/**
 * Returns the position where a query continues: the store, by index, and that store's own cursor. A
 * single store's own cursor is enough.
 *
 * @throws {TypeError} If it is from none of them, or does not name its store.
 */
export function placeOf({ cursor }: EventQuery, stores: readonly string[]): [number, string] {
  const refuse = (allowed: string): never => {
    throw new TypeError(wrong("read history", "cursor", allowed, cursor));
  };
  if (typeof cursor !== "string") return refuse("the cursor of an event");
  const [, , own] = OF_FUSE.exec(cursor) ?? [];
  if (own === undefined) {
    return stores.length === 1 ? [0, cursor] : refuse("the cursor of an event of this Fuse's");
  }
  const index = stores.findIndex((name) => cursor === cursorOf(name, own));
  const names = stores.map(quote).join(", ");
  return index < 0 ? refuse(`the cursor of an event of ${names}`) : [index, own];
}
