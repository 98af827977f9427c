/**
 * The outcomes of calls, in the form of tallies.
 *
 * @module
 */

import type { Ending } from "../circuit.ts";
import type { Driver } from "../contract.ts";

/** The outcomes of one or more calls. */
export interface Outcomes {
  readonly successes: number;
  readonly failures: number;
  readonly slow: number;
  /** The text that may be kept of the failure's error. Present only if calls are audited. */
  readonly text?: string | null;
}

/**
 * Returns the outcome of one call.
 *
 * @param describe Returns the text that may be kept of an error. Present only if calls are audited.
 */
export function outcomeOf(
  { kind, slow, error }: Pick<Ending, "kind" | "slow" | "error">,
  failed: boolean,
  describe: Driver["describe"],
): Outcomes {
  const counts = kind !== "neutral";
  const outcome = {
    successes: counts && !failed ? 1 : 0,
    failures: failed ? 1 : 0,
    slow: counts && slow ? 1 : 0,
  };
  if (describe === undefined) return outcome;
  return {
    ...outcome,
    text: kind === "failure" && error !== undefined ? textOf(describe, error) : null,
  };
}

function textOf(describe: NonNullable<Driver["describe"]>, error: unknown): string | null {
  try {
    return describe(error) ?? null;
  } catch {
    return null;
  }
}
