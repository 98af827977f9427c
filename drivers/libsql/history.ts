/**
 * Reading the trail of the libSQL store.
 *
 * @module
 */

import { and, eq, gte, lt, lte, or, type SQL, sql } from "drizzle-orm";
import type { AuditEventName, EventQuery, StoredEvent } from "../../src/contract.ts";
import { limitOf } from "../../src/history.ts";
import { wrong } from "../../src/checks.ts";
import { type Connection, send, type SqlStatement, unreadable } from "./client.ts";
import { textOf } from "./metadata.ts";
import { chained, type CircuitBreakerEventsTable } from "./schema.ts";
import { prepare } from "./statements/prepare.ts";

/** Rows of a request. */
const PAGE = 100;

/**
 * Reads the rows of a trail, latest first, a page at a time. Each filter has an index that also gives
 * the order: nothing is sorted, however long the trail is.
 */
export async function* readTrail(
  connection: Connection,
  e: CircuitBreakerEventsTable,
  query: EventQuery & { readonly key?: string },
): AsyncGenerator<StoredEvent, void, undefined> {
  let left = limitOf(query);
  let before = placeOf(query.cursor);
  while (left > 0) {
    const size = Math.min(left, PAGE);
    const [page] = await send(connection, pageOf(e, query, before, size));
    const rows = Array.from(page!.rows);
    for (const row of rows) {
      const event = eventOf(row);
      before = { at: event.at.getTime(), id: Number(event.id) };
      yield event;
    }
    left -= rows.length;
    if (rows.length < size) return;
  }
}

/** Returns the statement for a page of rows that match a query. */
function pageOf(
  e: CircuitBreakerEventsTable,
  { key, event, from, to }: EventQuery & { readonly key?: string },
  before: Place | null,
  size: number,
): SqlStatement {
  const changes = event !== undefined && event !== "success" && event !== "failure";
  const where = and(
    sql`true`,
    key === undefined ? undefined : eq(e.key, key),
    event === undefined ? undefined : eq(e.event, event),
    // SQLite uses the partial indexes only for queries that say so.
    changes ? chained(e.event) : undefined,
    from === undefined ? undefined : gte(e.createdAt, from),
    to === undefined ? undefined : lt(e.createdAt, to),
    ...before === null ? [] : after(e, before),
  );
  return prepare(sql`
    select ${e.id}, cast(${e.key} as blob) as "key", cast(${e.event} as blob) as "event", cast(${e.metadata} as blob) as "metadata",
      ${e.createdAt} as "at"
    from ${e} where ${where}
    order by ${e.createdAt} desc, ${e.id} desc limit ${size}`)({});
}

/**
 * Returns a row as an event.
 *
 * @throws {Error} If the row is not a trail's.
 */
export function eventOf(row: Readonly<Record<string, unknown>>): StoredEvent {
  const [id, at] = [row.id, row.at].map(integerOf) as [number, number];
  if (!Number.isSafeInteger(id) || !Number.isFinite(at)) throw unreadable();
  return {
    id: String(id),
    cursor: `${at}.${id}`,
    key: textOf(row.key),
    event: textOf(row.event) as AuditEventName,
    at: new Date(at),
    metadata: row.metadata === null ? null : metadataOf(textOf(row.metadata)),
  };
}

/** Returns an integer, which is a number, a bigint or a text, by the client's `intMode`; else NaN. */
function integerOf(value: unknown): number {
  const whole = typeof value === "string" ? /^-?\d+$/.test(value) : typeof value === "bigint";
  return whole || typeof value === "number" ? Number(value) : NaN;
}

/**
 * Returns the metadata of a row, or `null` for text that is not a JSON object. Such text was written by
 * hand: `verifyTrail()` finds the row, and the others can be read.
 */
function metadataOf(text: unknown): Record<string, unknown> | null {
  try {
    const data: unknown = JSON.parse(String(text));
    return typeof data === "object" && !Array.isArray(data)
      ? data as StoredEvent["metadata"]
      : null;
  } catch {
    return null;
  }
}

/** The last row of a page. */
interface Place {
  readonly at: number;
  readonly id: number;
}

function after(e: CircuitBreakerEventsTable, { at, id }: Place): (SQL | undefined)[] {
  const time = new Date(at);
  return [lte(e.createdAt, time), or(lt(e.createdAt, time), lt(e.id, id))];
}

function placeOf(cursor: string | undefined): Place | null {
  if (cursor === undefined) return null;
  const [, at, id] = /^(-?\d{1,15})\.(\d{1,15})$/.exec(typeof cursor === "string" ? cursor : "") ??
    [];
  if (at === undefined) {
    const allowed = "the cursor of an event of this store";
    throw new RangeError(wrong("read history", "cursor", allowed, cursor));
  }
  return { at: Number(at), id: Number(id) };
}
