/**
 * What the unit tests of single files have in common.
 *
 * @module
 */

import type { CircuitPolicy } from "@fuse/edge";
import { type CircuitPolicyData, createPolicy } from "../../src/rules/policy.ts";
import { absentSnapshot, type Snapshot } from "@fuse/edge/store";

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
  return { ...absentSnapshot(0), epoch: "e", generation: 1, began: 1, ...fields };
}

/** The seed of a property test: from `SEED`, else drawn. fast-check prints it with a counterexample. */
export function seeded(runs: number): { seed: number; numRuns: number } {
  const seed = Number(Deno.env.get("SEED") ?? crypto.getRandomValues(new Int32Array(1))[0]!);
  console.log(`seed ${seed}`);
  return { seed, numRuns: runs };
}
