/**
 * Traps 14, 15, 17 and 24 over isolates: nothing is lost, counted twice, diluted or delayed.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { CircuitOptions } from "@fuse/edge";
import { busy } from "./busy.ts";
import { Boom } from "./setups.ts";
import { callers, type SharedWorld, type Trap, underWay } from "./shared_world.ts";
import { newSeed, seeded } from "./virtual_time.ts";
import type { WayFault } from "./ways.ts";

/** A policy that never opens in these tests. */
const NEVER: CircuitOptions = {
  strategy: ["consecutive_failures", "count_window"],
  failureThreshold: 10_000,
  windowSize: 10_000,
  minimumThroughput: 10_000,
};
const SHAPE = { windowMs: 120_000, windowSize: 10_000 };

export const COUNTING: readonly Trap[] = [
  {
    name: "CircuitBreaker() counts 800 outcomes exactly when 8 isolates report at once",
    async run(world) {
      // Trap 14: nothing is read, changed and written back.
      const isolates = world.join(NEVER);
      await callers(isolates, 100, (breaker, i) => breaker.tryCall(() => outcome(i)));
      await world.flush();
      const { totals, window, sinceClosed, last, epoch, generation } = await world.stored(
        "a",
        SHAPE,
      );
      const counted = { successes: 560, failures: 240, slow: 0 };
      assertEquals(totals, { ...counted, rejected: 0 });
      assertEquals(window, counted);
      assertEquals(sinceClosed, counted);
      assertEquals(last, { size: 800, failures: 240 });
      // One life, however many requests began it at once.
      assertEquals([epoch === "", generation], [false, 1]);
      assertEquals(world.heard("reborn"), []);
      for (const { breaker } of isolates) {
        const { totalSuccesses, totalFailures } = await breaker.getMetrics();
        assertEquals([totalSuccesses, totalFailures], [560, 240]);
      }
    },
  },
  {
    name:
      "CircuitBreaker() counts 320 outcomes at the times at which they ended when they are reported later",
    async run(world) {
      // Traps 13 and 14: segments of 12 s, of which the first two leave the window.
      const watches: ReturnType<typeof busy>[] = [];
      const isolates = world.join(NEVER, () => ({
        wrap(store) {
          watches.push(busy(store));
          return watches.at(-1)!.store;
        },
      }));
      await world.acquaint();
      for (let round = 0; round < 4; round++) {
        await callers(isolates, 10, (breaker, i) => breaker.tryCall(() => outcome(i)));
        // A pending request carries the moment at which it was sent: a server's clock does not have
        // it.
        for (const { quiet } of watches) await quiet();
        world.clock.advance(30_000);
      }
      await world.flush();
      const kept = async () => {
        const { window } = await world.stored("a", SHAPE);
        return [window.successes, window.failures];
      };
      // It is 120 s later: the first round has just left the window, and so has the first call.
      assertEquals(await kept(), [3 * 8 * 7, 3 * 8 * 3]);
      world.clock.advance(30_000);
      assertEquals(await kept(), [2 * 8 * 7, 2 * 8 * 3]);
      const { totals, sinceClosed } = await world.stored("a", SHAPE);
      assertEquals([totals.successes, totals.failures], [1 + 4 * 8 * 7, 4 * 8 * 3]);
      assertEquals([sinceClosed.successes, sinceClosed.failures], [1 + 4 * 8 * 7, 4 * 8 * 3]);
    },
  },
  {
    name: "CircuitBreaker() counts 840 outcomes once when requests and answers are lost",
    async run(world) {
      // Trap 14: the same id again changes nothing.
      const isolates = world.join(NEVER);
      await world.acquaint();
      const random = seeded(newSeed());
      world.ways[0].fault = () => {
        const drawn = random();
        return drawn < 0.15 ? "lose" : drawn < 0.25 ? "refuse" : undefined;
      };
      for (let round = 0; round < 7; round++) {
        await callers(isolates, 15, (breaker, i) => breaker.tryCall(() => outcome(i)));
        await world.flush();
        world.clock.advance(1_000);
      }
      world.ways[0].fault = undefined;
      // The longest back-off after failing for 7 s, and less than the time for which a tally is
      // kept.
      world.clock.advance(8_000);
      await world.flush();
      // 12 of 15 succeed.
      const { totals } = await world.stored("a", SHAPE);
      assertEquals([totals.successes, totals.failures], [1 + 7 * 8 * 12, 7 * 8 * 3]);
      assertEquals(world.heard("unconfirmed"), []);
      assert(world.heard("store_error").length > 0);
    },
  },
  ...(["lose", "refuse"] as const).map((fault): Trap => ({
    name:
      `CircuitBreaker() reports unconfirmed outcomes when the network to the store has the fault ${fault}`,
    run: (world) => unconfirmed(world, fault),
  })),
  {
    name: "CircuitBreaker() keeps 400 rejected calls out of every rate",
    async run(world) {
      // Trap 15.
      const isolates = world.join({ ...NEVER, failureThreshold: 1 });
      await world.acquaint();
      await world.trip(isolates[0]!);
      const before = await world.stored("a", SHAPE);
      const results = await callers(isolates, 50, (breaker) => breaker.tryCall(() => "ran"));
      assert(results.every((result) => !result.ok && result.rejected));
      await world.flush();
      const { totals, window, sinceClosed, last } = await world.stored("a", SHAPE);
      assertEquals(totals, { successes: 1, failures: 1, rejected: 400, slow: 0 });
      assertEquals([window, sinceClosed, last], [before.window, before.sinceClosed, before.last]);
    },
  },
  {
    name: "CircuitBreaker() counts nothing when an inner breaker rejects 200 calls",
    async run(world) {
      // Trap 17: the inner circuit's rejection is no evidence about the outer one's upstream.
      const isolates = world.join({ ...NEVER, failureThreshold: 1 });
      await world.acquaint();
      await isolates[7]!.fuse.make("inner").forceOpen();
      const inner = new Map(isolates.map(({ fuse, breaker }) => [breaker, fuse.make("inner")]));
      const results = await callers(
        isolates,
        25,
        (breaker) => breaker.tryCall(() => inner.get(breaker)!.call(() => "ran")),
      );
      assert(results.every((result) => !result.ok && !result.rejected));
      await world.flush();
      const { state, totals } = await world.stored();
      assertEquals(state, "CLOSED");
      assertEquals(totals, { successes: 1, failures: 0, rejected: 0, slow: 0 });
      assertEquals((await world.stored("inner")).totals.rejected, 200);
    },
  },
  {
    name: "CircuitBreaker() runs 400 calls of 8 isolates concurrently",
    async run(world) {
      // Traps 24 and 25: no lock is held while the user's call runs.
      const isolates = world.join(NEVER);
      const calls = await underWay(isolates, 50);
      await Promise.all(calls.toReversed().map((call) => call.succeed()));
      await world.flush();
      assertEquals((await world.stored()).totals.successes, 400);
    },
  },
];

/** Seven in ten succeed. */
function outcome(i: number): Promise<string> {
  return i % 10 < 7 ? Promise.resolve("ok") : Promise.reject(new Boom());
}

async function unconfirmed(world: SharedWorld, fault: WayFault): Promise<void> {
  // Section 2: a tally without an answer within 30 s is given up, and reported with its counts.
  const isolates = world.join(NEVER);
  await world.acquaint();
  const calls = await underWay(isolates, 20);
  world.ways[0].fault = () => fault;
  await Promise.all(calls.map((call, i) => i % 10 < 7 ? call.succeed() : call.fail()));
  await world.flush();
  world.clock.advance(30_001);
  world.ways[0].fault = undefined;
  await world.flush();
  await world.flush();
  const told = { successes: 0, failures: 0, rejected: 0 };
  for (const event of world.heard("unconfirmed")) {
    for (const kind of ["successes", "failures", "rejected"] as const) told[kind] += event[kind];
  }
  assert(told.failures > 0);
  const { totals } = await world.stored();
  for (const [kind, made] of [["successes", 1 + 112], ["failures", 48]] as const) {
    // Refused tallies have not counted. Whether a lost one has is unknown: a server may have been
    // too busy.
    if (fault === "refuse") assertEquals(totals[kind] + told[kind], made);
    const counts = [totals[kind], told[kind], made];
    assert(totals[kind] <= made && totals[kind] + told[kind] >= made, `${kind}: ${counts}`);
  }
  assertEquals(told.rejected, 0);
}
