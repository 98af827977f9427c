// The script's treatment of keys that were lost in part, or that somebody has written to.
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
  tripped,
  ttl,
} from "../../support/upstash_circuit.ts";

Deno.test("upstash() frees an expired lease", async () => {
  const clock = new FakeClock();
  const { store, prefix } = open(clock);
  await tripped(store, clock);
  assertEquals((await acquire(store, clock, "first", 2)).granted, true);
  const remembered = await fields(prefix, "metrics");
  clock.advance(500);
  assertEquals((await acquire(store, clock, "second", 2)).granted, true);
  // A request that moved nothing may be repeated.
  assertEquals(await fields(prefix, "metrics"), remembered);
  clock.advance(500);
  assertEquals((await acquire(store, clock, "third", 1)).granted, false);
  const leases = (await fields(prefix, "state")).filter((field) => field.startsWith("lease:"));
  assertEquals(leases, ["lease:second"]);
});

Deno.test("upstash() keeps the evidence for inspection after a trip, though the metrics were lost before", async () => {
  const clock = new FakeClock();
  const { store, prefix } = open(clock);
  const life = admissionOf((await record(store, { successes: 1 })).snapshot);
  await redis.command("DEL", `${prefix}:a:metrics`);
  await record(store, { ...life, failures: 1 });
  await tripped(store, clock);
  const { window, consecutiveFailures } = await store.read("a", request());
  assertEquals([window.failures, consecutiveFailures], [1, 1]);
});

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

Deno.test("upstash() reads the metrics, and ignores fields of the same names in the state", async () => {
  const { store, prefix } = open();
  await record(store, { failures: 1 });
  await redis.command("HSET", `${prefix}:a:state`, "consecutiveFailures", "7");
  const { snapshot } = await record(store, { failures: 1 });
  assertEquals(snapshot.consecutiveFailures, 2);
});

Deno.test("upstash() treats metrics of another life as absent", async () => {
  const { store, prefix } = open();
  await record(store, { failures: 1 });
  await redis.command("HSET", `${prefix}:a:metrics`, "epoch", "another");
  const { snapshot } = await record(store, { failures: 1 });
  assertEquals([snapshot.totals.failures, snapshot.consecutiveFailures], [1, 1]);
});

Deno.test("upstash() treats a record without an epoch as absent", async () => {
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

Deno.test("upstash() drops rows from a full outbox though all of them are invalid", async () => {
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

Deno.test("upstash() frees a lease that ends later than twice its length from now", async () => {
  // It was granted before the clock was set back.
  const clock = new FakeClock(1_000_000);
  const { store } = open(clock);
  await tripped(store, clock);
  assertEquals((await acquire(store, clock, "first", 1, 2_000)).granted, true);
  clock.set(clock.now() - 2_000);
  assertEquals((await acquire(store, clock, "second", 1, 2_000)).granted, false);
  clock.set(clock.now() - 1);
  assertEquals((await acquire(store, clock, "third", 1, 2_000)).granted, true);
});
