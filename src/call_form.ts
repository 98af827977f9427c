/**
 * A call through a handle, and the two forms in which the handle returns its result.
 *
 * @module
 */

import { isResponse } from "./errors.ts";
import type { Grant, Refusal, Unit } from "./admission.ts";
import type { CallContext, CallOptions } from "./circuit_breaker.ts";
import { discard, type Kind } from "./rules/outcome.ts";

/** Returns a result to the caller. */
export interface CallForm {
  /** `true` if the caller gets the function's result unchanged. */
  readonly raw: boolean;
  /**
   * Returns a fallback's value in place of a call that ended with `cause`. `handed`: whether any
   * fallback read the cause.
   */
  fallback(value: unknown, cause: unknown, handed: boolean): unknown;
  /** Returns or throws an error of the call. */
  error(error: unknown): Promise<unknown>;
  /** Returns or throws the rejection of a call that did not run. */
  rejected(error: Refusal["refused"]): Promise<unknown>;
  /** Releases the `cause` once every fallback has failed, too. */
  exhausted(cause: unknown): void;
}

/** A call that has begun: the data that is needed at its end. */
export interface Call {
  readonly options: CallOptions<unknown> | undefined;
  readonly form: CallForm;
}

/** A call before it begins. */
export interface Planned extends Call {
  readonly fn: (context: CallContext) => unknown;
  /** In ms; `undefined` for no timeout. */
  readonly timeoutMs: number | undefined;
  /** `true` if it is made during the turn of a call of the same circuit. */
  readonly within: boolean;
}

/**
 * The form of plain calls: those under one grant, without limits, and without a listener for calls.
 * Created by a handle, and valid for every handle with the same functions.
 */
export interface Plain {
  readonly grant: Grant;
  readonly functions: object;
  readonly unit: Unit;
  readonly form: CallForm;
  readonly returned: (value: unknown) => unknown;
  readonly threw: (error: unknown) => Promise<unknown>;
}

/** The ending of a call. */
export interface End {
  readonly kind: Kind;
  readonly startedAt: number;
  readonly at: number;
  readonly error: unknown;
  readonly result: unknown;
}

/**
 * `startedAt` of a call whose duration is not needed. A small integer: it is held across an
 * `await`.
 */
export const UNTIMED = -1;

/** Returns a duration in ms. A clock that was set back counts as standing still. */
export function elapsed(from: number, to: number): number {
  return from !== UNTIMED && to > from ? to - from : 0;
}

/** The form of `call`: the value itself, or a promise that rejects. */
export const THROWING: CallForm = {
  raw: true,
  fallback(value, cause, handed) {
    // Only if no fallback can have kept it.
    if (!handed || !holds(value, cause)) discard(cause);
    return value;
  },
  error: rejecting,
  rejected: rejecting,
  exhausted: discard,
};

/**
 * The form of `tryCall`: a `CallResult`, which contains the cause, and a promise that never
 * rejects.
 */
export const TELLING: CallForm = {
  raw: false,
  fallback: (value, error) => ({ ok: true, source: "fallback", value, error }),
  error: (error) => Promise.resolve({ ok: false, rejected: false, error }),
  rejected(error) {
    const { retryAfterMs } = error;
    return Promise.resolve({ ok: false, rejected: true, error, retryAfterMs });
  },
  exhausted() {},
};

/**
 * Returns the function's result. Not a method of a form: the two would cost a look-up for each
 * call.
 */
export function give({ raw }: CallForm, value: unknown): unknown {
  return raw ? value : { ok: true, source: "call", value };
}

/**
 * Returns a promise that rejects a moment later. At once, no handler would be attached yet: the
 * runtime would note an unhandled rejection and then take it back, which costs more than the rest
 * of a call.
 */
function rejecting(error: unknown): Promise<unknown> {
  return Promise.resolve(new Rejection(error));
}

/** A thenable that rejects. */
class Rejection {
  // TypeScript's `private`: one of these is made for every rejection.
  declare private error: unknown;
  constructor(error: unknown) {
    this.error = error;
  }
  then(_resolve: unknown, reject: (error: unknown) => void): void {
    reject(this.error);
  }
}

/** Returns `true` if a fallback's value may still need the Response that it replaces. */
function holds(value: unknown, response: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  return !(isResponse(value) && isResponse(response)) ||
    value === response || value.body === response.body;
}
