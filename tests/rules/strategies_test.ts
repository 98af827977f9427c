// Rules 1 to 4 of src/rules/README.md: states, comparisons, when a strategy runs, strategies.
import { assertEquals, assertThrows } from "@std/assert";
import {
  type CircuitOptions,
  createFuse,
  type Policy,
  type Strategy,
  type StrategyMetrics,
} from "@fuse/edge";
import {
  admits,
  begin,
  fail,
  onEverySetup,
  REMOTE,
  succeed,
  type World,
} from "../support/setups.ts";

onEverySetup("CircuitBreaker() spells CLOSED, OPEN and HALF_OPEN everywhere", async (world) => {
  // Rule 1.
  const breaker = world.breaker({ failureThreshold: 1, successThreshold: 1, cooldownMs: 1_000 });
  const read = [await breaker.getState()];
  const stored = [world.stored().state];
  const look = async () => {
    await world.sync();
    read.push(await breaker.getState());
    stored.push(world.stored().state);
  };
  await fail(breaker);
  await look();
  const rejected = await breaker.tryCall(() => 1);
  world.clock.advance(1_000);
  const permit = await breaker.admit();
  await look();
  await permit.success();
  await look();
  assertEquals(read, ["CLOSED", "OPEN", "HALF_OPEN", "CLOSED"]);
  assertEquals(stored, ["CLOSED", "OPEN", "HALF_OPEN", "CLOSED"]);
  assertEquals(
    !rejected.ok && rejected.rejected && "state" in rejected.error && rejected.error.state,
    "OPEN",
  );
  assertEquals(
    world.events.flatMap((e) => "from" in e ? [[e.type, e.from, e.to, e.snapshot.state]] : []),
    [
      ["opened", "CLOSED", "OPEN", "OPEN"],
      ["half_opened", "OPEN", "HALF_OPEN", "HALF_OPEN"],
      ["closed", "HALF_OPEN", "CLOSED", "CLOSED"],
    ],
  );
});

onEverySetup("consecutive_failures opens at failureThreshold and not before", async (world) => {
  // Rules 2 and 4: comparisons are >=; 5 is the default.
  const breaker = world.breaker();
  await fail(breaker, 4);
  await world.sync();
  assertEquals(await breaker.getState(), "CLOSED");
  await fail(breaker);
  await world.sync();
  assertEquals(await breaker.getState(), "OPEN");
});

onEverySetup("percentage_failures opens at exactly its share and throughput", async (world) => {
  // Rule 2; trap 19: nothing opens below minimumThroughput.
  const breaker = world.breaker({
    strategy: "percentage_failures",
    minimumThroughput: 4,
    percentageThreshold: 50,
  });
  await succeed(breaker, 2);
  await fail(breaker);
  await world.sync();
  assertEquals(await breaker.getState(), "CLOSED");
  await fail(breaker);
  await world.sync();
  assertEquals(await breaker.getState(), "OPEN");
});

onEverySetup("CircuitBreaker() admits a trial at openUntil and not before", async (world) => {
  // Rule 2.
  const breaker = world.breaker({ failureThreshold: 1, cooldownMs: 1_000 });
  await fail(breaker);
  await world.sync();
  world.clock.advance(999);
  assertEquals(await admits(breaker), false);
  world.clock.advance(1);
  assertEquals(await admits(breaker), true);
});

onEverySetup("CircuitBreaker() counts a call of exactly slowCallMs as slow", async (world) => {
  // Rule 2.
  const breaker = world.breaker({ slowCallMs: 100 });
  await breaker.call(() => world.clock.advance(99));
  await breaker.call(() => world.clock.advance(100));
  assertEquals((await breaker.getMetrics()).totalSlow, 1);
});

Deno.test("make() accepts percentages from 1 to 100", () => {
  // Rule 2.
  const fuse = createFuse();
  for (const percentageThreshold of [1, 33.3, 100]) fuse.make("a", { percentageThreshold });
  for (const percentageThreshold of [0, 0.5, 101, NaN, -5]) {
    assertThrows(() => fuse.make("b", { percentageThreshold }), RangeError, "from 1 to 100");
  }
});

onEverySetup("CircuitBreaker() opens on a success that makes it due", async (world) => {
  // Rule 3.
  const breaker = world.breaker({ strategy: "percentage_failures", minimumThroughput: 4 });
  await fail(breaker, 2);
  await succeed(breaker);
  await world.sync();
  assertEquals(await breaker.getState(), "CLOSED");
  await succeed(breaker);
  await world.sync();
  assertEquals(await breaker.getState(), "OPEN");
  assertEquals(world.told(), ["failure", "failure", "success", "success", "opened"]);
});

onEverySetup("CircuitBreaker() does not open by ageing alone", async (world) => {
  // Rule 3.
  const breaker = world.breaker({
    strategy: "rolling_window",
    windowMs: 1_000,
    minimumThroughput: 4,
    ignore: [RangeError],
  });
  await succeed(breaker, 5);
  world.clock.advance(500);
  await fail(breaker, 4);
  await world.sync();
  // The successes leave the window: all of its calls have failed then.
  world.clock.advance(500);
  await breaker.tryCall(() => Promise.reject(new RangeError()));
  await world.sync();
  assertEquals((await breaker.getMetrics()).failureRate, 100);
  assertEquals(await breaker.getState(), "CLOSED");
  await succeed(breaker);
  await world.sync();
  assertEquals(await breaker.getState(), "OPEN");
});

onEverySetup("consecutive_failures begins anew after a success of any isolate", async (world) => {
  // Rule 4, trap 20.
  const [here, there] = [world.breaker(TWO), world.breaker(TWO)];
  await fail(here);
  await world.sync();
  await succeed(there);
  await world.sync();
  await fail(here);
  await world.sync();
  assertEquals(await here.getState(), "CLOSED");
  await fail(there);
  await world.sync();
  assertEquals(await here.getState(), "OPEN");
});

for (const between of ["a success", "nothing"]) {
  onEverySetup(
    `consecutive_failures orders calls by their ends, with ${between} sent before a late failure`,
    async (world) => {
      // Rule 4: a failure that ended before the last success does not lengthen the run.
      let down = false;
      const here = world.isolate({ faults: { down: () => down } }).make();
      const there = world.breaker();
      const call = await begin(here);
      down = true;
      await call.fail();
      await world.isolates[0]!.fuse.flush();
      down = false;
      world.clock.advance(1_000);
      if (between === "a success") await succeed(there);
      await world.isolates[1]!.fuse.flush();
      world.clock.advance(1_000);
      await world.sync();
      const { totals, consecutiveFailures } = world.stored();
      assertEquals([totals.failures, consecutiveFailures], [1, between === "nothing" ? 1 : 0]);
    },
    REMOTE,
  );
}

onEverySetup("percentage_failures counts all calls since the last closing", async (world) => {
  // Rule 4: however long ago, and from 0 after closing.
  const breaker = world.breaker({
    strategy: "percentage_failures",
    minimumThroughput: 4,
    successThreshold: 1,
    cooldownMs: 1_000,
    windowMs: 1_000,
  });
  await fail(breaker, 2);
  await world.sync();
  world.clock.advance(86_400_000);
  await succeed(breaker, 2);
  await world.sync();
  assertEquals(await breaker.getState(), "OPEN");
  world.clock.advance(1_000);
  await succeed(breaker);
  await world.sync();
  assertEquals(await breaker.getState(), "CLOSED");
  await fail(breaker, 3);
  await world.sync();
  assertEquals(await breaker.getState(), "CLOSED");
});

onEverySetup("rolling_window forgets a segment when its windowMs are over", async (world) => {
  // Rule 4: ten segments, the current one and the nine before. Trap 13.
  const breaker = world.breaker({
    strategy: "rolling_window",
    windowMs: 1_000,
    minimumThroughput: 2,
  });
  world.clock.advance(50);
  await fail(breaker);
  await world.sync();
  const failuresAfter = async (ms: number) => {
    world.clock.advance(ms);
    return (await breaker.getMetrics()).window.failures;
  };
  assertEquals(await failuresAfter(949), 1);
  assertEquals(await failuresAfter(1), 0);
  await fail(breaker);
  await world.sync();
  assertEquals(await breaker.getState(), "CLOSED");
  await fail(breaker);
  await world.sync();
  assertEquals(await breaker.getState(), "OPEN");
});

onEverySetup("slow_calls opens on the share of slow calls, of successes too", async (world) => {
  // Rule 4.
  const breaker = world.breaker({ ...SLOW, minimumThroughput: 4 });
  const call = (ms: number) => breaker.call(() => world.clock.advance(ms));
  await call(100);
  await call(0);
  await call(0);
  await world.sync();
  assertEquals(await breaker.getState(), "CLOSED");
  await call(100);
  await world.sync();
  assertEquals(await breaker.getState(), "OPEN");
});

onEverySetup("slow_calls does not open on failures that are fast", async (world) => {
  // Rule 4 and section 5.
  const breaker = world.breaker({ ...SLOW, minimumThroughput: 1 });
  await fail(breaker, 20);
  await world.sync();
  assertEquals(await breaker.getState(), "CLOSED");
});

onEverySetup("slow_calls reopens on a slow trial", async (world) => {
  // Rule 4: a slow trial counts as failed.
  const breaker = world.breaker({ ...SLOW, minimumThroughput: 1, successThreshold: 1 });
  const slow = () => breaker.call(() => world.clock.advance(100));
  await slow();
  await world.sync();
  world.clock.advance(1_000);
  await slow();
  await world.sync();
  assertEquals(world.moves(), ["opened", "half_opened", "opened"]);
});

onEverySetup("count_window judges the last windowSize calls", async (world) => {
  // Rule 4: from minimumThroughput on.
  const breaker = world.breaker({
    strategy: "count_window",
    windowSize: 4,
    minimumThroughput: 3,
    percentageThreshold: 75,
  });
  await fail(breaker, 2);
  await world.sync();
  assertEquals(await breaker.getState(), "CLOSED");
  await succeed(breaker, 4);
  await fail(breaker, 2);
  await world.sync();
  // S S F F: the first two failures have left the window.
  assertEquals(await breaker.getState(), "CLOSED");
  world.clock.advance(86_400_000);
  await fail(breaker);
  await world.sync();
  assertEquals(await breaker.getState(), "OPEN");
});

onEverySetup("a custom strategy decides with metrics and policy", async (world) => {
  // Rule 4: registered by name, or inline.
  const seen: [StrategyMetrics, Policy][] = [];
  const odd: Strategy = (metrics, policy) => {
    seen.push([metrics, policy]);
    return metrics.sinceClosed.failures >= policy.failureThreshold;
  };
  const { make } = world.isolate({ strategies: { odd } });
  const byName = make({ strategy: "odd", failureThreshold: 2, windowMs: 5_000 });
  const inline = make({ strategy: odd, failureThreshold: 1 }, "b");
  await succeed(byName);
  await fail(byName);
  await world.sync();
  const [metrics, policy] = seen.at(-1)!;
  const counts = { calls: 2, successes: 1, failures: 1, slow: 0 };
  assertEquals(metrics, {
    consecutiveFailures: 1,
    consecutiveSuccesses: 0,
    window: counts,
    sinceClosed: counts,
  });
  assertEquals([policy.failureThreshold, policy.windowMs, policy.windowSize], [2, 5_000, 100]);
  assertEquals(await byName.getState(), "CLOSED");
  await fail(byName);
  await fail(inline);
  await world.sync();
  assertEquals([await byName.getState(), await inline.getState()], ["OPEN", "OPEN"]);
  assertEquals(world.heard("opened").map(({ reason }) => reason), ["odd", "odd"]);
});

onEverySetup("a list of strategies opens when any of them does", async (world) => {
  // Section 5.
  const options: CircuitOptions = {
    ...SLOW,
    strategy: ["slow_calls", "consecutive_failures"],
    failureThreshold: 3,
  };
  const breaker = world.breaker(options);
  await fail(breaker, 3);
  await world.sync();
  assertEquals(reasons(world), ["consecutive_failures"]);
  const other = world.isolate().make({ ...options, minimumThroughput: 1 }, "b");
  await other.call(() => world.clock.advance(100));
  await world.sync();
  assertEquals(reasons(world), ["consecutive_failures", "slow_calls"]);
});

const TWO: CircuitOptions = { failureThreshold: 2 };
const SLOW: CircuitOptions = { strategy: "slow_calls", slowCallMs: 100, cooldownMs: 1_000 };

function reasons(world: World): string[] {
  return world.heard("opened").map(({ reason }) => reason);
}

Deno.test("the name of a custom strategy, whatever it is, is a reason that can be exported and imported", async () => {
  const named = (name: unknown) => Object.defineProperty(() => true, "name", { value: name });
  for (const name of ["x".repeat(2_000), 5, null, "\ud800", ""]) {
    const fuse = createFuse({ defaults: { strategy: named(name) } });
    await fuse.make("a").tryCall(() => Promise.reject(new Error("down")));
    const state = JSON.parse(JSON.stringify(await fuse.exportState()));
    assertEquals(state.circuits[0].state, "OPEN");
    assertEquals((await createFuse().importState(state)).imported, 1);
  }
  for (const name of ["", "x".repeat(256)]) {
    assertThrows(() => createFuse({ strategies: { [name]: () => true } }), TypeError, "1-255");
  }
});
