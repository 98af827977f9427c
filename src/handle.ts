/**
 * The handle of a circuit: runs calls through it, judges how they end, falls back.
 *
 * @module
 */

import {
  type Call,
  type CallForm,
  type End,
  type Planned,
  TELLING,
  THROWING,
} from "./call_form.ts";
import { CallScope, outrun } from "./call_scope.ts";
import type { Circuit, Ending, Grant, Known, Refusal, Unit } from "./circuit.ts";
import type {
  Actor,
  CallContext,
  CallOptions,
  CallResult,
  CircuitBreaker,
  GuardedFetch,
  OverrideOptions,
  Permit,
} from "./circuit_breaker.ts";
import type { CircuitEvent, CircuitState, Clock, EventQuery, Override } from "./contract.ts";
import { isCallTimeoutError } from "./errors.ts";
import type { Events } from "./events.ts";
import { fallBack, fallbacksOf } from "./fallbacks.ts";
import { beginAsking, endAsking, guardedFetch, installable } from "./fetch.ts";
import {
  actorOf,
  endOf,
  type HandleFunctions,
  mustBeFunction,
  timeoutOf,
} from "./handle_options.ts";
import { historyOf } from "./history.ts";
import {
  failureOf,
  judgeAbort,
  judgeError,
  judgeResult,
  type Kind,
  retryAfterOf,
} from "./rules/outcome.ts";
import { borrow, enter, hasLent, isWithin, keepTrial, leave, noteRejection } from "./nesting.ts";
import {
  type CircuitMetrics,
  type CircuitSnapshot,
  explain,
  metState,
  toCircuitSnapshot,
  toMetrics,
} from "./rules/snapshot.ts";

/** What to do when a plain call under one grant ends. */
interface Reactions {
  readonly form: CallForm;
  readonly returned: (value: unknown) => unknown;
  readonly threw: (error: unknown) => Promise<unknown>;
}

/** `startedAt` of a call whose duration nobody needs. A small integer: it is held across an `await`. */
const UNTIMED = -1;

/** Implements {@linkcode CircuitBreaker}. */
export class Handle<F> implements CircuitBreaker<F> {
  readonly #circuit: Circuit;
  readonly #functions: HandleFunctions<F>;
  readonly #unit: Unit;
  readonly #clock: Clock;
  readonly #events: Events;
  /** The grant of the last call. */
  #grant: Grant | null = null;
  /** What to do when plain calls under that grant end. */
  #reactions: Reactions | null = null;

  constructor(circuit: Circuit, functions: HandleFunctions<F>, unit: Unit) {
    this.#circuit = circuit;
    this.#functions = functions;
    this.#unit = unit;
    this.#clock = circuit.store.clock;
    this.#events = circuit.store.events;
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
    return this.#run(fn, options, THROWING) as Promise<T | F | G>;
  }

  tryCall<T, G = never>(
    fn: (context: CallContext) => T | PromiseLike<T>,
    options?: CallOptions<G>,
  ): Promise<CallResult<T, F | G>> {
    return this.#run(fn, options, TELLING) as Promise<CallResult<T, F | G>>;
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
    const within = isWithin(this.#circuit);
    const decision = await this.#circuit.admit(this.#unit);
    const grant = decision.refused === null ? decision : borrow(this.#circuit, decision, within);
    if (grant === null) throw this.#rejected(decision as Refusal);
    keepTrial(this.#circuit, grant, false);
    const startedAt = this.#clock();
    const { ignore, record } = this.#functions;
    const { report } = this.#events;
    let settled = false;
    const settle = async (kind: Kind, error?: unknown) => {
      if (settled) return;
      settled = true;
      await this.#settle(grant, { kind, startedAt, at: this.#clock(), error, result: error });
    };
    return {
      success: () => settle("success"),
      failure: (error) =>
        settle(
          error === undefined ? "failure" : judgeError(error, 0, { ignore, record }, report),
          error,
        ),
      ignore: () => settle("neutral"),
      [Symbol.asyncDispose]: () => settle("neutral"),
    };
  }

  get fetch(): GuardedFetch<F> {
    const own = this.#circuit.store.fetch;
    return installable((input, init) => guardedFetch(this, own, input, init));
  }

  peek(): CircuitSnapshot {
    return this.#shown(this.#circuit.peek());
  }

  async explain(): Promise<string> {
    const { snapshot, now, local } = await this.#circuit.look();
    const sentence = explain(this.name, snapshot, now);
    return local ? `${sentence}; this isolate decides alone, the store cannot be used` : sentence;
  }

  async isOpen(): Promise<boolean> {
    return await this.getState() === "OPEN";
  }

  async getState(): Promise<CircuitState> {
    const { snapshot, now } = await this.#circuit.look();
    return metState(snapshot, now);
  }

  async getMetrics(): Promise<CircuitMetrics> {
    return toMetrics((await this.#circuit.look()).snapshot);
  }

  async snapshot(): Promise<CircuitSnapshot> {
    return this.#shown(await this.#circuit.look());
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

  async remove(options?: Actor): Promise<void> {
    const { reason, actor } = actorOf(options);
    await this.#circuit.remove(reason, actor);
  }

  history(query?: EventQuery): AsyncIterableIterator<CircuitEvent> {
    const { driver, name } = this.#circuit.store;
    // What is no query is refused, as it came, when the history is read.
    const own = Object(query) === query || query === undefined;
    return historyOf(driver, name, own ? { ...query, key: this.key } : query);
  }

  #shown({ snapshot, now, ageMs, local }: Known): CircuitSnapshot {
    const { identity } = this.#circuit;
    return toCircuitSnapshot(identity, snapshot, now, ageMs, local);
  }

  async #override(kind: Override, options: OverrideOptions = {}): Promise<void> {
    const until = endOf(options, this.#clock());
    await this.#circuit.override(kind, { until, ...actorOf(options) });
  }

  // Running a call. In several steps, because what an async function holds across an `await` is saved
  // at each of them.

  #run(
    fn: (context: CallContext) => unknown,
    options: CallOptions<unknown> | undefined,
    form: CallForm,
  ): Promise<unknown> {
    let timeoutMs = this.#circuit.policy.callTimeoutMs;
    try {
      if (typeof fn !== "function") mustBeFunction("call", fn);
      if (options !== undefined) timeoutMs = timeoutOf(options, timeoutMs);
    } catch (error) {
      return form.error(error);
    }
    const signal = options?.signal;
    if (signal?.aborted) return form.error(signal.reason);
    const within = isWithin(this.#circuit);
    const decision = this.#circuit.admit(this.#unit);
    if (
      decision === this.#grant && options === undefined && timeoutMs === undefined && !this.#isTimed
    ) return this.#runPlain(decision, fn, form);
    const call = { fn, options, timeoutMs, form, within };
    return decision instanceof Promise
      ? decision.then((decided) => this.#decided(decided, call))
      : this.#decided(decision, call);
  }

  /** `true` if somebody needs to know how long calls take. */
  get #isTimed(): boolean {
    const { slowCallMs, abandonedAfterMs } = this.#circuit.policy;
    return slowCallMs !== undefined || abandonedAfterMs !== undefined ||
      this.#functions.isFailure !== undefined || this.#events.hearsCalls;
  }

  /**
   * Runs a call that nothing limits and nobody measures, and that is not the first under its grant, as
   * most calls are. `then` costs less than an async function, because its reactions are kept.
   */
  #runPlain(grant: Grant, fn: Planned["fn"], form: CallForm): Promise<unknown> {
    let reactions = this.#reactions;
    if (reactions?.form !== form) this.#reactions = reactions = this.#react(grant, form);
    // Taken before the call, which may call this very handle, under another grant.
    const { returned, threw } = reactions;
    try {
      return Promise.resolve(fn(new CallScope(undefined, false))).then(returned, threw);
    } catch (error) {
      return threw(error);
    }
  }

  #react(grant: Grant, form: CallForm): Reactions {
    const call = { options: undefined, form };
    return {
      form,
      returned: (value) => {
        if (typeof value !== "object" && this.#circuit.pass(grant, this.#clock())) {
          return form.value(value);
        }
        const rest = this.#returned(grant, value, UNTIMED, call);
        return rest === undefined ? form.value(value) : rest;
      },
      threw: (error) => this.#threw(grant, error, UNTIMED, call),
    };
  }

  #decided(decision: Grant | Refusal, call: Planned): Promise<unknown> {
    if (decision.refused !== null) {
      const slot = borrow(this.#circuit, decision, call.within);
      return slot === null
        ? this.#reject(this.#rejected(decision), call)
        : this.#attempt(slot, call, true);
    }
    if (this.#grant !== decision) {
      this.#grant = decision;
      this.#reactions = null;
    }
    return this.#attempt(decision, call);
  }

  async #attempt(grant: Grant, call: Planned, borrowed = false): Promise<unknown> {
    const { fn, options, timeoutMs, form } = call;
    const signal = options?.signal;
    // The caller gave up while the store was asked: the upstream never saw the call.
    if (signal?.aborted) {
      const [kind, at, error] = ["neutral" as const, this.#clock(), signal.reason];
      return this.#ended(grant, { kind, startedAt: at, at, error, result: undefined }, call);
    }
    const startedAt = this.#isTimed ? this.#clock() : UNTIMED;
    let value: unknown;
    try {
      enter(this.#circuit, grant, borrowed);
      let result: unknown;
      try {
        result = timeoutMs === undefined && signal === undefined
          ? fn(new CallScope(undefined, false))
          : outrun(fn, signal, timeoutMs, this.#circuit.identity);
      } finally {
        leave();
      }
      value = await result;
    } catch (error) {
      return this.#threw(grant, error, startedAt, call);
    }
    const rest = this.#returned(grant, value, startedAt, call);
    return rest === undefined ? form.value(value) : rest;
  }

  /** Judges and settles a result. Returns `undefined` if the result is to be given as it is, at once. */
  #returned(
    grant: Grant,
    value: unknown,
    startedAt: number,
    call: Call,
  ): Promise<unknown> | undefined {
    const at = this.#clock();
    const functions = this.#functions;
    let kind: Kind = "success";
    if (functions.isFailure !== undefined || (typeof value === "object" && value !== null)) {
      kind = judgeResult(value, elapsed(startedAt, at), functions, this.#events.report);
    }
    const settling = this.#settle(grant, { kind, startedAt, at, error: undefined, result: value });
    if (kind !== "failure" || !this.#fallsBack(call)) {
      return settling?.then(() => call.form.value(value));
    }
    return Promise.resolve(settling).then(() => this.#fallBack(value, this.#state, call));
  }

  /** Judges and settles what was thrown. */
  #threw(grant: Grant, error: unknown, startedAt: number, call: Call): Promise<unknown> {
    const at = this.#clock();
    const durationMs = elapsed(startedAt, at);
    const { report } = this.#events;
    const { abandonedAfterMs = Infinity } = this.#circuit.policy;
    const signal = call.options?.signal;
    // The signal tells whether the caller gave up, whatever the error is called.
    const kind = signal?.aborted && !isCallTimeoutError(error)
      ? judgeAbort(signal.reason, error, durationMs >= abandonedAfterMs, this.#functions, report)
      : judgeError(error, durationMs, this.#functions, report);
    return this.#ended(grant, { kind, startedAt, at, error, result: undefined }, call);
  }

  /** Settles a call that ended with an error. */
  async #ended(grant: Grant, end: End, call: Call): Promise<unknown> {
    const settling = this.#settle(grant, end);
    if (settling !== undefined) await settling;
    return end.kind === "failure" && this.#fallsBack(call)
      ? this.#fallBack(end.error, this.#state, call)
      : call.form.error(end.error);
  }

  #settle(grant: Grant, end: End): Promise<void> | void {
    const { startedAt, at, error, result } = end;
    let { kind } = end;
    if (kind === "neutral") noteRejection(this.#circuit, error ?? result);
    // The call within it, which took over its slot, counts (rule 19).
    if ((grant.lease !== null || grant.alone !== null) && hasLent(this.#circuit, grant)) {
      grant = { ...grant, lease: null, alone: null };
      kind = "neutral";
    }
    const { slowCallMs } = this.#circuit.policy;
    const durationMs = elapsed(startedAt, at);
    const ending: Ending = {
      kind,
      slow: slowCallMs !== undefined && durationMs >= slowCallMs,
      durationMs,
      error,
      retryAfterMs: kind === "failure" ? retryAfterOf(result, at) : 0,
      failure: kind === "failure" ? failureOf(error === undefined ? result : error) : null,
      at,
    };
    beginAsking();
    try {
      return this.#circuit.settle(grant, ending, this.#unit);
    } finally {
      endAsking();
    }
  }

  // Rejecting and falling back

  #rejected({ refused }: Refusal): Refusal["refused"] {
    this.#circuit.countRejected();
    if (this.#events.hears("rejected")) {
      const { retryAfterMs } = refused;
      this.#events.emit("rejected", { ...this.#circuit.identity, retryAfterMs });
    }
    return refused;
  }

  #reject(error: Refusal["refused"], call: Call): Promise<unknown> {
    if (fallbacksOf(call.options, this.#functions).length === 0) return call.form.rejected(error);
    return this.#fallBack(error, "state" in error ? error.state : this.#state, call);
  }

  /** What a call meets, as far as this isolate knows. */
  get #state(): CircuitState {
    const { snapshot, now } = this.#circuit.peek();
    return metState(snapshot, now);
  }

  #fallsBack(call: Call): boolean {
    return (call.options?.fallbackOn ?? this.#functions.fallbackOn) === "failure" &&
      fallbacksOf(call.options, this.#functions).length > 0;
  }

  #fallBack(error: unknown, state: CircuitState, { options, form }: Call): Promise<unknown> {
    const circuit = this.#circuit.identity;
    return fallBack(fallbacksOf(options, this.#functions), { circuit, error, state }, form);
  }
}

/** Returns a duration in ms. Time that went back counts as standing still. */
function elapsed(from: number, to: number): number {
  return from !== UNTIMED && to > from ? to - from : 0;
}
