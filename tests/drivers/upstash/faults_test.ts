// Faults between an isolate and Redis, each over the wire, and their effect on callers.
import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { createFuse, type FuseEvent, StoreUnavailableError } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { upstash } from "@fuse/edge/upstash";
import { Redis } from "@upstash/redis";
import { sharedRedis, startRedis } from "../../support/redis_server.ts";
import { type Face, type Fault, startFace } from "../../support/upstash_face.ts";

const TOKEN = "token-that-nobody-may-see";
const redis = await sharedRedis();

const FAULTS: readonly Fault[] = [
  ...["refuse", "lose", "hang", "hang_after", "garbage", "truncated", "wrong_shape"] as const,
  ...[401, 429, 500, 502] as const,
];
const NOT_ANSWERED: readonly Fault[] = ["hang", "hang_after"];

let made = 0;

/** An isolate with its clock and its events. */
function isolate(face: Face, storeTimeoutMs: number) {
  const clock = new FakeClock();
  const prefix = `faults-${made++}`;
  const open = () => upstash({ url: face.url, token: face.token, prefix, clock: clock.now });
  const underWay = new Set<Promise<unknown>>();
  const waitUntil = (work: Promise<unknown>) => void underWay.add(work);
  const stores = { cache: open() };
  const fuse = createFuse({ stores, clock: clock.now, storeTimeoutMs, waitUntil });
  /** Waits for the current background work, and sends nothing. */
  const settled = async () => {
    await Promise.all(underWay);
    underWay.clear();
  };
  const events: FuseEvent[] = [];
  fuse.on("*", (event) => events.push(event));
  const told = (type: FuseEvent["type"]) => events.filter((event) => event.type === type);
  /** Returns the circuit as a new isolate sees it. */
  const stored = () =>
    createFuse({ storeTimeoutMs: 30_000, stores: { cache: open() }, clock: clock.now }).make("a")
      .snapshot();
  return { clock, fuse, events, told, stored, settled };
}

for (const consistency of ["eventual", "strong"] as const) {
  for (const fault of FAULTS) {
    Deno.test(`CircuitBreaker() protects on its own while Redis fails by ${fault}, and merges afterwards (${consistency})`, async () => {
      await using face = await startFace({ redis, token: TOKEN });
      // A request that is never answered waits for the deadline, all others fail at once.
      const { clock, fuse, told, events, stored } = isolate(
        face,
        NOT_ANSWERED.includes(fault) ? 1_000 : 30_000,
      );
      const breaker = fuse.make("a", { failureThreshold: 3, cooldownMs: 5_000, consistency });
      for (let i = 0; i < 4; i++) await breaker.call(() => i);
      await fuse.flush();

      face.fault = () => fault;
      const value = { of: "the caller's" };
      assertStrictEquals(await breaker.call(() => value), value);
      await fuse.flush();
      // An unknown answer concerns the circuit alone: its reads and its writes, separately.
      assertEquals(told("store_error").length, fault === 500 && consistency === "strong" ? 2 : 1);
      face.reset();
      // From now on nothing asks the store by itself: only flush() and operators do.
      const error = new Error("the upstream's");
      for (let i = 0; i < 3; i++) {
        const thrown = await assertRejects(() => breaker.call(() => Promise.reject(error)));
        assertStrictEquals(thrown, error);
      }
      const rejected = await breaker.tryCall(() => 1);
      assert(!rejected.ok && rejected.rejected);
      assertEquals(face.requests, 0, "It is left alone");
      assertEquals(told("opened").map((event) => "local" in event && event.local), [true]);

      face.fault = undefined;
      clock.advance(6_000);
      await fuse.flush();
      assertEquals(told("store_recovered").length, 1);
      assertEquals(told("unconfirmed"), []);
      const { state, metrics } = await stored();
      assertEquals([metrics.totalSuccesses, metrics.totalFailures], [5, 3]);
      // The store has learned this isolate's findings.
      assertEquals([metrics.totalRejected, state], [1, "OPEN"]);
      assert(!(await breaker.tryCall(() => 1)).ok);
      clock.advance(5_000);
      assertEquals(await breaker.call(() => 1), 1);
      await fuse.flush();
      assertLeaksNothing(events);
    });
  }
}

for (
  const [how, fail] of Object.entries({
    "nobody listens": (face: Face) => face.stopListening(),
    "Redis is gone": (_: Face, own: Awaited<ReturnType<typeof startRedis>>) => own.kill(),
    "Redis hangs": (_: Face, own: Awaited<ReturnType<typeof startRedis>>) => own.pause(),
  })
) {
  Deno.test(`CircuitBreaker() returns the callers' own results when ${how}`, async () => {
    await using own = await startRedis();
    await using face = await startFace({ redis: own, token: TOKEN });
    const { fuse, told, events } = isolate(face, 1_000);
    const breaker = fuse.make("a", { failureThreshold: 2, consistency: "strong" });
    assertEquals(await breaker.call(() => 1), 1);
    await fuse.flush();
    await fail(face, own);
    assertEquals(await breaker.call(() => 2), 2);
    for (let i = 0; i < 2; i++) await breaker.tryCall(() => Promise.reject(new Error("down")));
    const rejected = await breaker.tryCall(() => 3);
    assert(!rejected.ok && rejected.rejected);
    assertEquals(told("store_error").length, 1);
    assertLeaksNothing(events);
    if (how === "Redis hangs") own.resume();
  });
}

Deno.test("CircuitBreaker() retries a failing Redis at growing intervals", async () => {
  await using face = await startFace({ redis, token: TOKEN });
  const { clock, fuse, told, settled } = isolate(face, 30_000);
  const breaker = fuse.make("a");
  face.fault = () => 502;
  const begun = clock.now();
  const probes: number[] = [];
  for (let i = 0; i < 600; i++) {
    const before = face.requests;
    await breaker.call(() => 1);
    await settled();
    if (face.requests > before) probes.push(clock.now() - begun);
    clock.advance(100);
  }
  // 1 s, 2 s, 4 s and so on, each between half of it and all of it.
  const intervals = probes.map((at, i) => at - (probes[i - 1] ?? at)).slice(1);
  assert(intervals.length >= 4 && intervals.length <= 7, `${intervals}`);
  for (const [i, interval] of intervals.slice(0, 4).entries()) {
    const longest = 1_000 * 2 ** i;
    assert(interval >= longest / 2 && interval <= longest + 200, `${intervals}`);
  }
  const failed = told("store_error").filter((event) =>
    "error" in event && /is invalid/.test(String(event.error))
  );
  assertEquals(failed.length, probes.length);
});

Deno.test("record() counts once when its answer is lost repeatedly", async () => {
  await using face = await startFace({ redis, token: TOKEN });
  const { clock, fuse, told, stored } = isolate(face, 30_000);
  const breaker = fuse.make("a", { failureThreshold: 100 });
  await breaker.call(() => 1);
  await fuse.flush();
  let lost = 0;
  face.fault = () => lost++ % 3 < 2 ? "lose" : undefined;
  for (let i = 0; i < 20; i++) {
    await breaker.tryCall(() => i % 4 === 0 ? Promise.reject(new Error("down")) : i);
    await fuse.flush();
    clock.advance(300);
  }
  face.fault = undefined;
  clock.advance(20_000);
  await fuse.flush();
  await fuse.flush();
  const { metrics } = await stored();
  assert(lost >= 4, `${lost} requests were made`);
  assertEquals(told("unconfirmed"), []);
  assertEquals([metrics.totalSuccesses, metrics.totalFailures], [16, 5]);
});

Deno.test("flush() reports the unconfirmed counts of each circuit, and drops nothing silently", async () => {
  await using face = await startFace({ redis, token: TOKEN });
  const { clock, fuse, told, stored } = isolate(face, 30_000);
  const breaker = fuse.make("a", { failureThreshold: 100 });
  await breaker.call(() => 1);
  await fuse.flush();
  face.fault = () => "refuse";
  for (let i = 0; i < 3; i++) await breaker.call(() => i);
  await breaker.tryCall(() => Promise.reject(new Error("down")));
  await fuse.flush();
  clock.advance(31_000);
  face.fault = undefined;
  await fuse.flush();
  await fuse.flush();
  const { metrics } = await stored();
  const unconfirmed = told(
    "unconfirmed",
  ) as (FuseEvent & { successes: number; failures: number })[];
  const lost = unconfirmed.reduce((sum, { successes, failures }) => sum + successes + failures, 0);
  assert(lost > 0);
  assertEquals(metrics.totalSuccesses + metrics.totalFailures + lost, 5);
});

Deno.test("forceOpen() reports that Redis fails, and repeats no reason, actor or token", async () => {
  for (const source of ["url", "client"] as const) {
    await using face = await startFace({ redis, token: TOKEN });
    const client = new Redis({ url: face.url, token: TOKEN, retry: { retries: 0 } });
    const fuse = createFuse({
      storeTimeoutMs: 30_000,
      stores: {
        cache: source === "client"
          ? upstash({ redis: client })
          : upstash({ url: face.url, token: TOKEN }),
      },
    });
    const events: FuseEvent[] = [];
    fuse.on("*", (event) => events.push(event));
    for (const fault of [401, 429, 500, 502, "garbage", "refuse"] as const) {
      face.fault = () => fault;
      const error = await assertRejects(
        () => fuse.make("a").forceOpen({ reason: "ticket-4711", actor: "grace" }),
        StoreUnavailableError,
      );
      assertLeaksNothing([error, ...events]);
    }
    assert(events.length > 0);
  }
});

/**
 * Asserts that nothing printed contains a token, an operator's text, a circuit's key or the script.
 */
function assertLeaksNothing(values: readonly unknown[]): void {
  for (const value of values) {
    const error = (value as { error?: unknown }).error;
    const printed = Deno.inspect(value, { depth: 20 }) + Deno.inspect(error, { depth: 20 }) +
      String(error);
    for (const secret of [TOKEN, "ticket-4711", "grace", "evalsha", "local S, M", "<html"]) {
      assert(!printed.includes(secret), `"${secret}" in ${printed}`);
    }
  }
}
