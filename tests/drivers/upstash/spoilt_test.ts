// What the script makes of keys that were lost in part, or that somebody has written to.
import { admissionOf } from "../../../src/records.ts";
import { assert, assertEquals } from "@std/assert";
import { FakeClock } from "@fuse/edge/testing";
import {
  acquire,
  fields,
  open,
  record,
  redis,
  request,
  SEGMENT_MS,
  tripped,
  ttl,
} from "../../support/upstash_circuit.ts";

Deno.test("upstash() lets a lease go that is over, and one that is spoilt", async () => {
  const clock = new FakeClock();
  const { store, prefix } = open(clock);
  await tripped(store, clock);
  assertEquals((await acquire(store, clock, "first", 2)).granted, true);
  const remembered = await fields(prefix, "metrics");
  clock.advance(500);
  assertEquals((await acquire(store, clock, "second", 2)).granted, true);
  // What moved nothing may be asked again.
  assertEquals(await fields(prefix, "metrics"), remembered);
  clock.advance(500);
  const far = String(clock.now() + 1_000);
  for (const lease of ["oops", "oops 0", "oops 5", `${far} oops`, far]) {
    await redis.command("HSET", `${prefix}:a:state`, "lease:spoilt", lease);
    assertEquals((await acquire(store, clock, "third", 1)).granted, false);
    const leases = (await fields(prefix, "state")).filter((field) => field.startsWith("lease:"));
    assertEquals(leases, ["lease:second"], lease);
  }
  for (const lease of ["oops", "oops 0", "oops 5", `${far} oops`, far]) {
    const { snapshot: { epoch, generation } } = await acquire(store, clock, "second", 1);
    await redis.command("HSET", `${prefix}:a:state`, "lease:spoilt", lease);
    await record(store, { epoch, generation, successes: 1, lease: "spoilt" });
    await record(store, { epoch, generation, successes: 1, lease: "second" });
    assertEquals((await acquire(store, clock, `after ${lease}`, 1)).granted, true, lease);
    await record(store, { epoch, generation, lease: `after ${lease}` });
    await redis.command("HSET", `${prefix}:a:state`, "lease:second", `${far} 1000`);
  }
});

Deno.test("upstash() leaves what was counted to be looked at after a trip, though the metrics had been lost", async () => {
  const clock = new FakeClock();
  const { store, prefix } = open(clock);
  const life = admissionOf((await record(store, { successes: 1 })).snapshot);
  await redis.command("DEL", `${prefix}:a:metrics`);
  await record(store, { ...life, failures: 1 });
  await tripped(store, clock);
  const { window, consecutiveFailures } = await store.read("a", request());
  assertEquals([window.failures, consecutiveFailures], [1, 1]);
});

const SPOILT = ["generation 1.5", "generation oops", "since oops", "since 0.5", "state oops"];

for (const spoilt of [...SPOILT, "generation", "since", "state"]) {
  Deno.test(`upstash() goes on counting and opening though its state ${spoilt.includes(" ") ? "has" : "lacks"} ${spoilt}`, async () => {
    const clock = new FakeClock();
    const { store, prefix } = open(clock);
    await record(store, { failures: 1 });
    const [command, parts] = [spoilt.includes(" ") ? "HSET" : "HDEL", spoilt.split(" ")];
    await redis.command(command, `${prefix}:a:state`, ...parts);
    const life = admissionOf((await record(store, { rejected: 1 })).snapshot);
    await record(store, { ...life, failures: 1 });
    clock.advance(SEGMENT_MS);
    const { snapshot } = await record(store, { ...life, failures: 1 });
    assert(snapshot.consecutiveFailures >= 2, String(snapshot.consecutiveFailures));
    assertEquals((await acquire(store, clock, "call", 1)).granted, true);
    const { won } = await store.transition("a", {
      ...{ ...request(), to: "OPEN", event: "opened", cooldownMs: 1_000, reason: "test" },
      ...{ actor: null, expected: admissionOf(snapshot) },
    });
    assertEquals(won, true);
  });
}

for (const until of ["", "5"]) {
  Deno.test(`upstash() protects as before under an override that is none, until ${JSON.stringify(until)}`, async () => {
    const clock = new FakeClock(1_000_000);
    const { store, prefix } = open(clock);
    await tripped(store, clock);
    clock.set(clock.now() - 1);
    const spoilt = ["override", "forced-open", "override.until", until];
    await redis.command("HSET", `${prefix}:a:state`, ...spoilt);
    assertEquals((await acquire(store, clock, "trial", 1)).granted, false);
    const answer = await record(store, { rejected: 1 });
    assertEquals([answer.snapshot.state, answer.released ?? null], ["OPEN", null]);
    const kept = await redis.command("HMGET", `${prefix}:a:state`, "override", "override.until");
    assertEquals(kept, ["", ""]);
  });
}

Deno.test("upstash() counts a request of an earlier life in the totals of the next", async () => {
  const { store, prefix } = open();
  const id = crypto.randomUUID();
  const { epoch, generation } = (await record(store, { id, failures: 1 })).snapshot;
  await redis.command("DEL", `${prefix}:a:state`);
  await record(store, { failures: 1 });
  const again = await record(store, { id, epoch, generation, failures: 1 });
  assertEquals([again.current, again.snapshot.totals.failures], [false, 2]);
  assert(await ttl(prefix, "metrics") > 0);
});

Deno.test("upstash() goes by the metrics, whatever stands in the state in their place", async () => {
  const { store, prefix } = open();
  await record(store, { failures: 1 });
  await redis.command("HSET", `${prefix}:a:state`, "consecutiveFailures", "7");
  const { snapshot } = await record(store, { failures: 1 });
  assertEquals(snapshot.consecutiveFailures, 2);
});

Deno.test("upstash() takes metrics of another life as absent", async () => {
  const { store, prefix } = open();
  await record(store, { failures: 1 });
  await redis.command("HSET", `${prefix}:a:metrics`, "epoch", "another");
  const { snapshot } = await record(store, { failures: 1 });
  assertEquals([snapshot.totals.failures, snapshot.consecutiveFailures], [1, 1]);
});

Deno.test("upstash() takes a record without an epoch as absent", async () => {
  const { store, prefix } = open();
  await record(store, { failures: 1 });
  await redis.command("HSET", `${prefix}:a:state`, "epoch", "");
  assertEquals((await store.read("a", request())).generation, 0);
  const { snapshot } = await record(store, { failures: 1 });
  assertEquals([snapshot.generation, snapshot.totals.failures], [1, 1]);
  assert(snapshot.epoch !== "");
});

Deno.test("upstash() writes nothing when it reads segments of another life", async () => {
  const { store, prefix } = open();
  await record(store, { successes: 1 });
  const key = `${prefix}:a:successes`;
  await redis.command("HSET", key, "of", "another:1", "0", "7");
  const metrics = `${prefix}:a:metrics`;
  await redis.command("HSET", metrics, "older.successes", "7", "from", "0");
  assertEquals((await store.read("a", request())).window.successes, 1);
  assertEquals(await redis.command("HGET", key, "0"), "7");
});

Deno.test("upstash() lets rows go from a full outbox though all of them are spoilt", async () => {
  const { store, prefix } = open();
  await record(store, { failures: 1 });
  const rows = Array.from({ length: 64 }, (_, i) => [`row:${i + 1} 5 life`, "oops"]).flat();
  await redis.command("HSET", `${prefix}:a:state`, ...rows);
  const { won } = await store.override("a", {
    ...{
      ...request(),
      outbox: "keep",
      kind: "forced_open",
      until: null,
      reason: null,
      actor: null,
    },
  });
  assertEquals(won, true);
  const left = (await fields(prefix, "state")).filter((field) => field.startsWith("row:"));
  assertEquals(left.length, 64);
  assert(!left.includes("row:1 5 life"));
});

Deno.test("upstash() lets a lease go that ends further off than twice its length", async () => {
  // It was granted by a clock that has since gone back.
  const clock = new FakeClock(1_000_000);
  const { store } = open(clock);
  await tripped(store, clock);
  assertEquals((await acquire(store, clock, "first", 1, 2_000)).granted, true);
  clock.set(clock.now() - 2_000);
  assertEquals((await acquire(store, clock, "second", 1, 2_000)).granted, false);
  clock.set(clock.now() - 1);
  assertEquals((await acquire(store, clock, "third", 1, 2_000)).granted, true);
});
