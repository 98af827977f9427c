/**
 * The stores and the circuits of a Fuse as this isolate knows them, for the tools that show them. Performs no I/O.
 *
 * @module
 */

import type { Circuit } from "./circuit.ts";
import type { Store } from "./contract.ts";
import { isStoreAnswerError, type StoreAnswerError } from "./errors.ts";
import { counted, inScope } from "./events.ts";
import { type Fuse, type Inside, insideOf } from "./fuse.ts";
import { Inventory } from "./inventory.ts";
import type { CircuitIdentity } from "./key.ts";
import { isPlain } from "./records.ts";
import type { RegisteredStore } from "./registry.ts";
import { type CircuitSnapshot, toCircuitSnapshot } from "./rules/snapshot.ts";
import { inTurns } from "./turns.ts";

/**
 * Returns the circuits of a Fuse that this isolate knows and that are not plainly CLOSED, without asking a
 * store. Nothing if it is no Fuse of this package.
 *
 * @internal
 */
export async function knownOpenCircuits(fuse: Fuse): Promise<CircuitSnapshot[]> {
  const open: CircuitSnapshot[] = [];
  for await (const circuits of inTurns(circuitsOf(fuse))) {
    for (const circuit of circuits) {
      const { snapshot, now, ageMs, local } = circuit.peek();
      // Nearly all circuits are plain.
      if (isPlain(snapshot)) continue;
      open.push(toCircuitSnapshot(circuit.identity, snapshot, now, ageMs, local));
    }
  }
  return open;
}

/**
 * Returns the circuits of a Fuse that this isolate knows, as it has them, without asking a store: those
 * that it made, called or imported and has not forgotten (`maxCircuits`). Nothing if it is no Fuse of this
 * package.
 *
 * @internal
 */
export function* circuitsOf(fuse: Fuse): Generator<Circuit, void, undefined> {
  const inside = insideOf(fuse);
  for (const { circuits } of storesIn(inside)) {
    for (const circuit of circuits.values()) {
      if (inScope(inside!.to, circuit.identity)) yield circuit;
    }
  }
}

/**
 * Calls `hear` with each circuit of the view that this isolate is about to forget.
 *
 * @returns Stops it.
 * @internal
 */
export function onForgotten(fuse: Fuse, hear: (circuit: Circuit) => void): () => void {
  const inside = insideOf(fuse);
  if (inside === null) return () => {};
  const { forgetting } = inside.registry;
  const own = (circuit: Circuit) => {
    if (isWithin(inside, circuit.identity)) hear(circuit);
  };
  forgetting.add(own);
  return () => forgetting.delete(own);
}

/**
 * Returns the stores of a Fuse, and whether the last news about each is a failure. Returns none for
 * a Fuse of another package. Performs no I/O.
 *
 * @internal
 */
export function knownStores(
  fuse: Fuse,
): readonly { readonly name: string; readonly down: boolean }[] {
  return storesIn(insideOf(fuse)).map(({ name, opener }) => ({
    name,
    down: opener.failing,
  }));
}

/**
 * Returns the stores of a Fuse by name, as passed to `createFuse`. Returns none for a Fuse of
 * another copy of the package. Performs no I/O.
 *
 * @internal
 */
export function storesOf(fuse: Fuse): ReadonlyMap<string, Store> {
  return new Map(storesIn(insideOf(fuse)).map(({ name, driver }) => [name, driver]));
}

/** A circuit that its store refuses, although it answers others: its record may be invalid. */
export interface RefusedCircuit extends CircuitIdentity {
  /** The request that was refused, such as `read` or `list`. */
  readonly operation: string;
  /** The store's answer. It names the invalid field. */
  readonly error: StoreAnswerError;
}

/**
 * Does `work`, and returns its result and the circuits that stores refused meanwhile. Lists leave out
 * circuits whose records are invalid.
 *
 * @internal
 */
export async function withRefused<T>(
  fuse: Fuse,
  work: () => Promise<T>,
): Promise<readonly [T, readonly RefusedCircuit[]]> {
  const refused = new Map<string, RefusedCircuit>();
  const stop = fuse.on(
    "store_error",
    counted(({ operation, circuit, error }) => {
      if (circuit === undefined || !isStoreAnswerError(error) || error.scope === "store") return;
      refused.set(JSON.stringify([circuit.store, circuit.key]), { ...circuit, operation, error });
    }),
  );
  try {
    return [await work(), [...refused.values()]];
  } finally {
    stop();
  }
}

/**
 * Returns `true` if a circuit is within a view of a Fuse, or for a Fuse of another copy of the
 * package. Performs no I/O.
 *
 * @internal
 */
export function covers(fuse: Fuse, circuit: CircuitIdentity): boolean {
  const inside = insideOf(fuse);
  return inside === null || isWithin(inside, circuit);
}

function isWithin({ to }: Inside, circuit: CircuitIdentity): boolean {
  return (to.store ?? circuit.store) === circuit.store && inScope(to, circuit);
}

/** Returns the stores of a view; none for a Fuse of another package. */
function storesIn(inside: Inside | null): readonly RegisteredStore[] {
  return inside === null ? [] : new Inventory(inside.registry, inside.to).stores();
}
