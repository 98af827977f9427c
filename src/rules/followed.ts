/**
 * Makes the policy of an isolate without options from the circuit's record. Only circuits on shared
 * stores need it.
 *
 * @module
 */

import type { PolicyRecord } from "../contract.ts";
import { DECIDING } from "./fingerprint.ts";
import { type CircuitPolicyData, createPolicy, POLICY_OPTIONS } from "./policy.ts";
import { BUILT_IN, type Strategy } from "./strategies.ts";

/** The options that decide nothing: an isolate keeps its own, whatever a record says. */
const OWN = POLICY_OPTIONS.filter((option) => !Object.hasOwn(DECIDING, option));

/**
 * Returns the policy of a record. A policy with a function, or with a strategy that is not
 * registered here, requests no transitions: `silent`.
 *
 * @param recorded The policy in the record.
 * @param given The isolate's own policy.
 */
export function followed(
  recorded: PolicyRecord,
  given: CircuitPolicyData,
  strategies: Readonly<Record<string, Strategy>>,
  report: (type: string, error: unknown) => void,
): CircuitPolicyData {
  const { strategy = "consecutive_failures", cooldownMs = 60_000, ...numbers } = recorded;
  const names = String(strategy).split(",");
  const isKnown = (name: string) =>
    Object.hasOwn(BUILT_IN, name) || Object.hasOwn(strategies, name);
  const silent = typeof cooldownMs !== "number" || !names.every(isKnown);
  const told = silent ? numbers : { ...numbers, cooldownMs, strategy: names };
  const own = Object.fromEntries(
    OWN.map((option) => [option, given[option as keyof typeof given]]),
  );
  try {
    return { ...createPolicy({ ...told, ...own }, strategies, report), hash: "", recorded, silent };
  } catch {
    // The record was written by a version with other options, or by hand.
    return { ...given, recorded, silent: true };
  }
}
