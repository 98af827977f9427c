/**
 * The Durable Object that holds circuits: runs batches of statements on its SQLite.
 *
 * @module
 */

import { migrations } from "../../migrations/files.ts";
import type { BoundStatement, BoundValue } from "../libsql/cloudflare.ts";

/** What an object answers to a batch. */
export type BatchAnswer =
  | { readonly results: readonly Record<string, unknown>[][] }
  | { readonly error: string };

/** The storage of an object, as far as it is used. */
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
 * `new_sqlite_classes`. `durableObject()` speaks to its objects; nobody else should.
 *
 * An object makes its own tables when it is first asked, and brings them up to date. All it knows is in
 * its storage: it loses nothing when it is evicted.
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
  /** Whether the tables are up to date. */
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
    return Response.json(this.#run(statements));
  }

  // Nothing is awaited in here: no other request comes in between.
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
