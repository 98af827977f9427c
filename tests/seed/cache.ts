// S16–S34: the cache driver.
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { createFuse, isCircuitBreakerOpenError } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { upstash } from "@fuse/edge/upstash";
import { Redis } from "@upstash/redis";
import { sharedRedis } from "../support/redis_server.ts";
import { fail, succeed } from "../support/setups.ts";
import { startFace } from "../support/upstash_face.ts";
import { cacheAt, callable, ownPrefix, seed, storeTimeoutMs } from "./support.ts";

const [redis, redisCritical] = await Promise.all([sharedRedis(), sharedRedis()]);
const [face, faceCritical] = await Promise.all(
  [redis, redisCritical].map((redis) => startFace({ redis })),
) as [Awaited<ReturnType<typeof startFace>>, Awaited<ReturnType<typeof startFace>>];

const PARTS = ["failures", "metrics", "state", "successes"];

async function keys(pattern: string, of = redis): Promise<string[]> {
  return (await of.command("KEYS", pattern) as string[]).sort();
}

/** An isolate with its own store in the first Redis. */
function isolate(prefix: string, options: { ttlMs?: number; cooldownMs?: number } = {}) {
  const { cooldownMs, ...settings } = options;
  return createFuse({
    stores: { cache: cacheAt(face, { prefix, ...settings }) },
    defaults: { cooldownMs },
    storeTimeoutMs,
  });
}

seed(
  "S16",
  "upstash() accepts a client of @upstash/redis, a url with a token, or a function that returns a client",
  async () => {
    const prefix = ownPrefix();
    const { url, token } = face;
    const client = new Redis({ url, token, retry: { retries: 0 } });
    const stores = [
      upstash({ redis: client, prefix }),
      upstash({ url, token, prefix }),
      upstash({ redis: () => client, prefix }),
    ];
    const fuses = stores.map((cache) =>
      createFuse({ stores: { cache }, storeTimeoutMs, defaults: { consistency: "strong" } })
    );
    const breakers = fuses.map((fuse) => fuse.make("external-api"));
    for (const breaker of breakers) await breaker.call(callable);
    for (const fuse of fuses) await fuse.flush();
    for (const breaker of breakers) assertEquals((await breaker.getMetrics()).totalSuccesses, 3);
  },
);

seed("S21", "the prefix is circuit_breaker unless the options name another", async () => {
  for (const [prefix, expected] of [[undefined, "circuit_breaker"], ["cb", "cb"]] as const) {
    const name = `prefixed-by-${expected}`;
    await using fuse = createFuse({ stores: { cache: cacheAt(face, { prefix }) }, storeTimeoutMs });
    await fuse.make(name).call(callable);
    await fuse.flush();
    const found = await keys(`*${name}*`);
    assert(found.length > 0);
    assertEquals(found.filter((key) => !key.startsWith(`${expected}:${name}:`)), []);
  }
});

seed("S22–S24", "all servers decide by a change that one of them wrote", async () => {
  const prefix = ownPrefix();
  await using one = isolate(prefix);
  await using other = isolate(prefix);
  await fail(one.store("cache").make("external-api"), 5);
  await one.flush();

  const breaker = other.store("cache").make("external-api");
  assertEquals(await breaker.getState(), "OPEN");
  const result = await breaker.tryCall(callable);
  assert(!result.ok && isCircuitBreakerOpenError(result.error));
});

seed("S22–S24", "five servers with one failure each open a circuit together", async () => {
  const prefix = ownPrefix();
  const servers = Array.from({ length: 5 }, () => isolate(prefix));
  for (const server of servers) {
    await fail(server.make("external-api"));
    await server.flush();
  }
  assertEquals(await servers[0]!.make("external-api").getState(), "OPEN");
});

seed(
  "S25",
  "a client that upstash() creates sends each request once, also when it fails",
  async () => {
    await using own = await startFace({ redis });
    await using fuse = createFuse({
      stores: { cache: cacheAt(own, { prefix: ownPrefix() }) },
      defaults: { consistency: "strong", onStoreError: "local" },
      storeTimeoutMs,
    });
    own.fault = () => "refuse";
    // The caller has its result, whatever happens to the store.
    assertEquals(await fuse.make("external-api").call(callable), "an answer");
    assertEquals(own.requests, 1);
  },
);

seed("S26–S27", "stores on two servers have a prefix each", async () => {
  await using fuse = createFuse({
    stores: {
      // Regular services use Redis
      redis: cacheAt(face, { prefix: "cb" }),
      // Critical services use dedicated Redis instance
      critical: cacheAt(faceCritical, { prefix: "critical_cb" }),
    },
    storeTimeoutMs,
  });
  await fuse.store("redis").make("user-api").call(callable);
  await fuse.store("critical").make("payment-api").call(callable);
  await fuse.flush();

  const places = ["*user-api:state", "*payment-api:state"].map(async (pattern) => [
    await keys(pattern),
    await keys(pattern, redisCritical),
  ]);
  assertEquals(await Promise.all(places), [
    [["cb:user-api:state"], []],
    [[], ["critical_cb:payment-api:state"]],
  ]);
});

seed("S28–S31", "a circuit has the four keys state, metrics, failures and successes", async () => {
  const clock = new FakeClock();
  await using fuse = createFuse({
    stores: { cache: cacheAt(face, { clock: clock.now }) },
    clock: clock.now,
    storeTimeoutMs,
  });
  const breaker = fuse.make("external-api");
  // In more than one segment of the window, so that there are older ones.
  for (let i = 0; i < 3; i++) {
    await succeed(breaker, 2);
    await fail(breaker, 2);
    await fuse.flush();
    clock.advance(20_000);
  }
  assertEquals(
    await keys("circuit_breaker:external-api*"),
    PARTS.map((part) => `circuit_breaker:external-api:${part}`),
  );
  for (const part of PARTS) {
    assertEquals(await redis.command("TYPE", `circuit_breaker:external-api:${part}`), "hash");
  }
});

seed("S28–S31", "no two circuits share a key, whatever their names contain", async () => {
  const prefix = ownPrefix();
  await using fuse = isolate(prefix);
  const tenant = { type: "tenant", id: "7" };
  const breakers = [
    fuse.make("a"),
    fuse.make("a:state"),
    fuse.make("a:for:tenant:7"),
    fuse.for(tenant).make("a"),
    fuse.boundary(tenant).make("a"),
    fuse.make("a:in:tenant:7"),
    fuse.make("a*"),
  ];
  for (const [i, breaker] of breakers.entries()) await succeed(breaker, i + 1);
  await fuse.flush();
  assertEquals(
    await Promise.all(breakers.map(async (b) => (await b.getMetrics()).totalSuccesses)),
    breakers.map((_, i) => i + 1),
  );
  assertEquals((await keys(`${prefix}:*:state`)).length, breakers.length);
});

seed("S32", "two prefixes on one server are separate", async () => {
  const prefixes = [ownPrefix(), ownPrefix()] as const;
  const [one, other] = prefixes.map((prefix) => isolate(prefix)) as [
    ReturnType<typeof isolate>,
    ReturnType<typeof isolate>,
  ];
  await fail(one.make("external-api"), 5);
  await succeed(other.make("another-api"));
  await Promise.all([one.flush(), other.flush()]);
  assertEquals(await other.make("external-api").getState(), "CLOSED");
  assertEquals((await Array.fromAsync(other.list())).map(({ name }) => name), ["another-api"]);
  await other.resetAll();
  assertEquals(await one.make("external-api").getState(), "OPEN");
});

seed("S32", "nothing outside of the prefix is changed", async () => {
  const prefix = ownPrefix();
  const foreign = [`${prefix}:plain`, `${prefix}_more:a:state`, "a", "a:state"];
  for (const key of foreign) await redis.command("SET", key, "not yours");
  face.reset();
  await using fuse = isolate(prefix);
  await fail(fuse.make("a"), 5);
  await fuse.flush();
  await fuse.make("a").snapshot();
  await fuse.resetAll();
  await Array.fromAsync(fuse.list());
  for (const key of foreign) assertEquals(await redis.command("GET", key), "not yours");
  const named = face.log.flatMap(({ commands }) => commands).flatMap((command) => {
    const [name, , count, ...rest] = command.map(String);
    return /^eval/i.test(name!) ? rest.slice(0, Number(count)) : [];
  });
  assert(named.length > 0);
  const indexes = [`${prefix}:circuits`, `${prefix}:open`];
  const others = named.filter((key) => !key.startsWith(`${prefix}:a:`) && !indexes.includes(key));
  assertEquals(others, []);
});

seed("S33–S34", "state survives a deployment", async () => {
  const prefix = ownPrefix();
  const before = isolate(prefix);
  await fail(before.make("external-api"), 5);
  await before[Symbol.asyncDispose]();
  await using after = isolate(prefix);
  assertEquals(await after.make("external-api").getState(), "OPEN");
  assertEquals((await after.make("external-api").getMetrics()).totalFailures, 5);
});

seed(
  "S33–S34",
  "a flushed circuit is reborn closed, in another life, with an event",
  async () => {
    const prefix = ownPrefix();
    const stores = { cache: cacheAt(faceCritical, { prefix }) };
    await using fuse = createFuse({ stores, storeTimeoutMs });
    const reborn: string[] = [];
    fuse.on("reborn", ({ name }) => reborn.push(name));
    const breaker = fuse.make("external-api");
    const epoch = () => redisCritical.command("HGET", `${prefix}:external-api:state`, "epoch");
    await fail(breaker, 5);
    await fuse.flush();
    assertEquals(await breaker.getState(), "OPEN");
    const first = await epoch();

    await redisCritical.command("FLUSHALL");
    assertEquals(await breaker.getState(), "CLOSED");
    await succeed(breaker);
    await fuse.flush();
    assertNotEquals(await epoch(), first);
    assertEquals((await breaker.snapshot()).generation, 1);
    assertEquals(reborn, ["external-api"]);
  },
);

seed("S33–S34", "every key has a TTL, which no operation shortens", async () => {
  const prefix = ownPrefix();
  const ttls = async () => {
    const found = await keys(`${prefix}:*`);
    assert(found.length >= 2);
    return await Promise.all(found.map((key) => redis.command("PTTL", key))) as number[];
  };
  await using lasting = isolate(prefix, { ttlMs: 3_600_000 });
  await succeed(lasting.make("external-api"));
  await lasting.flush();
  await using fleeting = isolate(prefix, { ttlMs: 60_000 });
  await succeed(fleeting.make("external-api"));
  await fleeting.flush();
  for (const ttl of await ttls()) assert(ttl > 3_000_000, `${ttl} ms`);
});

seed("S33–S34", "no TTL is shorter than the time a circuit stays open", async () => {
  const prefix = ownPrefix();
  await using fuse = isolate(prefix, { ttlMs: 1_000, cooldownMs: 600_000 });
  await fail(fuse.make("external-api"), 5);
  await fuse.flush();
  const ttl = await redis.command("PTTL", `${prefix}:external-api:state`) as number;
  assert(ttl > 590_000, `${ttl} ms`);
});
