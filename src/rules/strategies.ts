/**
 * Strategies, which decide when to open: pure functions of counters. Sliding-window variants follow
 * resilience4j's names.
 *
 * @module
 */

import { answerOf } from "../checks.ts";
import type { Snapshot } from "../contract.ts";

/** Calls by their outcome. */
export interface Counts {
  /** The number of ended calls, `successes + failures`. */
  readonly calls: number;
  /** The number of successes. */
  readonly successes: number;
  /** The number of failures. */
  readonly failures: number;
  /** The number of calls that took `slowCallMs` or longer. */
  readonly slow: number;
}

/** The counters that a strategy decides on. */
export interface StrategyMetrics {
  /** Failures since the last success. */
  readonly consecutiveFailures: number;
  /** Successes since the last failure. */
  readonly consecutiveSuccesses: number;
  /** Counts over the last `windowMs`. */
  readonly window: Counts;
  /** Counts since the circuit last closed, or was reset or overridden. */
  readonly sinceClosed: Counts;
}

/** The numbers of a policy that strategies decide by. */
export interface Policy {
  /** The number of failures in a row that open. */
  readonly failureThreshold: number;
  /** The share that opens, in percent. */
  readonly percentageThreshold: number;
  /** The number of calls below which no share opens. */
  readonly minimumThroughput: number;
  /** Length of the time window, in ms. */
  readonly windowMs: number;
  /** Length of the count window, in calls. */
  readonly windowSize: number;
}

/**
 * The names of the built-in strategies. A share opens at `percentageThreshold` percent, from
 * `minimumThroughput` calls on.
 *
 * - `consecutive_failures`: `failureThreshold` calls failed in a row.
 * - `percentage_failures`: share of failures among all calls since the circuit last closed.
 * - `rolling_window`: share of failures among the calls of the last `windowMs`.
 * - `count_window`: share of failures among the last `windowSize` calls.
 * - `slow_calls`: share of calls within `windowMs` that took `slowCallMs` or longer; a slow trial counts
 *   as failed.
 */
export type StrategyName =
  | "consecutive_failures"
  | "percentage_failures"
  | "rolling_window"
  | "slow_calls"
  | "count_window";

/**
 * Returns `true` if a CLOSED circuit should open. Called after everything that is recorded, which may be
 * several outcomes: counters jump. Must be pure and monotone: if it opens at some number of failures, it
 * opens at each larger one. If it throws, the circuit stays closed, and `listener_error` reports it.
 */
export type Strategy = (metrics: StrategyMetrics, policy: Policy) => boolean;

/** A built-in strategy, a name registered in `createFuse({ strategies })`, or a function. */
export type StrategyOption = StrategyName | (string & Record<never, never>) | Strategy;

/** A strategy as the machine calls it. */
export interface Rule {
  /** The reason given for a trip by this strategy. */
  readonly name: string;
  /** Identifies the strategy in comparisons; all inline functions compare alike. */
  readonly id: string;
  /** The function behind it. */
  readonly of: unknown;
  opens(snapshot: Snapshot, policy: Policy): boolean;
}

/** Compares the share without dividing: `failures / calls >= threshold / 100`. */
function reaches(part: number, calls: number, policy: Policy): boolean {
  return calls >= policy.minimumThroughput && part * 100 >= policy.percentageThreshold * calls;
}

/** The built-in strategies by name. */
export const BUILT_IN: Readonly<Record<StrategyName, Rule["opens"]>> = {
  consecutive_failures: (s, policy) => s.consecutiveFailures >= policy.failureThreshold,
  percentage_failures: ({ sinceClosed: { successes, failures } }, policy) =>
    reaches(failures, successes + failures, policy),
  rolling_window: ({ window: { successes, failures } }, policy) =>
    reaches(failures, successes + failures, policy),
  slow_calls: ({ window: { successes, failures, slow } }, policy) =>
    reaches(slow, successes + failures, policy),
  // Where pending outcomes are laid over, a full window is longer than it can be.
  count_window: ({ last: { size, failures } }, policy) =>
    reaches(failures, Math.min(size, policy.windowSize), policy),
};

/** Returns a user's strategy as a rule; one that throws is reported and opens nothing. */
export function customRule(
  name: string,
  id: string,
  strategy: Strategy,
  report: (type: string, error: unknown) => void,
): Rule {
  return {
    // Stores keep the name as a reason, without halves of surrogate pairs.
    name: name.toWellFormed(),
    id,
    of: strategy,
    opens(snapshot, policy) {
      try {
        return answerOf("strategy", strategy(strategyMetrics(snapshot), policy)) === true;
      } catch (error) {
        report("strategy", error);
        return false;
      }
    },
  };
}

/** Returns a Snapshot in the form for a custom strategy. */
export function strategyMetrics(s: Snapshot): StrategyMetrics {
  return {
    consecutiveFailures: s.consecutiveFailures,
    consecutiveSuccesses: s.consecutiveSuccesses,
    window: counts(s.window),
    sinceClosed: counts(s.sinceClosed),
  };
}

/** Adds up the calls. */
export function counts(
  { successes, failures, slow }: { successes: number; failures: number; slow: number },
): Counts {
  return { calls: successes + failures, successes, failures, slow };
}
