// A circuit in Redis: its keys, its clock, its bounds.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { createFuse } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { startRedis } from "../../support/redis_server.ts";
import { startFace } from "../../support/upstash_face.ts";
import { face, HOUR_MS, keys, open, read, record, redis, SHAPE } from "./store.ts";
import { upstash } from "../../support/drivers.ts";

const PARTS = ["state", "metrics", "failures", "successes"];

Deno.test("upstash() keeps a circuit in the seed's four keys, under the default prefix", async () => {
  const clock = new FakeClock();
  const store = upstash({ url: face.url, token: face.token, clock: clock.now });
  await record(store, "external-api", { successes: 1 });
  clock.advance(12_000);
  await record(store, "external-api", { failures: 1 });
  clock.advance(12_000);
  await record(store, "external-api", { successes: 1 });
  const all = await keys("circuit_breaker:*");
  const indexes = ["circuit_breaker:circuits", "circuit_breaker:open"];
  assertEquals(all.filter((key) => !indexes.includes(key)), [
    "circuit_breaker:external-api:failures",
    "circuit_breaker:external-api:metrics",
    "circuit_breaker:external-api:state",
    "circuit_breaker:external-api:successes",
  ]);
  for (const key of all) {
    assertEquals(await redis.command("TYPE", key), indexes.includes(key) ? "zset" : "hash");
    assert(await redis.command("PTTL", key) as number > 23 * HOUR_MS, key);
  }
  assertEquals(await store.remove("external-api"), true);
  assertEquals(await keys("circuit_breaker:*"), []);
});

Deno.test("upstash() gives scoped and hostile names separate keys", async () => {
  const { store, prefix } = open();
  const fuse = createFuse({ stores: { cache: store }, storeTimeoutMs: 30_000 });
  const tenant = { type: "tenant", id: "a:b*{}" };
  await fuse.make("pay:ments").call(() => 1);
  await fuse.for(tenant).make("pay").call(() => 1);
  await fuse.boundary(tenant).make("pay").call(() => 1);
  await fuse.flush();
  assertEquals(await keys(`${prefix}:*:state`), [
    `${prefix}:pay%3Aments:state`,
    `${prefix}:pay:for:tenant:a%3Ab%2A%7B%7D:state`,
    `${prefix}:pay:in:tenant:a%3Ab%2A%7B%7D:state`,
  ]);
});

Deno.test("upstash() uses the server's clock, whatever its callers' clocks show", async () => {
  const { store } = open();
  const at = Date.now() - 5 * HOUR_MS;
  const { snapshot } = await record(store, "a", { at, failures: 1 });
  assert(Math.abs(snapshot.now - Date.now()) < HOUR_MS, `${snapshot.now}`);
  assertEquals(snapshot.lastFailureAt, snapshot.now);
});

Deno.test("upstash() uses the caller's clock when the server refuses TIME", async () => {
  await using own = await startRedis();
  await using ownFace = await startFace({ redis: own });
  await own.command("ACL", "SETUSER", "default", "-time");
  const { store } = open({ url: ownFace.url, token: ownFace.token });
  const at = Date.now() - 5 * HOUR_MS;
  const { snapshot } = await record(store, "a", { at, failures: 1 });
  assertEquals([snapshot.now, snapshot.lastFailureAt], [at, at]);
});

Deno.test("upstash() remembers the request ids of a minute, and forgets older ones", async () => {
  const clock = new FakeClock();
  const { store, prefix } = open({ clock: clock.now });
  for (let minute = 0; minute < 6; minute++) {
    const ids = Array.from({ length: 200 }, (_, i) => `${minute}-${i}`);
    await Promise.all(ids.map((id) => record(store, "a", { id, successes: 1 })));
    await Promise.all(ids.map((id) => record(store, "a", { id, successes: 1 })));
    clock.advance(60_000);
  }
  assertEquals((await read(store, "a")).totals.successes, 1_200);
  const held = await redis.command("HKEYS", `${prefix}:a:metrics`) as string[];
  const ids = held.filter((field) => field.startsWith("id:"));
  assert(ids.length >= 200 && ids.length < 600, `${ids.length} ids`);
});

Deno.test("list() returns the circuits of its own prefix, whatever other keys there are", async () => {
  const own = open({ prefix: "list[1]*" });
  const longer = open({ prefix: "list[1]*:more" });
  const other = open({ prefix: "list1" });
  for (let i = 0; i < 30; i++) await record(own.store, `c${i}`, { successes: 1 });
  for (const { store } of [longer, other]) await record(store, "c0", { successes: 1 });
  await redis.command("SET", "list[1]*:string:state", "not ours");
  await redis.command("HSET", "list[1]*:hash:state", "field", "not ours");
  const names: string[] = [];
  for await (
    const { name } of createFuse({ stores: { cache: own.store }, storeTimeoutMs: 30_000 }).list()
  ) {
    names.push(name);
  }
  assertEquals(names.length, 30);
  assertEquals(new Set(names).size, 30);
  assertEquals(
    await createFuse({ stores: { cache: own.store }, storeTimeoutMs: 30_000 }).resetAll(),
    30,
  );
  assertEquals((await read(longer.store, "c0")).generation, 1);
  assertEquals((await read(other.store, "c0")).generation, 1);
});

Deno.test("remove() deletes nothing of another circuit or prefix", async () => {
  const { store, prefix } = open();
  const other = open();
  for (const key of ["a", "a:b", "ab"]) await record(store, key, { successes: 1 });
  await record(other.store, "a", { successes: 1 });
  await redis.command("SET", `${prefix}:a`, "not ours");
  assertEquals(await store.remove("a"), true);
  assertEquals(await store.remove("a"), false);
  assertEquals((await read(store, "a:b")).totals.successes, 1);
  assertEquals((await read(store, "ab")).totals.successes, 1);
  assertEquals((await read(other.store, "a")).totals.successes, 1);
  assertEquals(await redis.command("GET", `${prefix}:a`), "not ours");
});

Deno.test("upstash() begins another life when the request that created a forgotten circuit is repeated", async () => {
  const clock = new FakeClock();
  const { store, prefix } = open({ clock: clock.now });
  const creator = { id: "creator", successes: 1 };
  const { snapshot: before } = await record(store, "a", creator);
  await redis.command("DEL", ...PARTS.map((part) => `${prefix}:a:${part}`));
  clock.advance(1_000);
  const { snapshot: after } = await record(store, "a", creator);
  assert(after.epoch !== before.epoch);
  const { epoch, generation } = before;
  const old = await record(store, "a", { epoch, generation, failures: 1 });
  assertEquals([old.current, old.snapshot.consecutiveFailures], [false, 0]);
});

Deno.test("upstash() bounds the number of trials that it remembers, whatever number it granted", async () => {
  const clock = new FakeClock();
  const { store, prefix } = open({ clock: clock.now });
  const request = (id: string) => ({ id, at: clock.now(), shape: SHAPE });
  const opening = {
    ...{ to: "OPEN", event: "opened", cooldownMs: 1_000, reason: "test", actor: null } as const,
    expected: null,
  };
  await store.transition("a", { ...request("trip"), ...opening });
  clock.advance(1_000);
  const trial = { max: 1, leaseMs: HOUR_MS };
  for (let i = 0; i < 150; i++) {
    const token = `token-${i}`;
    const { granted, snapshot } = await store.acquire("a", {
      ...request(`acquire-${i}`),
      ...trial,
      token,
    });
    assertEquals(granted, true);
    // Neutral outcomes do not end half-open.
    const { epoch, generation } = snapshot;
    await record(store, "a", { epoch, generation, lease: token });
    clock.advance(1);
  }
  const leases = async () =>
    (await redis.command("HKEYS", `${prefix}:a:state`) as string[])
      .filter((field) => field.startsWith("lease:"));
  const last = Array.from({ length: 100 }, (_, i) => `lease:token-${i + 50}`);
  assertEquals((await leases()).toSorted(), last.toSorted());
  // More than a script can unpack at once, written by hand.
  for (let i = 0; i < 20; i++) {
    const left = Array.from({ length: 500 }, (_, j) => [`lease:old-${i}-${j}`, "1 0"]).flat();
    await redis.command("HSET", `${prefix}:a:state`, ...left);
  }
  assertEquals((await store.transition("a", { ...request("reopen"), ...opening })).won, true);
  assertEquals(await leases(), []);
});

Deno.test("upstash() refuses a circuit of a prefix that leads to the same keys, and lists none", async () => {
  const { store, prefix } = open();
  const scoped = createFuse({ stores: { cache: store }, storeTimeoutMs: 30_000 }).for({
    type: "tenant",
    id: 1,
  });
  await scoped.make("pay").forceOpen();
  const { store: other } = open({ prefix: `${prefix}:pay:for:tenant` });
  await assertRejects(() => read(other, "1"), Error, "a store with another prefix");
  await assertRejects(() => record(other, "1", { failures: 1 }), Error, "another prefix");
  assertEquals(
    await Array.fromAsync(createFuse({ stores: { cache: other }, storeTimeoutMs: 30_000 }).list()),
    [],
  );
  assertEquals(await scoped.make("pay").getState(), "OPEN");
});

Deno.test("upstash() creates no circuit in a Redis that is out of memory", async () => {
  await using full = await startRedis({
    config: { "maxmemory": "100kb", "maxmemory-policy": "noeviction" },
  });
  await using fullFace = await startFace({ redis: full });
  const { store } = open({ url: fullFace.url, token: fullFace.token });
  await assertRejects(() => record(store, "a", { successes: 1 }), Error, "OOM");
  assertEquals(await full.command("DBSIZE"), 0);
});
