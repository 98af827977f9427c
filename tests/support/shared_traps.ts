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

/** Registers a test for each trap and consistency. */
export function sharedTraps(name: string, ground: Ground): void {
  for (const trap of TRAPS) {
    for (const consistency of ["strong", "eventual"] as const) {
      if (trap.only !== undefined && trap.only !== consistency) continue;
      Deno.test(`${trap.name} (${name}, ${consistency})`, async () => {
        const site = await ground.begin();
        try {
          const world = new SharedWorld(site, ground.ways, consistency);
          await trap.run(world);
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
