// Keys that Redis evicted.
import { assert, assertEquals } from "@std/assert";
import { createFuse } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { open, read, record, redis } from "./store.ts";

Deno.test("upstash() keeps an open circuit open when its metrics are evicted", async () => {
  const { store, prefix } = open();
  const fuse = createFuse({ stores: { cache: store }, storeTimeoutMs: 30_000 });
  const breaker = fuse.make("a", { failureThreshold: 1, consistency: "strong" });
  await breaker.tryCall(() => Promise.reject(new Error("down")));
  await redis.command("DEL", `${prefix}:a:metrics`);
  assertEquals(await breaker.getState(), "OPEN");
  assertEquals((await breaker.tryCall(() => 1)).ok, false);
  await fuse.flush();
  const { totals, epoch } = await read(store, "a");
  assertEquals([totals.failures, totals.rejected], [0, 1]);
  assertEquals(await redis.command("HGET", `${prefix}:a:metrics`, "epoch"), epoch);
  assert(await redis.command("PTTL", `${prefix}:a:metrics`) as number > 0);
});

Deno.test("upstash() begins another life when the state is evicted, and drops earlier counts", async () => {
  const { store, prefix } = open();
  const { snapshot: before } = await record(store, "a", { failures: 1 });
  await redis.command("DEL", `${prefix}:a:state`);
  assertEquals((await read(store, "a")).generation, 0);
  const { epoch, generation } = before;
  const late = await record(store, "a", { epoch, generation, failures: 1 });
  assertEquals(late.current, false);
  assert(late.snapshot.epoch !== before.epoch);
  for (const s of [late.snapshot, await read(store, "a")]) {
    assertEquals([s.totals.failures, s.consecutiveFailures, s.lastFailureAt], [1, 0, null]);
  }
});

Deno.test("upstash() treats evicted or foreign segments as absent", async () => {
  const clock = new FakeClock();
  const { store, prefix } = open({ clock: clock.now });
  for (let i = 0; i < 3; i++) {
    await record(store, "a", { successes: 1, failures: 1 });
    clock.advance(12_000);
  }
  const window = async () => (await record(store, "a", { rejected: 1 })).snapshot.window;
  assertEquals(await window(), { successes: 3, failures: 3, slow: 0 });
  await redis.command("DEL", `${prefix}:a:failures`);
  await redis.command("HSET", `${prefix}:a:successes`, "of", "another:1");
  // The sum in the metrics holds until the next segment: of five, three are left.
  await record(store, "a", { successes: 1, failures: 1 });
  clock.advance(12_000);
  const { snapshot } = await record(store, "a", { successes: 1, failures: 1 });
  assertEquals(snapshot.window, { successes: 3, failures: 3, slow: 0 });
  for (const part of ["failures", "successes"]) {
    assert(await redis.command("PTTL", `${prefix}:a:${part}`) as number > 0, part);
  }
});
