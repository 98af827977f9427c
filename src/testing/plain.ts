/**
 * Answers of a store as plain data of one's own, the way a network would deliver them: a store in
 * this process answers with live records, which go on changing and may carry more than the contract.
 */

import type { Answer, CircuitRecord, OverrideRecord, Snapshot } from "../store.ts";

/** Exactly the fields of the contract, field by field: faster than a clone, and nothing else gets through. */
export function plainSnapshot(s: Snapshot): Snapshot {
  const { totals, window, sinceClosed, last, halfOpen } = s;
  return {
    state: s.state,
    epoch: s.epoch,
    generation: s.generation,
    reason: s.reason,
    openedAt: s.openedAt,
    openUntil: s.openUntil,
    closedAt: s.closedAt,
    reopenCount: s.reopenCount,
    consecutiveFailures: s.consecutiveFailures,
    consecutiveSuccesses: s.consecutiveSuccesses,
    totals: {
      successes: totals.successes,
      failures: totals.failures,
      rejected: totals.rejected,
      slow: totals.slow,
    },
    window: { successes: window.successes, failures: window.failures, slow: window.slow },
    sinceClosed: {
      successes: sinceClosed.successes,
      failures: sinceClosed.failures,
      slow: sinceClosed.slow,
    },
    last: { size: last.size, failures: last.failures },
    halfOpen: {
      inFlight: halfOpen.inFlight,
      successes: halfOpen.successes,
      failures: halfOpen.failures,
      freeAt: halfOpen.freeAt,
    },
    lastFailureAt: s.lastFailureAt,
    lastSuccessAt: s.lastSuccessAt,
    override: plainOverride(s.override),
    policyHash: s.policyHash,
    now: s.now,
  };
}

/** The verdict that came with an answer is kept as it is. */
export function plainAnswer<A extends Answer>(answer: A): A {
  const { snapshot, released } = answer;
  const copy: A = { ...answer, snapshot: plainSnapshot(snapshot) };
  return released ? { ...copy, released: plainOverride(released) } : copy;
}

export function plainRecord(record: CircuitRecord): CircuitRecord {
  return {
    key: record.key,
    snapshot: plainSnapshot(record.snapshot),
    segments: record.segments.map((segment) => ({ ...segment })),
    outcomes: record.outcomes,
  };
}

function plainOverride(override: OverrideRecord | null): OverrideRecord | null {
  if (override === null) return null;
  const { kind, until, reason, actor } = override;
  return { kind, until, reason, actor };
}
