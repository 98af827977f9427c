/**
 * The traps of shared state, for any store that isolates share: at least eight isolates, hundreds of
 * callers at once, exact counts.
 *
 * ```ts ignore
 * sharedTraps("Redis", { ways, begin: () => ({ store: ({ clock, way }) => …, wipe }) });
 * ```
 *
 * @module
 */
import { COUNTING } from "./shared_traps_counting.ts";
import { LATE } from "./shared_traps_late.ts";
import { OUTAGES } from "./shared_traps_outages.ts";
import { STATE } from "./shared_traps_state.ts";
import { TRIALS } from "./shared_traps_trials.ts";
import { type Ground, SharedWorld, type Trap } from "./shared_world.ts";

const TRAPS: readonly Trap[] = [...LATE, ...TRIALS, ...COUNTING, ...STATE, ...OUTAGES];

/**
 * Registers a test for each trap and consistency; `inTurns`: for each trap one, strong and eventual in
 * turns, where the same store has had both by another way.
 */
export function sharedTraps(name: string, ground: Ground, { inTurns = false } = {}): void {
  for (const [i, { name: promise, run }] of TRAPS.entries()) {
    const both = ["strong", "eventual"] as const;
    for (const consistency of inTurns ? [both[i % 2]!] : both) {
      Deno.test(`${promise} (${name}, ${consistency})`, async () => {
        const site = await ground.begin();
        try {
          const world = new SharedWorld(site, ground.ways, consistency);
          await run(world);
          for (const way of ground.ways) way.fault = undefined;
          // What still goes on in the background is this test's.
          await world.flush();
        } finally {
          for (const way of ground.ways) way.fault = undefined;
          await site.end?.();
        }
      });
    }
  }
}
