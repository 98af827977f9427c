// S1–S15: the three drivers, and the array driver.
import { assert, assertEquals } from "@std/assert";
import { createFuse } from "@fuse/edge";
import { inMemory } from "../support/databases.ts";
import { deno, readConfig } from "../tools/gate/project.ts";
import { sharedRedis } from "../support/redis_server.ts";
import { fail } from "../support/setups.ts";
import { startFace } from "../support/upstash_face.ts";
import { cacheAt, callable, ownPrefix, seed, storeTimeoutMs } from "./support.ts";
import { libsql, memory } from "../support/drivers.ts";

const redis = await sharedRedis();
const face = await startFace({ redis });

seed("S1", "memory(), upstash() and libsql() keep the state of circuits", async () => {
  await inMemory(async (client) => {
    const stores = {
      array: memory(),
      cache: cacheAt(face, { prefix: ownPrefix() }),
      database: libsql({ client }),
    };
    await using fuse = createFuse({ stores, storeTimeoutMs });
    const names = ["array", "cache", "database"];
    for (const name of names) await fail(fuse.store(name).make("external-api"), 5);
    await fuse.flush();
    // The store keeps it, not the Fuse.
    await using other = createFuse({ stores, storeTimeoutMs });
    const states = names.map((name) => other.store(name).make("external-api").getState());
    assertEquals(await Promise.all(states), ["OPEN", "OPEN", "OPEN"]);
  });
});

seed("S2", "traits distinguish the three", async () => {
  await inMemory((client) => {
    const stores = [memory(), cacheAt(face), libsql({ client })];
    assertEquals(stores.map(({ name, traits }) => [name, traits]), [
      ["memory", { persistent: false, shared: false, audited: false }],
      ["upstash", { persistent: true, shared: true, audited: false }],
      ["libsql", { persistent: true, shared: true, audited: true }],
    ]);
    return Promise.resolve();
  });
});

seed("S3–S7", "memory() shares with no other isolate, and each begins empty", async () => {
  const [one, other] = [memory(), memory()].map((array) =>
    createFuse({ stores: { array } }).make("test-service")
  );
  await fail(one!, 5);
  assertEquals([await one!.getState(), await other!.getState()], ["OPEN", "CLOSED"]);
  assertEquals((await other!.getMetrics()).totalFailures, 0);
});

seed("S3–S7", "memory() answers synchronously, without a request", async () => {
  const array = memory();
  const answer = array.read("test-service", {
    at: 0,
    shape: { windowMs: 120_000, windowSize: 0 },
  });
  assert(!("then" in answer));
  assertEquals((await answer).state, "CLOSED");
});

seed("S3–S7", "memory() at module scope outlives a request", async () => {
  const fuse = createFuse();
  const request = () => fuse.with({ waitUntil: () => {} }).make("test-service");
  await fail(request(), 5);
  assertEquals(await request().getState(), "OPEN");
});

seed("S8", "`array: memory()` is a complete configuration, and the default", async () => {
  for (const fuse of [createFuse({ stores: { array: memory() } }), createFuse()]) {
    const breaker = fuse.make("test-service");
    assertEquals(breaker.store, "array");
    assertEquals(await breaker.call(callable), "an answer");
  }
});

seed("S11", 'store("array").make("test-service").call() gives the result', async () => {
  const fuse = createFuse({ stores: { other: memory(), array: memory() } });
  const result = await fuse.store("array")
    .make("test-service")
    .call(callable);
  assertEquals(result, "an answer");
  assertEquals((await fuse.store("array").make("test-service").getMetrics()).totalSuccesses, 1);
  assertEquals((await fuse.store("other").make("test-service").getMetrics()).totalSuccesses, 0);
});

seed("S12", "making a circuit of the same name again returns its state", async () => {
  const fuse = createFuse();
  await fail(fuse.store("array").make("test-service"), 5);
  assertEquals(await fuse.store("array").make("test-service").getState(), "OPEN");
  assertEquals(await fuse.store("array").make("another-service").getState(), "CLOSED");
});

seed("S13", "the seed's test: the circuit opens after five failures", async () => {
  // Array driver perfect for testing
  const breaker = createFuse().store("array").make("test-service");

  // Simulate 5 failures
  for (let i = 0; i < 5; i++) {
    try {
      await breaker.call(() => {
        throw new Error("Fail");
      });
    } catch {
      // Expected
    }
    assertEquals(await breaker.isOpen(), i === 4);
  }

  // Circuit should be open
  assert(await breaker.isOpen());
});

seed("S14–S15", "the core installs no package, and needs no options", async () => {
  const { stdout } = await deno(["info", "--json", readConfig().exports["."]!]);
  const { modules } = JSON.parse(stdout) as { modules: { specifier: string }[] };
  assert(modules.length > 10);
  assertEquals(modules.filter(({ specifier }) => !specifier.startsWith("file:")), []);
  assertEquals(await createFuse().make("test-service").call(callable), "an answer");
});
