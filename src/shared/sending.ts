/**
 * When gathered outcomes are sent to the store: at the end of a call, if that is the moment.
 *
 * @module
 */

import type { Driver, Snapshot } from "../contract.ts";
import { type Admission, together } from "../records.ts";
import { verdict } from "../rules/machine.ts";
import type { CircuitPolicyData } from "../rules/policy.ts";
import { segmentMs } from "../rules/window.ts";
import type { Intervals } from "./pace.ts";
import type { Unconfirmed } from "./pending.ts";
import type { View } from "./view.ts";

/** The number of waiting tallies from which each further request helps. */
export const MANY = 16;

/** The facts that the decision depends on. */
export interface Sending {
  readonly pending: Unconfirmed;
  readonly view: View;
  readonly policy: CircuitPolicyData;
  /** The policy, or the intervals of an isolate that holds back. */
  readonly intervals: Intervals;
  /** How long a request may be under way, in ms. */
  readonly timeoutMs: number;
  /** `true` if successes are sent as soon as nothing is under way. Meanwhile they gather. */
  readonly prompt: boolean;
  /** How long a failure waits, in ms: 0, unless this isolate holds back. */
  readonly holdMs: number;
}

/** Returns `true` if this is the moment to send: the end of a call, or of a request. */
export function wantsSending(sending: Sending, now: number): boolean {
  const { pending, view, policy, intervals, timeoutMs, prompt } = sending;
  const waiting = pending.countWaiting(now, timeoutMs);
  const tally = pending.gathering;
  if (prompt) return waiting > 0 || (tally !== null && !pending.underWay);
  // The request that is under way takes along what has come to wait until it is answered.
  if (pending.underWay) return waiting >= MANY || completesVerdict(sending, now);
  const s = view.current(now);
  if (waiting > 0 || pending.gathersFailure) {
    const { failedAt, sentAt } = pending.unsent[0]!;
    const isHeld = sentAt === null && Math.abs(now - failedAt) < sending.holdMs;
    // Where others fail, too, the store must see soon whether it is all of them.
    if (!isHeld || waiting >= MANY || isRun(s, 1, policy)) return true;
  }
  // Rejections alone go along with the next tally, or with a refresh.
  if (tally === null || tally.successes + tally.failures === 0) return false;
  if (isDue(tally.successes + tally.failures, now - tally.firstAt, intervals)) return true;
  return s === null || isWorthAsking(s, sending, now) ||
    (policy.judgesSuccesses && completesVerdict(sending, now));
}

/**
 * Adds a success to the gathered tally if nothing else is to be done, as after nearly every call.
 * Returns `false`, having done nothing, if `wantsSending` may be `true` afterwards.
 */
export function joinSuccess(sending: Sending, under: Admission, now: number): boolean {
  const { pending, view, policy, intervals, timeoutMs } = sending;
  if (policy.judgesSuccesses) return false;
  const tally = pending.joinable(under, now, segmentMs(intervals.windowMs), timeoutMs);
  const s = view.current(now);
  if (tally === null || s === null) return false;
  if (!pending.underWay) {
    if (isDue(tally.successes + 1, now - tally.firstAt, intervals)) return false;
    if (isWorthAsking(s, sending, now)) return false;
  }
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

/**
 * Returns `true` if the answer is wanted: it renews the view, or ends a run of failures that those of other
 * isolates might soon make long enough.
 */
function isWorthAsking(
  s: Snapshot,
  { view, policy, intervals }: Sending,
  now: number,
): boolean {
  return view.isOlderThan(intervals.revalidateMs, now) ||
    isRun(s, policy.failureThreshold / 2, policy) ||
    (policy.opensOnAnything && s.consecutiveFailures > 0);
}

/**
 * Returns `true` if a run of failures is so long that a few more open the circuit. Where it is longer than
 * that, an override keeps the circuit closed, and nothing is urgent.
 */
function isRun(
  s: Snapshot | null,
  least: number,
  { failureThreshold, rules }: CircuitPolicyData,
): boolean {
  const run = s?.consecutiveFailures ?? 0;
  return run >= least && run < failureThreshold &&
    rules.some(({ name }) => name === "consecutive_failures");
}

/** Returns `true` if what waits makes a verdict due, and what is under way does not by itself. */
function completesVerdict({ pending, view, policy }: Sending, now: number): boolean {
  const s = view.current(now);
  return s !== null && verdict(pending.lay(s, 0), policy) !== null &&
    !(pending.underWay && verdict(pending.lay(s, 0, "under way"), policy) !== null);
}

/** Sends requests in order: in one trip if the driver can, otherwise one after the other. */
export async function sendInOrder(
  driver: Driver,
  sends: readonly (() => Promise<unknown>)[],
): Promise<void> {
  if (driver.together !== undefined) {
    await Promise.all(together(driver, () => sends.map((send) => send())));
  } else for (const send of sends) await send();
}
