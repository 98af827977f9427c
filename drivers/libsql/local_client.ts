/**
 * The store's own client, for a database in a file of this machine or in memory.
 *
 * @module
 */

import { refuseUnseen } from "../../src/checks.ts";
import type { LibsqlClient, SqlResult, SqlStatement, SqlValue } from "./client.ts";
import { withoutHarm } from "./connector.ts";

/** A client for a database in this process. */
export interface LocalClient extends LibsqlClient {
  /** `true` once the client is closed. */
  readonly closed: boolean;
  /** Closes the file. A request after that fails. */
  close(): void;
}

/**
 * Returns a client for a database in a file, or in memory. Unlike that of `@libsql/client`, it compiles
 * each statement once. It has one connection, and begins a transaction that writes in a turn of its own,
 * so that a call whose outcome is recorded in the background does not wait for the disk.
 *
 * The file is opened, and the native part of `@libsql/client` loaded, with the first request: a program
 * whose database is reached over HTTP does not load it. On Workers, where there are no files, each request
 * fails.
 *
 * @param url `file:` with a path, as for `createClient()` of `@libsql/client`, or `:memory:`.
 * @throws {TypeError} If `url` is neither. An address that `createClient()` refuses fails each request.
 *
 * @example A database in memory
 * ```ts
 * import { createFuse } from "@fuse/edge";
 * import { libsql, localClient } from "@fuse/edge/libsql";
 * import { migrate } from "@fuse/edge/migrations";
 * import { assertEquals } from "@std/assert";
 *
 * const client = localClient(":memory:");
 * await migrate(client);
 * await using fuse = createFuse({ stores: { database: libsql({ client }) } });
 *
 * assertEquals(await fuse.make("external-api").call(() => "an answer"), "an answer");
 * client.close();
 * ```
 */
export function localClient(url: string): LocalClient {
  // The native part ends the process at a path with a NUL.
  if (typeof url !== "string" || !/^(file:|:memory:$)/i.test(url) || /\0|%00/.test(url)) {
    refuseUnseen(
      "local client",
      "url",
      "an address that begins with file: and has no NUL, or :memory:",
      url,
    );
  }
  let client: OpenClient | undefined;
  let closed = false;
  const opened = async () => {
    if (closed) throw closedError();
    if (client !== undefined) return client;
    const opening = await opener(url);
    // Somebody else may have opened or closed it meanwhile.
    if (closed) throw closedError();
    return client ??= opening();
  };
  return {
    execute: async (statement) => await withoutHarm(await opened()).execute(statement),
    batch: async (statements, mode) => await withoutHarm(await opened()).batch(statements, mode),
    get closed() {
      return closed;
    },
    close() {
      closed = true;
      client?.close();
    },
  };
}

type OpenClient = LibsqlClient & { close(): void };

/** Returns a function that opens the database at once. */
async function opener(url: string): Promise<() => OpenClient> {
  const path = pathOf(url);
  const ConnectionPool = path === null ? undefined : await nativePool();
  if (path !== null && ConnectionPool !== undefined) {
    const open = () => new ConnectionPool(path, {}, 1).acquireSync();
    return () => new StatementClient(open, { inMemory: path === IN_MEMORY });
  }
  // Bundles for Workers hold the client for the web in its place, which refuses files.
  const { createClient } = await import("@libsql/client").catch((cause) => {
    throw Object.assign(new Error("@libsql/client cannot be loaded", { cause }), {
      code: "CLIENT_NOT_LOADED",
    });
  });
  return () => createClient({ url });
}

const IN_MEMORY = "file::memory:";

/**
 * Returns the path of a plain URL as SQLite wants it, or `null` for any other URL, which may have a host or
 * a query: `@libsql/client` knows what to do with it.
 */
function pathOf(url: string): string | null {
  if (/^(file:)?:memory:$/.test(url)) return IN_MEMORY;
  const path = /^file:(?:\/\/(?:localhost)?(?=\/))?((?!\/\/)[^?#]+)$/i.exec(url)?.[1];
  try {
    return path === undefined ? null : decodeURIComponent(path);
  } catch {
    return null;
  }
}

/**
 * The module of `@libsql/client` that has its native part: the same copy of SQLite that an application's own
 * client uses, because two copies in one process would undo each other's locks. Its name is not written
 * where it is imported: a bundler would take native code along, also for Workers. The second name is for
 * Deno, where a module of JSR has no import map.
 */
export const NATIVE: readonly string[] = [
  "@libsql/client/sqlite3",
  "npm:@libsql/client@^0.18.0/sqlite3",
];

/** Returns the pool of `@libsql/client`, or `undefined` if there is none here, or not in this version. */
async function nativePool(): Promise<NativePool | undefined> {
  for (const name of NATIVE) {
    try {
      const module = await import(/* webpackIgnore: true */ /* @vite-ignore */ name);
      if (typeof module.ConnectionPool === "function") return module.ConnectionPool;
    } catch {
      // Not here, or not by this name.
    }
  }
  return undefined;
}

type NativePool = new (path: string, options: object, most: number) => {
  acquireSync(): NativeConnection;
};

/** A connection of the package `libsql`, on which `@libsql/client` stands. Everything is synchronous. */
export interface NativeConnection {
  readonly inTransaction: boolean;
  /** Runs a statement, and leaves nothing of it, also if it fails. */
  exec(sql: string): void;
  prepare(sql: string): NativeStatement;
  /** Closes the file, once none of its statements is in memory. */
  close(): void;
}

/** A compiled statement. Nothing but another run resets one that has met a lock. */
export interface NativeStatement {
  /** `true` if it returns rows. */
  readonly reader: boolean;
  /** Lets integers be bigints. Others would lose digits. */
  safeIntegers(on: boolean): void;
  all(args: readonly unknown[]): Record<string, unknown>[];
  run(args: readonly unknown[]): unknown;
}

/** How many statements are kept. The store has about 80. */
export const MOST_STATEMENTS = 128;

const BEGIN = {
  write: "begin immediate",
  read: "begin transaction readonly",
  deferred: "begin deferred",
} as const;

const READS = /^\s*select\b/i;

/** Statements that need no transaction, or take none. */
const ALONE = /^\s*(select|pragma|explain|vacuum|attach|detach)\b/i;

/** A client on one connection. */
export class StatementClient implements LibsqlClient {
  readonly #open: () => NativeConnection;
  readonly #inMemory: boolean;
  #connection: NativeConnection | null = null;
  #closed = false;
  /** The statements that are kept, the one used last at the end. */
  readonly #statements = new Map<string, NativeStatement>();
  /** A read that has met a lock: until it runs again, no other statement gives back what it takes. */
  #held: SqlStatement | null = null;
  /** `true` once something else has met a lock, which only a new connection gives back. */
  #stuck = false;

  /**
   * @param open Opens a connection.
   * @param options `inMemory`: the database is gone with its connection. By default, it is in a file.
   */
  constructor(open: () => NativeConnection, { inMemory = false } = {}) {
    this.#open = open;
    this.#inMemory = inMemory;
  }

  async execute(statement: SqlStatement): Promise<SqlResult> {
    if (!ALONE.test(statement.sql)) return (await this.batch([statement], "write"))[0]!;
    try {
      this.#runHeld();
      return this.#run(statement);
    } catch (error) {
      throw this.#failed(error);
    }
  }

  async batch(
    statements: SqlStatement[],
    mode: keyof typeof BEGIN = "deferred",
  ): Promise<SqlResult[]> {
    if (mode === "write") await nextTurn();
    try {
      this.#runHeld();
      // Not kept: one that meets the lock of another writer would hold a lock itself.
      this.#connected().exec(BEGIN[mode]);
      const results = statements.map((statement) => this.#run(statement));
      this.#connected().exec("commit");
      return results;
    } catch (error) {
      throw this.#failed(error);
    }
  }

  close(): void {
    this.#closed = true;
    this.#leave();
  }

  #runHeld(): void {
    const held = this.#held;
    this.#held = null;
    try {
      if (held !== null) this.#run(held);
    } catch (error) {
      // Any other error resets it, and is of no concern to the statement that comes now.
      if (this.#held !== null) throw error;
    }
  }

  #run({ sql, args }: SqlStatement): SqlResult {
    const values = args.map(valueToBind);
    const statement = this.#prepared(sql);
    try {
      if (statement.reader) return { rows: statement.all(values).map(readRow) };
      statement.run(values);
      return { rows: [] };
    } catch (error) {
      if (/^SQLITE_(BUSY|LOCKED)/.test(String(Object(error).code))) {
        // A connection left with statements in memory keeps its file open until they are collected.
        if (READS.test(sql)) this.#held = { sql, args };
        else this.#stuck = true;
      }
      throw error;
    }
  }

  #prepared(sql: string): NativeStatement {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#connected().prepare(sql);
      statement.safeIntegers(true);
    }
    this.#statements.delete(sql);
    this.#statements.set(sql, statement);
    if (this.#statements.size > MOST_STATEMENTS) {
      this.#statements.delete(this.#statements.keys().next().value!);
    }
    return statement;
  }

  /** Leaves the transaction that has failed, if SQLite has not. Returns the error to throw. */
  #failed(error: unknown): unknown {
    try {
      if (this.#connection?.inTransaction === true) this.#connection.exec("rollback");
    } catch {
      // The transaction would hold its lock for ever.
      this.#stuck = true;
    }
    const failure = failureOf(error);
    // A connection that was opened while its file could not be written refuses writes for ever.
    const refuses = Object(failure).code === "SQLITE_READONLY" && !this.#inMemory;
    if (this.#stuck || refuses) this.#leave();
    return failure;
  }

  /** Leaves the connection, if any. The next request takes another one. */
  #leave(): void {
    this.#statements.clear();
    this.#connection?.close();
    this.#connection = null;
    this.#held = null;
    this.#stuck = false;
  }

  #connected(): NativeConnection {
    if (this.#closed) throw closedError();
    return this.#connection ??= this.#connect();
  }

  #connect(): NativeConnection {
    try {
      return this.#open();
    } catch (error) {
      throw Object.assign(new Error("The file cannot be opened", { cause: error }), {
        code: "SQLITE_CANTOPEN",
      });
    }
  }
}

/** As it was found: tests that fake the time replace it. Deno loads its timers when they are touched. */
const found = Object.getOwnPropertyDescriptor(globalThis, "setImmediate");

/** Waits until all that is due has run. */
function nextTurn(): Promise<void> {
  // Deno, Node and Bun have it. A timer would wait for a millisecond.
  const later = found?.get?.call(globalThis) ?? found?.value ?? setTimeout;
  return new Promise((resolve) => void later(resolve));
}

/** The native part ends the process at a boolean. */
function valueToBind(value: SqlValue): unknown {
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  const fits = value === null || typeof value === "string" || Number.isFinite(value) ||
    typeof value === "bigint" && value === BigInt.asIntN(64, value);
  if (!fits) throw new TypeError("A value is no text, no blob, and no number that SQLite can hold");
  return value;
}

/** Puts numbers in place of bigints that fit into one, and an `ArrayBuffer` in place of a blob. */
function readRow(row: Record<string, unknown>): Record<string, unknown> {
  for (const column in row) {
    const value = row[column];
    if (typeof value === "bigint") {
      const number = Number(value);
      if (Number.isSafeInteger(number)) row[column] = number;
    } else if (ArrayBuffer.isView(value)) {
      row[column] = value.buffer.slice(value.byteOffset, value.byteOffset + value.byteLength);
    }
  }
  return row;
}

/** Returns an error of SQLite with its base code, such as `SQLITE_BUSY` for `SQLITE_BUSY_SNAPSHOT`. */
function failureOf(error: unknown): unknown {
  const { code, message } = Object(error) as { code?: unknown; message?: string };
  const base = typeof code === "string" ? /^SQLITE_[A-Z]+/.exec(code)?.[0] : undefined;
  return base === undefined
    ? error
    : Object.assign(new Error(message, { cause: error }), { code: base });
}

function closedError(): Error {
  return Object.assign(new Error("The client is closed"), { code: "CLIENT_CLOSED" });
}
