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

/** The shape of all errors of this package. */
export interface FuseError extends Error {
  /** Returns name, message and the public fields, as `JSON.stringify` shows them. */
  toJSON(): Record<string, unknown>;
}

/**
 * Base of all errors of this package. `instanceof Error`, but without a captured stack. `name` and
 * `message` are own enumerable properties, so that `structuredClone` and Workers RPC keep them.
 */
export class FuseError {
  static {
    Object.setPrototypeOf(this.prototype, Error.prototype);
  }

  /** Creates the error. The breaker calls this. */
  constructor(name = "FuseError", message = "") {
    this.name = name;
    this.message = message;
  }

  /** Returns one line, name and message. Can be set, as with any Error. */
  get stack(): string {
    return `${this.name}: ${this.message}`;
  }
  set stack(value: string) {
    Object.defineProperty(this, "stack", { value, configurable: true, writable: true });
  }
  /** Returns name, message and the public fields, as `JSON.stringify` shows them. */
  toJSON(): Record<string, unknown> {
    return { ...(this as object) };
  }
}

/** The Responses that `getResponse()` made, each with its circuit: rejections in another form. */
const rejections = new WeakMap<object, CircuitIdentity>();

/** Returns `true` if this very Response is the rejection of a breaker. */
export function isRejection(value: unknown): boolean {
  return rejections.has(value as object);
}

/** A call was rejected: the circuit is open, half-open with no slot free, forced open, or ramps up. */
export class CircuitBreakerOpenError extends FuseError {
  /** The identity of the circuit. */
  declare readonly circuit: CircuitIdentity;
  /** `OPEN`, or `HALF_OPEN` if all trial slots are taken, or `CLOSED` during a ramp (`rampMs`). */
  declare readonly state: CircuitState;
  /** `forced_open` if an operator rejects all calls. */
  declare readonly override: Override | null;
  /**
   * The reason: the strategy that opened it, `trial_failed`, `trials_in_flight` in HALF_OPEN,
   * `ramp` in CLOSED, or the operator's words.
   */
  declare readonly reason: string | null;
  /** How long to wait, in ms; at least 1. */
  declare readonly retryAfterMs: number;

  /** Creates the error. The breaker calls this. `why` is the sentence of `explain()`. */
  constructor(
    circuit: CircuitIdentity,
    state: CircuitState,
    override: Override | null,
    reason: string | null,
    retryAfterMs: number,
    why: string,
  ) {
    super("CircuitBreakerOpenError", why);
    this.circuit = circuit;
    this.state = state;
    this.override = override;
    this.reason = reason;
    this.retryAfterMs = retryAfterMs;
  }

  /**
   * Returns a 503 with `Retry-After` in whole seconds and an `application/problem+json` body (RFC
   * 9457). An outer breaker whose call returns it counts nothing, as if this error were thrown. A
   * copy (`clone()`, `new Response(response.body, response)`) is a 503 like any other.
   *
   * @param options `expose`: also names the circuit and the reason, for development; `false` by
   * default, because names of upstreams and operators' words are not for the public.
   */
  getResponse({ expose = false }: { expose?: boolean | undefined } = {}): Response {
    const { state, retryAfterMs } = this;
    const response = Response.json({
      type: "about:blank",
      title: "Service Unavailable",
      status: 503,
      retryAfterMs,
      ...(expose ? { detail: this.message, circuit: this.circuit.name, state } : null),
    }, {
      status: 503,
      headers: {
        "content-type": "application/problem+json",
        "cache-control": "no-store",
        "retry-after": String(Math.max(1, Math.ceil(retryAfterMs / 1000))),
      },
    });
    rejections.set(response, this.circuit);
    return response;
  }
}

/** A call took longer than its timeout. It counts as a failure. */
export class CallTimeoutError extends FuseError {
  /** The identity of the circuit. */
  declare readonly circuit: CircuitIdentity;
  /** The limit that the call exceeded, in ms. */
  declare readonly timeoutMs: number;

  /** Creates the error. The breaker calls this. */
  constructor(circuit: CircuitIdentity, timeoutMs: number) {
    super(
      "CallTimeoutError",
      `Call through circuit ${quote(circuit.name)} took longer than ${timeoutMs} ms`,
    );
    this.circuit = circuit;
    this.timeoutMs = timeoutMs;
  }
}

/**
 * A body did not begin in time, or stalled, under `settle: "body"`. Its reader receives this error,
 * and the call counts as a failure.
 */
export class BodyTimeoutError extends FuseError {
  /** The identity of the circuit. */
  declare readonly circuit: CircuitIdentity;
  /** How long a read waited, in ms: `firstByteTimeoutMs` or `idleTimeoutMs`. */
  declare readonly timeoutMs: number;

  /** Creates the error. The breaker calls this. */
  constructor(circuit: CircuitIdentity, timeoutMs: number, isFirst: boolean) {
    super(
      "BodyTimeoutError",
      `Body of a call through circuit ${quote(circuit.name)} ${
        isFirst ? "did not begin within" : "stalled for"
      } ${timeoutMs} ms`,
    );
    this.circuit = circuit;
    this.timeoutMs = timeoutMs;
  }
}

/**
 * The store could not be used: it did not answer, refused, or is in back-off. `cause` is the
 * store's own error: a {@linkcode StoreAnswerError} if the server answered. It is not enumerable.
 */
export class StoreUnavailableError extends FuseError {
  /** The store's name in `createFuse({ stores })`. */
  declare readonly store: string;
  /** The length of the back-off, in ms; at least 1. Operators may ask the store at once. */
  declare readonly retryAfterMs: number;

  /**
   * Creates the error. The breaker calls this.
   *
   * @param failure The error of the store (`answered`), or the reason why it did not answer. It
   * becomes `cause`.
   */
  constructor(
    store: string,
    retryAfterMs: number,
    failure?: { readonly error: unknown; readonly answered: boolean },
  ) {
    const failed = failure?.answered ? "refuses" : "does not answer";
    // Without a back-off, as after a list that failed, there is nothing to wait for.
    const until = retryAfterMs > 1 ? `; it is asked again in ${retryAfterMs} ms` : "";
    super("StoreUnavailableError", `Store ${quote(store)} ${failed}${until}`);
    this.store = store;
    this.retryAfterMs = retryAfterMs;
    if (failure === undefined) return;
    // As an Error has it: not among the fields that are printed or sent.
    Object.defineProperty(this, "cause", {
      value: failure.error,
      configurable: true,
      writable: true,
    });
  }
}

/**
 * Returns `true` for the rejection of a call by a circuit. Judged by its shape: an error of another
 * copy of this package, a `structuredClone` and an error over RPC of Workers are rejections, too.
 */
export function isCircuitBreakerOpenError(e: unknown): e is CircuitBreakerOpenError {
  return isShaped(e, "CircuitBreakerOpenError", "retryAfterMs");
}

/**
 * Returns `true` if a call ran into its timeout. Judged by its shape, like
 * {@linkcode isCircuitBreakerOpenError}.
 */
export function isCallTimeoutError(e: unknown): e is CallTimeoutError {
  return isShaped(e, "CallTimeoutError", "timeoutMs");
}

/**
 * Returns `true` if a body did not begin in time, or stalled. Judged by its shape, like
 * {@linkcode isCircuitBreakerOpenError}.
 */
export function isBodyTimeoutError(e: unknown): e is BodyTimeoutError {
  return isShaped(e, "BodyTimeoutError", "timeoutMs");
}

/** Returns `true` for a timeout of ours, of a call or of a body. */
export function isTimeout(e: unknown): boolean {
  return isCallTimeoutError(e) || isBodyTimeoutError(e);
}

/**
 * Returns `true` if the store could not be used for a call or an operator's action. Judged by its
 * shape, like {@linkcode isCircuitBreakerOpenError}.
 */
export function isStoreUnavailableError(e: unknown): e is StoreUnavailableError {
  return isShaped(e, "StoreUnavailableError", "retryAfterMs");
}

/** Returns the circuit of a rejection, which may be an error or a Response, else `undefined`. */
export function rejectedBy(cause: unknown): CircuitIdentity | undefined {
  return findRejection(cause)?.circuit ?? rejections.get(cause as object);
}

/** The depth to which `rejectionOf` examines an error: causes may form a circle. */
const MAX_CAUSES = 16;

/**
 * Returns the rejection inside of an error that an SDK has wrapped, following `cause`; `undefined`
 * if there is none. Of an error of `Promise.any`, returns the first one if all of its errors are
 * rejections. Converts a clone to a real error with `getResponse()`.
 *
 * @example
 * ```ts
 * import { createFuse, rejectionOf } from "@fuse/edge";
 * import { assertEquals } from "@std/assert";
 *
 * const api = createFuse().make("api");
 * await api.forceOpen();
 * const sdk = async () => {
 *   try {
 *     return await api.call(() => "fine");
 *   } catch (cause) {
 *     throw new Error("Connection error", { cause });
 *   }
 * };
 * const error = await sdk().catch((error) => error);
 * assertEquals(rejectionOf(error)?.retryAfterMs, 60_000);
 * ```
 */
export function rejectionOf(
  e: unknown,
): CircuitBreakerOpenError | StoreUnavailableError | undefined {
  const found = findRejection(e);
  if (found === undefined || isA(found, FuseError)) return found as CircuitBreakerOpenError;
  return isCircuitBreakerOpenError(found)
    ? circuitRejection(found)
    : new StoreUnavailableError(found.store ?? "", found.retryAfterMs ?? UNKNOWN_MS);
}

/** A rejection, or an incomplete copy of one. */
type Found = Partial<CircuitBreakerOpenError & StoreUnavailableError>;

/** Returns the rejection within an error unchanged, perhaps a clone. */
export function findRejection(e: unknown, depth = 0): Found | undefined {
  for (; depth < MAX_CAUSES; depth++) {
    if (typeof e !== "object" || e === null) return undefined;
    if (isCircuitBreakerOpenError(e) || isStoreUnavailableError(e)) return e as Found;
    try {
      const { cause, errors } = e as Partial<AggregateError>;
      // `Promise.any` fails by rejections alone if circuits rejected every one of its calls. A list
      // counts as four causes: its first error is examined twice, and an upstream may have nested it.
      e = cause ?? (errors?.every?.((one) => findRejection(one, depth + 4)) && errors[0]);
    } catch {
      return undefined;
    }
  }
  return undefined;
}

/** The time to wait if an error has lost it, in ms. */
const UNKNOWN_MS = 1000;

/** Converts a clone to a real error. Fields that the clone has lost are read from its sentence. */
function circuitRejection(e: Partial<CircuitBreakerOpenError>): CircuitBreakerOpenError {
  const message = (e.message ?? "").replace(/^\w+Error: /, "");
  const [, name = "", until = ""] = /^Circuit "(.*?)" is.*?(?:at (\S+Z))?$/.exec(message) ?? [];
  return new CircuitBreakerOpenError(
    e.circuit ?? { key: name, store: "", name, context: null, boundary: null },
    e.state ?? (message.includes("is HALF_OPEN") ? "HALF_OPEN" : "OPEN"),
    e.override ?? null,
    e.reason ?? null,
    e.retryAfterMs ?? (Math.max(1, Date.parse(until) - Date.now()) || UNKNOWN_MS),
    message,
  );
}

/**
 * Returns `true` for an error of that name. A value that throws when it is examined has no name.
 */
export function hasName(e: unknown, name: string): e is Error {
  try {
    return (e as Error | null | undefined)?.name === name;
  } catch {
    return false;
  }
}

/**
 * Returns `true` for an error of ours, also for the rest of one that a Worker threw over RPC with a
 * compatibility date before 2026: a native Error with the name in its message.
 */
function isShaped(e: unknown, name: string, field: string): boolean {
  // Catching the error of reading `undefined` would cost microseconds.
  if (typeof e !== "object" || e === null) return false;
  try {
    const error = e as Error & Record<string, unknown>;
    return error.name === name
      ? typeof error[field] === "number"
      : error.remote === true && error.message.startsWith(`${name}: `);
  } catch {
    return false;
  }
}

/**
 * Returns the status of a Response of any class, -1 for any other value and for one that throws.
 */
export function statusOf(value: unknown): number {
  try {
    return hasBrand(value, "Response") ? (value as Response).status : -1;
  } catch {
    // Its prototype alone is no proof.
    return -1;
  }
}

/** Returns `true` for a Response of any class. */
export function isResponse(value: unknown): value is Response {
  return statusOf(value) >= 0;
}

/** `instanceof` for values of user code, which may throw. */
export function isA<T>(value: unknown, type: abstract new (...args: never[]) => T): value is T {
  try {
    return value instanceof type;
  } catch {
    return false;
  }
}

/** The scope of a server's error: one circuit, or every circuit of the store. */
export type AnswerScope = "circuit" | "store";

/**
 * A store's server answered with an error. Drivers throw it; whatever else a driver throws means that the
 * server was not reached.
 *
 * An error about one circuit (a key of another type, a row that cannot be read) does not affect
 * others. An error about everything (out of memory, read-only, a quota, no permission) does. If a
 * driver cannot tell, `circuit` does less harm: a store that refuses several circuits in a row gets
 * a back-off anyway.
 *
 * @example A driver reports a refusal
 * ```ts
 * import { StoreAnswerError } from "@fuse/edge/store";
 * import { assertEquals } from "@std/assert";
 *
 * const error = new StoreAnswerError("KV: the quota is used up", { scope: "store" });
 * assertEquals([error.name, error.scope], ["StoreAnswerError", "store"]);
 * ```
 */
export class StoreAnswerError extends Error {
  // No static block: a bundle without a driver of a shared store must be able to drop the class.
  /** `StoreAnswerError`, whatever a minifier calls the class. */
  override readonly name = "StoreAnswerError";
  /** The scope of the error: this circuit alone, or every circuit of the store. */
  declare readonly scope: AnswerScope;

  /**
   * Creates the error.
   *
   * @param message The server's error, without addresses, credentials and payloads.
   * @param options The scope, and as `cause` the client's error, if that may be shown.
   */
  constructor(message: string, options: { scope: AnswerScope; cause?: unknown }) {
    super(message, options);
    this.scope = options.scope;
  }
}

/**
 * Returns `true` for a {@linkcode StoreAnswerError}, by its shape: also for one of another copy.
 */
export function isStoreAnswerError(e: unknown): e is StoreAnswerError {
  try {
    const { name, scope } = Object(e) as Partial<StoreAnswerError>;
    return name === "StoreAnswerError" && (scope === "circuit" || scope === "store");
  } catch {
    return false;
  }
}
