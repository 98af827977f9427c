/**
 * Rows of the libSQL store as the contract's data, and the other way round.
 *
 * @module
 */

import {
  absentSnapshot,
  type CircuitRecord,
  type CircuitState,
  type OverrideRecord,
  type RestoreRequest,
  type Segment,
  type Shape,
  type Snapshot,
  withoutExpiredOverride,
} from "../src/store.ts";
import { KEPT, KEPT_TIMES, type Values } from "./libsql_statements.ts";

/** A circuit as a statement answers it. */
export interface Row {
  readonly at: number;
  /** `null`: there is none. */
  readonly id: number | null;
  readonly segments: readonly (readonly [number, number, number, number])[];
  readonly leases: readonly number[];
  readonly [field: string]: unknown;
}

/** The only column that answers have. */
export function rowOf(result: { readonly row?: unknown } | undefined): Row {
  return JSON.parse(String(result?.row)) as Row;
}

/** A row of an answer as a Snapshot, as it reads at its moment. */
export function snapshotOf(row: Row, { windowMs, windowSize }: Shape): Snapshot {
  const now = row.at;
  if (row.id === null) return absentSnapshot(now);
  const n = (field: string) => row[field] as number;
  const at = (field: string) => row[field] as number | null;
  const text = (field: string) => row[field] as string;
  const segments = segmentsOf(row);
  const window = { successes: 0, failures: 0, slow: 0 };
  // Time that went back counts as standing still.
  const after = Math.max(now, segments.at(-1)?.start ?? 0) - windowMs;
  for (const { start, successes, failures, slow } of segments) {
    if (start <= after) continue;
    window.successes += successes;
    window.failures += failures;
    window.slow += slow;
  }
  const last = text("outcomes").slice(-windowSize);
  const leases = row.leases.filter((end) => end > now);
  return withoutExpiredOverride({
    state: row.state as CircuitState,
    epoch: text("epoch"),
    generation: n("generation"),
    reason: text("reason"),
    openedAt: at("openedAt"),
    openUntil: at("openUntil"),
    closedAt: at("closedAt"),
    reopenCount: n("reopenCount"),
    consecutiveFailures: n("consecutiveFailures"),
    consecutiveSuccesses: n("consecutiveSuccesses"),
    totals: {
      successes: n("totalSuccesses"),
      failures: n("totalFailures"),
      rejected: n("totalRejected"),
      slow: n("totalSlow"),
    },
    window,
    sinceClosed: {
      successes: n("successCount"),
      failures: n("failureCount"),
      slow: n("slowCount"),
    },
    last: { size: last.length, failures: last.split("F").length - 1 },
    halfOpen: {
      inFlight: leases.length,
      successes: n("halfOpenSuccesses"),
      failures: n("halfOpenFailures"),
      freeAt: leases.length === 0 ? null : Math.min(...leases),
    },
    lastFailureAt: at("lastFailureAt"),
    lastSuccessAt: at("lastSuccessAt"),
    override: row.override === null ? null : {
      kind: row.override as OverrideRecord["kind"],
      until: at("overrideUntil"),
      reason: row.overrideReason as string | null,
      actor: row.overrideActor as string | null,
    },
    policyHash: text("policyHash"),
    now,
  }, now);
}

/** A row as a whole record. */
export function recordOf(row: Row, shape: (key: string) => Shape): CircuitRecord {
  const key = String(row.key);
  const snapshot = snapshotOf(row, shape(key));
  // What an override that has run out had counted goes with it.
  const stands = snapshot.generation === row.generation;
  return {
    key,
    snapshot,
    segments: stands ? segmentsOf(row) : [],
    outcomes: stands ? String(row.outcomes) : "",
  };
}

/** The override that the request of this id found past its end. */
export function releasedBy(row: Row, id: string): OverrideRecord | null {
  return row.releasedBy === id ? JSON.parse(String(row.released)) as OverrideRecord : null;
}

/** What a record brings along to be restored. */
export function restoredValues({ record }: RestoreRequest): Values {
  const { snapshot: s, segments, outcomes } = record;
  const { totals, sinceClosed, override } = s;
  const all: Record<string, unknown> = {
    ...s,
    ...{ failureCount: sinceClosed.failures, successCount: sinceClosed.successes },
    ...{ slowCount: sinceClosed.slow, totalSuccesses: totals.successes },
    ...{ totalFailures: totals.failures, totalRejected: totals.rejected, totalSlow: totals.slow },
    ...{ override: override?.kind ?? null, overrideUntil: override?.until ?? null },
    ...{ overrideReason: override?.reason ?? null, overrideActor: override?.actor ?? null },
    outcomes,
  };
  const values: Record<string, string | number | null> = {
    generation: s.generation,
    because: s.reason,
    segments: JSON.stringify(
      segments.map((one) => [one.start, one.successes, one.failures, one.slow].map(Math.round)),
    ),
  };
  for (const field of [...KEPT, ...KEPT_TIMES]) {
    values[field] = all[field] as string | number | null;
  }
  return values;
}

/** Oldest first. */
function segmentsOf(row: Row): Segment[] {
  return row.segments
    .map(([start, successes, failures, slow]) => ({ start, successes, failures, slow }))
    .sort((a, b) => a.start - b.start);
}
