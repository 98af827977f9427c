/**
 * The breakers to compare with, set up like for like: no call timeout, half of at least ten calls
 * opens, over ten seconds in ten buckets, or five failures in a row; open for an hour.
 *
 * @module
 */
import {
  circuitBreaker,
  type CircuitBreakerPolicy,
  ConsecutiveBreaker,
  handleAll,
  SamplingBreaker,
} from "cockatiel";
import Opossum from "opossum";

const WINDOW_MS = 10_000;
const HOUR_MS = 3_600_000;

/** Ours, five in a row. */
export const consecutive = {
  strategy: "consecutive_failures",
  failureThreshold: 5,
  cooldownMs: HOUR_MS,
  maxCooldownMs: HOUR_MS,
} as const;

/** Ours, half of the last ten seconds. */
export const rolling = {
  strategy: "rolling_window",
  percentageThreshold: 50,
  minimumThroughput: 10,
  windowMs: WINDOW_MS,
  cooldownMs: HOUR_MS,
  maxCooldownMs: HOUR_MS,
} as const;

/** Cockatiel, five in a row. */
export function cockatielConsecutive(): CircuitBreakerPolicy {
  return circuitBreaker(handleAll, {
    halfOpenAfter: HOUR_MS,
    breaker: new ConsecutiveBreaker(5),
  });
}

/** Cockatiel, half of the last ten seconds: ten buckets at this length. */
export function cockatielSampling(): CircuitBreakerPolicy {
  return circuitBreaker(handleAll, {
    halfOpenAfter: HOUR_MS,
    breaker: new SamplingBreaker({ threshold: 0.5, duration: WINDOW_MS, minimumRps: 1 }),
  });
}

/** What is used of opossum, which ships no types. */
export interface OpossumBreaker {
  fire(): Promise<unknown>;
  open(): void;
  shutdown(): void;
  readonly opened: boolean;
}

/**
 * Opossum, half of the last ten seconds. It has no other strategy. `lean` switches off what ours
 * does not do either: latency percentiles, and a snapshot a second.
 */
export function opossum(
  action: () => Promise<unknown>,
  statistics: "default" | "lean",
): OpossumBreaker {
  return new Opossum(action, {
    timeout: false,
    resetTimeout: HOUR_MS,
    errorThresholdPercentage: 50,
    volumeThreshold: 10,
    rollingCountTimeout: WINDOW_MS,
    rollingCountBuckets: 10,
    ...(statistics === "lean" ? { rollingPercentilesEnabled: false, enableSnapshots: false } : {}),
  });
}
