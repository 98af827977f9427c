/**
 * The traps of shared state, for any store that isolates share: at least eight isolates, hundreds
 * of concurrent callers, exact counts.
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
import { scaled } from "./scale.ts";
import { type Ground, SharedWorld, type Trap } from "./shared_world.ts";

const TRAPS: readonly Trap[] = [...LATE, ...TRIALS, ...COUNTING, ...STATE, ...OUTAGES];

const BOTH = ["strong", "eventual"] as const;

/** The traps that apply to a store. */
export interface TrapOptions {
  /**
   * Whether each trap runs once, alternating between strong and eventual circuits, because another
   * connection to the same store runs both.
   *
   * @default {false}
   */
  readonly inTurns?: boolean;
  /**
   * The traps that run when the scale is quick, where the same driver has the others elsewhere: the
   * `nth` pair of every `of` pairs. By default each, alternating between strong and eventual
   * circuits.
   */
  readonly quick?: { readonly nth: number; readonly of: number };
}

/** Registers a test for each trap and consistency. */
export function sharedTraps(
  name: string,
  ground: Ground,
  { inTurns = false, quick = { nth: 0, of: 1 } }: TrapOptions = {},
): void {
  for (const [i, { name: promise, run }] of TRAPS.entries()) {
    const turn = BOTH[i % 2]!;
    for (const consistency of inTurns ? [turn] : BOTH) {
      const isQuick = consistency === turn && (i >> 1) % quick.of === quick.nth;
      const ignore = scaled(!isQuick, false);
      const title = `${promise} (${name}, ${consistency})`;
      Deno.test({ name: title, ignore }, async () => {
        const site = await ground.begin();
        try {
          const world = new SharedWorld(site, ground.ways, consistency);
          await run(world).catch((error) => {
            const failed = world.heard("store_error").map(({ operation, error }) =>
              `${operation}: ${error}`
            );
            throw new Error(`${error}\nStore errors: ${failed.join("; ") || "none"}`, {
              cause: error,
            });
          });
          for (const way of ground.ways) way.fault = undefined;
          // The remaining background work belongs to this test.
          await world.flush();
        } finally {
          for (const way of ground.ways) way.fault = undefined;
          await site.end?.();
        }
      });
    }
  }
}
