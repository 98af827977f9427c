// S50–S56, S73: queries of circuits and of events, and the indexes that they use.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Client, createClient, type InValue } from "@libsql/client";
import { createFuse } from "@fuse/edge";
import { circuitBreakerEvents, circuitBreakers, createSchema } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { FakeClock } from "@fuse/edge/testing";
import { and, count, desc, eq, gt, gte, inArray, isNotNull } from "drizzle-orm";
import { drizzle } from "drizzle-orm/libsql";
import { getTableConfig, type SQLiteTable } from "drizzle-orm/sqlite-core";
import { fileForFile, inMemory } from "../support/databases.ts";
import { fail, succeed } from "../support/setups.ts";
import { eventsOf } from "../support/trails.ts";
import { seed, storeTimeoutMs, watched, withClients } from "./support.ts";
import { libsql } from "../support/drivers.ts";

const file = await fileForFile();
const HOUR_MS = 3_600_000;
const COOLDOWN_MS = 1_000;

/** Circuits with a history: open since yesterday, open, failing, recovered. */
async function withPast(body: (client: Client, clock: FakeClock) => Promise<void>): Promise<void> {
  await inMemory(async (client) => {
    const clock = new FakeClock();
    await using fuse = createFuse({
      stores: { database: libsql({ client, clock: clock.now }) },
      clock: clock.now,
      defaults: { consistency: "strong", cooldownMs: COOLDOWN_MS },
      storeTimeoutMs,
    });
    await fail(fuse.make("yesterdays"), 5);
    clock.advance(25 * HOUR_MS);
    await fail(fuse.make("external-api"), 5);
    clock.advance(COOLDOWN_MS);
    await succeed(fuse.make("external-api"), 2);
    await fail(fuse.make("payments"), 5);
    await fail(fuse.make("search", { failureThreshold: 100 }), 12);
    await body(client, clock);
  });
}

/** Returns SQLite's plan, table by table; a temporary B-tree is a sort. */
async function planOf(client: Client, sql: string, args: unknown[] = []): Promise<string[]> {
  const { rows } = await client.execute({
    sql: `explain query plan ${sql}`,
    args: args as InValue[],
  });
  return rows.map(({ detail }) => String(detail));
}

/** Asserts that a query uses these indexes, in that order, and neither scans nor sorts. */
async function goesBy(
  client: Client,
  query: { toSQL(): { sql: string; params: unknown[] } },
  ...indexes: string[]
): Promise<void> {
  const { sql, params } = query.toSQL();
  const plan = await planOf(client, sql, params);
  const steps = plan.filter((step) => /^(SEARCH|SCAN|USE TEMP)/.test(step));
  assertEquals(steps.map((step) => /INDEX (\w+)/.exec(step)?.[1] ?? step), indexes);
  assert(steps.every((step) => step.startsWith("SEARCH")), plan.join("; "));
}

seed("S50–S52", "a query returns open circuits", async () => {
  await withPast(async (client) => {
    const openCircuits = drizzle(client).select().from(circuitBreakers)
      .where(eq(circuitBreakers.state, "OPEN"));
    assertEquals((await openCircuits).map(({ name }) => name), ["yesterdays", "payments"]);
    await goesBy(client, openCircuits, "circuit_breakers_state");
  });
});

seed("S50–S52", "a query returns circuits of the last hour with many failures", async () => {
  await withPast(async (client, clock) => {
    const failingCircuits = drizzle(client).select().from(circuitBreakers).where(and(
      gt(circuitBreakers.failureCount, 10),
      gt(circuitBreakers.createdAt, new Date(clock.now() - HOUR_MS)),
    ));
    assertEquals((await failingCircuits).map(({ name }) => name), ["search"]);
    await goesBy(client, failingCircuits, "circuit_breakers_created_at");
  });
});

seed("S50–S52", "a query returns circuits that opened today, also recovered ones", async () => {
  await withPast(async (client, clock) => {
    const todayOpened = drizzle(client).select().from(circuitBreakers).where(and(
      isNotNull(circuitBreakers.openedAt),
      gte(circuitBreakers.openedAt, new Date(clock.now() - HOUR_MS)),
    ));
    assertEquals((await todayOpened).map(({ name }) => name), ["external-api", "payments"]);
    await goesBy(client, todayOpened, "circuit_breakers_opened_at");
  });
});

seed("S53–S54", "a query returns the latest 50 events of a circuit by its name", async () => {
  await withPast(async (client) => {
    const db = drizzle(client);
    const events = db.select().from(circuitBreakerEvents)
      .where(eq(
        circuitBreakerEvents.circuitBreakerId,
        db.select({ id: circuitBreakers.id }).from(circuitBreakers)
          .where(eq(circuitBreakers.name, "external-api")),
      ))
      .orderBy(desc(circuitBreakerEvents.createdAt)).limit(50);
    assertEquals((await events).map(({ event }) => event).toSorted(), [
      ...["closed", "half_opened", "opened"],
    ]);
    await goesBy(client, events, "circuit_breaker_events_circuit", "circuit_breakers_name");
    // A name with several scopes returns the events of all its circuits.
    const ofAll = db.select().from(circuitBreakerEvents)
      .where(inArray(
        circuitBreakerEvents.circuitBreakerId,
        db.select({ id: circuitBreakers.id }).from(circuitBreakers)
          .where(eq(circuitBreakers.name, "external-api")),
      ));
    assertEquals((await ofAll).length, 3);
    await goesBy(client, ofAll, "circuit_breaker_events_circuit", "circuit_breakers_name");
  });
});

seed("S53–S54", "a query counts today's transitions", async () => {
  await withPast(async (client, clock) => {
    const transitions = drizzle(client).select({ n: count() }).from(circuitBreakerEvents)
      .where(and(
        gte(circuitBreakerEvents.createdAt, new Date(clock.now() - HOUR_MS)),
        eq(circuitBreakerEvents.event, "opened"),
      ));
    assertEquals(await transitions, [{ n: 2 }]);
    await goesBy(client, transitions, "circuit_breaker_events_event");
  });
});

seed(
  "S55–S56",
  "the state in a database survives a restart, and needs its migrations",
  async () => {
    const { url } = file;
    const client = createClient({ url });
    const before = createFuse({ stores: { database: libsql({ client }) }, storeTimeoutMs });
    await fail(before.make("external-api"), 5);
    await before[Symbol.asyncDispose]();
    client.close();

    const again = createClient({ url });
    await using after = createFuse({
      storeTimeoutMs,
      stores: { database: libsql({ client: again }) },
    });
    assertEquals(await after.make("external-api").getState(), "OPEN");
    assertEquals((await Array.fromAsync(after.history())).length, 1);
    again.close();

    await withClients(1, async (empty) => {
      const store = libsql({ client: empty });
      const request = { at: 0, shape: { windowMs: 1_000, windowSize: 0 } };
      const read = async () => await store.read("external-api", request);
      await assertRejects(read, Error, "run `migrate` of @fuse/edge/cli");
      await migrate(empty);
      assertEquals((await read()).state, "CLOSED");
    });
  },
);

seed("S73", "the database has the indexes of the schema", async () => {
  await inMemory(async (client) => {
    const { rows } = await client.execute(
      "select name from sqlite_schema where type = 'index' and name not like 'sqlite_%'",
    );
    const shipped = rows.map(({ name }) => String(name)).sort();
    const declared = Object.values(createSchema()).flatMap((table) =>
      getTableConfig(table as SQLiteTable).indexes.map(({ config }) => config.name)
    );
    assert(declared.length > 10);
    assertEquals(shipped, declared.sort());
  });
});

seed("S73", "no statement of a store scans the table of circuits or of events", async () => {
  await withClients(1, async (client) => {
    await migrate(client);
    const sent = new Set<string>();
    const clock = new FakeClock();
    const database = libsql({
      client: watched(client, (statements) => statements.forEach((one) => sent.add(one))),
      audit: "calls",
      clock: clock.now,
    });
    await using fuse = createFuse({
      stores: { database },
      clock: clock.now,
      defaults: { consistency: "strong", cooldownMs: COOLDOWN_MS },
      storeTimeoutMs,
    });
    const breaker = fuse.make("external-api");
    await fail(breaker, 5);
    clock.advance(COOLDOWN_MS);
    await succeed(breaker, 2);
    await breaker.forceOpen({ forMs: 10 });
    clock.advance(10);
    await succeed(breaker);
    await breaker.reset();
    await breaker.snapshot();
    await fuse.importState(await fuse.exportState());
    await eventsOf(database, { key: "external-api" });
    await eventsOf(database, { event: "opened" });
    await eventsOf(database, { key: "external-api", event: "opened" });
    assert(sent.size > 20);
    for (const sql of sent) {
      // A list reads all circuits, a page at a time.
      const ofList = sql.includes("order by b.id limit");
      const plan = await planOf(client, sql, Array(50).fill(null).slice(0, parametersOf(sql)));
      const scans = plan.filter((step) => /^SCAN (circuit_\w+|[belrw])\b/.test(step));
      assertEquals(ofList ? [] : scans, [], sql);
    }
  });
});

function parametersOf(sql: string): number {
  return sql.replace(/'[^']*'/g, "").split("?").length - 1;
}
