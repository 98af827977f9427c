/**
 * The handle of a circuit that user code holds, its options and its results.
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
  /** Which circuit. */
  readonly circuit: CircuitIdentity;
  /** Why the call has no result of its own: the rejection, what it threw, or the failed result. */
  readonly error: unknown;
  /** The state that a call meets now. */
  readonly state: CircuitState;
}

/**
 * Gives a value in place of the call's, which is returned to the caller. One that throws leaves it to the
 * next; what the last one throws reaches the caller.
 */
export type Fallback<F> = (context: FallbackContext) => F | PromiseLike<F>;

/** When a fallback runs: on rejection only, or on a failed call too. */
export type FallbackOn = "rejection" | "failure";

/** Options of a handle. Functions belong to it and never to the shared circuit. */
export interface CircuitOptions<F = never> extends CircuitPolicy {
  /**
   * Errors that count neither as success nor as failure: classes or predicates. Wins over `record`.
   * Left out: none.
   */
  ignore?: readonly ErrorMatcher[] | undefined;
  /**
   * The only errors that count as failures, others count as successes: classes or predicates. Left
   * out: every error is a failure. A call that ran into its timeout is one either way.
   */
  record?: readonly ErrorMatcher[] | undefined;
  /**
   * Decides if a result or an error is a failure. Left out: thrown errors are, and Responses of 5xx and
   * 429. If it throws, `listener_error` reports that, and the call counts as without it.
   */
  isFailure?: ((outcome: Outcome) => boolean) | undefined;
  /**
   * Gives a value in place of a rejected call's. A list is tried in order. Left out: a rejected call
   * throws.
   */
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
  /**
   * The caller's. When it aborts, the call rejects with its reason. That counts as neutral, but as a
   * failure if the reason is a `TimeoutError`, as that of `AbortSignal.timeout` is, or if
   * `abandonedAfterMs` has passed. Left out: only the timeout ends a call early.
   */
  signal?: AbortSignal | undefined;
  /** In place of `callTimeoutMs`, in ms. A positive integer. Left out: the circuit's. */
  timeoutMs?: number | undefined;
  /** In place of the handle's `fallback`. Left out: that one. */
  fallback?: Fallback<F> | readonly Fallback<F>[] | undefined;
  /** In place of the handle's `fallbackOn`. Left out: that one. */
  fallbackOn?: FallbackOn | undefined;
}

/** The context of the called function. */
export interface CallContext {
  /** Aborts when the caller gives up or the call runs into its timeout. Made when it is read. */
  readonly signal: AbortSignal;
}

/** Result of `tryCall`: told apart by `ok`, then by `source` or `rejected`. */
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
    /** Why the fallback ran: the rejection, what the function threw, or its failed result. */
    readonly error: unknown;
  }
  | {
    /** There is none. */
    readonly ok: false;
    /** The function ran. */
    readonly rejected: false;
    /** The error of the function or of a fallback, a `CallTimeoutError`, or the caller's reason to abort. */
    readonly error: unknown;
  }
  | {
    /** There is none. */
    readonly ok: false;
    /** The function did not run. */
    readonly rejected: true;
    /** The refusal of the circuit, or of the store where `onStoreError` is `reject`. */
    readonly error: CircuitBreakerOpenError | StoreUnavailableError;
    /** How long to wait, in ms; at least 1. */
    readonly retryAfterMs: number;
  };

/**
 * Leave to do something and say later how it went. The first of its methods counts; disposing it
 * unsettled ignores it. One that is never settled gives its half-open slot back after
 * `halfOpenLeaseMs`. None of them throws.
 */
export interface Permit extends AsyncDisposable {
  /** It went well. Costs what a call's end does: with `eventual`, no blocking round trip while closed. */
  success(): Promise<void>;
  /**
   * It failed. An error is judged by `ignore` and `record`, as if it had been thrown. Costs what
   * `success()` does.
   */
  failure(error?: unknown): Promise<void>;
  /** It says nothing about the upstream. No round trip, but for a trial: one, to free its slot. */
  ignore(): Promise<void>;
}

/** Why an operator acts, and who. Kept in the trail and told in events: put no secrets here. */
export interface Actor {
  /** Why. At most 1 000 characters; half a surrogate pair becomes U+FFFD. Left out: not told. */
  reason?: string | undefined;
  /** The person or program that acts, at most 1 000 characters. Left out: `null` is kept. */
  actor?: string | undefined;
}

/** How long an override lasts: until an instant, or for so long, or until it is released. */
export interface OverrideOptions extends Actor {
  /** An instant, in the future. Left out, and `forMs` too: until it is released. */
  until?: Date | undefined;
  /** Or for so long, in ms. A positive integer. Left out: see `until`; both together are refused. */
  forMs?: number | undefined;
}

/**
 * Guards calls to one dependency. Made by `fuse.make(name)`. While the store cannot be used, `isOpen`,
 * `getState`, `getMetrics`, `snapshot` and `explain` give what this isolate knows, and do not throw.
 */
export interface CircuitBreaker<F = never> extends CircuitIdentity {
  /**
   * Runs `fn` if the circuit lets it.
   *
   * Cost on a shared store, eventual: no blocking round trip while closed or open, 1 + 1 for a
   * trial (+ 1 at its verdict); strong: 1, and 1 more after a failure or a trial.
   *
   * @param fn What to guard: sync or async, throwing or not.
   * @param options For this call only.
   * @returns What `fn` returned, or what a fallback did.
   * @throws What `fn` threw; {@linkcode CircuitBreakerOpenError} if it was rejected;
   * {@linkcode CallTimeoutError} if it took too long; the signal's reason if the caller gave up;
   * {@linkcode StoreUnavailableError} with `onStoreError: "reject"`; a RangeError or TypeError that names
   * the option, for bad ones.
   */
  call<T, G = never>(
    fn: (context: CallContext) => T | PromiseLike<T>,
    options?: CallOptions<G>,
  ): Promise<T | F | G>;
  /**
   * Like `call`, but tells a rejection and an error as data, and does not reject. Costs what `call`
   * does, and less than half of it when rejected: no error is thrown.
   *
   * @param fn What to guard: sync or async, throwing or not.
   * @param options For this call only.
   * @returns How it went.
   */
  tryCall<T, G = never>(
    fn: (context: CallContext) => T | PromiseLike<T>,
    options?: CallOptions<G>,
  ): Promise<CallResult<T, F | G>>;
  /**
   * `fn` with every call of it guarded; `this` and the arguments are handed on.
   *
   * @throws {TypeError} If it is no function.
   */
  wrap<A extends unknown[], T>(
    fn: (...args: A) => T | PromiseLike<T>,
  ): (...args: A) => Promise<T | F>;
  /**
   * The two-step form, for what ends long after it began, such as streams. Costs what the beginning of
   * a call does: with `eventual`, no blocking round trip while closed, one for a trial.
   *
   * @throws {CircuitBreakerOpenError} If the circuit does not let it.
   * @throws {StoreUnavailableError} If the store cannot be used, with `onStoreError: "reject"`.
   */
  admit(): Promise<Permit>;
  /** This isolate's view as it stands: synchronous, no I/O. */
  peek(): CircuitSnapshot;
  /**
   * Why it is as it is, in one sentence a pager can carry; it says so if this isolate decides alone. One
   * round trip.
   */
  explain(): Promise<string>;
  /**
   * `fetch`, guarded. 5xx and 429 count as failures and are still returned; `Retry-After`
   * lengthens the cooldown; the caller's abort is neutral, and its deadline a failure. Bound: hand it on as it is.
   */
  readonly fetch: GuardedFetch<F>;
  /** `true` if a call would be rejected because the circuit is open or forced open. One round trip. */
  isOpen(): Promise<boolean>;
  /** Returns the state that a call meets, and changes nothing: a cooldown that has passed reads
   * `HALF_OPEN`. One round trip. */
  getState(): Promise<CircuitState>;
  /** Its counters, this isolate's pending ones laid over. One round trip. */
  getMetrics(): Promise<CircuitMetrics>;
  /** State, override and counters; `local` if this isolate decides alone. One round trip. */
  snapshot(): Promise<CircuitSnapshot>;
  /**
   * Rejects all calls until released. One round trip, also while the store is left alone after it failed.
   *
   * @throws {StoreUnavailableError} If the store does not answer or refuses. `cause` is the store's error.
   * @throws {RangeError | TypeError} Naming the option, what came and what is allowed.
   */
  forceOpen(options?: OverrideOptions): Promise<void>;
  /** Admits all calls until released; they count, and never trip. One round trip; throws as `forceOpen`. */
  forceClose(options?: OverrideOptions): Promise<void>;
  /**
   * Admits all calls until released; only totals count, and no call events fire. One round trip;
   * throws as `forceOpen`.
   */
  disable(options?: OverrideOptions): Promise<void>;
  /**
   * Admits all calls until released; they count, and `would_open` is announced. One round trip; throws
   * as `forceOpen`.
   */
  metricsOnly(options?: OverrideOptions): Promise<void>;
  /**
   * Ends an override; the state beneath stands. Does nothing without one. One round trip; throws as
   * `forceOpen`.
   */
  release(options?: Actor): Promise<void>;
  /** Closes and clears; lifetime totals and an override stay. One round trip; throws as `forceOpen`. */
  reset(options?: Actor): Promise<void>;
  /**
   * Deletes the circuit, such as that of a tenant that left. A trail keeps its rows, and one that says
   * so; the next call begins it anew. One round trip; throws as `forceOpen`.
   */
  remove(options?: Actor): Promise<void>;
  /**
   * Returns the rows of the trail about this circuit, latest first. One round trip for each hundred
   * rows, made when they are read.
   *
   * @throws {TypeError} If its store keeps no trail, or the cursor is not of it.
   * @throws {RangeError} If the limit is no integer of at least 0.
   */
  history(query?: EventQuery): AsyncIterableIterator<CircuitEvent>;
}
