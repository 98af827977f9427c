// Traps 13 to 20: counting. 13 and 20 are in rules/strategies_test.ts too, 16 to 18 in
// rules/outcomes_test.ts.
import { assertEquals } from "@std/assert";
import type { StrategyName } from "@fuse/edge";
import { admits, fail, onEverySetup, succeed } from "../support/setups.ts";

onEverySetup("rolling_window ages while idle, on read and on write", async (world) => {
  // Trap 13: failures of an hour ago do not trip a five-second window.
  const breaker = world.breaker({
    strategy: "rolling_window",
    windowMs: 5_000,
    minimumThroughput: 5,
  });
  await fail(breaker, 4);
  await world.sync();
  world.clock.advance(3_600_000);
  assertEquals((await breaker.getMetrics()).window.calls, 0);
  await fail(breaker, 4);
  await world.sync();
  assertEquals(await breaker.getState(), "CLOSED");
  assertEquals((await breaker.getMetrics()).window.calls, 4);
  await fail(breaker);
  await world.sync();
  assertEquals(await breaker.getState(), "OPEN");
});

onEverySetup("CircuitBreaker() loses no outcome when many isolates send at once", async (world) => {
  // Trap 14: nothing is read, changed and written back.
  const breakers = Array.from({ length: 8 }, () => world.breaker({ failureThreshold: 1_000 }));
  await Promise.all(breakers.flatMap((breaker) => [fail(breaker, 5), succeed(breaker, 7)]));
  await world.sync();
  const { successes, failures } = world.stored().totals;
  assertEquals([successes, failures], [56, 40]);
  assertEquals((await breakers[0]!.getMetrics()).window.calls, 96);
});

onEverySetup("CircuitBreaker() keeps rejected calls out of every rate", async (world) => {
  // Trap 15, rule 10.
  const breaker = world.breaker({
    strategy: ["rolling_window", "count_window", "percentage_failures"],
    minimumThroughput: 2,
    windowSize: 10,
  });
  const shape = { windowMs: 120_000, windowSize: 10 };
  await fail(breaker, 2);
  await world.sync();
  for (let i = 0; i < 20; i++) assertEquals(await admits(breaker), false);
  await world.sync();
  const { window, last, sinceClosed, totals } = world.stored("a", shape);
  assertEquals(totals.rejected, 20);
  assertEquals([window.failures, window.successes], [2, 0]);
  assertEquals(last, { size: 2, failures: 2 });
  assertEquals([sinceClosed.failures, sinceClosed.successes], [2, 0]);
  assertEquals((await breaker.getMetrics()).failureRate, 100);
});

const SHARES: StrategyName[] = [
  "percentage_failures",
  "rolling_window",
  "count_window",
  "slow_calls",
];

for (const strategy of SHARES) {
  onEverySetup(`${strategy} does not open below its minimum throughput`, async (world) => {
    // Trap 19: 10 calls by default.
    const breaker = world.breaker({ strategy, slowCallMs: 1 });
    for (let i = 0; i < 9; i++) {
      await breaker.tryCall(() => {
        world.clock.advance(1);
        throw new Error("down");
      });
    }
    await world.sync();
    assertEquals(await breaker.getState(), "CLOSED");
    await breaker.tryCall(() => {
      world.clock.advance(1);
      throw new Error("down");
    });
    await world.sync();
    assertEquals(await breaker.getState(), "OPEN");
  });
}

onEverySetup("every success ends the run of consecutive_failures", async (world) => {
  // Trap 20.
  const breaker = world.breaker({ failureThreshold: 2 });
  for (let i = 0; i < 20; i++) {
    await fail(breaker);
    await succeed(breaker);
  }
  await world.sync();
  assertEquals(await breaker.getState(), "CLOSED");
  assertEquals((await breaker.getMetrics()).totalFailures, 20);
});
