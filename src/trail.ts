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
  /** What happened. */
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
