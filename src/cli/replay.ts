/**
 * Plays recorded calls through the state machine, on a clock that goes by their times.
 *
 * @module
 */

import { isCircuitBreakerOpenError } from "../errors.ts";
import { createFuse } from "../fuse.ts";
import type { CircuitPolicy } from "../rules/policy.ts";
import { dateOf } from "../rules/snapshot.ts";

/** A call that a trail has recorded. */
export interface RecordedCall {
  /** When it ended, in ms. */
  readonly at: number;
  readonly failed: boolean;
  /** `true` if it was slow under the policy of then. Its duration is not recorded. */
  readonly slow: boolean;
}

/** A time during which the circuit would not have been closed. */
export interface Opening {
  /** When it would have opened, in ISO 8601. */
  at: string;
  /** How long it would have taken to close again, in ms; `null`: the recorded calls end before. */
  untilMs: number | null;
  /** How many of the recorded calls it would have refused. */
  refused: number;
  /** How many of those had failed. */
  refusedFailures: number;
  /** How often a trial would have failed. */
  reopened: number;
  /** Which strategy would have opened it. */
  reason: string;
}

/**
 * Replays calls, in the order of their times. Each is taken for one that began when it ended, as a trail
 * does not record durations. Performs no I/O.
 *
 * @throws {RangeError | TypeError} Naming what is wrong in the policy.
 */
export async function replay(
  calls: readonly RecordedCall[],
  policy: CircuitPolicy,
): Promise<Opening[]> {
  let now = calls[0]?.at ?? 0;
  const fuse = createFuse({ clock: () => now });
  const openings: Opening[] = [];
  let open: Opening | null = null;
  fuse.on("opened", ({ from, at, reason }) => {
    if (from === "HALF_OPEN" && open !== null) {
      open.reopened++;
      return;
    }
    const counts = { refused: 0, refusedFailures: 0, reopened: 0 };
    open = { at: dateOf(at.getTime()).toISOString(), untilMs: null, ...counts, reason };
    openings.push(open);
  });
  fuse.on("closed", ({ at }) => {
    if (open !== null) open.untilMs = at.getTime() - Date.parse(open.at);
    open = null;
  });
  // A slow call is one of 1 ms here: under the policy of then it took as long as that says.
  const breaker = fuse.make("what-if", { ...policy, slowCallMs: 1 });
  for (const { at, failed, slow } of calls) {
    now = Math.max(now, at);
    try {
      const permit = await breaker.admit();
      if (slow) now++;
      await (failed ? permit.failure() : permit.success());
    } catch (error) {
      if (!isCircuitBreakerOpenError(error)) throw error;
      const refusing = openings.at(-1)!;
      refusing.refused++;
      if (failed) refusing.refusedFailures++;
    }
  }
  return openings;
}
