/**
 * Runs calls through a circuit, judges how they end, falls back.
 *
 * @module
 */

import { CallScope, outrun } from "./call_scope.ts";
import type { Circuit, Ending, Grant, Refusal, Unit } from "./circuit.ts";
import type {
  Actor,
  CallContext,
  CallOptions,
  CallResult,
  CircuitBreaker,
  CircuitOptions,
  Fallback,
  FallbackOn,
  OverrideOptions,
  Permit,
} from "./circuit_breaker.ts";
import { FuseError, isA, isCallTimeoutError, isResponse } from "./errors.ts";
import type { Events } from "./events.ts";
import { type GuardedFetch, guardedFetch } from "./fetch.ts";
import type { CircuitEvent, CircuitState, Clock, EventQuery, Override, Store } from "./contract.ts";
import { historyOf } from "./history.ts";
import {
  discard,
  judgeError,
  type Judgement,
  judgeResult,
  type Kind,
  retryAfterOf,
} from "./rules/outcome.ts";
import { check, MAX_TIMER_MS, mustBeObject, oneOf, received, refuse } from "./checks.ts";
import {
  type CircuitMetrics,
  type CircuitSnapshot,
  explain,
  MAX_DATE_MS,
  metState,
  toCircuitSnapshot,
  toMetrics,
} from "./rules/snapshot.ts";

/** The functions of a handle. */
export interface Handle<F> extends Judgement {
  readonly fallback?: CircuitOptions<F>["fallback"];
  readonly fallbackOn?: FallbackOn | undefined;
}

/** What a handle needs of its Fuse. */
export interface Home {
  readonly clock: Clock;
  readonly events: Events;
  readonly store: Store;
}

/** What to do when a plain call ends. */
interface Reactions {
  readonly returned: (value: unknown) => unknown;
  readonly threw: (error: unknown) => Promise<unknown>;
}

/** Implements {@linkcode CircuitBreaker}. */
export class Breaker<F> implements CircuitBreaker<F> {
  readonly #circuit: Circuit;
  readonly #handle: Handle<F>;
  readonly #clock: Clock;
  readonly #events: Events;
  readonly #store: Store;
  readonly #unit: Unit;
  /** Of the last plain call. */
  #grant: Grant | null = null;
  /** For the calls under that grant. */
  #reactions: Reactions | null = null;

  constructor(circuit: Circuit, handle: Handle<F>, home: Home, unit: Unit) {
    this.#circuit = circuit;
    this.#handle = handle;
    this.#clock = home.clock;
    this.#events = home.events;
    this.#store = home.store;
    this.#unit = unit;
  }

  get key(): string {
    return this.#circuit.identity.key;
  }
  get store(): string {
    return this.#circuit.identity.store;
  }
  get name(): string {
    return this.#circuit.identity.name;
  }
  get context(): string | null {
    return this.#circuit.identity.context;
  }
  get boundary(): string | null {
    return this.#circuit.identity.boundary;
  }

  call<T, G = never>(
    fn: (context: CallContext) => T | PromiseLike<T>,
    options?: CallOptions<G>,
  ): Promise<T | F | G> {
    return this.#run(fn, options, true) as Promise<T | F | G>;
  }

  tryCall<T, G = never>(
    fn: (context: CallContext) => T | PromiseLike<T>,
    options?: CallOptions<G>,
  ): Promise<CallResult<T, F | G>> {
    return this.#run(fn, options, false) as Promise<CallResult<T, F | G>>;
  }

  wrap<A extends unknown[], T>(
    fn: (...args: A) => T | PromiseLike<T>,
  ): (...args: A) => Promise<T | F> {
    mustBeFunction("wrap", fn);
    const call = this.call.bind(this) as typeof this.call;
    return function (this: unknown, ...args: A): Promise<T | F> {
      return call(() => fn.apply(this, args));
    };
  }

  async admit(): Promise<Permit> {
    const clock = this.#clock;
    const decision = await this.#circuit.admit(this.#unit);
    if (decision.refused !== null) throw this.#rejected(decision);
    const startedAt = clock();
    let settled = false;
    const settle = async (kind: Kind, error?: unknown) => {
      if (settled) return;
      settled = true;
      await this.#settle(decision, kind, startedAt, clock(), error, error);
    };
    const { ignore, record } = this.#handle;
    return {
      success: () => settle("success"),
      failure: (error) =>
        settle(
          error === undefined
            ? "failure"
            : judgeError(error, 0, { ignore, record }, this.#events.report),
          error,
        ),
      ignore: () => settle("neutral"),
      [Symbol.asyncDispose]: () => settle("neutral"),
    };
  }

  get fetch(): GuardedFetch<F> {
    return (input, init) => guardedFetch(this, input, init);
  }

  peek(): CircuitSnapshot {
    const { snapshot, now, ageMs } = this.#circuit.peek();
    return toCircuitSnapshot(this.#circuit.identity, snapshot, this.#circuit.reading(now), ageMs);
  }

  async explain(): Promise<string> {
    const { snapshot, now } = await this.#circuit.look();
    return explain(this.name, snapshot, this.#circuit.reading(now));
  }

  async isOpen(): Promise<boolean> {
    return await this.getState() === "OPEN";
  }

  async getState(): Promise<CircuitState> {
    const { snapshot, now } = await this.#circuit.look();
    return metState(snapshot, this.#circuit.reading(now));
  }

  async getMetrics(): Promise<CircuitMetrics> {
    return toMetrics((await this.#circuit.look()).snapshot);
  }

  async snapshot(): Promise<CircuitSnapshot> {
    const { snapshot, now, ageMs } = await this.#circuit.look();
    return toCircuitSnapshot(this.#circuit.identity, snapshot, this.#circuit.reading(now), ageMs);
  }

  forceOpen(options?: OverrideOptions): Promise<void> {
    return this.#override("forced_open", options);
  }

  forceClose(options?: OverrideOptions): Promise<void> {
    return this.#override("forced_closed", options);
  }

  disable(options?: OverrideOptions): Promise<void> {
    return this.#override("disabled", options);
  }

  metricsOnly(options?: OverrideOptions): Promise<void> {
    return this.#override("metrics_only", options);
  }

  async release(options?: Actor): Promise<void> {
    await this.#circuit.override(null, { until: null, ...actorOf(options) });
  }

  async reset(options?: Actor): Promise<void> {
    const { reason, actor } = actorOf(options);
    await this.#circuit.reset(reason, actor);
  }

  history(query?: EventQuery): AsyncIterableIterator<CircuitEvent> {
    // What is no query is refused, as it came, when the history is read.
    const own = Object(query) === query || query === undefined;
    return historyOf(this.#store, this.store, own ? { ...query, key: this.key } : query);
  }

  async #override(kind: Override, options: OverrideOptions = {}): Promise<void> {
    const now = this.#clock();
    mustBeObject("override", options);
    const { until, forMs } = options;
    const subject = "override";
    if (until !== undefined && forMs !== undefined) {
      throw new TypeError(`Cannot create ${subject}: "until" and "forMs" exclude each other`);
    }
    if (until !== undefined && !(until instanceof Date && until.getTime() > now)) {
      throw new RangeError(
        `Cannot create ${subject}: "until" must be a Date in the future, received ${
          until instanceof Date ? String(until) : received(until)
        }`,
      );
    }
    const duration = check(subject, "forMs", forMs, undefined);
    await this.#circuit.override(kind, {
      until: until?.getTime() ??
        (duration === undefined ? null : Math.min(now + duration, MAX_DATE_MS)),
      ...actorOf(options),
    });
  }

  /**
   * Both forms of a call: `raw` gives the value or rejects, else a {@linkcode CallResult}. In
   * several steps, since what an async function holds across an `await` is saved at each of them.
   */
  #run<T>(
    fn: (context: CallContext) => T | PromiseLike<T>,
    options: CallOptions<unknown> | undefined,
    raw: boolean,
  ): Promise<unknown> {
    let timeoutMs = this.#circuit.policy.callTimeoutMs;
    try {
      if (typeof fn !== "function") mustBeFunction("call", fn);
      if (options !== undefined) {
        mustBeObject("call", options);
        timeoutMs = check("call", "timeoutMs", options.timeoutMs, timeoutMs, 1, MAX_TIMER_MS);
        checkFallback("call", options);
        const { signal } = options;
        if (signal !== undefined && !(signal instanceof AbortSignal)) {
          refuse("call", "signal", "an AbortSignal", signal);
        }
        if (signal?.aborted) return ended(signal.reason, raw);
      }
    } catch (error) {
      return ended(error, raw);
    }
    const decision = this.#circuit.admit(this.#unit);
    const plain = raw && options === undefined && timeoutMs === undefined && !this.#timed;
    // The grant of the last plain call stands: mostly it does.
    if (plain && decision === this.#grant) return this.#plain(decision, fn);
    return decision instanceof Promise
      ? decision.then((decided) => this.#go(decided, fn, options, timeoutMs, raw))
      : this.#go(decision, fn, options, timeoutMs, raw);
  }

  #go<T>(
    decision: Grant | Refusal,
    fn: (context: CallContext) => T | PromiseLike<T>,
    options: CallOptions<unknown> | undefined,
    timeoutMs: number | undefined,
    raw: boolean,
  ): Promise<unknown> {
    if (decision.refused !== null) return this.#reject(this.#rejected(decision), options, raw);
    if (this.#grant !== decision) {
      this.#grant = decision;
      this.#reactions = null;
    }
    return this.#attempt(decision, fn, options, timeoutMs, raw);
  }

  /**
   * A call that nothing limits and nobody measures, and not the first under its grant: most are like
   * that. `then` costs less than an async function as long as its reactions need not be made anew.
   */
  #plain<T>(grant: Grant, fn: (context: CallContext) => T | PromiseLike<T>): Promise<unknown> {
    // Taken before the call: it may call this very handle, under another grant.
    const { returned, threw } = this.#reactions ??= this.#react(grant);
    try {
      return Promise.resolve(fn(new CallScope(undefined, false))).then(returned, threw);
    } catch (error) {
      return this.#threw(grant, error, UNTIMED, undefined, true);
    }
  }

  #react(grant: Grant): Reactions {
    return {
      returned: (value) => {
        if (typeof value !== "object" && this.#circuit.pass(grant, this.#clock())) return value;
        const more = this.#returned(grant, value, UNTIMED, undefined, true);
        return more === undefined ? value : more;
      },
      threw: (error) => this.#threw(grant, error, UNTIMED, undefined, true),
    };
  }

  async #attempt<T>(
    grant: Grant,
    fn: (context: CallContext) => T | PromiseLike<T>,
    options: CallOptions<unknown> | undefined,
    timeoutMs: number | undefined,
    raw: boolean,
  ): Promise<unknown> {
    const startedAt = this.#timed ? this.#clock() : UNTIMED;
    let value: T;
    try {
      value = timeoutMs === undefined && options?.signal === undefined
        ? await fn(new CallScope(undefined, false))
        : await outrun(fn, options?.signal, timeoutMs, this.#circuit.identity);
    } catch (error) {
      return this.#threw(grant, error, startedAt, options, raw);
    }
    const more = this.#returned(grant, value, startedAt, options, raw);
    if (more !== undefined) return more;
    return raw ? value : { ok: true, source: "call", value };
  }

  /** Whether anybody wants to know how long calls take. */
  get #timed(): boolean {
    return this.#circuit.policy.slowCallMs !== undefined ||
      this.#handle.isFailure !== undefined || this.#events.hearsCalls;
  }

  /** Judges and settles a result; `undefined`: it is to be returned, and nothing is left to wait for. */
  #returned<T>(
    grant: Grant,
    value: T,
    startedAt: number,
    options: CallOptions<unknown> | undefined,
    raw: boolean,
  ): Promise<unknown> | undefined {
    const at = this.#clock();
    const handle = this.#handle;
    let kind: Kind = "success";
    if (handle.isFailure !== undefined || (typeof value === "object" && value !== null)) {
      kind = judgeResult(value, elapsed(startedAt, at), handle, this.#events.report);
    }
    const settling = this.#settle(grant, kind, startedAt, at, undefined, value);
    if (kind !== "failure" || !this.#fallsBack(options)) {
      if (settling === undefined) return undefined;
      return settling.then(() => raw ? value : { ok: true, source: "call", value });
    }
    return Promise.resolve(settling)
      .then(() => this.#fallBack(value, this.#state, options, raw));
  }

  async #threw(
    grant: Grant,
    error: unknown,
    startedAt: number,
    options: CallOptions<unknown> | undefined,
    raw: boolean,
  ): Promise<unknown> {
    const at = this.#clock();
    // The caller gave up: told by its signal, whatever the error is called.
    const kind = options?.signal?.aborted && !isCallTimeoutError(error)
      ? "neutral"
      : judgeError(error, elapsed(startedAt, at), this.#handle, this.#events.report);
    const settling = this.#settle(grant, kind, startedAt, at, error, undefined);
    if (settling !== undefined) await settling;
    return kind === "failure" && this.#fallsBack(options)
      ? this.#fallBack(error, this.#state, options, raw)
      : ended(error, raw);
  }

  #settle(
    grant: Grant,
    kind: Kind,
    startedAt: number,
    at: number,
    error: unknown,
    result: unknown,
  ): Promise<void> | void {
    const { slowCallMs } = this.#circuit.policy;
    const durationMs = elapsed(startedAt, at);
    const ending: Ending = {
      kind,
      slow: slowCallMs !== undefined && durationMs >= slowCallMs,
      durationMs,
      error,
      retryAfterMs: kind === "failure" ? retryAfterOf(result, at) : 0,
      at,
    };
    return this.#circuit.settle(grant, ending, this.#unit);
  }

  #rejected({ refused }: Refusal): Refusal["refused"] {
    this.#circuit.countRejected();
    const events = this.#events;
    if (events.hears("rejected")) {
      const { retryAfterMs } = refused;
      events.emit("rejected", { ...this.#circuit.identity, retryAfterMs });
    }
    return refused;
  }

  #reject(
    error: Refusal["refused"],
    options: CallOptions<unknown> | undefined,
    raw: boolean,
  ): Promise<unknown> {
    if (this.#chain(options).length > 0) {
      return this.#fallBack(error, "state" in error ? error.state : this.#state, options, raw);
    }
    return rejected(error, raw);
  }

  /** What a call meets, as far as is known here. */
  get #state(): CircuitState {
    const { snapshot, now } = this.#circuit.peek();
    return metState(snapshot, this.#circuit.reading(now));
  }

  #fallsBack(options: CallOptions<unknown> | undefined): boolean {
    return (options?.fallbackOn ?? this.#handle.fallbackOn) === "failure" &&
      this.#chain(options).length > 0;
  }

  /** The call's fallbacks, else the handle's; none by default. */
  #chain(options: CallOptions<unknown> | undefined): readonly Fallback<unknown>[] {
    const fallback = options?.fallback ?? this.#handle.fallback;
    return fallback == null ? NONE : [fallback].flat() as Fallback<unknown>[];
  }

  /** The first fallback that gives a value; if none does, what the last one threw. */
  async #fallBack(
    error: unknown,
    state: CircuitState,
    options: CallOptions<unknown> | undefined,
    raw: boolean,
  ): Promise<unknown> {
    const context = { circuit: this.#circuit.identity, error, state };
    let thrown: unknown = error;
    for (const fallback of this.#chain(options)) {
      try {
        const value = await fallback(context);
        // Only where nobody can have kept it: it was given to the fallback, and `tryCall` tells it.
        if (raw && !holds(value, error)) discard(error);
        return raw ? value : { ok: true, source: "fallback", value, error };
      } catch (next) {
        thrown = next;
      }
    }
    if (raw) discard(error);
    // One that hands the rejection on leaves it what it was.
    return thrown === error && isA(error, FuseError) && "retryAfterMs" in error
      ? rejected(error as Refusal["refused"], raw)
      : ended(thrown, raw);
  }
}

/** Nobody wants to know how long the call took. A small integer: it is held across the `await`. */
const UNTIMED = -1;

/** Time that went back counts as standing still. */
function elapsed(from: number, to: number): number {
  return from !== UNTIMED && to > from ? to - from : 0;
}

/** @throws {RangeError | TypeError} If `fallback` or `fallbackOn` is none. */
export function checkFallback(
  subject: string,
  { fallback, fallbackOn }: Pick<CircuitOptions<unknown>, "fallback" | "fallbackOn">,
): void {
  if (fallback != null && ![fallback].flat().every((one) => typeof one === "function")) {
    refuse(subject, "fallback", "a function or a list of functions", fallback);
  }
  oneOf(subject, "fallbackOn", fallbackOn, ["rejection", "failure"]);
}

/** Whether a fallback's value may still need the Response that it replaces. */
function holds(value: unknown, response: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  return !(isResponse(value) && isResponse(response)) ||
    value === response || value.body === response.body;
}

const NONE: readonly Fallback<unknown>[] = [];

/** A call that was not let through. */
function rejected(error: Refusal["refused"], raw: boolean): Promise<unknown> {
  if (raw) return Promise.reject(error);
  const { retryAfterMs } = error;
  return Promise.resolve({ ok: false, rejected: true, error, retryAfterMs });
}

/** A call that ends with an error. */
function ended(error: unknown, raw: boolean): Promise<unknown> {
  return raw ? Promise.reject(error) : Promise.resolve({ ok: false, rejected: false, error });
}

/** Why and who, checked. @throws {TypeError} If either is no short text. */
export function actorOf(options: Actor = {}): { reason: string | null; actor: string | null } {
  mustBeObject("action", options);
  for (const option of ["reason", "actor"] as const) {
    const value = options[option];
    if (value !== undefined && (typeof value !== "string" || value.length > 1000)) {
      throw new TypeError(
        `Cannot act on a circuit: "${option}" must be a text of at most 1000 characters, ` +
          `received ${received(value)}`,
      );
    }
  }
  // No store keeps halves of characters, such as a text that was cut has at its end.
  const [reason = null, actor = null] = [options.reason, options.actor].map((words) =>
    words?.toWellFormed()
  );
  return { reason, actor };
}

function mustBeFunction(method: string, fn: unknown): void {
  if (typeof fn !== "function") {
    throw new TypeError(`Cannot ${method}: "fn" must be a function, received ${received(fn)}`);
  }
}
