/**
 * Reading the trail of the libSQL store, and pruning it.
 *
 * @module
 */

import { and, eq, gte, lt, lte, or, type SQL, sql } from "drizzle-orm";
import type { AuditEventName, EventQuery, StoredEvent } from "../src/history.ts";
import { check, known, received } from "../src/options.ts";
import { type Line, send } from "./libsql_client.ts";
import { CHAINED, type CircuitBreakerEventsTable, type FuseSchema } from "./libsql_schema.ts";
import { prepare } from "./libsql_statements.ts";
import { anchorSeal, type Digest } from "./libsql_trail.ts";

/** Rows a request. */
const PAGE = 100;

/**
 * The rows of a trail, latest first, a page at a time. Each filter has an index that also gives the
 * order: there is no sorting, however long the trail is.
 */
export async function* readTrail(
  line: Line,
  e: CircuitBreakerEventsTable,
  { key, event, from, to, limit, cursor }: EventQuery & { readonly key?: string },
): AsyncGenerator<StoredEvent, void, undefined> {
  let left = limitOf(limit);
  let before = placeOf(cursor);
  const changes = event !== undefined && event !== "success" && event !== "failure";
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
          // The partial indexes are for queries that say so.
          changes ? sql`${e.event} ${sql.raw(CHAINED)}` : undefined,
          from === undefined ? undefined : gte(e.createdAt, from),
          to === undefined ? undefined : lt(e.createdAt, to),
          ...before === null ? [] : after(e, before),
        )
      } order by ${e.createdAt} desc, ${e.id} desc limit ${size}`)({}),
    );
    const rows = Array.from(page!.rows);
    for (const row of rows) {
      const id = String(row.id);
      const at = Number(row.at);
      before = { at, id: Number(id) };
      yield {
        id,
        cursor: `${at}.${id}`,
        key: String(row.key),
        event: row.event as AuditEventName,
        at: new Date(at),
        metadata: row.metadata === null ? null : JSON.parse(String(row.metadata)),
      };
    }
    left -= rows.length;
    if (rows.length < size) return;
  }
}

/** Where a page ended. */
interface Place {
  readonly at: number;
  readonly id: number;
}

function after(e: CircuitBreakerEventsTable, { at, id }: Place): (SQL | undefined)[] {
  const time = new Date(at);
  return [lte(e.createdAt, time), or(lt(e.createdAt, time), lt(e.id, id))];
}

function limitOf(limit: number | undefined): number {
  if (limit === undefined) return Infinity;
  if (!Number.isSafeInteger(limit) || limit < 0) refuse("limit", "an integer of at least 0", limit);
  return limit;
}

function placeOf(cursor: string | undefined): Place | null {
  if (cursor === undefined) return null;
  const [, at, id] = /^(-?\d{1,15})\.(\d{1,15})$/.exec(String(cursor)) ?? [];
  if (at === undefined) refuse("cursor", "the cursor of an event of this store", cursor);
  return { at: Number(at), id: Number(id) };
}

function refuse(option: string, allowed: string, value: unknown): never {
  throw new RangeError(
    `Cannot read history: "${option}" must be ${allowed}, received ${received(value)}`,
  );
}

/** Options of `prune()`. */
export interface PruneOptions {
  /** Rows older than this go, by the store's clock. */
  olderThanMs: number;
  /**
   * Only rows of calls go; transitions and operator actions stay.
   *
   * @default {false}
   */
  keepTransitions?: boolean | undefined;
  /**
   * How many rows go at most.
   *
   * @default {1000}
   */
  limit?: number | undefined;
}

/** What `prune()` did. */
export interface PruneResult {
  /** How many rows are gone. */
  deleted: number;
  /** Whether there is more to prune: call again. */
  more: boolean;
}

const SUBJECT = "pruning";

/**
 * Deletes the oldest rows. Calls go as they are; of a hash chain goes the beginning, and where it
 * ended is taken down, under a seal, in the same transaction: the rest is verified from there.
 */
export async function pruneTrail(
  line: Line,
  { circuitBreakerEvents: E, circuitBreakerTrails: T }: FuseSchema,
  now: number | undefined,
  digest: () => Promise<Digest>,
  options: PruneOptions,
): Promise<PruneResult> {
  known(SUBJECT, options, ["olderThanMs", "keepTransitions", "limit"]);
  const olderThanMs = check(SUBJECT, "olderThanMs", options.olderThanMs ?? NaN, 0, 0);
  const limit = check(SUBJECT, "limit", options.limit, 1_000);
  const chained = sql.raw(CHAINED);
  const clock = now === undefined
    ? sql`cast(unixepoch('subsec') * 1000 as integer)`
    : sql`${sql.placeholder("now")}`;
  const values = { now: now ?? 0, olderThanMs };
  const old = sql`e.created_at < ${clock} - ${sql.placeholder("olderThanMs")}`;
  const count = prepare(sql`select changes() as n`);
  const calls = (event: string) =>
    sql`select * from (select e.id, e.created_at from ${E} e where e.event = ${event} and ${old}
      order by e.created_at limit ${limit})`;
  const [, went] = await send(line, [
    prepare(sql`delete from ${E} where id in (select id from
      (${calls("success")} union all ${calls("failure")}) order by created_at limit ${limit})`)(
      values,
    ),
    count({}),
  ]);
  const deleted = Number(went!.rows[0]!.n);
  const left = limit - deleted;
  if (left === 0 || options.keepTransitions) return { deleted, more: left === 0 };

  const [page] = await send(
    line,
    prepare(sql`select e.id, e.key as "key", e.sequence, e.hash, t.anchor_sequence as anchored
      from ${E} e join ${T} t on t.key = e.key
      where e.event ${chained} and e.sequence is not null and ${old}
      order by e.created_at, e.id limit ${left}`)(values),
  );
  const anchors = new Map<string, { from: number; sequence: number; id: number; hash: string }>();
  for (const row of Array.from(page!.rows)) {
    const [key, anchored, sequence] = [String(row.key), Number(row.anchored), Number(row.sequence)];
    const end = anchors.get(key) ?? { from: anchored, sequence: anchored };
    // A row whose predecessor has to stay, stays.
    if (sequence !== end.sequence + 1) continue;
    anchors.set(key, { from: end.from, sequence, id: Number(row.id), hash: String(row.hash) });
  }
  if (anchors.size === 0) return { deleted, more: false };
  const seal = await digest();
  const moved = await Promise.all(
    Array.from(
      anchors,
      async (
        [key, { from, ...anchor }],
      ) => [
        key,
        anchor.sequence,
        anchor.id,
        anchor.hash,
        await anchorSeal(seal, key, anchor),
        from,
      ],
    ),
  );
  const bound = { moved: JSON.stringify(moved) };
  const each = sql`json_each(${sql.placeholder("moved")}) j`;
  const results = await send(line, [
    // Somebody else may have pruned meanwhile.
    prepare(sql`update ${T} as t set anchor_sequence = j.value ->> 1, anchor_id = j.value ->> 2,
      anchor_hash = j.value ->> 3, anchor_seal = j.value ->> 4 from ${each}
      where t.key = j.value ->> 0 and t.anchor_sequence = j.value ->> 5`)(bound),
    prepare(sql`delete from ${E} where id in (select e.id from ${each}
      join ${T} t on t.key = j.value ->> 0 and t.anchor_sequence = j.value ->> 1
      join ${E} e on e.key = t.key and e.event ${chained}
      and e.sequence > j.value ->> 5 and e.sequence <= j.value ->> 1)`)(bound),
    count({}),
  ]);
  const cut = Number(results.at(-1)!.rows[0]!.n);
  return { deleted: deleted + cut, more: cut > 0 && page!.rows.length === left };
}
