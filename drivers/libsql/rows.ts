/**
 * Rows of the libSQL store as the contract's data, and the other way round.
 *
 * @module
 */

import type {
  CircuitRecord,
  CircuitState,
  OverrideRecord,
  RestoreRequest,
  Segment,
  Shape,
  Snapshot,
} from "../../src/contract.ts";
import { absentSnapshot, withoutExpiredOverride } from "../../src/records.ts";
import { countOf, overrideOf, stateOf, textOf, timeOf } from "../../src/rules/stored_fields.ts";
import { spoilt } from "./client.ts";
import type { Values } from "./statements.ts";

/** A circuit as a statement answers it. */
export interface Row {
  readonly now: number;
  /** `null`: there is none. */
  readonly id: number | null;
  readonly segments: readonly (readonly [number, number, number, number])[];
  readonly leases: readonly number[];
  readonly [field: string]: unknown;
}

/**
 * The only column that answers have, with spoilt fields read as `src/rules/stored_fields.ts` has it: rows are there
 * to be edited by hand.
 *
 * @throws {Error} If that is no answer of a statement of ours.
 */
export function rowOf(result: { readonly circuit?: unknown } | undefined): Row {
  const row = parse(result?.circuit);
  const { now, id, epoch, leases, segments, edits } = row;
  const isCircuit = () =>
    Number.isSafeInteger(id) && typeof epoch === "string" && isTable(segments) &&
    Array.isArray(leases);
  const fits = Number.isFinite(now) && (id === null || isCircuit()) &&
    (edits == null || isTable(edits));
  if (!fits) throw spoilt();
  return id === null ? row : sound(row);
}

const COUNTS = [
  ...["generation", "reopen_count", "consecutive_failures", "consecutive_successes"],
  ...["failure_count", "success_count", "slow_count", "half_open_successes", "half_open_failures"],
  ...["total_successes", "total_failures", "total_rejected", "total_slow"],
];
const TIMES = ["opened_at", "open_until", "closed_at", "last_failure_at", "last_success_at"];
const TEXTS = ["reason", "policy_hash", "previous_policy_hash", "outcomes"];

function sound(row: Row): Row {
  const { kind = null, until = null, reason = null, actor = null } = overrideOf({
    ...{ kind: row.override, until: row.override_until },
    ...{ reason: row.override_reason, actor: row.override_actor },
  }) ?? {};
  const read = (fields: readonly string[], as: (value: unknown) => unknown) =>
    Object.fromEntries(fields.map((field) => [field, as(row[field])]));
  return {
    ...row,
    ...read(COUNTS, countOf),
    ...read(TIMES, timeOf),
    ...read(TEXTS, textOf),
    state: stateOf(row.state),
    ...{ override: kind, override_until: until, override_reason: reason, override_actor: actor },
    segments: row.segments.filter(([start]) => timeOf(start) !== null)
      .map(([start, ...counts]) =>
        [start, ...counts.map(countOf)] as unknown as Row["segments"][0]
      ),
    leases: row.leases.filter((until) => timeOf(until) !== null),
  };
}

function parse(text: unknown): Row {
  try {
    return Object(JSON.parse(text as string)) as Row;
  } catch {
    throw spoilt();
  }
}

function isTable(rows: unknown): boolean {
  return Array.isArray(rows) && rows.every(Array.isArray);
}

/** A row as a Snapshot, as it reads at its moment. */
export function snapshotOf(row: Row, { windowMs, windowSize }: Shape): Snapshot {
  const { now } = row;
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
  // Nobody who asks for no window is shown one, whoever else had it kept.
  const last = windowSize === 0 ? "" : text("outcomes").slice(-windowSize);
  const leases = row.leases.filter((end) => end > now);
  const stored: Snapshot = {
    state: row.state as CircuitState,
    epoch: text("epoch"),
    generation: n("generation"),
    reason: text("reason"),
    openedAt: at("opened_at"),
    openUntil: at("open_until"),
    closedAt: at("closed_at"),
    reopenCount: n("reopen_count"),
    consecutiveFailures: n("consecutive_failures"),
    consecutiveSuccesses: n("consecutive_successes"),
    totals: {
      successes: n("total_successes"),
      failures: n("total_failures"),
      rejected: n("total_rejected"),
      slow: n("total_slow"),
    },
    window,
    sinceClosed: {
      successes: n("success_count"),
      failures: n("failure_count"),
      slow: n("slow_count"),
    },
    last: { size: last.length, failures: last.split("F").length - 1 },
    halfOpen: {
      inFlight: leases.length,
      successes: n("half_open_successes"),
      failures: n("half_open_failures"),
      freeAt: leases.length === 0 ? null : Math.min(...leases),
    },
    lastFailureAt: at("last_failure_at"),
    lastSuccessAt: at("last_success_at"),
    override: row.override === null ? null : {
      kind: row.override as OverrideRecord["kind"],
      until: at("override_until"),
      reason: row.override_reason as string | null,
      actor: row.override_actor as string | null,
    },
    policyHash: text("policy_hash"),
    now,
  };
  return withoutExpiredOverride(stored, now);
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
  if (row.released_by !== id) return null;
  try {
    return overrideOf(Object(JSON.parse(row.released as string)));
  } catch {
    return null;
  }
}

/** What a record brings along to be restored. */
export function restoredValues({ record }: RestoreRequest): Values {
  const { snapshot: s, segments, outcomes } = record;
  const { totals, sinceClosed, override } = s;
  return {
    state: s.state,
    generation: s.generation,
    because: s.reason,
    opened_at: s.openedAt,
    open_until: s.openUntil,
    closed_at: s.closedAt,
    reopen_count: s.reopenCount,
    consecutive_failures: s.consecutiveFailures,
    consecutive_successes: s.consecutiveSuccesses,
    failure_count: sinceClosed.failures,
    success_count: sinceClosed.successes,
    slow_count: sinceClosed.slow,
    total_successes: totals.successes,
    total_failures: totals.failures,
    total_rejected: totals.rejected,
    total_slow: totals.slow,
    last_failure_at: s.lastFailureAt,
    last_success_at: s.lastSuccessAt,
    override: override && override.kind,
    override_until: override && override.until,
    override_reason: override && override.reason,
    override_actor: override && override.actor,
    policy_hash: s.policyHash,
    outcomes,
    segments: JSON.stringify(
      segments.map((one) => [one.start, one.successes, one.failures, one.slow].map(Math.round)),
    ),
  };
}

/** Oldest first. */
function segmentsOf(row: Row): Segment[] {
  return row.segments
    .map(([start, successes, failures, slow]) => ({ start, successes, failures, slow }))
    .sort((a, b) => a.start - b.start);
}
