/**
 * The handle of a circuit for user code, its options and its results.
 *
 * @module
 */

import type { CircuitBreakerOpenError, StoreUnavailableError } from "./errors.ts";
import type { CircuitEvent, CircuitState, EventQuery } from "./contract.ts";
import type { CircuitIdentity } from "./key.ts";
import type { ErrorMatcher, Outcome } from "./rules/outcome.ts";
import type { CircuitPolicy } from "./rules/policy.ts";
import type { CircuitMetrics, CircuitSnapshot } from "./rules/snapshot.ts";

/** `fetch`, guarded by a circuit. */
export type GuardedFetch<F = never> = (
  // Not `RequestInfo`, which is the same and which Node 20's types do not have.
  input: string | URL | Request,
  init?: RequestInit,
) => Promise<Response | F>;

/** The context of a fallback. */
export interface FallbackContext {
  /** The identity of the circuit. */
  readonly circuit: CircuitIdentity;
  /**
   * The reason why the call has no result of its own: the rejection, its error, or its failed
   * result.
   */
  readonly error: unknown;
  /** The state that a call meets now. */
  readonly state: CircuitState;
}

/**
 * Returns a value in place of the call's. If it throws, the next fallback runs; the error of the
 * last one reaches the caller.
 */
export type Fallback<F> = (context: FallbackContext) => F | PromiseLike<F>;

/** When a fallback runs: only on a rejection, or on a failed call as well. */
export type FallbackOn = "rejection" | "failure";

/** Options of a handle. Functions belong to the handle and never to the shared circuit. */
export interface CircuitOptions<F = never> extends CircuitPolicy {
  /**
   * Errors that count neither as success nor as failure: classes or predicates. Takes precedence
   * over `record`. By default, there are none.
   */
  ignore?: readonly ErrorMatcher[] | undefined;
  /**
   * The only errors that count as failures, while others count as successes: classes or predicates.
   * By default, every error is a failure. A call that ran into its timeout is a failure either way.
   */
  record?: readonly ErrorMatcher[] | undefined;
  /**
   * Decides whether a result or an error is a failure. By default, thrown errors are failures, and so
   * are Responses with a status of 5xx or 429. If it throws, `listener_error` reports that, and the
   * default decides.
   */
  isFailure?: ((outcome: Outcome) => boolean) | undefined;
  /**
   * Returns a value in place of a rejected call's. A list is tried in order. By default, a rejected
   * call throws.
   */
  fallback?: Fallback<F> | readonly Fallback<F>[] | undefined;
  /**
   * When the fallback runs.
   *
   * @default {"rejection"}
   */
  fallbackOn?: FallbackOn | undefined;
}

/** Options for all circuits of a Fuse, or for circuits of a name. */
export type CircuitDefaults = Omit<CircuitOptions, "fallback">;

/** Options of one call. */
export interface CallOptions<F = never> {
  /**
   * The caller's signal. When it aborts, the call rejects with its reason. That counts as neutral,
   * but as a failure if the reason is a `TimeoutError`, as that of `AbortSignal.timeout` is, or if
   * `abandonedAfterMs` has passed. By default, only the timeout ends a call early.
   */
  signal?: AbortSignal | undefined;
  /** Replaces `callTimeoutMs`, in ms. A positive integer. By default, the circuit's applies. */
  timeoutMs?: number | undefined;
  /** Replaces the handle's `fallback`. By default, that one runs. */
  fallback?: Fallback<F> | readonly Fallback<F>[] | undefined;
  /** Replaces the handle's `fallbackOn`. By default, that one applies. */
  fallbackOn?: FallbackOn | undefined;
}

/** The context of the called function. */
export interface CallContext {
  /** Aborts when the caller gives up or the call runs into its timeout. Created when it is read. */
  readonly signal: AbortSignal;
}

/** Result of `tryCall`. Its kinds differ by `ok`, then by `source` or `rejected`. */
export type CallResult<T, F = never> =
  | {
    /** There is a value. */
    readonly ok: true;
    /** The value is the function's own. */
    readonly source: "call";
    /** The function's result. */
    readonly value: T;
  }
  | {
    /** There is a value. */
    readonly ok: true;
    /** The value is a fallback's. */
    readonly source: "fallback";
    /** The fallback's value. */
    readonly value: F;
    /**
     * The reason why the fallback ran: the rejection, the function's error, or its failed result.
     */
    readonly error: unknown;
  }
  | {
    /** There is no value. */
    readonly ok: false;
    /** The function ran. */
    readonly rejected: false;
    /** The error of the function or of a fallback, a `CallTimeoutError`, or the caller's reason to abort. */
    readonly error: unknown;
  }
  | {
    /** There is no value. */
    readonly ok: false;
    /** The function did not run. */
    readonly rejected: true;
    /** The rejection of the circuit, or of the store if `onStoreError` is `reject`. */
    readonly error: CircuitBreakerOpenError | StoreUnavailableError;
    /** How long to wait, in ms; at least 1. */
    readonly retryAfterMs: number;
  };

/**
 * The permission to do something and report its outcome later. Only the first call of its methods
 * counts; disposing an unsettled permit ignores it. A permit that is never settled returns its
 * half-open slot after `halfOpenLeaseMs`. The methods never throw.
 */
export interface Permit extends AsyncDisposable {
  /**
   * Reports a success. Costs what a call's end does: with `eventual`, no blocking round trip while
   * closed.
   */
  success(): Promise<void>;
  /**
   * Reports a failure. An error is judged by `ignore` and `record`, as if it had been thrown. Costs
   * what `success()` does.
   */
  failure(error?: unknown): Promise<void>;
  /** Reports a neutral outcome. No round trip, except for a trial: one, to free its slot. */
  ignore(): Promise<void>;
}

/**
 * The reason and the actor of an operator's action. Both are kept in the trail and are in events:
 * put no secrets here.
 */
export interface Actor {
  /**
   * The reason. At most 1 000 characters; half a surrogate pair becomes U+FFFD. By default, there
   * is none.
   */
  reason?: string | undefined;
  /** The person or program that acts, at most 1 000 characters. By default, `null` is kept. */
  actor?: string | undefined;
}

/** The length of an override: until an instant, for a time, or until it is released. */
export interface OverrideOptions extends Actor {
  /**
   * An instant, in the future. By default, and without `forMs`, the override lasts until it is
   * released.
   */
  until?: Date | undefined;
  /** The length, in ms. A positive integer. By default, see `until`; giving both is an error. */
  forMs?: number | undefined;
}

/**
 * Guards calls to one dependency. Made by `fuse.make(name)`. While the store cannot be used,
 * `isOpen`, `getState`, `getMetrics`, `snapshot` and `explain` return what this isolate knows, and
 * do not throw.
 */
export interface CircuitBreaker<F = never> extends CircuitIdentity {
  /**
   * Runs `fn` if the circuit admits the call.
   *
   * Cost on a shared store, eventual: no blocking round trip while closed or open, 1 + 1 for a
   * trial (+ 1 at its verdict); strong: 1, and 1 more after a failure or a trial.
   *
   * @param fn The function to guard: sync or async, throwing or not.
   * @param options For this call only.
   * @returns The result of `fn`, or the value of a fallback.
   * @throws The error of `fn`; {@linkcode CircuitBreakerOpenError} if the call was rejected;
   * {@linkcode CallTimeoutError} if it took too long; the signal's reason if the caller gave up;
   * {@linkcode StoreUnavailableError} with `onStoreError: "reject"`; a RangeError or TypeError that
   * names an invalid option.
   */
  call<T, G = never>(
    fn: (context: CallContext) => T | PromiseLike<T>,
    options?: CallOptions<G>,
  ): Promise<T | F | G>;
  /**
   * Does what `call` does, but returns a rejection and an error as data, and never rejects. Costs
   * what `call` does, and less than half of that for a rejection, because no error is thrown.
   *
   * @param fn The function to guard: sync or async, throwing or not.
   * @param options For this call only.
   * @returns The result, the fallback's value, the error or the rejection.
   */
  tryCall<T, G = never>(
    fn: (context: CallContext) => T | PromiseLike<T>,
    options?: CallOptions<G>,
  ): Promise<CallResult<T, F | G>>;
  /**
   * Returns `fn` with every call of it guarded; `this` and the arguments are passed on.
   *
   * @throws {TypeError} If `fn` is not a function.
   */
  wrap<A extends unknown[], T>(
    fn: (...args: A) => T | PromiseLike<T>,
  ): (...args: A) => Promise<T | F>;
  /**
   * Begins a call in two steps, for work that ends long after it began, such as streams. Costs what
   * the beginning of a call does: with `eventual`, no blocking round trip while closed, one for a
   * trial.
   *
   * @throws {CircuitBreakerOpenError} If the circuit rejects the call.
   * @throws {StoreUnavailableError} If the store cannot be used, with `onStoreError: "reject"`.
   */
  admit(): Promise<Permit>;
  /** Returns this isolate's cached view: synchronous, no I/O. */
  peek(): CircuitSnapshot;
  /**
   * Explains the circuit's state in one sentence, short enough for a pager; it says so if this
   * isolate decides alone. One round trip.
   */
  explain(): Promise<string>;
  /**
   * A guarded `fetch`. 5xx and 429 count as failures and are still returned; `Retry-After`
   * lengthens the cooldown; the caller's abort is neutral, and its deadline a failure. Bound, so it
   * can be passed on as it is.
   */
  readonly fetch: GuardedFetch<F>;
  /**
   * Returns `true` if a call would be rejected because the circuit is open or forced open. One
   * round trip.
   */
  isOpen(): Promise<boolean>;
  /** Returns the state that a call meets, and changes nothing: a cooldown that has passed reads
   * `HALF_OPEN`. One round trip. */
  getState(): Promise<CircuitState>;
  /** Returns its counters, with this isolate's pending ones. One round trip. */
  getMetrics(): Promise<CircuitMetrics>;
  /**
   * Returns state, override and counters; `local` if this isolate decides alone. One round trip.
   */
  snapshot(): Promise<CircuitSnapshot>;
  /**
   * Rejects all calls until released. One round trip, also during a back-off of the store.
   *
   * @throws {StoreUnavailableError} If the store does not answer or refuses. `cause` is the store's error.
   * @throws {RangeError | TypeError} Naming the option, what came and what is allowed.
   */
  forceOpen(options?: OverrideOptions): Promise<void>;
  /**
   * Admits all calls until released; they count, and never trip. One round trip; throws like
   * `forceOpen`.
   */
  forceClose(options?: OverrideOptions): Promise<void>;
  /**
   * Admits all calls until released; only totals count, and no call events are emitted. One round
   * trip; throws like `forceOpen`.
   */
  disable(options?: OverrideOptions): Promise<void>;
  /**
   * Admits all calls until released; they count, and `would_open` is announced. One round trip;
   * throws like `forceOpen`.
   */
  metricsOnly(options?: OverrideOptions): Promise<void>;
  /**
   * Ends an override; the state beneath stays. Does nothing without one. One round trip; throws
   * like `forceOpen`.
   */
  release(options?: Actor): Promise<void>;
  /**
   * Closes the circuit and clears its evidence; lifetime totals and an override stay. One round
   * trip; throws like `forceOpen`.
   */
  reset(options?: Actor): Promise<void>;
  /**
   * Deletes the circuit, for example that of a tenant that left. A trail keeps its rows, and adds
   * one for the removal; the next call begins the circuit anew. One round trip; throws like
   * `forceOpen`.
   */
  remove(options?: Actor): Promise<void>;
  /**
   * Returns the rows of the trail about this circuit, latest first. One round trip for each hundred
   * rows, made when they are read.
   *
   * @throws {TypeError} If its store keeps no trail, or the cursor is invalid.
   * @throws {RangeError} If the limit is not an integer of at least 0.
   */
  history(query?: EventQuery): AsyncIterableIterator<CircuitEvent>;
}
