/**
 * Checks the options of handles, of single calls and of operators' actions.
 *
 * @module
 */

import type { Signature } from "./announce.ts";
import {
  check,
  hasBrand,
  known,
  MAX_DATE_MS,
  MAX_TIMER_MS,
  mayBeFunction,
  mustBeObject,
  oneOf,
  received,
  refuse,
  wrong,
} from "./checks.ts";
import type { Actor, CallOptions, CircuitOptions, OverrideOptions } from "./circuit_breaker.ts";
import type { Judgement } from "./rules/outcome.ts";

/** The functions of a handle. */
export interface HandleFunctions<F> extends Judgement {
  readonly fallback?: CircuitOptions<F>["fallback"];
  readonly fallbackOn?: CircuitOptions<F>["fallbackOn"];
}

/** The names of the options that are functions, or belong to one. */
export const HANDLE_OPTIONS = ["ignore", "record", "isFailure", "fallback", "fallbackOn"] as const;

/**
 * Returns the functions among the options of a handle.
 *
 * @throws {RangeError | TypeError} Naming the option, what came and what is allowed.
 */
export function functionsOf<F>(options: CircuitOptions<F>): HandleFunctions<F> {
  const { ignore, record, isFailure, fallback, fallbackOn } = options;
  const subject = "circuit breaker";
  for (const [option, list] of Object.entries({ ignore, record })) {
    if (list !== undefined && !(Array.isArray(list) && list.every(isFunction))) {
      refuse(subject, option, "a list of error classes and predicates", list);
    }
  }
  mayBeFunction(subject, "isFailure", isFailure);
  checkFallback(subject, options);
  return { ignore, record, isFailure, fallback, fallbackOn };
}

/**
 * Returns the timeout of a call in ms: the call's own, else the circuit's.
 *
 * @throws {RangeError | TypeError} Naming the option, what came and what is allowed.
 */
export function timeoutOf(
  options: CallOptions<unknown>,
  standard: number | undefined,
): number | undefined {
  mustBeObject("call", options);
  const timeoutMs = check("call", "timeoutMs", options.timeoutMs, standard, 1, MAX_TIMER_MS);
  checkFallback("call", options);
  const { signal } = options;
  if (signal !== undefined && !hasBrand(signal, "AbortSignal")) {
    refuse("call", "signal", "an AbortSignal", signal);
  }
  return timeoutMs;
}

/**
 * Returns the end of an override, in ms on the caller's clock; `null` if it has none.
 *
 * @throws {RangeError | TypeError} Naming the option, what came and what is allowed.
 */
export function endOf(options: OverrideOptions, now: number): number | null {
  const subject = "override";
  known(subject, options, ["until", "forMs", "reason", "actor"]);
  const { until, forMs } = options;
  if (until !== undefined && forMs !== undefined) {
    throw new TypeError(`Cannot create ${subject}: "until" and "forMs" exclude each other`);
  }
  if (until !== undefined) {
    const isDate = until instanceof Date;
    if (isDate && until.getTime() > now) return until.getTime();
    const came = isDate ? String(until) : received(until);
    throw new RangeError(wrong(`create ${subject}`, "until", "a Date in the future", until, came));
  }
  const duration = check(subject, "forMs", forMs, undefined);
  return duration === undefined ? null : Math.min(now + duration, MAX_DATE_MS);
}

/**
 * Returns the reason and the actor of an operator's action.
 *
 * @throws {TypeError} If either is not a text of at most 1000 characters.
 */
export function actorOf(options: Actor = {}): Signature {
  mustBeObject("action", options);
  return { reason: wordsOf(options, "reason"), actor: wordsOf(options, "actor") };
}

function wordsOf(options: Actor, option: keyof Actor): string | null {
  const words = options[option];
  if (words === undefined) return null;
  if (typeof words !== "string" || words.length > 1000) {
    const allowed = "a text of at most 1000 characters";
    throw new TypeError(wrong("act on a circuit", option, allowed, words));
  }
  // No store keeps half a surrogate pair, which may stand at the end of a text that was cut.
  return words.toWellFormed();
}

/** @throws {TypeError} If the value is not a function. */
export function mustBeFunction(method: string, fn: unknown): void {
  if (!isFunction(fn)) {
    throw new TypeError(wrong(method, "fn", "a function", fn));
  }
}

function checkFallback(
  subject: string,
  { fallback, fallbackOn }: Pick<CircuitOptions<unknown>, "fallback" | "fallbackOn">,
): void {
  if (fallback != null && ![fallback].flat().every(isFunction)) {
    refuse(subject, "fallback", "a function or a list of functions", fallback);
  }
  oneOf(subject, "fallbackOn", fallbackOn, ["rejection", "failure"]);
}

function isFunction(value: unknown): boolean {
  return typeof value === "function";
}
