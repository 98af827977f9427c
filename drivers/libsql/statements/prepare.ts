/**
 * Building a statement once, and binding it for each request.
 *
 * The values of a statement's placeholders, by name. Numbers are rounded to whole ones.
 */

import { is, Placeholder, type SQL, sql } from "drizzle-orm";
import type { SqlStatement, SqlValue } from "../client.ts";

/** The values of a statement's placeholders, by name. Numbers are rounded to whole ones. */
export type Values = Readonly<Record<string, string | number | null>>;

/** Binds a statement to values. A placeholder without a value is bound to null. */
export type Statement = (values: Values) => SqlStatement;

/** SQLite's form of names and values. Drizzle's own class for that has another name in its 1.0. */
const SQLITE = {
  casing: { getColumnCasing: ({ name }: { name: string }) => name },
  escapeName: (name: string) => `"${name.replace(/"/g, '""')}"`,
  escapeParam: () => "?",
  escapeString: (text: string) => `'${text.replace(/'/g, "''")}'`,
} as unknown as Parameters<SQL["toQuery"]>[0];

/** Returns a placeholder for a value that is bound later. */
export function $(name: string): Placeholder {
  return sql.placeholder(name);
}

/** Builds a statement: its SQL text is made once, however often it is bound. */
export function prepare(query: SQL): Statement {
  const { sql: text, params } = query.toQuery(SQLITE);
  const sql = text.replace(/\s+/g, " ");
  const names = params.map((param) => is(param, Placeholder) ? param.name : null);
  return (values) => ({
    sql,
    args: names.map((name, i) => bound(name === null ? params[i] as string : values[name] ?? null)),
  });
}

/** Integers are bound as bigints: clients bind a JavaScript number as REAL. */
function bound(value: Values[string]): SqlValue {
  if (typeof value === "number") {
    // The client refuses NaN and Infinity.
    return Number.isFinite(value) ? BigInt(Math.round(value)) : value;
  }
  // A server does not accept a lone surrogate.
  return typeof value === "string" ? value.toWellFormed() : value;
}
