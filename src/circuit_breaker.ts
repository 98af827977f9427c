/**
 * What user code holds: the handle of a circuit, its options and its results.
 *
 * @module
 */

import type { CircuitBreakerOpenError, StoreUnavailableError } from "./errors.ts";
import type { GuardedFetch } from "./fetch.ts";
import type { CircuitEvent, EventQuery } from "./history.ts";
import type { CircuitIdentity } from "./key.ts";
import type { ErrorMatcher, Outcome } from "./outcome.ts";
import type { CircuitPolicy } from "./policy.ts";
import type { CircuitMetrics, CircuitSnapshot } from "./snapshot.ts";
import type { CircuitState } from "./store.ts";

/** What a fallback is told. */
export interface FallbackContext {
  /** Which circuit. */
  readonly circuit: CircuitIdentity;
  /** Why the call has no result of its own: the rejection, what it threw, or the failed result. */
  readonly error: unknown;
  /** What a call meets now. */
  readonly state: CircuitState;
}

/** Gives a value in place of the call's. Its value is returned to the caller. */
export type Fallback<F> = (context: FallbackContext) => F | PromiseLike<F>;

/** When a fallback runs: on rejection only, or on a failed call too. */
export type FallbackOn = "rejection" | "failure";

/** Options of a handle. Functions belong to it and never to the shared circuit. */
export interface CircuitOptions<F = never> extends CircuitPolicy {
  /** Errors that count neither as success nor as failure: classes or predicates. Wins over `record`. */
  ignore?: readonly ErrorMatcher[] | undefined;
  /** The only errors that count as failures, others count as successes: classes or predicates. */
  record?: readonly ErrorMatcher[] | undefined;
  /** Whether a result or an error is a failure. Replaces the judgement of Responses (5xx and 429). */
  isFailure?: ((outcome: Outcome) => boolean) | undefined;
  /** Gives a value in place of a rejected call's. A list is tried in order. */
  fallback?: Fallback<F> | readonly Fallback<F>[] | undefined;
  /**
   * When the fallback runs.
   *
   * @default {"rejection"}
   */
  fallbackOn?: FallbackOn | undefined;
}

/** Options for all circuits of a Fuse, or for those of a name. */
export type CircuitDefaults = Omit<CircuitOptions, "fallback">;

/** Options of one call. */
export interface CallOptions<F = never> {
  /** The caller's. When it aborts, the call rejects with its reason and counts as neutral. */
  signal?: AbortSignal | undefined;
  /** In place of the circuit's `callTimeoutMs`, in ms. */
  timeoutMs?: number | undefined;
  /** In place of the handle's. */
  fallback?: Fallback<F> | readonly Fallback<F>[] | undefined;
  /** In place of the handle's. */
  fallbackOn?: FallbackOn | undefined;
}

/** What the called function gets. */
export interface CallContext {
  /** Aborts when the caller gives up or the call runs into its timeout. Made when it is read. */
  readonly signal: AbortSignal;
}

/** Result of `tryCall`. */
export type CallResult<T, F = never> =
  | { readonly ok: true; readonly source: "call"; readonly value: T }
  | {
    readonly ok: true;
    readonly source: "fallback";
    readonly value: F;
    readonly error: unknown;
  }
  | { readonly ok: false; readonly rejected: false; readonly error: unknown }
  | {
    readonly ok: false;
    readonly rejected: true;
    readonly error: CircuitBreakerOpenError | StoreUnavailableError;
    readonly retryAfterMs: number;
  };

/**
 * Leave to do something and say later how it went. The first of its methods counts; disposing it
 * unsettled ignores it. One that is never settled gives its half-open slot back after
 * `halfOpenLeaseMs`.
 */
export interface Permit extends AsyncDisposable {
  /** It went well. */
  success(): Promise<void>;
  /** It failed. An error is judged by `ignore` and `record`, as if it had been thrown. */
  failure(error?: unknown): Promise<void>;
  /** It says nothing about the upstream. */
  ignore(): Promise<void>;
}

/** Why an operator acts, and who. Kept in the trail and told in events: put no secrets here. */
export interface Actor {
  /** Why. At most 1000 characters; half of a surrogate pair becomes U+FFFD, as in all stores. */
  reason?: string | undefined;
  /** Who. As `reason`. */
  actor?: string | undefined;
}

/** How long an override lasts: until an instant, or for so long, or until it is released. */
export interface OverrideOptions extends Actor {
  /** An instant, in the future. */
  until?: Date | undefined;
  /** Or for so long, in ms. A positive integer. */
  forMs?: number | undefined;
}

/** Guards calls to one dependency. Made by `fuse.make(name)`. */
export interface CircuitBreaker<F = never> extends CircuitIdentity {
  /**
   * Runs `fn` if the circuit lets it.
   *
   * Cost on a shared store, eventual: no blocking round trip while closed or open, 1 + 1 for a
   * trial (+ 1 at its verdict); strong: 1 + 1.
   *
   * @param fn What to guard: sync or async, throwing or not.
   * @param options For this call only.
   * @returns What `fn` returned, or what a fallback did.
   * @throws What `fn` threw; {@linkcode CircuitBreakerOpenError} if it was rejected;
   * {@linkcode CallTimeoutError} if it took too long; the signal's reason if the caller gave up;
   * {@linkcode StoreUnavailableError} with `onStoreError: "reject"`.
   */
  call<T, G = never>(
    fn: (context: CallContext) => T | PromiseLike<T>,
    options?: CallOptions<G>,
  ): Promise<T | F | G>;
  /** Like `call`, but tells a rejection and an error as data, and does not reject. */
  tryCall<T, G = never>(
    fn: (context: CallContext) => T | PromiseLike<T>,
    options?: CallOptions<G>,
  ): Promise<CallResult<T, F | G>>;
  /** `fn` with every call of it guarded; `this` and the arguments are handed on. */
  wrap<A extends unknown[], T>(
    fn: (...args: A) => T | PromiseLike<T>,
  ): (...args: A) => Promise<T | F>;
  /**
   * The two-step form, for what ends long after it began, such as streams.
   *
   * @throws {CircuitBreakerOpenError} If the circuit does not let it.
   */
  admit(): Promise<Permit>;
  /** This isolate's view as it stands: synchronous, no I/O. */
  peek(): CircuitSnapshot;
  /** Why it is as it is, in one sentence a pager can carry. One round trip. */
  explain(): Promise<string>;
  /**
   * `fetch`, guarded. 5xx and 429 count as failures and are still returned; `Retry-After`
   * lengthens the cooldown; the caller's abort is neutral. Bound: hand it on as it is.
   */
  readonly fetch: GuardedFetch<F>;
  /** Whether a call would be rejected because the circuit is, or is forced, open. One round trip. */
  isOpen(): Promise<boolean>;
  /** What a call meets. Moves nothing: a cooldown that has passed reads `HALF_OPEN`. One round trip. */
  getState(): Promise<CircuitState>;
  /** Its counters, this isolate's pending ones laid over. One round trip. */
  getMetrics(): Promise<CircuitMetrics>;
  /** State, override and counters. One round trip. */
  snapshot(): Promise<CircuitSnapshot>;
  /** Rejects all calls until released. @throws {StoreUnavailableError} If the store does not answer. */
  forceOpen(options?: OverrideOptions): Promise<void>;
  /** Admits all calls until released; they count, and never trip. */
  forceClose(options?: OverrideOptions): Promise<void>;
  /** Admits all calls until released; only totals count, and no call events fire. */
  disable(options?: OverrideOptions): Promise<void>;
  /** Admits all calls until released; they count, and `would_open` is announced. */
  metricsOnly(options?: OverrideOptions): Promise<void>;
  /** Ends an override; the state beneath stands. Does nothing without one. */
  release(options?: Actor): Promise<void>;
  /** Closes and clears; lifetime totals and an override stay. */
  reset(options?: Actor): Promise<void>;
  /** What happened to it, latest first. @throws {TypeError} If its store keeps no trail. */
  history(query?: EventQuery): AsyncIterableIterator<CircuitEvent>;
}
