/**
 * The schema of the libSQL store, for runtimes without files and drizzle-kit: the SQL of
 * `migrations/` as strings, and `migrate()`, which applies it.
 *
 * @example Before the first call, at every start
 * ```ts
 * import { migrate, migrations } from "@fuse/edge/migrations";
 * import { createClient } from "@libsql/client";
 * import { assertEquals } from "@std/assert";
 *
 * const client = createClient({ url: ":memory:" });
 * const { applied } = await migrate(client);
 * assertEquals(applied, migrations.map(({ tag }) => tag));
 * ```
 *
 * @module
 */

import {
  type Connection,
  connectionOf,
  type LibsqlClient,
  send,
  type SqlResult,
  type SqlStatement,
  type SqlValue,
} from "../drivers/libsql/client.ts";
import { connector } from "../drivers/libsql/connector.ts";
import { prefixed, statementsOf as sqlOf } from "../drivers/libsql/migration_sql.ts";
import { known, refuse } from "../src/checks.ts";
import { type Migration, migrations } from "./files.ts";

export { type Migration, migrations };
export type { LibsqlClient, SqlResult, SqlStatement, SqlValue };

/** Options of {@linkcode migrate}. */
export interface MigrateOptions {
  /**
   * A prefix for the name of every table, as in `createSchema({ prefix })`, and for the ledger.
   *
   * @default {""}
   */
  prefix?: string | undefined;
}

const SUBJECT = "schema";
/** The time to wait for the lock of another isolate, in ms. */
const BUSY_TIMEOUT_MS = 5_000;
/** Wrangler's ledger. It names the files that were applied. */
const WRANGLER_LEDGER = "d1_migrations";

/**
 * Updates the schema of the libSQL store: in one transaction, and once, however many isolates call
 * it at the same time. Tables that were all dropped together are created again, empty.
 *
 * It keeps drizzle's own ledger, `__drizzle_migrations`, and reads wrangler's, `d1_migrations`, so
 * either tool may run before or after. An application with drizzle migrations in the same database
 * needs another ledger (the `migrationsTable` of drizzle, or a `prefix` here), or drizzle silently
 * skips those older than the newest of this package.
 *
 * Cost: one round trip if there is nothing to do, else two; and one more if wrangler has a ledger.
 *
 * @param client A client of `@libsql/client` or `@libsql/client/web`, or a function that returns one.
 * @param options See {@linkcode MigrateOptions}.
 * @returns The tags of the migrations that this call has applied, for the first time or again.
 * @throws {TypeError} If `client` is neither a client nor a function.
 * @throws {Error} If the database failed, has tables of these names that are not in the ledger, or
 * lacks a part of the schema: the message names it.
 *
 * @example Usage
 * ```ts
 * import { migrate } from "@fuse/edge/migrations";
 * import { createClient } from "@libsql/client";
 * import { assertEquals } from "@std/assert";
 *
 * const client = createClient({ url: ":memory:" });
 * assertEquals((await migrate(client)).applied.length > 0, true);
 * assertEquals((await migrate(client)).applied, []);
 * ```
 */
export async function migrate(
  client: LibsqlClient | (() => LibsqlClient),
  options: MigrateOptions = {},
): Promise<{ applied: string[] }> {
  known(SUBJECT, options, ["prefix"]);
  const { prefix = "" } = options;
  if (typeof prefix !== "string" || !/^\w*$/.test(prefix)) {
    refuse(SUBJECT, "prefix", "letters, digits and underscores", prefix);
  }
  const connection = connectionOf(connector(SUBJECT, "client", client), BUSY_TIMEOUT_MS);
  const ledger = `\`${prefix}__drizzle_migrations\``;
  const { steps, stale } = await pending(connection, ledger, prefix);
  if (steps.length === 0) return { applied: [] };
  try {
    await send(connection, [
      ...stale.map(({ hash }) => statement(`delete from ${ledger} where hash = ?1`, hash)),
      ...steps.flatMap((step) => statementsOf(step, ledger, prefix)),
    ]);
  } catch (error) {
    // Another isolate may have been faster.
    if ((await pending(connection, ledger, prefix)).steps.length === 0) return { applied: [] };
    throw error;
  }
  return { applied: steps.map(({ tag }) => tag) };
}

/**
 * Returns the migrations to apply, and those of them that are in the ledger already: the ledger is
 * stale if all of our tables are gone.
 *
 * @throws {Error} If a part of the schema is gone: the remaining part may hold data.
 */
async function pending(
  connection: Connection,
  ledger: string,
  prefix: string,
): Promise<Record<"steps" | "stale", readonly Migration[]>> {
  const [, rows, parts] = await send(connection, [
    statement(`create table if not exists ${ledger} (
      id SERIAL PRIMARY KEY, hash text NOT NULL, created_at numeric)`),
    statement(`select hash from ${ledger}`),
    statement("select name from sqlite_master"),
  ]);
  const applied = new Set(Array.from(rows!.rows, ({ hash }) => hash));
  const present = new Set(Array.from(parts!.rows, ({ name }) => name));
  const byWrangler = prefix === "" && present.has(WRANGLER_LEDGER)
    ? await appliedByWrangler(connection)
    : new Set();
  const isEntered = ({ hash, tag }: Migration) => applied.has(hash) || byWrangler.has(`${tag}.sql`);
  const entered = migrations.filter(isEntered);
  const made = entered.flatMap(({ sql }) => partsOf(prefixed(sql, prefix)));
  const missing = made.filter((name) => !present.has(name));
  if (missing.length === 0) {
    return { steps: migrations.filter((step) => !isEntered(step)), stale: [] };
  }
  if (missing.length === made.length) return { steps: migrations, stale: entered };
  throw new Error(
    `Cannot migrate the database: the ledger says that all is there, but ${missing.join(", ")} ` +
      "is missing; make it again by the SQL of the migration, or drop the other tables, too",
  );
}

/** Returns the names of the files that wrangler has applied. */
async function appliedByWrangler(connection: Connection): Promise<Set<unknown>> {
  const [applied] = await send(connection, [statement(`select name from ${WRANGLER_LEDGER}`)]);
  return new Set(Array.from(applied!.rows, ({ name }) => name));
}

/** Returns the names of the tables, indexes and triggers that a migration creates. */
function partsOf(sql: string): string[] {
  const made = sql.matchAll(/^CREATE (?:TABLE|TRIGGER|(?:UNIQUE )?INDEX) [`"](\w+)[`"]/gm);
  return Array.from(made, ([, name]) => name!);
}

/**
 * Returns the statements of a migration. The first one adds it to the ledger, and makes the whole
 * batch fail if another isolate has done so.
 */
function statementsOf(
  { hash, when, sql }: Migration,
  ledger: string,
  prefix: string,
): SqlStatement[] {
  const enter = `insert into ${ledger} (hash, created_at)
    select case when exists (select 1 from ${ledger} where hash = ?1) then null else ?1 end,
      cast(?2 as integer)`;
  return [
    statement(enter, hash, when),
    ...sqlOf({ sql }, prefix).map((text) => statement(text)),
  ];
}

function statement(sql: string, ...args: (string | number)[]): SqlStatement {
  return { sql, args };
}
