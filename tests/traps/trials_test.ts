// Traps 7 to 12: half-open. The limit itself and the leases are in rules/transitions_test.ts.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { CircuitBreakerOpenError, type CircuitOptions } from "@fuse/edge";
import { admits, begin, fail, onEverySetup, succeed, type World } from "../support/setups.ts";

const TRIP: CircuitOptions = {
  failureThreshold: 1,
  successThreshold: 1,
  cooldownMs: 1_000,
  halfOpenLeaseMs: 5_000,
};

async function halfOpen(world: World, options: CircuitOptions = TRIP) {
  const breaker = world.breaker(options);
  await fail(breaker);
  await world.sync();
  world.clock.advance(1_000);
  return breaker;
}

onEverySetup("admit() returns the slot after halfOpenLeaseMs without a settlement", async (
  world,
) => {
  // Trap 7: a permit that is never settled blocks nothing.
  const breaker = await halfOpen(world);
  const forgotten = await breaker.admit();
  await world.sync();
  const { retryAfterMs } = await assertRejects(() => breaker.admit(), CircuitBreakerOpenError);
  assertEquals(retryAfterMs, 1_000);
  world.clock.advance(5_000);
  const permit = await breaker.admit();
  await permit.success();
  await world.sync();
  assertEquals(world.stored().state, "CLOSED");
  // Its generation is over by now.
  await forgotten.failure();
  await world.sync();
  assertEquals([world.stored().state, world.stored().consecutiveFailures], ["CLOSED", 0]);
});

onEverySetup(
  "admit() leaves nothing behind when a closed circuit's permit is never settled",
  async (
    world,
  ) => {
    // Trap 7.
    const breaker = world.breaker(TRIP);
    for (let i = 0; i < 100; i++) await breaker.admit();
    await succeed(breaker);
    await world.sync();
    const { totals, state } = world.stored();
    assertEquals([state, totals.successes, totals.failures], ["CLOSED", 1, 0]);
  },
);

onEverySetup("CircuitBreaker() rejects callers immediately while a trial runs", async (world) => {
  // Trap 8: none of them waits for its outcome.
  const breaker = await halfOpen(world);
  const trial = await begin(breaker);
  const results = await Promise.all(
    Array.from({ length: 50 }, () => breaker.tryCall(() => "ran")),
  );
  assert(results.every((result) => !result.ok && result.rejected));
  await trial.succeed();
  await world.sync();
  assertEquals(world.moves(), ["opened", "half_opened", "closed"]);
  assertEquals(world.stored().totals, { successes: 1, failures: 1, rejected: 50, slow: 0 });
});

onEverySetup("CircuitBreaker() frees a trial's slot only by its lease when an isolate dies", async (
  world,
) => {
  // Traps 7 and 9: another isolate takes over once the lease has expired.
  const dying = world.isolate().make(TRIP);
  const others = [world.breaker(TRIP), world.breaker(TRIP)] as const;
  await fail(dying);
  await world.sync();
  world.clock.advance(1_000);
  assert((await begin(dying)).admitted);
  await world.sync();
  assertEquals(await Promise.all(others.map(admits)), [false, false]);
  world.clock.advance(5_000);
  const calls = await Promise.all(others.map((breaker) => begin(breaker)));
  assertEquals(calls.filter(({ admitted }) => admitted).length, 1);
});

const NEUTRAL: Record<string, CircuitOptions["ignore"] | "abort" | "inner"> = {
  "is ignored": [RangeError],
  "is given up by its caller": "abort",
  "is rejected by a breaker further in": "inner",
};

for (const [what, how] of Object.entries(NEUTRAL)) {
  onEverySetup(
    `CircuitBreaker() neither closes nor reopens when a trial ${what}`,
    async (world) => {
      // Trap 11.
      const ignore = Array.isArray(how) ? how : undefined;
      const breaker = await halfOpen(world, { ...TRIP, ignore });
      const inner = world.isolate().make({}, "inner");
      await inner.forceOpen();
      const controller = new AbortController();
      const trial = breaker.tryCall(() => {
        if (how === "inner") return inner.call(() => 1);
        if (how !== "abort") throw new RangeError();
        controller.abort();
        return Promise.reject(new Error("some other error"));
      }, { signal: controller.signal });
      assertEquals((await trial).ok, false);
      await world.sync();
      const { state, halfOpen: { inFlight, successes, failures } } = world.stored();
      assertEquals([state, inFlight, successes, failures], ["HALF_OPEN", 0, 0, 0]);
      assertEquals(await admits(breaker), true);
      await world.sync();
      assertEquals(world.stored().state, "CLOSED");
    },
  );
}

onEverySetup("admit() returns the slot when its permit is disposed unsettled", async (world) => {
  // Trap 11, rule 15.
  const breaker = await halfOpen(world);
  {
    await using _permit = await breaker.admit();
    assertEquals(world.stored().halfOpen.inFlight, 1);
  }
  await world.sync();
  assertEquals(world.stored().halfOpen.inFlight, 0);
  assertEquals(world.stored().state, "HALF_OPEN");
});

onEverySetup("CircuitBreaker() leaves half-open when success and failure alternate", async (
  world,
) => {
  // Trap 12: one failure is enough, and the strategy of the closed state does not run.
  const breaker = world.breaker({
    strategy: "percentage_failures",
    percentageThreshold: 60,
    minimumThroughput: 2,
    successThreshold: 2,
    cooldownMs: 1_000,
  });
  await fail(breaker, 2);
  await world.sync();
  for (let round = 0; round < 3; round++) {
    world.clock.advance(1_000);
    await succeed(breaker);
    await fail(breaker);
    await world.sync();
    assertEquals(world.stored().state, "OPEN");
  }
});
