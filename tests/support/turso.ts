/**
 * Turso's new engine, in this process.
 *
 * @module
 */
import { connect } from "@tursodatabase/database";
import type { LibsqlClient, SqlResult, SqlStatement } from "@fuse/edge/libsql";

/** Creates a client of a database in memory. It runs requests in order: there is one connection. */
export async function tursoInMemory(): Promise<LibsqlClient & AsyncDisposable> {
  const db = await connect(":memory:");
  let turn: Promise<unknown> = Promise.resolve();

  async function run({ sql, args }: SqlStatement): Promise<SqlResult> {
    const statement = await db.prepare(sql);
    try {
      return { rows: await statement.all(...args) };
    } finally {
      statement.close();
    }
  }

  async function inTransaction(statements: readonly SqlStatement[]): Promise<SqlResult[]> {
    const results: SqlResult[] = [];
    await db.exec("begin immediate");
    try {
      for (const statement of statements) results.push(await run(statement));
      await db.exec("commit");
      return results;
    } catch (error) {
      await db.exec("rollback");
      throw error;
    }
  }

  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = turn.then(work);
    turn = done.catch(() => {});
    return done;
  }

  return {
    execute: (statement) => inTurn(() => run(statement)),
    batch: (statements) => inTurn(() => inTransaction(statements)),
    [Symbol.asyncDispose]: () => inTurn(() => db.close()),
  };
}
