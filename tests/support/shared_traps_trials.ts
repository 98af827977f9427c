/**
 * Traps 7 to 10 over isolates: half-open.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { CircuitOptions } from "@fuse/edge";
import { begin } from "./setups.ts";
import { callers, type Trap } from "./shared_world.ts";

const TRIP: CircuitOptions = { failureThreshold: 1, successThreshold: 1, cooldownMs: 60_000 };

export const TRIALS: readonly Trap[] = [
  {
    name: "CircuitBreaker() gives the slot to one other trial when an isolate dies during its own",
    async run(world) {
      // Trap 7: a lease ends by itself.
      const [dying, ...others] = world.join({ ...TRIP, halfOpenLeaseMs: 5_000 });
      await world.trip(dying!);
      world.clock.advance(60_000);
      const hung = await begin(dying!.breaker);
      assert(hung.admitted);
      world.clock.advance(4_999);
      const before = await callers(others, 25, (breaker) => begin(breaker));
      assertEquals(before.filter(({ admitted }) => admitted).length, 0);
      world.clock.advance(1);
      const after = await callers(others, 25, (breaker) => begin(breaker));
      const trials = after.filter(({ admitted }) => admitted);
      assertEquals(trials.length, 1);
      // The dead isolate's outcome arrives after the transition, and belongs to no generation.
      await trials[0]!.succeed();
      await hung.fail();
      await world.flush();
      const { state, consecutiveFailures } = await world.stored();
      assertEquals([state, consecutiveFailures], ["CLOSED", 0]);
      await world.assertMoves("opened", "half_opened", "closed");
    },
  },
  {
    name: "CircuitBreaker() rejects 400 concurrent callers while a trial runs, each once",
    async run(world) {
      // Trap 8: no call waits for the transition, and none is released by it.
      const isolates = world.join(TRIP);
      await world.trip(isolates[0]!);
      world.clock.advance(60_000);
      const trial = await begin(isolates[0]!.breaker);
      let ran = 0;
      const attempt = () => callers(isolates, 50, (breaker) => breaker.tryCall(() => void ran++));
      // They are answered while the trial runs, or this never ends.
      const during = await attempt();
      assert(during.every((result) => !result.ok && result.rejected));
      assertEquals(ran, 0);
      // Other calls come just when the transition is made: each runs once, or is rejected.
      const [, racing] = await Promise.all([trial.succeed(), attempt()]);
      const rejected = racing.filter(({ ok }) => !ok).length;
      assertEquals(ran + rejected, 400);
      await world.flush();
      const { state, totals } = await world.stored();
      assertEquals(state, "CLOSED");
      assertEquals(totals, {
        successes: 1 + ran,
        failures: 1,
        rejected: 400 + rejected,
        slow: 0,
      });
      await world.assertMoves("opened", "half_opened", "closed");
    },
  },
  ...[1, 3].map((max): Trap => ({
    // Traps 9 and 10: the limit holds over all isolates, and for each call of one.
    name: `CircuitBreaker() runs exactly ${max} of 400 callers when half-open`,
    async run(world) {
      const isolates = world.join({
        ...TRIP,
        halfOpenMaxConcurrent: max,
        successThreshold: max,
      });
      await world.trip(isolates[0]!);
      world.clock.advance(60_000);
      const calls = await callers(isolates, 50, (breaker) => begin(breaker));
      const trials = calls.filter(({ admitted }) => admitted);
      assertEquals(trials.length, max);
      assertEquals((await world.stored()).halfOpen.inFlight, max);
      await Promise.all(trials.map((trial) => trial.succeed()));
      await world.flush();
      const { state, totals, halfOpen } = await world.stored();
      assertEquals([state, halfOpen.inFlight], ["CLOSED", 0]);
      assertEquals(totals, { successes: max, failures: 1, rejected: 400 - max, slow: 0 });
      await world.assertMoves("opened", "half_opened", "closed");
    },
  })),
];
