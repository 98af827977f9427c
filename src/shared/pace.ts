/**
 * The pace of an isolate: how much less often than configured it asks the store about a circuit, where
 * its fleet is so large that the store would have more to do than it should. Pure functions of data.
 *
 * @module
 */

import type { Snapshot } from "../contract.ts";
import type { CircuitPolicyData } from "../rules/policy.ts";

/** The options that a pace stretches. Where there is none, they are the policy's. */
export type Intervals = Pick<
  CircuitPolicyData,
  "flushSize" | "flushIntervalMs" | "revalidateMs" | "windowMs"
>;

/** The intervals of an isolate that holds back, as drawn for the next request. */
export interface Pace extends Intervals {
  /** By how much the configured intervals are multiplied, before the draw. More than 1. */
  readonly ratio: number;
  /** Until when nothing is learnt that is the effect of this pace, on the store's clock in ms. */
  readonly until: number;
  /** How long after a cooldown the first `acquire` waits, in ms. */
  readonly askMs: number;
}

/** The longest an interval gets, before the draw, as a share of how old a view may be. */
const LONGEST = 0.6;

/** A draw multiplies by this at least, and by one more at most. */
const LEAST_DRAWN = 0.5;

/** The ratio becomes no less than this share of itself at once: a store may have lost count. */
const SLOWEST = 0.5;

/**
 * Returns the pace of an isolate that has heard how many requests a second the circuit takes; `null` if
 * the configured intervals will do, as in all but large fleets. The ratio by which they are too many
 * multiplies the isolate's own present pace, and each interval is drawn between half and one and a half
 * of what that gives: without the draw, the fleet moves in step, and swings between all and nothing.
 *
 * @param pace The present pace.
 * @param s The answer.
 * @param random Returns a number from 0, below 1. Not called where the result is `null`.
 */
export function paceAfter(
  pace: Pace | null,
  s: Snapshot,
  policy: CircuitPolicyData,
  random: () => number,
): Pace | null {
  const { requestsPerSecond = 0, now, state } = s;
  const busy = requestsPerSecond / policy.maxRequestsPerSecond;
  if (pace === null && busy <= 1) return null;
  const staleMs = longestMs(policy);
  // A moment further off was set by a clock that has since gone back.
  if (pace !== null && now < pace.until && pace.until - now <= staleMs) return pace;
  // Isolates that ask for a slot are not counted: that few are heard of does not mean that few are there.
  const least = state === "HALF_OPEN" ? 1 : SLOWEST;
  const { flushSize, flushIntervalMs, revalidateMs, windowMs } = policy;
  const most = LONGEST * staleMs / Math.max(1, Math.min(flushIntervalMs, revalidateMs));
  const ratio = Math.min(most, (pace?.ratio ?? 1) * Math.max(least, busy));
  if (!(ratio > 1)) return null;
  const drawn = random();
  const stretch = (ms: number) =>
    Math.max(ms, Math.min(ratio * ms, LONGEST * staleMs) * (LEAST_DRAWN + drawn));
  const refreshMs = stretch(revalidateMs);
  return {
    ratio,
    until: now + Math.min(refreshMs, staleMs),
    // From the beginning on: the earliest of many is early all the same.
    askMs: Math.min(ratio * revalidateMs, LONGEST * staleMs) * drawn,
    flushSize: Math.max(flushSize, flushSize * ratio * (LEAST_DRAWN + drawn)),
    flushIntervalMs: stretch(flushIntervalMs),
    revalidateMs: refreshMs,
    windowMs,
  };
}

/** Returns how old a view may be that calls go by, in ms. */
export function longestMs({ maxStalenessMs, cooldownMs }: CircuitPolicyData): number {
  return typeof cooldownMs === "number" ? Math.min(maxStalenessMs, cooldownMs) : maxStalenessMs;
}
