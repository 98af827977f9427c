/**
 * The tables of the libSQL store, for Drizzle: the store's own statements are built on them, and so
 * are your queries.
 *
 * `circuit_breakers` and `circuit_breaker_events` are for you to read. The three tables beside them
 * are the store's own affair: the time window, trials in flight, and requests already applied.
 *
 * @module
 */

import {
  type $Type,
  type BuildColumns,
  getTableColumns,
  type HasDefault,
  is,
  type IsPrimaryKey,
  type Many,
  type NotNull,
  type One,
  type Relations,
  relations,
  sql,
} from "drizzle-orm";
import {
  type AnySQLiteTable,
  check,
  index,
  integer,
  primaryKey,
  type SQLiteColumnBuilderBase,
  type SQLiteIntegerBuilderInitial,
  SQLiteTable,
  sqliteTable,
  type SQLiteTableWithColumns,
  type SQLiteTextBuilderInitial,
  type SQLiteTextJsonBuilderInitial,
  type SQLiteTimestampBuilderInitial,
  text,
  uniqueIndex,
} from "drizzle-orm/sqlite-core";
import type { AuditEventName } from "../src/history.ts";
import { known, refuse } from "../src/options.ts";
import type { CircuitState, Override } from "../src/store.ts";

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
  id: IdBuilder;
  /** Name and scopes in one text, as in snapshots: what tells circuits apart. */
  key: NotNull<TextBuilder<"key">>;
  /** As given to `make`. Circuits of one name in several scopes share it. */
  name: NotNull<TextBuilder<"name">>;
  /** Scope of `for()`, as `type:id`. */
  context: TextBuilder<"context">;
  /** Scope of `boundary()`, as `type:id`. */
  boundary: TextBuilder<"boundary">;
  state: HasDefault<NotNull<$Type<TextBuilder<"state">, CircuitState>>>;
  /** Failures since the circuit last closed, or was reset or overridden. */
  failureCount: CountBuilder<"failure_count">;
  /** Successes since the circuit last closed, or was reset or overridden. */
  successCount: CountBuilder<"success_count">;
  lastFailureAt: TimeBuilder<"last_failure_at">;
  /** When it last opened. Stays after closing. */
  openedAt: TimeBuilder<"opened_at">;
  closedAt: TimeBuilder<"closed_at">;
  createdAt: HasDefault<NotNull<TimeBuilder<"created_at">>>;
  updatedAt: HasDefault<NotNull<TimeBuilder<"updated_at">>>;
  /** Until when an OPEN circuit lets nobody through. */
  openUntil: TimeBuilder<"open_until">;
  lastSuccessAt: TimeBuilder<"last_success_at">;
  /** Slow calls since the circuit last closed, or was reset or overridden. */
  slowCount: CountBuilder<"slow_count">;
  /** Why it last changed: a strategy's name, an operator's words. */
  reason: HasDefault<NotNull<TextBuilder<"reason">>>;
  reopenCount: CountBuilder<"reopen_count">;
  consecutiveFailures: CountBuilder<"consecutive_failures">;
  consecutiveSuccesses: CountBuilder<"consecutive_successes">;
  totalSuccesses: CountBuilder<"total_successes">;
  totalFailures: CountBuilder<"total_failures">;
  totalRejected: CountBuilder<"total_rejected">;
  totalSlow: CountBuilder<"total_slow">;
  /** Of the trials of this generation. */
  halfOpenSuccesses: CountBuilder<"half_open_successes">;
  halfOpenFailures: CountBuilder<"half_open_failures">;
  override: $Type<TextBuilder<"override">, Override>;
  overrideUntil: TimeBuilder<"override_until">;
  overrideReason: TextBuilder<"override_reason">;
  overrideActor: TextBuilder<"override_actor">;
  /** Fingerprint of the policy of the last tally, and of the one before. */
  policyHash: HasDefault<NotNull<TextBuilder<"policy_hash">>>;
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
  /** The override that last ended by itself, as JSON, and the id of the request that found it. */
  released: TextBuilder<"released">;
  releasedBy: TextBuilder<"released_by">;
};

/** The columns of `circuit_breaker_events`: one row a transition or operator action. */
export type CircuitBreakerEventColumns = {
  id: IdBuilder;
  /** The circuit's row. Rows of the trail outlive it. */
  circuitBreakerId: IntBuilder<"circuit_breaker_id">;
  event: NotNull<$Type<TextBuilder<"event">, AuditEventName>>;
  /** From, to, generation, reason, actor, … */
  metadata: $Type<SQLiteTextJsonBuilderInitial<"metadata">, Record<string, unknown>>;
  createdAt: NotNull<TimeBuilder<"created_at">>;
  /** The circuit's key, which stays when the circuit is removed. */
  key: NotNull<TextBuilder<"key">>;
};

/** The columns of `circuit_breaker_windows`: the time windows, a row a segment. */
export type CircuitBreakerWindowColumns = {
  circuitBreakerId: IntBuilder<"circuit_breaker_id">;
  /** When the segment began, in ms. */
  start: IntBuilder<"start">;
  /** `evidence_since` of the circuit when it was counted; another one's is void. */
  since: IntBuilder<"since">;
  successes: IntBuilder<"successes">;
  failures: IntBuilder<"failures">;
  slow: IntBuilder<"slow">;
};

/** The columns of `circuit_breaker_leases`: trials in flight, and those ended a while ago. */
export type CircuitBreakerLeaseColumns = {
  circuitBreakerId: IntBuilder<"circuit_breaker_id">;
  token: NotNull<TextBuilder<"token">>;
  /** A generation owns its leases: another one's are void. */
  generation: IntBuilder<"generation">;
  /** When it expires, in ms. */
  until: IntBuilder<"until">;
  leaseMs: IntBuilder<"lease_ms">;
  /** 1 once the trial has ended. */
  ended: IntBuilder<"ended">;
};

/** The columns of `circuit_breaker_requests`: what was applied within the last minute. */
export type CircuitBreakerRequestColumns = {
  circuitBreakerId: IntBuilder<"circuit_breaker_id">;
  id: NotNull<TextBuilder<"id">>;
  /** When, in ms on the database's clock. */
  at: IntBuilder<"at">;
  /** Whether it won, moved the circuit or was current. */
  won: IntBuilder<"won">;
  /** `revision` of the circuit once it is applied. */
  revision: IntBuilder<"revision">;
};

/** A table whose columns are typed one by one. */
export type FuseTable<N extends string, C extends Record<string, SQLiteColumnBuilderBase>> =
  SQLiteTableWithColumns<{
    name: N;
    schema: undefined;
    dialect: "sqlite";
    columns: BuildColumns<N, C, "sqlite">;
  }>;

/** Type of {@linkcode circuitBreakers}. */
export type CircuitBreakersTable = FuseTable<"circuit_breakers", CircuitBreakerColumns>;
/** Type of {@linkcode circuitBreakerEvents}. */
export type CircuitBreakerEventsTable = FuseTable<
  "circuit_breaker_events",
  CircuitBreakerEventColumns
>;
/** Type of {@linkcode circuitBreakerWindows}. */
export type CircuitBreakerWindowsTable = FuseTable<
  "circuit_breaker_windows",
  CircuitBreakerWindowColumns
>;
/** Type of {@linkcode circuitBreakerLeases}. */
export type CircuitBreakerLeasesTable = FuseTable<
  "circuit_breaker_leases",
  CircuitBreakerLeaseColumns
>;
/** Type of {@linkcode circuitBreakerRequests}. */
export type CircuitBreakerRequestsTable = FuseTable<
  "circuit_breaker_requests",
  CircuitBreakerRequestColumns
>;

/** The tables that a store works on: what {@linkcode createSchema} gives. */
export interface FuseSchema<
  B extends AnySQLiteTable = CircuitBreakersTable,
  E extends AnySQLiteTable = CircuitBreakerEventsTable,
> {
  /** One row a circuit. */
  readonly circuitBreakers: B;
  /** The trail. */
  readonly circuitBreakerEvents: E;
  /** Time windows. */
  readonly circuitBreakerWindows: CircuitBreakerWindowsTable;
  /** Trials in flight. */
  readonly circuitBreakerLeases: CircuitBreakerLeasesTable;
  /** Requests already applied. */
  readonly circuitBreakerRequests: CircuitBreakerRequestsTable;
}

/** Options of {@linkcode createSchema}. */
export interface SchemaOptions<
  B extends AnySQLiteTable = CircuitBreakersTable,
  E extends AnySQLiteTable = CircuitBreakerEventsTable,
> {
  /**
   * Put before the name of every table that is not given. Migrate with the same:
   * `migrate(client, { prefix })`.
   *
   * @default {""}
   */
  prefix?: string | undefined;
  /** Tables of your own that stand in for ours: all of our columns, and any that you add. */
  tables?: {
    circuitBreakers?: B | undefined;
    circuitBreakerEvents?: E | undefined;
  } | undefined;
}

/** The database's clock, in whole ms since the epoch. */
const NOW = sql`(cast(unixepoch('subsec') * 1000 as integer))`;

const id = (): IdBuilder => integer("id").primaryKey({ autoIncrement: true });
const int = <N extends string>(name: N): IntBuilder<N> => integer<N, "number">(name).notNull();
const count = <N extends string>(name: N, first = 0): CountBuilder<N> =>
  integer<N, "number">(name).notNull().default(first);
const time = <N extends string>(name: N): TimeBuilder<N> =>
  integer<N, "timestamp_ms">(name, { mode: "timestamp_ms" });
const word = <N extends string>(name: N): HasDefault<NotNull<TextBuilder<N>>> =>
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
  };
}

/**
 * The tables of a store. No I/O.
 *
 * @param options See {@linkcode SchemaOptions}.
 * @returns For `libsql({ schema })`, and for Drizzle.
 * @throws {TypeError} If a table given lacks one of our columns, or has one of its own that is NOT
 * NULL without a default of the database's: the store could not insert a row.
 */
export function createSchema<
  B extends AnySQLiteTable = CircuitBreakersTable,
  E extends AnySQLiteTable = CircuitBreakerEventsTable,
>(options: SchemaOptions<B, E> = {}): FuseSchema<B, E> {
  known("schema", options, ["prefix", "tables"]);
  const { prefix = "", tables = {} } = options;
  if (typeof prefix !== "string" || !/^\w*$/.test(prefix)) {
    refuse("schema", "prefix", "letters, digits and underscores", prefix);
  }
  known("schema", tables, ["circuitBreakers", "circuitBreakerEvents"]);
  const ours = makeTables(prefix);
  // Named one by one: what a caller left undefined must not hide ours.
  const schema = {
    ...ours,
    circuitBreakers: tables.circuitBreakers ?? ours.circuitBreakers,
    circuitBreakerEvents: tables.circuitBreakerEvents ?? ours.circuitBreakerEvents,
  };
  checkSchema("schema", schema);
  return schema as unknown as FuseSchema<B, E>;
}

/** Whether a store can read and write these tables. No part of the entry point. */
export function checkSchema(subject: string, schema: unknown): asserts schema is FuseSchema {
  for (const [name, ours] of Object.entries(standard)) {
    const table = Object(schema)[name];
    if (!is(table, SQLiteTable)) refuse(subject, "schema", "what createSchema() gives", schema);
    checkTable(subject, name, table, ours);
  }
}

function makeTables(prefix: string): FuseSchema {
  // A type knows the names without prefix: only Drizzle's relations look at it.
  const name = <N extends string>(rest: N) => `${prefix}${rest}` as N;
  const tables = {
    circuitBreakers: sqliteTable(name("circuit_breakers"), circuitBreakerColumns(), (t) => [
      uniqueIndex(name("circuit_breakers_key")).on(t.key),
      index(name("circuit_breakers_name")).on(t.name),
      index(name("circuit_breakers_state")).on(t.state),
      index(name("circuit_breakers_created_at")).on(t.createdAt),
      index(name("circuit_breakers_opened_at")).on(t.openedAt),
      check(name("circuit_breakers_states"), sql`${t.state} in ('CLOSED', 'OPEN', 'HALF_OPEN')`),
    ]),
    circuitBreakerEvents: sqliteTable(
      name("circuit_breaker_events"),
      circuitBreakerEventColumns(),
      (t) => [
        index(name("circuit_breaker_events_circuit")).on(t.circuitBreakerId, t.createdAt),
        index(name("circuit_breaker_events_key")).on(t.key),
        index(name("circuit_breaker_events_event")).on(t.event, t.createdAt),
        index(name("circuit_breaker_events_created_at")).on(t.createdAt),
      ],
    ),
    circuitBreakerWindows: sqliteTable(name("circuit_breaker_windows"), {
      circuitBreakerId: int("circuit_breaker_id"),
      start: int("start"),
      since: int("since"),
      successes: int("successes"),
      failures: int("failures"),
      slow: int("slow"),
    }, (t) => [primaryKey({ columns: [t.circuitBreakerId, t.start] })]),
    circuitBreakerLeases: sqliteTable(name("circuit_breaker_leases"), {
      circuitBreakerId: int("circuit_breaker_id"),
      token: text("token").notNull(),
      generation: int("generation"),
      until: int("until"),
      leaseMs: int("lease_ms"),
      ended: int("ended"),
    }, (t) => [primaryKey({ columns: [t.circuitBreakerId, t.token] })]),
    circuitBreakerRequests: sqliteTable(name("circuit_breaker_requests"), {
      circuitBreakerId: int("circuit_breaker_id"),
      id: text("id").notNull(),
      at: int("at"),
      won: int("won"),
      revision: int("revision"),
    }, (t) => [
      primaryKey({ columns: [t.circuitBreakerId, t.id] }),
      index(name("circuit_breaker_requests_at")).on(t.circuitBreakerId, t.at),
    ]),
  };
  return tables;
}

function checkTable(subject: string, name: string, table: SQLiteTable, ours: SQLiteTable): void {
  const columns = getTableColumns(table);
  const needed = getTableColumns(ours);
  for (const [column, { name: sqlName }] of Object.entries(needed)) {
    if (columns[column]?.name !== sqlName) {
      throw new TypeError(
        `Cannot create ${subject}: table "${name}" must have a column "${column}" that is named ` +
          `"${sqlName}" in the database`,
      );
    }
  }
  for (const [column, { notNull, default: standard, generated }] of Object.entries(columns)) {
    if (Object.hasOwn(needed, column) || !notNull) continue;
    if (standard === undefined && generated === undefined) {
      throw new TypeError(
        `Cannot create ${subject}: column "${column}" of table "${name}" must be nullable or have ` +
          `a default in the database, for the store inserts rows without it`,
      );
    }
  }
}

const standard: FuseSchema = makeTables("");

/** One row a circuit: what it is now. See {@linkcode CircuitBreakerColumns}. */
export const circuitBreakers: CircuitBreakersTable = standard.circuitBreakers;
/** The trail: one row a transition or operator action. See {@linkcode CircuitBreakerEventColumns}. */
export const circuitBreakerEvents: CircuitBreakerEventsTable = standard.circuitBreakerEvents;
/** Time windows, the store's own. */
export const circuitBreakerWindows: CircuitBreakerWindowsTable = standard.circuitBreakerWindows;
/** Trials in flight, the store's own. */
export const circuitBreakerLeases: CircuitBreakerLeasesTable = standard.circuitBreakerLeases;
/** Requests applied within the last minute, the store's own. */
export const circuitBreakerRequests: CircuitBreakerRequestsTable = standard.circuitBreakerRequests;

/** Of a circuit: its `events`. */
export const circuitBreakersRelations: Relations<
  "circuit_breakers",
  { events: Many<"circuit_breaker_events"> }
> = relations(circuitBreakers, ({ many }) => ({ events: many(circuitBreakerEvents) }));

/** Of a row of the trail: its `circuitBreaker`, if that has not been removed. */
export const circuitBreakerEventsRelations: Relations<
  "circuit_breaker_events",
  { circuitBreaker: One<"circuit_breakers", true> }
> = relations(circuitBreakerEvents, ({ one }) => ({
  circuitBreaker: one(circuitBreakers, {
    fields: [circuitBreakerEvents.circuitBreakerId],
    references: [circuitBreakers.id],
  }) as One<"circuit_breakers", true>,
}));

/** A row of {@linkcode circuitBreakers}. */
export type CircuitBreakerRow = CircuitBreakersTable["$inferSelect"];
/** A row of {@linkcode circuitBreakerEvents}. */
export type CircuitBreakerEventRow = CircuitBreakerEventsTable["$inferSelect"];

/**
 * Whether a circuit is well: CLOSED, with fewer than three failures since it last closed.
 *
 * @param row A row of {@linkcode circuitBreakers}, or of a table of your own.
 * @returns Whether it is. An override is not looked at.
 *
 * @example Usage
 * ```ts
 * import { isHealthy } from "@fuse/edge/libsql";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(isHealthy({ state: "CLOSED", failureCount: 2 }), true);
 * assertEquals(isHealthy({ state: "CLOSED", failureCount: 3 }), false);
 * ```
 */
export function isHealthy(row: { readonly state: string; readonly failureCount: number }): boolean {
  return row.state === "CLOSED" && row.failureCount < 3;
}
