/**
 * The way to the database: which client, another try when somebody else holds the lock, and errors
 * in words of our own.
 *
 * @module
 */

import { refuseUnseen } from "../../src/checks.ts";

/** A value that a statement is bound to. */
export type SqlValue = null | string | number | bigint | ArrayBuffer;

/** A statement with its values. */
export interface SqlStatement {
  /** With a `?` for each value. */
  sql: string;
  /** In order. */
  args: SqlValue[];
}

/** What came of a statement. */
export interface SqlResult {
  /** By column name. */
  rows: ArrayLike<Record<string, unknown>>;
}

/** What the store needs of a client: that of `@libsql/client` has it, and so has its `/web`. */
export interface LibsqlClient {
  /** Runs one statement. */
  execute(statement: SqlStatement): Promise<SqlResult>;
  /** Runs all, or none, in one transaction and, over HTTP, one request. */
  batch(
    statements: SqlStatement[],
    mode?: "write" | "read" | "deferred",
  ): Promise<SqlResult[]>;
}

/** The way to a database. */
export interface Line {
  /** Gives the client for one unit of work. */
  readonly connect: () => LibsqlClient;
  /** For how long somebody else's lock is waited for, in ms. */
  readonly busyTimeoutMs: number;
  /** Nobody tries before that moment: somebody else's lock was met. */
  heldUntil: number;
}

/** Of the pauses between tries: others hold the lock for about a millisecond at a time. */
const LONGEST_PAUSE_MS = 8;

/** A client, or what makes one, checked. */
export function connector(subject: string, option: string, client: unknown): Line["connect"] {
  if (typeof client === "function") return client as Line["connect"];
  const { execute, batch } = Object(client) as Partial<LibsqlClient>;
  if (typeof execute !== "function" || typeof batch !== "function") {
    refuseUnseen(
      subject,
      option,
      "a client of @libsql/client or a function that gives one",
      client,
    );
  }
  return () => client as LibsqlClient;
}

/**
 * Runs a batch in one transaction, or a single statement.
 *
 * @throws {Error} If that failed, in words that hold nothing of the statement or the address.
 */
export async function send(
  line: Line,
  work: SqlStatement[] | SqlStatement,
): Promise<readonly SqlResult[]> {
  const until = Date.now() + line.busyTimeoutMs;
  for (;;) {
    // Whoever met the lock last has set the pace for all who wait for it here.
    const hold = Math.min(line.heldUntil - Date.now(), LONGEST_PAUSE_MS);
    if (hold > 0) await pause(hold);
    let client: Local | undefined;
    try {
      client = line.connect();
      const results = Array.isArray(work)
        ? await client.batch(work, "write")
        : [await client.execute(work)];
      if (areResults(results, Array.isArray(work) ? work.length : 1)) return results;
    } catch (error) {
      const code = codeOf(error);
      const busy = /^SQLITE_(BUSY|LOCKED)/.test(code) || statusOf(error) === 429;
      // A local client that met a lock keeps one itself, and would lose what it is given next.
      if (busy && client?.protocol === "file") await client.reconnect?.();
      // Another one's reconnecting closed the connection under this one.
      const cut = code === "CLIENT_CLOSED" && client?.closed === false;
      const now = Date.now();
      if (!(busy || cut) || now >= until) throw told(error, code);
      line.heldUntil = now + Math.ceil(Math.random() * LONGEST_PAUSE_MS);
      continue;
    }
    throw spoilt();
  }
}

/** Whether these are rows of so many statements. */
function areResults(results: unknown, count: number): boolean {
  return Array.isArray(results) && results.length === count &&
    // Not `every` alone, which passes holes over.
    Array.from(results).every((result) => {
      const { rows } = Object(result) as Partial<SqlResult>;
      return Number.isSafeInteger(Object(rows).length) &&
        Array.from(rows!).every((row) => typeof row === "object" && row !== null);
    });
}

/** Of a proxy that answers in the database's place, or tables that somebody has written over. */
export function spoilt(): Error {
  return new Error("Cannot use the database: its answer makes no sense");
}

/** What more a client of `@libsql/client` has. */
type Local = LibsqlClient & { protocol?: string; closed?: boolean; reconnect?: () => unknown };

/** Not all at once: of those that wake up together, all but one would meet the lock again. */
function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms + Math.random() * ms));
}

function codeOf(error: unknown): string {
  const code = fieldOf(error, "code");
  return typeof code === "string" && /^[A-Z_]+$/.test(code) ? code : "";
}

/** Errors of a client may throw when they are looked at. */
function fieldOf(error: unknown, field: string): unknown {
  try {
    return Object(error)[field];
  } catch {
    return undefined;
  }
}

/** Of an answer over HTTP. */
function statusOf(error: unknown): number | undefined {
  const status = fieldOf(fieldOf(error, "cause"), "status");
  return typeof status === "number" ? status : undefined;
}

/** What went wrong, without anything that came from a caller, an address or a row. */
function told(error: unknown, code: string): Error {
  const said = fieldOf(error, "message");
  const message = typeof said === "string" ? said : "";
  const status = statusOf(error);
  let what = "it did not answer";
  if (/no such (table|column)|has no column/.test(message)) {
    what = "its schema is missing or older than this version of @fuse/edge; run " +
      "`deno task db:migrate`, or migrate(client) of @fuse/edge/migrations";
  } else if (code.startsWith("SQLITE_BUSY")) what = "another writer holds its lock";
  else if (code.startsWith("SQLITE_FULL")) what = "its disk is full";
  else if (code === "CLIENT_CLOSED") what = "its client is closed";
  else if (status === 401 || status === 403) what = "it does not accept the credentials";
  else if (code.startsWith("SQLITE")) what = "it refused a statement";
  const detail = [code, status === undefined ? "" : `HTTP ${status}`].filter(Boolean);
  return new Error(
    `Cannot use the database: ${what}${detail.length > 0 ? ` (${detail.join(", ")})` : ""}`,
  );
}
