// The transport of tallies: few trips, many tallies in each, and waves (design, "The guard", point
// 3).
import { assert, assertEquals } from "@std/assert";
import { createFuse } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import type { Awaitable } from "@fuse/edge/store";
import { chaos, memory, type OpeningStore } from "../../support/drivers.ts";
import { succeed, turn } from "../../support/setups.ts";

/** A store that answers when released, and accepts tallies together, as one over HTTP does. */
function batching() {
  const clock = new FakeClock();
  const inner = memory({ clock: clock.now });
  /** The sizes of the requests that carried records, in order. */
  const requests: number[] = [];
  let gathered: number | null = null;
  let down = false;
  let gate: Promise<void> | null = null;
  let most = 0;
  let open = 0;
  const request = (size: number) => {
    requests.push(size);
    most = Math.max(most, ++open);
  };
  const remote = new Proxy(chaos(inner, { down: () => down }), {
    get(target, property) {
      if (property === "together") {
        return <T>(work: () => T): T => {
          gathered = 0;
          try {
            return work();
          } finally {
            if (gathered > 0) request(gathered);
            gathered = null;
          }
        };
      }
      const value = Reflect.get(target, property, target);
      if (typeof value !== "function") return value;
      if (property !== "record") return value.bind(target);
      return async (...args: unknown[]): Promise<unknown> => {
        const first = gathered === 0 || gathered === null;
        if (gathered === null) request(1);
        else gathered++;
        await gate;
        if (first) open--;
        return await (Reflect.apply(value, target, args) as Awaitable<unknown>);
      };
    },
  }) as OpeningStore;
  const fuse = createFuse({ stores: { remote }, clock: clock.now, storeTimeoutMs: 10_000 });
  fuse.on("store_error", () => {});
  const circuits = (count: number) =>
    Array.from({ length: count }, (_, i) => fuse.make(`c${i}`, { flushSize: 1_000 }));
  return {
    ...{ clock, fuse, requests, circuits, inner },
    get most() {
      return most;
    },
    setDown: (value: boolean) => void (down = value),
    /** Holds all answers until it is called again. */
    hold(): () => void {
      const { promise, resolve } = Promise.withResolvers<void>();
      gate = promise;
      return () => {
        gate = null;
        resolve();
      };
    },
  };
}

Deno.test("Fuse.flush() sends many circuits' tallies in waves of few requests", async () => {
  const { fuse, requests, circuits, inner, clock } = batching();
  const all = circuits(1_000);
  for (const breaker of all) await succeed(breaker);
  requests.length = 0;
  for (const breaker of all) await succeed(breaker);
  await fuse.flush();
  assertEquals(requests.reduce((sum, size) => sum + size, 0), 1_000);
  assert(requests.length <= 3, `${requests}`);
  const shape = { windowMs: 120_000, windowSize: 0 };
  const stored = all.map((_, i) => inner.read(`c${i}`, { at: clock.now(), shape }));
  const counted = await Promise.all(stored);
  assertEquals(counted.filter(({ totals }) => totals.successes === 2).length, 1_000);
});

Deno.test("Fuse.flush() stops at the first wave that does not reach the store, and loses nothing", async () => {
  const { fuse, requests, circuits, clock, setDown, inner } = batching();
  const all = circuits(1_000);
  for (const breaker of all) await succeed(breaker);
  await fuse.flush();
  for (const breaker of all) await succeed(breaker);
  requests.length = 0;
  setDown(true);
  await fuse.flush();
  assertEquals(requests.length, 1);
  assert(requests[0]! < 1_000, `${requests}`);
  setDown(false);
  clock.advance(2_000);
  await fuse.flush();
  const shape = { windowMs: 120_000, windowSize: 0 };
  for (let i = 0; i < 1_000; i++) {
    assertEquals((await inner.read(`c${i}`, { at: clock.now(), shape })).totals.successes, 2);
  }
});

Deno.test("Trips() sends six at once when an isolate is busy, and takes waiting tallies along", async () => {
  const world = batching();
  const { circuits, requests, hold, fuse } = world;
  const all = circuits(100);
  for (const breaker of all) await succeed(breaker);
  await fuse.flush();
  requests.length = 0;
  const release = hold();
  // Each must be sent at once: a failure is.
  for (const breaker of all) await breaker.tryCall(() => Promise.reject(new Error("down")));
  await turn();
  assertEquals([requests.length, world.most <= 6], [6, true]);
  release();
  for (let i = 0; i < 20; i++) await turn();
  await fuse.flush();
  assertEquals(requests.reduce((sum, size) => sum + size, 0), 100);
  // Six alone, and the others in few trips.
  assert(requests.length <= 6 + 6, `${requests}`);
});

Deno.test("Trips() frees a place when its request has died", async () => {
  const { circuits, requests, hold, clock, fuse } = batching();
  const all = circuits(20);
  for (const breaker of all) await succeed(breaker);
  await fuse.flush();
  const release = hold();
  requests.length = 0;
  for (const breaker of all.slice(0, 10)) {
    await breaker.tryCall(() => Promise.reject(new Error("down")));
  }
  assertEquals(requests.length, 6);
  clock.advance(10_000);
  await all[19]!.tryCall(() => Promise.reject(new Error("down")));
  await turn();
  assert(requests.length > 6, `${requests}`);
  release();
  await fuse.flush();
});

Deno.test("Fuse.flush() sends the rest of an earlier flush()", async () => {
  const clock = new FakeClock();
  const inner = memory({ clock: clock.now });
  let cut: string | null = null;
  const fail = (_: string, key: string | null) =>
    cut === null || key !== cut ? undefined : new Error("connection reset");
  const fuse = createFuse({ stores: { remote: chaos(inner, { fail }) }, clock: clock.now });
  fuse.on("store_error", () => {});
  const [cutOff, other] = ["cut", "other"].map((name) =>
    fuse.make(name, { failureThreshold: 100 })
  );
  for (const breaker of [cutOff!, other!]) await succeed(breaker);
  await fuse.flush();
  cut = "cut";
  const failing = [cutOff!, ...Array.from({ length: 10 }, () => other!)];
  for (const breaker of failing) {
    await breaker.tryCall(() => Promise.reject(new Error("down")));
    // The first has the store left alone, and so the others wait; after a success in another tally.
    if (breaker === other) await succeed(breaker);
    await turn();
  }
  const stored = async () => {
    const shape = { windowMs: 120_000, windowSize: 0 };
    return (await inner.read("other", { at: clock.now(), shape })).totals.failures;
  };
  assertEquals(await stored(), 0);
  await fuse.flush();
  assertEquals([await stored(), (await other!.getMetrics()).totalFailures], [5, 10]);
  cut = null;
  await fuse.flush();
  assertEquals(await stored(), 10);
});

Deno.test("getMetrics() counts outcomes that flush() has not sent yet", async () => {
  const { fuse, circuits, hold, setDown } = batching();
  const all = circuits(500);
  for (const breaker of all) await succeed(breaker);
  await fuse.flush();
  for (const breaker of all) await succeed(breaker);
  const release = hold();
  const flushed = fuse.flush();
  setDown(true);
  const { totalSuccesses } = await all.at(-1)!.getMetrics();
  setDown(false);
  release();
  await flushed;
  assertEquals(totalSuccesses, 2);
});
