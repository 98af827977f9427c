// A client for a file that the application uses for its own work, too.
import { assertEquals, assertRejects } from "@std/assert";
import { createClient } from "@libsql/client";
import { createFuse } from "@fuse/edge";
import { migrate } from "@fuse/edge/migrations";
import { StoreAnswerError } from "@fuse/edge/store";
import { connector } from "../../../drivers/libsql/connector.ts";
import { type DatabaseStore, libsql } from "../../support/drivers.ts";
import { fileForFile } from "../../support/databases.ts";

const SHAPE = { windowMs: 120_000, windowSize: 0 };

function record(store: DatabaseStore, key: string) {
  return Promise.resolve(store.record(key, {
    ...{ id: crypto.randomUUID(), at: 0, shape: SHAPE, epoch: "", generation: 0, began: 0 },
    ...{ successes: 1, failures: 0, rejected: 0, slow: 0, ageMs: 0, lease: null, policyHash: "" },
  }));
}

async function totals(store: DatabaseStore, key: string) {
  return (await store.read(key, { at: 0, shape: SHAPE })).totals;
}

for (const mode of ["delete", "wal"]) {
  Deno.test(`a transaction of the application outlives calls inside of it, with journal_mode = ${mode}`, async () => {
    const folder = await Deno.makeTempDir({ prefix: "fuse-libsql-" });
    const client = createClient({ url: `file:${folder}/app.db` });
    await client.execute(`pragma journal_mode = ${mode}`);
    await migrate(client);
    await client.execute("create table orders (id integer primary key)");
    let now = Date.now();
    await using fuse = createFuse({
      storeTimeoutMs: 30_000,
      stores: { database: libsql({ client, busyTimeoutMs: 0 }) },
      clock: () => now,
    });
    fuse.on("store_error", () => {});
    // Its last success is under way when the transaction begins.
    const breaker = fuse.make("inside", { consistency: "strong" });
    await breaker.call(() => "fine");
    const transaction = await client.transaction("write");
    await transaction.execute("insert into orders values (1)");
    await breaker.tryCall(() => Promise.reject(new Error("down")));
    await breaker.forceOpen().catch(() => {});
    await transaction.execute("insert into orders values (2)");
    await transaction.commit();
    const { rows } = await client.execute("select count(*) as n from orders");
    assertEquals(rows[0]?.n, 2);
    now += 5_000;
    await fuse.flush();
    const { totalFailures, totalSuccesses } = await breaker.getMetrics();
    assertEquals([totalFailures, totalSuccesses], [1, 1]);
    client.close();
    await Deno.remove(folder, { recursive: true });
  });
}

Deno.test("calls and transactions of the application do not fail each other on one client", async () => {
  const folder = await Deno.makeTempDir({ prefix: "fuse-libsql-" });
  const client = createClient({ url: `file:${folder}/app.db` });
  await client.execute("pragma journal_mode = wal");
  await migrate(client);
  await client.execute("create table orders (id integer primary key)");
  await using fuse = createFuse({
    storeTimeoutMs: 30_000,
    stores: { database: libsql({ client, busyTimeoutMs: 20_000 }) },
  });
  const breaker = fuse.make("beside", { consistency: "strong", failureThreshold: 1_000 });
  const calls = Array.from({ length: 40 }, async (_, i) => {
    for (let n = 0; n < 4; n++) {
      await breaker.tryCall(() => i % 2 ? Promise.reject(new Error("down")) : "fine");
    }
  });
  // Its own transactions follow each other, and some call within.
  for (let id = 1; id <= 40; id++) {
    await client.execute("select 1");
    const transaction = await client.transaction("write");
    await transaction.execute({ sql: "insert into orders values (?)", args: [id] });
    if (id % 2) await new Promise((resolve) => setTimeout(resolve, 1));
    await client.execute("select count(*) from orders");
    await transaction.commit();
  }
  await Promise.all(calls);
  await fuse.flush();
  const { rows } = await client.execute("select count(*) as n from orders");
  assertEquals(rows[0]?.n, 40);
  const { totalFailures, totalSuccesses } = await breaker.getMetrics();
  assertEquals([totalFailures, totalSuccesses], [80, 80]);
  client.close();
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a client that the application has left with a lock is whole after a record", async () => {
  const file = await fileForFile();
  const client = file.connect();
  const locking = file.connect();
  const transaction = await locking.transaction("write");
  await assertRejects(() => client.batch(["delete from circuit_breaker_events"], "write"));
  await transaction.rollback();
  locking.close();
  const store = libsql({ client, busyTimeoutMs: 1_000 });
  await record(store, "left with a lock");
  const other = file.connect();
  assertEquals((await totals(libsql({ client: other }), "left with a lock")).successes, 1);
  other.close();
  client.close();
});

for (const mode of ["delete", "wal"]) {
  Deno.test(`a transaction of the application that reads outlives a record, with journal_mode = ${mode}`, async () => {
    const folder = await Deno.makeTempDir({ prefix: "fuse-libsql-" });
    const client = createClient({ url: `file:${folder}/app.db` });
    await client.execute(`pragma journal_mode = ${mode}`);
    await migrate(client);
    const count = "select count(*) from circuit_breakers";
    const transaction = await client.transaction("read");
    await transaction.execute(count);
    // In mode "delete", nothing can be committed while somebody reads.
    const recorded = record(libsql({ client, busyTimeoutMs: 0 }), "read");
    assertEquals(await recorded.then(() => "wal", () => "delete"), mode);
    await transaction.execute(count);
    await transaction.commit();
    const store = libsql({ client, busyTimeoutMs: 0 });
    await record(store, "read");
    assertEquals((await totals(store, "read")).successes, mode === "wal" ? 2 : 1);
    client.close();
    await Deno.remove(folder, { recursive: true });
  });
}

Deno.test("a transaction of the application outlives a record after another statement met its lock", async () => {
  const file = await fileForFile();
  const client = file.connect();
  const store = libsql({ client, busyTimeoutMs: 0 });
  await record(store, "beside");
  const transaction = await client.transaction("write");
  await transaction.execute("create table orders (id integer primary key)");
  // It leaves its connection with a lock.
  await assertRejects(() => client.execute("delete from circuit_breaker_events"));
  await assertRejects(() => record(store, "beside"), StoreAnswerError);
  await transaction.execute("insert into orders values (1)");
  await transaction.commit();
  await record(store, "beside");
  const other = file.connect();
  assertEquals((await totals(libsql({ client: other }), "beside")).successes, 2);
  assertEquals((await other.execute("select id from orders")).rows.length, 1);
  other.close();
  client.close();
});

Deno.test("a transaction of the application outlives a record that found one connection free", async () => {
  const folder = await Deno.makeTempDir({ prefix: "fuse-libsql-" });
  const open = (concurrency: number) => createClient({ url: `file:${folder}/app.db`, concurrency });
  const [migrating, client] = [open(1), open(2)];
  await migrate(migrating);
  migrating.close();
  await client.execute("create table orders (id integer primary key)");
  const store = libsql({ client, busyTimeoutMs: 0 });
  for (let id = 1; id <= 3; id++) {
    const transaction = await client.transaction("write");
    await transaction.execute({ sql: "insert into orders values (?)", args: [id] });
    await assertRejects(() => record(store, "free"), StoreAnswerError);
    await transaction.commit();
    await record(store, "free");
  }
  assertEquals((await totals(store, "free")).successes, 3);
  assertEquals((await client.execute("select id from orders")).rows.length, 3);
  client.close();
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a transaction of the application outlives a record after many first ones at once", async () => {
  const file = await fileForFile();
  const client = file.connect();
  const store = libsql({ client, busyTimeoutMs: 0 });
  await Promise.all(Array.from({ length: 40 }, (_, n) => record(store, `first ${n}`)));
  const transaction = await client.transaction("write");
  await transaction.execute("create table orders (id integer primary key)");
  await assertRejects(() => record(store, "inside"), StoreAnswerError);
  await transaction.commit();
  await client.execute("select id from orders");
  client.close();
});

Deno.test("connector() applies all statements of a batch or none", async () => {
  const file = await fileForFile();
  const client = file.connect();
  await client.execute("create table parents (id integer primary key)");
  await client.execute(
    "create table orders (id integer primary key, parent integer references parents deferrable initially deferred)",
  );
  await client.execute("create table doomed (id integer)");
  await client.execute(
    "create trigger dooms before insert on doomed begin select raise(rollback, 'doomed'); end",
  );
  const guest = connector("test", "client", client)();
  const insert = (table: string, ...args: number[]) => ({
    ...{ sql: `insert into ${table} values (${args.map(() => "?")})`, args },
  });
  const batches = Array.from({ length: 40 }, (_, n) => [
    insert("orders", n + 1, n),
    insert("parents", n),
    // The same key, a foreign key that is missing at the end, and one whose transaction is gone.
    ...n % 4 === 1 ? [insert("parents", n)] : [],
    ...n % 4 === 2 ? [insert("orders", n + 1_001, 1_000)] : [],
    ...n % 4 === 3 ? [insert("doomed", n), insert("orders", n + 2_001, null!)] : [],
  ]);
  const settled = await Promise.allSettled(batches.map((batch) => guest.batch(batch, "write")));
  assertEquals(
    settled.map(({ status }) => status === "fulfilled"),
    batches.map((_, n) => n % 4 === 0),
  );
  const { rows } = await client.execute(
    "select (select count(*) from orders) as orders, (select count(*) from parents) as parents",
  );
  assertEquals([rows[0]?.orders, rows[0]?.parents], [10, 10]);
  client.close();
});

Deno.test("connector() runs many batches at once while the timers stand still", async () => {
  const file = await fileForFile();
  const client = file.connect();
  await client.execute("create table numbers (n integer)");
  const guest = connector("test", "client", client)();
  const { setTimeout } = globalThis;
  globalThis.setTimeout = (() => 0) as unknown as typeof setTimeout;
  try {
    const ran = Promise.all(
      Array.from(
        { length: 200 },
        (_, n) => guest.batch([{ sql: "insert into numbers values (?)", args: [n] }], "write"),
      ),
    );
    let timer = 0;
    const late = new Promise((resolve) => timer = Number(setTimeout(() => resolve("late"), 5_000)));
    assertEquals(await Promise.race([ran.then(() => "done"), late]), "done");
    clearTimeout(timer);
  } finally {
    globalThis.setTimeout = setTimeout;
  }
  const { rows } = await client.execute(
    "select count(*) as n, count(distinct n) as each from numbers",
  );
  assertEquals([rows[0]?.n, rows[0]?.each], [200, 200]);
  client.close();
});

Deno.test("a transaction of the application outlives records while it is open for long", async () => {
  const file = await fileForFile();
  const client = file.connect();
  const store = libsql({ client, busyTimeoutMs: 0 });
  const transaction = await client.transaction("write");
  await transaction.execute("create table orders (id integer primary key)");
  const { now } = Date;
  try {
    for (let s = 0; s <= 120; s++) {
      Date.now = () => now() + s * 1_000;
      await assertRejects(() => record(store, "for long"), StoreAnswerError);
    }
  } finally {
    Date.now = now;
  }
  await transaction.commit();
  await client.execute("select id from orders");
  await record(store, "for long");
  client.close();
});

Deno.test("a transaction of the application on an only connection is waited for, as any lock is", async () => {
  const client = createClient({ url: ":memory:" });
  await migrate(client);
  const transaction = await client.transaction("write");
  const store = (busyTimeoutMs: number) => libsql({ client, busyTimeoutMs });
  const refused = await assertRejects(() => record(store(0), "alone"), StoreAnswerError);
  assertEquals(refused.scope, "store");
  const waiting = record(store(10_000), "alone");
  await new Promise((resolve) => setTimeout(resolve, 20));
  await transaction.commit();
  await waiting;
  assertEquals((await totals(store(0), "alone")).successes, 1);
  client.close();
});
