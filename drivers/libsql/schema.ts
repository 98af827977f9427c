/**
 * The tables of the libSQL store, for Drizzle: the store's own statements are built on them, and so
 * are your queries.
 *
 * `circuit_breakers` and `circuit_breaker_events` are for you to read. The five other tables are
 * internal: the time windows, the trials in flight, the requests already applied, the ends of the hash
 * chains of the trail, and how far `notify()` has delivered the trail.
 *
 * @module
 */

import { type BuildColumns, getTableColumns, is, type SQL, sql } from "drizzle-orm";
import {
  type AnySQLiteTable,
  check,
  index,
  primaryKey,
  type SQLiteColumn,
  type SQLiteColumnBuilderBase,
  SQLiteTable,
  sqliteTable,
  type SQLiteTableWithColumns,
  text,
  uniqueIndex,
} from "drizzle-orm/sqlite-core";
import { known, refuse, refuseUnseen } from "../../src/checks.ts";
import { CIRCUIT_STATES } from "../../src/records.ts";
import {
  type CircuitBreakerColumns,
  circuitBreakerColumns,
  type CircuitBreakerCursorColumns,
  type CircuitBreakerEventColumns,
  circuitBreakerEventColumns,
  type CircuitBreakerLeaseColumns,
  type CircuitBreakerRequestColumns,
  type CircuitBreakerTrailColumns,
  type CircuitBreakerWindowColumns,
  count,
  int,
  word,
} from "./columns.ts";

export {
  type CircuitBreakerColumns,
  circuitBreakerColumns,
  type CircuitBreakerCursorColumns,
  type CircuitBreakerEventColumns,
  circuitBreakerEventColumns,
  type CircuitBreakerLeaseColumns,
  type CircuitBreakerRequestColumns,
  type CircuitBreakerTrailColumns,
  type CircuitBreakerWindowColumns,
  type CountBuilder,
  type IdBuilder,
  type IntBuilder,
  type TextBuilder,
  type TimeBuilder,
} from "./columns.ts";

/** A table whose columns are typed one by one. */
export type FuseTable<N extends string, C extends Record<string, SQLiteColumnBuilderBase>> =
  SQLiteTableWithColumns<{
    /** The name in the database, without a prefix. */
    name: N;
    /** SQLite has no schemas. */
    schema: undefined;
    /** Drizzle's name for the dialect. */
    dialect: "sqlite";
    /** The columns, by their names in JavaScript. */
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

/** Type of {@linkcode circuitBreakerCursors}. */
export type CircuitBreakerCursorsTable = FuseTable<
  "circuit_breaker_cursors",
  CircuitBreakerCursorColumns
>;
/** Type of {@linkcode circuitBreakerTrails}. */
export type CircuitBreakerTrailsTable = FuseTable<
  "circuit_breaker_trails",
  CircuitBreakerTrailColumns
>;

/** The tables of a store, as {@linkcode createSchema} returns them. */
export interface FuseSchema<
  B extends AnySQLiteTable = CircuitBreakersTable,
  E extends AnySQLiteTable = CircuitBreakerEventsTable,
> {
  /** The circuits, one row each. */
  readonly circuitBreakers: B;
  /** The trail. */
  readonly circuitBreakerEvents: E;
  /** Time windows. */
  readonly circuitBreakerWindows: CircuitBreakerWindowsTable;
  /** Trials in flight. */
  readonly circuitBreakerLeases: CircuitBreakerLeasesTable;
  /** Requests already applied. */
  readonly circuitBreakerRequests: CircuitBreakerRequestsTable;
  /** The ends of the hash chains. */
  readonly circuitBreakerTrails: CircuitBreakerTrailsTable;
  /** How far the trail was delivered. */
  readonly circuitBreakerCursors: CircuitBreakerCursorsTable;
}

/** Options of {@linkcode createSchema}. */
export interface SchemaOptions<
  B extends AnySQLiteTable = CircuitBreakersTable,
  E extends AnySQLiteTable = CircuitBreakerEventsTable,
> {
  /**
   * A prefix for the name of every table that is not given. Migrate with the same one:
   * `migrate(client, { prefix })`.
   *
   * @default {""}
   */
  prefix?: string | undefined;
  /**
   * Tables of your own in place of ours: with all of our columns, and any that you add. By default, the
   * tables are ours.
   */
  tables?: {
    /** A table in place of {@linkcode circuitBreakers}. By default, that one. */
    circuitBreakers?: B | undefined;
    /** A table in place of {@linkcode circuitBreakerEvents}. By default, that one. */
    circuitBreakerEvents?: E | undefined;
  } | undefined;
}

/**
 * Returns the condition that a row of the trail is in a hash chain, by its event. SQLite uses the
 * partial indexes only for queries that say so in the same words.
 */
export function chained(event: SQL | SQLiteColumn): SQL {
  return sql`${event} not in ('success', 'failure')`;
}

/**
 * Makes the tables of a store. Performs no I/O.
 *
 * @param options See {@linkcode SchemaOptions}.
 * @returns The tables, for `libsql({ schema })` and for Drizzle.
 * @throws {TypeError} If a given table lacks one of our columns, or has a column of its own that is NOT
 * NULL without a default in the database: the store could not insert a row.
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
  // Copied one by one: a table that the caller left undefined must not hide ours.
  const schema = {
    ...ours,
    circuitBreakers: tables.circuitBreakers ?? ours.circuitBreakers,
    circuitBreakerEvents: tables.circuitBreakerEvents ?? ours.circuitBreakerEvents,
  };
  checkSchema("schema", schema);
  return schema as unknown as FuseSchema<B, E>;
}

/**
 * Checks that a store can read and write these tables. Not part of the entry point.
 *
 * @throws {TypeError} Naming the mistake.
 */
export function checkSchema(subject: string, schema: unknown): asserts schema is FuseSchema {
  for (const [name, ours] of Object.entries(standard)) {
    const table = Object(schema)[name];
    if (!is(table, SQLiteTable)) {
      refuseUnseen(subject, "schema", "what createSchema() gives", schema);
    }
    checkTable(subject, name, table, ours);
  }
}

const STATES = sql.raw(CIRCUIT_STATES.map((state) => `'${state}'`).join(", "));

function makeTables(prefix: string): FuseSchema {
  // The types know the names without a prefix: only Drizzle's relations use them.
  const name = <N extends string>(rest: N) => `${prefix}${rest}` as N;
  return {
    circuitBreakers: circuitsTable(name),
    circuitBreakerEvents: eventsTable(name),
    circuitBreakerTrails: trailsTable(name),
    circuitBreakerCursors: cursorsTable(name),
    circuitBreakerWindows: windowsTable(name),
    circuitBreakerLeases: leasesTable(name),
    circuitBreakerRequests: requestsTable(name),
  };
}

/** Puts a prefix before the name of a table, an index or a check. */
type Prefixed = <N extends string>(rest: N) => N;

function circuitsTable(name: Prefixed): CircuitBreakersTable {
  return sqliteTable(name("circuit_breakers"), circuitBreakerColumns(), (t) => [
    uniqueIndex(name("circuit_breakers_key")).on(t.key),
    index(name("circuit_breakers_name")).on(t.name),
    index(name("circuit_breakers_state")).on(t.state),
    index(name("circuit_breakers_created_at")).on(t.createdAt),
    index(name("circuit_breakers_opened_at")).on(t.openedAt),
    check(name("circuit_breakers_states"), sql`${t.state} in (${STATES})`),
  ]);
}

function eventsTable(name: Prefixed): CircuitBreakerEventsTable {
  return sqliteTable(name("circuit_breaker_events"), circuitBreakerEventColumns(), (t) => [
    index(name("circuit_breaker_events_circuit")).on(t.circuitBreakerId, t.createdAt),
    index(name("circuit_breaker_events_key")).on(t.key, t.createdAt),
    index(name("circuit_breaker_events_event")).on(t.event, t.createdAt),
    index(name("circuit_breaker_events_created_at")).on(t.createdAt),
    index(name("circuit_breaker_events_chain")).on(t.key, t.sequence).where(chained(t.event)),
    index(name("circuit_breaker_events_changes")).on(t.key, t.event, t.createdAt)
      .where(chained(t.event)),
    index(name("circuit_breaker_events_generation")).on(t.key, t.epoch, t.generation)
      .where(chained(t.event)),
  ]);
}

function trailsTable(name: Prefixed): CircuitBreakerTrailsTable {
  return sqliteTable(name("circuit_breaker_trails"), {
    key: text("key").notNull().primaryKey(),
    head: word("head"),
    sequence: count("sequence"),
    lastId: count("last_id"),
    lastAt: count("last_at"),
    unsealed: count("unsealed"),
    anchorSequence: count("anchor_sequence"),
    anchorId: count("anchor_id"),
    anchorHash: word("anchor_hash"),
    anchorSeal: word("anchor_seal"),
  });
}

function cursorsTable(name: Prefixed): CircuitBreakerCursorsTable {
  return sqliteTable(name("circuit_breaker_cursors"), {
    name: text("name").notNull(),
    channel: int("channel"),
    position: count("position"),
    told: word("told"),
    holder: word("holder"),
    heldUntil: count("held_until"),
  }, (t) => [primaryKey({ columns: [t.name, t.channel] })]);
}

function windowsTable(name: Prefixed): CircuitBreakerWindowsTable {
  return sqliteTable(name("circuit_breaker_windows"), {
    circuitBreakerId: int("circuit_breaker_id"),
    start: int("start"),
    since: int("since"),
    successes: int("successes"),
    failures: int("failures"),
    slow: int("slow"),
  }, (t) => [primaryKey({ columns: [t.circuitBreakerId, t.start] })]);
}

function leasesTable(name: Prefixed): CircuitBreakerLeasesTable {
  return sqliteTable(name("circuit_breaker_leases"), {
    circuitBreakerId: int("circuit_breaker_id"),
    token: text("token").notNull(),
    generation: int("generation"),
    began: int("began"),
    until: int("until"),
    leaseMs: int("lease_ms"),
    ended: int("ended"),
  }, (t) => [primaryKey({ columns: [t.circuitBreakerId, t.token] })]);
}

function requestsTable(name: Prefixed): CircuitBreakerRequestsTable {
  return sqliteTable(name("circuit_breaker_requests"), {
    circuitBreakerId: int("circuit_breaker_id"),
    id: text("id").notNull(),
    at: int("at"),
    won: int("won"),
    revision: int("revision"),
  }, (t) => [
    primaryKey({ columns: [t.circuitBreakerId, t.id] }),
    index(name("circuit_breaker_requests_at")).on(t.circuitBreakerId, t.at),
  ]);
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

/** How far `notify()` has delivered the trail. Internal. */
export const circuitBreakerCursors: CircuitBreakerCursorsTable = standard.circuitBreakerCursors;
/** The ends of the hash chains of the trail. Internal. */
export const circuitBreakerTrails: CircuitBreakerTrailsTable = standard.circuitBreakerTrails;
/** The circuits as they are now, one row each. See {@linkcode CircuitBreakerColumns}. */
export const circuitBreakers: CircuitBreakersTable = standard.circuitBreakers;
/** The trail, one row for each transition or operator action. See {@linkcode CircuitBreakerEventColumns}. */
export const circuitBreakerEvents: CircuitBreakerEventsTable = standard.circuitBreakerEvents;
/** The time windows. Internal. */
export const circuitBreakerWindows: CircuitBreakerWindowsTable = standard.circuitBreakerWindows;
/** The trials in flight. Internal. */
export const circuitBreakerLeases: CircuitBreakerLeasesTable = standard.circuitBreakerLeases;
/** The requests applied within the last minute. Internal. */
export const circuitBreakerRequests: CircuitBreakerRequestsTable = standard.circuitBreakerRequests;

/** A row of {@linkcode circuitBreakers}. */
export type CircuitBreakerRow = CircuitBreakersTable["$inferSelect"];
/** A row of {@linkcode circuitBreakerEvents}. */
export type CircuitBreakerEventRow = CircuitBreakerEventsTable["$inferSelect"];

/**
 * Returns whether a circuit is healthy: CLOSED, with fewer than three failures since it last closed.
 *
 * @param row A row of {@linkcode circuitBreakers}, or of a table of your own.
 * @returns Whether the circuit is healthy. An override is ignored.
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
