/**
 * Replays recorded calls through the state machine, at the times of the calls.
 *
 * @module
 */

import { isCircuitBreakerOpenError } from "../errors.ts";
import { createFuse } from "../fuse.ts";
import type { CircuitPolicy } from "../rules/policy.ts";
import { dateOf } from "../rules/snapshot.ts";

/** A call that a trail has recorded. */
export interface RecordedCall {
  /** The time at which it ended, in ms. */
  readonly at: number;
  readonly failed: boolean;
  /** `true` if it was slow under the recorded policy. Its duration is not recorded. */
  readonly slow: boolean;
}

/** A time during which the circuit would not have been closed. */
export interface Opening {
  /** The time at which it would have opened, in ISO 8601. */
  at: string;
  /** The time until it would have closed, in ms, or `null` if the recorded calls end earlier. */
  untilMs: number | null;
  /** The number of recorded calls that it would have rejected. */
  refused: number;
  /** The number of these that had failed. */
  refusedFailures: number;
  /** The number of trials that would have failed. */
  reopened: number;
  /** The strategy that would have opened it. */
  reason: string;
}

/**
 * Replays calls, in the order of their times. A trail records no durations, so each call begins when it
 * ended. Performs no I/O.
 *
 * @throws {RangeError | TypeError} If the policy is not valid, naming the option.
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
  // A slow call takes 1 ms here: only the recorded policy says how long it took.
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
