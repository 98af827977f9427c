/**
 * The types of the trail: the events of circuits, as a store keeps them and as users read them.
 *
 * @module
 */

import type { CircuitIdentity } from "./key.ts";

/** The overrides of an operator: see `forceOpen`, `forceClose`, `disable`, `metricsOnly`. */
export type Override = "forced_open" | "forced_closed" | "disabled" | "metrics_only";

/** The events of the trail. */
export type AuditEventName =
  | "opened"
  | "closed"
  | "half_opened"
  | "reset"
  | Override
  | "released"
  | "reborn"
  | "imported"
  | "edited"
  | "removed"
  | "success"
  | "failure";

/** A filter of the trail. An event must match all of its fields. */
export interface EventQuery {
  /** The kind of event. By default, any. */
  event?: AuditEventName | undefined;
  /** The earliest time, by the store's clock. By default, there is none. */
  from?: Date | undefined;
  /** The time before which events happened, by the store's clock. By default, there is none. */
  to?: Date | undefined;
  /** The largest number of events. An integer of at least 0. By default, all. */
  limit?: number | undefined;
  /**
   * `cursor` of the event after which to continue. A cursor of a Fuse continues in its own store.
   * By default, begins at the latest event.
   */
  cursor?: string | undefined;
}

/** A row of the trail. */
export interface CircuitEvent extends CircuitIdentity {
  /** Unique in its store. */
  id: string;
  /** The kind of change. */
  event: AuditEventName;
  /** The time of the event, on the store's clock. */
  at: Date;
  /** From, to, generation, reason, actor, counters, … */
  metadata: Record<string, unknown> | null;
  /** The position after this event: for `cursor` of a query. */
  cursor: string;
}

/** A row as the store has it, which knows keys and not a Fuse's names. */
export type StoredEvent = Omit<CircuitEvent, keyof CircuitIdentity> & {
  /** The key of the circuit, unique within the store. */
  readonly key: string;
};

/** The generation under which a call was admitted, and under which its outcome is recorded. */
export interface Admission {
  /** The life of the circuit; `""` if the circuit was unknown. */
  readonly epoch: string;
  /** The generation; `TOTALS_ONLY` for an outcome that adds to lifetime totals only. */
  readonly generation: number;
  /** When the generation began, on the store's clock in ms; 0 if the circuit was unknown. */
  readonly began: number;
}

/** The stored part of the failure that opened a circuit: never its message. */
export interface FailureNote {
  /** When it ended, in ms on the clock of the isolate that saw it. */
  readonly at: number;
  /** The `code` or the name of the error, `Response`, or `slow`. At most 64 characters. */
  readonly kind: string;
  /** The status of a Response. */
  readonly status: number | null;
  /** The isolate that saw it: `createFuse({ instance })`. */
  readonly instance: string | null;
}

/** A change that a trail in another store has not confirmed yet. */
export interface UntoldRow {
  /** The life of the circuit afterwards. */
  readonly epoch: string;
  /** The generation afterwards. */
  readonly generation: number;
  /** When that generation began, in ms. No two rows of a circuit share epoch, generation and this. */
  readonly began: number;
  /** The event. */
  readonly event: Exclude<AuditEventName, "success" | "failure">;
  /** The time of the event, on the store's clock, in ms. */
  readonly at: number;
  /** From, to, reason, actor, counters; `missed`: the number of dropped rows before it. */
  readonly metadata: Readonly<Record<string, unknown>>;
}

/**
 * The options of a policy that decide and differ from the defaults. A strategy is its name, several
 * have commas between; a function is its name, or `null`.
 */
export type PolicyRecord = Readonly<Record<string, number | string | null>>;

/** A circuit whose record is invalid. */
export interface SpoiltCircuit {
  /** The key of the circuit: see `key.ts`. */
  readonly key: string;
  /** The error that names the field. */
  readonly error: Error;
}
