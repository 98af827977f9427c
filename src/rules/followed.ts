/**
 * Makes the policy of an isolate without options from the circuit's record. Only circuits on shared
 * stores need it.
 *
 * @module
 */

import type { PolicyRecord } from "../contract.ts";
import { type CircuitPolicy, type CircuitPolicyData, createPolicy } from "./policy.ts";
import { BUILT_IN, type Strategy } from "./strategies.ts";

/** The options of an isolate, without those that decide, and its strategies. */
export type Given = readonly [
  options: CircuitPolicy,
  strategies: Readonly<Record<string, Strategy>>,
];

/**
 * Returns the policy that a record tells. One with a function, or with a strategy that has no such name
 * here, issues no verdict: `silent`.
 */
export function followed(
  { strategy = "consecutive_failures", ...record }: PolicyRecord,
  [options, strategies]: Given,
  report: (type: string, error: unknown) => void,
): CircuitPolicyData {
  const names = String(strategy).split(",");
  const isKnown = (name: string) =>
    Object.hasOwn(BUILT_IN, name) || Object.hasOwn(strategies, name);
  const { cooldownMs = 60_000, ...numbers } = record;
  const silent = typeof cooldownMs !== "number" || !names.every(isKnown);
  const told = silent ? numbers : { ...numbers, cooldownMs, strategy: names };
  try {
    return { ...createPolicy({ ...options, ...told }, strategies, report), hash: "", silent };
  } catch {
    // It was written by a version with other options, or by hand.
    return { ...createPolicy(options, strategies, report), silent: true };
  }
}
