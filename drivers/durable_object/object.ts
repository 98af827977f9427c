/**
 * The Durable Object that holds circuits: runs batches of statements on its SQLite.
 *
 * @module
 */

import { migrations } from "../../migrations/files.ts";
import type { BoundStatement, BoundValue } from "../libsql/cloudflare.ts";
import { textOf } from "../libsql/metadata.ts";

/** An object's answer to a batch. */
export type BatchAnswer =
  | { readonly results: readonly Record<string, unknown>[][] }
  | { readonly error: string };

/** The used part of an object's storage. */
interface Storage {
  readonly sql: {
    exec(sql: string, ...args: BoundValue[]): { toArray(): Record<string, unknown>[] };
  };
  transactionSync<T>(work: () => T): T;
}

/** The ledger of `migrate()`. */
const LEDGER = "__drizzle_migrations";

/**
 * The class of the Durable Objects that hold circuits: export it from the Worker, and bind it with
 * `new_sqlite_classes`. Only `durableObject()` should send requests to its objects.
 *
 * An object makes its tables at its first request, and brings them up to date. All its data is in its
 * storage, so it loses nothing when it is evicted.
 *
 * @example Its place in wrangler.jsonc
 * ```jsonc
 * {
 *   "durable_objects": { "bindings": [{ "name": "FUSE", "class_name": "FuseObject" }] },
 *   "migrations": [{ "tag": "fuse-1", "new_sqlite_classes": ["FuseObject"] }]
 * }
 * ```
 */
export class FuseObject {
  readonly #storage: Storage;
  /** `true` once the tables are up to date. */
  #migrated = false;

  /** Called by the platform. Performs no I/O. */
  constructor(ctx: object, _env: object) {
    this.#storage = (ctx as { storage: Storage }).storage;
  }

  /**
   * Runs the batch of statements in the body of a request, in one transaction.
   *
   * @returns The rows, or the database's error, as JSON.
   */
  async fetch(request: Request): Promise<Response> {
    const statements = await request.json() as BoundStatement[];
    // JSON cannot contain bytes. The store expects text where the database returns bytes.
    const text = (_: string, value: unknown) =>
      value instanceof ArrayBuffer ? textOf(value) : value;
    const answer = JSON.stringify(this.#run(statements), text);
    return new Response(answer, { headers: { "content-type": "application/json" } });
  }

  // Nothing is awaited here, so no other request runs in between.
  #run(statements: readonly BoundStatement[]): BatchAnswer {
    const { sql } = this.#storage;
    try {
      this.#migrate();
      const results = this.#storage.transactionSync(() =>
        statements.map((statement) => sql.exec(statement.sql, ...statement.args).toArray())
      );
      return { results };
    } catch (error) {
      return { error: error instanceof Error ? error.message : "" };
    }
  }

  #migrate(): void {
    if (this.#migrated) return;
    const { sql } = this.#storage;
    this.#storage.transactionSync(() => {
      sql.exec(`create table if not exists ${LEDGER} (
        id SERIAL PRIMARY KEY, hash text NOT NULL, created_at numeric)`);
      const rows = sql.exec(`select hash from ${LEDGER}`).toArray();
      const applied = new Set(rows.map(({ hash }) => hash));
      for (const migration of migrations.filter(({ hash }) => !applied.has(hash))) {
        sql.exec(migration.sql);
        sql.exec(
          `insert into ${LEDGER} (hash, created_at) values (?, ?)`,
          migration.hash,
          migration.when,
        );
      }
    });
    this.#migrated = true;
  }
}
