/**
 * The database store: circuits and their trail in libSQL, embedded (`file:`, `:memory:`), on a
 * `sqld` server, or at Turso.
 *
 * @module
 */

import type { EventQuery, StoredEvent } from "../src/history.ts";
import { identify } from "../src/key.ts";
import { check, known, refuse } from "../src/options.ts";
import type {
  Acquired,
  AcquireRequest,
  Answer,
  Changed,
  Clock,
  ListPage,
  ListRequest,
  OverrideRequest,
  Recorded,
  RestoreRequest,
  Shape,
  Snapshot,
  Store,
  StoreRequest,
  Tally,
  TransitionRequest,
} from "../src/store.ts";
import { connector, type LibsqlClient, type Line, send } from "./libsql_client.ts";
import { connectorTo } from "./libsql_url.ts";
import { readTrail } from "./libsql_history.ts";
import {
  recordOf,
  releasedBy,
  restoredValues,
  type Row,
  rowOf,
  snapshotOf,
} from "./libsql_rows.ts";
import * as standard from "./libsql_schema.ts";
import {
  type Change,
  makeStatements,
  type Statement,
  type Statements,
  type Values,
} from "./libsql_statements.ts";

export type { LibsqlClient, SqlResult, SqlStatement, SqlValue } from "./libsql_client.ts";
export {
  type CircuitBreakerColumns,
  circuitBreakerColumns,
  type CircuitBreakerEventColumns,
  circuitBreakerEventColumns,
  type CircuitBreakerEventRow,
  circuitBreakerEvents,
  circuitBreakerEventsRelations,
  type CircuitBreakerEventsTable,
  type CircuitBreakerLeaseColumns,
  circuitBreakerLeases,
  type CircuitBreakerLeasesTable,
  type CircuitBreakerRequestColumns,
  circuitBreakerRequests,
  type CircuitBreakerRequestsTable,
  type CircuitBreakerRow,
  circuitBreakers,
  circuitBreakersRelations,
  type CircuitBreakersTable,
  type CircuitBreakerWindowColumns,
  circuitBreakerWindows,
  type CircuitBreakerWindowsTable,
  type CountBuilder,
  createSchema,
  type FuseSchema,
  type FuseTable,
  type IdBuilder,
  type IntBuilder,
  isHealthy,
  type SchemaOptions,
  type TextBuilder,
  type TimeBuilder,
} from "./libsql_schema.ts";

/** Where the database is. */
export type LibsqlSource =
  | {
    /**
     * A client of `@libsql/client` (a file, memory, or any server) or of `@libsql/client/web`
     * (HTTP). A function is called for each unit of work: for runtimes where a client must not
     * outlive a request.
     */
    client: LibsqlClient | (() => LibsqlClient);
  }
  | {
    /** `libsql:`, `https:` or `http:`, through `@libsql/client/web`. */
    url: string;
    /** Of Turso, or of a server that asks for one. Never in an error. */
    authToken?: string | undefined;
  };

/** Options of {@linkcode libsql}. */
export type LibsqlOptions = LibsqlSource & {
  /** Where `history()` reads, if not there. Decisions never do. */
  replica?: LibsqlClient | (() => LibsqlClient) | undefined;
  /**
   * Tables under other names or with columns of your own: what `createSchema` gave.
   *
   * @default {createSchema()}
   */
  schema?: unknown;
  /**
   * For how long a lock that somebody else holds is waited for, in ms, with tries in between. Keep it
   * below the `storeTimeoutMs` of the Fuse. A server has no such locks, a file has them when several
   * processes write to it.
   *
   * @default {450}
   */
  busyTimeoutMs?: number | undefined;
  /** The store's clock, in ms, for tests. Left out, the clock of the database decides. */
  clock?: Clock | undefined;
};

/** A {@linkcode Store} whose trail can be read. */
export interface LibsqlStore extends Store {
  /**
   * The trail, latest first, also of circuits that have been removed. One round trip per 100 rows.
   *
   * @param query Which rows; `key` for one circuit.
   * @returns The rows, read as they are asked for.
   */
  history(query?: EventQuery & { readonly key?: string }): AsyncIterableIterator<StoredEvent>;
}

/**
 * Keeps circuits in a libSQL database: state that survives, shared by all isolates, and a trail
 * of every transition and operator action, written in the same transaction. Its schema comes from
 * `migrate()` of `@fuse/edge/migrations`, or from drizzle-kit.
 *
 * Each primitive is one batch, and one HTTP request: 1 statement to read, 7 to acquire, 5 to 9 to
 * record, 6 to 8 to change.
 *
 * @param options See {@linkcode LibsqlOptions}.
 * @returns A store for `createFuse({ stores: { database: libsql({ client }) } })`. Making it does
 * no I/O.
 * @throws {TypeError} If it is not told where the database is, or an option is none of these.
 *
 * @example Usage
 * ```ts
 * import { createFuse } from "@fuse/edge";
 * import { libsql } from "@fuse/edge/libsql";
 * import { migrate } from "@fuse/edge/migrations";
 * import { createClient } from "@libsql/client";
 * import { assertEquals } from "@std/assert";
 *
 * const client = createClient({ url: ":memory:" });
 * await migrate(client);
 * await using fuse = createFuse({ stores: { database: libsql({ client }) } });
 *
 * assertEquals(await fuse.make("external-api").call(() => "an answer"), "an answer");
 * ```
 */
export function libsql(options: LibsqlOptions): LibsqlStore {
  return new Database(options);
}

const SUBJECT = "libsql store";
const OPTIONS = ["client", "url", "authToken", "replica", "schema", "busyTimeoutMs", "clock"];

/** One record in so many also purges what has had its time. */
const PURGE_EVERY = 16;

class Database implements LibsqlStore {
  readonly name = "libsql";
  readonly traits = { persistent: true, shared: true, audited: true } as const;
  readonly #line: Line;
  readonly #replica: Line;
  readonly #clock: Clock | undefined;
  readonly #schema: standard.FuseSchema;
  #built: Statements | undefined;
  #records = 0;

  constructor(options: LibsqlOptions) {
    known(SUBJECT, options, OPTIONS);
    const { client, url, authToken, replica, schema = standard, clock } = options as
      & Record<"client" | "url" | "authToken" | "schema" | "replica", unknown>
      & { clock: Clock | undefined };
    if (client !== undefined) {
      if (url !== undefined) refuse(SUBJECT, "url", 'left out beside "client"', {});
      if (authToken !== undefined) refuse(SUBJECT, "authToken", 'left out beside "client"', {});
    }
    const connect = client === undefined
      ? connectorTo(url, authToken)
      : connector(SUBJECT, "client", client);
    const busyTimeoutMs = check(SUBJECT, "busyTimeoutMs", options.busyTimeoutMs, 450, 0);
    this.#line = { connect, busyTimeoutMs, heldUntil: 0 };
    this.#replica = replica === undefined
      ? this.#line
      : { connect: connector(SUBJECT, "replica", replica), busyTimeoutMs, heldUntil: 0 };
    standard.checkSchema(SUBJECT, schema);
    if (clock !== undefined && typeof clock !== "function") {
      refuse(SUBJECT, "clock", "a function", clock);
    }
    this.#schema = schema;
    this.#clock = clock;
  }

  async read(
    key: string,
    { shape }: { readonly shape: Shape; readonly at: number },
  ): Promise<Snapshot> {
    return snapshotOf(await this.#ask(this.#statements.read, { key }), shape);
  }

  async record(key: string, tally: Tally): Promise<Recorded> {
    const { create, tellExpired, record, answer } = this.#statements;
    const { shape: { windowMs, windowSize }, successes, failures, lease } = tally;
    const counts = successes + failures > 0;
    const row = await this.#write(key, tally, [
      create,
      record.decide,
      tellExpired,
      ...counts ? [record.window] : [],
      ...lease === null ? [] : [record.endLease],
      ...record.apply,
      ...this.#records++ % PURGE_EVERY === 0 ? record.purge : [],
      answer,
    ], {
      ...{ epoch: tally.epoch, generation: tally.generation, successes, failures, lease },
      ...{ rejected: tally.rejected, slow: tally.slow, ageMs: Math.max(0, tally.ageMs) },
      ...{ windowMs, windowSize, segmentMs: Math.ceil(windowMs / 10) },
      marks: "S".repeat(Math.min(successes, windowSize)) +
        "F".repeat(Math.min(failures, windowSize)),
      policyHash: tally.policyHash,
    });
    const { snapshot, ...rest } = this.#answer(row, tally);
    // Whom this tally follows.
    const policyHash = String(row.previous_policy_hash);
    return { current: row.won === 1, snapshot: { ...snapshot, policyHash }, ...rest };
  }

  async acquire(key: string, request: AcquireRequest): Promise<Acquired> {
    const { acquire, tellExpired, answer } = this.#statements;
    const { token, max, leaseMs, maxCooldownMs } = request;
    const row = await this.#write(
      key,
      request,
      [acquire.decide, tellExpired, ...acquire.apply, answer],
      { token, max, leaseMs, maxCooldownMs },
    );
    const { id, override, state } = row;
    const granted = id === null ||
      (override === null
        ? state === "CLOSED" || (state === "HALF_OPEN" && row.leased === 1)
        : override !== "forced_open");
    return { granted, moved: row.won === 1, ...this.#answer(row, request) };
  }

  transition(key: string, request: TransitionRequest): Promise<Changed> {
    const { to, event, cooldownMs, reason, actor, expected } = request;
    const change = to === "OPEN" ? this.#statements.open : this.#statements.close;
    return this.#change(key, request, change, expected === null, {
      ...{ event, cooldownMs, reason, actor, expected: expected === null ? 0 : 1 },
      ...{ epoch: expected?.epoch ?? "", generation: expected?.generation ?? 0 },
    });
  }

  override(key: string, request: OverrideRequest): Promise<Changed> {
    const { kind, until, reason, actor, at } = request;
    return this.#change(key, request, this.#statements.override, kind !== null, {
      ...{ kind, until: kind && until, reason, actor, at },
    });
  }

  restore(key: string, request: RestoreRequest): Promise<Changed> {
    const { existing, reason, actor, at } = request;
    return this.#change(key, request, this.#statements.restore, true, {
      ...{ replace: existing === "replace" ? 1 : 0, reason, actor, at },
      ...restoredValues(request),
    });
  }

  async list({ cursor, limit, shape }: ListRequest): Promise<ListPage> {
    const values = { ...this.#now(), cursor: Number(cursor ?? 0), limit };
    const [page] = await send(this.#line, this.#statements.list(values));
    const rows = Array.from(page!.rows, rowOf);
    return {
      records: rows.map((row) => recordOf(row, shape)),
      cursor: rows.length < limit ? null : String(rows.at(-1)!.id),
    };
  }

  async remove(key: string): Promise<boolean> {
    const results = await send(this.#line, this.#statements.remove.map((one) => one({ key })));
    return results.at(-1)!.rows.length > 0;
  }

  history(query: EventQuery & { readonly key?: string } = {}): AsyncIterableIterator<StoredEvent> {
    return readTrail(this.#replica, this.#schema.circuitBreakerEvents, query);
  }

  get #statements(): Statements {
    return this.#built ??= makeStatements(this.#schema, this.#clock !== undefined);
  }

  #now(): Values {
    return this.#clock === undefined ? {} : { now: this.#clock() };
  }

  async #ask(statement: Statement, values: Values): Promise<Row> {
    const [result] = await send(this.#line, statement({ ...values, ...this.#now() }));
    return rowOf(result!.rows[0]);
  }

  /** Sends a batch, whose last statement reads the circuit. */
  async #write(
    key: string,
    request: StoreRequest,
    statements: Statement[],
    values: Values,
  ): Promise<Row> {
    const { name, context, boundary } = identify("", key);
    // One that will not be sent again is told from all others all the same.
    const id = request.id || crypto.randomUUID();
    const all = { token: null, ...values, ...this.#now(), key, name, context, boundary, id };
    const results = await send(this.#line, statements.map((statement) => statement(all)));
    return rowOf(results.at(-1)!.rows[0]);
  }

  async #change(
    key: string,
    request: StoreRequest,
    { decide, apply }: Change,
    creates: boolean,
    values: Values,
  ): Promise<Changed> {
    const { create, tellExpired, expire, answer } = this.#statements;
    const row = await this.#write(
      key,
      request,
      [...creates ? [create] : [], decide, tellExpired, expire, ...apply, answer],
      values,
    );
    return { won: row.won === 1, ...this.#answer(row, request) };
  }

  #answer(row: Row, { id, shape }: StoreRequest): Answer {
    return { snapshot: snapshotOf(row, shape), released: releasedBy(row, id) };
  }
}
