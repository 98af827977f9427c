/**
 * The database store: circuits and their trail in libSQL, embedded (`file:`, `:memory:`), on a
 * `sqld` server, or at Turso.
 *
 * @example State that survives, and who did what
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
 * const api = fuse.make("external-api");
 * await api.forceOpen({ reason: "maintenance", actor: "ada" });
 * assertEquals(await api.getState(), "OPEN");
 *
 * for await (const { event, metadata } of api.history()) {
 *   assertEquals([event, metadata?.actor], ["forced_open", "ada"]);
 * }
 * ```
 *
 * @module
 */

import type { CircuitEvent, Clock, EventQuery, Store } from "../src/contract.ts";
import type { LibsqlClient } from "./libsql/client.ts";
import type { PruneOptions, PruneResult } from "./libsql/history.ts";
import { Database } from "./libsql/store.ts";
import type { TrailProof, VerifyOptions } from "./libsql/verify.ts";

export type { LibsqlClient, SqlResult, SqlStatement, SqlValue } from "./libsql/client.ts";
export type { PruneOptions, PruneResult } from "./libsql/history.ts";
export type { TrailBreak, TrailProof, VerifyOptions } from "./libsql/verify.ts";
export { tiered, type TieredOptions } from "./tiered.ts";
export { circuitBreakerEventsRelations, circuitBreakersRelations } from "./libsql/relations.ts";
export {
  type CircuitBreakerColumns,
  circuitBreakerColumns,
  type CircuitBreakerEventColumns,
  circuitBreakerEventColumns,
  type CircuitBreakerEventRow,
  circuitBreakerEvents,
  type CircuitBreakerEventsTable,
  type CircuitBreakerLeaseColumns,
  circuitBreakerLeases,
  type CircuitBreakerLeasesTable,
  type CircuitBreakerRequestColumns,
  circuitBreakerRequests,
  type CircuitBreakerRequestsTable,
  type CircuitBreakerRow,
  circuitBreakers,
  type CircuitBreakersTable,
  type CircuitBreakerTrailColumns,
  circuitBreakerTrails,
  type CircuitBreakerTrailsTable,
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
} from "./libsql/schema.ts";

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
    /** Of Turso, or of a server that asks for one. Never in an error. Left out: none is sent. */
    authToken?: string | undefined;
  };

/** Options of {@linkcode libsql}. */
export type LibsqlOptions = LibsqlSource & {
  /** Where `history()` reads; decisions never do. Left out: where all else happens. */
  replica?: LibsqlClient | (() => LibsqlClient) | undefined;
  /**
   * Tables under other names or with columns of your own: what `createSchema` gave.
   *
   * @default {createSchema()}
   */
  schema?: unknown;
  /**
   * What the trail holds: every transition and operator action, and with `"calls"` also a row
   * `success` or `failure` for each call, written with its counters in one batch.
   *
   * @default {"transitions"}
   */
  audit?: "transitions" | "calls" | undefined;
  /**
   * Makes the hashes of the trail HMACs, which somebody who can write to the tables cannot forge.
   * The same for all writers of one database, from the first row on. Without it, `verifyTrail()`
   * finds what was changed by accident or in part.
   */
  trailKey?: string | undefined;
  /**
   * What the row of a failed call says of its error, with `audit: "calls"`. Left out, or giving
   * `undefined`: nothing. One that throws costs the text and not the row.
   */
  redact?: ((error: unknown) => string | undefined) | undefined;
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

/** A {@linkcode Store} whose trail can be read, verified and pruned. */
export interface LibsqlStore extends Store {
  /**
   * The trail, latest first, also of circuits that have been removed. One round trip per 100 rows.
   *
   * @param query Which rows; `key` for one circuit.
   * @returns The rows, read as they are asked for. `store` in them is the `name` of this store, which
   * knows nothing of what a Fuse calls it: that is in the events of `fuse.history()`.
   * @throws {RangeError | TypeError} Naming what is wrong in the query.
   */
  history(query?: EventQuery & { readonly key?: string }): AsyncIterableIterator<CircuitEvent>;
  /**
   * Deletes old rows of the trail, so many at a time; what is left still verifies. Call it until
   * there is no more. One to three round trips, and two more per 500 rows or 100 circuits, none of
   * which holds up writers for long.
   *
   * A row whose predecessor in its chain is too young to go stays as well, and so does an edit by
   * hand until the circuit has changed again. Of a chain goes what verifies, under the `trailKey` of
   * this store: where it is broken, its rows stay, for `verifyTrail()` to find. Others go on.
   *
   * @param options See {@linkcode PruneOptions}.
   * @returns How many rows went, and whether to call again.
   */
  prune(options: PruneOptions): Promise<PruneResult>;
  /**
   * Goes through the hash chains of the trail and finds any row of a transition or operator action
   * that was changed, removed or inserted. Rows of calls are not in a chain.
   *
   * With a `trailKey` nobody can hide that who does not have it. Without, whoever can write to the
   * tables can hash the rest of a chain anew: it then shows what happened by accident or in part.
   * Either way an end that was cut off, together with what is taken down of it, leaves a shorter
   * chain that is right in itself: give a `head` that was seen before, of an event or of `heads`.
   *
   * A row `edited` vouches for one thing: that somebody who can write to the tables has changed the
   * circuit. Such a row is hashed after the fact, and its state before and after, its time and even
   * its being there are for that somebody to choose. One that names a reason or an actor, or says
   * anything else that the trigger does not write, is found as inserted.
   *
   * One round trip a circuit, and one more per 500 rows. It may run while the trail is written.
   *
   * @param options See {@linkcode VerifyOptions}.
   * @returns Whether all is well; else what is wrong first, and where.
   */
  verifyTrail(options?: VerifyOptions): Promise<TrailProof>;
}

/**
 * Keeps circuits in a libSQL database: state that survives, shared by all isolates, and a trail
 * of every transition and operator action, written in the same transaction. Its schema comes from
 * `migrate()` of `@fuse/edge/migrations`, or from drizzle-kit.
 *
 * Each primitive is one batch, and one HTTP request: 1 statement to read, 3 to acquire, 3 to 8 to
 * record, 5 or 6 to change; a change of a circuit that this isolate knows nothing of, or that
 * somebody else has just changed, takes one request more.
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

export type * from "../src/contract.ts";
export type { CircuitIdentity } from "../src/key.ts";
