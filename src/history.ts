/**
 * The trail of a store that keeps one.
 *
 * @module
 */

import { type CircuitIdentity, identify } from "./key.ts";
import type { Override, Store } from "./store.ts";

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

/** Which events of the trail. */
export interface EventQuery {
  /** Of this kind only. */
  event?: AuditEventName | undefined;
  /** Not before. */
  from?: Date | undefined;
  /** Before. */
  to?: Date | undefined;
  /** How many at most. */
  limit?: number | undefined;
  /** After this one: `cursor` of the last event seen. */
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
  /** Where to go on from here. */
  cursor: string;
}

/** A row as the store has it, which knows keys and not what a Fuse calls it. */
export type StoredEvent = Omit<CircuitEvent, keyof CircuitIdentity> & { readonly key: string };

/** Reads the trail of a store, latest first. */
export async function* historyOf(
  store: Store,
  name: string,
  query: EventQuery & { readonly key?: string },
): AsyncGenerator<CircuitEvent, void, undefined> {
  if (store.history === undefined) {
    throw new TypeError(
      `Cannot read history: store "${name}" keeps no trail; a store with "audited" in its traits does`,
    );
  }
  for await (const { key, ...event } of store.history(query)) {
    yield { ...event, ...identify(name, key) };
  }
}
