/**
 * Reading the trail of the libSQL store.
 *
 * @module
 */

import { and, desc, eq, gte, lt, sql } from "drizzle-orm";
import type { AuditEventName, EventQuery, StoredEvent } from "../src/history.ts";
import { received } from "../src/options.ts";
import { type Line, send } from "./libsql_client.ts";
import type { CircuitBreakerEventsTable } from "./libsql_schema.ts";
import { prepare } from "./libsql_statements.ts";

/** Rows a request. */
const PAGE = 100;

/** The rows of a trail, latest first, a page at a time. */
export async function* readTrail(
  line: Line,
  e: CircuitBreakerEventsTable,
  { key, event, from, to, limit, cursor }: EventQuery & { readonly key?: string },
): AsyncGenerator<StoredEvent, void, undefined> {
  let left = whole("limit", limit);
  let before = whole("cursor", cursor);
  while (left > 0) {
    const size = Math.min(left, PAGE);
    const [page] = await send(
      line,
      prepare(sql`select ${e.id}, ${e.key} as "key", ${e.event} as "event",
        ${e.metadata} as "metadata", ${e.createdAt} as "at" from ${e} where ${
        and(
          sql`true`,
          key === undefined ? undefined : eq(e.key, key),
          event === undefined ? undefined : eq(e.event, event),
          from === undefined ? undefined : gte(e.createdAt, from),
          to === undefined ? undefined : lt(e.createdAt, to),
          before === Infinity ? undefined : lt(e.id, before),
        )
      } order by ${desc(e.id)} limit ${size}`)({}),
    );
    const rows = Array.from(page!.rows);
    for (const row of rows) {
      const id = String(row.id);
      yield {
        id,
        cursor: id,
        key: String(row.key),
        event: row.event as AuditEventName,
        at: new Date(Number(row.at)),
        metadata: row.metadata === null ? null : JSON.parse(String(row.metadata)),
      };
      before = Number(id);
    }
    left -= rows.length;
    if (rows.length < size) return;
  }
}

/** A limit or the id of a row; infinite when it is left out. */
function whole(option: string, value: number | string | undefined): number {
  if (value === undefined) return Infinity;
  if (!/^\d{1,15}$/.test(String(value))) {
    throw new RangeError(
      `Cannot read history: "${option}" must be an integer of at least 0, received ${
        received(value)
      }`,
    );
  }
  return Number(value);
}
