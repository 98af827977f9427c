/**
 * The limits of a call: the caller's signal and the timeout.
 *
 * @module
 */

import { CallTimeoutError } from "./errors.ts";
import type { CircuitIdentity } from "./key.ts";
import { discard } from "./rules/outcome.ts";

/** The context of the called function. Its signal is made when it is first read, for this call alone. */
export class CallScope {
  // TypeScript's `private`: one of these is made for every call, and `#private` fields cost more.
  private caller: AbortSignal | undefined;
  private limited: boolean;
  private controller: AbortController | undefined = undefined;
  private lost: CallTimeoutError | undefined = undefined;

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
    // Not listeners of ours, which would have to go at the end of the call: a Response's body goes on
    // to depend on the caller's signal. From now on it is what `signal` gives, the same each time.
    this.limited = false;
    return this.caller = AbortSignal.any([this.caller, signal]);
  }

  /** The signal, if there is anything that could abort it. */
  get limit(): AbortSignal | undefined {
    return this.limited || this.caller !== undefined ? this.signal : undefined;
  }

  /** The timeout has passed. */
  lose(error: CallTimeoutError): void {
    this.lost = error;
    this.controller?.abort(error);
  }
}

/**
 * Runs `fn` until it ends, the caller aborts, or the timeout passes, whichever is first. What it
 * comes to afterwards is let go in silence.
 */
export function outrun<T>(
  fn: (context: CallScope) => T | PromiseLike<T>,
  caller: AbortSignal | undefined,
  timeoutMs: number | undefined,
  circuit: CircuitIdentity,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const scope = new CallScope(caller, timeoutMs !== undefined);
    let over = false;
    const end = (settle: () => void) => {
      over = true;
      clearTimeout(timer);
      caller?.removeEventListener("abort", abort);
      settle();
    };
    const abort = () => end(() => reject(caller!.reason));
    const timer = timeoutMs === undefined ? undefined : setTimeout(() =>
      end(() => {
        const error = new CallTimeoutError(circuit, timeoutMs);
        reject(error);
        scope.lose(error);
      }), timeoutMs);
    caller?.addEventListener("abort", abort, { once: true });
    const run = async () => await fn(scope);
    run().then(
      (value) => over ? discard(value) : end(() => resolve(value)),
      (error) => over || end(() => reject(error)),
    );
  });
}
