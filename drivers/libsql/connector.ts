/**
 * The clients that an application gives, and goes on using.
 *
 * @module
 */

import { refuseUnseen } from "../../src/checks.ts";
import type { Connect, LibsqlClient, SqlResult, SqlStatement } from "./client.ts";
import { isLocked, readFailure } from "./failures.ts";

/**
 * Checks an option that is a client, or a function that returns one.
 *
 * @throws {TypeError} If the option is neither.
 */
export function connector(subject: string, option: string, client: unknown): Connect {
  if (typeof client === "function") return () => withoutHarm(client());
  const { execute, batch } = Object(client) as Partial<LibsqlClient>;
  if (typeof execute !== "function" || typeof batch !== "function") {
    refuseUnseen(
      subject,
      option,
      "a client of @libsql/client or a function that gives one",
      client,
    );
  }
  return () => withoutHarm(client as LibsqlClient);
}

/** A client of `@libsql/client` for files. */
type FileClient = LibsqlClient & {
  readonly protocol?: string;
  readonly closed?: boolean;
  reconnect?(): unknown;
  transaction?(mode: "deferred"): Promise<FileTransaction>;
};

/** A transaction, which has a connection of its own. Its methods run at once, and return promises. */
interface FileTransaction {
  executeMultiple(sql: string): Promise<unknown>;
  batch(statements: SqlStatement[]): Promise<SqlResult[]>;
  close(): void;
}

const guests = new WeakMap<LibsqlClient, Guest>();

/** Returns a client that does no harm to the application's own work, if the client is for a file. */
export function withoutHarm(client: LibsqlClient): LibsqlClient {
  if ((Object(client) as FileClient).protocol !== "file") return client;
  const guest = guests.get(client) ?? new Guest(client);
  guests.set(client, guest);
  return guest;
}

/**
 * Uses the connections of an application's client for a file. A connection on which a statement has met a
 * lock keeps a part of it, and would lose its next statements. Only `reconnect()` heals it, which also ends
 * all transactions that the application has open, such as the one around a guarded call. For that reason
 * a batch asks for its lock in a way that leaves nothing.
 */
class Guest implements LibsqlClient {
  readonly #client: FileClient;
  /** `true` if it has connections for several transactions: not in memory, nor on an embedded replica. */
  #isPool: boolean | undefined;
  #runs = false;
  /** Start the batches that wait for the one that runs. Timers may be faked, and would wait longer. */
  readonly #waiting: (() => void)[] = [];

  constructor(client: FileClient) {
    this.#client = client;
  }

  async execute(statement: SqlStatement): Promise<SqlResult> {
    try {
      return await this.#client.execute(statement);
    } catch (error) {
      throw await this.#heal(error);
    }
  }

  async batch(
    statements: SqlStatement[],
    mode?: "write" | "read" | "deferred",
  ): Promise<SqlResult[]> {
    let stuck = true;
    try {
      return mode === "write" && this.#isPool !== false
        ? await this.#transact(statements, () => stuck = false)
        : await this.#client.batch(statements, mode);
    } catch (error) {
      throw await this.#heal(error, stuck);
    }
  }

  /** @param onWhole Called if the failure leaves nothing. */
  async #transact(statements: SqlStatement[], onWhole: () => void): Promise<SqlResult[]> {
    // Holds as few connections as possible: all others are the application's.
    if (this.#runs) await new Promise<void>((start) => this.#waiting.push(start));
    this.#runs = true;
    try {
      this.#isPool ??= await this.#tryPool();
      return this.#isPool
        ? await this.#run(statements, onWhole)
        : await this.#client.batch(statements, "write");
    } finally {
      const start = this.#waiting.shift();
      this.#runs = start !== undefined;
      start?.();
    }
  }

  /** @param beside `true` while a connection that was left with a lock is held. */
  async #run(
    statements: SqlStatement[],
    onWhole: () => void,
    beside = false,
  ): Promise<SqlResult[]> {
    const transaction = await this.#client.transaction!("deferred");
    let left = false;
    try {
      // All of it runs before the application can begin a transaction, which would meet our lock.
      const begun = transaction.executeMultiple("commit; begin immediate");
      const ran = transaction.batch([...statements, { sql: "savepoint ran", args: [] }]);
      // Fails at the savepoint if a statement has failed, so that nothing is committed.
      const ended = transaction.executeMultiple("release ran; commit");
      begun.catch((error) => (left = isLeftover(error)) || onWhole());
      ended.catch((error) => !beside && isLocked(readFailure(error)) && onWhole());
      const [, results] = await Promise.all([begun, ran, ended]);
      return results.slice(0, -1);
    } catch (error) {
      if (!left) throw error;
      // A transaction of the application may hold the lock. If another connection gets it, none does.
      const results = await this.#run(statements, onWhole, true);
      if (!beside) await this.#client.reconnect?.();
      return results;
    } finally {
      transaction.close();
    }
  }

  async #tryPool(): Promise<boolean> {
    const client = this.#client;
    if (client.transaction === undefined) return false;
    const opened = await Promise.allSettled([0, 1].map(() => client.transaction!("deferred")));
    for (const each of opened) if (each.status === "fulfilled") each.value.close();
    const refused = opened.flatMap((each) => each.status === "rejected" ? [each.reason] : []);
    if (refused.some(isOnlyConnection)) return false;
    // Nothing is learned of a client that is closed, or whose connections are all held.
    if (refused.length === opened.length) throw refused[0];
    return true;
  }

  /** Reconnects the client if a lock has left something with it. Returns the error to throw. */
  async #heal(error: unknown, stuck = true): Promise<unknown> {
    const failure = readFailure(error);
    const { code } = failure;
    // An open transaction of the application, on an only connection, leaves nothing either.
    if (stuck && isLocked(failure) && code !== "TRANSACTION_ACTIVE") {
      await this.#client.reconnect?.();
    }
    // Another request has reconnected the client, and so closed the connection of this one.
    return /^(CLIENT|TRANSACTION)_CLOSED$/.test(code) && this.#client.closed === false
      ? Object.assign(new Error("The client was reconnected", { cause: error }), {
        code: "SQLITE_BUSY",
      })
      : error;
  }
}

/** Returns `true` if a transaction was refused because the client can have no second connection. */
function isOnlyConnection(error: unknown): boolean {
  return readFailure(error).message.includes("single connection");
}

/** Returns `true` if the connection itself was left with a lock: a plain "commit" did not end. */
function isLeftover(error: unknown): boolean {
  return readFailure(error).message.includes("in progress");
}
