/**
 * Checks that the database has the triggers that record changes by hand, as the migration created
 * them.
 *
 * @module
 */

import { getTableName, sql } from "drizzle-orm";
import { migrations } from "../../migrations/files.ts";
import { type Connection, send } from "./client.ts";
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
  if (!table.endsWith(TABLE)) return null;
  const prefix = table.slice(0, -TABLE.length);
  const [result] = await send(connection, statement({ table }));
  const found = new Map(
    Array.from(result!.rows, ({ name, sql }) => [String(name), bare(String(sql))]),
  );
  for (const text of ours()) {
    const name = prefix + /`(\w+)`/.exec(text)![1];
    const expected = text.replace(/`(circuit_breakers?(_(?!id\b)\w+)?)`/g, `\`${prefix}$1\``);
    if (found.get(name) !== bare(expected)) return name;
  }
  return null;
}

const statement = prepare(sql`
  select name, sql from sqlite_master where type = 'trigger' and tbl_name = ${$("table")}`);

/** Returns the statements of the migrations that make triggers. */
function ours(): string[] {
  return migrations.flatMap(({ sql }) => sql.split("--> statement-breakpoint"))
    .filter((text) => /^\s*(--.*\s*)*create trigger/i.test(text));
}

/** Returns SQL without comments and white space. */
function bare(text: string): string {
  return text.replace(
    /('(?:[^']|'')*'|`[^`]*`|"[^"]*")|--[^\n]*|\/\*[\s\S]*?\*\/|[\s;]+/g,
    (_, quoted) => quoted ?? "",
  );
}
