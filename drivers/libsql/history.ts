/**
 * Reading the trail of the libSQL store, and pruning it.
 *
 * @module
 */

import { and, eq, gte, lt, lte, or, type SQL, sql } from "drizzle-orm";
import type { AuditEventName, EventQuery, StoredEvent } from "../../src/contract.ts";
import { limitOf } from "../../src/history.ts";
import { check, known, received, refuse } from "../../src/checks.ts";
import { type Line, send, spoilt } from "./client.ts";
import { CHAINED, type CircuitBreakerEventsTable, type FuseSchema } from "./schema.ts";
import { prepare, TRIGGERED } from "./statements.ts";
import { anchorSeal, type Digest, type Head } from "./chain.ts";
import { follows, isTriggered } from "./verify.ts";

/** Rows a request. */
const PAGE = 100;

/**
 * The rows of a trail, latest first, a page at a time. Each filter has an index that also gives the
 * order: there is no sorting, however long the trail is.
 */
export async function* readTrail(
  line: Line,
  e: CircuitBreakerEventsTable,
  query: EventQuery & { readonly key?: string },
): AsyncGenerator<StoredEvent, void, undefined> {
  let left = limitOf(query);
  const { key, event, from, to, cursor } = query;
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
      const [id, at] = [row.id, row.at].map(integerOf) as [number, number];
      const texts = [row.key, row.event].every((text) => typeof text === "string");
      if (!Number.isSafeInteger(id) || !Number.isFinite(at) || !texts) throw spoilt();
      before = { at, id };
      yield {
        id: String(id),
        cursor: `${at}.${id}`,
        key: String(row.key),
        event: row.event as AuditEventName,
        at: new Date(at),
        metadata: metadataOf(row.metadata),
      };
    }
    left -= rows.length;
    if (rows.length < size) return;
  }
}

/** As a client's `intMode` has it: a number, a bigint or a text. NaN if it is none. */
function integerOf(value: unknown): number {
  const whole = typeof value === "string" ? /^-?\d+$/.test(value) : typeof value === "bigint";
  return whole || typeof value === "number" ? Number(value) : NaN;
}

/** What is no object was put in by hand: `verifyTrail()` finds it, and the other rows can be read. */
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

/** Where a page ended. */
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
    throw new RangeError(
      `Cannot read history: "cursor" must be the cursor of an event of this store, received ${
        received(cursor)
      }`,
    );
  }
  return { at: Number(at), id: Number(id) };
}

/** Options of `prune()`. */
export interface PruneOptions {
  /** Rows older than this go, in ms by the store's clock. An integer of at least 0. */
  olderThanMs: number;
  /**
   * Only rows of calls go; transitions and operator actions stay.
   *
   * @default {false}
   */
  keepTransitions?: boolean | undefined;
  /**
   * How many rows go at most. A positive integer.
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
 * Deletes old rows. Calls go as they are; of a hash chain goes the beginning, as far as it verifies,
 * and where it ended is taken down, under a seal, in the same transaction: the rest is verified from
 * there. Circuit by circuit, so that one whose chain is broken does not hold up the others.
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
  const { keepTransitions = false } = options;
  if (typeof keepTransitions !== "boolean") {
    refuse(SUBJECT, "keepTransitions", "true or false", keepTransitions);
  }
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
  if (left === 0 || keepTransitions) return { deleted, more: left === 0 };

  const placeholder = sql.placeholder;
  // Of circuits whose oldest row is old: others may have rows that are, and have to keep them.
  const chains = prepare(sql`select e.id, e.key as "key", e.circuit_breaker_id as circuit, e.epoch,
      e.generation, e.sequence, e.event as "event", e.created_at as at, e.metadata as metadata,
      e.hash as hash, e.event <> 'edited' or ${TRIGGERED} as triggered,
      t.anchor_sequence, t.anchor_id, t.anchor_hash, t.anchor_seal
    from (select * from ${T} t where t.key > ${placeholder("after")} and exists (
        select 1 from ${E} e where e.event ${chained} and e.key = t.key
        and e.sequence = t.anchor_sequence + 1 and ${old})
      order by t.key limit ${CIRCUITS}) t
    join ${E} e on e.event ${chained} and e.key = t.key and e.sequence > t.anchor_sequence
      and e.sequence <= t.anchor_sequence + ${placeholder("size")} and ${old}
    order by t.key, e.sequence, e.id limit ${placeholder("size")}`);
  const each = sql`json_each(${placeholder("cuts")}) j`;
  // Somebody else may have pruned meanwhile.
  const move = prepare(sql`update ${T} as t set anchor_sequence = j.value ->> 1,
    anchor_id = j.value ->> 2, anchor_hash = j.value ->> 3, anchor_seal = j.value ->> 4 from ${each}
    where t.key = j.value ->> 0 and t.anchor_sequence = j.value ->> 5
    and t.anchor_hash = j.value ->> 6`);
  // What was verified, and nothing that was put in beside it.
  const cut = prepare(sql`delete from ${E} where id in (select e.id from ${each}
    join ${T} t on t.key = j.value ->> 0 and t.anchor_sequence = j.value ->> 1
      and t.anchor_hash = j.value ->> 3
    join json_each(j.value, '$[7]') i join ${E} e on e.id = i.value and e.key = t.key)`);
  let after = "";
  let gone = 0;
  let seal: Digest | undefined;
  for (;;) {
    const size = Math.min(left - gone, PAGE_OF_CHAINS);
    const [page] = await send(line, chains({ ...values, after, size }));
    const rows = Array.from(page!.rows);
    if (rows.length === 0) return { deleted: deleted + gone, more: false };
    const byKey = chainsIn(rows);
    seal ??= await digest();
    const cuts: Cut[] = [];
    for (const [key, its] of byKey) {
      const one = await cutOf(seal, key, its);
      if (one !== null) cuts.push(one);
    }
    let went = 0;
    if (cuts.length > 0) {
      const bound = { cuts: JSON.stringify(cuts) };
      const results = await send(line, [move(bound), cut(bound), count({})]);
      went = Number(results.at(-1)!.rows[0]!.n);
    }
    gone += went;
    const planned = cuts.reduce((sum, one) => sum + one[7].length, 0);
    // All that was asked for; or somebody else prunes, too, and what is left is for the next call.
    if (gone >= left || went < planned) return { deleted: deleted + gone, more: true };
    const keys = [...byKey.keys()];
    if (rows.length < size && keys.length < CIRCUITS) {
      return { deleted: deleted + gone, more: false };
    }
    // The page may have ended amid the last chain: on with it, unless that is stuck.
    const last = keys.at(-1)!;
    const goesOn = rows.length === size && cuts.at(-1)?.[0] === last &&
      cuts.at(-1)![7].length === byKey.get(last)!.length;
    after = goesOn ? keys.at(-2) ?? after : last;
  }
}

/** Rows by the circuit they belong to, in the order they came. Node 20 has no `Map.groupBy`. */
function chainsIn(
  rows: readonly Record<string, unknown>[],
): Map<string, Record<string, unknown>[]> {
  const byKey = new Map<string, Record<string, unknown>[]>();
  for (const row of rows) {
    const key = String(row.key);
    const its = byKey.get(key);
    if (its) its.push(row);
    else byKey.set(key, [row]);
  }
  return byKey;
}

/** Circuits, and rows of their chains, a request. */
const CIRCUITS = 100;
const PAGE_OF_CHAINS = 500;

/** Key, the anchor afterwards, its seal, the anchor before, and the rows that go. */
type Cut = readonly [
  ...[key: string, sequence: number, id: number, hash: string, seal: string],
  ...[fromSequence: number, fromHash: string, ids: readonly number[]],
];

/**
 * How much of a chain's beginning may go: as far as it verifies. An anchor over a row that somebody
 * has changed would make the rest of the chain right again.
 */
async function cutOf(
  digest: Digest,
  key: string,
  rows: readonly Record<string, unknown>[],
): Promise<Cut | null> {
  const from: Head = {
    hash: String(rows[0]!.anchor_hash),
    sequence: Number(rows[0]!.anchor_sequence),
    id: Number(rows[0]!.anchor_id),
  };
  if (from.sequence > 0 && await anchorSeal(digest, key, from) !== rows[0]!.anchor_seal) {
    return null;
  }
  const ids: number[] = [];
  let end = from;
  for (const [i, row] of rows.entries()) {
    const sequence = Number(row.sequence);
    // A row whose predecessor has to stay, stays; so do two that claim to be the same.
    if (sequence !== end.sequence + 1 || Number(rows[i + 1]?.sequence) === sequence) break;
    if (!isTriggered(row) || !await follows(digest, row, end)) break;
    end = { hash: String(row.hash), sequence, id: Number(row.id) };
    ids.push(end.id!);
  }
  if (ids.length === 0) return null;
  const seal = await anchorSeal(digest, key, end);
  return [key, end.sequence, end.id!, end.hash, seal, from.sequence, from.hash, ids];
}
