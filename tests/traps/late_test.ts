// Traps 1 to 6: late results. Rule 5: an outcome counts in the generation of its admission.
import { assert, assertEquals } from "@std/assert";
import type { CircuitBreaker, CircuitOptions } from "@fuse/edge";
import { begin, fail, onEverySetup, succeed, type World } from "../support/setups.ts";

const TRIP: CircuitOptions = { failureThreshold: 1, successThreshold: 1, cooldownMs: 1_000 };

/** `true` if the store knew the circuit when the late call was admitted. */
const AGES = ["known", "new"] as const;

for (const age of AGES) {
  onEverySetup(
    `CircuitBreaker() stays half-open when a call of a ${age} circuit fails late`,
    async (
      world,
    ) => {
      // Trap 1.
      const { late, here } = await lateCall(world, age);
      await trip(world, here);
      world.clock.advance(1_000);
      const trial = await begin(here);
      await late.fail();
      await world.sync();
      assertEquals(await here.getState(), "HALF_OPEN");
      await trial.succeed();
      await world.sync();
      assertEquals(world.moves(), ["opened", "half_opened", "closed"]);
    },
  );

  onEverySetup(
    `CircuitBreaker() stays half-open when a call of a ${age} circuit succeeds late`,
    async (
      world,
    ) => {
      // Trap 2.
      const { late, here } = await lateCall(world, age);
      await trip(world, here);
      world.clock.advance(1_000);
      assert((await begin(here)).admitted);
      await late.succeed();
      await world.sync();
      assertEquals(world.stored().state, "HALF_OPEN");
      assertEquals(world.stored().halfOpen.successes, 0);
    },
  );

  onEverySetup(`CircuitBreaker() stays open when a call of a ${age} circuit succeeds late`, async (
    world,
  ) => {
    // Trap 2: over isolates.
    const { late, here } = await lateCall(world, age);
    await trip(world, here);
    const { openUntil } = world.stored();
    world.clock.advance(500);
    await late.succeed();
    await world.sync();
    assertEquals([world.stored().state, world.stored().openUntil], ["OPEN", openUntil]);
  });

  onEverySetup(
    `CircuitBreaker() does not lengthen a run when a call of a ${age} circuit fails late`,
    async (
      world,
    ) => {
      // Rule 5: after opening and closing, an old failure belongs to no generation.
      const { late, here } = await lateCall(world, age);
      await trip(world, here);
      world.clock.advance(1_000);
      await succeed(here);
      await world.sync();
      await late.fail();
      await world.sync();
      const { state, consecutiveFailures, window, sinceClosed } = world.stored();
      assertEquals([state, consecutiveFailures], ["CLOSED", 0]);
      assertEquals([window.failures, sinceClosed.failures], [0, 0]);
    },
  );
}

onEverySetup("CircuitBreaker() adds a late outcome to totals and marks its event as late", async (
  world,
) => {
  // Rule 5.
  const { late, here } = await lateCall(world, "known");
  await trip(world, here);
  const before = world.stored().totals.failures;
  await late.fail();
  await world.sync();
  assertEquals(world.stored().totals.failures, before + 1);
  const endings = world.events.filter(({ type }) => type === "failure" || type === "success");
  assertEquals(endings.map((event) => "late" in event && event.late === true), [
    false,
    false,
    true,
  ]);
});

onEverySetup("CircuitBreaker() keeps openUntil when a late response asks for more", async (
  world,
) => {
  // Trap 5: fixed at the trip.
  const { late, here } = await lateCall(world, "known");
  await trip(world, here);
  const { openUntil } = world.stored();
  world.clock.advance(900);
  await late.succeed(new Response(null, { status: 503, headers: { "retry-after": "300" } }));
  await world.sync();
  assertEquals(world.stored().openUntil, openUntil);
  assertEquals((await here.snapshot()).openUntil, new Date(openUntil!));
});

const ACTIONS: Record<string, (breaker: CircuitBreaker) => Promise<void>> = {
  reset: (breaker) => breaker.reset(),
  forceClose: (breaker) => breaker.forceClose(),
  forceOpen: (breaker) => breaker.forceOpen(),
  disable: (breaker) => breaker.disable(),
  metricsOnly: (breaker) => breaker.metricsOnly(),
  "forceClose and release": async (breaker) => {
    await breaker.forceClose();
    await breaker.release();
  },
};

for (const [name, act] of Object.entries(ACTIONS)) {
  for (const ending of ["succeed", "fail"] as const) {
    onEverySetup(`CircuitBreaker() follows ${name} when an old trial ends by ${ending}`, async (
      world,
    ) => {
      // Trap 3: every manual action starts a generation.
      const { make } = world.isolate();
      const breaker = make(TRIP);
      await trip(world, breaker);
      world.clock.advance(1_000);
      const trial = await begin(breaker);
      await act(breaker);
      const { state, generation } = world.stored();
      await trial[ending]();
      await world.sync();
      assertEquals(world.moves(), ["opened", "half_opened"]);
      assertEquals([world.stored().state, world.stored().generation], [state, generation]);
      assertEquals(world.stored().halfOpen.successes + world.stored().halfOpen.failures, 0);
    });
  }
}

onEverySetup("CircuitBreaker() frees no slot for a trial of the last half-open", async (
  world,
) => {
  // Trap 4: slots are tokens, not a counter.
  const options = { ...TRIP, halfOpenMaxConcurrent: 2, successThreshold: 2 };
  const [here, there] = [world.breaker(options), world.breaker(options)];
  await trip(world, here);
  world.clock.advance(1_000);
  const [old, failing] = [await begin(here), await begin(here)];
  await failing.fail();
  await world.sync();
  world.clock.advance(1_000);
  assert((await begin(here)).admitted && (await begin(there)).admitted);
  await world.sync();
  await old.succeed();
  await world.sync();
  assertEquals(world.stored().halfOpen.inFlight, 2);
  assertEquals((await begin(there)).admitted, false);
});

onEverySetup("CircuitBreaker() counts a call once, in the segment in which it ends", async (
  world,
) => {
  // Trap 6: never more failures than calls.
  const breaker = world.breaker({ ...TRIP, failureThreshold: 9, windowMs: 1_000 });
  await succeed(breaker);
  const call = await begin(breaker);
  world.clock.advance(1_000);
  await call.fail();
  await world.sync();
  const { window, failureRate } = await breaker.getMetrics();
  assertEquals(window, { calls: 1, successes: 0, failures: 1, slow: 0 });
  assertEquals(failureRate, 100);
});

/** A call that runs while its circuit changes, on one isolate; `here` is another's handle. */
async function lateCall(world: World, age: typeof AGES[number]) {
  const [here, there] = [world.breaker(TRIP), world.breaker(TRIP)];
  if (age === "known") await succeed(here);
  await world.sync();
  return { here, late: await begin(there) };
}

async function trip(world: World, breaker: CircuitBreaker): Promise<void> {
  await fail(breaker);
  await world.sync();
  assertEquals(world.stored().state, "OPEN");
}
