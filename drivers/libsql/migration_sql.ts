/**
 * The SQL of the migrations, for tables with a prefix.
 *
 * @module
 */

import type { Migration } from "../../migrations/files.ts";

const BREAKPOINT = "--> statement-breakpoint";

/** Puts a prefix before the names of tables, indexes and triggers. Columns keep their names. */
export function prefixed(sql: string, prefix: string): string {
  return sql.replace(/([`"])(circuit_breakers?(_(?!id\b)\w+)?)\1/g, `$1${prefix}$2$1`);
}

/** Returns the statements of a migration. */
export function statementsOf({ sql }: Pick<Migration, "sql">, prefix: string): string[] {
  return prefixed(sql, prefix).split(BREAKPOINT);
}
