/**
 * The client of a database in memory that belongs to a store alone.
 *
 * @module
 */

import { migrations } from "../../migrations/files.ts";
import type { LibsqlClient } from "./client.ts";
import { localClient } from "./local_client.ts";
import { statementsOf } from "./migration_sql.ts";

/**
 * Returns a client of a new database in memory. Its first request creates the tables, because nobody else
 * can reach that database to migrate it.
 *
 * @param prefix The prefix of the tables' names.
 */
export function memoryClient(prefix: string): LibsqlClient {
  const client = localClient(":memory:");
  const tables = migrations.flatMap((migration) => statementsOf(migration, prefix))
    .map((sql) => ({ sql, args: [] }));
  let isMigrated = false;
  const migrated = async () => {
    if (isMigrated) return client;
    try {
      await client.batch(tables, "write");
    } catch (error) {
      // Another first request may have been faster.
      if (!isMigrated) throw error;
    }
    isMigrated = true;
    return client;
  };
  return {
    execute: async (statement) => await (await migrated()).execute(statement),
    batch: async (statements, mode) => await (await migrated()).batch(statements, mode),
  };
}
