/**
 * The types of the trail: what happened to circuits, as a store keeps it and as users read it.
 *
 * @module
 */

import type { CircuitIdentity } from "./key.ts";

/** What an operator may lay over the state: see `forceOpen`, `forceClose`, `disable`, `metricsOnly`. */
export type Override = "forced_open" | "forced_closed" | "disabled" | "metrics_only";

/** What is in the trail. */
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

/** Which events of the trail: those to which all of it applies. */
export interface EventQuery {
  /** Of this kind only. Left out: of any. */
  event?: AuditEventName | undefined;
  /** Not before, by the store's clock. Left out: from the first on. */
  from?: Date | undefined;
  /** Before, by the store's clock. Left out: up to the latest. */
  to?: Date | undefined;
  /** How many at most. An integer of at least 0. Left out: all. */
  limit?: number | undefined;
  /**
   * After this one: `cursor` of the last event seen. One of a Fuse goes on in the store it is of. Left
   * out: from the latest on.
   */
  cursor?: string | undefined;
}

/** One row of the trail. */
export interface CircuitEvent extends CircuitIdentity {
  /** Unique in its store. */
  id: string;
  /** The kind of change. */
  event: AuditEventName;
  /** When, on the store's clock. */
  at: Date;
  /** From, to, generation, reason, actor, counters, … */
  metadata: Record<string, unknown> | null;
  /** Where to go on from here: for `cursor` of a query. */
  cursor: string;
}

/** A row as the store has it, which knows keys and not what a Fuse calls it. */
export type StoredEvent = Omit<CircuitEvent, keyof CircuitIdentity> & {
  /** Of which circuit: unique within the store. */
  readonly key: string;
};

/** The generation under which a call was admitted, and its outcome is recorded. */
export interface Admission {
  /** The life of the circuit; `""` if the circuit was unknown. */
  readonly epoch: string;
  /** The generation; `TOTALS_ONLY` for an outcome that feeds lifetime totals only. */
  readonly generation: number;
  /** When the generation began, on the store's clock in ms; 0 if the circuit was unknown. */
  readonly began: number;
}

/** The part of the failure that opened a circuit which is kept: never its message. */
export interface FailureNote {
  /** When it ended, in ms on the clock of the isolate that saw it. */
  readonly at: number;
  /** The `code` or the name of the error, `Response`, or `slow`. At most 64 characters. */
  readonly kind: string;
  /** The status of a Response. */
  readonly status: number | null;
  /** Which isolate saw it: `createFuse({ instance })`. */
  readonly instance: string | null;
}

/** A change that the trail, kept elsewhere, has not confirmed yet. */
export interface UntoldRow {
  /** The life of the circuit afterwards. */
  readonly epoch: string;
  /** The generation afterwards. */
  readonly generation: number;
  /** When that generation began, in ms. No two rows of a circuit share epoch, generation and this. */
  readonly began: number;
  /** What happened. */
  readonly event: Exclude<AuditEventName, "success" | "failure">;
  /** When, on the store's clock, in ms. */
  readonly at: number;
  /** From, to, reason, actor, counters; `missed`: how many rows before it had to go. */
  readonly metadata: Readonly<Record<string, unknown>>;
}
