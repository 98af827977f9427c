// The client that keeps its statements, on a connection of its own: its statements, its turns, its locks.
import { assertEquals, assertRejects } from "@std/assert";
import { ConnectionPool } from "@libsql/client/sqlite3";
import {
  MOST_STATEMENTS,
  type NativeConnection,
  StatementClient,
} from "../../../drivers/libsql/local_client.ts";
import { inFolder, sql } from "./store.ts";

/** A connection that does nothing but note what it is asked, and fails at the texts of `failing`. */
function fakeConnection(failing: Record<string, unknown> = {}) {
  const log: string[] = [];
  let inTransaction = false;
  const exec = (text: string) => {
    log.push(text);
    if (text in failing) throw failing[text];
    if (/^begin/.test(text)) inTransaction = true;
    if (/^(commit|rollback)/.test(text)) inTransaction = false;
  };
  const connection: NativeConnection = {
    get inTransaction() {
      return inTransaction;
    },
    exec,
    prepare(text) {
      log.push(`prepare ${text}`);
      const run = () => exec(text);
      return { reader: /^select/.test(text), safeIntegers() {}, all: () => (run(), []), run };
    },
    close() {
      log.push("close");
    },
  };
  return { connection, log };
}

const busy = () => Object.assign(new Error("database is locked"), { code: "SQLITE_BUSY" });

Deno.test("StatementClient() compiles a statement once, and forgets those not used for longest", async () => {
  const { connection, log } = fakeConnection();
  const client = new StatementClient(() => connection);
  const prepared = () => log.filter((line) => line.startsWith("prepare")).length;
  const run = (n: number) => client.execute(sql(`select ${n}`));
  for (let i = 0; i < MOST_STATEMENTS; i++) await run(i);
  for (let i = 0; i < MOST_STATEMENTS; i++) await run(i);
  assertEquals(prepared(), MOST_STATEMENTS);
  await run(0);
  // This one takes the place of the second, for the first has just been used.
  await run(MOST_STATEMENTS);
  await run(0);
  assertEquals(prepared(), MOST_STATEMENTS + 1);
  await run(1);
  assertEquals(prepared(), MOST_STATEMENTS + 2);
});

Deno.test("StatementClient() begins to write in a turn of its own, and reads at once", async () => {
  const { connection, log } = fakeConnection();
  const client = new StatementClient(() => connection);
  const reading = client.execute(sql("select 1"));
  assertEquals(log, ["prepare select 1", "select 1"]);
  await reading;
  log.length = 0;
  const writing = client.batch([sql("a write")], "write");
  for (let i = 0; i < 100; i++) await Promise.resolve();
  assertEquals(log, []);
  await writing;
  assertEquals(log.filter((line) => !line.startsWith("prepare")), [
    ...["begin immediate", "a write", "commit"],
  ]);
});

Deno.test("StatementClient() writes while a test fakes the time", async () => {
  const { connection, log } = fakeConnection();
  const client = new StatementClient(() => connection);
  const world = globalThis as unknown as { setImmediate: (run: () => void) => unknown };
  const { setImmediate } = world;
  world.setImmediate = () => {};
  try {
    client.batch([sql("a write")], "write");
    for (let i = 0; i < 3; i++) await new Promise<void>((resolve) => void setImmediate(resolve));
    assertEquals(log.at(-1), "commit");
  } finally {
    world.setImmediate = setImmediate;
  }
});

Deno.test("StatementClient() keeps its statements when its transaction meets a lock", async () => {
  const failing: Record<string, unknown> = { "begin immediate": busy() };
  const { connection, log } = fakeConnection(failing);
  const client = new StatementClient(() => connection);
  await client.execute(sql("select 1"));
  await assertRejects(() => client.batch([sql("a write")], "write"), Error, "database is locked");
  await client.execute(sql("select 1"));
  assertEquals(log, ["prepare select 1", "select 1", "begin immediate", "select 1"]);
});

Deno.test("StatementClient() first runs again a read that has met a lock", async () => {
  const failing: Record<string, unknown> = { "select 1": busy() };
  const { connection, log } = fakeConnection(failing);
  const client = new StatementClient(() => connection);
  await assertRejects(() => client.execute(sql("select 1")), Error, "database is locked");
  const reading = () => client.execute(sql("select 2"));
  await assertRejects(reading, Error, "database is locked");
  await assertRejects(() => client.batch([sql("a write")], "write"), Error, "database is locked");
  delete failing["select 1"];
  await reading();
  await reading();
  assertEquals(log.slice(1), [
    ...["select 1", "select 1", "select 1", "select 1"],
    ...["prepare select 2", "select 2", "select 2"],
  ]);
});

Deno.test("StatementClient() reads on after a read that met a lock, and then fails", async () => {
  const failing: Record<string, unknown> = { "select 1": busy() };
  const { connection } = fakeConnection(failing);
  const client = new StatementClient(() => connection);
  await assertRejects(() => client.execute(sql("select 1")), Error, "database is locked");
  failing["select 1"] = new Error("no such table: a");
  await client.execute(sql("select 2"));
});

Deno.test("StatementClient() keeps its connection when reads meet locks", async () => {
  await inFolder(async (folder) => {
    const open = () => new ConnectionPool(`${folder}/a.db`, {}, 1).acquireSync();
    let opened = 0;
    const client = new StatementClient(() => (opened++, open() as unknown as NativeConnection));
    await client.execute(sql("create table a (n)"));
    const select = () => client.execute(sql("select * from a"));
    await select();
    const writer = open();
    for (let i = 0; i < 10; i++) {
      writer.exec("begin exclusive");
      await assertRejects(select, Error, "database is locked");
      writer.exec("commit");
      await client.batch([sql("insert into a values (1)")], "write");
    }
    assertEquals((await select()).rows.length, 10);
    assertEquals(opened, 1);
    client.close();
    writer.close();
  });
});

Deno.test("StatementClient() takes another connection once a write has met a lock", async () => {
  const met = fakeConnection({ "a write": busy() });
  const fresh = fakeConnection();
  const connections = [met.connection, fresh.connection];
  const client = new StatementClient(() => connections.shift()!);
  const writing = () => client.batch([sql("a write")], "write");
  await assertRejects(writing, Error, "database is locked");
  assertEquals(met.log.slice(-2), ["rollback", "close"]);
  await writing();
  assertEquals(fresh.log, ["begin immediate", "prepare a write", "a write", "commit"]);
});

Deno.test("StatementClient() takes another connection once a write was refused, except in memory", async () => {
  const refused = () => Object.assign(new Error("readonly"), { code: "SQLITE_READONLY_DBMOVED" });
  for (const inMemory of [false, true]) {
    const first = fakeConnection({ "a write": refused() });
    const fresh = fakeConnection();
    const connections = [first.connection, fresh.connection];
    const client = new StatementClient(() => connections.shift()!, { inMemory });
    const writing = () => client.batch([sql("a write")], "write");
    await assertRejects(writing, Error, "readonly");
    assertEquals(first.log.at(-1), inMemory ? "rollback" : "close");
    await client.batch([sql("another")], "write");
    assertEquals(fresh.log.length > 0, !inMemory);
  }
});

Deno.test("StatementClient() leaves a transaction whose end meets a lock", async () => {
  const { connection, log } = fakeConnection({ commit: busy() });
  const client = new StatementClient(() => connection);
  const error = await assertRejects(() => client.batch([sql("a write")], "write"), Error);
  assertEquals((error as { code?: string }).code, "SQLITE_BUSY");
  assertEquals(log.at(-1), "rollback");
  assertEquals(connection.inTransaction, false);
});

Deno.test("StatementClient() takes another connection for one that does not leave its transaction", async () => {
  const stuck = fakeConnection({ commit: busy(), rollback: busy() });
  const fresh = fakeConnection();
  const connections = [stuck.connection, fresh.connection];
  const client = new StatementClient(() => connections.shift()!);
  await assertRejects(() => client.batch([sql("a write")], "write"), Error, "database is locked");
  assertEquals(stuck.log.at(-1), "close");
  await client.batch([sql("a write")], "write");
  assertEquals(fresh.log.at(-1), "commit");
});
