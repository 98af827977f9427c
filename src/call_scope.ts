/**
 * The limits of a call: the caller's signal and the timeout.
 *
 * @module
 */

import { discard } from "./rules/outcome.ts";
import { passAfter } from "./timeouts.ts";

/**
 * Continues when a value is settled. As `await` does, takes no notice of a `then` that a native promise
 * has of its own. Looks `then` up each time, because a program may replace `Promise`.
 */
export function whenSettled(
  value: unknown,
  returned: ((value: unknown) => unknown) | undefined,
  threw: (error: unknown) => unknown,
): Promise<unknown> {
  const promise = Promise.resolve(value);
  const { then } = Promise.prototype;
  // Nearly always, and a call of a method costs less.
  return promise.then === then
    ? promise.then(returned, threw)
    : then.call(promise, returned, threw);
}

/**
 * The context of the called function. Its signal is created when it is first read, for this call
 * alone.
 */
export class CallScope {
  // TypeScript's `private`: one of these is made for every call, and `#private` fields cost more.
  declare private caller: AbortSignal | undefined;
  declare private limited: boolean;
  private controller: AbortController | undefined = undefined;
  private lost: Error | undefined = undefined;

  constructor(caller: AbortSignal | undefined, limited: boolean) {
    this.caller = caller;
    this.limited = limited;
  }

  get signal(): AbortSignal {
    if (!this.limited && this.caller !== undefined) return this.caller;
    if (this.controller === undefined) {
      this.controller = new AbortController();
      if (this.lost !== undefined) this.controller.abort(this.lost);
    }
    const { signal } = this.controller;
    if (this.caller === undefined) return signal;
    // Not our own listeners, which would have to be removed at the end of the call: the body of a
    // Response still depends on the caller's signal. From now on `signal` returns this one.
    this.limited = false;
    return this.caller = AbortSignal.any([this.caller, signal]);
  }

  /** The signal, if anything can abort it. */
  get limit(): AbortSignal | undefined {
    return this.limited || this.caller !== undefined ? this.signal : undefined;
  }

  /** The timeout has passed. */
  lose(error: Error): void {
    this.lost = error;
    this.controller?.abort(error);
  }
}

/** The limits of a call. */
export interface Limits {
  readonly signal: AbortSignal | undefined;
  /** In ms; `undefined` for no timeout. */
  readonly timeoutMs: number | undefined;
  /** Creates the error of the timeout. */
  readonly late: () => Error;
}

/**
 * Runs `fn` until it ends, the caller aborts, or the timeout passes, whichever is first. A later
 * result is dropped silently.
 */
export function outrun(
  fn: (context: CallScope) => unknown,
  { signal: caller, timeoutMs, late }: Limits,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const scope = new CallScope(caller, timeoutMs !== undefined);
    let over = false;
    const end = () => {
      over = true;
      callOff?.();
      caller?.removeEventListener("abort", abort);
    };
    const fail = (error: unknown) => {
      if (over) return;
      end();
      reject(error);
    };
    const abort = () => fail(caller!.reason);
    const callOff = timeoutMs === undefined ? undefined : passAfter(timeoutMs, () => {
      const error = late();
      end();
      scope.lose(error);
      reject(error);
    });
    caller?.addEventListener("abort", abort, { once: true });
    if (caller?.aborted) return abort();
    try {
      whenSettled(fn(scope), (value) => {
        if (over) return discard(value);
        end();
        resolve(value);
      }, fail);
    } catch (error) {
      fail(error);
    }
  });
}
