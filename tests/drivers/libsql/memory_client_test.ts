// A database in memory that a store makes for itself.
import { assertEquals, assertThrows } from "@std/assert";
import { createFuse } from "@fuse/edge";
import { circuitBreakerColumns, createSchema, libsql, type LibsqlOptions } from "@fuse/edge/libsql";
import { sqliteTable } from "drizzle-orm/sqlite-core";

const SCHEMAS = { "the standard tables": undefined, "a prefix": createSchema({ prefix: "my_" }) };

for (const [what, schema] of Object.entries(SCHEMAS)) {
  Deno.test(`libsql({ url: ":memory:" }) creates its tables with the first request when its schema has ${what}`, async () => {
    const database = libsql({ url: ":memory:", schema });
    await using fuse = createFuse({ stores: { database } });
    const breaker = fuse.make("a", { consistency: "strong" });
    await Promise.all(Array.from({ length: 20 }, () => breaker.call(() => "fine")));
    await breaker.forceOpen({ reason: "maintenance", actor: "ada" });
    await fuse.flush();
    assertEquals((await breaker.getMetrics()).totalSuccesses, 20);
    const { ok, brokenAt } = await database.verifyTrail();
    assertEquals([ok, brokenAt], [true, null]);
    const events = await Array.fromAsync(database.history());
    assertEquals(events.map(({ event }) => event), ["forced_open"]);
  });
}

Deno.test('libsql({ url: ":memory:" }) has a database of its own when there are two stores', async () => {
  const stores = { one: libsql({ url: ":memory:" }), two: libsql({ url: "file::memory:" }) };
  await using fuse = createFuse({ stores });
  await fuse.make("a", { store: "one" }).forceOpen();
  assertEquals(await fuse.make("a", { store: "one" }).getState(), "OPEN");
  assertEquals(await fuse.make("a", { store: "two" }).getState(), "CLOSED");
});

Deno.test('libsql() refuses ":memory:" when a table has a name of the application\'s own', () => {
  const circuitBreakers = sqliteTable("breakers", circuitBreakerColumns());
  const options: LibsqlOptions = {
    url: ":memory:",
    schema: createSchema({ tables: { circuitBreakers } }),
  };
  assertThrows(() => libsql(options), TypeError, '"url" can be :memory: only for tables that');
});
