/**
 * The circuit breaker of `@std/async`, configured like ours. It cannot be installed from npm: a
 * benchmark has it if `--std` names a checkout of denoland/std.
 *
 * @module
 */
import { HOUR_MS, WINDOW_MS } from "./policies.ts";

/** Its files in denoland/std; the second by the name under which the first imports it. */
export const STD_FILES = {
  main: "async/unstable_circuit_breaker.ts",
  imported: {
    "@std/data-structures/unstable-rolling-counter": "data_structures/unstable_rolling_counter.ts",
  },
} as const;

/** The part of its breaker that is used. */
export interface StdBreaker {
  execute<T>(fn: () => T | Promise<T>, options?: { signal: AbortSignal }): Promise<T>;
  forceOpen(): void;
}

/** The part of its module that is used. */
export interface StdModule {
  readonly CircuitBreaker: new (options: object) => StdBreaker;
}

/** Half of the last ten seconds in ten segments. It has no other strategy. */
export function stdBreaker(
  { CircuitBreaker }: StdModule,
  more: { isResultFailure?(result: unknown): boolean } = {},
): StdBreaker {
  return new CircuitBreaker({
    failureRateThreshold: 0.5,
    minimumThroughput: 10,
    windowMs: WINDOW_MS,
    segmentsPerWindow: 10,
    cooldownMs: HOUR_MS,
    ...more,
  });
}
