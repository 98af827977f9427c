/**
 * Building a statement once, and binding it for each request.
 *
 * The values of a statement's placeholders, by name. Numbers are rounded to whole ones.
 */

import { is, Placeholder, type SQL, sql } from "drizzle-orm";
import type { SqlStatement } from "../client.ts";

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

/** Builds a statement: the SQL text is made once, however often it is bound. */
export function prepare(query: SQL): Statement {
  const { sql: text, params } = query.toQuery(SQLITE);
  const parts = text.replace(/\s+/g, " ").split("?");
  // By which of the values are numbers.
  const texts = new Map<string, string>();
  return (values) => {
    const args = params.map((param) => {
      const value = is(param, Placeholder) ? values[param.name] ?? null : param;
      if (typeof value === "number") return Math.round(value);
      // A server does not accept a lone surrogate.
      return typeof value === "string" ? value.toWellFormed() : value as null;
    });
    const kinds = args.map((arg) => typeof arg === "number" ? INTEGER : "?");
    const shape = kinds.join("");
    let sql = texts.get(shape);
    if (sql === undefined) {
      sql = parts.reduce((sql, part, i) => sql + kinds[i - 1] + part);
      texts.set(shape, sql);
    }
    return { sql, args };
  };
}

/** Some clients bind a JavaScript number as REAL, and some refuse a bigint. */
const INTEGER = "cast(? as integer)";
