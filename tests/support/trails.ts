/**
 * Circuits with a history, for tests of the trail.
 *
 * @module
 */
import type {
  AcquireRequest,
  CircuitEvent,
  EventQuery,
  Tally,
  TransitionRequest,
} from "../../src/contract.ts";
import type { LibsqlStore } from "@fuse/edge/libsql";
import type { DatabaseStore } from "./drivers.ts";

/** The table of the trail. */
export const EVENTS = "circuit_breaker_events";
/** The columns of the hash chain. */
export const TRAIL_KEY = "a key of forty characters, and then some";

export const SHAPE = { windowMs: 120_000, windowSize: 10 };
export const COOLDOWN_MS = 60_000;

export function request() {
  return { id: `test-${crypto.randomUUID()}`, at: Date.now(), shape: SHAPE };
}

export function tally(parts: Partial<Tally> = {}): Tally {
  return {
    ...request(),
    ...{ epoch: "", generation: 0, began: 0, successes: 0, failures: 0, rejected: 0, slow: 0 },
    ...{ ageMs: 0, lease: null, policyHash: "", ...parts },
  };
}

export function acquiring(parts: Partial<AcquireRequest> = {}): AcquireRequest {
  const { id, ...rest } = request();
  return { id, ...rest, token: id, max: 1, leaseMs: 30_000, ...parts };
}

export function changing(parts: Partial<TransitionRequest> = {}): TransitionRequest {
  return {
    ...request(),
    ...{ to: "OPEN", event: "opened", cooldownMs: COOLDOWN_MS, reason: "test", actor: null },
    ...{ expected: null, ...parts },
  };
}

export function laying() {
  return { ...request(), until: null, reason: "a drill", actor: "ada" };
}

/** Opens a circuit, closes it, and sets an override: six rows of the chain. */
export async function live(
  store: DatabaseStore,
  key: string,
  advance: (ms: number) => void,
): Promise<void> {
  await store.record(key, tally({ failures: 1 }));
  await store.transition(key, changing());
  advance(COOLDOWN_MS);
  await store.acquire(key, acquiring());
  await store.transition(key, changing({ to: "CLOSED", event: "closed", cooldownMs: 0 }));
  await store.override(key, { ...laying(), kind: "disabled" });
  await store.override(key, { ...laying(), kind: null });
  await store.transition(key, changing({ to: "CLOSED", event: "reset", cooldownMs: 0 }));
}

/** Rows of the trail, latest first. */
export async function eventsOf(
  store: LibsqlStore,
  query: EventQuery & { readonly key?: string } = {},
): Promise<CircuitEvent[]> {
  const events: CircuitEvent[] = [];
  for await (const event of store.history(query)) events.push(event);
  return events;
}
