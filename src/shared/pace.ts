/**
 * The pace of an isolate: how much less often than configured it asks the store about a circuit, if its
 * fleet is so large that the store would get too many requests. Pure functions of data.
 *
 * @module
 */

import type { Snapshot } from "../contract.ts";
import type { CircuitPolicyData } from "../rules/policy.ts";
import { isUnderWay } from "./deadline.ts";

/** The options that a pace stretches. Without a pace, the policy's apply. */
export type Intervals = Pick<
  CircuitPolicyData,
  "flushSize" | "flushIntervalMs" | "revalidateMs" | "windowMs"
>;

/** The intervals of an isolate that holds back, as drawn for the next request. */
export interface Pace extends Intervals {
  /** The factor of the configured intervals, before the draw. More than 1. */
  readonly ratio: number;
  /** Until when answers do not show the effect of this pace yet, on the store's clock in ms. */
  readonly until: number;
  /**
   * The wait before what any one isolate of the fleet may send for all: the first `acquire` after a
   * cooldown, and a failure. Drawn from 0 on, in ms, so that the first of many isolates is still early.
   * With each further answer before `until`, it is drawn from half of the longest wait on.
   */
  readonly firstMs: number;
}

/** The longest wait, as a share of the greatest age of a view. */
const LONGEST = 0.9;

/** The ratio shrinks to this share of itself at most, since a store may have lost its counts. */
const SLOWEST = 0.5;

/**
 * Returns the pace of an isolate that knows how many requests a second the circuit gets; `null` if the
 * configured intervals suffice, as in all but large fleets. The ratio by which they are too many
 * multiplies the isolate's own present pace, and each interval is drawn between half and one and a half
 * of what that gives: without the draw, the fleet moves in step, and swings between all and nothing.
 *
 * @param pace The present pace.
 * @param s The answer.
 * @param random Returns a number from 0, below 1. Not called if the result is `null`.
 */
export function paceAfter(
  pace: Pace | null,
  s: Snapshot,
  policy: CircuitPolicyData,
  random: () => number,
): Pace | null {
  const { requestsPerSecond = 0, now, state, began } = s;
  const busy = requestsPerSecond / policy.maxRequestsPerSecond;
  // Calls that wait for the store are not delayed further.
  if (policy.consistency === "strong" || (pace === null && busy <= 1)) return null;
  const staleMs = longestMs(policy);
  const { flushSize, flushIntervalMs, revalidateMs, windowMs } = policy;
  const { opensOnAnything, strategy } = policy;
  const longest = (ms: number, ratio: number) => Math.min(1.5 * ratio * ms, LONGEST * staleMs);
  if (pace !== null && isUnderWay(pace.until, now, staleMs)) {
    // An isolate that drew next to nothing would send each failure at once until then.
    return { ...pace, firstMs: longest(revalidateMs, pace.ratio) * (0.5 + random() / 2) };
  }
  // Requests for slots are not counted, so soon after a transition few requests do not mean few isolates.
  const settled = state !== "HALF_OPEN" && now - began >= staleMs;
  const most = staleMs / Math.max(1, Math.min(flushIntervalMs, revalidateMs));
  const ratio = Math.min(most, (pace?.ratio ?? 1) * Math.max(settled ? SLOWEST : 1, busy));
  if (!(ratio > 1)) return null;
  const drawn = random();
  const draw = (ms: number) => {
    const least = Math.min(ratio * ms, staleMs) / 2;
    return Math.max(ms, least + (longest(ms, ratio) - least) * drawn);
  };
  const refreshMs = draw(revalidateMs);
  return {
    ratio,
    until: now + Math.min(refreshMs, staleMs),
    firstMs: longest(revalidateMs, ratio) * drawn,
    flushSize: Math.max(flushSize, ratio * flushSize * (0.5 + drawn)),
    flushIntervalMs: draw(flushIntervalMs),
    revalidateMs: refreshMs,
    // Where no strategy decides by time, outcomes that are far apart may go in one tally.
    windowMs: opensOnAnything || /rolling_window|slow_calls/.test(strategy) ? windowMs : Infinity,
  };
}

/** Returns the sentence that `explain()` adds about a pace. */
export function slowed(ratio: number | undefined): string | undefined {
  if (ratio === undefined) return undefined;
  return `this isolate asks the store ${ratio.toFixed(1)} times less often, its fleet is large`;
}

/** Returns the greatest age of a view that calls may use, in ms. */
export function longestMs({ maxStalenessMs, cooldownMs }: CircuitPolicyData): number {
  return typeof cooldownMs === "number" ? Math.min(maxStalenessMs, cooldownMs) : maxStalenessMs;
}
