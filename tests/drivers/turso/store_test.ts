// Promises of a database with a trail beyond the contract, on Turso's new engine.
import { createFuse, memory } from "@fuse/edge";
import { createSchema, libsql } from "@fuse/edge/libsql";
import { migrate, migrations } from "@fuse/edge/migrations";
import { FakeClock } from "@fuse/edge/testing";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { tursoInMemory } from "../../support/turso.ts";

Deno.test("libsql() verifies, prunes and filters its trail on Turso's engine", async () => {
  await using client = await tursoInMemory();
  await migrate(client);
  const clock = new FakeClock();
  const store = libsql({ client, clock: clock.now, audit: "calls", trailKey: "key" });
  await using fuse = createFuse({ stores: { store }, clock: clock.now, storeTimeoutMs: 10_000 });
  const circuit = fuse.make("a", { failureThreshold: 2, consistency: "strong" });
  for (let i = 0; i < 2; i++) await circuit.tryCall(() => Promise.reject(new Error("down")));
  await circuit.reset({ actor: "ada" });
  await circuit.forceOpen({ actor: "ada" });
  const eventsOf = async (query: Parameters<typeof store.history>[0]) =>
    (await Array.fromAsync(store.history(query))).map(({ event }) => event);
  assertEquals(await eventsOf({ limit: 2 }), ["forced_open", "reset"]);
  assertEquals(await eventsOf({ event: "failure" }), ["failure", "failure"]);
  assertEquals(await eventsOf({ key: "b" }), []);
  const { ok, checked, heads } = await store.verifyTrail();
  assertEquals([ok, checked, Object.keys(heads)], [true, 3, ["a"]]);

  await client.execute({ sql: "update circuit_breaker_events set metadata = '{}'", args: [] });
  assertEquals((await store.verifyTrail()).brokenAt?.problem, "changed");
});

Deno.test("libsql() prunes on Turso's engine, and keeps the newest row of a chain", async () => {
  await using client = await tursoInMemory();
  await migrate(client);
  const clock = new FakeClock();
  const store = libsql({ client, clock: clock.now });
  await using fuse = createFuse({ stores: { store }, clock: clock.now, storeTimeoutMs: 10_000 });
  await fuse.make("a").forceOpen();
  await fuse.make("a").reset();
  clock.advance(10_000);
  assertEquals(await store.prune({ olderThanMs: 5_000 }), { deleted: 1, more: false });
  assertEquals((await store.verifyTrail()).ok, true);
});

Deno.test("libsql() records rows that are inserted and deleted by hand on Turso's engine", async () => {
  await using client = await tursoInMemory();
  await migrate(client);
  const store = libsql({ client });
  await using fuse = createFuse({ stores: { store }, storeTimeoutMs: 10_000 });
  await fuse.make("a").forceOpen();
  await client.execute({ sql: "delete from circuit_breakers where key = 'a'", args: [] });
  const [last] = await Array.fromAsync(store.history({ limit: 1 }));
  assertEquals([last?.event, last?.metadata?.by], ["edited", "delete"]);
});

Deno.test("migrate() on Turso's engine accepts a prefix, and recreates dropped tables", async () => {
  await using client = await tursoInMemory();
  const prefix = "app_";
  const applied = migrations.map(({ tag }) => tag);
  assertEquals(await migrate(client, { prefix }), { applied });
  assertEquals(await migrate(client, { prefix }), { applied: [] });
  const { rows } = await client.execute({
    sql:
      "select name from sqlite_master where type = 'table' and name like 'app\\_circuit%' escape '\\'",
    args: [],
  });
  for (const { name } of Array.from(rows)) {
    await client.execute({ sql: `drop table ${name}`, args: [] });
  }
  assertEquals(await migrate(client, { prefix }), { applied });
  const store = libsql({ client, schema: createSchema({ prefix }) });
  await using fuse = createFuse({ stores: { store, memory: memory() }, storeTimeoutMs: 10_000 });
  const checked = await fuse.check();
  assert(checked.store?.ok, String(checked.store?.error));
});

/**
 * SQL that this engine does not support and our statements must avoid. If the engine learns it, its
 * test fails.
 */
const UNKNOWN = {
  "an alias for the target of an INSERT":
    "insert into t as old (id) values (1) on conflict (id) do update set n = old.n + 1",
  "a recursive query":
    "with recursive c (i) as (select 1 union all select i + 1 from c where i < 3) select * from c",
};

for (const [what, sql] of Object.entries(UNKNOWN)) {
  Deno.test(`Turso's engine does not support ${what} yet`, async () => {
    await using client = await tursoInMemory();
    const table = "create table t (id integer primary key, n integer not null default 0)";
    await client.execute({ sql: table, args: [] });
    await client.execute({ sql: "insert into t (id) values (1)", args: [] });
    await assertRejects(() => client.execute({ sql, args: [] }));
  });
}
