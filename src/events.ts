/**
 * Typed events. A listener can neither delay a call nor change its result: its errors are reported
 * as `listener_error`.
 *
 * @module
 */

import { whenSettled } from "./call_scope.ts";
import type { CircuitIdentity } from "./key.ts";
import { hasBrand, received, wrong } from "./checks.ts";
import type { CircuitSnapshot } from "./rules/snapshot.ts";
import type { CircuitState } from "./contract.ts";

/** The generation of a circuit that an event is about. All three fields together identify it. */
export interface GenerationEvent extends CircuitIdentity {
  /** The life of the circuit; `""` if there is none, as after a removal. */
  epoch: string;
  /** The generation afterwards: counts transitions and operator actions of this life. */
  generation: number;
  /** When that generation began, on the store's clock. */
  began: Date;
  /** The time of the event, on the store's clock. */
  at: Date;
}

/** A change of state, announced by the isolate that made it. */
export interface TransitionEvent extends GenerationEvent {
  /** The trail's newest hash, if the store keeps one. */
  head?: string;
  /** The state before. */
  from: CircuitState;
  /** The state after. */
  to: CircuitState;
  /** A strategy's name, `trial_failed`, `trials_succeeded` or `cooldown_passed`. */
  reason: string;
  /** The circuit after the change. */
  snapshot: CircuitSnapshot;
  /**
   * `true` if this isolate's stand-in decided it while the store did not answer; then it is in no
   * trail.
   */
  local?: boolean;
  /** `true` if made in the background: the call that led to it may have ended before. */
  background?: boolean;
}

/** An operator's action. */
export interface OperatorEvent extends GenerationEvent {
  /** The reason, in the operator's words; `expired` for an override whose `until` has passed. */
  reason: string | null;
  /** The operator, or `null` if not given. */
  actor: string | null;
  /** The end of an override that has one. */
  until: Date | null;
}

/** The end of a call. */
export interface CallEvent extends CircuitIdentity {
  /** The duration, in ms. */
  durationMs: number;
  /** The error that the call threw, if it did. */
  error?: unknown;
  /**
   * `true` if the call was admitted in an earlier generation: it counted towards lifetime totals
   * only.
   */
  late?: boolean;
}

/**
 * Tallies that are given up: no answer confirmed them within 30 s or before the clock went back, or
 * the store refused them three times while it accepted others. They may or may not have counted.
 */
export interface UnconfirmedEvent extends CircuitIdentity {
  /** The number of tallies. */
  tallies: number;
  /** Successes in them. */
  successes: number;
  /** Failures in them. */
  failures: number;
  /** Rejections in them. */
  rejected: number;
}

/** Every event and its fields. */
export interface FuseEvents {
  /** A circuit opened. */
  opened: TransitionEvent;
  /** The circuit would have opened without `metricsOnly`. Once for each override and isolate. */
  would_open: TransitionEvent;
  /** Its trials succeeded. */
  closed: TransitionEvent;
  /** Its cooldown passed and a trial began. */
  half_opened: TransitionEvent;
  /** A call succeeded. */
  success: CallEvent;
  /** A call failed. */
  failure: CallEvent;
  /** A call took `slowCallMs` or longer; comes with `success` or `failure`. */
  slow: CallEvent;
  /** A call ended as neutral: neither success nor failure. */
  ignored: CallEvent;
  /** A call was rejected. `retryAfterMs`: how long to wait, in ms; at least 1. */
  rejected: CircuitIdentity & { retryAfterMs: number };
  /** An operator rejects all calls. */
  forced_open: OperatorEvent;
  /** An operator admits all calls; they count, and never trip. */
  forced_closed: OperatorEvent;
  /** An operator admits all calls; only totals count. */
  disabled: OperatorEvent;
  /** An operator admits all calls; they count, and `would_open` is announced. */
  metrics_only: OperatorEvent;
  /** An override ended. */
  released: OperatorEvent;
  /** `importState` wrote a circuit. */
  imported: OperatorEvent;
  /** An operator deleted the circuit. */
  removed: OperatorEvent;
  /** An operator closed the circuit and cleared its evidence. */
  reset: OperatorEvent;
  /**
   * The store had lost a circuit that this isolate knew. Without a listener, the first one prints a
   * `console.warn`, unless this isolate had not seen the circuit for a day: it may have expired.
   */
  reborn: CircuitIdentity;
  /**
   * The store did not answer or refused, a tally stayed unconfirmed, or (`audit`) the trail did not
   * accept rows. Emitted once for each interval of a back-off, and for each failed `list`. Without
   * a listener, the first one of an outage prints a `console.warn`.
   *
   * `error`: the store's own; a `StoreAnswerError` if the server answered. `retryAfterMs`: the
   * length of the back-off, in ms; at least 1. `circuit`: the circuit whose request failed, if it
   * was a circuit's and lies in the listener's scopes.
   */
  store_error: {
    store: string;
    operation: string;
    error: unknown;
    retryAfterMs: number;
    circuit?: CircuitIdentity;
  };
  /**
   * The store as a whole works again, or (`audit`) its trail accepts rows again. With `circuit`:
   * the store has answered a circuit that it had refused. It is left out if it is not in the
   * listener's scopes.
   */
  store_recovered: { store: string; operation?: string; circuit?: CircuitIdentity };
  /**
   * Tallies are given up, unconfirmed. Without a listener, it prints one `console.warn` for each
   * Fuse.
   */
  unconfirmed: UnconfirmedEvent;
  /** The memory store was full and dropped a circuit. */
  evicted: CircuitIdentity;
  /**
   * A circuit is called within itself, so that its calls count twice. Once for each circuit and
   * isolate; without a listener, the first one is a `console.warn`.
   */
  nested: CircuitIdentity;
  /**
   * Two different policies for one circuit, with the options that differ. Without a listener, the
   * first one is a `console.warn`.
   */
  config_mismatch: CircuitIdentity & { options: string[] };
  /**
   * A listener, predicate, strategy or cooldown threw. `source`: the name of the event or the
   * option.
   */
  listener_error: { type: string; source: string; error: unknown };
}

/** Any event, by its `type`. */
export type FuseEvent = {
  [K in keyof FuseEvents]: {
    /** The type of the event. */
    type: K;
  } & FuseEvents[K];
}[keyof FuseEvents];

/** The store and the scopes of a view; `undefined` for a scope means any. */
export interface Narrowing {
  readonly store: string | null;
  readonly context: string | null | undefined;
  readonly boundary: string | null | undefined;
}

interface Registration {
  readonly listener: (event: FuseEvent) => unknown;
  readonly filter: Narrowing;
}

/** The names of all events: a misspelled one would never be heard. */
const EVENT_NAMES: Readonly<Record<keyof FuseEvents | "*", 1>> = {
  opened: 1,
  would_open: 1,
  closed: 1,
  half_opened: 1,
  success: 1,
  failure: 1,
  slow: 1,
  ignored: 1,
  rejected: 1,
  forced_open: 1,
  forced_closed: 1,
  disabled: 1,
  metrics_only: 1,
  released: 1,
  imported: 1,
  removed: 1,
  reset: 1,
  reborn: 1,
  store_error: 1,
  store_recovered: 1,
  unconfirmed: 1,
  evicted: 1,
  nested: 1,
  config_mismatch: 1,
  listener_error: 1,
  "*": 1,
};

/** Listeners of tools, such as metrics, that count events and tell nobody what happened. */
const counting = new WeakSet<object>();

/** Returns the listener, which does not keep a warning from being printed. */
export function counted<L extends object>(listener: L): L {
  counting.add(listener);
  return listener;
}

const CALL_EVENTS = ["success", "failure", "slow", "ignored", "*"];

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | null | undefined)?.then === "function";
}

/** The listeners of one Fuse. */
export class Events {
  /** `true` if a listener receives the ends of calls, so that their duration has to be measured. */
  hearsCalls = false;
  readonly #listeners = new Map<string, Set<Registration>>();
  /** The types of events that `alarm` has printed a warning for. */
  readonly #warned = new Set<string>();

  readonly #hold: (work: Promise<unknown>) => void;

  /** @param hold Takes the promise that a listener returns: it is background work. */
  constructor(hold: (work: Promise<unknown>) => void = () => {}) {
    this.#hold = hold;
  }

  /** Adds a listener. Returns a function that removes it. */
  on(
    type: string,
    listener: (event: never) => unknown,
    filter: Narrowing,
    signal: AbortSignal | undefined,
  ): () => void {
    const action = `listen to ${received(type)}`;
    if (!Object.hasOwn(EVENT_NAMES, type)) {
      const names = Object.keys(EVENT_NAMES).join(", ");
      throw new RangeError(`Cannot ${action}: there are only ${names}`);
    }
    if (typeof listener !== "function") {
      throw new TypeError(wrong(action, "listener", "a function", listener));
    }
    if (signal !== undefined && !hasBrand(signal, "AbortSignal")) {
      throw new TypeError(wrong(action, "signal", "an AbortSignal", signal));
    }
    if (signal?.aborted) return () => {};
    const registration = { listener: listener as Registration["listener"], filter };
    let set = this.#listeners.get(type);
    if (set === undefined) this.#listeners.set(type, set = new Set());
    set.add(registration);
    const off = () => {
      set.delete(registration);
      if (set.size === 0 && this.#listeners.get(type) === set) this.#listeners.delete(type);
      signal?.removeEventListener("abort", off);
      this.#count();
    };
    signal?.addEventListener("abort", off, { once: true });
    this.#count();
    return off;
  }

  #count(): void {
    this.hearsCalls = CALL_EVENTS.some((type) => this.#listeners.has(type));
  }

  /** Returns `true` if an event of this type would reach a listener. */
  hears(type: keyof FuseEvents): boolean {
    return this.#listeners.size > 0 && (this.#listeners.has(type) || this.#listeners.has("*"));
  }

  /** Calls every listener whose scopes match. Never throws. */
  emit<K extends keyof FuseEvents>(type: K, detail: FuseEvents[K]): void {
    if (!this.hears(type)) return;
    const event = { ...detail, type } as unknown as FuseEvent;
    for (const key of [type, "*"]) {
      for (const { listener, filter } of [...this.#listeners.get(key) ?? []]) {
        if (!concerns(filter, event)) continue;
        try {
          const result = listener(seenFrom(filter, event));
          if (isThenable(result)) {
            const failed = (error: unknown) => this.report(type, error);
            this.#hold(whenSettled(result, undefined, failed));
          }
        } catch (error) {
          this.report(type, error);
        }
      }
    }
  }

  /**
   * Emits an event that must not pass unnoticed: without a listener, the first one of each type is
   * a warning.
   */
  alarm<K extends keyof FuseEvents>(type: K, detail: FuseEvents[K], warning: () => string): void {
    const isTold = this.#warned.has(type) || this.#tells(type);
    // A listener may remove itself.
    this.emit(type, detail);
    if (isTold) return;
    this.#warned.add(type);
    console.warn(`Fuse: ${warning()}`);
  }

  /** Prints a `console.warn` if no listener tells of events of this type; metrics only count them. */
  warnUnheard(type: keyof FuseEvents, sentence: string): void {
    if (!this.#tells(type)) console.warn(`Fuse: ${sentence}`);
  }

  /** Returns `true` if a listener receives events of this type, and does not just count them. */
  #tells(type: string): boolean {
    return [type, "*"].some((key) =>
      [...this.#listeners.get(key) ?? []].some(({ listener }) => !counting.has(listener))
    );
  }

  /** Reports an error of a user's function: `type` names the event or the option it came from. */
  report = (type: string, error: unknown): void => {
    // A listener for errors that throws does not receive its own error.
    if (type !== "listener_error" && this.hears("listener_error")) {
      this.emit("listener_error", { type, source: type, error });
    } else print(type, error);
  };
}

/** Prints an error, whose inspection may throw. `reportError` would end a Deno process. */
function print(type: string, error: unknown): void {
  const sentence = `Fuse: "${type}" threw`;
  try {
    console.error(sentence, error);
  } catch {
    console.error(sentence);
  }
}

function concerns(filter: Narrowing, event: FuseEvent): boolean {
  const { store, context, boundary } = event as Partial<CircuitIdentity>;
  if (filter.store !== null && store !== undefined && store !== filter.store) return false;
  if (context === undefined) return true;
  return inScope(filter, { context, boundary: boundary ?? null });
}

/**
 * Every view of a store receives its failure; only views that have the circuit learn which one met
 * it.
 */
function seenFrom(filter: Narrowing, event: FuseEvent): FuseEvent {
  if (event.type !== "store_error" && event.type !== "store_recovered") return event;
  if (event.circuit === undefined) return event;
  if (inScope(filter, event.circuit)) return event;
  const { circuit: _, ...rest } = event;
  return rest;
}

/** Returns `true` if a circuit lies in a view's scopes; `undefined` matches any scope. */
export function inScope(
  filter: Pick<Narrowing, "context" | "boundary">,
  circuit: { readonly context: string | null; readonly boundary: string | null },
): boolean {
  return (filter.context === undefined || filter.context === circuit.context) &&
    (filter.boundary === undefined || filter.boundary === circuit.boundary);
}
