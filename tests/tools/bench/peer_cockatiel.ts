/**
 * Cockatiel, set up as ours is.
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
import { HOUR_MS, WINDOW_MS } from "./policies.ts";

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
