/**
 * The types of a circuit as a store keeps it: its Snapshot at one moment, and its whole record.
 *
 * @module
 */

import type { FailureNote, Override, PolicyRecord, UntoldRow } from "./trail.ts";

/** The states of a circuit, spelled alike in the API, in Redis, in SQL and in events. */
export type CircuitState = "CLOSED" | "OPEN" | "HALF_OPEN";

/** The windows over which a request wants its {@linkcode Snapshot} counted. */
export interface Shape {
  /** Length of the time window in ms. It is kept in ten segments. */
  readonly windowMs: number;
  /** Length of the count window in calls; 0 if no strategy uses it. */
  readonly windowSize: number;
}

/** An override as the store keeps it. */
export interface OverrideRecord {
  /** The kind of override. */
  readonly kind: Override;
  /** Its end, on the store's clock in ms; `null` if it lasts until it is released. */
  readonly until: number | null;
  /** The reason, in the operator's words; `null` if there is none. */
  readonly reason: string | null;
  /** The person or program that acted; `null` if unknown. */
  readonly actor: string | null;
}

/**
 * The record of one circuit in a store, at one moment. All times are ms on the store's own clock.
 *
 * A store in this process may answer with its live record: copy what you keep.
 */
export interface Snapshot {
  /** The state as recorded: OPEN stays OPEN until an `acquire` moves it. */
  readonly state: CircuitState;
  /** A random id of this life of the record; `""` if the store has no record. */
  readonly epoch: string;
  /** The number of transitions and operator actions of this life, from 1; 0 without a record. */
  readonly generation: number;
  /**
   * When this generation began; 0 without a record. Together with epoch and generation it
   * identifies the generation: numbers repeat after a store was restored to an earlier state, and
   * moments do not. A generation that an override's end begins has that end as its moment.
   */
  readonly began: number;
  /**
   * The reason of the last transition: a strategy's name, `trial_failed`, `reset`, …; `""` before the
   * first.
   */
  readonly reason: string;
  /** When it last opened. Stays after closing. */
  readonly openedAt: number | null;
  /** Until when an OPEN circuit rejects all calls. Fixed when it opens. */
  readonly openUntil: number | null;
  /** The length of the opening, in ms, after `Retry-After` and the cap; `null` once it has closed. */
  readonly cooldownMs: number | null;
  /** The failure that opened it last. Stays after closing. */
  readonly lastFailure: FailureNote | null;
  /** When it last closed. */
  readonly closedAt: number | null;
  /** How often it went HALF_OPEN → OPEN since it last closed. */
  readonly reopenCount: number;
  /** Failures since the last success. */
  readonly consecutiveFailures: number;
  /** Successes since the last failure. */
  readonly consecutiveSuccesses: number;
  /** Counts over the whole life of the record, including late and uncounted calls. */
  readonly totals: {
    readonly successes: number;
    readonly failures: number;
    readonly rejected: number;
    readonly slow: number;
  };
  /** Counts over the last `shape.windowMs`. */
  readonly window: {
    readonly successes: number;
    readonly failures: number;
    readonly slow: number;
  };
  /** Counts since the circuit last closed, or was reset or overridden. */
  readonly sinceClosed: {
    readonly successes: number;
    readonly failures: number;
    readonly slow: number;
  };
  /** Counts over the last `shape.windowSize` calls; `size` is the number of calls so far. */
  readonly last: { readonly size: number; readonly failures: number };
  /** The trials of this HALF_OPEN generation. `freeAt`: when the earliest lease ends. */
  readonly halfOpen: {
    readonly inFlight: number;
    readonly successes: number;
    readonly failures: number;
    readonly freeAt: number | null;
  };
  /** When the last failure that counted ended. */
  readonly lastFailureAt: number | null;
  /** When the last success that counted ended. */
  readonly lastSuccessAt: number | null;
  /** The operator's override; `null` if there is none, or once its `until` has passed. */
  readonly override: OverrideRecord | null;
  /** The policy of the last outcome that counted, as its isolate recorded it, or `null`. */
  readonly policy: PolicyRecord | null;
  /** The policy hash of the tally before this request, or `""` if there is none. */
  readonly policyHash: string;
  /**
   * How many tallies a second the circuit gets: those of the store's last full second or, if there are
   * more already, those of the current one. A tally is counted in the step that records it, without a
   * further request. Absent if the store does not count them. A restored record begins at 0.
   */
  readonly requestsPerSecond?: number | undefined;
  /** The store's clock at the answer. */
  readonly now: number;
  /** The rows that wait in the circuit's outbox, oldest first. Present if the request asked for them. */
  readonly untold?: readonly UntoldRow[];
  /** Those of the tallies named by a `read` that it contains. Present if the `read` named some. */
  readonly holds?: readonly string[];
}

/** A tenth of the time window, keyed by its start in ms on the store's clock. */
export interface Segment {
  /** Its start, in ms. */
  readonly start: number;
  /** Successes that ended in it. */
  readonly successes: number;
  /** Failures that ended in it. */
  readonly failures: number;
  /** Slow calls that ended in it. */
  readonly slow: number;
}

/** A whole record, as `list` returns it and `restore` accepts it. It has no leases. */
export interface CircuitRecord {
  /** The key of the circuit: see `key.ts`. */
  readonly key: string;
  /** The circuit's Snapshot. */
  readonly snapshot: Snapshot;
  /** Its time window, oldest first. */
  readonly segments: readonly Segment[];
  /** Its count window, oldest first: `S` and `F`. */
  readonly outcomes: string;
}
