/**
 * Reads stores and single circuits.
 *
 * @module
 */

import type { CircuitBreaker } from "../circuit_breaker.ts";
import type { AuditEventName, CircuitEvent, StoreTraits } from "../contract.ts";
import type { Fuse } from "../fuse.ts";
import { covers, storesOf } from "../known.ts";
import type { CircuitSnapshot } from "../rules/snapshot.ts";
import { storesOfView } from "./find.ts";

/** A store, and whether it answers. */
export interface StoreStatus {
  readonly name: string;
  readonly ok: boolean;
  /** The time of the answer in ms, rounded. */
  readonly latencyMs: number;
  /** `null` if it is a store of another copy of the package. */
  readonly traits: StoreTraits | null;
}

/** A circuit by its store and key. */
export interface Place {
  readonly store: string;
  readonly key: string;
}

/** A circuit, with the sentence that explains it. */
export interface Shown {
  readonly circuit: CircuitSnapshot;
  readonly explanation: string;
}

/** The trail of a circuit, or the reason why it is missing: the store keeps none, or does not answer. */
export type Trail =
  | { readonly kind: "kept"; readonly events: readonly CircuitEvent[] }
  | { readonly kind: "none" | "unanswered"; readonly events: readonly [] };

/** Asks the stores of the view, all at once. Costs a round trip each. */
export async function checkStores(fuse: Fuse): Promise<StoreStatus[]> {
  const checks = await fuse.check();
  const drivers = storesOf(fuse);
  return storesOfView(fuse).filter((name) => name in checks).map((name) => {
    const { ok, latencyMs } = checks[name]!;
    return { name, ok, latencyMs: Math.round(latencyMs), traits: traitsOf(drivers.get(name)) };
  });
}

function traitsOf(store: { readonly traits: StoreTraits } | undefined): StoreTraits | null {
  if (store === undefined) return null;
  const { persistent, shared, audited } = store.traits;
  return { persistent, shared, audited };
}

/** Returns the handle of a circuit, or `null` if the view has no such store or circuit. */
export function breakerOf(fuse: Fuse, place: Place): CircuitBreaker | null {
  if (!storesOfView(fuse).includes(place.store)) return null;
  try {
    const breaker = fuse.circuit(place);
    return covers(fuse, breaker) ? breaker : null;
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) return null;
    throw error;
  }
}

/** Reads a circuit. Two round trips. */
export async function lookAt(breaker: CircuitBreaker): Promise<Shown> {
  const [circuit, explanation] = await Promise.all([breaker.snapshot(), breaker.explain()]);
  return { circuit, explanation };
}

/** Returns `true` if the store has no such circuit. */
export function isAbsent({ generation, local }: CircuitSnapshot): boolean {
  return generation === 0 && !local;
}

/**
 * Reads the last events of a circuit, latest first. The circuit is shown even if its trail does not
 * answer. Costs a round trip if the store keeps a trail.
 */
export async function trailOf(
  fuse: Fuse,
  breaker: CircuitBreaker,
  limit: number,
  event?: AuditEventName,
): Promise<Trail> {
  if (storesOf(fuse).get(breaker.store)?.traits.audited === false) {
    return { kind: "none", events: [] };
  }
  const events: CircuitEvent[] = [];
  try {
    for await (const one of breaker.history({ limit, event })) events.push(one);
    return { kind: "kept", events };
  } catch (error) {
    // A store of another copy of the package without a trail throws a TypeError.
    return { kind: error instanceof TypeError ? "none" : "unanswered", events: [] };
  }
}
