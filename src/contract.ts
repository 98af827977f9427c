/**
 * The contract between the breaker and a driver, which keeps its state.
 *
 * A store knows no strategy and decides nothing. It keeps one record for each circuit and changes
 * it in four primitives, each atomic inside the store and each one round trip. `machine.ts`
 * computes what is due from the {@linkcode Snapshot} in its answer, the same on every store.
 *
 * @module
 */

import type { CircuitRecord, OverrideRecord, Shape, Snapshot } from "./stored_circuit.ts";
import type { Admission, EventQuery, FailureNote, Override } from "./trail.ts";
import type { PolicyRecord, SpoiltCircuit, StoredEvent } from "./trail.ts";

export type * from "./stored_circuit.ts";
export type * from "./trail.ts";

/** A value, or the promise of it: a store in this process may answer synchronously. */
export type Awaitable<T> = T | Promise<T>;

/** Returns milliseconds since the epoch. Inject one in tests. */
export type Clock = () => number;

/** The traits of a store, for programs that choose by them. */
export interface StoreTraits {
  /** `true` if its state outlives the process. */
  readonly persistent: boolean;
  /** `true` if other isolates share it. The core keeps a view of shared stores only. */
  readonly shared: boolean;
  /** `true` if it keeps a trail of transitions. */
  readonly audited: boolean;
}

/** The part of a request that concerns the outbox of its circuit: see `Driver.confirm`. */
export interface OutboxRequest {
  /**
   * `keep`: a row of the change goes into the outbox, in the same atomic step. `hand`: in addition,
   * the answer contains the outbox. By default, neither.
   */
  readonly outbox?: "keep" | "hand" | undefined;
}

/** Asks for the Snapshot of a circuit. */
export interface ReadRequest extends OutboxRequest {
  /** How to measure the Snapshot. */
  readonly shape: Shape;
  /** The caller's clock, in ms, for a store without a clock of its own. */
  readonly at: number;
  /**
   * The ids of tallies that the caller has sent and whose answers it does not have, at most 64. The
   * Snapshot names those that it contains, so that the caller does not add them again. By default, none.
   */
  readonly unconfirmed?: readonly string[] | undefined;
}

/** The fields of every request that changes something. */
export interface StoreRequest extends OutboxRequest {
  /**
   * Made by the caller. The same id sent again within {@linkcode ID_MEMORY_MS} changes nothing, and
   * the answer repeats whether it won, moved or was current. `""`: it is never sent again (a store
   * in this process). The id of the request that creates a record becomes its epoch, or the
   * beginning of it: if the same request creates a forgotten record again, that is another life.
   */
  readonly id: string;
  /** The caller's clock, in ms, for a store without a clock of its own. */
  readonly at: number;
  /** How to measure the Snapshot in the answer. */
  readonly shape: Shape;
  /** Name of the isolate, for the trail: `createFuse({ instance })`. By default, it has none. */
  readonly instance?: string | undefined;
}

/** Outcomes of calls that were admitted under one generation: some successes, then some failures. */
export interface Tally extends StoreRequest {
  /** The life of the circuit in which the calls were admitted; `""` if the circuit was unknown. */
  readonly epoch: string;
  /** Their generation; {@linkcode TOTALS_ONLY} adds to lifetime totals and nothing else. */
  readonly generation: number;
  /** When that generation began, on the store's clock in ms; 0 if the circuit was unknown. */
  readonly began: number;
  /** How many succeeded, before the failures. */
  readonly successes: number;
  /** The number of failures, after the successes. */
  readonly failures: number;
  /** The number of rejected calls. They add to lifetime totals only. */
  readonly rejected: number;
  /** How many of them were slow. */
  readonly slow: number;
  /** How long ago the last of them ended, in ms. They span at most one window segment. */
  readonly ageMs: number;
  /** How long ago the first of several failures ended, in ms. By default, `ageMs`. See rule 4. */
  readonly firstFailureAgeMs?: number | undefined;
  /** Token of the half-open lease that ends with this tally; `null` for none. */
  readonly lease: string | null;
  /** Fingerprint of the caller's policy; `""` if it has none, and the recorded one stays. */
  readonly policyHash: string;
  /** The caller's policy, recorded if the tally is current. By default, the recorded one stays. */
  readonly policy?: PolicyRecord | undefined;
  /** Its calls, in the order in which they ended, for a store that audits calls. Some may be missing. */
  readonly calls?: readonly AuditedCall[];
}

/** A call of a tally, for the trail. */
export interface AuditedCall {
  /** `true` for a failure, `false` for a success. */
  readonly failed: boolean;
  /** `true` if it was slow. */
  readonly slow: boolean;
  /** The store's `describe` of the error of a failure; `null` if there is none. */
  readonly text: string | null;
  /** How long ago it ended, in ms. */
  readonly ageMs: number;
}

/** Asks to admit one call. */
export interface AcquireRequest extends StoreRequest {
  /** The name of the half-open slot that this call would take. */
  readonly token: string;
  /** The largest number of concurrent trials, over all isolates. */
  readonly max: number;
  /** The time after which a trial that never ends frees its slot, in ms. */
  readonly leaseMs: number;
}

/** Asks for a change of state, by compare-and-set. */
export interface TransitionRequest extends StoreRequest {
  /** The state to reach. `HALF_OPEN` is reached through `acquire` alone. */
  readonly to: "CLOSED" | "OPEN";
  /** The event's name in the trail. */
  readonly event: "opened" | "closed" | "reset";
  /** The length of the opening, in ms; 0 to close. */
  readonly cooldownMs: number;
  /** The failure that opens it, stored unchanged. By default, or for `null`, it is not known. */
  readonly lastFailure?: FailureNote | null | undefined;
  /** The caller's policy, to be recorded. By default, the recorded one stays. */
  readonly policy?: PolicyRecord | undefined;
  /** It closes after trials only if fewer of them than this have failed. By default, 1. */
  readonly failuresBelow?: number | undefined;
  /** The reason: a strategy's name, `trial_failed`, an operator's words. */
  readonly reason: string;
  /** The operator who acted; `null` if the change is not an operator's. */
  readonly actor: string | null;
  /** The generation in which this was decided; `null` for any (an operator's). */
  readonly expected: Admission | null;
}

/** Asks to set an override over the state, or to release it. One round trip. */
export interface OverrideRequest extends StoreRequest {
  /** `null` releases. */
  readonly kind: Override | null;
  /** Its end, in ms on the caller's clock (`at`), which the store translates; `null` for none. */
  readonly until: number | null;
  /** The reason. */
  readonly reason: string | null;
  /** The person or program that acted. */
  readonly actor: string | null;
}

/** Asks to put a record in place of what the store holds. */
export interface RestoreRequest extends StoreRequest {
  /** Its times are on the caller's clock (`at`); the store translates them to its own. */
  readonly record: CircuitRecord;
  /** Replaces or keeps a circuit that the store has already. */
  readonly existing: "replace" | "keep";
  /** The reason. */
  readonly reason: string | null;
  /** The person or program that acted. */
  readonly actor: string | null;
}

/** Asks to delete a circuit. */
export interface RemoveRequest extends StoreRequest {
  /** The reason. */
  readonly reason: string | null;
  /** The person or program that acted. */
  readonly actor: string | null;
}

/** Asks for a page of records. */
export interface ListRequest extends OutboxRequest {
  /** The cursor of the previous page; `null` to begin. */
  readonly cursor: string | null;
  /** The number of records to aim for. Pages may have fewer or more; an empty one is no end. */
  readonly limit: number;
  /** The caller's clock, in ms, for a store without a clock of its own. */
  readonly at: number;
  /** How to measure the Snapshot of a circuit. */
  readonly shape: (key: string) => Shape;
  /** `true` if OPEN, HALF_OPEN and overridden circuits are enough; others may be among them. */
  readonly open?: boolean | undefined;
  /** `true` if segments and outcomes may be left empty. */
  readonly brief?: boolean | undefined;
}

/** A page of records. */
export interface ListPage {
  /** In no particular order. A circuit that changes meanwhile may come again in a later page. */
  readonly records: readonly CircuitRecord[];
  /** The cursor of the next page; `null` if there is none. */
  readonly cursor: string | null;
  /** When the circuits were chosen, on the store's clock in ms. By default, see the first one. */
  readonly now?: number | undefined;
  /** Circuits that the page leaves out, because their records are invalid. */
  readonly spoilt?: readonly SpoiltCircuit[];
}

/** The fields of every answer to a request that may write. */
export interface Answer {
  /** The circuit after the request. */
  readonly snapshot: Snapshot;
  /** The override that THIS request found past its `until` and released. */
  readonly released?: OverrideRecord | null;
  /** The trail's newest hash, if the store keeps one. */
  readonly head?: string;
  /** The circuits that were evicted to make room for this one. */
  readonly evicted?: readonly string[];
  /** Further troubles to report. */
  readonly troubles?: readonly Trouble[];
}

/** A failure beside an operation, or its end. It becomes an event. */
export interface Trouble {
  /** The operation that failed, such as `audit`. */
  readonly operation: string;
  /** The failure, or `null` if the operation works again. */
  readonly error: Error | null;
  /** The length of the back-off, in ms. */
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

/** A store for `createFuse({ stores })`, as `memory()`, `upstash()` and others return. */
export interface Store {
  /** The driver's name, for messages. */
  readonly name: string;
  /** The store's traits. */
  readonly traits: StoreTraits;
}

/**
 * The interface of every driver: four primitives (`read`, `record`, `acquire`, `transition`), each
 * atomic and one round trip, and the operations of operators. A method that fails throws, or
 * rejects with, an Error of the driver's own, and listeners receive it with `store_error`. A
 * `StoreAnswerError` says that the server answered with an error, any other Error that the server
 * was not reached.
 *
 * `shared(driver)` of `@fuse/edge/store` makes a {@linkcode Store} of it. Prove yours with
 * `storeContract` of `@fuse/edge/testing`.
 */
export interface Driver {
  /** The driver's name, for messages. */
  readonly name: string;
  /** The store's traits. */
  readonly traits: StoreTraits;
  /** Returns the Snapshot, aged to the store's clock. Writes nothing, creates nothing. */
  read(key: string, request: ReadRequest): Awaitable<Snapshot>;
  /**
   * Adds a tally to lifetime totals and, if its generation is current, to run, windows
   * and half-open counts (booked at `now - ageMs`), and ends the lease it names. A generation is
   * current if epoch, number and `began` are the record's. Epoch `""` is current in generation 1.
   * Creates the record if there is none.
   */
  record(key: string, tally: Tally): Awaitable<Recorded>;
  /**
   * CLOSED, or overridden: grants (`forced_open` refuses) without lease or write. OPEN past
   * `openUntil`, or with one so far ahead that the clock was set back since (further than
   * `cooldownMs` and the larger of that and a minute): moves to HALF_OPEN, next generation.
   * HALF_OPEN: drops expired leases and grants the token while there are fewer than `max`; a token
   * with a lease is granted again, an ended one is refused until its lease would have expired.
   * Creates nothing.
   */
  acquire(key: string, request: AcquireRequest): Awaitable<Acquired>;
  /**
   * Compare-and-set on epoch, generation and `began` and, for `closed`, on fewer than
   * `failuresBelow` trial failures in this generation. Next generation; closing clears run, windows
   * and half-open counts. Creates the record if there is none and nothing is expected.
   */
  transition(key: string, request: TransitionRequest): Awaitable<Changed>;
  /**
   * Sets an override over the state, or releases it. Next generation, evidence cleared, the state
   * beneath stays. A release without override does nothing. Creates the record if need be.
   */
  override(key: string, request: OverrideRequest): Awaitable<Changed>;
  /** Replaces the record, under a fresh epoch and a generation above 1. */
  restore(key: string, request: RestoreRequest): Awaitable<Changed>;
  /** Returns a page of all circuits. Never on the call path. */
  list(request: ListRequest): Awaitable<ListPage>;
  /**
   * Runs `work`, which awaits nothing, and may send its requests as one trip. Each request is
   * answered, and may fail, separately. Tallies of a circuit count in order, and each is answered with
   * the Snapshot after it, although others follow. No request waits for later ones: on a Worker they
   * may belong to another request, which must not be waited for.
   */
  together?<T>(work: () => T): T;
  /** Returns the trail, latest first. A store with `traits.audited` has it. */
  history?(query: EventQuery & { readonly key?: string }): AsyncIterable<StoredEvent>;
  /**
   * Returns what may be kept of a failed call's error, for its tally. Never throws. A store that
   * audits calls has it; without it no tally has `calls`.
   */
  describe?(error: unknown): string | undefined;
  /**
   * Removes rows from a circuit's outbox. A store that has this method obeys `outbox` in requests:
   * a row of each change waits in the circuit's own record, written in the same atomic step, until
   * the trail of another store has confirmed it, so that no change is lost when an isolate dies in
   * between. At most the newest {@linkcode OUTBOX_LENGTH} rows of a circuit wait; `missed` of the
   * oldest one is the number of rows dropped before it.
   */
  confirm?(key: string, rows: readonly Admission[]): Awaitable<void>;
  /** Delivers rows that are kept here for another store. `Fuse.flush()` calls it. Never throws. */
  flush?(request: { readonly at: number }): Awaitable<readonly Trouble[]>;
  /**
   * Sends a read and a write that leave nothing behind, for `Fuse.check()`: one round trip, rejects
   * as an operation does. By default, a circuit of key `""`, which cannot be made, is read instead.
   */
  check?(): Awaitable<void>;
  /**
   * Deletes a circuit. Returns whether there was one. A store with a trail keeps the circuit's
   * rows, and appends one of this.
   *
   * @param request By default, there is no reason.
   */
  remove(key: string, request?: RemoveRequest): Awaitable<boolean>;
}
