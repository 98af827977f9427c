/**
 * The policies that are compared, like for like: no call timeout, half of at least ten calls opens,
 * over ten seconds in ten buckets, or five failures in a row; open for an hour. In a file of their
 * own, so that the memory of a breaker can be measured without its peers.
 *
 * @module
 */

/** The window of {@linkcode rolling}. */
export const WINDOW_MS = 10_000;
/** The window of {@linkcode counted}, in calls. */
export const WINDOW_SIZE = 100;
/** The time for which all stay open. */
export const HOUR_MS = 3_600_000;

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

/** Ours, half of the last hundred calls. */
export const counted = {
  ...rolling,
  strategy: "count_window",
  windowSize: WINDOW_SIZE,
} as const;

/** Ours, half of all calls since it closed. */
export const percentage = { ...rolling, strategy: "percentage_failures" } as const;

/** Ours, half of the last ten seconds slower than a second. */
export const slow = { ...rolling, strategy: "slow_calls", slowCallMs: 1_000 } as const;
