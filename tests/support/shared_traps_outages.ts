/**
 * Traps 34 to 36 over isolates: the store is unreachable for some of them.
 *
 * @module
 */
import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import type { CircuitOptions } from "@fuse/edge";
import { admits, Boom } from "./setups.ts";
import { callers, ISOLATES, type SharedWorld, type Trap } from "./shared_world.ts";

/**
 * More in a row than the isolates with a store ever have together, in whatever order the failures
 * arrive.
 */
const FAILURES = 50;
const TRIP: CircuitOptions = {
  failureThreshold: FAILURES,
  successThreshold: 1,
  cooldownMs: 60_000,
};

export const OUTAGES: readonly Trap[] = [
  {
    name:
      "CircuitBreaker() protects on its own when the store is gone, and merges when the store is back",
    async run(world) {
      const isolates = world.join(TRIP, cutOff);
      const [failing, ...others] = isolates;
      await lose(world);
      const [, far] = world.ways;
      const asked = far.requests;

      // Trap 35: protected by its own evidence.
      const refused = [];
      for (let i = 0; i < 2 * FAILURES; i++) {
        const result = await failing!.breaker.tryCall(() => Promise.reject(new Boom()));
        if (!result.ok && result.rejected) refused.push(i);
      }
      assertEquals(refused, Array.from({ length: FAILURES }, (_, i) => i + FAILURES));
      // Trap 34: callers get the call's own result, and its own error.
      await callers(others, 25, async (breaker, i) => {
        const value = i % 2 === 0 ? { i } : new Boom();
        const work = async () => i % 2 === 0 ? await value : await Promise.reject(value);
        const result = await breaker.tryCall(work);
        assertEquals(result.ok, i % 2 === 0);
        assertStrictEquals(result.ok ? result.value : result.error, value);
      });
      // Trap 36: none of all those calls sent a store request.
      assertEquals(far.requests, asked);
      const local = failing!.events.flatMap((e) => "from" in e ? [[e.type, e.local]] : []);
      assertEquals(local, [["opened", true]]);
      await world.assertMoves();

      // Pending requests of other isolates do not come between.
      await world.sync();
      world.ways[1].fault = undefined;
      world.clock.advance(1_000);
      // Those of one isolate go first, so that they are a run.
      await failing!.fuse.flush();
      await regain(world);
      const { state, totals } = await world.stored();
      // Of 25 calls 13 succeed, on 7 isolates; and one to begin with.
      const counted = { successes: 1 + 7 * 13, failures: FAILURES + 7 * 12, rejected: FAILURES };
      assertEquals(totals, { ...counted, slow: 0 });
      // The store has learned its findings: it is open for all, for one cooldown.
      assertEquals(state, "OPEN");
      assertEquals(await admits(failing!.breaker), false);
      assertEquals(await admits(others[0]!.breaker), false);
      world.clock.advance(60_000);
      assertEquals(await admits(failing!.breaker), true);
      await world.assertMoves("opened", "half_opened", "closed");
    },
  },
  {
    name: "CircuitBreaker() opens for isolates that reach the store when others do not",
    async run(world) {
      const isolates = world.join(TRIP, cutOff);
      await lose(world);
      const [gone, well] = [isolates.slice(0, 4), isolates.slice(4)];
      await callers(well, 25, (breaker) => breaker.tryCall(() => Promise.reject(new Boom())));
      await world.flush();
      assertEquals((await world.stored()).state, "OPEN");
      // Others may have been answered before that.
      await Promise.all(well.map(({ breaker }) => breaker.getState()));
      assertEquals(
        await Promise.all(well.map(({ breaker }) => admits(breaker))),
        Array(4).fill(false),
      );
      // They cannot know, and their upstream works for them.
      const calls = await callers(gone, 25, (breaker) => breaker.tryCall(() => "ran"));
      assert(calls.every(({ ok }) => ok));
      await regain(world);
      // Outcomes that ended meanwhile add to totals only, and all isolates follow the store.
      const { state, totals, consecutiveFailures } = await world.stored();
      assertEquals([state, totals.successes], ["OPEN", 1 + 100]);
      assert(consecutiveFailures >= FAILURES);
      const after = await Promise.all(isolates.map(({ breaker }) => admits(breaker)));
      assertEquals(after, Array(ISOLATES).fill(false));
      await world.assertMoves("opened");
    },
  },
];

/** The first four use the failing connection. */
function cutOff(i: number): { way: 0 | 1 } {
  return { way: i < 4 ? 1 : 0 };
}

/** All isolates know the circuit; then some lose the store, and detect it. */
async function lose(world: SharedWorld): Promise<void> {
  await world.acquaint();
  world.ways[1].fault = () => "refuse";
  await world.sync();
}

/** Restores the store, and lets the back-off pass. */
async function regain(world: SharedWorld): Promise<void> {
  world.ways[1].fault = undefined;
  // The first interval; no isolate has tried since.
  world.clock.advance(1_000);
  await world.sync();
}
