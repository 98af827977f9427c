/**
 * Sending statements to the database: the client that sends them, repetitions, and the error if
 * they fail.
 *
 * @module
 */

import { StoreAnswerError } from "../../src/errors.ts";
import { DATABASE, errorOf, isLocked, type IsOurs, readFailure } from "./failures.ts";

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

/** A client, as far as the store uses it: of `@libsql/client`, `@libsql/client/web` or `localClient()`. */
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
  /** Tells the tables and columns of the store. */
  readonly isOurs: IsOurs;
  /** When to try again after a lock was met. Everybody who shares the connection waits until then. */
  heldUntil: number;
}

/** The longest pause between tries: other writers hold the lock for about a millisecond at a time. */
const LONGEST_PAUSE_MS = 8;

/**
 * How often a request is sent to a server that accepts no more requests (429), and the first pause.
 */
const THROTTLED_TRIES = 3;
const THROTTLED_PAUSE_MS = 50;

/**
 * Returns a connection. Performs no I/O.
 *
 * @param isOurs Tells the tables and columns of the store. By default, there are none.
 */
export function connectionOf(
  connect: Connect,
  busyTimeoutMs: number,
  isOurs: IsOurs = () => false,
): Connection {
  return { connect, busyTimeoutMs, isOurs, heldUntil: 0 };
}

/**
 * Runs a batch in one transaction, or a single statement. Sends it again while another writer holds the
 * lock, and up to twice if the server takes no more requests.
 *
 * @throws {StoreAnswerError} If the database refused it. The message shows nothing of the statement or the
 * address.
 * @throws {Error} If the database was not reached.
 */
export async function send(
  connection: Connection,
  work: SqlStatement[] | SqlStatement,
): Promise<readonly SqlResult[]> {
  const until = Date.now() + connection.busyTimeoutMs;
  for (let throttled = 0;;) {
    const hold = Math.min(connection.heldUntil - Date.now(), LONGEST_PAUSE_MS);
    if (hold > 0) await pause(hold);
    try {
      const client = connection.connect();
      const results = Array.isArray(work)
        ? await client.batch(work, "write")
        : [await client.execute(work)];
      if (areResults(results, Array.isArray(work) ? work.length : 1)) return results;
    } catch (error) {
      const failure = readFailure(error);
      const now = Date.now();
      const ms = THROTTLED_PAUSE_MS * 2 ** throttled;
      if (failure.status === 429 && ++throttled < THROTTLED_TRIES) {
        await pause(ms);
        continue;
      }
      if (!isLocked(failure) || now >= until) throw errorOf(failure, connection.isOurs);
      connection.heldUntil = now + Math.ceil(Math.random() * LONGEST_PAUSE_MS);
      continue;
    }
    // Of a proxy in place of the database.
    throw new Error(NO_SENSE);
  }
}

/**
 * Repeats a request until it is applied. A request that others overtake changes nothing, and is sent
 * again with rows that are hashed anew.
 *
 * @param attempt Returns `undefined` if others have overtaken the request.
 * @throws {StoreAnswerError} If others have overtaken it 64 times in a row.
 */
export async function untilApplied<T>(attempt: () => Promise<T | undefined>): Promise<T> {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const answer = await attempt();
    if (answer !== undefined) return answer;
  }
  throw new StoreAnswerError(
    `${DATABASE}other writers changed the circuit first, ${MAX_TRIES} times in a row`,
    { scope: "circuit" },
  );
}

const MAX_TRIES = 64;

/** Returns `true` if a client has answered with the rows of this many statements. */
function areResults(results: unknown, count: number): boolean {
  return Array.isArray(results) && results.length === count &&
    // `every` alone would skip holes.
    Array.from(results).every((result) => {
      const { rows } = Object(result) as Partial<SqlResult>;
      return Number.isSafeInteger(Object(rows).length) &&
        Array.from(rows!).every((row) => typeof row === "object" && row !== null);
    });
}

const NO_SENSE = `${DATABASE}its answer is invalid`;

/** Returns the error for invalid rows, such as those of tables that were overwritten. */
export function unreadable(): StoreAnswerError {
  return new StoreAnswerError(NO_SENSE, { scope: "circuit" });
}

/** Waits, for a random time: of requests that wake up together, all but one would meet the lock. */
function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms + Math.random() * ms));
}
