/**
 * SQLite at Cloudflare, in D1 and in Durable Objects: the binding of integers, and the meaning of
 * errors.
 *
 * @module
 */

import type { SqlStatement } from "./client.ts";

/** A value that Cloudflare's SQLite accepts unchanged. */
export type BoundValue = null | string | number | ArrayBuffer;

/** A statement for Cloudflare's SQLite. */
export interface BoundStatement {
  readonly sql: string;
  readonly args: readonly BoundValue[];
}

/** Texts and quoted names, which may contain question marks; and placeholders. */
const TOKENS = /'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|--[^\n]*|\?(\d*)/g;

/**
 * Translates a statement. A number is bound as REAL there and a bigint is refused, so that integers are
 * bound as text and cast, which keeps all 64 bits.
 */
export function withIntegers({ sql, args }: SqlStatement): BoundStatement {
  if (!args.some(isInteger)) return { sql, args: args as BoundValue[] };
  let last = 0;
  const text = sql.replace(TOKENS, (token, place: string | undefined) => {
    if (place === undefined) return token;
    last = place === "" ? last + 1 : Number(place);
    return isInteger(args[last - 1]) ? `cast(${token} as integer)` : token;
  });
  return { sql: text, args: args.map((value) => isInteger(value) ? String(value) : value) };
}

function isInteger(value: unknown): value is number | bigint {
  return typeof value === "bigint" || Number.isInteger(value);
}

/** An error of Cloudflare's, in the words of a libSQL client. */
export interface CloudflareFailure {
  readonly code: string;
  /** An HTTP status, for errors without a code in SQLite. */
  readonly status: number | undefined;
}

/** The meaning of an error's text. A text without a match was not the database's answer. */
const FAILURES: readonly (readonly [text: RegExp, code: string, status?: number])[] = [
  [/exceeded maximum db size|storage limit/i, "SQLITE_FULL"],
  [/daily|monthly|quota|free tier/i, "BLOCKED"],
  [/overloaded|too many requests/i, "", 429],
  [/D1_TYPE_ERROR|D1_COLUMN_NOTFOUND/, "SQLITE_MISMATCH"],
];

/** Reads the text of an error, such as `D1_ERROR: no such table: a: SQLITE_ERROR`. */
export function readCloudflareFailure(message: string): CloudflareFailure {
  const code = /\bSQLITE_[A-Z_]+/.exec(message)?.[0];
  const [, words, status] = FAILURES.find(([text]) => text.test(message)) ?? [];
  return { code: words || (code ?? ""), status };
}
