/**
 * The types of a circuit as a store keeps it: its Snapshot at one moment, and its whole record.
 *
 * @module
 */

import type { FailureNote, Override, PolicyRecord, UntoldRow } from "./trail.ts";

/** The states of a circuit, spelled alike in the API, in Redis, in SQL and in events. */
export type CircuitState = "CLOSED" | "OPEN" | "HALF_OPEN";

/** How a request wants its {@linkcode Snapshot} measured. */
export interface Shape {
  /** Length of the time window in ms. It is kept in ten segments. */
  readonly windowMs: number;
  /** Length of the count window in calls; 0 when no strategy asks for it. */
  readonly windowSize: number;
}

/** An override as the store keeps it. */
export interface OverrideRecord {
  /** Which override. */
  readonly kind: Override;
  /** When it ends by itself, on the store's clock in ms; `null`: when released. */
  readonly until: number | null;
  /** Why, in the operator's words. */
  readonly reason: string | null;
  /** The person or program that acted. */
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
  /** A random id of this life of the record; `""` when the store holds none. */
  readonly epoch: string;
  /** Counts transitions and operator actions of this life from 1; 0 when the store holds none. */
  readonly generation: number;
  /**
   * When this generation began; 0 when the store holds none. Together with epoch and generation it
   * identifies the generation: numbers repeat when a store is put back to an earlier state, moments do
   * not. A generation that an override's end begins has that end as its moment.
   */
  readonly began: number;
  /** Why the last transition happened: a strategy's name, `trial_failed`, `reset`, …; `""` before the first. */
  readonly reason: string;
  /** When it last opened. Stays after closing. */
  readonly openedAt: number | null;
  /** Until when an OPEN circuit lets nobody through. Fixed at the trip. */
  readonly openUntil: number | null;
  /** How long the opening lasts, in ms, after `Retry-After` and the cap; `null` once it closed. */
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
  /** Over the whole life of the record, late and uncounted calls included. */
  readonly totals: {
    readonly successes: number;
    readonly failures: number;
    readonly rejected: number;
    readonly slow: number;
  };
  /** Over the last `shape.windowMs`. */
  readonly window: {
    readonly successes: number;
    readonly failures: number;
    readonly slow: number;
  };
  /** Since the circuit last closed, or was reset or overridden. */
  readonly sinceClosed: {
    readonly successes: number;
    readonly failures: number;
    readonly slow: number;
  };
  /** Over the last `shape.windowSize` calls; `size` is how many of them there have been. */
  readonly last: { readonly size: number; readonly failures: number };
  /** Of this HALF_OPEN generation. `freeAt`: when the earliest lease ends. */
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
  /** The policy of the last outcome that counted, as its isolate recorded it; `null`: none was. */
  readonly policy: PolicyRecord | null;
  /** Of the last tally BEFORE this request, so that a writer sees whom it follows; `""`: none yet. */
  readonly policyHash: string;
  /**
   * How many tallies a second the circuit takes: those of the store's last full second or, if they are
   * more already, those of the present one. A tally counts in a step that the store makes anyway: nothing
   * else is asked of it. Left out: the store does not count them. Records that are restored begin at 0.
   */
  readonly requestsPerSecond?: number | undefined;
  /** The store's clock at the answer. */
  readonly now: number;
  /** The rows that wait in the circuit's outbox, oldest first. Present if the request asked for them. */
  readonly untold?: readonly UntoldRow[];
}

/** A tenth of the time window, keyed by its start in ms on the store's clock. */
export interface Segment {
  /** When it began, in ms. */
  readonly start: number;
  /** Successes that ended in it. */
  readonly successes: number;
  /** Failures that ended in it. */
  readonly failures: number;
  /** Slow calls that ended in it. */
  readonly slow: number;
}

/** A whole record: what `list` hands out and `restore` takes. Leases are not part of it. */
export interface CircuitRecord {
  /** Which circuit: see `key.ts`. */
  readonly key: string;
  /** The circuit's record. */
  readonly snapshot: Snapshot;
  /** Its time window, oldest first. */
  readonly segments: readonly Segment[];
  /** Its count window, oldest first: `S` and `F`. */
  readonly outcomes: string;
}
