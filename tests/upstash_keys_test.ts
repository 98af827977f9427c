// How long what is kept in Redis stays, and how much it becomes.
import { assert, assertEquals } from "@std/assert";
import type { Store } from "@fuse/edge";
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

function open(clock?: FakeClock): { store: Store; prefix: string } {
  const prefix = `keys-${made++}`;
  const { url, token } = face;
  return { store: upstash({ url, token, prefix, ttlMs: TTL_MS, clock: clock?.now }), prefix };
}

const request = () => ({ id: crypto.randomUUID(), at: Date.now(), shape: SHAPE });

function record(store: Store, parts: Partial<Tally>) {
  return Promise.resolve(store.record("a", {
    ...{ ...request(), epoch: "", generation: 0, lease: null, policyHash: "", ageMs: 0 },
    ...{ successes: 0, failures: 0, rejected: 0, slow: 0 },
    ...parts,
  }));
}

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

Deno.test("upstash() lets segments go that have left the window", async () => {
  const clock = new FakeClock();
  const { store, prefix } = open(clock);
  for (let i = 0; i < 60; i++) {
    await record(store, { successes: 1, failures: 1, slow: 1 });
    clock.advance(SEGMENT_MS);
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
