/**
 * Checks that the database has the triggers that record changes by hand, as the migration created
 * them.
 *
 * @module
 */

import { getTableName, sql } from "drizzle-orm";
import { migrations } from "../../migrations/files.ts";
import { type Connection, send } from "./client.ts";
import { statementsOf } from "./migration_sql.ts";
import type { FuseSchema } from "./schema.ts";
import { $, prepare } from "./statements/prepare.ts";

const TABLE = "circuit_breakers";

/**
 * Returns the name of a trigger that is missing or altered, or `null`. A table under a name of your
 * own has the triggers that you gave it, which are unknown here.
 */
export async function brokenTrigger(
  connection: Connection,
  { circuitBreakers }: FuseSchema,
): Promise<string | null> {
  const table = getTableName(circuitBreakers) as string;
  const prefix = prefixOf(table);
  if (prefix === null) return null;
  const [result] = await send(connection, statement({ table }));
  const found = new Map(
    Array.from(result!.rows, ({ name, sql }) => [String(name), bare(String(sql))]),
  );
  for (const text of triggersOf(prefix)) {
    const name = /`(\w+)`/.exec(text)![1]!;
    if (found.get(name) !== bare(text)) return name;
  }
  return null;
}

const statement = prepare(sql`
  select name, sql from sqlite_master where type = 'trigger' and tbl_name = ${$("table")}`);

/** Returns the prefix of a table's name, or `null` if that is a name of the application's own. */
export function prefixOf(table: string): string | null {
  return table.endsWith(TABLE) ? table.slice(0, -TABLE.length) : null;
}

/** Returns the statements of the migrations that create triggers. */
function triggersOf(prefix: string): string[] {
  return migrations.flatMap((migration) => statementsOf(migration, prefix))
    .filter((text) => /^\s*(--.*\s*)*create trigger/i.test(text));
}

/** Returns SQL without comments and white space. */
function bare(text: string): string {
  return text.replace(
    /('(?:[^']|'')*'|`[^`]*`|"[^"]*")|--[^\n]*|\/\*[\s\S]*?\*\/|[\s;]+/g,
    (_, quoted) => quoted ?? "",
  );
}
