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
 * @throws {TypeError} If it keeps none, or the cursor is one of a Fuse's other stores.
 * @throws {RangeError} If the limit, a date or the kind of event is none.
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

/** Rows of a store, with the circuits they are of: `name` is what the store is called there. */
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
 * Checks a query, and answers how many events it asks for.
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

// Stores make their own cursors, and a Fuse has several stores: it says whose one is.
const OF_FUSE = /^fuse:([^:]*):(.*)$/s;

/** The cursor of a store's event, as a Fuse hands it out. */
export function cursorOf(store: string, cursor: string): string {
  return `fuse:${toKey({ name: store, context: null, boundary: null })}:${cursor}`;
}

/**
 * Where a query is to go on: in which of the stores, by index, and that store's own cursor. Of a
 * single store its own will do.
 *
 * @throws {TypeError} If it is of none of them, or does not say of which.
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
