/**
 * Cockatiel, configured like ours.
 *
 * @module
 */
import {
  circuitBreaker,
  type CircuitBreakerPolicy,
  ConsecutiveBreaker,
  CountBreaker,
  handleAll,
  type Policy,
  SamplingBreaker,
} from "cockatiel";
import { HOUR_MS, WINDOW_MS, WINDOW_SIZE } from "./policies.ts";

/** Cockatiel, five in a row. `handles`: the errors that are failures, by default all. */
export function cockatielConsecutive(handles: Policy = handleAll): CircuitBreakerPolicy {
  return circuitBreaker(handles, {
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

/** Cockatiel, half of the last hundred calls. */
export function cockatielCount(): CircuitBreakerPolicy {
  return circuitBreaker(handleAll, {
    halfOpenAfter: HOUR_MS,
    breaker: new CountBreaker({ threshold: 0.5, size: WINDOW_SIZE, minimumNumberOfCalls: 10 }),
  });
}
