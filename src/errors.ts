/**
 * The few errors a caller catches.
 *
 * None of them captures a stack: constructing a native Error costs more than the rest of a rejection,
 * and neither a rejection nor a timer has frames of the user's to show. They are `instanceof Error`
 * through their prototype chain.
 *
 * @module
 */

import type { CircuitIdentity } from "./key.ts";
import { hasBrand, quote } from "./checks.ts";
import type { CircuitState, Override } from "./contract.ts";

/** What all errors of this package have in common. */
export interface FuseError extends Error {
  /** Name, message and the public fields, as `JSON.stringify` shows them. */
  toJSON(): Record<string, unknown>;
}

/** Base of all errors of this package. `instanceof Error`, but without a captured stack. */
export class FuseError {
  static {
    Object.setPrototypeOf(this.prototype, Error.prototype);
    named(this, "FuseError");
  }
  /** What happened, in one sentence. May be set, as with any Error. */
  get message(): string {
    return this.describe();
  }
  set message(message: string) {
    own(this, "message", message);
  }
  /** One line: name and message. May be set, as with any Error. */
  get stack(): string {
    return `${this.name}: ${this.message}`;
  }
  set stack(stack: string) {
    own(this, "stack", stack);
  }
  /** The sentence of `message`. */
  protected describe(): string {
    return "";
  }
  /** Name, message and the public fields, as `JSON.stringify` shows them. */
  toJSON(): Record<string, unknown> {
    return { ...(this as object), name: this.name, message: this.message };
  }
}

/** Names a class, for all of its instances and whatever a minifier calls it. */
function named(of: { readonly prototype: object }, name: string): void {
  own(of.prototype, "name", name);
}

function own(object: object, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, configurable: true, writable: true });
}

/** What `getResponse()` gave: a rejection in another form. */
const rejections = new WeakSet<Response>();

/** Whether this very Response is the rejection of a breaker. */
export function isRejection(value: unknown): boolean {
  return rejections.has(value as Response);
}

/** A call was rejected: the circuit is open, half-open with no slot free, or forced open. */
export class CircuitBreakerOpenError extends FuseError {
  static {
    named(this, "CircuitBreakerOpenError");
  }
  /** Which circuit. */
  readonly circuit: CircuitIdentity;
  /** `OPEN`, or `HALF_OPEN` when all trial slots are taken. */
  readonly state: CircuitState;
  /** `forced_open` if an operator rejects all calls. */
  readonly override: Override | null;
  /** Why: the strategy that opened it, `trial_failed`, or the operator's words. */
  readonly reason: string | null;
  /** How long to wait, in ms; at least 1. */
  readonly retryAfterMs: number;
  readonly #why: string;

  /** Made by the breaker. `why` is the sentence of `explain()`. */
  constructor(
    circuit: CircuitIdentity,
    state: CircuitState,
    override: Override | null,
    reason: string | null,
    retryAfterMs: number,
    why: string,
  ) {
    super();
    this.circuit = circuit;
    this.state = state;
    this.override = override;
    this.reason = reason;
    this.retryAfterMs = retryAfterMs;
    this.#why = why;
  }

  /** The sentence of `explain()`. */
  protected override describe(): string {
    return this.#why;
  }

  /**
   * 503 with `Retry-After` in whole seconds and an `application/problem+json` body (RFC 9457). A breaker
   * further out whose call returns it counts nothing, as if this error were thrown. A copy (`clone()`,
   * `new Response(response.body, response)`) is a 503 like any other.
   */
  getResponse(): Response {
    const { state, retryAfterMs } = this;
    const response = Response.json({
      type: "about:blank",
      title: "Service Unavailable",
      status: 503,
      detail: this.message,
      circuit: this.circuit.name,
      state,
      retryAfterMs,
    }, {
      status: 503,
      headers: {
        "content-type": "application/problem+json",
        "cache-control": "no-store",
        "retry-after": String(Math.max(1, Math.ceil(retryAfterMs / 1000))),
      },
    });
    rejections.add(response);
    return response;
  }
}

/** A call took longer than its timeout. It counts as a failure. */
export class CallTimeoutError extends FuseError {
  static {
    named(this, "CallTimeoutError");
  }
  /** Which circuit. */
  readonly circuit: CircuitIdentity;
  /** How long it was allowed to take, in ms. */
  readonly timeoutMs: number;

  /** Made by the breaker. */
  constructor(circuit: CircuitIdentity, timeoutMs: number) {
    super();
    this.circuit = circuit;
    this.timeoutMs = timeoutMs;
  }

  /** Circuit and timeout. */
  protected override describe(): string {
    return `Call through circuit ${quote(this.circuit.name)} took longer than ${this.timeoutMs} ms`;
  }
}

/** The store could not be used: it did not answer, refused, or is left alone after it failed. */
export class StoreUnavailableError extends FuseError {
  static {
    named(this, "StoreUnavailableError");
  }
  /** The store's name in `createFuse({ stores })`. */
  readonly store: string;
  /** When it will be asked again, in ms; at least 1. */
  readonly retryAfterMs: number;

  readonly #answered: boolean;

  /**
   * Made by the breaker.
   *
   * @param failure What the store said (`answered`), or what kept it from answering. It becomes `cause`.
   */
  constructor(
    store: string,
    retryAfterMs: number,
    failure?: { readonly error: unknown; readonly answered: boolean },
  ) {
    super();
    this.store = store;
    this.retryAfterMs = retryAfterMs;
    this.#answered = failure?.answered === true;
    if (failure !== undefined) own(this, "cause", failure.error);
  }

  /** Which store, and when it is asked again. */
  protected override describe(): string {
    const failed = this.#answered ? "refuses" : "does not answer";
    return `Store ${quote(this.store)} ${failed}; it is asked again in ${this.retryAfterMs} ms`;
  }
}

/** Whether a call was rejected by a circuit; true for errors of another copy of this package too. */
export function isCircuitBreakerOpenError(e: unknown): e is CircuitBreakerOpenError {
  return isNamed(e, "CircuitBreakerOpenError", "retryAfterMs");
}

/** Whether a call ran into its timeout; true for errors of another copy of this package too. */
export function isCallTimeoutError(e: unknown): e is CallTimeoutError {
  return isNamed(e, "CallTimeoutError", "timeoutMs");
}

/**
 * Whether a call was refused because the store did not answer; true for errors of another copy of this
 * package too.
 */
export function isStoreUnavailableError(e: unknown): e is StoreUnavailableError {
  return isNamed(e, "StoreUnavailableError", "store");
}

/** Returns `true` for an error of that name. What throws when it is looked at has no name. */
export function hasName(e: unknown, name: string): e is Error {
  try {
    return e instanceof Error && e.name === name;
  } catch {
    return false;
  }
}

/** What a user's code threw may throw in its turn when it is looked at: it is none of ours then. */
function isNamed(e: unknown, name: string, field: string): boolean {
  try {
    return hasName(e, name) && field in e;
  } catch {
    return false;
  }
}

/** Returns `true` for a Response of any class that can be looked at: its prototype alone is no proof. */
export function isResponse(value: unknown): value is Response {
  try {
    return hasBrand(value, "Response") && (value as Response).status >= 0;
  } catch {
    return false;
  }
}

/** `instanceof`, for what came out of a user's code. */
export function isA<T>(value: unknown, type: abstract new (...args: never[]) => T): value is T {
  try {
    return value instanceof type;
  } catch {
    return false;
  }
}

/** What an error of a server concerns: one circuit, or all that it keeps. */
export type AnswerScope = "circuit" | "store";

/**
 * A store's server answered with an error. Drivers throw it; whatever else a driver throws means that the
 * server was not reached.
 *
 * An error about one circuit (a key of another type, a row that cannot be read) leaves all others alone.
 * An error about everything (out of memory, read-only, a quota, no permission) does not. If a driver cannot
 * tell, `circuit` does less harm: a store that refuses several circuits in a row is left alone anyway.
 *
 * @example A driver says what was refused
 * ```ts
 * import { StoreAnswerError } from "@fuse/edge/store";
 * import { assertEquals } from "@std/assert";
 *
 * const error = new StoreAnswerError("KV: the quota is used up", { scope: "store" });
 * assertEquals([error.name, error.scope], ["StoreAnswerError", "store"]);
 * ```
 */
export class StoreAnswerError extends Error {
  // No static block: a bundle that has no driver of a shared store is to lose the class.
  /** `StoreAnswerError`, whatever a minifier calls the class. */
  override readonly name = "StoreAnswerError";
  /** Whether it concerns this circuit alone, or every circuit of the store. */
  declare readonly scope: AnswerScope;

  /**
   * Makes the error.
   *
   * @param message What the server said, without addresses, credentials and payloads.
   * @param options The scope, and as `cause` the client's error, if that may be shown.
   */
  constructor(message: string, options: { scope: AnswerScope; cause?: unknown }) {
    super(message, options);
    this.scope = options.scope;
  }
}

/** Returns `true` for a {@linkcode StoreAnswerError}, by its shape: that of another copy, too. */
export function isStoreAnswerError(e: unknown): e is StoreAnswerError {
  try {
    const { name, scope } = Object(e) as Partial<StoreAnswerError>;
    return name === "StoreAnswerError" && (scope === "circuit" || scope === "store");
  } catch {
    return false;
  }
}
