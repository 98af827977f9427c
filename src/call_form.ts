/**
 * A call through a handle, and the two forms in which the handle gives its result.
 *
 * @module
 */

import { isResponse } from "./errors.ts";
import type { Refusal } from "./circuit.ts";
import type { CallContext, CallOptions, Permit } from "./circuit_breaker.ts";
import { discard, type Kind } from "./rules/outcome.ts";

/** Gives a result to the caller. */
export interface CallForm {
  /** Gives what the function returned. */
  value(value: unknown): unknown;
  /**
   * Gives what a fallback returned in place of a call that ended with `cause`. `handed`: whether any
   * fallback looked at the cause.
   */
  fallback(value: unknown, cause: unknown, handed: boolean): unknown;
  /** Gives an error of the call. */
  error(error: unknown): Promise<unknown>;
  /** Gives the rejection of a call that did not run. */
  rejected(error: Refusal["refused"]): Promise<unknown>;
  /** Lets go of the `cause` once every fallback has failed, too. */
  exhausted(cause: unknown): void;
}

/** A call that has begun: what is needed when it ends. */
export interface Call {
  readonly options: CallOptions<unknown> | undefined;
  readonly form: CallForm;
}

/** A call that is to be made. */
export interface Planned extends Call {
  readonly fn: (context: CallContext) => unknown;
  /** In ms; `undefined` for no timeout. */
  readonly timeoutMs: number | undefined;
  /** `true` if it is made in the turn of a call of the same circuit. */
  readonly within: boolean;
}

/** How a call ended. */
export interface End {
  readonly kind: Kind;
  readonly startedAt: number;
  readonly at: number;
  readonly error: unknown;
  readonly result: unknown;
}

/** What to do when a plain call under one grant ends. */
export interface Reactions {
  readonly form: CallForm;
  readonly returned: (value: unknown) => unknown;
  readonly threw: (error: unknown) => Promise<unknown>;
}

/** `startedAt` of a call whose duration nobody needs. A small integer: it is held across an `await`. */
export const UNTIMED = -1;

/** Returns a duration in ms. Time that went back counts as standing still. */
export function elapsed(from: number, to: number): number {
  return from !== UNTIMED && to > from ? to - from : 0;
}

/** The form of `call`: the value itself, or a promise that rejects. */
export const THROWING: CallForm = {
  value: (value) => value,
  fallback(value, cause, handed) {
    // Only where nobody can have kept it.
    if (!handed || !holds(value, cause)) discard(cause);
    return value;
  },
  error: (error) => Promise.reject(error),
  rejected: (error) => Promise.reject(error),
  exhausted: discard,
};

/** The form of `tryCall`: a `CallResult`, which has the cause in it, and a promise that never rejects. */
export const TELLING: CallForm = {
  value: (value) => ({ ok: true, source: "call", value }),
  fallback: (value, error) => ({ ok: true, source: "fallback", value, error }),
  error: (error) => Promise.resolve({ ok: false, rejected: false, error }),
  rejected(error) {
    const { retryAfterMs } = error;
    return Promise.resolve({ ok: false, rejected: true, error, retryAfterMs });
  },
  exhausted() {},
};

/** Returns a permit, of which the first method that is called counts. */
export function permitOf(
  judge: (error: unknown) => Kind,
  settle: (kind: Kind, error?: unknown) => Promise<void> | void,
): Permit {
  let settled = false;
  const once = async (kind: Kind, error?: unknown) => {
    if (settled) return;
    settled = true;
    await settle(kind, error);
  };
  return {
    success: () => once("success"),
    failure: (error) => once(error === undefined ? "failure" : judge(error), error),
    ignore: () => once("neutral"),
    [Symbol.asyncDispose]: () => once("neutral"),
  };
}

/** Returns `true` if a fallback's value may still need the Response that it replaces. */
function holds(value: unknown, response: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  return !(isResponse(value) && isResponse(response)) ||
    value === response || value.body === response.body;
}
