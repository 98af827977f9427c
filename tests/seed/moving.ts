// S78–S86: from one driver to another, strategies, configuration, drivers of one's own, testing.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { createFuse } from "@fuse/edge";
import { circuitBreakers } from "@fuse/edge/libsql";
import { FakeClock, storeContract } from "@fuse/edge/testing";
import { drizzle } from "drizzle-orm/libsql";
import { inMemory } from "../support/databases.ts";
import { sharedRedis } from "../support/redis_server.ts";
import { fail, succeed } from "../support/setups.ts";
import { eventsOf } from "../support/trails.ts";
import { startFace } from "../support/upstash_face.ts";
import { cacheAt, callable, ownPrefix, seed, storeTimeoutMs } from "./support.ts";
import { type Driver, shared } from "@fuse/edge/store";
import { chaos, libsql, memory } from "../support/drivers.ts";

const redis = await sharedRedis();
const face = await startFace({ redis });
const COOLDOWN_MS = 60_000;

/** The three drivers, each empty, and a Fuse on all of them. */
async function withAll(
  body: (
    on: (standard: string) => ReturnType<typeof createFuse>,
    clock: FakeClock,
  ) => Promise<void>,
): Promise<void> {
  await inMemory(async (client) => {
    const clock = new FakeClock();
    const stores = {
      array: memory({ clock: clock.now }),
      cache: cacheAt(face, { prefix: ownPrefix(), clock: clock.now }),
      database: libsql({ client, clock: clock.now }),
    };
    const on = (standard: string) =>
      createFuse({
        stores,
        default: standard,
        clock: clock.now,
        defaults: { consistency: "strong", cooldownMs: COOLDOWN_MS },
        storeTimeoutMs,
      });
    await body(on, clock);
  });
}

seed("S78", "changing `default` is the only change from array to cache", async () => {
  await withAll(async (on) => {
    const application = async (fuse: ReturnType<typeof createFuse>) => {
      await fail(fuse.make("external-api"), 5);
      const { store, state } = await fuse.make("external-api").snapshot();
      return [store, state];
    };
    assertEquals(await application(on("array")), ["array", "OPEN"]);
    // Memory's circuits were temporary.
    assertEquals(await on("cache").make("external-api").getState(), "CLOSED");
    assertEquals(await application(on("cache")), ["cache", "OPEN"]);
  });
});

seed(
  "S79–S80",
  "circuits start fresh without an export, and nothing stands in their way",
  async () => {
    await withAll(async (on) => {
      await fail(on("cache").make("external-api"), 5);
      const breaker = on("database").make("external-api");
      assertEquals(await breaker.getState(), "CLOSED");
      assertEquals(await breaker.call(callable), "an answer");
    });
  },
);

const DRIVERS = ["array", "cache", "database"];
for (const from of DRIVERS) {
  for (const to of DRIVERS.filter((driver) => driver !== from)) {
    seed("S79–S80", `an export from ${from} to ${to} loses nothing`, async () => {
      await withAll(async (on, clock) => {
        const before = on(from).store(from);
        await succeed(before.make("external-api"), 3);
        await fail(before.make("external-api"), 5);
        await before.make("payments").forceOpen({ reason: "a drill", actor: "ada" });
        clock.advance(20_000);
        const state = JSON.parse(JSON.stringify(await before.exportState()));

        const after = on(to).store(to);
        assertEquals(await after.importState(state), { imported: 2, kept: 0 });
        clock.advance(COOLDOWN_MS - 20_000 - 1);
        const breaker = after.make("external-api");
        assertEquals(await breaker.getState(), "OPEN");
        clock.advance(1);
        assertEquals(await breaker.getState(), "HALF_OPEN");
        const { totalSuccesses, totalFailures, consecutiveFailures } = await breaker.getMetrics();
        assertEquals([totalSuccesses, totalFailures, consecutiveFailures], [3, 5, 5]);
        const { override } = await after.make("payments").snapshot();
        assertEquals([override?.kind, override?.reason, override?.actor], [
          ...["forced_open", "a drill", "ada"],
        ]);
      });
    });
  }
}

seed("S81–S82", "resetAll() closes all circuits, and the trail records it", async () => {
  await inMemory(async (client) => {
    const database = libsql({ client });
    const stores = { database, cache: cacheAt(face, { prefix: ownPrefix() }) };
    await using fuse = createFuse({ stores, storeTimeoutMs });
    for (const name of ["a", "b"]) await fail(fuse.make(name), 5);
    await fuse.flush();
    // Optional: reset all circuits before switching
    assertEquals(await fuse.store("database").resetAll({ reason: "moving", actor: "ada" }), 2);
    for (const name of ["a", "b"]) assertEquals(await fuse.make(name).getState(), "CLOSED");
    const resets = await eventsOf(database, { event: "reset" });
    assertEquals(resets.map(({ metadata }) => [metadata?.["reason"], metadata?.["actor"]]), [
      ...[["moving", "ada"], ["moving", "ada"]],
    ]);
    // Switch driver
    await using after = createFuse({ stores, default: "cache", storeTimeoutMs });
    assertEquals(await after.make("a").call(callable), "an answer");
  });
});

seed("S81–S82", "the seed's own update of the table works, and the trail records it", async () => {
  await inMemory(async (client) => {
    const database = libsql({ client });
    await using fuse = createFuse({
      stores: { database },
      defaults: { consistency: "strong" },
      storeTimeoutMs,
    });
    const breaker = fuse.make("external-api");
    await fail(breaker, 5);
    const { generation } = await breaker.snapshot();

    await drizzle(client).update(circuitBreakers).set({
      state: "CLOSED",
      failureCount: 0,
      successCount: 0,
    });
    assertEquals(await breaker.getState(), "CLOSED");
    assertEquals((await breaker.snapshot()).generation, generation + 1);
    assertEquals(await breaker.call(callable), "an answer");
    const [edited] = await eventsOf(database, { key: "external-api" });
    assertEquals([edited?.event, edited?.metadata?.["from"], edited?.metadata?.["to"]], [
      ...["edited", "OPEN", "CLOSED"],
    ]);
    // The next row adds it to the chain.
    await breaker.reset();
    assert((await database.verifyTrail()).ok);
  });
});

seed(
  "S83",
  "each strategy opens on the failures that it is for, and a custom one on its own condition",
  async () => {
    const clock = new FakeClock();
    const fuse = createFuse({
      clock: clock.now,
      strategies: { impatient: ({ window }) => window.failures >= 1 },
      defaults: { minimumThroughput: 4, windowSize: 4, slowCallMs: 100 },
    });
    const opensAfter = async (strategy: string, call: (i: number) => unknown) => {
      const breaker = fuse.make(strategy, { strategy });
      for (let i = 1; i <= 20; i++) {
        await breaker.tryCall(() => call(i));
        if (await breaker.isOpen()) return i;
      }
      return null;
    };
    const failing = () => Promise.reject(new Error("Fail"));
    const halfFailing = (i: number) => i % 2 === 0 ? failing() : "an answer";
    const slow = () => clock.advance(100);
    assertEquals(await opensAfter("consecutive_failures", failing), 5);
    assertEquals(await opensAfter("percentage_failures", halfFailing), 4);
    assertEquals(await opensAfter("rolling_window", halfFailing), 4);
    assertEquals(await opensAfter("count_window", halfFailing), 4);
    assertEquals(await opensAfter("slow_calls", slow), 4);
    assertEquals(await opensAfter("impatient", failing), 1);
  },
);

seed("S84", "options apply to all circuits, to some names, or to one circuit", async () => {
  const fuse = createFuse({
    defaults: { failureThreshold: 4 },
    circuits: { "payment-*": { failureThreshold: 3 }, "payment-refunds": { failureThreshold: 2 } },
  });
  const opensAfter = async (breaker: ReturnType<typeof fuse.make>) => {
    for (let i = 1; i <= 10; i++) {
      await fail(breaker);
      if (await breaker.isOpen()) return i;
    }
    return null;
  };
  assertEquals(await opensAfter(createFuse().make("external-api")), 5);
  assertEquals(await opensAfter(fuse.make("external-api")), 4);
  assertEquals(await opensAfter(fuse.make("payment-processing")), 3);
  assertEquals(await opensAfter(fuse.make("payment-refunds")), 2);
  assertEquals(await opensAfter(fuse.make("payment-drafts", { failureThreshold: 1 })), 1);
  assertThrows(() => fuse.make("a", { failureThreshold: 0 }), RangeError, '"failureThreshold"');
});

/** A custom driver of a user: another store's circuits, under its own names. */
function renamed(inner: Driver, parts: Partial<Driver> = {}): Driver {
  const name = (key: string) => `mine-${key}`;
  return {
    name: "renamed",
    traits: inner.traits,
    read: (key, request) => inner.read(name(key), request),
    record: (key, tally) => inner.record(name(key), tally),
    acquire: (key, request) => inner.acquire(name(key), request),
    transition: (key, request) => inner.transition(name(key), request),
    override: (key, request) => inner.override(name(key), request),
    restore: (key, request) => inner.restore(name(key), request),
    remove: (key) => inner.remove(name(key)),
    list: async (request) => {
      const { records, cursor } = await inner.list({
        ...request,
        shape: (key) => request.shape(key.slice("mine-".length)),
      });
      return {
        records: records.map((one) => ({ ...one, key: one.key.slice("mine-".length) })),
        cursor,
      };
    },
    ...parts,
  };
}

seed(
  "S85",
  "storeContract() passes a correct custom driver, which works with a Fuse",
  async () => {
    const cases = storeContract(({ clock }) => renamed(memory({ clock })));
    assert(cases.length > 50, `${cases.length} cases`);
    for (const { run } of cases) await run();
    await using fuse = createFuse({
      stores: { mine: shared(renamed(memory())) },
      defaults: { consistency: "strong" },
    });
    await fail(fuse.make("external-api"), 5);
    assertEquals(await fuse.make("external-api").getState(), "OPEN");
  },
);

seed("S85", "storeContract() finds an incorrect custom driver", async () => {
  const wrongs: Partial<
    Record<keyof Driver, (inner: Driver) => Partial<Driver>>
  > = {
    // A driver fault: a second transition wins as well.
    transition: (inner) => ({
      transition: async (key, request) => ({
        ...await inner.transition(`mine-${key}`, request),
        won: true,
      }),
    }),
    // A driver fault: every call is a trial.
    acquire: (inner) => ({
      acquire: async (key, request) => ({
        ...await inner.acquire(`mine-${key}`, request),
        granted: true,
      }),
    }),
    // A driver fault: a repeated request counts twice.
    record: (inner) => ({
      record: (key, tally) => inner.record(`mine-${key}`, { ...tally, id: crypto.randomUUID() }),
    }),
  };
  for (const [operation, wrong] of Object.entries(wrongs)) {
    const found: string[] = [];
    const cases = storeContract(({ clock }) => {
      const inner = memory({ clock });
      return renamed(inner, wrong(inner));
    });
    for (const { name, run } of cases) await run().catch(() => found.push(name));
    assert(found.length > 0, operation);
  }
});

seed(
  "S86",
  "tests can move a clock by hand, and make a store fail on demand",
  async () => {
    const clock = new FakeClock();
    let down = false;
    const fuse = createFuse({
      stores: { shared: chaos(memory({ clock: clock.now }), { down: () => down }) },
      clock: clock.now,
      defaults: { consistency: "strong", cooldownMs: COOLDOWN_MS },
    });
    const errors: string[] = [];
    fuse.on("store_error", ({ store }) => errors.push(store));
    const breaker = fuse.make("external-api");
    await fail(breaker, 5);
    clock.advance(COOLDOWN_MS - 1);
    assertEquals(await breaker.getState(), "OPEN");
    clock.advance(1);
    assertEquals(await breaker.getState(), "HALF_OPEN");
    down = true;
    assertEquals(await fuse.make("another-api").call(callable), "an answer");
    assertEquals(errors, ["shared"]);
  },
);
