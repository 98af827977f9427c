/**
 * Options of a circuit, validated into a policy. Bad ones are refused here, by name, with what came
 * and what is allowed.
 *
 * @module
 */

import {
  BUILT_IN,
  customRule,
  type Policy,
  type Rule,
  type Strategy,
  type StrategyName,
  type StrategyOption,
} from "./strategies.ts";
import { check, MAX_TIMER_MS, oneOf, refuse } from "../checks.ts";
import type { Shape } from "../contract.ts";

/**
 * How long a circuit stays open, in ms, by how often it went HALF_OPEN → OPEN since it last closed (0
 * at the first trip). One that throws, or answers with no positive number: 60 000, and a
 * `listener_error`.
 */
export type Cooldown = (reopenCount: number) => number;

/**
 * What to do when the store does not answer: `local`, a breaker of this isolate's own takes over;
 * `allow`, calls run; `reject`, calls are refused with a StoreUnavailableError.
 */
export type OnStoreError = "local" | "allow" | "reject";

/**
 * Which price to pay for what other isolates know: see `src/shared/README.md`. `eventual`: no
 * blocking round trip while closed or open, and isolates learn of each other's openings with the
 * next answer of the store. `strong`: one before every call, and one after a failure or a trial.
 */
export type Consistency = "eventual" | "strong";

/**
 * Data: belongs to the circuit, is shared by every handle of it and should be the same on every
 * isolate. Durations are milliseconds, percentages 1–100, comparisons `>=`.
 */
export interface CircuitPolicy {
  /**
   * Which of `createFuse({ stores })` keeps this circuit.
   *
   * @default {the view's store}
   */
  store?: string | undefined;
  /**
   * While the store cannot be used: `local`, a breaker of this isolate's own decides; `allow`, calls run
   * unless a known override or a running cooldown forbids it; `reject`, calls are refused with a
   * StoreUnavailableError. That a store takes no outcomes refuses no call.
   *
   * @default {"local"}
   */
  onStoreError?: OnStoreError | undefined;
  /**
   * When to open: a name, a function, or a list, any of which may open it. See
   * {@linkcode StrategyName}.
   *
   * @default {"consecutive_failures"}
   */
  strategy?: StrategyOption | readonly StrategyOption[] | undefined;
  /**
   * Failures in a row that open (`consecutive_failures`). A positive integer.
   *
   * @default {5}
   */
  failureThreshold?: number | undefined;
  /**
   * Successful trials that close. A positive integer.
   *
   * @default {2}
   */
  successThreshold?: number | undefined;
  /**
   * How long it stays open, in ms, or a function of the number of reopenings such as
   * `backoff()` makes. A number is an integer from 0, an immediate trial, to `maxCooldownMs`. Left out: 60 000, or
   * `maxCooldownMs` if that is less.
   *
   * @default {60_000}
   */
  cooldownMs?: number | Cooldown | undefined;
  /**
   * No opening lasts longer, in ms, whatever a function or a `Retry-After` says. An
   * integer from 1 to 8.64e15.
   *
   * @default {600_000}
   */
  maxCooldownMs?: number | undefined;
  /**
   * Length of the time window, in ms (`rolling_window`, `slow_calls`). A positive integer.
   *
   * @default {120_000}
   */
  windowMs?: number | undefined;
  /**
   * Length of the count window, in calls (`count_window`). An integer from 1 to 10 000.
   *
   * @default {100}
   */
  windowSize?: number | undefined;
  /**
   * Calls below which no share opens. A positive integer, for `count_window` at most `windowSize`.
   *
   * @default {10}
   */
  minimumThroughput?: number | undefined;
  /**
   * Share of failed (or slow) calls that opens, in percent. From 1 to 100.
   *
   * @default {50}
   */
  percentageThreshold?: number | undefined;
  /**
   * From how many ms on a call is slow. A positive integer. Left out: no call is, and `slow_calls` is
   * refused.
   */
  slowCallMs?: number | undefined;
  /**
   * After how many ms a call is given up, its signal aborted, and a failure counted. A positive
   * integer, at most `halfOpenLeaseMs`. Left out: never.
   */
  callTimeoutMs?: number | undefined;
  /**
   * After how many ms a call that its caller gives up counts as a failure, for callers such as SDKs
   * that abort without a reason when their own timeout passes. A positive integer. Left out: giving up
   * is neutral however long the call took, unless the signal's reason is a `TimeoutError`.
   */
  abandonedAfterMs?: number | undefined;
  /**
   * Trials in flight at once, over all isolates. A positive integer.
   *
   * @default {1}
   */
  halfOpenMaxConcurrent?: number | undefined;
  /**
   * After how many ms a trial that never ends gives its slot back. A positive integer.
   *
   * @default {30_000}
   */
  halfOpenLeaseMs?: number | undefined;
  /**
   * `eventual` costs no blocking round trip while closed or open; `strong` asks the shared store
   * before every call, and waits until it has recorded a failure or a trial. A store of this process is
   * always strong.
   *
   * @default {"eventual"}
   */
  consistency?: Consistency | undefined;
  /**
   * From which age on the view of a shared store is refreshed in the background, in ms. An integer, 0 or more.
   *
   * @default {1000}
   */
  revalidateMs?: number | undefined;
  /**
   * From which age on the view is not believed and a call waits for the store, in ms. An integer, 0 or more.
   *
   * @default {10_000}
   */
  maxStalenessMs?: number | undefined;
  /**
   * Successes gathered before they are sent. A positive integer.
   *
   * @default {50}
   */
  flushSize?: number | undefined;
  /**
   * How long successes may wait to be sent, in ms, while there is traffic. An integer, 0 or more.
   *
   * @default {1000}
   */
  flushIntervalMs?: number | undefined;
}

/** A validated policy: every option filled in. */
export interface CircuitPolicyData extends Policy {
  readonly successThreshold: number;
  readonly maxCooldownMs: number;
  readonly cooldownMs: number | Cooldown;
  /** The first opening's length where it is a number, else what a forced opening suggests. */
  readonly baseCooldownMs: number;
  readonly slowCallMs: number | undefined;
  readonly callTimeoutMs: number | undefined;
  readonly abandonedAfterMs: number | undefined;
  readonly halfOpenMaxConcurrent: number;
  readonly halfOpenLeaseMs: number;
  readonly consistency: Consistency;
  readonly onStoreError: OnStoreError;
  readonly revalidateMs: number;
  readonly maxStalenessMs: number;
  readonly flushSize: number;
  readonly flushIntervalMs: number;
  readonly rules: readonly Rule[];
  /** `true` if a success can complete what a rule waits for. */
  readonly judgesSuccesses: boolean;
  /** `true` if a rule may open without any call that failed or was slow. */
  readonly opensOnAnything: boolean;
  /** `true` if a slow trial counts as failed. */
  readonly slowFails: boolean;
  readonly shape: Shape;
  /** Two characters for each of {@linkcode FINGERPRINTED}, so that a difference can be named. */
  readonly hash: string;
}

type NumberOption = Exclude<
  keyof CircuitPolicy,
  "store" | "onStoreError" | "strategy" | "cooldownMs" | "consistency"
>;

/** Default, least, greatest (unless the greatest safe integer). Percentages need not be whole. */
const NUMBERS: Readonly<
  Record<NumberOption, readonly [standard: number | undefined, min?: number, max?: number]>
> = {
  failureThreshold: [5],
  successThreshold: [2],
  // Beyond what a Date reaches, times are not exact any more.
  maxCooldownMs: [600_000, 1, 8.64e15],
  windowMs: [120_000],
  windowSize: [100, 1, 10_000],
  minimumThroughput: [10],
  percentageThreshold: [50, 1, 100],
  slowCallMs: [undefined],
  callTimeoutMs: [undefined, 1, MAX_TIMER_MS],
  abandonedAfterMs: [undefined],
  halfOpenMaxConcurrent: [1],
  halfOpenLeaseMs: [30_000],
  revalidateMs: [1000, 0],
  maxStalenessMs: [10_000, 0],
  flushSize: [50],
  flushIntervalMs: [1000, 0],
};

/** The option names that are data. */
export const POLICY_OPTIONS: readonly string[] = [
  "store",
  "onStoreError",
  "strategy",
  "cooldownMs",
  "consistency",
  ...Object.keys(NUMBERS),
];

/** What decides when a circuit opens, closes and lets trials through: should agree across isolates. */
const FINGERPRINTED = [
  "strategy",
  "cooldownMs",
  "failureThreshold",
  "successThreshold",
  "maxCooldownMs",
  "windowMs",
  "windowSize",
  "minimumThroughput",
  "percentageThreshold",
  "slowCallMs",
  "callTimeoutMs",
  "abandonedAfterMs",
  "halfOpenMaxConcurrent",
  "halfOpenLeaseMs",
] as const;

const SUBJECT = "circuit breaker";

/**
 * Fills in and validates.
 *
 * @throws {RangeError | TypeError} Naming the option, what came and what is allowed.
 */
export function createPolicy(
  options: CircuitPolicy,
  strategies: Readonly<Record<string, Strategy>>,
  report: (type: string, error: unknown) => void,
): CircuitPolicyData {
  const numbers = {} as
    & Record<NumberOption, number>
    & Pick<
      CircuitPolicyData,
      "slowCallMs" | "callTimeoutMs" | "abandonedAfterMs"
    >;
  for (const option in NUMBERS) {
    const name = option as NumberOption;
    const [standard, min, max] = NUMBERS[name];
    numbers[name] = check(SUBJECT, name, options[name], standard, min, max) as number;
  }
  const { maxCooldownMs } = numbers;
  const cooldownMs = typeof options.cooldownMs === "function"
    ? options.cooldownMs
    : check(SUBJECT, "cooldownMs", options.cooldownMs, Math.min(60_000, maxCooldownMs), 0);
  if (typeof cooldownMs === "number" && cooldownMs > maxCooldownMs) {
    refuse(SUBJECT, "cooldownMs", `at most "maxCooldownMs", ${maxCooldownMs}`, cooldownMs);
  }
  if (numbers.callTimeoutMs > numbers.halfOpenLeaseMs) {
    refuse(
      SUBJECT,
      "callTimeoutMs",
      `at most "halfOpenLeaseMs", ${numbers.halfOpenLeaseMs}`,
      numbers.callTimeoutMs,
    );
  }
  const rules = resolve(options.strategy, strategies, report);
  const names = rules.map((rule) => rule.name);
  const countWindow = names.includes("count_window");
  const slowFails = names.includes("slow_calls");
  if (countWindow && numbers.minimumThroughput > numbers.windowSize) {
    refuse(
      SUBJECT,
      "minimumThroughput",
      `at most "windowSize", ${numbers.windowSize}, for count_window`,
      numbers.minimumThroughput,
    );
  }
  if (slowFails && numbers.slowCallMs === undefined) {
    refuse(SUBJECT, "slowCallMs", `a positive integer for slow_calls`, undefined);
  }
  const data = { ...numbers, strategy: rules.map((rule) => rule.id).join(), cooldownMs };
  return {
    ...numbers,
    cooldownMs,
    baseCooldownMs: typeof cooldownMs === "number" ? cooldownMs : Math.min(60_000, maxCooldownMs),
    consistency: oneOf(SUBJECT, "consistency", options.consistency, ["eventual", "strong"]),
    onStoreError: oneOf(SUBJECT, "onStoreError", options.onStoreError, [
      "local",
      "allow",
      "reject",
    ]),
    rules,
    opensOnAnything: rules.some(({ of }) => !Object.values<unknown>(BUILT_IN).includes(of)),
    // A success ends every run of failures.
    judgesSuccesses: rules.some(({ of }) => of !== BUILT_IN.consecutive_failures),
    slowFails,
    shape: { windowMs: numbers.windowMs, windowSize: countWindow ? numbers.windowSize : 0 },
    hash: FINGERPRINTED.map((option) => fingerprint(data[option])).join(""),
  };
}

function resolve(
  option: CircuitPolicy["strategy"],
  strategies: Readonly<Record<string, Strategy>>,
  report: (type: string, error: unknown) => void,
): Rule[] {
  const list = Array.isArray(option)
    ? option
    : [option === undefined ? "consecutive_failures" : option];
  if (list.length === 0) refuse(SUBJECT, "strategy", "a strategy or a list of them", list);
  return list.map((one: StrategyOption): Rule => {
    if (typeof one === "function") return customRule(nameOf(one), "custom", one, report);
    // Not anything that merely reads as a name, such as a list of one.
    if (typeof one === "string") {
      if (Object.hasOwn(strategies, one)) return customRule(one, one, strategies[one]!, report);
      if (Object.hasOwn(BUILT_IN, one)) {
        const opens = BUILT_IN[one as StrategyName];
        return { name: one, id: one, of: opens, opens };
      }
    }
    const known = [...Object.keys(BUILT_IN), ...Object.keys(strategies)].join(", ");
    return refuse(SUBJECT, "strategy", `a function or one of ${known}`, one);
  });
}

/** What a function is called, where that is a text: code may have given it anything for a name. */
function nameOf({ name }: Strategy): string {
  return typeof name === "string" && name !== "" ? name.slice(0, 255) : "custom";
}

/** FNV-1a over the value as text, folded into two characters. Functions are not compared. */
function fingerprint(value: unknown): string {
  let hash = 0x811c9dc5;
  for (const c of typeof value === "function" ? "f" : String(value)) {
    hash = Math.imul(hash ^ c.codePointAt(0)!, 0x01000193) >>> 0;
  }
  return (hash % 1296).toString(36).padStart(2, "0");
}

/** Whether two policies decide alike, functions included. */
export function samePolicy(a: CircuitPolicyData, b: CircuitPolicyData): boolean {
  return a.cooldownMs === b.cooldownMs && differences(a, b).length === 0 &&
    a.rules.every((rule, i) => rule.of === b.rules[i]!.of);
}

/** The options in which two policies differ. Functions are not compared. */
export function differences(a: CircuitPolicyData, b: CircuitPolicyData): string[] {
  const ids = (policy: CircuitPolicyData) => policy.rules.map((rule) => rule.id).join();
  const differing: string[] = ids(a) === ids(b) ? [] : ["strategy"];
  for (const option of POLICY_OPTIONS as (keyof CircuitPolicyData)[]) {
    const [one, other] = [a[option], b[option]];
    if (one !== other && !(typeof one === "function" && typeof other === "function")) {
      differing.push(option);
    }
  }
  return differing;
}

/** The options in which two fingerprints differ. */
export function differingOptions(a: string, b: string): string[] {
  return FINGERPRINTED.filter((_, i) => a.slice(2 * i, 2 * i + 2) !== b.slice(2 * i, 2 * i + 2));
}
