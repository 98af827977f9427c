// The requests of `strong` after a call, and their order.
import { assertEquals } from "@std/assert";
import { type CircuitOptions, createFuse } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import type { Driver, Tally } from "@fuse/edge/store";
import { fail, succeed, turn } from "../../support/setups.ts";
import { chaos, memory, type OpeningStore } from "../../support/drivers.ts";

/** An isolate whose tallies arrive when the test releases them. */
function isolate({ inOneTrip = true, describe, onStoreError = "local" }: {
  onStoreError?: CircuitOptions["onStoreError"];
  /** `false` for a driver that sends each request separately. */
  inOneTrip?: boolean;
  describe?: Driver["describe"];
} = {}) {
  let down = false;
  const clock = new FakeClock();
  const store = memory({ clock: clock.now });
  /** Tallies by trip: requests of one turn of `together` share a trip. */
  const trips: Tally[][] = [];
  let trip: Tally[] | null = null;
  const held: (() => void)[] = [];
  let holding = false;
  const remote = new Proxy(chaos(store, { down: () => down }), {
    get(target, property) {
      if (property === "describe") return describe;
      if (property === "together") {
        return inOneTrip && (<T>(work: () => T): T => {
              trips.push(trip = []);
              try {
                return work();
              } finally {
                trip = null;
              }
            }) || undefined;
      }
      const value = Reflect.get(target, property, target);
      if (typeof value !== "function") return value;
      if (property !== "record") return value.bind(target);
      return async (...args: [string, Tally]) => {
        if (trip === null) trips.push([args[1]]);
        else trip.push(args[1]);
        if (holding) await new Promise<void>((resolve) => held.push(resolve));
        return await Reflect.apply(value, target, args);
      };
    },
  }) as OpeningStore;
  const fuse = createFuse({ clock: clock.now, stores: { remote } });
  const breaker = fuse.make("a", { consistency: "strong", failureThreshold: 3, onStoreError });
  return {
    ...{ fuse, breaker, clock },
    setDown: (value: boolean) => void (down = value),
    hold: () => void (holding = true),
    /** Releases the requests on the way, oldest first, and holds no more. */
    release() {
      holding = false;
      for (const arrive of held.splice(0)) arrive();
    },
    /** Successes and failures by trip, since the last call. */
    taken: () =>
      trips.splice(0).filter((trip) => trip.length > 0)
        .map((trip) => trip.map(({ successes, failures }) => [successes, failures])),
    ids: () => trips.flat().map(({ id }) => id),
    stored: (key = "a") =>
      store.read(key, { at: clock.now(), shape: { windowMs: 1_000, windowSize: 0 } }),
  };
}

Deno.test("a success in strong is recorded after its call, and later ones gather meanwhile", async () => {
  const { fuse, breaker, hold, release, taken } = isolate();
  await succeed(breaker);
  await turn();
  taken();
  hold();
  for (let i = 0; i < 4; i++) await succeed(breaker);
  assertEquals(taken(), [[[1, 0]]]);
  release();
  await turn();
  assertEquals(taken(), [[[3, 0]]]);
  await fuse.flush();
  assertEquals((await breaker.getMetrics()).totalSuccesses, 5);
});

for (const inOneTrip of [true, false]) {
  const how = inOneTrip ? "in one trip" : "one after the other";
  Deno.test(`a failure in strong is sent after the successes that the store has not confirmed, ${how}`, async () => {
    const { fuse, breaker, hold, release, taken, ids, stored } = isolate({ inOneTrip });
    await succeed(breaker);
    await turn();
    taken();
    await fail(breaker, 2);
    taken();
    hold();
    await succeed(breaker, 2);
    const [first] = ids();
    assertEquals(taken(), [[[1, 0]]]);
    const failing = fail(breaker);
    await turn();
    if (inOneTrip) {
      assertEquals(ids()[0], first, "under the id that it had");
      assertEquals(taken(), [[[1, 0], [1, 0], [0, 1]]]);
    }
    release();
    await failing;
    if (!inOneTrip) assertEquals(taken(), [[[1, 0]], [[1, 0]], [[0, 1]]]);
    await fuse.flush();
    const { state, totals, consecutiveFailures } = await stored();
    assertEquals([state, consecutiveFailures], ["CLOSED", 1]);
    assertEquals([totals.successes, totals.failures], [3, 3]);
  });
}

Deno.test("overlapping failures in strong are confirmed when a slow store takes one after the other", async () => {
  const { fuse, breaker, clock, hold, release, stored } = isolate({ inOneTrip: false });
  const lost: unknown[] = [];
  fuse.on("unconfirmed", (event) => void lost.push(event));
  await succeed(breaker);
  await turn();
  hold();
  const failing = [];
  for (let i = 0; i < 5; i++) {
    failing.push(fail(breaker));
    await turn();
    clock.advance(1_500);
  }
  release();
  await Promise.all(failing);
  await fuse.flush();
  assertEquals(lost, []);
  assertEquals((await stored()).totals.failures, 5);
});

Deno.test("a failure in strong is in the store before its caller has the result", async () => {
  const { breaker, stored } = isolate();
  await succeed(breaker);
  await fail(breaker);
  assertEquals((await stored()).totals.failures, 1);
});

Deno.test("a success in strong is in the store before its caller has the result if calls are audited", async () => {
  const { breaker, stored } = isolate({ describe: () => "" });
  await succeed(breaker);
  assertEquals((await stored()).totals.successes, 1);
});

Deno.test("successes in strong that a long trip leaves behind are sent, also those of another circuit", async () => {
  const { fuse, breaker, hold, release, stored } = isolate();
  const other = fuse.make("b", { consistency: "strong" });
  for (const circuit of [breaker, other]) await succeed(circuit);
  await turn();
  hold();
  let made = 1;
  for (const circuit of [breaker, other]) {
    await succeed(circuit);
    await turn();
  }
  // The trip of the first circuit takes along what the other one gathers, in as many rounds as it has.
  for (made++; made < 18; made++) {
    await succeed(other);
    release();
    hold();
    await turn();
  }
  release();
  await turn();
  assertEquals((await stored("b")).totals.successes, made);
});

for (const inOneTrip of [true, false]) {
  Deno.test(`a call in strong asks a store that has recovered, although outcomes wait (${inOneTrip ? "together" : "one by one"})`, async () => {
    const { fuse, breaker, clock, setDown } = isolate({ inOneTrip, onStoreError: "reject" });
    fuse.on("store_error", () => {});
    await succeed(breaker);
    await turn();
    await breaker.call(() => setDown(true));
    await turn();
    setDown(false);
    clock.advance(2_000);
    assertEquals(await breaker.call(() => 1), 1);
  });
}
