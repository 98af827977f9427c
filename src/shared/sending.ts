/**
 * When gathered outcomes are sent to the store: at the end of a call, if that is the moment.
 *
 * @module
 */

import type { Driver, Snapshot } from "../contract.ts";
import { type Admission, isLate, together } from "../records.ts";
import { verdict } from "../rules/machine.ts";
import type { CircuitPolicyData } from "../rules/policy.ts";
import { overlay } from "../rules/snapshot.ts";
import { segmentMs } from "../rules/window.ts";
import type { Intervals } from "./pace.ts";
import type { PendingTallies, PendingTally } from "./pending.ts";
import type { View } from "./view.ts";

/** The facts that the decision depends on. */
export interface Sending {
  readonly pending: PendingTallies;
  readonly view: View;
  readonly policy: CircuitPolicyData;
  /** The policy, or the intervals of an isolate that holds back. */
  readonly intervals: Intervals;
  /** How long a request may be under way, in ms. */
  readonly timeoutMs: number;
  /** `true` if successes are sent as soon as none is under way. Meanwhile they gather. */
  readonly prompt: boolean;
}

/** Returns `true` if the end of a call is the moment to send. */
export function wantsSending(
  { pending, view, policy, intervals, timeoutMs, prompt }: Sending,
  now: number,
): boolean {
  if (pending.countWaiting(now, timeoutMs) > 0) return true;
  const tally = pending.gathering;
  if (tally === null) return false;
  if (prompt) return !pending.successesUnderWay;
  const { successes, failures, firstAt } = tally;
  if (isDue(successes + failures, now - firstAt, intervals)) return true;
  const s = view.current(now);
  if (s === null) return true;
  // A success under way resets the run of failures, and its answer renews the view.
  if (pending.successesUnderWay) return false;
  return isWorthAsking(s, view, intervals, now) || completesVerdict(tally, s, policy);
}

/**
 * Adds a success to the gathered tally where that is all there is to do, as after nearly every call.
 * Returns `false`, having done nothing, where `wantsSending` may be `true` afterwards.
 */
export function joinSuccess(
  { pending, view, policy, intervals, timeoutMs }: Sending,
  under: Admission,
  now: number,
): boolean {
  if (policy.judgesSuccesses) return false;
  const tally = pending.joinable(under, now, segmentMs(policy.windowMs), timeoutMs);
  const s = view.current(now);
  if (tally === null || s === null) return false;
  if (isDue(tally.successes + 1, now - tally.firstAt, intervals)) return false;
  if (!pending.successesUnderWay && isWorthAsking(s, view, intervals, now)) return false;
  tally.successes++;
  tally.lastAt = now;
  return true;
}

/** Returns `true` if a tally is large or old enough to be sent. */
function isDue(outcomes: number, waitedMs: number, intervals: Intervals): boolean {
  const { flushSize, flushIntervalMs, windowMs } = intervals;
  return outcomes >= flushSize || waitedMs < 0 ||
    waitedMs >= Math.min(flushIntervalMs, segmentMs(windowMs));
}

/** Returns `true` if the answer is wanted: it ends a run of failures, or renews the view. */
function isWorthAsking(
  s: Snapshot,
  view: View,
  { revalidateMs }: Intervals,
  now: number,
): boolean {
  return s.consecutiveFailures > 0 || view.isOlderThan(revalidateMs, now);
}

/** Returns `true` if the gathered outcomes, all of them successes, make a verdict due. */
function completesVerdict(tally: PendingTally, s: Snapshot, policy: CircuitPolicyData): boolean {
  return policy.judgesSuccesses && !isLate(tally, s) &&
    verdict(overlay(s, { ...tally, current: true }), policy) !== null;
}

/** Sends one after the other: in one trip, where the driver can, and by turns elsewhere. */
export async function sendInOrder(
  driver: Driver,
  sends: readonly (() => Promise<unknown>)[],
): Promise<void> {
  if (driver.together !== undefined) {
    await Promise.all(together(driver, () => sends.map((send) => send())));
  } else for (const send of sends) await send();
}
