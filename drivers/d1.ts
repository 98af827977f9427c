/**
 * The database store on Cloudflare D1: the tables, the statements and the trail of
 * `@fuse/edge/libsql`, through a binding of the Worker.
 *
 * @example A Fuse whose circuits are in the Worker's own database
 * ```ts
 * import { createFuse, type Fuse } from "@fuse/edge";
 * import { d1, type D1Like } from "@fuse/edge/d1";
 * import { assertEquals } from "@std/assert";
 *
 * function fuseOf(env: { DB: D1Like }): Fuse {
 *   return createFuse({ stores: { database: d1(env.DB) } });
 * }
 *
 * // The binding of a Worker; here one whose database cannot be reached.
 * const DB = { prepare: () => ({ bind: () => null }), batch: () => Promise.reject(new Error()) };
 * const api = fuseOf({ DB }).make("external-api");
 * assertEquals(await api.call(() => "calls run all the same"), "calls run all the same");
 * ```
 *
 * @module
 */

import { known, refuseUnseen } from "../src/checks.ts";
import type { LibsqlClient, SqlResult, SqlStatement } from "./libsql/client.ts";
import { readCloudflareFailure, withIntegers } from "./libsql/cloudflare.ts";
import {
  configure,
  type LibsqlOptions,
  type LibsqlStore,
  TABLE_OPTIONS,
} from "./libsql/options.ts";
import { LibsqlDatabase } from "./libsql/store.ts";

export type * from "./libsql/types.ts";

/** The used part of a D1 database: a binding of a Worker, or a session of a binding. */
export interface D1Like {
  /** Prepares a statement. */
  prepare(sql: string): {
    /** Binds its values. */
    bind(...values: unknown[]): unknown;
  };
  /** Runs all statements or none, in one request. */
  batch(statements: never[]): Promise<unknown>;
}

/** Options of {@linkcode d1}: those of `libsql()`, except for the database's address and client. */
export type D1Options = Omit<LibsqlOptions, "replica">;

/**
 * Keeps circuits in a D1 database: state that survives, shared by all isolates, and a trail of every
 * transition and operator action, written in the same transaction.
 *
 * The tables come from `migrate(d1Client(env.DB))` of `@fuse/edge/migrations`, or from `wrangler d1
 * migrations apply` on the `migrations/` folder of this package. With read replication, give the
 * binding itself and not a session: the binding reads from the primary.
 *
 * Cost: one request of D1 for each primitive, as with `libsql()`: 1 statement to read, and to acquire
 * while the circuit is closed, else 3 to acquire, 3 to 8 to record, 5 or 6 to change.
 *
 * @param binding The binding, `env.DB`.
 * @param options See {@linkcode D1Options}.
 * @returns A store for `createFuse({ stores: { database: d1(env.DB) } })`. Making it performs no I/O.
 * @throws {TypeError | RangeError} If `binding` is not a D1 database, or an option is not allowed.
 *
 * @example Usage
 * ```ts
 * import { d1 } from "@fuse/edge/d1";
 * import { assertEquals } from "@std/assert";
 *
 * // In a Worker: env.DB.
 * const DB = { prepare: () => ({ bind: () => null }), batch: () => Promise.resolve([]) };
 * const database = d1(DB, { audit: "calls" });
 * assertEquals(database.traits, { persistent: true, shared: true, audited: true });
 * ```
 */
export function d1(binding: D1Like, options: D1Options = {}): LibsqlStore {
  known("d1 store", options, TABLE_OPTIONS);
  const client = d1Client(binding);
  return new LibsqlDatabase(configure({ name: "d1", connect: () => client }, options));
}

/**
 * Returns a client for `migrate()` of `@fuse/edge/migrations`. It binds integers as integers, which D1
 * does not do by itself. Performs no I/O.
 *
 * @param binding The binding, `env.DB`.
 * @throws {TypeError} If it is not a D1 database.
 *
 * @example Usage
 * ```ts
 * import { d1Client } from "@fuse/edge/d1";
 * import { assertEquals } from "@std/assert";
 *
 * // In a Worker: env.DB.
 * const DB = { prepare: () => ({ bind: () => null }), batch: () => Promise.resolve([]) };
 * const client = d1Client(DB);
 * // Then: await migrate(client);
 * assertEquals(typeof client.batch, "function");
 * ```
 */
export function d1Client(binding: D1Like): LibsqlClient {
  const { prepare, batch } = Object(binding) as Partial<D1Like>;
  if (typeof prepare !== "function" || typeof batch !== "function") {
    refuseUnseen("d1 store", "binding", "a D1 database, such as env.DB", binding);
  }
  const run = async (statements: SqlStatement[]): Promise<SqlResult[]> => {
    try {
      const bound = statements.map(withIntegers).map(({ sql, args }) =>
        binding.prepare(sql).bind(...args)
      );
      return (await binding.batch(bound as never[]) as D1Result[])
        .map(({ results }) => ({ rows: results }));
    } catch (error) {
      throw failureOf(error);
    }
  };
  return {
    batch: run,
    execute: async (statement) => (await run([statement]))[0]!,
  };
}

/** The result of a statement. */
interface D1Result {
  readonly results: ArrayLike<Record<string, unknown>>;
}

/** Returns an error with a code, which D1 has only in the text of its error. */
function failureOf(error: unknown): Error {
  const message = error instanceof Error ? error.message : "";
  return Object.assign(new Error(message, { cause: error }), readCloudflareFailure(message));
}
