/**
 * Calls through a circuit: their admission, the outcome of their ending, and the caller's result.
 *
 * @module
 */

import type { Grant, Refusal, Unit } from "./admission.ts";
import { type BodyCall, expireUnread, watchBody } from "./body.ts";
import {
  type Call,
  type CallForm,
  elapsed,
  type End,
  give,
  type Plain,
  type Planned,
  TELLING,
  THROWING,
  UNTIMED,
} from "./call_form.ts";
import { CallScope, type Limits, outrun, whenSettled } from "./call_scope.ts";
import type { Circuit } from "./circuit.ts";
import type { CallContext, CallOptions, CallResult, Permit } from "./circuit_breaker.ts";
import type { CircuitState, Clock } from "./contract.ts";
import { CallTimeoutError } from "./errors.ts";
import type { Events } from "./events.ts";
import { fallBack, fallbacksOf } from "./fallbacks.ts";
import { beginAsking, endAsking } from "./fetch.ts";
import { type HandleFunctions, mustBeFunction, timeoutOf } from "./handle_options.ts";
import { borrow, enter, hasLent, isWithin, keepTrial, leave, noteRejection } from "./nesting.ts";
import {
  type Ending,
  failureOf,
  isFine,
  judgeError,
  judgeResult,
  judgeThrown,
  type Kind,
  retryAfterOf,
} from "./rules/outcome.ts";
import { metState } from "./rules/snapshot.ts";

/** The part of a handle that makes calls. */
export class Calls<F> {
  readonly #circuit: Circuit;
  readonly #functions: HandleFunctions<F>;
  readonly #unit: Unit;
  readonly #clock: Clock;
  readonly #events: Events;
  /** The form of plain calls. A handle made for each request reuses its predecessor's. */
  #plain: Plain | null = null;

  constructor(circuit: Circuit, functions: HandleFunctions<F>, unit: Unit) {
    this.#circuit = circuit;
    this.#functions = functions;
    this.#unit = unit;
    this.#clock = circuit.store.clock;
    this.#events = circuit.store.events;
    const { plain } = circuit;
    if (plain?.functions === functions && plain.unit === unit) this.#plain = plain;
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

  // Running a call. In several steps, because an async function saves its variables at each `await`.

  #run(
    fn: Planned["fn"],
    options: CallOptions<unknown> | undefined,
    form: CallForm,
  ): Promise<unknown> {
    const { callTimeoutMs } = this.#circuit.policy;
    if (options === undefined && typeof fn === "function") {
      return this.#admit(fn, undefined, callTimeoutMs, form);
    }
    try {
      mustBeFunction("call", fn);
      const timeoutMs = timeoutOf(options!, callTimeoutMs);
      const signal = options?.signal;
      return signal?.aborted
        ? form.error(signal.reason)
        : this.#admit(fn, options, timeoutMs, form);
    } catch (error) {
      return form.error(error);
    }
  }

  #admit(
    fn: Planned["fn"],
    options: CallOptions<unknown> | undefined,
    timeoutMs: number | undefined,
    form: CallForm,
  ): Promise<unknown> {
    const circuit = this.#circuit;
    if (circuit.policy.settle === "body") expireUnread(circuit);
    const within = isWithin(circuit);
    const decision = circuit.admit(this.#unit);
    const plain = this.#plain;
    if (
      plain !== null && decision === plain.grant && form === plain.form && options === undefined &&
      !this.#events.hearsCalls
    ) return this.#runPlain(plain, fn, timeoutMs);
    const call = { fn, options, timeoutMs, form, within };
    return decision instanceof Promise
      ? decision.then((decided) => this.#decided(decided, call))
      : this.#decided(decision, call);
  }

  #decided(decision: Grant | Refusal, call: Planned): Promise<unknown> {
    if (decision.refused !== null) {
      const slot = borrow(this.#circuit, decision, call.within);
      return slot === null
        ? this.#reject(this.#rejected(decision), call)
        : this.#attempt(slot, call, true);
    }
    if (decision.epoch !== "") this.#pave(decision, call);
    return this.#attempt(decision, call);
  }

  /** Prepares the form for later calls under this grant, if they can be plain. */
  #pave(grant: Grant, { options, form }: Planned): void {
    const [circuit, functions] = [this.#circuit, this.#functions];
    const { slowCallMs, settle } = circuit.policy;
    if (
      (grant.lease ?? grant.alone) !== null || options !== undefined ||
      functions.isFailure !== undefined || slowCallMs !== undefined || settle === "body"
    ) return;
    const call = { options, form };
    this.#plain = circuit.plain = {
      grant,
      functions,
      unit: this.#unit,
      form,
      returned: (value) => {
        const at = this.#clock();
        return isFine(value) && this.#pass(grant, at)
          ? give(form, value)
          : this.#given(grant, value, UNTIMED, at, call);
      },
      threw: (error) => this.#threw(grant, error, UNTIMED, call),
    };
  }

  /**
   * Runs a call that has no limits and no listener, and is not the first under its grant, as most
   * calls are. `then` costs less than an async function, because its reactions are kept.
   */
  #runPlain(
    plain: Plain,
    fn: Planned["fn"],
    timeoutMs: number | undefined,
  ): Promise<unknown> {
    // Read before the function runs, because it may call this handle under another grant.
    const { returned, threw } = plain;
    if (timeoutMs !== undefined) {
      // Continues in this call's asynchronous context, which a timer that calls share does not have.
      return whenSettled(outrun(fn, this.#limits(timeoutMs, undefined)), returned, threw);
    }
    try {
      return whenSettled(fn(new CallScope(undefined, false)), returned, threw);
    } catch (error) {
      return threw(error);
    }
  }

  /** Separate, because a closure's variables are allocated when the enclosing function begins. */
  #limits(timeoutMs: number | undefined, signal: AbortSignal | undefined): Limits {
    const late = () => new CallTimeoutError(this.#circuit.identity, timeoutMs!);
    return { signal, timeoutMs, late };
  }

  async #attempt(grant: Grant, call: Planned, borrowed = false): Promise<unknown> {
    const { fn, options, timeoutMs } = call;
    const signal = options?.signal;
    // The caller gave up while the store was asked: the upstream never saw the call.
    if (signal?.aborted) {
      const [kind, at, error] = ["neutral" as const, this.#clock(), signal.reason];
      return this.#ended(grant, { kind, startedAt: at, at, error, result: undefined }, call);
    }
    const startedAt = this.#clock();
    let value: unknown;
    try {
      enter(this.#circuit, grant, borrowed);
      let result: unknown;
      try {
        result = timeoutMs === undefined && signal === undefined
          ? fn(new CallScope(undefined, false))
          : outrun(fn, this.#limits(timeoutMs, signal));
      } finally {
        leave();
      }
      value = await result;
    } catch (error) {
      return this.#threw(grant, error, startedAt, call);
    }
    return this.#given(grant, value, startedAt, this.#clock(), call);
  }

  /** Settles a success without a listener or a change of state, as nearly all calls are. */
  #pass(grant: Grant, at: number): boolean {
    const circuit = this.#circuit;
    if (this.#events.hearsCalls || !circuit.pass(grant, at)) return false;
    circuit.successes++;
    return true;
  }

  /** Judges and settles a result. Returns the caller's result, or a promise of it. */
  #given(grant: Grant, value: unknown, startedAt: number, at: number, call: Call): unknown {
    const { form } = call;
    const { slowCallMs = Infinity, settle } = this.#circuit.policy;
    const durationMs = elapsed(startedAt, at);
    const kind = judgeResult(value, durationMs, this.#functions, this.#events.report);
    if (kind === "success") {
      if (settle === "body") {
        const watched = watchBody(value, this.#bodyOf(grant, startedAt, at, call.options?.signal));
        if (watched !== null) return give(form, watched);
      }
      if (durationMs < slowCallMs && this.#pass(grant, at)) return give(form, value);
    }
    const settling = this.#settle(grant, { kind, startedAt, at, error: undefined, result: value });
    if (kind === "failure" && this.#fallsBack(call)) {
      return Promise.resolve(settling).then(() => this.#fallBack(value, this.#state, call));
    }
    return settling === undefined ? give(form, value) : settling.then(() => give(form, value));
  }

  /** Judges and settles an error. */
  #threw(grant: Grant, error: unknown, startedAt: number, call: Call): Promise<unknown> {
    const at = this.#clock();
    const kind = this.#judge(error, elapsed(startedAt, at), call.options?.signal);
    return this.#ended(grant, { kind, startedAt, at, error, result: undefined }, call);
  }

  #judge(
    error: unknown,
    durationMs: number,
    signal: AbortSignal | undefined,
    waitedMs = durationMs,
  ): Kind {
    const isAbandoned = waitedMs >= (this.#circuit.policy.abandonedAfterMs ?? Infinity);
    const { report } = this.#events;
    return judgeThrown(error, durationMs, signal, isAbandoned, this.#functions, report);
  }

  /** Returns the call that the end of a body settles. Its duration ends at the headers (`answeredAt`). */
  #bodyOf(
    grant: Grant,
    startedAt: number,
    answeredAt: number,
    signal: AbortSignal | undefined,
  ): BodyCall {
    return {
      circuit: this.#circuit,
      grant,
      signal,
      judge: (error, ms) => this.#judge(error, elapsed(startedAt, this.#clock()), signal, ms),
      settle: (under, kind, error) => {
        const at = this.#clock();
        const from = at - elapsed(startedAt, answeredAt);
        return this.#settle(under, { kind, startedAt: from, at, error, result: undefined });
      },
    };
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
    // The inner call, which took over the slot, counts instead (rule 19).
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
    const circuit = this.#circuit;
    const outcome = circuit.outcome(grant, ending);
    if (outcome === "success") circuit.successes++;
    else circuit.counts[outcome]++;
    if (ending.slow && kind !== "neutral") circuit.counts.slow++;
    beginAsking();
    try {
      return circuit.settle(grant, ending, this.#unit);
    } finally {
      endAsking();
    }
  }

  // Rejecting and falling back

  #rejected({ refused }: Refusal): Refusal["refused"] {
    this.#circuit.countRejected();
    this.#circuit.counts.rejected++;
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

  /** The state that a call meets, in this isolate's view. */
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
