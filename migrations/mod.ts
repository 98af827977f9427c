/**
 * The schema of the libSQL store, for where there are no files and no drizzle-kit: the SQL of
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
  connectionOf,
  connector,
  type LibsqlClient,
  send,
  type SqlResult,
  type SqlStatement,
  type SqlValue,
} from "../drivers/libsql/client.ts";
import { known, refuse } from "../src/checks.ts";
import { type Migration, migrations } from "./files.ts";

export { type Migration, migrations };
export type { LibsqlClient, SqlResult, SqlStatement, SqlValue };

/** Options of {@linkcode migrate}. */
export interface MigrateOptions {
  /**
   * Put before the name of every table, as in `createSchema({ prefix })`. The ledger has it as well.
   *
   * @default {""}
   */
  prefix?: string | undefined;
}

const SUBJECT = "schema";
/** For how long another isolate's lock is waited for. */
const BUSY_TIMEOUT_MS = 5_000;
const BREAKPOINT = "--> statement-breakpoint";

/**
 * Brings the schema of the libSQL store up to date: in one transaction, however many steps there
 * are, and once, however many isolates ask at the same time. It keeps drizzle's own ledger
 * (`__drizzle_migrations`), so that `drizzle-kit migrate` on the same files may run before or after.
 *
 * An application with drizzle migrations of its own, in the same database, must not share that
 * ledger: drizzle applies only what is newer than the newest entry, and would silently skip the
 * application's older migrations. Give it a ledger of its own (`migrationsTable` of drizzle's
 * `migrate()`, `migrations.table` of drizzle-kit), or this package one, with a `prefix`.
 *
 * Cost: one round trip if there is nothing to do, else two.
 *
 * @param client A client of `@libsql/client` or `@libsql/client/web`, or a function that gives one.
 * @param options See {@linkcode MigrateOptions}.
 * @returns The tags of the steps that this call has applied; none if the schema was up to date.
 * @throws {TypeError} If that is no client.
 * @throws {Error} If the database failed, or has tables of these names that are not in the ledger.
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

  /** What is not in the ledger yet. */
  const pending = async (): Promise<Migration[]> => {
    const [, rows] = await send(connection, [
      statement(`create table if not exists ${ledger} (
        id SERIAL PRIMARY KEY, hash text NOT NULL, created_at numeric)`),
      statement(`select hash from ${ledger}`),
    ]);
    const applied = new Set(Array.from(rows!.rows, (row) => row.hash));
    return migrations.filter(({ hash }) => !applied.has(hash));
  };

  const steps = await pending();
  if (steps.length === 0) return { applied: [] };
  try {
    await send(
      connection,
      steps.flatMap(({ hash, when, sql }) => [
        // First: it fails, and all the rest with it, if somebody else was faster.
        statement(
          `insert into ${ledger} (hash, created_at)
          select case when exists (select 1 from ${ledger} where hash = ?1) then null else ?1 end,
          cast(?2 as integer)`,
          hash,
          when,
        ),
        ...prefixed(sql, prefix).split(BREAKPOINT).map((text) => statement(text)),
      ]),
    );
  } catch (error) {
    if ((await pending()).length === 0) return { applied: [] };
    throw error;
  }
  return { applied: steps.map(({ tag }) => tag) };
}

function statement(
  sql: string,
  ...args: (string | number)[]
): { sql: string; args: (string | number)[] } {
  return { sql, args };
}

/** The same for tables whose names begin with a prefix; columns keep their names. */
function prefixed(sql: string, prefix: string): string {
  return sql.replace(/([`"])(circuit_breakers?(_(?!id\b)\w+)?)\1/g, `$1${prefix}$2$1`);
}
