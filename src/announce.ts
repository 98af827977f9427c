/**
 * Announces what happened to a circuit: the events that follow from the end of a call, a
 * transition, an operator's action, or an answer of the store.
 *
 * @module
 */

import { quote } from "./checks.ts";
import type { Answer, CircuitState, Override, Snapshot, Trouble } from "./contract.ts";
import type { Events } from "./events.ts";
import { type CircuitIdentity, identify } from "./key.ts";
import { dateOf, toCircuitSnapshot } from "./rules/snapshot.ts";

/** The part of a circuit that announcements read. */
export interface Announcing {
  readonly identity: CircuitIdentity;
  readonly store: { readonly events: Events };
  /** `true` for this isolate's stand-in, which decides in place of a store that does not answer. */
  readonly local: boolean;
}

/** The end of a call, as its events carry it. */
export interface EndedCall {
  readonly slow: boolean;
  readonly durationMs: number;
  readonly error: unknown;
}

/** The reason and the actor of an operator's action. */
export interface Signature {
  readonly reason: string | null;
  readonly actor: string | null;
}

/** Emits `success`, `failure` or `ignored`, and `slow` if the call was slow. */
export function announceCall(
  { identity, store: { events } }: Announcing,
  type: "success" | "failure" | "ignored",
  { slow, durationMs, error }: EndedCall,
  late: boolean,
): void {
  const detail = {
    ...identity,
    durationMs,
    ...(error === undefined ? null : { error }),
    ...(late ? { late } : null),
  };
  events.emit(type, detail);
  if (slow && type !== "ignored") events.emit("slow", detail);
}

/**
 * Emits a transition that this isolate made, or `would_open` if an override prevented it.
 *
 * @param background `true` if no call waits for it.
 * @param generation The generation that it began. A late answer shows a later one: a client has
 * repeated the request, and others have moved the circuit between.
 */
export function announceTransition(
  { identity, local, store: { events } }: Announcing,
  type: "opened" | "closed" | "half_opened" | "would_open",
  from: CircuitState,
  to: CircuitState,
  reason: string,
  { snapshot: s, head }: Answer,
  background = false,
  generation = s.generation,
): void {
  if (!events.hears(type)) return;
  events.emit(type, {
    ...identity,
    ...(head === undefined ? null : { head }),
    from,
    to,
    ...beginning(generation === s.generation ? s : earlier(s, to, generation)),
    reason,
    snapshot: toCircuitSnapshot(identity, s, s.now, 0, local),
    ...(local ? { local } : null),
    ...(background ? { background } : null),
  });
}

/** Emits that the `acquire` of this call ended the cooldown. */
export function announceHalfOpened(circuit: Announcing, answer: Answer): void {
  announceTransition(circuit, "half_opened", "OPEN", "HALF_OPEN", "cooldown_passed", answer);
}

/** Emits an operator's action, or the end of an override. */
export function announceAction(
  { identity, store: { events } }: Announcing,
  type: Override | "released" | "reset" | "imported" | "removed",
  { reason, actor }: Signature,
  until: number | null,
  { snapshot }: Answer,
): void {
  events.emit(type, {
    ...identity,
    reason,
    actor,
    until: until === null ? null : dateOf(until),
    ...beginning(snapshot),
  });
}

/** Returns a snapshot as it names the generation that a change to OPEN or CLOSED began. */
function earlier(s: Snapshot, to: CircuitState, generation: number): Snapshot {
  return { ...s, generation, began: (to === "OPEN" ? s.openedAt : s.closedAt) ?? s.began };
}

/** Returns the identity of an event's generation, and the time of the event. */
function beginning({ epoch, generation, began, now }: Snapshot) {
  return { epoch, generation, began: dateOf(began), at: dateOf(now) };
}

/** Emits the contents of an answer: an expired override, evicted circuits, troubles. */
export function announceAnswer(circuit: Announcing, answer: Answer): void {
  const { identity: { store }, store: { events } } = circuit;
  const { released, evicted, troubles } = answer;
  if (released) {
    const by = { reason: "expired", actor: released.actor };
    announceAction(circuit, "released", by, released.until, answer);
  }
  for (const key of evicted ?? []) events.emit("evicted", identify(store, key));
  announceTroubles(events, store, troubles);
}

/** Emits a failure beside an operation, or its end. */
export function announceTroubles(
  events: Events,
  store: string,
  troubles: readonly Trouble[] | undefined,
): void {
  for (const { operation, error, retryAfterMs } of troubles ?? []) {
    if (error === null) events.emit("store_recovered", { store, operation });
    else {
      const sentence = () => `store ${quote(store)} fails at ${operation}, ${String(error)}`;
      events.alarm("store_error", { store, operation, error, retryAfterMs }, sentence);
    }
  }
}

/** Emits that outcomes are given up, because no answer confirmed in time that they counted. */
export function announceUnconfirmed(
  { identity, store: { events } }: Announcing,
  tally: { readonly successes: number; readonly failures: number; readonly rejected: number },
  why: string,
  retryAfterMs: number,
): void {
  const { successes, failures, rejected } = tally;
  events.alarm(
    "unconfirmed",
    { ...identity, tallies: 1, successes, failures, rejected },
    () => `outcomes of circuit ${quote(identity.name)} may be lost, no answer confirmed them`,
  );
  events.emit("store_error", {
    store: identity.store,
    circuit: { ...identity },
    operation: "record",
    error: new Error(
      `${why} a tally of ${successes} successes, ${failures} ` +
        `failures and ${rejected} rejections of circuit ${quote(identity.name)}`,
    ),
    retryAfterMs,
  });
}
