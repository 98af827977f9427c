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
import type {
  AuditEventName,
  CircuitState,
  FailureNote,
  Override,
  PolicyRecord,
} from "../../src/contract.ts";

/** Column builder of a table's `id`. */
export type IdBuilder = IsPrimaryKey<HasDefault<NotNull<SQLiteIntegerBuilderInitial<"id">>>>;
/** Column builder of a whole number. */
export type IntBuilder<N extends string> = NotNull<SQLiteIntegerBuilderInitial<N>>;
/** Column builder of a count, which has a default. */
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
 * The columns of `circuit_breakers`: one row for each circuit. Times are ms since the epoch, and `Date`
 * in JavaScript.
 */
export type CircuitBreakerColumns = {
  /** The id of the row. Ids count up. */
  id: IdBuilder;
  /** Name and scopes in one text, as in snapshots. It identifies the circuit. */
  key: NotNull<TextBuilder<"key">>;
  /** The name given to `make`. Circuits in several scopes may share it. */
  name: NotNull<TextBuilder<"name">>;
  /** The scope of `for()`, as `type:id`. */
  context: TextBuilder<"context">;
  /** The scope of `boundary()`, as `type:id`. */
  boundary: TextBuilder<"boundary">;
  /** The recorded state: OPEN stays OPEN until a call is let through. */
  state: HasDefault<NotNull<$Type<TextBuilder<"state">, CircuitState>>>;
  /** Failures since the circuit last closed, or was reset or overridden. */
  failureCount: CountBuilder<"failure_count">;
  /** Successes since the circuit last closed, or was reset or overridden. */
  successCount: CountBuilder<"success_count">;
  /** When the last failure that counted ended. */
  lastFailureAt: TimeBuilder<"last_failure_at">;
  /** When the circuit last opened. Stays after closing. */
  openedAt: TimeBuilder<"opened_at">;
  /** When the circuit last closed. */
  closedAt: TimeBuilder<"closed_at">;
  /** When the row was created. */
  createdAt: HasDefault<NotNull<TimeBuilder<"created_at">>>;
  /** When the store last wrote the row. */
  updatedAt: HasDefault<NotNull<TimeBuilder<"updated_at">>>;
  /** Until when an OPEN circuit lets nobody through. */
  openUntil: TimeBuilder<"open_until">;
  /** How long the opening lasts, in ms; `null` once it closed. */
  cooldownMs: SQLiteIntegerBuilderInitial<"cooldown_ms">;
  /** The failure that opened the circuit last, as JSON: `at`, `kind`, `status` and `instance`. */
  lastFailure: $Type<SQLiteTextJsonBuilderInitial<"last_failure">, FailureNote>;
  /** The policy of the last outcome that counted: options that decide and differ from the defaults. */
  policy: $Type<SQLiteTextJsonBuilderInitial<"policy">, PolicyRecord>;
  /** When the last success that counted ended. */
  lastSuccessAt: TimeBuilder<"last_success_at">;
  /** Slow calls since the circuit last closed, or was reset or overridden. */
  slowCount: CountBuilder<"slow_count">;
  /** Why the circuit last changed: the name of a strategy, or the words of an operator. */
  reason: HasDefault<NotNull<TextBuilder<"reason">>>;
  /** How often the circuit went HALF_OPEN → OPEN since it last closed. */
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
  /** The override that an operator laid over the state. */
  override: $Type<TextBuilder<"override">, Override>;
  /** When the override ends by itself, or `null` if it lasts until released. */
  overrideUntil: TimeBuilder<"override_until">;
  /** The reason, in the operator's words. */
  overrideReason: TextBuilder<"override_reason">;
  /** The person or program that set the override. */
  overrideActor: TextBuilder<"override_actor">;
  /** The policy hash of the last tally. */
  policyHash: HasDefault<NotNull<TextBuilder<"policy_hash">>>;
  /** The policy hash of the tally before. */
  previousPolicyHash: HasDefault<NotNull<TextBuilder<"previous_policy_hash">>>;
  /** A random id of this life of the circuit. */
  epoch: HasDefault<NotNull<TextBuilder<"epoch">>>;
  /** Counts transitions and operator actions from 1. */
  generation: CountBuilder<"generation">;
  /** When this generation began. */
  began: HasDefault<NotNull<TimeBuilder<"began">>>;
  /** Grows with every write by the store. A write that leaves it alone is somebody else's. */
  revision: CountBuilder<"revision">;
  /** The generation in which the evidence was cleared last. The window counts from there. */
  evidenceSince: CountBuilder<"evidence_since">;
  /** The last outcomes, oldest first: `S` and `F`. */
  outcomes: HasDefault<NotNull<TextBuilder<"outcomes">>>;
  /** The second of the last tally, in s since the epoch. */
  requestSecond: CountBuilder<"request_second">;
  /** How many tallies came in that second. */
  requestCount: CountBuilder<"request_count">;
  /** How many came in the second before it. */
  requestsBefore: CountBuilder<"requests_before">;
  /** The override that last ended by itself, as JSON. */
  released: TextBuilder<"released">;
  /** The id of the request that found the override ended. */
  releasedBy: TextBuilder<"released_by">;
};

/**
 * The columns of `circuit_breaker_events`: one row for each transition or operator action and, with
 * `audit: "calls"`, one for each call.
 */
export type CircuitBreakerEventColumns = {
  /** The id of the row. Ids count up. */
  id: IdBuilder;
  /** The id of the circuit's row. Rows of the trail outlive it. */
  circuitBreakerId: IntBuilder<"circuit_breaker_id">;
  /** The event. */
  event: NotNull<$Type<TextBuilder<"event">, AuditEventName>>;
  /** From, to, generation, reason, actor, and more. */
  metadata: $Type<SQLiteTextJsonBuilderInitial<"metadata">, Record<string, unknown>>;
  /** When it happened, on the store's clock. */
  createdAt: NotNull<TimeBuilder<"created_at">>;
  /** The circuit's key, which stays when the circuit is removed. */
  key: NotNull<TextBuilder<"key">>;
  /** The id of the circuit's life. Rows of calls have none. */
  epoch: TextBuilder<"epoch">;
  /** The generation afterwards. Rows of calls have none. */
  generation: SQLiteIntegerBuilderInitial<"generation">;
  /** When that generation began. Rows of calls have none. */
  began: TimeBuilder<"began">;
  /** The row's place in the hash chain of its key, from 1, or `null` if it is not in a chain. */
  sequence: SQLiteIntegerBuilderInitial<"sequence">;
  /** SHA-256 or HMAC over the row and the hash before it, in hex. */
  hash: TextBuilder<"hash">;
};

/** The columns of `circuit_breaker_cursors`: one row for each reader of the trail and what it delivers to. */
export type CircuitBreakerCursorColumns = {
  /** The name of the reader: `name` of `notify()`. */
  name: NotNull<TextBuilder<"name">>;
  /** The index of the channel, from 0 on. */
  channel: IntBuilder<"channel">;
  /** The id of the last row of the trail that was delivered. */
  position: CountBuilder<"position">;
  /** A JSON array of the generations after `position` whose notices were delivered as they happened. */
  told: HasDefault<NotNull<TextBuilder<"told">>>;
  /** The isolate that delivers until `held_until`. */
  holder: HasDefault<NotNull<TextBuilder<"holder">>>;
  /** The end of that time, in ms. */
  heldUntil: CountBuilder<"held_until">;
};

/** The columns of `circuit_breaker_trails`: one row for each hash chain. It outlives the circuit. */
export type CircuitBreakerTrailColumns = {
  /** The key of the circuit. */
  key: IsPrimaryKey<NotNull<TextBuilder<"key">>>;
  /** The hash of the last row of the chain. */
  head: HasDefault<NotNull<TextBuilder<"head">>>;
  /** The place of that row, from 1. */
  sequence: CountBuilder<"sequence">;
  /** The id of that row. */
  lastId: CountBuilder<"last_id">;
  /** The time of that row, in ms. */
  lastAt: CountBuilder<"last_at">;
  /** How many edits by hand are not in the chain yet. */
  unsealed: CountBuilder<"unsealed">;
  /** The place of the last row that was pruned. */
  anchorSequence: CountBuilder<"anchor_sequence">;
  /** The id of that row. */
  anchorId: CountBuilder<"anchor_id">;
  /** The hash of that row. */
  anchorHash: HasDefault<NotNull<TextBuilder<"anchor_hash">>>;
  /** A hash over place, id and hash, which authenticates them. */
  anchorSeal: HasDefault<NotNull<TextBuilder<"anchor_seal">>>;
};

/** The columns of `circuit_breaker_windows`: the time windows, one row for each segment. */
export type CircuitBreakerWindowColumns = {
  /** The id of the circuit's row. */
  circuitBreakerId: IntBuilder<"circuit_breaker_id">;
  /** When the segment began, in ms. */
  start: IntBuilder<"start">;
  /** `evidence_since` of the circuit when the segment was counted. With another value it is void. */
  since: IntBuilder<"since">;
  /** Successes that ended in the segment. */
  successes: IntBuilder<"successes">;
  /** Failures that ended in the segment. */
  failures: IntBuilder<"failures">;
  /** Slow calls that ended in the segment. */
  slow: IntBuilder<"slow">;
};

/** The columns of `circuit_breaker_leases`: trials in flight, and those ended a while ago. */
export type CircuitBreakerLeaseColumns = {
  /** The id of the circuit's row. */
  circuitBreakerId: IntBuilder<"circuit_breaker_id">;
  /** The token of the trial. */
  token: NotNull<TextBuilder<"token">>;
  /** The generation that granted the lease. In another one, the lease is void. */
  generation: IntBuilder<"generation">;
  /** When that generation began, in ms. */
  began: IntBuilder<"began">;
  /** When the lease expires, in ms. */
  until: IntBuilder<"until">;
  /** The length of the lease, in ms. */
  leaseMs: IntBuilder<"lease_ms">;
  /** 1 once the trial has ended. */
  ended: IntBuilder<"ended">;
};

/** The columns of `circuit_breaker_requests`: the requests of the last minute. */
export type CircuitBreakerRequestColumns = {
  /** The id of the circuit's row. */
  circuitBreakerId: IntBuilder<"circuit_breaker_id">;
  /** The id of the request. */
  id: NotNull<TextBuilder<"id">>;
  /** When the request came, in ms on the database's clock. */
  at: IntBuilder<"at">;
  /** 1 if the request won, moved the circuit or was current. */
  won: IntBuilder<"won">;
  /** The circuit's `revision` once the request is applied. */
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
    cooldownMs: integer("cooldown_ms"),
    lastFailure: text("last_failure", { mode: "json" }).$type<FailureNote>(),
    policy: text("policy", { mode: "json" }).$type<PolicyRecord>(),
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
    began: time("began").notNull().default(NOW),
    revision: count("revision"),
    evidenceSince: count("evidence_since", 1),
    outcomes: word("outcomes"),
    requestSecond: count("request_second"),
    requestCount: count("request_count"),
    requestsBefore: count("requests_before"),
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
    began: time("began"),
    sequence: integer("sequence"),
    hash: text("hash"),
  };
}
