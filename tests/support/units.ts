/**
 * Helpers of the unit tests of single files.
 *
 * @module
 */

import type { CircuitPolicy } from "@fuse/edge";
import { type CircuitPolicyData, createPolicy } from "../../src/rules/policy.ts";
import { absentSnapshot, type Snapshot } from "@fuse/edge/store";

/** Returns a policy with defaults; strategies that throw fail the test. */
export function policyOf(options: CircuitPolicy = {}): CircuitPolicyData {
  return createPolicy(options, {}, unexpected);
}

/** Fails the test: for code that must not run. */
export function unexpected(type: string, error: unknown): never {
  throw new Error(`Unexpected report of "${type}"`, { cause: error });
}

/** Returns a Snapshot of a fresh circuit with some fields changed. */
export function snapshotOf(fields: Partial<Snapshot> = {}): Snapshot {
  return { ...absentSnapshot(0), epoch: "e", generation: 1, began: 1, ...fields };
}

/**
 * Returns the seed of a property test: from `SEED`, or random. fast-check prints it with a
 * counterexample.
 */
export function seeded(runs: number): { seed: number; numRuns: number } {
  const seed = Number(Deno.env.get("SEED") ?? crypto.getRandomValues(new Int32Array(1))[0]!);
  console.log(`seed ${seed}`);
  return { seed, numRuns: runs };
}
