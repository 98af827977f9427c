/**
 * The contract between the breaker and whatever keeps its state.
 *
 * A store knows no strategy and takes no decision. It keeps one record a circuit and changes it
 * in four primitives, each atomic inside the store and each one round trip. What is due follows
 * from the {@linkcode Snapshot} it answers with, in `machine.ts`, the same on every store.
 *
 * @module
 */

import type { CircuitRecord, OverrideRecord, Shape, Snapshot } from "./stored_circuit.ts";
import type { Admission, EventQuery, FailureNote, Override } from "./trail.ts";
import type { PolicyRecord, SpoiltCircuit, StoredEvent } from "./trail.ts";

export type * from "./stored_circuit.ts";
export type * from "./trail.ts";

/** A value, or the promise of it: a store in this process may answer at once. */
export type Awaitable<T> = T | Promise<T>;

/** Milliseconds since the epoch. Inject one in tests. */
export type Clock = () => number;

/** The traits of a store, for programs that choose by them. */
export interface StoreTraits {
  /** Outlives the process. */
  readonly persistent: boolean;
  /** Seen by other isolates. The core keeps a view of shared stores only. */
  readonly shared: boolean;
  /** Keeps a trail of transitions. */
  readonly audited: boolean;
}

/** The part of a request that concerns the outbox of its circuit: see `Driver.confirm`. */
export interface OutboxRequest {
  /**
   * `keep`: what this changes is put into the outbox, in the same atomic step. `hand`: and the
   * answer has all that is in it. Left out: neither.
   */
  readonly outbox?: "keep" | "hand" | undefined;
}

/** The fields of every request that changes something. */
export interface StoreRequest extends OutboxRequest {
  /**
   * Made by the caller. The same id sent again within {@linkcode ID_MEMORY_MS} changes nothing and is
   * told again whether it won, moved or was current. `""`: will never be sent again (a store in
   * this process). The id of the request that creates a record becomes its epoch, or the beginning
   * of it: what was forgotten meanwhile and is created by the same request again is another life.
   */
  readonly id: string;
  /** The caller's clock, in ms, for a store that has none of its own. */
  readonly at: number;
  /** How to measure the Snapshot in the answer. */
  readonly shape: Shape;
  /** Names the isolate that asks, for the trail: `createFuse({ instance })`. Left out: it has no name. */
  readonly instance?: string | undefined;
}

/** Outcomes of calls that were admitted under one generation: some successes, then some failures. */
export interface Tally extends StoreRequest {
  /** Under which life of the circuit the calls were admitted; `""`: the circuit was unknown then. */
  readonly epoch: string;
  /** Under which generation; {@linkcode TOTALS_ONLY}: counts towards lifetime totals and nothing else. */
  readonly generation: number;
  /** When that generation began, on the store's clock in ms; 0 where the circuit was unknown. */
  readonly began: number;
  /** How many succeeded, before the failures. */
  readonly successes: number;
  /** How many failed, after the successes. */
  readonly failures: number;
  /** How many calls were rejected. Towards lifetime totals only. */
  readonly rejected: number;
  /** How many of them were slow. */
  readonly slow: number;
  /** How long ago the last of them ended, in ms. They span at most one window segment. */
  readonly ageMs: number;
  /** How long ago the first of several failures ended, in ms. Left out: as `ageMs`. See rule 4. */
  readonly firstFailureAgeMs?: number | undefined;
  /** Token of the half-open lease that ends with this; `null`: none. */
  readonly lease: string | null;
  /** Fingerprint of the caller's policy; `""`: it has none, and the recorded one stays. */
  readonly policyHash: string;
  /** The caller's policy, to be recorded if the tally is current. Left out: the recorded one stays. */
  readonly policy?: PolicyRecord | undefined;
  /** Which of the calls were slow, counting from 0, successes first; left out: not known. */
  readonly slowCalls?: readonly number[];
  /** The results of the store's `describe` for the errors of the failures, in order. */
  readonly errors?: readonly (string | null)[];
}

/** Asks to let one call through. */
export interface AcquireRequest extends StoreRequest {
  /** Names the half-open slot that this call would take. */
  readonly token: string;
  /** How many trials may be in flight at once, over all isolates. */
  readonly max: number;
  /** After how many ms a trial that never ends gives its slot back. */
  readonly leaseMs: number;
}

/** Asks for a change of state, by compare-and-set. */
export interface TransitionRequest extends StoreRequest {
  /** The state to reach. `HALF_OPEN` is reached through `acquire` alone. */
  readonly to: "CLOSED" | "OPEN";
  /** The event's name in the trail. */
  readonly event: "opened" | "closed" | "reset";
  /** How long it stays open, in ms; 0 to close. */
  readonly cooldownMs: number;
  /** The failure that opens it, to be kept as it is. Left out, or `null`: not known. */
  readonly lastFailure?: FailureNote | null | undefined;
  /** The caller's policy, to be recorded. Left out: the recorded one stays. */
  readonly policy?: PolicyRecord | undefined;
  /** It closes after trials only if fewer of them than this have failed. Left out: 1. */
  readonly failuresBelow?: number | undefined;
  /** Why: a strategy's name, `trial_failed`, an operator's words. */
  readonly reason: string;
  /** The operator who acted; `null` if the change is no operator's. */
  readonly actor: string | null;
  /** The generation in which this was decided; `null`: whatever stands (an operator's). */
  readonly expected: Admission | null;
}

/** Asks to lay an override over the state, or to take it away. One round trip. */
export interface OverrideRequest extends StoreRequest {
  /** `null` releases. */
  readonly kind: Override | null;
  /** Ends by itself at this moment, in ms on the caller's clock (`at`); the store translates. `null`: never. */
  readonly until: number | null;
  /** Why. */
  readonly reason: string | null;
  /** The person or program that acted. */
  readonly actor: string | null;
}

/** Asks to put a record in place of what the store holds. */
export interface RestoreRequest extends StoreRequest {
  /** Its times are on the caller's clock (`at`); the store translates them to its own. */
  readonly record: CircuitRecord;
  /** Replaces or keeps a circuit that the store holds already. */
  readonly existing: "replace" | "keep";
  /** Why. */
  readonly reason: string | null;
  /** The person or program that acted. */
  readonly actor: string | null;
}

/** Asks to forget a circuit. */
export interface RemoveRequest extends StoreRequest {
  /** Why. */
  readonly reason: string | null;
  /** The person or program that acted. */
  readonly actor: string | null;
}

/** Asks for a page of records. */
export interface ListRequest extends OutboxRequest {
  /** Where the page before ended; `null`: begin. */
  readonly cursor: string | null;
  /** How many records to aim for. A page may hold fewer or more, and none is not the end. */
  readonly limit: number;
  /** The caller's clock, in ms, for a store that has none of its own. */
  readonly at: number;
  /** How to measure the Snapshot of a circuit. */
  readonly shape: (key: string) => Shape;
  /** `true`: those that are OPEN, HALF_OPEN or overridden are enough; others may be among them. */
  readonly open?: boolean | undefined;
  /** `true`: segments and outcomes may be left empty. */
  readonly brief?: boolean | undefined;
}

/** A page of records. */
export interface ListPage {
  /** In no particular order. One that is written to meanwhile may come again in a later page. */
  readonly records: readonly CircuitRecord[];
  /** Where to go on; `null`: that was all. */
  readonly cursor: string | null;
  /** When the circuits were chosen, on the store's clock in ms. Left out: as the first record says. */
  readonly now?: number | undefined;
  /** Circuits that the page leaves out, because their records make no sense. */
  readonly spoilt?: readonly SpoiltCircuit[];
}

/** The fields of every answer to a request that may write. */
export interface Answer {
  /** The circuit after the request. */
  readonly snapshot: Snapshot;
  /** The override that THIS request found past its `until` and released. */
  readonly released?: OverrideRecord | null;
  /** The trail's newest hash, where the store keeps one. */
  readonly head?: string;
  /** The circuits that had to go to make room for this one. */
  readonly evicted?: readonly string[];
  /** Further troubles to report. */
  readonly troubles?: readonly Trouble[];
}

/** Something beside an operation that did not work, or does again. It becomes an event. */
export interface Trouble {
  /** The operation that failed, such as `audit`. */
  readonly operation: string;
  /** The failure, or `null` if the operation works again. */
  readonly error: Error | null;
  /** For how long it is left alone, in ms. */
  readonly retryAfterMs: number;
}

/** Answer to `record`. */
export interface Recorded extends Answer {
  /** `true` if the generation was current, so that more than totals counted. */
  readonly current: boolean;
}

/** Answer to `acquire`. */
export interface Acquired extends Answer {
  /** `true` if the call may run. */
  readonly granted: boolean;
  /** `true` if THIS request moved the circuit from OPEN to HALF_OPEN. */
  readonly moved: boolean;
}

/** Answer to `transition`, `override` and `restore`. */
export interface Changed extends Answer {
  /** `true` if THIS request made the change. */
  readonly won: boolean;
}

/** A store for `createFuse({ stores })`, as `memory()`, `upstash()` and the others make it. */
export interface Store {
  /** The driver's name, for messages. */
  readonly name: string;
  /** The store's traits. */
  readonly traits: StoreTraits;
}

/**
 * The interface of every driver: four primitives (`read`, `record`, `acquire`, `transition`), each
 * atomic and one round trip, and the operations of operators. A method that fails throws, or rejects
 * with, an Error of the driver's own, and listeners receive it with `store_error`. A
 * `StoreAnswerError` says that the server answered with an error, any other Error that the server was
 * not reached.
 *
 * `shared(driver)` of `@fuse/edge/store` makes a {@linkcode Store} of it. Prove yours with
 * `storeContract` of `@fuse/edge/testing`.
 */
export interface Driver {
  /** The driver's name, for messages. */
  readonly name: string;
  /** The store's traits. */
  readonly traits: StoreTraits;
  /** The Snapshot, aged to the store's clock. Writes nothing, creates nothing. */
  read(
    key: string,
    request: OutboxRequest & { readonly shape: Shape; readonly at: number },
  ): Awaitable<Snapshot>;
  /**
   * Adds a tally to lifetime totals and, if its generation is current, to run, windows
   * and half-open counts (booked at `now - ageMs`), and ends the lease it names. A generation is
   * current if epoch, number and `began` are the record's. Epoch `""` is current in generation 1.
   * Creates the record if there is none.
   */
  record(key: string, tally: Tally): Awaitable<Recorded>;
  /**
   * CLOSED, or overridden: grants (`forced_open` refuses) without lease or write. OPEN past
   * `openUntil`, or with one so far off that a clock has since gone back (further than `cooldownMs` and
   * the larger of that and a minute): moves to HALF_OPEN, next generation. HALF_OPEN: drops expired leases and grants
   * the token while fewer than `max` are out; a token still out is granted again, one that has
   * ended is refused until its lease would have expired. Creates nothing.
   */
  acquire(key: string, request: AcquireRequest): Awaitable<Acquired>;
  /**
   * Compare-and-set on epoch, generation and `began` and, for `closed`, on fewer than `failuresBelow`
   * trial failures in this generation. Next generation; closing clears run, windows and half-open counts. Creates the
   * record if there is none and nothing is expected.
   */
  transition(key: string, request: TransitionRequest): Awaitable<Changed>;
  /**
   * Lays an override over the state, or releases it. Next generation, evidence cleared, the state
   * beneath stands. A release without override does nothing. Creates the record if need be.
   */
  override(key: string, request: OverrideRequest): Awaitable<Changed>;
  /** Replaces the record, under a fresh epoch and a generation above 1. */
  restore(key: string, request: RestoreRequest): Awaitable<Changed>;
  /** A page of all circuits. Never on the call path. */
  list(request: ListRequest): Awaitable<ListPage>;
  /**
   * Runs `work`, which awaits nothing, and may send what it asks of the store as one trip. Each
   * request is answered, and may fail, for itself. Nothing is held back for what is asked later: on
   * a Worker that may be another request's, which must not be waited for.
   */
  together?<T>(work: () => T): T;
  /** The trail, latest first. A store with `traits.audited` offers it. */
  history?(query: EventQuery & { readonly key?: string }): AsyncIterable<StoredEvent>;
  /**
   * Returns what may be kept of a failed call's error. Called when the call ends; the tally carries it.
   * A store that audits calls offers it; to others no tally says which calls were slow. Never throws.
   */
  describe?(error: unknown): string | undefined;
  /**
   * Takes rows out of a circuit's outbox. A store that has it heeds `outbox` in requests: a row of
   * each change waits in the circuit's own record, written in the same atomic step, until the trail
   * of another store has confirmed it, so that no change goes untold when an isolate dies in between.
   * At most the newest {@linkcode OUTBOX_LENGTH} rows of a circuit wait; the oldest that is left says
   * in its `missed` how many had to go before it.
   */
  confirm?(
    key: string,
    rows: readonly Admission[],
  ): Awaitable<void>;
  /** Delivers what is kept here for another store, as far as it can. `Fuse.flush()` asks for it. Never throws. */
  flush?(request: { readonly at: number }): Awaitable<readonly Trouble[]>;
  /**
   * Asks for a read and a write that leave nothing behind, for `Fuse.check()`: one round trip, and rejects
   * as an operation would. Left out: a circuit that nobody can make, of key `""`, is read instead.
   */
  check?(): Awaitable<void>;
  /**
   * Forgets a circuit. Answers whether there was one. A store with a trail keeps the circuit's rows, and
   * appends one of this.
   *
   * @param request Left out: nobody says why.
   */
  remove(key: string, request?: RemoveRequest): Awaitable<boolean>;
}
