/**
 * The strategies as rule 4 defines them.
 *
 * @module
 */

/** The evidence that a strategy of the model may use. */
export interface Evidence {
  readonly run: number;
  readonly sinceClosed: Share;
  readonly window: Share & { readonly slow: number };
  readonly last: Share;
}

/** The number of calls, and of failures among them. */
export interface Share {
  readonly calls: number;
  readonly failures: number;
}

/** Returns whether the evidence opens the circuit. */
export type ModelStrategy = (evidence: Evidence, policy: ModelPolicy) => boolean;

/** The numbers of a circuit, all of them set. */
export interface ModelPolicy {
  readonly strategies: readonly ModelStrategy[];
  /** Whether a slow trial fails: `slow_calls` is among the strategies. */
  readonly slowTrialsFail: boolean;
  /** Whether a strategy looks at the time window. */
  readonly windowed: boolean;
  readonly failureThreshold: number;
  readonly successThreshold: number;
  readonly halfOpenFailureThreshold: number;
  /** 0 if there is none. */
  readonly rampMs: number;
  readonly rampFromPercentage: number;
  readonly cooldownMs: (reopenCount: number) => number;
  readonly maxCooldownMs: number;
  readonly windowMs: number;
  readonly windowSize: number;
  readonly minimumThroughput: number;
  readonly percentageThreshold: number;
  /** `Infinity` if no call is slow. */
  readonly slowCallMs: number;
  readonly halfOpenMaxConcurrent: number;
  readonly halfOpenLeaseMs: number;
}

/** The built-in strategies, by the names of rule 4. */
export const STRATEGIES = {
  consecutive_failures: (evidence, policy) => evidence.run >= policy.failureThreshold,
  percentage_failures: (evidence, policy) => reaches(evidence.sinceClosed, policy),
  rolling_window: (evidence, policy) => reaches(evidence.window, policy),
  slow_calls: ({ window }, policy) =>
    reaches({ calls: window.calls, failures: window.slow }, policy),
  count_window: (evidence, policy) => reaches(evidence.last, policy),
} as const satisfies Record<string, ModelStrategy>;

function reaches(share: Share, policy: ModelPolicy): boolean {
  return share.calls >= policy.minimumThroughput && share.calls > 0 &&
    share.failures * 100 >= policy.percentageThreshold * share.calls;
}

/** Returns the ramp's random number for a moment, the same for the breaker and the model. */
export function drawAt(now: number): number {
  return now * 7_919 % 1_000 / 1_000;
}
