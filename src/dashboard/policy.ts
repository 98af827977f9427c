/**
 * The policy of a circuit beside its counts: how far the circuit is from opening.
 *
 * @module
 */

import { inLine } from "../checks.ts";
import { DECIDING } from "../rules/fingerprint.ts";
import type { CircuitSnapshot } from "../rules/snapshot.ts";
import { many, spanText } from "./words.ts";

/** A count, and the limit at which the circuit opens, or `""` if the limit is not known. */
export interface Gauge {
  readonly text: string;
  readonly limit: string;
}

/** Returns the counts that decide, each with its limit. */
export function gaugesOf(circuit: CircuitSnapshot): Gauge[] {
  const recorded = circuit.policy;
  const policy = { ...DECIDING, ...recorded };
  const { consecutiveFailures, window, failureRate } = circuit.metrics;
  const strategies = String(policy.strategy).split(",");
  const known = recorded !== null;
  const inARow = {
    text: `${consecutiveFailures} in a row`,
    limit: known && strategies.includes("consecutive_failures")
      ? inLine(`opens at ${policy.failureThreshold}`)
      : "",
  };
  const shares = strategies.filter((one) => Object.hasOwn(SHARES, one));
  const inWindow = {
    text: window.calls === 0
      ? "no calls in the window"
      : `${window.failures} of ${many(window.calls, "call")} failed (${Math.round(failureRate)} %)`,
    limit: known && shares.length > 0
      ? inLine(
        `opens at ${policy.percentageThreshold} % of ${policy.minimumThroughput} or more ` +
          shares.map((one) => SHARES[one]!(policy)).join(", or "),
      )
      : "",
  };
  return [inARow, inWindow];
}

/** The calls that a share refers to, by strategy. */
const SHARES: Readonly<Record<string, (policy: typeof DECIDING) => string>> = {
  percentage_failures: () => "since it closed",
  rolling_window: ({ windowMs }) => `in ${spanText(windowMs)}`,
  slow_calls: ({ windowMs }) => `slow in ${spanText(windowMs)}`,
  count_window: ({ windowSize }) => `of the last ${windowSize}`,
};

/** Returns the options of the policy for a list, durations in words. */
export function policyRows(circuit: CircuitSnapshot): (readonly [string, string])[] {
  return Object.entries(circuit.policy ?? {}).map(([option, value]) => [
    inLine(option),
    option.endsWith("Ms") && typeof value === "number" ? spanText(value) : inLine(String(value)),
  ]);
}
