/**
 * Typed events. A listener can neither delay a call nor change its result: what it throws is
 * reported as `listener_error`.
 *
 * @module
 */

import type { CircuitIdentity } from "./key.ts";
import { hasBrand, received, wrong } from "./checks.ts";
import type { CircuitSnapshot } from "./rules/snapshot.ts";
import type { CircuitState } from "./contract.ts";

/** Which generation of a circuit an event is about. All three together identify it. */
export interface GenerationEvent extends CircuitIdentity {
  /** The life of the circuit; `""` if there is none, as after a removal. */
  epoch: string;
  /** The generation afterwards: counts transitions and operator actions of this life. */
  generation: number;
  /** When that generation began, on the store's clock. */
  began: Date;
  /** When, on the store's clock. */
  at: Date;
}

/** A change of state, announced by the isolate that made it. */
export interface TransitionEvent extends GenerationEvent {
  /** The trail's newest hash, where the store keeps one. */
  head?: string;
  /** The state before. */
  from: CircuitState;
  /** The state after. */
  to: CircuitState;
  /** A strategy's name, `trial_failed`, `trials_succeeded` or `cooldown_passed`. */
  reason: string;
  /** The circuit after the change. */
  snapshot: CircuitSnapshot;
  /** Decided by this isolate's own breaker while the store did not answer; not in any trail. */
  local?: boolean;
  /** Made in the background: the call that led to it may have ended before. */
  background?: boolean;
}

/** An operator's action. */
export interface OperatorEvent extends GenerationEvent {
  /** Why, in the operator's words; `expired` for an override whose `until` passed. */
  reason: string | null;
  /** The operator, or `null` if not given. */
  actor: string | null;
  /** Until when, for an override with an end. */
  until: Date | null;
}

/** How a call ended. */
export interface CallEvent extends CircuitIdentity {
  /** How long it took, in ms. */
  durationMs: number;
  /** The error that the call threw, if it did. */
  error?: unknown;
  /** It had been admitted in a generation that is over: it counted towards lifetime totals only. */
  late?: boolean;
}

/**
 * Tallies that are given up: no answer confirmed them within 30 s or before the clock went back, or the store
 * refused them three times while it took others. They may or may not have counted.
 */
export interface UnconfirmedEvent extends CircuitIdentity {
  /** How many tallies. */
  tallies: number;
  /** Successes in them. */
  successes: number;
  /** Failures in them. */
  failures: number;
  /** Rejections in them. */
  rejected: number;
}

/** Every event and what comes with it. */
export interface FuseEvents {
  /** A circuit opened. */
  opened: TransitionEvent;
  /** It would have opened, were it not for `metricsOnly`. Once an override and isolate. */
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
  /** A call ended in a way that counts neither as success nor as failure. */
  ignored: CallEvent;
  /** A call was not let through. `retryAfterMs`: how long to wait, in ms; at least 1. */
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
  /** A circuit came in by `importState`. */
  imported: OperatorEvent;
  /** An operator deleted it. */
  removed: OperatorEvent;
  /** An operator closed and cleared it. */
  reset: OperatorEvent;
  /**
   * The store had forgotten a circuit that this isolate knew. If nobody listens, the first one prints a
   * `console.warn`, unless this isolate had not heard of the circuit for a day: it may have run out.
   */
  reborn: CircuitIdentity;
  /**
   * The store did not answer or refused, a tally stayed unconfirmed, or (`audit`) the trail did not take
   * rows. Told once for each interval of a back-off, and for each failed `list`. If nobody listens, the
   * first one of an outage prints a `console.warn`.
   *
   * `error`: the store's own; a `StoreAnswerError` if the server answered. `retryAfterMs`: for how long
   * what failed is left alone, in ms; at least 1. `circuit`: whose request found out, where it was of one
   * and that lies in the listener's scopes.
   */
  store_error: {
    store: string;
    operation: string;
    error: unknown;
    retryAfterMs: number;
    circuit?: CircuitIdentity;
  };
  /**
   * The store as a whole works again, or (`audit`) its trail takes rows again. With `circuit`: the store has
   * answered a circuit that it had refused. It is left out where it does not lie in the listener's scopes.
   */
  store_recovered: { store: string; operation?: string; circuit?: CircuitIdentity };
  /** Tallies are given up, unconfirmed. Prints one `console.warn` a Fuse if nobody listens. */
  unconfirmed: UnconfirmedEvent;
  /** The memory store was full and dropped a circuit. */
  evicted: CircuitIdentity;
  /**
   * A circuit is called within itself, so that its calls count twice. Once a circuit and isolate; if
   * nobody listens, the first one is a `console.warn`.
   */
  nested: CircuitIdentity;
  /**
   * Two different policies for one circuit: which options differ. If nobody listens, the first one is a
   * `console.warn`.
   */
  config_mismatch: CircuitIdentity & { options: string[] };
  /** A listener, predicate, strategy or cooldown threw. `source`: which event's or option's. */
  listener_error: { type: string; source: string; error: unknown };
}

/** Any event, by its `type`. */
export type FuseEvent = {
  [K in keyof FuseEvents]: {
    /** Which event. */
    type: K;
  } & FuseEvents[K];
}[keyof FuseEvents];

/** Which events a listener hears. */
export interface EventFilter {
  readonly store: string | null;
  readonly context: string | null | undefined;
  readonly boundary: string | null | undefined;
}

interface Registration {
  readonly listener: (event: FuseEvent) => unknown;
  readonly filter: EventFilter;
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

const CALL_EVENTS = ["success", "failure", "slow", "ignored", "*"];

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | null | undefined)?.then === "function";
}

/** The listeners of one Fuse. */
export class Events {
  /** `true` if a listener hears how calls end, so that their duration is worth measuring. */
  hearsCalls = false;
  readonly #listeners = new Map<string, Set<Registration>>();
  /** The types of events that `alarm` has printed a warning for. */
  readonly #warned = new Set<string>();

  readonly #hold: (work: Promise<unknown>) => void;

  /** @param hold Takes the promise that a listener returns: it is background work. */
  constructor(hold: (work: Promise<unknown>) => void = () => {}) {
    this.#hold = hold;
  }

  /** Adds a listener; answers how to take it away. */
  on(
    type: string,
    listener: (event: never) => unknown,
    filter: EventFilter,
    signal: AbortSignal | undefined,
  ): () => void {
    if (!Object.hasOwn(EVENT_NAMES, type)) {
      const names = Object.keys(EVENT_NAMES).join(", ");
      throw new RangeError(`Cannot listen to ${received(type)}: there are only ${names}`);
    }
    if (typeof listener !== "function") {
      throw new TypeError(
        `Cannot listen to ${received(type)}: the listener must be a function, received ${
          received(listener)
        }`,
      );
    }
    if (signal !== undefined && !hasBrand(signal, "AbortSignal")) {
      const action = `listen to ${received(type)}`;
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

  /** Tells everybody whom it concerns. Never throws. */
  emit<K extends keyof FuseEvents>(type: K, detail: FuseEvents[K]): void {
    if (!this.hears(type)) return;
    const event = { ...detail, type } as unknown as FuseEvent;
    for (const key of [type, "*"]) {
      for (const { listener, filter } of [...this.#listeners.get(key) ?? []]) {
        if (!concerns(filter, event)) continue;
        try {
          const result = listener(seenFrom(filter, event));
          if (isThenable(result)) this.#hold(this.#settled(type, result));
        } catch (error) {
          this.#failed(type, error);
        }
      }
    }
  }

  /** Emits what must not pass unnoticed: if nobody listens, the first one of each type is a warning. */
  alarm<K extends keyof FuseEvents>(type: K, detail: FuseEvents[K], warning: () => string): void {
    if (this.hears(type)) return this.emit(type, detail);
    if (this.#warned.has(type)) return;
    this.#warned.add(type);
    this.warnUnheard(type, warning());
  }

  /** Prints a `console.warn` if nobody listens to events of this type. */
  warnUnheard(type: keyof FuseEvents, sentence: string): void {
    if (!this.hears(type)) console.warn(`Fuse: ${sentence}`);
  }

  /** Reports what a user's function threw: `type` names the event or the option it came from. */
  report = (type: string, error: unknown): void => {
    if (this.hears("listener_error")) this.emit("listener_error", { type, source: type, error });
    // `reportError` would end a Deno process.
    else console.error(`Fuse: "${type}" threw`, error);
  };

  async #settled(type: string, work: PromiseLike<unknown>): Promise<void> {
    try {
      await work;
    } catch (error) {
      this.#failed(type, error);
    }
  }

  #failed(type: string, error: unknown): void {
    // A listener for errors that throws does not hear of its own error.
    if (type === "listener_error") console.error(`Fuse: "${type}" threw`, error);
    else this.report(type, error);
  }
}

function concerns(filter: EventFilter, event: FuseEvent): boolean {
  const { store, context, boundary } = event as Partial<CircuitIdentity>;
  if (filter.store !== null && store !== undefined && store !== filter.store) return false;
  if (context === undefined) return true;
  return inScope(filter, { context, boundary: boundary ?? null });
}

/** A store's failure concerns every view of it; which circuit met it, those that have the circuit. */
function seenFrom(filter: EventFilter, event: FuseEvent): FuseEvent {
  if (event.type !== "store_error" && event.type !== "store_recovered") return event;
  if (event.circuit === undefined) return event;
  if (inScope(filter, event.circuit)) return event;
  const { circuit: _, ...rest } = event;
  return rest;
}

/** Returns `true` if a circuit lies in a view's scopes; `undefined` matches any scope. */
export function inScope(
  filter: Pick<EventFilter, "context" | "boundary">,
  circuit: { readonly context: string | null; readonly boundary: string | null },
): boolean {
  return (filter.context === undefined || filter.context === circuit.context) &&
    (filter.boundary === undefined || filter.boundary === circuit.boundary);
}
