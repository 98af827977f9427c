/**
 * The policies of sessions: each once as options of the breaker, once as numbers of the model.
 *
 * @module
 */
import type { CircuitPolicy, Strategy } from "@fuse/edge";
import { type ModelPolicy, type ModelStrategy, STRATEGIES } from "./strategies.ts";

export interface Case {
  readonly options: CircuitPolicy;
  readonly model: ModelPolicy;
}

const DEFAULTS: ModelPolicy = {
  strategies: [STRATEGIES.consecutive_failures],
  slowTrialsFail: false,
  windowed: false,
  failureThreshold: 5,
  successThreshold: 2,
  halfOpenFailureThreshold: 1,
  rampMs: 0,
  rampFromPercentage: 10,
  cooldownMs: () => 60_000,
  maxCooldownMs: 600_000,
  windowMs: 120_000,
  windowSize: 100,
  minimumThroughput: 10,
  percentageThreshold: 50,
  slowCallMs: Infinity,
  halfOpenMaxConcurrent: 1,
  halfOpenLeaseMs: 30_000,
};

/** Numbers that mean the same on both sides, and options whose form differs. */
function both(
  numbers: Partial<
    Omit<ModelPolicy, "strategies" | "slowTrialsFail" | "windowed" | "cooldownMs"> & {
      slowCallMs: number;
    }
  >,
  strategies: readonly (keyof typeof STRATEGIES)[] = ["consecutive_failures"],
  cooldownMs: CircuitPolicy["cooldownMs"] = 1_000,
): Case {
  return {
    options: { ...numbers, strategy: strategies, cooldownMs },
    model: {
      ...DEFAULTS,
      ...numbers,
      cooldownMs: typeof cooldownMs === "function" ? cooldownMs : () => cooldownMs ?? 60_000,
      strategies: strategies.map((name) => STRATEGIES[name]),
      slowTrialsFail: strategies.includes("slow_calls"),
      windowed: strategies.includes("slow_calls") || strategies.includes("rolling_window"),
    },
  };
}

/**
 * A strategy of the user's: opens at half of five recent calls, or at three failures since it last
 * closed.
 */
const custom: ModelStrategy = ({ window, sinceClosed }) =>
  (window.calls >= 5 && window.failures * 2 >= window.calls) || sinceClosed.failures >= 3;

/** The strategies that the Fuse knows by name. */
export const STRATEGY_OF_THE_USER: Record<string, Strategy> = {
  custom: ({ window }, policy) => window.failures > policy.failureThreshold,
};

export const CASES = {
  "defaults": { options: {}, model: DEFAULTS },
  "three in a row": both({ failureThreshold: 3, halfOpenLeaseMs: 1_500 }),
  "two trials at once, growing cooldown": both(
    { failureThreshold: 2, successThreshold: 3, halfOpenMaxConcurrent: 2, halfOpenLeaseMs: 700 },
    ["consecutive_failures"],
    (reopenCount) => 500 * (reopenCount + 1),
  ),
  "some trials may fail": both({
    failureThreshold: 2,
    successThreshold: 3,
    halfOpenFailureThreshold: 2,
    halfOpenMaxConcurrent: 3,
    halfOpenLeaseMs: 900,
  }),
  "a ramp": both({
    failureThreshold: 2,
    successThreshold: 1,
    rampMs: 4_000,
    rampFromPercentage: 30,
    halfOpenLeaseMs: 900,
  }),
  "first failure, first success, capped cooldown": both(
    { failureThreshold: 1, successThreshold: 1, maxCooldownMs: 1_200, halfOpenLeaseMs: 5_000 },
    ["consecutive_failures"],
    (reopenCount) => [1_000, NaN, 700, -1][reopenCount % 4] ?? 0,
  ),
  "share of all calls": both({ minimumThroughput: 4, percentageThreshold: 50 }, [
    "percentage_failures",
  ]),
  "share of a window": both(
    { minimumThroughput: 3, percentageThreshold: 60, windowMs: 1_000, halfOpenLeaseMs: 800 },
    ["rolling_window"],
  ),
  "share of an odd window": both(
    { minimumThroughput: 2, percentageThreshold: 34, windowMs: 1_995, halfOpenMaxConcurrent: 3 },
    ["rolling_window"],
    300,
  ),
  "slow calls": both(
    { slowCallMs: 50, minimumThroughput: 3, percentageThreshold: 50, windowMs: 2_000 },
    ["slow_calls"],
  ),
  "last five calls": both(
    { windowSize: 5, minimumThroughput: 3, percentageThreshold: 60, slowCallMs: 80 },
    ["count_window"],
    1,
  ),
  "any of three": both(
    {
      failureThreshold: 4,
      slowCallMs: 120,
      windowSize: 8,
      minimumThroughput: 5,
      percentageThreshold: 75,
      windowMs: 3_000,
    },
    ["consecutive_failures", "slow_calls", "count_window"],
    2_000,
  ),
  "a strategy of the user's": {
    options: {
      cooldownMs: 1_000,
      windowMs: 1_000,
      strategy: ({ window, sinceClosed }) =>
        (window.calls >= 5 && window.failures * 2 >= window.calls) || sinceClosed.failures >= 3,
    },
    model: {
      ...DEFAULTS,
      cooldownMs: () => 1_000,
      windowMs: 1_000,
      strategies: [custom],
      windowed: true,
    },
  },
  "a named strategy of the user's": {
    options: { cooldownMs: 400, windowMs: 500, strategy: "custom", failureThreshold: 2 },
    model: {
      ...DEFAULTS,
      cooldownMs: () => 400,
      windowMs: 500,
      failureThreshold: 2,
      windowed: true,
      strategies: [({ window }, policy) => window.failures >= policy.failureThreshold + 1],
    },
  },
} as const satisfies Record<string, Case>;
