/**
 * The options of the libSQL store, and its public interface.
 *
 * @module
 */

import { getTableColumns, getTableName } from "drizzle-orm";
import { check, mayBeFunction, oneOf, refuse } from "../../src/checks.ts";
import type { CircuitEvent, Clock, EventQuery, Store } from "../../src/contract.ts";
import { type Connect, type Connection, connectionOf, type LibsqlClient } from "./client.ts";
import { redacted } from "./metadata.ts";
import type { PruneOptions, PruneResult } from "./prune.ts";
import * as standard from "./schema.ts";
import { tablesOf } from "./statements/dialect.ts";
import type { TrailProof, VerifyOptions } from "./verify.ts";

/** How to reach the database. */
export type LibsqlSource =
  | {
    /**
     * A client of `@libsql/client` (a file, memory, or any server), of `@libsql/client/web` (HTTP), or
     * of `localClient()` (a file, memory). A function is called for each unit of work: for runtimes where a client must not
     * outlive a request.
     */
    client: LibsqlClient | (() => LibsqlClient);
  }
  | {
    /**
     * A `libsql:`, `https:` or `http:` address, for `@libsql/client/web`, or the `file:` address of a
     * file, for `localClient()`. `:memory:` is a new database in memory, for this store alone: its tables
     * are created with the first request.
     */
    url: string;
    /**
     * The token for Turso, or for a server that asks for one. It is never shown in an error. By
     * default, no token is sent.
     */
    authToken?: string | undefined;
  };

/** Options of {@linkcode libsql}. */
export type LibsqlOptions = LibsqlSource & {
  /**
   * A client for `history()` to read from. Decisions never use it. By default, `history()` reads where
   * all else happens.
   */
  replica?: LibsqlClient | (() => LibsqlClient) | undefined;
  /**
   * Tables with other names or with columns of your own: what `createSchema` returned.
   *
   * @default {createSchema()}
   */
  schema?: unknown;
  /**
   * The rows of the trail: every transition and operator action, and with `"calls"` also a row
   * `success` or `failure` for each call, written with its counters in one batch.
   *
   * @default {"transitions"}
   */
  audit?: "transitions" | "calls" | undefined;
  /**
   * A secret that makes the hashes of the trail HMACs: somebody who can write to the tables cannot
   * forge them. All writers of a database need the same one, from the first row on. Without it,
   * `verifyTrail()` finds what was changed by accident or in part.
   */
  trailKey?: string | undefined;
  /**
   * Several such secrets in place of `trailKey`, to change the secret: the first one hashes, and all
   * of them verify. Give `[old, new]` to all writers first, and `[new, old]` once they have it. By
   * default, `trailKey` applies.
   */
  trailKeys?: readonly string[] | undefined;
  /**
   * Returns the text that the row of a failed call shows of its error, with `audit: "calls"`. By
   * default, or for `undefined`, the row shows nothing. If the function throws, the row has no text.
   */
  redact?: ((error: unknown) => string | undefined) | undefined;
  /**
   * How long to wait for a lock that another writer holds, in ms, with tries in between. Keep it below
   * the `storeTimeoutMs` of the Fuse. A file has such locks when several processes write to it; a
   * server has none.
   *
   * @default {450}
   */
  busyTimeoutMs?: number | undefined;
  /** The store's clock, in ms, for tests. By default, the clock of the database decides. */
  clock?: Clock | undefined;
};

/** A {@linkcode Store} whose trail can be read, verified and pruned. */
export interface LibsqlStore extends Store {
  /**
   * Reads the trail, latest first, also that of circuits that have been removed. One round trip per
   * 100 rows.
   *
   * @param query Which rows; `key` for one circuit.
   * @returns The rows, read as they are asked for. Their `store` is the `name` of this store, which
   * does not know what a Fuse calls it: the events of `fuse.history()` have that name.
   * @throws {RangeError | TypeError} Naming the mistake in the query.
   */
  history(query?: EventQuery & { readonly key?: string }): AsyncIterableIterator<CircuitEvent>;
  /**
   * Deletes old rows of the trail, up to a limit; the rest still verifies. Call it until there is no
   * more. One to three round trips, and two more per 500 rows or 100 circuits, none of which blocks
   * writers for long.
   *
   * Some old rows stay: those after a younger row of their chain, the newest one of each chain, edits
   * by hand until the circuit changes again, and broken chains, which `verifyTrail()` has to find.
   *
   * @param options See {@linkcode PruneOptions}.
   * @returns How many rows were deleted, and whether to call again.
   */
  prune(options: PruneOptions): Promise<PruneResult>;
  /**
   * Verifies the trail. It finds:
   *
   * - a row of a transition or an operator's action that was changed, removed or inserted, by the
   *   hash chains (rows of calls are in no chain);
   * - a circuit that was changed, replaced or deleted without a row, by the newest row of its chain;
   * - a trigger that was dropped or altered.
   *
   * Without a `trailKey`, a writer who hashes a chain anew is not found. In any case an end that was
   * cut off together with the circuit's record is found only with a `head` from an earlier event or
   * result. A row `edited` proves that the circuit was changed by hand, and nothing else in it.
   *
   * Costs a round trip for the triggers, one for each circuit, and one for each further 500 rows.
   * The trail may be written meanwhile: each circuit is verified as of one moment.
   *
   * @param options See {@linkcode VerifyOptions}.
   * @returns `ok`, and if it is `false`, the first problem and its place.
   */
  verifyTrail(options?: VerifyOptions): Promise<TrailProof>;
}

/** Options of every store on these tables, wherever the database is. */
export type TableOptions = Partial<Omit<LibsqlOptions, "client" | "url" | "authToken">>;

/** The names of the options that every store on these tables takes. */
export const TABLE_OPTIONS: readonly string[] = [
  ...["schema", "audit", "trailKey", "trailKeys", "redact", "busyTimeoutMs", "clock"],
];

/** The place of a database, and the name of its store. */
export interface Source {
  /** The name of the store. Errors say "Cannot create NAME store". */
  readonly name: string;
  readonly connect: Connect;
  /** Where `history()` reads. By default, the same place. */
  readonly replica?: Connect;
}

/** Checked options. */
export interface Configuration {
  /** The name of the store. */
  readonly name: string;
  readonly connection: Connection;
  /** Where `history()` reads. */
  readonly replica: Connection;
  readonly schema: standard.FuseSchema;
  readonly clock: Clock | undefined;
  /** The keys of the trail's hashes: the first one hashes, all of them verify. */
  readonly trailKeys: readonly string[];
  /** Returns what the row of a failed call shows of its error. Given if calls are audited. */
  readonly describe: ((error: unknown) => string | undefined) | undefined;
}

/**
 * Checks options, except for their names. Performs no I/O.
 *
 * @throws {TypeError | RangeError} Naming the option, what came and what is allowed.
 */
export function configure(source: Source, options: TableOptions): Configuration {
  const { name, connect } = source;
  const subject = `${name} store`;
  const { schema = standard, clock, audit, redact } = options;
  standard.checkSchema(subject, schema);
  const isOurs = (word: string) => namesOf(schema).has(word);
  const busyTimeoutMs = check(subject, "busyTimeoutMs", options.busyTimeoutMs, 450, 0);
  const connection = connectionOf(connect, busyTimeoutMs, isOurs);
  const replica = source.replica === undefined
    ? connection
    : connectionOf(source.replica, busyTimeoutMs, isOurs);
  mayBeFunction(subject, "clock", clock);
  const audits = oneOf(subject, "audit", audit, ["transitions", "calls"]) === "calls";
  mayBeFunction(subject, "redact", redact);
  const describe = audits ? (error: unknown) => redacted(redact, error) : undefined;
  return {
    name,
    connection,
    replica,
    schema,
    clock,
    trailKeys: keysOf(subject, options),
    describe,
  };
}

/** A key is not shown, whatever it is. */
function keysOf(subject: string, { trailKey, trailKeys }: TableOptions): readonly string[] {
  const isKey = (key: unknown) => typeof key === "string" && key !== "";
  if (trailKey !== undefined) {
    if (trailKeys !== undefined) refuse(subject, "trailKeys", 'left out beside "trailKey"', {});
    if (isKey(trailKey)) return [trailKey];
    refuse(subject, "trailKey", "a text that is not empty", trailKey === "" ? "" : undefined);
  }
  if (trailKeys === undefined) return [];
  if (!Array.isArray(trailKeys) || trailKeys.length === 0 || !trailKeys.every(isKey)) {
    refuse(subject, "trailKeys", "a list of texts that are not empty", {});
  }
  return [...trailKeys];
}

/** Returns the names of the tables and columns of a schema. */
function namesOf(schema: standard.FuseSchema): ReadonlySet<string> {
  return new Set(
    Object.values(tablesOf(schema)).flatMap((table) => [
      getTableName(table),
      ...Object.values<{ name: string }>(getTableColumns(table)).map(({ name }) => name),
    ]),
  );
}
