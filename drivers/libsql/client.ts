/**
 * Sending statements to the database: which client sends them, when they are sent again, and which
 * error tells that they failed.
 *
 * @module
 */

import { refuseUnseen } from "../../src/checks.ts";

/** A value of a statement. */
export type SqlValue = null | string | number | bigint | ArrayBuffer;

/** A statement with its values. */
export interface SqlStatement {
  /** The text, with a `?` for each value. */
  sql: string;
  /** The values, in order. */
  args: SqlValue[];
}

/** The result of a statement. */
export interface SqlResult {
  /** The rows, with their values by column name. */
  rows: ArrayLike<Record<string, unknown>>;
}

/** A client, as far as the store uses it: that of `@libsql/client` or `@libsql/client/web`. */
export interface LibsqlClient {
  /** Runs one statement. */
  execute(statement: SqlStatement): Promise<SqlResult>;
  /** Runs all statements or none, in one transaction and, over HTTP, in one request. */
  batch(
    statements: SqlStatement[],
    mode?: "write" | "read" | "deferred",
  ): Promise<SqlResult[]>;
}

/** Returns the client for one unit of work. */
export type Connect = () => LibsqlClient;

/** A connection to a database. */
export interface Connection {
  readonly connect: Connect;
  /** How long to wait for a lock that another writer holds, in ms. */
  readonly busyTimeoutMs: number;
  /** When to try again after a lock was met. Everybody who shares the connection waits until then. */
  heldUntil: number;
}

/** The longest pause between tries: other writers hold the lock for about a millisecond at a time. */
const LONGEST_PAUSE_MS = 8;

/** Returns a connection. Performs no I/O. */
export function connectionOf(connect: Connect, busyTimeoutMs: number): Connection {
  return { connect, busyTimeoutMs, heldUntil: 0 };
}

/**
 * Checks an option that is a client, or a function that returns one.
 *
 * @throws {TypeError} If the option is neither.
 */
export function connector(subject: string, option: string, client: unknown): Connect {
  if (typeof client === "function") return client as Connect;
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
 * @throws {Error} If that failed. The message shows nothing of the statement or the address.
 */
export async function send(
  connection: Connection,
  work: SqlStatement[] | SqlStatement,
): Promise<readonly SqlResult[]> {
  const until = Date.now() + connection.busyTimeoutMs;
  for (;;) {
    const hold = Math.min(connection.heldUntil - Date.now(), LONGEST_PAUSE_MS);
    if (hold > 0) await pause(hold);
    let client: LocalClient | undefined;
    try {
      client = connection.connect();
      const results = Array.isArray(work)
        ? await client.batch(work, "write")
        : [await client.execute(work)];
      if (areResults(results, Array.isArray(work) ? work.length : 1)) return results;
    } catch (error) {
      const code = codeOf(error);
      const busy = /^SQLITE_(BUSY|LOCKED)/.test(code) || statusOf(error) === 429;
      // A local client that met a lock holds one itself, and would lose its next statements.
      if (busy && client?.protocol === "file") await client.reconnect?.();
      // Another request has reconnected the client, and so closed the connection of this one.
      const cut = code === "CLIENT_CLOSED" && client?.closed === false;
      const now = Date.now();
      if (!(busy || cut) || now >= until) throw failure(error, code);
      connection.heldUntil = now + Math.ceil(Math.random() * LONGEST_PAUSE_MS);
      continue;
    }
    throw unreadable();
  }
}

/**
 * Repeats a request until it is applied. A request that others overtake changes nothing, and is sent
 * again with rows that are hashed anew.
 *
 * @param attempt Returns `undefined` if others have overtaken the request.
 * @throws {Error} If others have overtaken it 64 times in a row.
 */
export async function untilApplied<T>(attempt: () => Promise<T | undefined>): Promise<T> {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const answer = await attempt();
    if (answer !== undefined) return answer;
  }
  throw new Error(
    `Cannot use the database: other writers changed the circuit first, ${MAX_TRIES} times in a row`,
  );
}

const MAX_TRIES = 64;

/** Whether a client has answered with the rows of so many statements. */
function areResults(results: unknown, count: number): boolean {
  return Array.isArray(results) && results.length === count &&
    // `every` alone would skip holes.
    Array.from(results).every((result) => {
      const { rows } = Object(result) as Partial<SqlResult>;
      return Number.isSafeInteger(Object(rows).length) &&
        Array.from(rows!).every((row) => typeof row === "object" && row !== null);
    });
}

/** The error for an answer of a proxy in place of the database, or of tables that were overwritten. */
export function unreadable(): Error {
  return new Error("Cannot use the database: its answer makes no sense");
}

/** A client of `@libsql/client` for files. */
type LocalClient = LibsqlClient & {
  protocol?: string;
  closed?: boolean;
  reconnect?: () => unknown;
};

/** Waits, for a random time: of requests that wake up together, all but one would meet the lock. */
function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms + Math.random() * ms));
}

function codeOf(error: unknown): string {
  const code = fieldOf(error, "code");
  return typeof code === "string" && /^[A-Z_]+$/.test(code) ? code : "";
}

/** Reads a field of an error. The getters of a client's error may throw. */
function fieldOf(error: unknown, field: string): unknown {
  try {
    return Object(error)[field];
  } catch {
    return undefined;
  }
}

/** Returns the HTTP status of an error, if any. */
function statusOf(error: unknown): number | undefined {
  const status = fieldOf(fieldOf(error, "cause"), "status");
  return typeof status === "number" ? status : undefined;
}

/** The error for a failed request. It shows nothing of a caller's values, an address or a row. */
function failure(error: unknown, code: string): Error {
  const status = statusOf(error);
  const detail = [code, status === undefined ? "" : `HTTP ${status}`].filter(Boolean);
  return new Error(
    `Cannot use the database: ${reasonOf(fieldOf(error, "message"), code, status)}${
      detail.length > 0 ? ` (${detail.join(", ")})` : ""
    }`,
  );
}

function reasonOf(message: unknown, code: string, status: number | undefined): string {
  if (typeof message === "string" && /no such (table|column)|has no column/.test(message)) {
    return "its schema is missing or older than this version of @fuse/edge; run " +
      "`deno task db:migrate`, or migrate(client) of @fuse/edge/migrations";
  }
  if (code.startsWith("SQLITE_BUSY")) return "another writer holds its lock";
  if (code.startsWith("SQLITE_FULL")) return "its disk is full";
  if (code === "CLIENT_CLOSED") return "its client is closed";
  if (status === 401 || status === 403) return "it does not accept the credentials";
  if (code.startsWith("SQLITE")) return "it refused a statement";
  return "it did not answer";
}
