/**
 * How calls ended, as tallies count it.
 *
 * @module
 */

import type { Ending } from "../circuit.ts";
import type { Driver } from "../contract.ts";

/** How one or more calls ended. */
export interface Outcomes {
  readonly successes: number;
  readonly failures: number;
  readonly slow: number;
  /** Where calls are audited, the text that may be kept of the failure's error. Left out elsewhere. */
  readonly text?: string | null;
}

/**
 * Returns how one call ended, as tallies count it.
 *
 * @param describe Where calls are audited: returns the text that may be kept of an error.
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
