/**
 * What the unit tests of single files have in common.
 *
 * @module
 */

import { absentSnapshot, type CircuitPolicy, type Snapshot, type Store } from "@fuse/edge";
import { type CircuitPolicyData, createPolicy } from "../../src/policy.ts";

/** A policy with defaults filled in; strategies that throw fail the test. */
export function policyOf(options: CircuitPolicy = {}): CircuitPolicyData {
  return createPolicy(options, {}, unexpected);
}

/** For a place that nothing should reach. */
export function unexpected(type: string, error: unknown): never {
  throw new Error(`Unexpected report of "${type}"`, { cause: error });
}

/** A Snapshot that differs from a fresh circuit's in a few fields. */
export function snapshotOf(fields: Partial<Snapshot> = {}): Snapshot {
  return { ...absentSnapshot(0), epoch: "e", generation: 1, ...fields };
}

/** A Store with the operations that reached it, in order. */
export interface Counted {
  readonly store: Store;
  /** Operations since the last `take`. */
  take(): string[];
  /** The arguments of the operations of a kind, since the beginning. */
  readonly requests: { readonly operation: string; readonly request: unknown }[];
}

/** Counts the operations on a store. */
export function counted(inner: Store): Counted {
  let taken: string[] = [];
  const requests: Counted["requests"] = [];
  const store = new Proxy(inner, {
    get(target, property) {
      const value = Reflect.get(target, property, target);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        taken.push(String(property));
        requests.push({ operation: String(property), request: args[1] });
        return Reflect.apply(value, target, args);
      };
    },
  });
  return {
    store,
    requests,
    take() {
      const operations = taken;
      taken = [];
      return operations;
    },
  };
}

/** The seed of a property test: from `SEED`, else drawn. fast-check prints it with a counterexample. */
export function seeded(runs: number): { seed: number; numRuns: number } {
  const seed = Number(Deno.env.get("SEED") ?? crypto.getRandomValues(new Int32Array(1))[0]!);
  console.log(`seed ${seed}`);
  return { seed, numRuns: runs };
}
