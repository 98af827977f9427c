// S63–S77: several drivers at once, 10 000 calls, and the seed's advice on tuning.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { createClient as createWebClient } from "@libsql/client/web";
import { createFuse, memory, type Store } from "@fuse/edge";
import { libsql } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { FakeClock } from "@fuse/edge/testing";
import { upstash } from "@fuse/edge/upstash";
import { Redis } from "@upstash/redis";
import { inMemory } from "../support/databases.ts";
import { sharedRedis } from "../support/redis_server.ts";
import { fail, replacing, succeed } from "../support/setups.ts";
import { sqldForFile } from "../support/sqld.ts";
import { eventsOf } from "../support/trails.ts";
import { startFace } from "../support/upstash_face.ts";
import {
  cacheAt,
  callable,
  ownPrefix,
  seed,
  storeTimeoutMs,
  watched,
  withClients,
} from "./support.ts";

const redis = await sharedRedis();
const face = await startFace({ redis });
const server = await sqldForFile();

seed("S63", "the seed's three services use their drivers, by hand and by name", async () => {
  await inMemory(async (client) => {
    const prefix = ownPrefix();
    await using fuse = createFuse({
      stores: { database: libsql({ client }), cache: cacheAt(face, { prefix }), array: memory() },
      default: "array",
      circuits: { "payment-*": { store: "database" }, "user-service": { store: "cache" } },
      storeTimeoutMs,
    });
    const hybrid = { "payment-processing": "database", "user-service": "cache" };
    const services = { ...hybrid, "internal-tool": "array" };
    for (const [service, store] of Object.entries(services)) {
      assertEquals(fuse.make(service).store, store);
      // Critical financial transactions: database for audit trail; regular API calls: cache for
      // performance; internal services: array for simplicity
      await fuse.store(store).make(service).call(callable);
    }
    await fuse.flush();
    for (const service of Object.keys(services)) {
      assertEquals((await fuse.make(service).getMetrics()).totalSuccesses, 1, service);
    }
    const { rows } = await client.execute("select name from circuit_breakers");
    assertEquals(rows.map(({ name }) => name), ["payment-processing"]);
    assertEquals(await redis.command("KEYS", `${prefix}:*:state`), [
      `${prefix}:user-service:state`,
    ]);
    // The choice by hand takes precedence over the name.
    assertEquals(fuse.store("array").make("payment-processing").store, "array");
  });
});

for (const driver of ["array", "cache", "database"] as const) {
  seed("S64–S67", `10 000 calls on ${driver} all count, and cost almost no request`, async () => {
    await inMemory(async (client) => {
      let requests = 0;
      const stores: Record<typeof driver, Store> = {
        array: memory(),
        cache: cacheAt(face, { prefix: ownPrefix() }),
        database: libsql({ client: watched(client, () => requests++) }),
      };
      const background: Promise<unknown>[] = [];
      const fuse = createFuse({
        stores: { [driver]: stores[driver] },
        clock: new FakeClock().now,
        waitUntil: (work) => background.push(work),
        storeTimeoutMs,
      });
      face.reset();
      const breaker = fuse.make("external-api");
      for (let i = 1; i <= 10_000; i++) {
        await breaker.call(callable);
        await Promise.all(background.splice(0));
        // The seed makes 4 or 7 store requests for each call.
        const asked = requests + face.requests;
        assert(asked <= 2 + i / 40, `${asked} requests for ${i} calls`);
      }
      await fuse.flush();
      assertEquals((await breaker.getMetrics()).totalSuccesses, 10_000);
    });
  });
}

seed("S68–S72", "pending tallies of several circuits are sent in one request", async () => {
  await using fuse = createFuse({
    stores: { cache: cacheAt(face, { prefix: ownPrefix() }) },
    storeTimeoutMs,
  });
  const breakers = Array.from({ length: 20 }, (_, i) => fuse.make(`api-${i}`));
  for (const breaker of breakers) await succeed(breaker, 30);
  await fuse.flush();
  face.reset();
  for (const breaker of breakers) await succeed(breaker, 30);
  // Merged: one command for each circuit, however many its calls. Pipelined: one request for all.
  assertEquals(face.requests, 0);
  await fuse.flush();
  assertEquals([face.requests, face.routes.pipeline], [1, 1]);
  assertEquals(face.log[0]?.commands.length, breakers.length);
  for (const breaker of breakers) {
    assertEquals((await breaker.getMetrics()).totalSuccesses, 60);
  }
});

seed("S74", "history reads from the replica, decisions never do", async () => {
  await withClients(2, async (primary, replica) => {
    for (const client of [primary, replica]) await migrate(client);
    let asked = 0;
    const database = libsql({ client: primary, replica: watched(replica, () => asked++) });
    await using fuse = createFuse({
      stores: { database },
      defaults: { consistency: "strong" },
      storeTimeoutMs,
    });
    const breaker = fuse.make("external-api");
    await fail(breaker, 5);
    assertEquals(await breaker.getState(), "OPEN");
    assertEquals((await breaker.tryCall(callable)).ok, false);
    await breaker.reset();
    await Array.fromAsync(fuse.list());
    assertEquals(asked, 0);
    // The replica has not caught up yet.
    assertEquals(await Array.fromAsync(breaker.history()), []);
    assertEquals(asked, 1);
    assertEquals((await eventsOf(libsql({ client: primary }))).length, 2);
  });
});

seed("S75", "a client function provides a client for each unit of work", async () => {
  await inMemory(async (client) => {
    const asked = { cache: 0, database: 0 };
    const { url, token } = face;
    const stores = {
      cache: upstash({
        redis: () => (asked.cache++, new Redis({ url, token })),
        prefix: ownPrefix(),
      }),
      database: libsql({ client: () => (asked.database++, client) }),
    };
    await using fuse = createFuse({
      stores,
      clock: new FakeClock().now,
      defaults: { consistency: "strong" },
      storeTimeoutMs,
    });
    assertEquals(asked, { cache: 0, database: 0 });
    for (const store of ["cache", "database"]) {
      for (let i = 0; i < 3; i++) await fuse.store(store).make("external-api").call(callable);
    }
    await fuse.flush();
    // An acquire and a record for each call.
    assertEquals(asked, { cache: 6, database: 6 });
  });
});

seed("S75", "one HTTP client serves all requests, and bounds their number", async () => {
  const setUp = createWebClient({ url: server.url });
  await migrate(setUp);
  setUp.close();
  const flight = { now: 0, most: 0, all: 0 };
  const original = globalThis.fetch;
  const counting: typeof fetch = async (...args) => {
    flight.all++;
    flight.most = Math.max(flight.most, ++flight.now);
    try {
      return await original(...args);
    } finally {
      flight.now--;
    }
  };
  await replacing("fetch", counting, async () => {
    await using fuse = createFuse({
      stores: { database: libsql({ url: server.url }) },
      defaults: { consistency: "strong" },
      storeTimeoutMs,
    });
    const calls = Array.from({ length: 60 }, (_, i) => fuse.make(`api-${i}`).call(callable));
    await Promise.all(calls);
  });
  assert(flight.all >= 120, `${flight.all} requests`);
  assert(flight.most <= 20, `${flight.most} at once`);
});

seed("S76", "the events of a flush are in one batch with the counters", async () => {
  await inMemory(async (client) => {
    const batches: (readonly string[])[] = [];
    const database = libsql({
      client: watched(client, (sent) => batches.push(sent)),
      audit: "calls",
    });
    await using fuse = createFuse({ stores: { database }, storeTimeoutMs });
    const breaker = fuse.make("external-api");
    await succeed(breaker);
    await fuse.flush();
    batches.length = 0;
    await succeed(breaker, 20);
    assertEquals(batches.length, 0);
    await fuse.flush();
    assertEquals(batches.length, 1);
    assertEquals((await eventsOf(database)).length, 21);
    assertEquals((await breaker.getMetrics()).totalSuccesses, 21);
  });
});

for (
  const [what, when] of [
    ["events", "insert on circuit_breaker_events"],
    ["counters", "update of total_successes on circuit_breakers"],
  ]
) {
  seed("S76", `a failing write of ${what} rolls back the rest of its flush`, async () => {
    await inMemory(async (client) => {
      const fuse = createFuse({
        stores: { database: libsql({ client, audit: "calls" }) },
        defaults: { consistency: "strong" },
        storeTimeoutMs,
      });
      const breaker = fuse.make("external-api");
      const counted = async () => {
        const { rows } = await client.execute(
          "select total_successes as counters, (select count(*) from circuit_breaker_events) " +
            "as events from circuit_breakers",
        );
        return [rows[0]?.counters, rows[0]?.events];
      };
      await succeed(breaker);
      assertEquals(await counted(), [1, 1]);
      // As a full disk fails, amid the transaction.
      await client.execute(
        `create trigger full before ${when} begin select raise(abort, 'full'); end`,
      );
      await succeed(breaker);
      assertEquals(await counted(), [1, 1]);
    });
  });
}

seed("S77", "prune() deletes old rows, a limited number at a time", async () => {
  await inMemory(async (client) => {
    const clock = new FakeClock();
    const database = libsql({ client, audit: "calls", clock: clock.now });
    await using fuse = createFuse({
      stores: { database },
      clock: clock.now,
      defaults: { consistency: "strong" },
      storeTimeoutMs,
    });
    const breaker = fuse.make("external-api");
    await fail(breaker, 5);
    await breaker.reset();
    await succeed(breaker, 20);
    clock.advance(86_400_000);
    await succeed(breaker, 3);

    const events = async () => (await eventsOf(database)).map(({ event }) => event);
    const olderThanMs = 3_600_000;
    const steps = { olderThanMs, keepTransitions: true, limit: 10 };
    assertEquals(await database.prune(steps), { deleted: 10, more: true });
    assertEquals((await events()).length, 20);
    while ((await database.prune(steps)).more);
    assertEquals(await events(), [...Array(3).fill("success"), "reset", "opened"]);
    while ((await database.prune({ olderThanMs, limit: 1 })).more);
    // The newest row of a circuit stays: verifyTrail() compares the circuit with it.
    assertEquals(await events(), [...Array(3).fill("success"), "reset"]);
    await assertRejects(() => database.prune({} as never));
    assert((await database.verifyTrail()).ok);
  });
});
