/**
 * Traps 1 to 5 over isolates: late results.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { CircuitOptions } from "@fuse/edge";
import { begin, turn } from "./setups.ts";
import { callers, type SharedWorld, type Trap, underWay } from "./shared_world.ts";

const TRIP: CircuitOptions = { failureThreshold: 1, successThreshold: 1, cooldownMs: 60_000 };

export const LATE: readonly Trap[] = [
  ...(["known", "new"] as const).flatMap((age) =>
    (["fail", "succeed"] as const).map((ending): Trap => ({
      // Traps 1 and 2: an old failure reopens nothing, an old success closes nothing.
      name: `CircuitBreaker() follows its trial when 200 calls of a ${age} circuit ${ending} late`,
      run: (world) => lateCalls(world, age, ending),
    }))
  ),
  {
    name: "CircuitBreaker() stays closed when an old trial fails after a manual close",
    async run(world) {
      // Trap 3: every manual action starts a generation.
      const isolates = world.join(TRIP);
      await world.trip(isolates[0]!);
      world.clock.advance(60_000);
      const trial = await begin(isolates[1]!.breaker);
      assert(trial.admitted);
      await isolates[5]!.breaker.reset();
      const calls = await callers(isolates.slice(2), 10, (breaker) => breaker.tryCall(turn));
      await trial.fail();
      await world.flush();
      const { state, generation, consecutiveFailures, totals } = await world.stored();
      assertEquals([state, generation, consecutiveFailures], ["CLOSED", 4, 0]);
      // An eventual isolate may refuse until it has learned of the close: no call may run
      // uncounted.
      const ran = calls.filter(({ ok }) => ok).length;
      const rejected = calls.length - ran;
      assertEquals(totals, { successes: ran, failures: 2, rejected, slow: 0 });
      await world.assertMoves("opened", "half_opened");
      assertEquals(world.heard("reset").length, 1);
    },
  },
  {
    name:
      "CircuitBreaker() frees no slot of this half-open state when a trial of the previous one ends",
    async run(world) {
      // Trap 4: slots are tokens, not a counter.
      const isolates = world.join({
        ...TRIP,
        halfOpenMaxConcurrent: 2,
        successThreshold: 2,
        // The old trial's lease would last: its generation is over.
        halfOpenLeaseMs: 600_000,
      });
      await world.trip(isolates[0]!);
      world.clock.advance(60_000);
      const [old, failing] = [await begin(isolates[1]!.breaker), await begin(isolates[2]!.breaker)];
      assert(old.admitted && failing.admitted);
      await failing.fail();
      world.clock.advance(60_000);
      const trials = [await begin(isolates[3]!.breaker), await begin(isolates[4]!.breaker)];
      assert(trials.every(({ admitted }) => admitted));
      await old.succeed();
      await world.flush();
      assertEquals((await world.stored()).halfOpen.inFlight, 2);
      // All refusals that an isolate remembers have expired.
      world.clock.advance(2_000);
      const calls = await callers(isolates, 25, (breaker) => begin(breaker));
      assertEquals(calls.filter(({ admitted }) => admitted).length, 0);
      for (const trial of trials) await trial.succeed();
      await world.assertMoves("opened", "half_opened", "opened", "half_opened", "closed");
    },
  },
  {
    name: "CircuitBreaker() keeps openUntil when 200 late responses ask for more",
    async run(world) {
      // Trap 5: fixed at the trip.
      const isolates = world.join(TRIP);
      await world.acquaint();
      const late = await underWay(isolates, 25);
      const { openUntil, openedAt } = await world.trip(isolates[0]!);
      world.clock.advance(30_000);
      const headers = { "retry-after": "300" };
      await Promise.all(
        late.map((call) => call.succeed(new Response(null, { status: 503, headers }))),
      );
      await world.sync();
      const stored = await world.stored();
      assertEquals([stored.openUntil, stored.openedAt], [openUntil, openedAt]);
      assertEquals([stored.state, stored.totals.failures], ["OPEN", 201]);
      for (const { breaker } of isolates) {
        assertEquals(breaker.peek().openUntil, new Date(openUntil!));
      }
      world.clock.advance(30_000);
      const calls = await callers(isolates, 10, (breaker) => begin(breaker));
      assertEquals(calls.filter(({ admitted }) => admitted).length, 1);
    },
  },
];

async function lateCalls(
  world: SharedWorld,
  age: "known" | "new",
  ending: "fail" | "succeed",
): Promise<void> {
  const isolates = world.join(TRIP);
  if (age === "known") await world.acquaint();
  const late = await underWay(isolates, 25);
  const { openUntil } = await world.trip(isolates[0]!);

  // While it is open, and while another isolate's trial runs.
  await Promise.all(late.splice(100).map((call) => call[ending]()));
  await world.flush();
  world.clock.advance(60_000);
  const trial = await begin(isolates[1]!.breaker);
  assert(trial.admitted);
  await Promise.all(late.map((call) => call[ending]()));
  await world.flush();

  const stored = await world.stored();
  assertEquals([stored.state, stored.generation, stored.openUntil], ["HALF_OPEN", 3, openUntil]);
  const { inFlight, successes, failures } = stored.halfOpen;
  assertEquals([inFlight, successes, failures], [1, 0, 0]);
  const before = age === "known" ? 1 : 0;
  assertEquals(stored.totals.successes, before + (ending === "succeed" ? 200 : 0));
  assertEquals(stored.totals.failures, 1 + (ending === "fail" ? 200 : 0));

  await trial.succeed();
  await world.flush();
  const { state, consecutiveFailures, window, sinceClosed } = await world.stored();
  assertEquals([state, consecutiveFailures], ["CLOSED", 0]);
  assertEquals([window.failures, sinceClosed.failures], [0, 0]);
  await world.assertMoves("opened", "half_opened", "closed");
}
