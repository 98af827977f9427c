/**
 * Judges errors of clients: whether the database answered, which circuits its answer concerns, and
 * which part of it may be shown.
 *
 * @module
 */

import { type AnswerScope, StoreAnswerError } from "../../src/errors.ts";
import { nonsenseIn } from "../../src/rules/stored_fields.ts";

/** The beginning of error messages. */
export const DATABASE = "Cannot use the database: ";

/** Returns `true` for the name of a table or column of the store. */
export type IsOurs = (name: string) => boolean;

/** An error of a client: the part that is read. */
export interface Failure {
  /** The code of SQLite, of the server or of the client, or `""`. */
  readonly code: string;
  /** The HTTP status, if any. */
  readonly status: number | undefined;
  /** The beginning of the text. It is matched, but never shown: there may be values in it. */
  readonly message: string;
  /** `true` if a server has said so in its protocol. */
  readonly answered: boolean;
}

/** Matching a long text is slow, and the relevant part is at its beginning. */
const TEXT_LENGTH = 500;

/** How many causes of an error are looked at. */
const DEPTH = 4;

/** Reads the error of a client. */
export function readFailure(error: unknown): Failure {
  const text = fieldOf(error, "message");
  const message = typeof text === "string" ? text.slice(0, TEXT_LENGTH) : "";
  const code = fieldOf(error, "code");
  let status: unknown = Number(/HTTP error! status: (\d{3})\b/.exec(message)?.[1] ?? NaN);
  let answered = false;
  for (let e = error, i = 0; e != null && i < DEPTH; e = fieldOf(e, "cause"), i++) {
    if (Number.isNaN(status)) status = fieldOf(e, "status") ?? NaN;
    answered ||= fieldOf(e, "name") === "ResponseError";
  }
  return {
    code: typeof code === "string" && /^[A-Z_]{1,40}$/.test(code) ? code : "",
    status: Number.isInteger(status) ? status as number : undefined,
    ...{ message, answered },
  };
}

/** Reads a field of an error. The getters of a client's error may throw. */
function fieldOf(error: unknown, field: string): unknown {
  try {
    return Object(error)[field];
  } catch {
    return undefined;
  }
}

/** The codes of a lock. In memory, a client has one connection, which an open transaction holds. */
const LOCKED = /^(SQLITE_(BUSY|LOCKED)|TRANSACTION_ACTIVE)/;

/** Returns `true` if another writer holds the lock that a request needs. */
export function isLocked({ code }: Failure): boolean {
  return LOCKED.test(code);
}

/** Returns the error for a failed request. It shows nothing of a caller's values, an address or a row. */
export function errorOf(failure: Failure, isOurs: IsOurs): Error {
  const { code, status } = failure;
  if (failure.message.includes("JSON cannot hold BLOB")) {
    return nonsenseIn(DATABASE, "(a number that is a blob)");
  }
  const [scope, words] = lacksSchema(failure.message, isOurs)
    ? ["store", LACKS_SCHEMA] as const
    : meaningOf(failure);
  const detail = [code, status === undefined ? "" : `HTTP ${status}`].filter(Boolean);
  const message = `${DATABASE}${words}${detail.length > 0 ? ` (${detail.join(", ")})` : ""}`;
  return scope === null ? new Error(message) : new StoreAnswerError(message, { scope });
}

const LACKS_SCHEMA = "its schema is missing or older than this version of @fuse/edge; run " +
  "`migrate` of @fuse/edge/cli, or migrate(client) of @fuse/edge/migrations";

/** Returns `true` if a table or column of the store is missing, and not one of a user's trigger. */
function lacksSchema(message: string, isOurs: IsOurs): boolean {
  const missing = /no such (table|column): "?([\w.]+)|() has no column named "?(\w+)/.exec(message);
  const [, kind, name = missing?.[4] ?? ""] = missing ?? [];
  // Turso's engine says so of the alias of a table, which it does not know in that place.
  if (kind === "column" && message.includes("Parse error")) return false;
  return !/^(new|old)\./i.test(name) && isOurs(name.slice(name.lastIndexOf(".") + 1));
}

/**
 * The circuits that a failure concerns, `null` if the database was not reached, and the text about
 * it.
 */
type Meaning = readonly [scope: AnswerScope | null, words: string];

const SQLITE_MEANINGS: readonly (readonly [codes: RegExp, words: string])[] = [
  [LOCKED, "another writer holds its lock"],
  [/^SQLITE_FULL/, "its disk is full"],
  [/^SQLITE_READONLY/, "it refuses writes"],
  [/^SQLITE_(AUTH|PERM)/, "it does not permit this"],
  [/^SQLITE_(IOERR|CANTOPEN|NOTADB|NOMEM)/, "its file cannot be used"],
  [/^BLOCKED/, "it is blocked, as it is when a quota is used up"],
  [/^AUTH_/, "it does not accept the credentials"],
];

const NOT_LOADED =
  "@libsql/client cannot be loaded: is it installed, and permitted to run native code?";

const HTTP_MEANINGS: Readonly<Record<number, Meaning>> = {
  401: ["store", "it does not accept the credentials"],
  402: ["store", "it is blocked, as it is when a quota is used up"],
  403: ["store", "it does not accept the credentials"],
  404: ["store", "there is no such database"],
  429: ["store", "it takes no more requests for now"],
  // Of a proxy in front of the database.
  502: [null, "it did not answer"],
  503: [null, "it did not answer"],
  504: [null, "it did not answer"],
};

function meaningOf({ code, status, answered }: Failure): Meaning {
  const known = SQLITE_MEANINGS.find(([codes]) => codes.test(code));
  if (known !== undefined) return ["store", known[1]];
  if (code === "CLIENT_CLOSED") return [null, "its client is closed"];
  if (code === "CLIENT_NOT_LOADED") return [null, NOT_LOADED];
  const http = HTTP_MEANINGS[status ?? 0];
  if (http !== undefined) return http;
  // Any other answer may be about the values or the row of one circuit: sqld answers 500 for a text
  // that is not UTF-8. If it is about everything, several circuits in a row are refused, and that
  // is noticed.
  if (/^SQL/.test(code)) return ["circuit", "it refused a statement"];
  if (answered || (status ?? 0) >= 400) return ["circuit", "it refused a request"];
  return [null, "it did not answer"];
}
