import { assert, assertEquals, assertThrows } from "@std/assert";
import { type Client, createClient } from "@libsql/client";
import { createFuse, type Override } from "@fuse/edge";
import {
  circuitBreakerColumns,
  circuitBreakerEventColumns,
  type CircuitBreakerEventRow,
  circuitBreakerEvents,
  type CircuitBreakerRow,
  circuitBreakers,
  createSchema,
  isHealthy,
  libsql,
  type LibsqlOptions,
} from "@fuse/edge/libsql";
import {
  circuitBreakerEventsRelations,
  circuitBreakersRelations,
} from "@fuse/edge/libsql/relations";
import { and, count, desc, eq, getTableColumns, gt, gte, isNotNull, relations } from "drizzle-orm";
import { drizzle } from "drizzle-orm/libsql";
import { index, integer, type SQLiteTable, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { FakeClock } from "@fuse/edge/testing";
import { inMemory } from "../../support/databases.ts";

/** Fails to compile unless the two types are one. */
function sameType<A, B>(
  ..._: (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? [] : [never]
): void {}

const columnsOf = (table: SQLiteTable) => getTableColumns(table);

const HOUR_MS = 3_600_000;
const relational = {
  circuitBreakers,
  circuitBreakerEvents,
  circuitBreakersRelations,
  circuitBreakerEventsRelations,
};

/** Runs `body` with a few circuits that have a history, seen through Drizzle. */
async function withPast(
  body: (parts: {
    client: Client;
    db: ReturnType<typeof drizzle<typeof relational>>;
    clock: FakeClock;
  }) => Promise<void>,
): Promise<void> {
  await inMemory(async (client) => {
    const clock = new FakeClock(Date.now());
    const fuse = createFuse({
      storeTimeoutMs: 30_000,
      stores: { database: libsql({ client, clock: clock.now }) },
      clock: clock.now,
      defaults: { failureThreshold: 2, successThreshold: 1, cooldownMs: 1_000 },
    });
    const fail = async (name: string, times: number) => {
      const breaker = fuse.make(name);
      for (let i = 0; i < times; i++) {
        await breaker.tryCall(() => Promise.reject(new Error("down")));
      }
      await fuse.flush();
    };
    await fail("external-api", 2);
    clock.advance(1_000);
    await fuse.make("external-api").call(() => "an answer");
    await fail("payments", 2);
    await fuse.for({ type: "tenant", id: 7 }).make("payments").call(() => "an answer");
    await fuse.make("search", { failureThreshold: 100 }).forceClose();
    await fail("search", 12);
    await fuse.flush();
    const db = drizzle(client, { schema: relational });
    await body({ client, db, clock });
    await fuse[Symbol.asyncDispose]();
  });
}

/** Returns SQLite's plan of a query. */
async function planOf(
  client: Client,
  query: { toSQL(): { sql: string; params: unknown[] } },
): Promise<string> {
  const { sql, params } = query.toSQL();
  const { rows } = await client.execute({
    sql: `explain query plan ${sql}`,
    args: params as (string | number | null)[],
  });
  return rows.map(({ detail }) => detail).join("; ");
}

Deno.test("circuitBreakers has every column that the seed names, under the seed's SQL name", () => {
  const columns = Object.values(getTableColumns(circuitBreakers)).map(({ name }) => name);
  const seed = [
    ...["id", "name", "state", "failure_count", "success_count", "last_failure_at", "opened_at"],
    ...["closed_at", "created_at", "updated_at"],
  ];
  assertEquals(seed.filter((name) => !columns.includes(name)), []);
  const events = Object.values(getTableColumns(circuitBreakerEvents)).map(({ name }) => name);
  for (const name of ["id", "circuit_breaker_id", "event", "metadata", "created_at"]) {
    assert(events.includes(name), name);
  }
});

for (const [name, table] of Object.entries(createSchema())) {
  Deno.test(`columns of ${name} are the SQL names in camelCase`, () => {
    for (const [column, { name: sqlName }] of Object.entries(columnsOf(table))) {
      assertEquals(column, sqlName.replace(/_(\w)/g, (_, letter) => letter.toUpperCase()));
    }
  });
}

Deno.test("$inferSelect gives exact row types", () => {
  sameType<CircuitBreakerRow["state"], "CLOSED" | "OPEN" | "HALF_OPEN">();
  sameType<CircuitBreakerRow["openedAt"], Date | null>();
  sameType<CircuitBreakerRow["createdAt"], Date>();
  sameType<CircuitBreakerRow["failureCount"], number>();
  sameType<CircuitBreakerRow["override"], Override | null>();
  sameType<typeof circuitBreakers.$inferInsert.id, number | undefined>();
  sameType<CircuitBreakerEventRow["metadata"], Record<string, unknown> | null>();
  sameType<CircuitBreakerEventRow["circuitBreakerId"], number>();
});

Deno.test("rows contain counts since the circuit last closed, and times as Date", async () => {
  await withPast(async ({ db, clock }) => {
    const [row] = await db.select().from(circuitBreakers).where(
      eq(circuitBreakers.name, "external-api"),
    );
    assertEquals([row?.state, row?.failureCount, row?.totalFailures], ["CLOSED", 0, 2]);
    assertEquals(row?.openedAt, new Date(clock.now() - 1_000));
    assertEquals(row?.closedAt, new Date(clock.now()));
    assertEquals(isHealthy(row!), true);
    const [failing] = await db.select().from(circuitBreakers).where(
      eq(circuitBreakers.name, "search"),
    );
    assertEquals([failing?.failureCount, isHealthy(failing!)], [12, false]);
  });
});

Deno.test("isHealthy() is true when the circuit is CLOSED and has fewer than three failures", () => {
  assertEquals(isHealthy({ state: "CLOSED", failureCount: 2 }), true);
  assertEquals(isHealthy({ state: "CLOSED", failureCount: 3 }), false);
  assertEquals(isHealthy({ state: "OPEN", failureCount: 0 }), false);
});

Deno.test("scoped circuits share a name and differ by key", async () => {
  await withPast(async ({ db }) => {
    const rows = await db.select().from(circuitBreakers).where(
      eq(circuitBreakers.name, "payments"),
    );
    assertEquals(rows.map(({ key, context }) => [key, context]), [
      ["payments", null],
      ["payments:for:tenant:7", "tenant:7"],
    ]);
  });
});

Deno.test("the seed's query for open circuits uses an index", async () => {
  await withPast(async ({ client, db }) => {
    const query = db.select().from(circuitBreakers).where(eq(circuitBreakers.state, "OPEN"));
    assertEquals((await query).map(({ key }) => key), ["payments"]);
    assert((await planOf(client, query)).includes("circuit_breakers_state"));
  });
});

Deno.test("the seed's query for failing circuits of the last hour uses an index", async () => {
  await withPast(async ({ client, db, clock }) => {
    const query = db.select().from(circuitBreakers).where(and(
      gt(circuitBreakers.failureCount, 10),
      gt(circuitBreakers.createdAt, new Date(clock.now() - HOUR_MS)),
    ));
    assertEquals((await query).map(({ key }) => key), ["search"]);
    assert((await planOf(client, query)).includes("circuit_breakers_created_at"));
  });
});

Deno.test("the seed's query for circuits opened today finds circuits that have recovered", async () => {
  await withPast(async ({ client, db, clock }) => {
    const query = db.select().from(circuitBreakers).where(and(
      isNotNull(circuitBreakers.openedAt),
      gte(circuitBreakers.openedAt, new Date(clock.now() - 24 * HOUR_MS)),
    ));
    assertEquals((await query).map(({ key }) => key), ["external-api", "payments"]);
    assert((await planOf(client, query)).includes("circuit_breakers_opened_at"));
  });
});

Deno.test("the seed's query for the latest events of a circuit by name uses indexes", async () => {
  await withPast(async ({ client, db }) => {
    const query = db.select({ event: circuitBreakerEvents.event }).from(circuitBreakerEvents)
      .innerJoin(circuitBreakers, eq(circuitBreakers.id, circuitBreakerEvents.circuitBreakerId))
      .where(eq(circuitBreakers.name, "external-api"))
      .orderBy(desc(circuitBreakerEvents.id)).limit(50);
    assertEquals((await query).map(({ event }) => event), ["closed", "half_opened", "opened"]);
    const plan = await planOf(client, query);
    assert(plan.includes("circuit_breakers_name"), plan);
    assert(plan.includes("circuit_breaker_events_circuit"), plan);
  });
});

Deno.test("the seed's count of today's transitions uses an index", async () => {
  await withPast(async ({ client, db, clock }) => {
    const query = db.select({ n: count() }).from(circuitBreakerEvents).where(and(
      eq(circuitBreakerEvents.event, "opened"),
      gte(circuitBreakerEvents.createdAt, new Date(clock.now() - 24 * HOUR_MS)),
    ));
    assertEquals(await query, [{ n: 2 }]);
    assert((await planOf(client, query)).includes("circuit_breaker_events_event"));
  });
});

Deno.test("relations lead from a circuit to its events and back", async () => {
  await withPast(async ({ db }) => {
    const circuit = await db.query.circuitBreakers.findFirst({
      where: eq(circuitBreakers.key, "payments"),
      with: { events: true },
    });
    assertEquals(circuit?.events.map(({ event, metadata }) => [event, metadata?.["to"]]), [
      ["opened", "OPEN"],
    ]);
    const event = await db.query.circuitBreakerEvents.findFirst({ with: { circuitBreaker: true } });
    assertEquals(event?.circuitBreaker?.name, "external-api");
  });
});

Deno.test("createSchema() accepts the user's table, with columns and relations of its own", async () => {
  const mine = sqliteTable("circuit_breakers", {
    ...circuitBreakerColumns(),
    team: text("team"),
    severity: integer("severity").notNull().default(3),
  }, (table) => [index("by_team").on(table.team)]);
  const alerts = sqliteTable("alerts", {
    id: integer("id").primaryKey(),
    circuitBreakerId: integer("circuit_breaker_id").notNull(),
    text: text("text").notNull(),
  });
  const mineRelations = relations(mine, ({ many }) => ({ alerts: many(alerts) }));
  const alertsRelations = relations(alerts, ({ one }) => ({
    circuit: one(mine, { fields: [alerts.circuitBreakerId], references: [mine.id] }),
  }));
  const schema = createSchema({ tables: { circuitBreakers: mine } });
  sameType<typeof schema.circuitBreakers.$inferSelect["team"], string | null>();
  await inMemory(async (client) => {
    await client.batch([
      "alter table circuit_breakers add column team text",
      "alter table circuit_breakers add column severity integer not null default 3",
      "create table alerts (id integer primary key, circuit_breaker_id integer, text text)",
    ], "write");
    await using fuse = createFuse({
      storeTimeoutMs: 30_000,
      stores: { database: libsql({ client, schema }) },
    });
    const breaker = fuse.make("payments", { failureThreshold: 1, consistency: "strong" });
    await breaker.tryCall(() => Promise.reject(new Error("down")));
    const db = drizzle(client, { schema: { mine, alerts, mineRelations, alertsRelations } });
    await db.update(mine).set({ team: "billing" }).where(eq(mine.name, "payments"));
    await db.insert(alerts).values({ circuitBreakerId: 1, text: "called ada" });
    const row = await db.query.mine.findFirst({ with: { alerts: true } });
    assertEquals([row?.state, row?.team, row?.severity], ["OPEN", "billing", 3]);
    assertEquals(row?.alerts.map(({ text }) => text), ["called ada"]);
    assertEquals(isHealthy(row!), false);
    // The breaker ignores the user's columns.
    assertEquals((await breaker.snapshot()).generation, 2);
  });
});

Deno.test("createSchema() and libsql() refuse a NOT NULL column that the store cannot fill", () => {
  const mine = sqliteTable("circuit_breakers", {
    ...circuitBreakerColumns(),
    team: text("team").notNull(),
  });
  const message = 'column "team" of table "circuitBreakers" must be nullable or have a default';
  assertThrows(() => createSchema({ tables: { circuitBreakers: mine } }), TypeError, message);
  const client = createClient({ url: ":memory:" });
  const schema = { ...createSchema(), circuitBreakers: mine };
  assertThrows(
    () => libsql({ client, schema }),
    TypeError,
    `Cannot create libsql store: ${message}`,
  );
  client.close();
  // Only Drizzle fills this column, and the store's own statements do not pass through Drizzle.
  const filled = sqliteTable("circuit_breaker_events", {
    ...circuitBreakerEventColumns(),
    team: text("team").notNull().$defaultFn(() => "billing"),
  });
  assertThrows(
    () => createSchema({ tables: { circuitBreakerEvents: filled } }),
    TypeError,
    '"team" of table "circuitBreakerEvents"',
  );
});

Deno.test("createSchema() refuses a table without one of our columns, or under another name", () => {
  const { team: _, ...rest } = { team: 1, ...circuitBreakerColumns() };
  const renamed = sqliteTable("breakers", { ...rest, failureCount: integer("failures").notNull() });
  assertThrows(
    () => createSchema({ tables: { circuitBreakers: renamed } }),
    TypeError,
    'must have a column "failureCount" that is named "failure_count" in the database',
  );
  assertThrows(() => createSchema({ prefix: "a b" }), RangeError, '"prefix" must be');
  assertThrows(() => createSchema({ table: {} } as never), TypeError, 'no option "table"');
  assertThrows(
    () => createSchema({ tables: { circuitBreakers: {} as never } }),
    TypeError,
    '"schema" must be what createSchema() gives',
  );
});

Deno.test("libsql() refuses a schema that createSchema() did not return", () => {
  const client = createClient({ url: ":memory:" });
  for (const schema of [null, {}, { circuitBreakers }]) {
    assertThrows(
      () => libsql({ client, schema } as LibsqlOptions),
      TypeError,
      'Cannot create libsql store: "schema" must be what createSchema() gives',
    );
  }
  client.close();
});
