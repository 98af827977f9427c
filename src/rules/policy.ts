/**
 * Options of a circuit, validated into a policy. Invalid ones are refused here, by name, with what
 * came and what is allowed.
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
import { check, MAX_DATE_MS, MAX_TIMER_MS, oneOf, refuse } from "../checks.ts";
import type { PolicyRecord, Shape } from "../contract.ts";
import { DECIDING, fingerprintOf } from "./fingerprint.ts";

/**
 * Returns how long a circuit stays open, in ms, by how often it went HALF_OPEN → OPEN since it last
 * closed (0 at the first trip). If it throws, or returns no positive number, 60 000 applies, and
 * `listener_error` reports it.
 */
export type Cooldown = (reopenCount: number) => number;

/**
 * The reaction to a store that does not answer: with `local` a breaker of this isolate's own
 * decides, with `allow` calls run, with `reject` they are refused with a StoreUnavailableError.
 */
export type OnStoreError = "local" | "allow" | "reject";

/**
 * The price of knowing other isolates' state: see `src/shared/README.md`. `eventual`: no blocking
 * round trip while closed or open, and isolates learn of each other's openings with the next answer
 * of the store. `strong`: one before every call, and one after a failure or a trial.
 */
export type Consistency = "eventual" | "strong";

/**
 * The options of a circuit that are data: shared by all its handles, and best the same on every
 * isolate. Durations are milliseconds, percentages 1–100, comparisons `>=`.
 */
export interface CircuitPolicy {
  /**
   * The name of the store, in `createFuse({ stores })`, that keeps this circuit.
   *
   * @default {the view's store}
   */
  store?: string | undefined;
  /**
   * The reaction to a store that cannot be used: with `local`, a breaker of this isolate's own
   * decides; with `allow`, calls run unless a known override or a running cooldown forbids it; with
   * `reject`, calls are refused with a StoreUnavailableError. A store that only refuses outcomes
   * does not refuse calls.
   *
   * @default {"local"}
   */
  onStoreError?: OnStoreError | undefined;
  /**
   * The strategy that opens: a name, a function, or a list, any of which may open it. See
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
   * The length of an opening, in ms, or a function of the number of reopenings, such as
   * `backoff()` returns. A number is an integer from 0, an immediate trial, to `maxCooldownMs`. By
   * default, 60 000, or `maxCooldownMs` if that is less.
   *
   * @default {60_000}
   */
  cooldownMs?: number | Cooldown | undefined;
  /**
   * The longest opening, in ms, whatever a function or a `Retry-After` says. An integer from 1 to
   * 8.64e15.
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
   * The duration from which on a call is slow, in ms. A positive integer. By default, no call is,
   * and `slow_calls` is refused.
   */
  slowCallMs?: number | undefined;
  /**
   * The time after which a call is given up, its signal aborted, and a failure counted, in ms. A
   * positive integer, at most `halfOpenLeaseMs`. By default, never.
   */
  callTimeoutMs?: number | undefined;
  /**
   * The time after which a call that its caller gives up counts as a failure, in ms, for callers
   * such as SDKs that abort without a reason when their own timeout passes. A positive integer. By
   * default, giving up is neutral however long the call took, unless the signal's reason is a
   * `TimeoutError`. Once a body arrives (`settle: "body"`), the time of the current read decides.
   */
  abandonedAfterMs?: number | undefined;
  /**
   * When a call that returns a Response counts: when its headers are there, or when its body has
   * ended. `"body"` is for streamed answers. A body that breaks off is then a failure, and a body
   * that its reader cancels is neutral; the Response is another object with the same contents.
   *
   * @default {"headers"}
   */
  settle?: "headers" | "body" | undefined;
  /**
   * The limit for a read of a body with `settle: "body"`, in ms. Its reader then gets a
   * `BodyTimeoutError`, and the call counts as a failure. A slow reader does not count. A positive
   * integer. By default, there is no limit.
   */
  idleTimeoutMs?: number | undefined;
  /**
   * The limit for the first read of a body, in ms, in place of `idleTimeoutMs`. A positive integer.
   * By default, that one.
   */
  firstByteTimeoutMs?: number | undefined;
  /**
   * The time for which a closed circuit admits only a share of calls, which grows to all of them,
   * in ms: a recovered upstream should not meet the whole fleet at once. A positive integer. By
   * default, it admits all calls as soon as it has closed.
   */
  rampMs?: number | undefined;
  /**
   * The share of calls with which a ramp begins, in percent. From 1 to 100.
   *
   * @default {10}
   */
  rampFromPercentage?: number | undefined;
  /**
   * Failed trials that reopen. A positive integer: with 1, any failed trial does.
   *
   * @default {1}
   */
  halfOpenFailureThreshold?: number | undefined;
  /**
   * The largest number of concurrent trials, over all isolates. A positive integer.
   *
   * @default {1}
   */
  halfOpenMaxConcurrent?: number | undefined;
  /**
   * The time after which a trial that never ends frees its slot, in ms. A positive integer.
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
   * The age at which a view is refreshed in the background, in ms. An integer from 0.
   *
   * @default {1000}
   */
  revalidateMs?: number | undefined;
  /**
   * The age at which calls wait for the store instead of using the view, in ms. An integer from 0.
   *
   * @default {10_000}
   */
  maxStalenessMs?: number | undefined;
  /**
   * The number of successes that are gathered before they are sent. A positive integer.
   *
   * @default {50}
   */
  flushSize?: number | undefined;
  /**
   * The time that successes wait to be sent, in ms, while there is traffic. An integer from 0.
   *
   * @default {1000}
   */
  flushIntervalMs?: number | undefined;
  /**
   * Requests a second about this circuit, over all isolates, above which each isolate flushes and
   * refreshes less often. A positive integer.
   *
   * @default {1000}
   */
  maxRequestsPerSecond?: number | undefined;
}

/** A validated policy, with every option filled in. */
export interface CircuitPolicyData extends Policy {
  readonly successThreshold: number;
  readonly maxCooldownMs: number;
  readonly cooldownMs: number | Cooldown;
  /** The ids of the rules. */
  readonly strategy: string;
  /** The first opening's length if it is a number, else the delay of a forced opening. */
  readonly baseCooldownMs: number;
  readonly slowCallMs: number | undefined;
  readonly callTimeoutMs: number | undefined;
  readonly abandonedAfterMs: number | undefined;
  readonly settle: "headers" | "body";
  readonly idleTimeoutMs: number | undefined;
  readonly firstByteTimeoutMs: number | undefined;
  readonly rampMs: number | undefined;
  readonly rampFromPercentage: number;
  readonly halfOpenFailureThreshold: number;
  readonly halfOpenMaxConcurrent: number;
  readonly halfOpenLeaseMs: number;
  readonly consistency: Consistency;
  readonly onStoreError: OnStoreError;
  readonly revalidateMs: number;
  readonly maxStalenessMs: number;
  readonly flushSize: number;
  readonly flushIntervalMs: number;
  readonly maxRequestsPerSecond: number;
  readonly rules: readonly Rule[];
  /** `true` if a success can complete what a rule waits for. */
  readonly judgesSuccesses: boolean;
  /** `true` if a rule may open without any call that failed or was slow. */
  readonly opensOnAnything: boolean;
  /** `true` if a slow trial counts as failed. */
  readonly slowFails: boolean;
  readonly shape: Shape;
  /**
   * Two characters for each of {@linkcode DECIDING}, so that a difference can be named; `""`
   * if none of them was given: the policy is then that of the circuit's record.
   */
  readonly hash: string;
  /** The policy as the circuit's record shows it. */
  readonly recorded: PolicyRecord;
  /** `true` if the record's policy cannot be used here: this isolate requests no transitions. */
  readonly silent?: boolean;
}

/** The options that are numbers, or words. */
type Given = Pick<CircuitPolicyData, Exclude<keyof CircuitPolicy, "store">>;

/** The options about the circuit itself, rather than about its store, with their defaults. */
const STANDARD: Given = {
  ...DECIDING,
  onStoreError: "local",
  consistency: "eventual",
  revalidateMs: 1000,
  maxStalenessMs: 10_000,
  flushSize: 50,
  flushIntervalMs: 1000,
  maxRequestsPerSecond: 1000,
};

/** The words of an option, or the bounds of a number that may not be just any positive integer. */
const ALLOWED: Readonly<
  Partial<Record<keyof Given, readonly string[] | readonly [min: number, max?: number]>>
> = {
  onStoreError: ["local", "allow", "reject"],
  consistency: ["eventual", "strong"],
  settle: ["headers", "body"],
  cooldownMs: [0],
  maxCooldownMs: [1, MAX_DATE_MS],
  windowSize: [1, 10_000],
  percentageThreshold: [1, 100],
  callTimeoutMs: [1, MAX_TIMER_MS],
  idleTimeoutMs: [1, MAX_TIMER_MS],
  firstByteTimeoutMs: [1, MAX_TIMER_MS],
  rampFromPercentage: [1, 100],
  revalidateMs: [0],
  maxStalenessMs: [0],
  flushIntervalMs: [0],
};

/** The names of the options about the circuit itself. */
export const OWN_OPTIONS: readonly string[] = Object.keys(STANDARD);

/** The option names that are data. */
export const POLICY_OPTIONS: readonly string[] = ["store", ...OWN_OPTIONS];

const SUBJECT = "circuit breaker";

/**
 * Validates options, and fills in defaults.
 *
 * @throws {RangeError | TypeError} Naming the option, what came and what is allowed.
 */
export function createPolicy(
  options: CircuitPolicy,
  strategies: Readonly<Record<string, Strategy>>,
  report: (type: string, error: unknown) => void,
): CircuitPolicyData {
  // A copy of all of them, because adding one after another takes longer than all the rest.
  const data = { ...STANDARD };
  let decides = false;
  for (const option in options) {
    const value = options[option as keyof Given];
    if (value === undefined || !Object.hasOwn(STANDARD, option)) continue;
    decides ||= Object.hasOwn(DECIDING, option);
    take(data, option as keyof Given, value);
  }
  const { maxCooldownMs, windowMs, windowSize } = data;
  const standardMs = Math.min(60_000, maxCooldownMs);
  if (options.cooldownMs === undefined) data.cooldownMs = standardMs;
  const { cooldownMs } = data;
  const rules = resolve(options.strategy, strategies, report);
  const names: string[] = [];
  const ids: string[] = [];
  let judgesSuccesses = false;
  let opensOnAnything = false;
  for (const { name, id, of } of rules) {
    names.push(name);
    ids.push(id);
    // A success ends every run of failures.
    judgesSuccesses ||= of !== BUILT_IN.consecutive_failures;
    opensOnAnything ||= of !== BUILT_IN[id as StrategyName];
  }
  data.strategy = ids.join();
  const countWindow = names.includes("count_window");
  const slowFails = names.includes("slow_calls");
  mustNotExceed(data, "cooldownMs", "maxCooldownMs");
  mustNotExceed(data, "callTimeoutMs", "halfOpenLeaseMs");
  if (countWindow) mustNotExceed(data, "minimumThroughput", "windowSize", ", for count_window");
  if (slowFails && data.slowCallMs === undefined) {
    refuse(SUBJECT, "slowCallMs", `a positive integer for slow_calls`, undefined);
  }
  return {
    ...data,
    baseCooldownMs: typeof cooldownMs === "number" ? cooldownMs : standardMs,
    rules,
    opensOnAnything,
    judgesSuccesses,
    slowFails,
    shape: { windowMs, windowSize: countWindow ? windowSize : 0 },
    hash: decides ? fingerprintOf(data) : "",
    recorded: decides ? recordedOf({ ...data, strategy: names.join() }) : {},
  };
}

/** Checks an option that is given, and takes it over. */
function take(data: Record<keyof Given, unknown>, option: keyof Given, value: unknown): void {
  // Which strategies there are is decided elsewhere.
  if (option === "strategy") return;
  const allowed: readonly unknown[] = ALLOWED[option] ?? [];
  if (typeof allowed[0] === "string") {
    data[option] = oneOf(SUBJECT, option, value, allowed as string[]);
  } else if (option === "cooldownMs" && typeof value === "function") data[option] = value;
  else data[option] = check(SUBJECT, option, value, undefined, ...allowed as [number?, number?]);
}

function mustNotExceed(
  data: Given,
  option: keyof Given,
  limit: keyof Given,
  condition = "",
): void {
  const [value, most] = [data[option], data[limit]];
  if (value! > most!) {
    refuse(SUBJECT, option, `at most "${limit}", ${most}${condition}`, value);
  }
}

function recordedOf(data: Given): PolicyRecord {
  const recorded: Record<string, number | string | null> = {};
  for (const name in DECIDING) {
    const option = name as keyof typeof DECIDING;
    const value = data[option];
    if (value === DECIDING[option]) continue;
    recorded[option] = typeof value === "function" ? value.name || null : value as string | number;
  }
  return recorded;
}

function resolve(
  option: CircuitPolicy["strategy"] = "consecutive_failures",
  strategies: Readonly<Record<string, Strategy>>,
  report: (type: string, error: unknown) => void,
): Rule[] {
  const list = Array.isArray(option) ? option : [option];
  if (list.length === 0) refuse(SUBJECT, "strategy", "a strategy or a list of them", list);
  const rules: Rule[] = [];
  for (const one of list as readonly StrategyOption[]) {
    // Not a value that merely converts to a name, such as a list of one.
    const name = typeof one === "string" ? one : "";
    if (typeof one === "function") rules.push(customRule(nameOf(one), "custom", one, report));
    else if (Object.hasOwn(strategies, name)) {
      rules.push(customRule(name, name, strategies[name]!, report));
    } else if (Object.hasOwn(BUILT_IN, name)) {
      const opens = BUILT_IN[name as StrategyName];
      rules.push({ name, id: name, of: opens, opens });
    } else {
      const known = [...Object.keys(BUILT_IN), ...Object.keys(strategies)].join(", ");
      refuse(SUBJECT, "strategy", `a function or one of ${known}`, one);
    }
  }
  return rules;
}

/** Returns a function's name if that is a text: code may have set it to anything. */
function nameOf({ name }: Strategy): string {
  return typeof name === "string" && name !== "" ? name.slice(0, 255) : "custom";
}

/** Returns `true` if two policies decide alike, functions included. */
export function samePolicy(a: CircuitPolicyData, b: CircuitPolicyData): boolean {
  return a.hash === b.hash && a.cooldownMs === b.cooldownMs && differences(a, b).length === 0 &&
    a.rules.every((rule, i) => rule.of === b.rules[i]!.of);
}

/** Returns the options in which two policies differ. Functions are not compared. */
export function differences(a: CircuitPolicyData, b: CircuitPolicyData): string[] {
  return POLICY_OPTIONS.filter((option) => {
    const [one, other] = [a, b].map((policy) => policy[option as keyof CircuitPolicyData]);
    return one !== other && !(typeof one === "function" && typeof other === "function");
  });
}
