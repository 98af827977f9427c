/**
 * The columns of the libSQL store's tables, for Drizzle, typed one by one.
 *
 * @module
 */

import {
  type $Type,
  type HasDefault,
  type IsPrimaryKey,
  type NotNull,
  type SQL,
  sql,
} from "drizzle-orm";
import {
  integer,
  type SQLiteIntegerBuilderInitial,
  type SQLiteTextBuilderInitial,
  type SQLiteTextJsonBuilderInitial,
  type SQLiteTimestampBuilderInitial,
  text,
} from "drizzle-orm/sqlite-core";
import type { AuditEventName, CircuitState, Override } from "../../src/contract.ts";

/** Column builder of a table's `id`. */
export type IdBuilder = IsPrimaryKey<HasDefault<NotNull<SQLiteIntegerBuilderInitial<"id">>>>;
/** Column builder of a whole number. */
export type IntBuilder<N extends string> = NotNull<SQLiteIntegerBuilderInitial<N>>;
/** Column builder of a count, which begins somewhere by itself. */
export type CountBuilder<N extends string> = HasDefault<IntBuilder<N>>;
/** Column builder of a moment: a `Date`, stored in ms. */
export type TimeBuilder<N extends string> = SQLiteTimestampBuilderInitial<N>;
/** Column builder of a text. */
export type TextBuilder<N extends string> = SQLiteTextBuilderInitial<
  N,
  [string, ...string[]],
  number | undefined
>;

/**
 * The columns of `circuit_breakers`: one row a circuit. Times are ms since the epoch, `Date` in
 * JavaScript. What the seed of this library names is `id` to `updatedAt`; the rest is beside it.
 */
export type CircuitBreakerColumns = {
  /** Counts up. */
  id: IdBuilder;
  /** Name and scopes in one text, as in snapshots: what tells circuits apart. */
  key: NotNull<TextBuilder<"key">>;
  /** As given to `make`. Circuits of one name in several scopes share it. */
  name: NotNull<TextBuilder<"name">>;
  /** Scope of `for()`, as `type:id`. */
  context: TextBuilder<"context">;
  /** Scope of `boundary()`, as `type:id`. */
  boundary: TextBuilder<"boundary">;
  /** As recorded: OPEN stays OPEN until a call is let through. */
  state: HasDefault<NotNull<$Type<TextBuilder<"state">, CircuitState>>>;
  /** Failures since the circuit last closed, or was reset or overridden. */
  failureCount: CountBuilder<"failure_count">;
  /** Successes since the circuit last closed, or was reset or overridden. */
  successCount: CountBuilder<"success_count">;
  /** When the last failure that counted ended. */
  lastFailureAt: TimeBuilder<"last_failure_at">;
  /** When it last opened. Stays after closing. */
  openedAt: TimeBuilder<"opened_at">;
  /** When it last closed. */
  closedAt: TimeBuilder<"closed_at">;
  /** When the row was made. */
  createdAt: HasDefault<NotNull<TimeBuilder<"created_at">>>;
  /** When the store last wrote it. */
  updatedAt: HasDefault<NotNull<TimeBuilder<"updated_at">>>;
  /** Until when an OPEN circuit lets nobody through. */
  openUntil: TimeBuilder<"open_until">;
  /** When the last success that counted ended. */
  lastSuccessAt: TimeBuilder<"last_success_at">;
  /** Slow calls since the circuit last closed, or was reset or overridden. */
  slowCount: CountBuilder<"slow_count">;
  /** Why it last changed: a strategy's name, an operator's words. */
  reason: HasDefault<NotNull<TextBuilder<"reason">>>;
  /** How often it went HALF_OPEN → OPEN since it last closed. */
  reopenCount: CountBuilder<"reopen_count">;
  /** Failures since the last success. */
  consecutiveFailures: CountBuilder<"consecutive_failures">;
  /** Successes since the last failure. */
  consecutiveSuccesses: CountBuilder<"consecutive_successes">;
  /** Successes of this life, late ones included. */
  totalSuccesses: CountBuilder<"total_successes">;
  /** Failures of this life, late ones included. */
  totalFailures: CountBuilder<"total_failures">;
  /** Rejected calls of this life. */
  totalRejected: CountBuilder<"total_rejected">;
  /** Slow calls of this life. */
  totalSlow: CountBuilder<"total_slow">;
  /** Trials of this generation that succeeded. */
  halfOpenSuccesses: CountBuilder<"half_open_successes">;
  /** Trials of this generation that failed. */
  halfOpenFailures: CountBuilder<"half_open_failures">;
  /** What an operator laid over the state. */
  override: $Type<TextBuilder<"override">, Override>;
  /** When that ends by itself; `null`: when released. */
  overrideUntil: TimeBuilder<"override_until">;
  /** Why, in the operator's words. */
  overrideReason: TextBuilder<"override_reason">;
  /** Who. */
  overrideActor: TextBuilder<"override_actor">;
  /** Fingerprint of the policy of the last tally. */
  policyHash: HasDefault<NotNull<TextBuilder<"policy_hash">>>;
  /** That of the tally before. */
  previousPolicyHash: HasDefault<NotNull<TextBuilder<"previous_policy_hash">>>;
  /** A random id of this life of the circuit. */
  epoch: HasDefault<NotNull<TextBuilder<"epoch">>>;
  /** Counts transitions and operator actions from 1. */
  generation: CountBuilder<"generation">;
  /** Grows with every write of the store's. A write that leaves it alone is somebody else's. */
  revision: CountBuilder<"revision">;
  /** The generation in which the evidence was cleared last: what the window counts from. */
  evidenceSince: CountBuilder<"evidence_since">;
  /** The last outcomes, oldest first: `S` and `F`. */
  outcomes: HasDefault<NotNull<TextBuilder<"outcomes">>>;
  /** The override that last ended by itself, as JSON. */
  released: TextBuilder<"released">;
  /** Id of the request that found it ended. */
  releasedBy: TextBuilder<"released_by">;
};

/**
 * The columns of `circuit_breaker_events`: one row a transition or operator action and, with
 * `audit: "calls"`, one a call.
 */
export type CircuitBreakerEventColumns = {
  /** Counts up. */
  id: IdBuilder;
  /** The circuit's row. Rows of the trail outlive it. */
  circuitBreakerId: IntBuilder<"circuit_breaker_id">;
  /** What happened. */
  event: NotNull<$Type<TextBuilder<"event">, AuditEventName>>;
  /** From, to, generation, reason, actor, … */
  metadata: $Type<SQLiteTextJsonBuilderInitial<"metadata">, Record<string, unknown>>;
  /** When, on the store's clock. */
  createdAt: NotNull<TimeBuilder<"created_at">>;
  /** The circuit's key, which stays when the circuit is removed. */
  key: NotNull<TextBuilder<"key">>;
  /** Which life of the circuit. Not of calls. */
  epoch: TextBuilder<"epoch">;
  /** The generation afterwards. Not of calls. */
  generation: SQLiteIntegerBuilderInitial<"generation">;
  /** The row's place in the hash chain of its key, from 1; `null`: in none, or not yet. */
  sequence: SQLiteIntegerBuilderInitial<"sequence">;
  /** SHA-256 or HMAC over the row and the hash before it, in hex. */
  hash: TextBuilder<"hash">;
};

/** The columns of `circuit_breaker_trails`: a row a hash chain. It outlives the circuit. */
export type CircuitBreakerTrailColumns = {
  /** Key of the circuit. */
  key: IsPrimaryKey<NotNull<TextBuilder<"key">>>;
  /** Hash of the last row of the chain. */
  head: HasDefault<NotNull<TextBuilder<"head">>>;
  /** Its place, from 1. */
  sequence: CountBuilder<"sequence">;
  /** Its id. */
  lastId: CountBuilder<"last_id">;
  /** Its time, in ms. */
  lastAt: CountBuilder<"last_at">;
  /** Rows of edits by hand that are not in the chain yet. */
  unsealed: CountBuilder<"unsealed">;
  /** Place of the last row that was pruned. */
  anchorSequence: CountBuilder<"anchor_sequence">;
  /** Its id. */
  anchorId: CountBuilder<"anchor_id">;
  /** Its hash. */
  anchorHash: HasDefault<NotNull<TextBuilder<"anchor_hash">>>;
  /** A hash over the three. */
  anchorSeal: HasDefault<NotNull<TextBuilder<"anchor_seal">>>;
};

/** The columns of `circuit_breaker_windows`: the time windows, a row a segment. */
export type CircuitBreakerWindowColumns = {
  /** The circuit's row. */
  circuitBreakerId: IntBuilder<"circuit_breaker_id">;
  /** When the segment began, in ms. */
  start: IntBuilder<"start">;
  /** `evidence_since` of the circuit when it was counted; another one's is void. */
  since: IntBuilder<"since">;
  /** Successes that ended in it. */
  successes: IntBuilder<"successes">;
  /** Failures that ended in it. */
  failures: IntBuilder<"failures">;
  /** Slow calls that ended in it. */
  slow: IntBuilder<"slow">;
};

/** The columns of `circuit_breaker_leases`: trials in flight, and those ended a while ago. */
export type CircuitBreakerLeaseColumns = {
  /** The circuit's row. */
  circuitBreakerId: IntBuilder<"circuit_breaker_id">;
  /** Names the slot. */
  token: NotNull<TextBuilder<"token">>;
  /** A generation owns its leases: another one's are void. */
  generation: IntBuilder<"generation">;
  /** When it expires, in ms. */
  until: IntBuilder<"until">;
  /** For how long it was let, in ms. */
  leaseMs: IntBuilder<"lease_ms">;
  /** 1 once the trial has ended. */
  ended: IntBuilder<"ended">;
};

/** The columns of `circuit_breaker_requests`: what was applied within the last minute. */
export type CircuitBreakerRequestColumns = {
  /** The circuit's row. */
  circuitBreakerId: IntBuilder<"circuit_breaker_id">;
  /** Id of the request. */
  id: NotNull<TextBuilder<"id">>;
  /** When, in ms on the database's clock. */
  at: IntBuilder<"at">;
  /** Whether it won, moved the circuit or was current. */
  won: IntBuilder<"won">;
  /** `revision` of the circuit once it is applied. */
  revision: IntBuilder<"revision">;
};

/** The time on the database's clock, in whole ms since the epoch. It is constant within a statement. */
export const DATABASE_NOW: SQL = sql.raw("cast(unixepoch('subsec') * 1000 as integer)");
const NOW = sql`(${DATABASE_NOW})`;

const id = (): IdBuilder => integer("id").primaryKey({ autoIncrement: true });
export const int = <N extends string>(name: N): IntBuilder<N> =>
  integer<N, "number">(name).notNull();
export const count = <N extends string>(name: N, first = 0): CountBuilder<N> =>
  integer<N, "number">(name).notNull().default(first);
const time = <N extends string>(name: N): TimeBuilder<N> =>
  integer<N, "timestamp_ms">(name, { mode: "timestamp_ms" });
export const word = <N extends string>(name: N): HasDefault<NotNull<TextBuilder<N>>> =>
  text(name).notNull().default("");

/**
 * The columns of `circuit_breakers`, anew at each call: spread them into a table of your own, and
 * add yours.
 *
 * @returns Column builders, to be given to `sqliteTable`.
 *
 * @example A table with a column of your own
 * ```ts
 * import { circuitBreakerColumns, createSchema } from "@fuse/edge/libsql";
 * import { sqliteTable, text } from "drizzle-orm/sqlite-core";
 *
 * const circuitBreakers = sqliteTable("circuit_breakers", {
 *   ...circuitBreakerColumns(),
 *   team: text("team"),
 * });
 * export const schema = createSchema({ tables: { circuitBreakers } });
 * ```
 */
export function circuitBreakerColumns(): CircuitBreakerColumns {
  return {
    id: id(),
    key: text("key").notNull(),
    name: text("name").notNull(),
    context: text("context"),
    boundary: text("boundary"),
    state: text("state").$type<CircuitState>().notNull().default("CLOSED"),
    failureCount: count("failure_count"),
    successCount: count("success_count"),
    lastFailureAt: time("last_failure_at"),
    openedAt: time("opened_at"),
    closedAt: time("closed_at"),
    createdAt: time("created_at").notNull().default(NOW),
    updatedAt: time("updated_at").notNull().default(NOW),
    openUntil: time("open_until"),
    lastSuccessAt: time("last_success_at"),
    slowCount: count("slow_count"),
    reason: word("reason"),
    reopenCount: count("reopen_count"),
    consecutiveFailures: count("consecutive_failures"),
    consecutiveSuccesses: count("consecutive_successes"),
    totalSuccesses: count("total_successes"),
    totalFailures: count("total_failures"),
    totalRejected: count("total_rejected"),
    totalSlow: count("total_slow"),
    halfOpenSuccesses: count("half_open_successes"),
    halfOpenFailures: count("half_open_failures"),
    override: text("override").$type<Override>(),
    overrideUntil: time("override_until"),
    overrideReason: text("override_reason"),
    overrideActor: text("override_actor"),
    policyHash: word("policy_hash"),
    previousPolicyHash: word("previous_policy_hash"),
    // A row that was put there by hand begins a life as well.
    epoch: text("epoch").notNull().default(sql`(lower(hex(randomblob(16))))`),
    generation: count("generation", 1),
    revision: count("revision"),
    evidenceSince: count("evidence_since", 1),
    outcomes: word("outcomes"),
    released: text("released"),
    releasedBy: text("released_by"),
  };
}

/**
 * The columns of `circuit_breaker_events`, as {@linkcode circuitBreakerColumns}.
 *
 * @returns Column builders, to be given to `sqliteTable`.
 */
export function circuitBreakerEventColumns(): CircuitBreakerEventColumns {
  return {
    id: id(),
    circuitBreakerId: int("circuit_breaker_id"),
    event: text("event").$type<AuditEventName>().notNull(),
    metadata: text("metadata", { mode: "json" }).$type<Record<string, unknown>>(),
    createdAt: time("created_at").notNull(),
    key: text("key").notNull(),
    epoch: text("epoch"),
    generation: integer("generation"),
    sequence: integer("sequence"),
    hash: text("hash"),
  };
}
