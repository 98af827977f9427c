/**
 * Operators' actions on a circuit under their names in tools, the order in which tools show
 * circuits, and the names of circuits in paths and of scopes for people.
 *
 * @module
 */

import type { CircuitBreaker } from "./circuit_breaker.ts";
import { scopeOf } from "./key.ts";
import type { CircuitSnapshot } from "./rules/snapshot.ts";

/** The actions of an operator on a circuit. */
export const ACTIONS = [
  "force-open",
  "force-close",
  "disable",
  "metrics-only",
  "release",
  "reset",
  "remove",
] as const;

/** An action of an operator on a circuit. */
export type Action = typeof ACTIONS[number];

/** Actions that set an override, and may have an end. */
export const OVERRIDING: readonly Action[] = [
  "force-open",
  "force-close",
  "disable",
  "metrics-only",
];

/** Actions that switch protection off: an override without an end would stay for ever. */
export const NEEDS_END: readonly Action[] = ["disable", "force-close"];

/** The reason, the actor and the end. */
export interface Order {
  readonly reason: string;
  /** `undefined` if other code adds it. */
  readonly actor: string | undefined;
  /** The length, in ms; `undefined` until it is released. */
  readonly forMs: number | undefined;
}

/**
 * Acts on a circuit. Costs one round trip.
 *
 * @throws {StoreUnavailableError} If the store does not answer or refuses.
 * @throws {RangeError | TypeError} Naming the option, what came and what is allowed.
 */
export async function act(breaker: CircuitBreaker, action: Action, order: Order): Promise<void> {
  const { forMs: _, ...why } = order;
  await {
    "force-open": () => breaker.forceOpen(order),
    "force-close": () => breaker.forceClose(order),
    "disable": () => breaker.disable(order),
    "metrics-only": () => breaker.metricsOnly(order),
    "release": () => breaker.release(why),
    "reset": () => breaker.reset(why),
    "remove": () => breaker.remove(why),
  }[action]();
}

/** Returns `true` if the circuit rejects all calls. */
export function isShut({ state, override }: CircuitSnapshot): boolean {
  return override === null ? state === "OPEN" : override.kind === "forced_open";
}

/** Orders circuits for operators: rejecting, half-open, overridden, plainly CLOSED. */
export function byUrgency(a: CircuitSnapshot, b: CircuitSnapshot): number {
  return rankOf(a) - rankOf(b) ||
    (a.name < b.name ? -1 : a.name > b.name ? 1 : a.key < b.key ? -1 : 1);
}

function rankOf(circuit: CircuitSnapshot): number {
  if (isShut(circuit)) return 0;
  if (circuit.override !== null) return 2;
  return circuit.state === "CLOSED" ? 3 : 1;
}

/**
 * Returns a text as a segment of a dashboard's path. URLs drop the segments `.` and `..`, also percent-encoded:
 * their dots are escaped twice.
 */
export function segmentOf(text: string): string {
  const dots = /^\.{1,2}$/.test(text) ? text.replaceAll(".", "%2E") : text;
  return encodeURIComponent(dots);
}

/** Returns the text of a segment that {@linkcode segmentOf} gave, as a router decodes it. */
export function fromSegment(segment: string): string {
  return /^(%2E){1,2}$/i.test(segment) ? ".".repeat(segment.length / 3) : segment;
}

/** Returns a scope of a snapshot as people write it, `type:id`; `""` for none. */
export function scopeTitle(scope: string | null): string {
  const { type, id } = scopeOf(scope) ?? {};
  return type === undefined ? "" : `${type}:${id}`;
}
