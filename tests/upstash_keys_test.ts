// How long what is kept in Redis stays, and how much it becomes.
import { assert, assertEquals } from "@std/assert";
import type { CircuitRecord, Store } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { upstash } from "@fuse/edge/upstash";
import type { Tally } from "../src/store.ts";
import { sharedRedis } from "./support/redis_server.ts";
import { startFace } from "./support/upstash_face.ts";

const redis = await sharedRedis();
const face = await startFace({ redis });
const SHAPE = { windowMs: 120_000, windowSize: 0 };
const SEGMENT_MS = 12_000;
const TTL_MS = 3_600_000;
let made = 0;

function open(clock?: FakeClock, ttlMs = TTL_MS): { store: Store; prefix: string } {
  const prefix = `keys-${made++}`;
  return { store: again(prefix, clock, ttlMs), prefix };
}

function again(prefix: string, clock: FakeClock | undefined, ttlMs: number): Store {
  const { url, token } = face;
  return upstash({ url, token, prefix, ttlMs, clock: clock?.now });
}

const request = () => ({ id: crypto.randomUUID(), at: Date.now(), shape: SHAPE });

function record(store: Store, parts: Partial<Tally>) {
  return Promise.resolve(store.record("a", {
    ...{ ...request(), epoch: "", generation: 0, lease: null, policyHash: "", ageMs: 0 },
    ...{ successes: 0, failures: 0, rejected: 0, slow: 0 },
    ...parts,
  }));
}

function acquire(store: Store, clock: FakeClock, token: string, max: number, leaseMs = 1_000) {
  const limits = { max, leaseMs, maxCooldownMs: 600_000 };
  return Promise.resolve(store.acquire("a", { ...request(), at: clock.now(), token, ...limits }));
}

/** A circuit whose cooldown is over. */
async function tripped(store: Store, clock: FakeClock): Promise<void> {
  const operator = { reason: "test", actor: null, expected: null };
  await store.transition("a", {
    ...{ ...request(), ...operator, to: "OPEN", event: "opened", cooldownMs: 1_000 },
  });
  clock.advance(1_000);
}

/** The record of the one circuit. A page may be empty, and be followed by another. */
async function held(store: Store): Promise<CircuitRecord> {
  for (let cursor: string | null = null;;) {
    const page = await store.list({ cursor, limit: 100, at: Date.now(), shape: () => SHAPE });
    if (page.records.length > 0) return page.records[0]!;
    cursor = page.cursor;
    assert(cursor !== null, "There is no record");
  }
}

const fields = async (prefix: string, part: string) =>
  (await redis.command("HKEYS", `${prefix}:a:${part}`) as string[]).toSorted();
const ttl = (prefix: string, part: string) =>
  redis.command("PTTL", `${prefix}:a:${part}`) as Promise<number>;
const size = (prefix: string, part: string) =>
  redis.command("HLEN", `${prefix}:a:${part}`) as Promise<number>;

Deno.test("upstash() keeps an endless override without a TTL, however much traffic there is, and gives one again when it is released", async () => {
  // Trap 23: a lock that lives under the TTL of traffic silently vanishes after a week.
  const clock = new FakeClock();
  const { store, prefix } = open(clock);
  const operator = { until: null, reason: "maintenance", actor: null };
  await record(store, { successes: 1 });
  assert(await ttl(prefix, "state") > 0);

  await store.override("a", { ...request(), ...operator, kind: "forced_open" });
  assertEquals(await ttl(prefix, "state"), -1);
  // Long enough for the TTL of what traffic writes to be extended.
  for (let i = 0; i < 3; i++) {
    clock.advance(TTL_MS / 2);
    await record(store, { rejected: 1 });
    assertEquals(await ttl(prefix, "state"), -1);
  }
  assert(await ttl(prefix, "metrics") > 0);

  await store.override("a", { ...request(), ...operator, kind: null });
  assert(await ttl(prefix, "state") > 0);

  const other = open(clock);
  await other.store.override("a", { ...request(), ...operator, kind: "forced_open" });
  assertEquals([await ttl(other.prefix, "state"), await ttl(other.prefix, "metrics") > 0], [
    -1,
    true,
  ]);
});

Deno.test("upstash() keeps an override that has an end until that has come, and a circuit that is open until its cooldown has passed", async () => {
  const clock = new FakeClock();
  const { store, prefix } = open(clock);
  const until = clock.now() + 10 * TTL_MS;
  await store.override("a", {
    ...{ ...request(), at: clock.now(), kind: "forced_open", until, reason: null, actor: null },
  });
  assert(await ttl(prefix, "state") > 10 * TTL_MS);

  const other = open(clock);
  await other.store.transition("a", {
    ...{ ...request(), to: "OPEN", event: "opened", cooldownMs: 5 * TTL_MS },
    ...{ reason: "test", actor: null, expected: null },
  });
  assert(await ttl(other.prefix, "state") > 5 * TTL_MS);
});

Deno.test("upstash() forgets each segment when it has left the window, also where nothing is written", async () => {
  const clock = new FakeClock();
  const { store } = open(clock);
  const began = Math.ceil(clock.now() / SEGMENT_MS) * SEGMENT_MS;
  for (let i = 0; i < 9; i++) {
    clock.set(began + i * SEGMENT_MS);
    await record(store, { successes: 1, slow: 1 });
    await record(store, { failures: 1 });
  }
  for (let gone = 0; gone < 9; gone++) {
    clock.set(began + gone * SEGMENT_MS + SHAPE.windowMs - 1);
    const left = { successes: 9 - gone, failures: 9 - gone, slow: 9 - gone };
    assertEquals((await store.read("a", request())).window, left, `${gone} have left`);
    clock.advance(1);
    const { successes } = (await store.read("a", request())).window;
    assertEquals(successes, 8 - gone, `${gone + 1} have left`);
  }
});

Deno.test("upstash() forgets failures in their time when no success is as old, and the other way around", async () => {
  const clock = new FakeClock();
  const { store } = open(clock);
  const kinds = ["failures", "successes"] as const;
  for (const [one, other] of [kinds, kinds.toReversed() as [typeof kinds[1], typeof kinds[0]]]) {
    clock.set(clock.now() + 2 * SHAPE.windowMs);
    const start = Math.ceil(clock.now() / SEGMENT_MS) * SEGMENT_MS;
    for (const [i, kind] of [one, other, other].entries()) {
      clock.set(start + i * SEGMENT_MS);
      await record(store, { [kind]: 1 });
    }
    clock.set(start + SHAPE.windowMs);
    const { window } = await store.read("a", request());
    assertEquals([window[one], window[other]], [0, 2], `${one} first`);
  }
});

Deno.test("upstash() has a window reach back again when the clock has gone back", async () => {
  const clock = new FakeClock();
  const { store } = open(clock);
  await record(store, { failures: 1 });
  clock.advance(SEGMENT_MS);
  await record(store, { successes: 1 });
  const began = Math.floor((clock.now() - SEGMENT_MS) / SEGMENT_MS) * SEGMENT_MS;
  clock.set(began + SHAPE.windowMs);
  assertEquals((await record(store, { rejected: 1 })).snapshot.window.failures, 0);
  clock.set(clock.now() - 1);
  assertEquals((await store.read("a", request())).window.failures, 1);
});

Deno.test("upstash() lets segments go that have left the window", async () => {
  const clock = new FakeClock();
  const { store, prefix } = open(clock);
  const sizes = () => Promise.all(["successes", "failures"].map((part) => size(prefix, part)));
  for (let i = 0; i < 60; i++) {
    await record(store, { successes: 1, failures: 1, slow: 1 });
    // Who reads lets nothing go, however much has left.
    const [began, before] = [clock.now(), await sizes()];
    clock.set(Math.floor(began / SEGMENT_MS) * SEGMENT_MS + SHAPE.windowMs - 1);
    assertEquals((await store.read("a", request())).window.failures, 1);
    assertEquals(await sizes(), before);
    clock.set(began + SEGMENT_MS);
  }
  // Ten of each kind, an owner, and at most twenty that wait to be removed.
  for (const part of ["successes", "failures"]) {
    assert(await size(prefix, part) <= 41, `${part}: ${await size(prefix, part)}`);
  }
  const { window } = (await record(store, {})).snapshot;
  assertEquals(window, { successes: 9, failures: 9, slow: 9 });
});

Deno.test("upstash() lets requests go that it remembered for a minute", async () => {
  const clock = new FakeClock();
  const { store, prefix } = open(clock);
  // Not a list, which HSCAN gives whole: a table, as it becomes with more traffic.
  await redis.command("CONFIG", "SET", "hash-max-listpack-entries", "16");
  for (let i = 0; i < 1_200; i++) {
    await record(store, { successes: 1 });
    clock.advance(500);
  }
  // 120 are younger than a minute. Every 16th request looks at some 64, so as many again may wait.
  const held = await size(prefix, "metrics");
  assert(held > 120 && held < 400, String(held));
});

Deno.test("upstash() goes by the server's clock, to the millisecond", async () => {
  const { store } = open();
  const time = async () => {
    const [seconds, micros] = await redis.command("TIME") as [string, string];
    return Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);
  };
  for (let i = 0; i < 5; i++) {
    const before = await time();
    const { snapshot: { now } } = await record(store, { successes: 1 });
    assert(before <= now && now <= await time());
  }
});

const PARTS = ["state", "metrics", "failures", "successes"];

Deno.test("upstash() extends the TTL of every key as long as there is traffic, and by a little more than asked", async () => {
  const clock = new FakeClock();
  const { store, prefix } = open(clock);
  for (let i = 0; i < 4; i++) {
    await record(store, { successes: 1, failures: 1 });
    clock.advance(SEGMENT_MS);
  }
  clock.advance(TTL_MS / 2);
  // As Redis has it by then.
  for (const part of PARTS) {
    await redis.command("PEXPIRE", `${prefix}:a:${part}`, String(TTL_MS / 2));
  }
  await record(store, { rejected: 1 });
  for (const part of PARTS) {
    const left = await ttl(prefix, part);
    assert(left > TTL_MS && left <= TTL_MS * 9 / 8, `${part}: ${left}`);
  }
  // Enough is left: no command is spent on it.
  await redis.command("PEXPIRE", `${prefix}:a:state`, "5000");
  clock.advance(TTL_MS / 16);
  await record(store, { rejected: 1 });
  assert(await ttl(prefix, "state") <= 5_000);
});

Deno.test("upstash() shortens no TTL, whoever writes, though the record is replaced", async () => {
  const clock = new FakeClock();
  const { store, prefix } = open(clock);
  await record(store, { successes: 1 });
  const briefly = again(prefix, clock, 10_000);
  clock.advance(1_000);
  await record(briefly, { successes: 1 });
  await briefly.restore("a", {
    ...{ ...request(), record: await held(store), existing: "replace", reason: null, actor: null },
  });
  clock.advance(1_000);
  await record(briefly, { successes: 1 });
  for (const part of ["state", "metrics"]) {
    assert(await ttl(prefix, part) > TTL_MS / 2, `${part}: ${await ttl(prefix, part)}`);
  }
});

Deno.test("upstash() keeps no field for what is not there", async () => {
  const clock = new FakeClock();
  const { store, prefix } = open(clock);
  const sent = crypto.randomUUID();
  await record(store, { id: sent, successes: 1 });
  assertEquals(await fields(prefix, "state"), [
    "epoch",
    "expires",
    "generation",
    "prefix",
    "since",
    "state",
  ]);
  assertEquals(await fields(prefix, "metrics"), [
    "consecutiveSuccesses",
    "epoch",
    "floor",
    `id:${sent}`,
    "ids",
    "lastSuccessAt",
    "newest.successes",
    "since",
    "sinceClosed.successes",
    "start",
    "totals.successes",
    "trial",
  ]);
});

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
  const { epoch, generation } = (await record(store, { successes: 1 })).snapshot;
  await redis.command("DEL", `${prefix}:a:metrics`);
  await record(store, { epoch, generation, failures: 1 });
  await tripped(store, clock);
  const { window, consecutiveFailures } = await store.read("a", request());
  assertEquals([window.failures, consecutiveFailures], [1, 1]);
});

for (const narrowMs of [4_000, 4_005]) {
  Deno.test(`upstash() counts an outcome that a window of ${narrowMs} ms has left behind, and nothing beside it`, async () => {
    const clock = new FakeClock(1_700_000_000_000);
    const { store, prefix } = open(clock);
    const wide = { windowMs: 10_000, windowSize: 0 };
    const narrow = { windowMs: narrowMs, windowSize: 0 };
    const read = async () => (await store.read("a", { ...request(), shape: wide })).window;
    await record(store, { shape: wide, failures: 1, slow: 1, ageMs: narrowMs });
    await record(store, { shape: wide, successes: 1, slow: 1, ageMs: narrowMs });
    await record(store, { shape: wide, successes: 1 });
    await record(store, { shape: narrow, successes: 1, ageMs: 1 });
    assertEquals(await read(), { successes: 2, failures: 0, slow: 0 });
    const { snapshot } = await record(store, { shape: wide, successes: 1, ageMs: narrowMs });
    assertEquals(snapshot.window, { successes: 3, failures: 0, slow: 0 });
    assertEquals(await read(), snapshot.window);
    assertEquals(await fields(prefix, "failures"), ["of"]);
  });
}

Deno.test("record() costs what it says in commands, whatever the window holds", async () => {
  const clock = new FakeClock(Math.ceil(Date.now() / SEGMENT_MS) * SEGMENT_MS);
  const { store } = open(clock);
  const { store: failing } = open(clock);
  // Redis knows the script from then on.
  await record(open(clock).store, {});
  const costs: Record<string, number> = {};
  const cost = async (of: string, act: () => unknown) => {
    const before = await redis.commandCalls();
    await act();
    costs[of] = await redis.commandCalls() - before;
  };
  const success = () => record(store, { successes: 1 });
  await cost("first", success);
  await cost("another", success);
  clock.advance(SEGMENT_MS);
  await cost("first success of a segment", success);
  await cost("success beside older successes", success);
  await cost("failure beside older successes", () => record(store, { failures: 1 }));
  clock.advance(SEGMENT_MS);
  await cost("first success of a segment after a failure", success);
  await cost("success beside older failures", success);
  await cost("read", () => store.read("a", request()));
  clock.advance(9 * SEGMENT_MS);
  await cost("read when a segment has left", () => store.read("a", request()));
  await cost("rejection", () => record(store, { rejected: 1 }));
  clock.advance(SEGMENT_MS);
  await cost("success when all have left", success);
  for (let i = 0; i < 14; i++) {
    const of = ["failure in segment 0", "failure in segment 1"][i] ?? `failure in a later segment`;
    await cost(of, () => record(failing, { failures: 1 }));
    clock.advance(SEGMENT_MS);
  }
  await cost("read when a failure has left", () => failing.read("a", request()));
  // EVALSHA, HGETALL state, HMGET metrics, and here no TIME. Whoever writes: HSET metrics. When a segment
  // is over: HGETALL, HSET and PEXPIRE, the last once, of each of the two that has something to hold.
  assertEquals(costs, {
    first: 3 + 2 + 2,
    another: 4,
    "first success of a segment": 4 + 3,
    "success beside older successes": 4,
    "failure beside older successes": 4,
    "first success of a segment after a failure": 4 + 2 + 3,
    "success beside older failures": 4,
    read: 3,
    "read when a segment has left": 3 + 2,
    rejection: 4 + 2,
    "success when all have left": 4,
    "failure in segment 0": 3 + 2 + 2,
    "failure in segment 1": 4 + 3,
    "read when a failure has left": 3 + 1,
    // Also when some have left: they are removed seldom.
    "failure in a later segment": 4 + 2,
  });
});

const SPOILT = ["generation 1.5", "generation oops", "since oops", "since 0.5", "state oops"];
for (const spoilt of [...SPOILT, "generation", "since", "state"]) {
  Deno.test(`upstash() goes on counting and opening though its state ${spoilt.includes(" ") ? "has" : "lacks"} ${spoilt}`, async () => {
    const clock = new FakeClock();
    const { store, prefix } = open(clock);
    await record(store, { failures: 1 });
    const [command, parts] = [spoilt.includes(" ") ? "HSET" : "HDEL", spoilt.split(" ")];
    await redis.command(command, `${prefix}:a:state`, ...parts);
    let { epoch, generation } = (await record(store, { rejected: 1 })).snapshot;
    await record(store, { epoch, generation, failures: 1 });
    clock.advance(SEGMENT_MS);
    const { snapshot } = await record(store, { epoch, generation, failures: 1 });
    assert(snapshot.consecutiveFailures >= 2, String(snapshot.consecutiveFailures));
    assertEquals((await acquire(store, clock, "call", 1)).granted, true);
    ({ epoch, generation } = snapshot);
    const { won } = await store.transition("a", {
      ...{ ...request(), to: "OPEN", event: "opened", cooldownMs: 1_000, reason: "test" },
      ...{ actor: null, expected: { epoch, generation } },
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

Deno.test("upstash() keeps what ended before the clock's zero", async () => {
  const { store } = open(new FakeClock(1_000));
  await record(store, { failures: 1, ageMs: 6_000 });
  const { snapshot } = await record(store, { successes: 1 });
  assertEquals([snapshot.lastFailureAt, snapshot.lastSuccessAt], [-5_000, 1_000]);
  assertEquals(snapshot.window, { successes: 1, failures: 1, slow: 0 });
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

Deno.test("upstash() counts what ended within the window, by whole segments", async () => {
  const clock = new FakeClock(1_700_000_000_000);
  const { store } = open(clock);
  const shape = { windowMs: 10_000, windowSize: 0 };
  await record(store, { shape, successes: 1 });
  for (const [ageMs, counts] of [[10_000, 0], [9_001, 0], [9_000, 1]] as const) {
    const { snapshot } = await record(store, { shape, failures: 1, ageMs });
    assertEquals([ageMs, snapshot.window.failures], [ageMs, counts]);
  }
});

Deno.test("upstash() goes by the metrics, whatever stands in the state in their place", async () => {
  const { store, prefix } = open();
  await record(store, { failures: 1 });
  await redis.command("HSET", `${prefix}:a:state`, "consecutiveFailures", "7");
  const { snapshot } = await record(store, { failures: 1 });
  assertEquals(snapshot.consecutiveFailures, 2);
  assert(!(await fields(prefix, "state")).includes("consecutiveFailures"));
});

Deno.test("upstash() takes metrics of another life as absent", async () => {
  const { store, prefix } = open();
  await record(store, { failures: 1 });
  await redis.command("HSET", `${prefix}:a:metrics`, "epoch", "another");
  const { snapshot } = await record(store, { failures: 1 });
  assertEquals([snapshot.totals.failures, snapshot.consecutiveFailures], [1, 1]);
});
