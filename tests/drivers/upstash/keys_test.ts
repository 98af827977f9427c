// The lifetime, the size and the costs of the data in Redis.
import { assert, assertEquals } from "@std/assert";
import { FakeClock } from "@fuse/edge/testing";
import {
  again,
  fields,
  held,
  open,
  PARTS,
  record,
  redis,
  request,
  SEGMENT_MS,
  size,
  tripped,
  ttl,
  TTL_MS,
} from "../../support/upstash_circuit.ts";

Deno.test("upstash() keeps an endless override without a TTL under traffic, and sets a TTL again at its release", async () => {
  // Trap 23: an override that has the TTL of traffic vanishes silently after a week.
  const clock = new FakeClock();
  const { store, prefix } = open(clock);
  const operator = { until: null, reason: "maintenance", actor: null };
  await record(store, { successes: 1 });
  assert(await ttl(prefix, "state") > 0);

  await store.override("a", { ...request(), ...operator, kind: "forced_open" });
  assertEquals(await ttl(prefix, "state"), -1);
  // Long enough for the TTL of traffic data to be extended.
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

Deno.test("upstash() keeps an override until its end, and an open circuit until its cooldown has passed", async () => {
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

Deno.test("upstash() forgets a request id after a minute", async () => {
  const clock = new FakeClock();
  const { store, prefix } = open(clock);
  // Enough fields that Redis stores a table: HSCAN returns a short list whole.
  await redis.command("CONFIG", "SET", "hash-max-listpack-entries", "16");
  for (let i = 0; i < 1_200; i++) {
    await record(store, { successes: 1 });
    clock.advance(500);
  }
  // 120 ids are younger than a minute, and as many are up to a minute older. Each request then looks
  // at about 64 fields, until all have been looked at.
  const held = await size(prefix, "metrics");
  assert(held > 120 && held < 330, String(held));
});

Deno.test("upstash() uses the server's clock, to the millisecond", async () => {
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

Deno.test("upstash() extends the TTL of every key under traffic, by slightly more than requested", async () => {
  const clock = new FakeClock();
  const { store, prefix } = open(clock);
  for (let i = 0; i < 4; i++) {
    await record(store, { successes: 1, failures: 1 });
    clock.advance(SEGMENT_MS);
  }
  clock.advance(TTL_MS / 2);
  // Redis has loaded it by then.
  for (const part of PARTS) {
    await redis.command("PEXPIRE", `${prefix}:a:${part}`, String(TTL_MS / 2));
  }
  await record(store, { rejected: 1 });
  for (const part of PARTS) {
    const left = await ttl(prefix, part);
    assert(left > TTL_MS && left <= TTL_MS * 9 / 8, `${part}: ${left}`);
  }
  // Enough of the TTL is left: no command is spent on it.
  await redis.command("PEXPIRE", `${prefix}:a:state`, "5000");
  clock.advance(TTL_MS / 16);
  await record(store, { rejected: 1 });
  assert(await ttl(prefix, "state") <= 5_000);
});

Deno.test("upstash() shortens no TTL, whichever isolate writes, even when the record is replaced", async () => {
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

Deno.test("upstash() keeps a circuit for a day if it has never opened, and for ttlMs if it has", async () => {
  const clock = new FakeClock();
  const [dayMs, ttlMs] = [86_400_000, 30 * 86_400_000];
  const { store, prefix } = open(clock, ttlMs);
  await record(store, { failures: 1 });
  for (const part of ["state", "metrics"]) {
    const left = await ttl(prefix, part);
    assert(left >= dayMs - 60_000 && left <= 1.2 * dayMs, `${part} for ${left} ms`);
  }
  await tripped(store, clock);
  for (const part of ["state", "metrics"]) {
    const left = await ttl(prefix, part);
    assert(left >= ttlMs - 60_000, `${part} for ${left} ms`);
  }
});

Deno.test("upstash() stores no field for an absent value", async () => {
  const clock = new FakeClock();
  const { store, prefix } = open(clock);
  const sent = crypto.randomUUID();
  await record(store, { id: sent, successes: 1 });
  assertEquals(await fields(prefix, "state"), [
    "began",
    "epoch",
    "expires",
    "generation",
    "indexed",
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
    "traffic",
    "trial",
  ]);
});

Deno.test("record() costs the stated number of commands, whatever the window holds", async () => {
  const clock = new FakeClock(Math.ceil(Date.now() / SEGMENT_MS) * SEGMENT_MS);
  const { store } = open(clock);
  const { store: failing } = open(clock);
  // Redis has the script from then on.
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
  const { store: succeeding } = open(clock);
  await record(succeeding, { successes: 1 });
  clock.advance(SEGMENT_MS);
  await record(succeeding, { successes: 1 });
  clock.advance(9 * SEGMENT_MS);
  await cost("read when a success has left", () => succeeding.read("a", request()));
  const { store: pausing } = open(clock);
  for (const when of ["in a segment", "before a pause", "after a pause"]) {
    await cost(`success ${when}`, () => record(pausing, { successes: 1 }));
    clock.advance(when === "in a segment" ? SEGMENT_MS : 11 * SEGMENT_MS);
  }
  const operator = { until: null, reason: null, actor: null } as const;
  await pausing.override("a", { ...request(), ...operator, kind: "forced_open" });
  await cost("rejection under an endless override", () => record(pausing, { rejected: 1 }));
  // EVALSHA, HGETALL of the state, HMGET of the metrics, and no TIME here. A write adds HSET of the
  // metrics. At the end of a segment: HGETALL, HSET and PEXPIRE, the last once for each of the two
  // keys that has content. A circuit that is not in the indexes yet reads them, and is filed there.
  const filed = 2 + 5;
  assertEquals(costs, {
    first: filed + 3 + 2 + 2,
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
    "success in a segment": filed + 3 + 2 + 2,
    "success before a pause": 4 + 3,
    "success after a pause": 4,
    "rejection under an endless override": 4,
    "failure in segment 0": filed + 3 + 2 + 2,
    "failure in segment 1": 4 + 3,
    "read when a failure has left": 3 + 1,
    "read when a success has left": 3 + 1,
    // Also when some have left: removal is rare.
    "failure in a later segment": 4 + 2,
  });
});
