// Clocks that jump an hour each way (section 3): no state lasts for ever because of it.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { CircuitBreakerOpenError, type CircuitOptions } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import {
  admits,
  begin,
  fail,
  onEverySetup,
  REMOTE,
  succeed,
  type World,
} from "../support/setups.ts";

const HOUR = 3_600_000;
const TRIP: CircuitOptions = { failureThreshold: 1, successThreshold: 1, cooldownMs: 60_000 };

const JUMPS = { forward: HOUR, back: -HOUR } as const;

function jump(world: World, by: number): void {
  world.clock.set(world.clock.now() + by);
}

onEverySetup("rolling_window stays complete when the clock goes back an hour", async (world) => {
  // Negative elapsed time counts as 0.
  const breaker = world.breaker({ strategy: "rolling_window", minimumThroughput: 4 });
  await fail(breaker, 3);
  await world.sync();
  jump(world, -HOUR);
  assertEquals((await breaker.getMetrics()).window.failures, 3);
  await fail(breaker);
  await world.sync();
  assertEquals(await breaker.getState(), "OPEN");
});

onEverySetup("rolling_window is empty when the clock goes forward an hour", async (world) => {
  const breaker = world.breaker({ strategy: "rolling_window", minimumThroughput: 4 });
  await fail(breaker, 3);
  await world.sync();
  jump(world, HOUR);
  await fail(breaker);
  await world.sync();
  assertEquals((await breaker.getMetrics()).window.failures, 1);
  assertEquals(await breaker.getState(), "CLOSED");
});

for (const [way, by] of Object.entries(JUMPS)) {
  onEverySetup(`consecutive_failures goes on when the clock goes ${way} an hour`, async (world) => {
    const breaker = world.breaker({ ...TRIP, failureThreshold: 3 });
    await succeed(breaker);
    await fail(breaker, 2);
    await world.sync();
    jump(world, by);
    await fail(breaker);
    await world.sync();
    assertEquals(await breaker.getState(), "OPEN");
  });

  onEverySetup(`an open circuit tries again when the clock goes ${way} an hour`, async (world) => {
    // Back: an openUntil further off than its cooldown could set it counts as passed.
    const breaker = world.breaker(TRIP);
    await fail(breaker);
    await world.sync();
    jump(world, by);
    assertEquals(await admits(breaker), true);
    await world.sync();
    assertEquals(world.moves(), ["opened", "half_opened", "closed"]);
  });

  onEverySetup(`getState() shows a call's state when the clock goes ${way} an hour`, async (
    world,
  ) => {
    // Rule 13: a cooldown that counts as passed reads HALF_OPEN.
    const breaker = world.breaker(TRIP);
    await fail(breaker);
    await world.sync();
    jump(world, by);
    assertEquals(await breaker.getState(), "HALF_OPEN");
    assertEquals(await breaker.isOpen(), false);
  });

  onEverySetup(`a hung trial frees its slot when the clock goes ${way} an hour`, async (world) => {
    const breaker = world.breaker(TRIP);
    await fail(breaker);
    await world.sync();
    world.clock.advance(60_000);
    assert((await begin(breaker)).admitted);
    await world.sync();
    jump(world, by);
    assertEquals(await admits(breaker), true);
    await world.sync();
    assertEquals(world.stored().state, "CLOSED");
  });

  onEverySetup(`a running trial counts when the clock goes ${way} an hour`, async (world) => {
    const breaker = world.breaker(TRIP);
    await fail(breaker);
    await world.sync();
    world.clock.advance(60_000);
    const trial = await begin(breaker);
    jump(world, by);
    await trial.succeed();
    await world.sync();
    assertEquals(world.stored().state, "CLOSED");
  });

  onEverySetup(`a call is not slow because the clock goes ${way} an hour`, async (world) => {
    // Back: the call took 0 ms. Forward, a jump looks like a slow call.
    const breaker = world.breaker({ ...TRIP, slowCallMs: 100 });
    await breaker.call(() => jump(world, by));
    await world.sync();
    const [event] = world.heard("success");
    assertEquals(event!.durationMs, by > 0 ? HOUR : 0);
    assertEquals(world.told("slow").length, by > 0 ? 1 : 0);
  });

  onEverySetup(`a view is refreshed when this isolate's clock goes ${way} an hour`, async (
    world,
  ) => {
    // The store's clock decides; the view corrects for the offset. Trap 26.
    const clock = new FakeClock();
    const there = world.isolate({ clock: clock.now }).make(TRIP);
    const here = world.breaker(TRIP);
    await succeed(there);
    await fail(here);
    await world.isolates[1]!.fuse.flush();
    clock.set(clock.now() + by);
    const error = await assertRejects(() => there.call(() => 1), CircuitBreakerOpenError);
    assertEquals(error.retryAfterMs, 60_000);
    world.clock.advance(20_000);
    clock.advance(20_000);
    const later = await assertRejects(() => there.call(() => 1), CircuitBreakerOpenError);
    assertEquals(later.retryAfterMs, 40_000);
    world.clock.advance(40_000);
    clock.advance(40_000);
    assertEquals(await admits(there), true);
    await world.sync();
    assertEquals(world.moves(), ["opened", "half_opened", "closed"]);
  });

  onEverySetup(
    `an override ends by the store's clock when this isolate's is ${way} an hour`,
    async (
      world,
    ) => {
      const clock = new FakeClock(world.clock.now() + by);
      const there = world.isolate({ clock: clock.now }).make(TRIP);
      await there.forceOpen({ forMs: 5_000 });
      await world.sync();
      const pass = (ms: number) => {
        world.clock.advance(ms);
        clock.advance(ms);
      };
      pass(4_999);
      assertEquals(await admits(there), false);
      pass(1);
      assertEquals(await admits(there), true);
    },
  );

  onEverySetup(`pending successes are sent when the clock goes ${way} an hour`, async (world) => {
    // A marker in the future expires; no call waits for it.
    const breaker = world.breaker({ ...TRIP, flushIntervalMs: 1_000 });
    await succeed(breaker, 2);
    jump(world, by);
    await succeed(breaker);
    await Promise.resolve();
    await new Promise((resolve) => setTimeout(resolve, 0));
    assertEquals(world.stored().totals.successes, 3);
  }, ["eventual"]);

  onEverySetup(`a failed store is retried when the clock goes ${way} an hour`, async (
    world,
  ) => {
    // The guard.
    let down = true;
    const { make, fuse } = world.isolate({ faults: { down: () => down } });
    const breaker = make(TRIP);
    await breaker.getState();
    down = false;
    jump(world, by);
    await succeed(breaker);
    await fuse.flush();
    assertEquals(world.told("store_error", "store_recovered"), ["store_error", "store_recovered"]);
    await succeed(breaker);
    await fuse.flush();
    assertEquals(world.stored().totals.successes, 2);
  }, REMOTE);

  onEverySetup(`this isolate's own breaker retries when the clock goes ${way} an hour`, async (
    world,
  ) => {
    // onStoreError: "local".
    const { make, fuse } = world.isolate({ faults: { down: () => true } });
    const breaker = make(TRIP);
    await breaker.getState();
    await fail(breaker);
    await fuse.flush();
    assertEquals(await admits(breaker), false);
    jump(world, by);
    assertEquals(await admits(breaker), true);
    await fuse.flush();
    assertEquals(world.moves(), ["opened", "half_opened", "closed"]);
  }, REMOTE);

  onEverySetup(`a refused trial is requested again when the clock goes ${way} an hour`, async (
    world,
  ) => {
    // The refusal's marker expires.
    const clock = new FakeClock();
    const there = world.isolate({ clock: clock.now }).make(TRIP);
    const here = world.breaker(TRIP);
    await fail(here);
    await world.sync();
    world.clock.advance(60_000);
    clock.advance(60_000);
    const trial = await begin(here);
    await world.sync();
    assertEquals(await admits(there), false);
    await trial.succeed();
    clock.set(clock.now() + by);
    assertEquals(await admits(there), true);
  });
}

onEverySetup("an open circuit stays open when the clock goes back a minute", async (world) => {
  // For less than a minute there is no evidence: it waits for openUntil as it is.
  const breaker = world.breaker(TRIP);
  await fail(breaker);
  await world.sync();
  jump(world, -60_000);
  const error = await assertRejects(() => breaker.call(() => 1), CircuitBreakerOpenError);
  assertEquals(error.retryAfterMs, 120_000);
  world.clock.advance(120_000);
  assertEquals(await admits(breaker), true);
});
