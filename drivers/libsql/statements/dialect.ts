/**
 * The terms that the statements of the libSQL store share.
 *
 * In all of them `b` is the circuit, `e` a row of the trail, `w` a segment of the window, `l` a
 * lease, `r` the decision of a request, and `t` the end of a hash chain.
 *
 * @module
 */

import { type SQL, sql } from "drizzle-orm";
import type { AnySQLiteTable } from "drizzle-orm/sqlite-core";
import { CIRCUIT_STATES, ID_MEMORY_MS } from "../../../src/records.ts";
import { DATABASE_NOW } from "../columns.ts";
import { COUNTS, TIMES } from "../rows.ts";
import { chained, type FuseSchema } from "../schema.ts";
import { $, prepare, type Statement } from "./prepare.ts";

/** A change of state: the statement that decides whether it wins, and those that apply it. */
export interface Change {
  readonly decide: Statement;
  readonly apply: readonly Statement[];
}

/** The tables of a store. */
export interface Tables {
  readonly circuits: AnySQLiteTable;
  readonly events: AnySQLiteTable;
  readonly windows: AnySQLiteTable;
  readonly leases: AnySQLiteTable;
  readonly requests: AnySQLiteTable;
  readonly trails: AnySQLiteTable;
  readonly cursors: AnySQLiteTable;
}

/** The tables of a store, and the terms that depend on them or on the clock. */
export interface Dialect extends Tables {
  /** The time, in ms: bound as `now`, or the database's. */
  readonly now: SQL;
  /** The id of the circuit named by `key`. */
  readonly ownId: SQL;
  /** True if the override has run out. */
  readonly expired: SQL;
  /** The start of the newest segment of the window, or null. */
  readonly newestSegment: SQL;
  /** True if the caller knows the current generation: `epoch`, `generation` and `began` are bound. */
  readonly current: SQL;
  /** True if the rows of the trail that the request brings can be appended. */
  readonly sealed: SQL;
}

/** Returns the terms for a schema. With `bindsNow` the time is bound, else it is the database's. */
export function makeDialect(schema: FuseSchema, bindsNow: boolean): Dialect {
  const tables = tablesOf(schema);
  const { circuits, windows, trails } = tables;
  const now = nowTerm(bindsNow);
  const expired = ranOut(now);
  return {
    ...tables,
    now,
    expired,
    ownId: sql`(select b.id from ${circuits} b where ${OWN})`,
    newestSegment: sql`(
      select max(w.start) from ${windows} w
      where w.circuit_breaker_id = b.id and w.since = b.evidence_since
    )`,
    // The release of an override that has run out begins a generation: readers know it already.
    current: sql`(
      b.epoch = ${$("epoch")} and ${GENERATION} + ${expired} = ${$("generation")}
      and iif(${expired}, b.override_until, b.began) = ${$("began")}
    )`,
    // SQL has no SHA-256, so rows are hashed before the batch is sent. Their hashes hold if the
    // circuit and its chain are still as they were then, and the time is about the same.
    sealed: sql`(
      ${$("sealed")}
      and b.epoch = ${$("sealEpoch")}
      and ${GENERATION} = ${$("sealGeneration")}
      and b.began = ${$("sealBegan")}
      and ${expired} = ${$("sealExpired")}
      and abs(${now} - ${$("stamp")}) <= ${$("slackMs")}
      and coalesce(
        (select t.head || ' ' || t.unsealed from ${trails} t where t.key = b.key), ' 0'
      ) = ${$("sealTrail")}
    )`,
  };
}

/** Returns the tables of a schema under short names. */
export function tablesOf(schema: FuseSchema): Tables {
  return {
    circuits: schema.circuitBreakers,
    events: schema.circuitBreakerEvents,
    windows: schema.circuitBreakerWindows,
    leases: schema.circuitBreakerLeases,
    requests: schema.circuitBreakerRequests,
    trails: schema.circuitBreakerTrails,
    cursors: schema.circuitBreakerCursors,
  };
}

/** The time, in ms: bound as `now`, or the database's. */
export function nowTerm(bindsNow: boolean): SQL {
  return bindsNow ? sql`${$("now")}` : DATABASE_NOW;
}

/** A list of words, as SQL. */
function listOf(words: readonly string[]): string {
  return words.map((word) => `'${word}'`).join(", ");
}

/** The generation of the circuit. */
export const GENERATION: SQL = sql.raw("b.generation");
const REVISION = sql.raw("b.revision");

/**
 * True if the numbers of the circuit are numbers: somebody may have overwritten any of them. A
 * request that would count with an invalid number does nothing, and its answer names the field.
 */
export const SOUND: SQL = sql.raw(`(
  min(${COUNTS.map((column) => `b.${column}`).join(", ")}) >= 0
  and ${
  // A bitwise operator makes an integer of anything.
  [...COUNTS, ...TIMES].map((name) => `b.${name} is b.${name} | 0`).join(" and ")}
)`);

/** True if the circuit has an override, also one that has run out. */
export const OVERRIDDEN: SQL = sql.raw("(b.override is not null)");

/** Returns the term that is true if the override has run out by a moment. */
export function ranOut(at: SQL): SQL {
  return sql`(${OVERRIDDEN} and coalesce(b.override_until <= ${at}, 0))`;
}

/** For how long the id of a request is remembered, in ms. */
export const MEMORY_MS: SQL = sql.raw(`${ID_MEMORY_MS}`);

/** The circuit named by `key`. */
export const OWN: SQL = sql`b.key = ${$("key")}`;

/** True if the caller knows the current generation, and no override has run out. */
export const CURRENT: SQL = sql`(
  b.epoch = ${$("epoch")} and ${GENERATION} = ${$("generation")} and b.began = ${$("began")}
)`;

/** The decision of this request. */
export const DECIDED: SQL = sql`r.circuit_breaker_id = b.id and r.id = ${$("id")}`;

/** The decision of this request, as long as the request is not applied in full. */
export const FRESH: SQL = sql`${OWN} and ${DECIDED} and r.revision > ${REVISION}`;

/** The same, if the request wins. */
export const WINNING: SQL = sql`${FRESH} and r.won`;

/** The decision of this request, as long as nothing of the request is applied. */
export const UNTOUCHED: SQL = sql`${FRESH} and ${REVISION} = r.revision - 2`;

/** Clears the values of a generation that has ended. */
export const END_TRIALS: SQL = sql`
  half_open_successes = 0, half_open_failures = 0, updated_at = r.at`;

/** Begins the next generation, at the moment in the row of the trail. */
export const BEGIN_GENERATION: SQL = sql`${END_TRIALS},
  revision = r.revision, generation = ${GENERATION} + 1, began = ${$("moment")}`;

/** True of a lease of the current generation. */
export const VALID: SQL = sql.raw("l.generation = b.generation and l.began = b.began");

/** Clears what leads to a verdict. */
export const CLEAR_EVIDENCE: SQL = sql`
  consecutive_failures = 0, consecutive_successes = 0, failure_count = 0,
  success_count = 0, slow_count = 0, outcomes = '', evidence_since = ${GENERATION} + 1`;

/** True of a row of the trail that is in a hash chain. */
export const CHAINED: SQL = chained(sql.raw("e.event"));

/**
 * True if the metadata of an edit by hand is as the trigger writes it. The trigger knows no reason and
 * no actor, so a row with other metadata was itself inserted or changed by hand.
 */
export const TRIGGERED: SQL = sql.raw(`
  case when json_valid(e.metadata) then
    e.metadata ->> '$.from' in (${listOf(CIRCUIT_STATES)})
    and e.metadata ->> '$.to' in (${listOf(CIRCUIT_STATES)})
    and e.metadata ->> '$.by' in ('update', 'insert', 'delete')
    and e.metadata = json_object(
      'from', e.metadata ->> '$.from', 'to', e.metadata ->> '$.to',
      'generation', e.generation, 'reason', null, 'actor', null,
      'by', e.metadata ->> '$.by',
      'after', case when e.metadata ->> '$.by' <> 'delete' then json_object(
        'state', e.metadata ->> '$.to',
        'openUntil', e.metadata ->> '$.after.openUntil',
        'cooldownMs', e.metadata ->> '$.after.cooldownMs',
        'reason', e.metadata ->> '$.after.reason',
        'override', case when e.metadata ->> '$.after.override.kind' is not null then json_object(
          'kind', e.metadata ->> '$.after.override.kind',
          'until', e.metadata ->> '$.after.override.until',
          'reason', e.metadata ->> '$.after.override.reason',
          'actor', e.metadata ->> '$.after.override.actor'
        ) end
      ) end
    )
  else 0 end`);

/** A column as JSON can hold it: a blob as a text. */
export function inJson(column: string): string {
  return `iif(typeof(${column}) = 'blob', cast(${column} as text), ${column})`;
}

/** A moment on the caller's clock, translated to the database's: `at` is the caller's time. */
export function translated(moment: string): SQL {
  return sql`${$(moment)} + ${$("moment")} - ${$("at")}`;
}

/** Changes the circuit, where the decision of this request says so. */
export function update({ circuits, requests }: Tables, set: SQL, where: SQL = WINNING): Statement {
  return prepare(sql`update ${circuits} as b set ${set} from ${requests} r where ${where}`);
}

/**
 * Decides a request: writes whether it wins, when it came, and the revision of the circuit once it
 * is applied. A request that arrives again within a minute keeps its first decision.
 *
 * @param won Whether the request wins.
 * @param where Whether there is anything to decide. By default, a request that would append a row
 * to the trail is decided only if that row is hashed.
 */
export function decide(
  { circuits, requests, now, expired, sealed }: Dialect,
  won: SQL,
  where: SQL = sql`(not (${won} or ${expired}) or ${sealed})`,
): Statement {
  return prepare(sql`
    insert into ${requests} (circuit_breaker_id, id, at, won, revision)
    select b.id, ${$("id")}, ${now}, ${won}, ${REVISION} + 2
    from ${circuits} b where ${OWN} and ${SOUND} and ${where}
    on conflict (circuit_breaker_id, id) do update set
      at = excluded.at, won = excluded.won, revision = excluded.revision
    where at <= excluded.at - ${MEMORY_MS}`);
}
