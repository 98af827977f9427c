/**
 * Building a statement once, and binding it for each request.
 *
 * @module
 */

import { is, Placeholder, type SQL, sql } from "drizzle-orm";
import type { SqlStatement } from "../client.ts";

/** The values of a statement's placeholders, by name. Numbers are rounded to whole ones. */
export type Values = Readonly<Record<string, string | number | null>>;

/** Binds a statement to values. A placeholder without a value is bound to null. */
export type Statement = (values: Values) => SqlStatement;

/** How SQLite writes names and values. Drizzle's own class for that is called otherwise in its 1.0. */
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

/** Builds a statement: the SQL text is made once, however often it is bound. */
export function prepare(query: SQL): Statement {
  const { sql: text, params } = query.toQuery(SQLITE);
  const compact = text.replace(/\s+/g, " ");
  return (values) => ({
    sql: compact,
    args: params.map((param) => {
      const value = is(param, Placeholder) ? values[param.name] ?? null : param;
      // The local client binds a JavaScript number as REAL.
      if (typeof value === "number") return BigInt(Math.round(value));
      // A server does not accept a lone surrogate.
      return typeof value === "string" ? value.toWellFormed() : value as null;
    }),
  });
}
