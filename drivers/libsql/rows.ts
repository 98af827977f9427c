/**
 * Rows of the libSQL store as data of the contract, and the other way round.
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
import {
  countOf,
  failureNoteOf,
  overrideOf,
  stateOf,
  textOf,
  timeOf,
} from "../../src/rules/stored_fields.ts";
import { jsonOf } from "./metadata.ts";
import { unreadable } from "./client.ts";
import type { Values } from "./statements/prepare.ts";

/** A circuit, as a statement answers it. */
export interface Row {
  readonly now: number;
  /** `null` if there is no such circuit. */
  readonly id: number | null;
  readonly segments: readonly (readonly [number, number, number, number])[];
  readonly leases: readonly number[];
  readonly [field: string]: unknown;
}

/**
 * Returns the circuit of an answer. Users may edit rows by hand: spoilt fields are read as
 * `src/rules/stored_fields.ts` reads them.
 *
 * @throws {Error} If the answer is not that of a statement of this store.
 */
export function rowOf(result: { readonly circuit?: unknown } | undefined): Row {
  const row = parse(result?.circuit);
  const { now, id, epoch, leases, segments, edits } = row;
  const isCircuit = () =>
    Number.isSafeInteger(id) && typeof epoch === "string" && isTable(segments) &&
    Array.isArray(leases);
  const fits = Number.isFinite(now) && (id === null || isCircuit()) &&
    (edits == null || isTable(edits));
  if (!fits) throw unreadable();
  return id === null ? row : readFields(row);
}

const COUNTS = [
  ...["generation", "reopen_count", "consecutive_failures", "consecutive_successes"],
  ...["failure_count", "success_count", "slow_count", "half_open_successes", "half_open_failures"],
  ...["total_successes", "total_failures", "total_rejected", "total_slow"],
];
const TIMES = [
  ...["began", "opened_at", "open_until", "closed_at", "last_failure_at", "last_success_at"],
  "cooldown_ms",
];
const TEXTS = ["reason", "policy_hash", "previous_policy_hash", "outcomes"];

function readFields(row: Row): Row {
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
    const { columns = [], ...row } = JSON.parse(text as string);
    return Object.assign(row, ...columns) as Row;
  } catch {
    throw unreadable();
  }
}

function isTable(rows: unknown): boolean {
  return Array.isArray(rows) && rows.every(Array.isArray);
}

/** Returns the Snapshot of a row at its moment: an override that has run out is gone. */
export function snapshotOf(row: Row, shape: Shape): Snapshot {
  if (row.id === null) return absentSnapshot(row.now);
  return withoutExpiredOverride(storedSnapshot(row, shape), row.now);
}

/** Returns the Snapshot of a row as it is stored: an override that has run out is still there. */
export function storedSnapshot(row: Row, shape: Shape): Snapshot {
  const { now } = row;
  const n = (field: string) => row[field] as number;
  const at = (field: string) => row[field] as number | null;
  const text = (field: string) => row[field] as string;
  return {
    state: row.state as CircuitState,
    epoch: text("epoch"),
    generation: n("generation"),
    began: at("began") ?? 0,
    reason: text("reason"),
    openedAt: at("opened_at"),
    openUntil: at("open_until"),
    cooldownMs: at("cooldown_ms"),
    lastFailure: failureNoteOf(row.last_failure),
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
    window: windowOf(row, shape),
    sinceClosed: {
      successes: n("success_count"),
      failures: n("failure_count"),
      slow: n("slow_count"),
    },
    last: lastOf(row, shape),
    halfOpen: halfOpenOf(row),
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
}

/** Returns the counts of the time window. A clock that goes back counts as standing still. */
function windowOf(row: Row, { windowMs }: Shape): Snapshot["window"] {
  const segments = segmentsOf(row);
  const window = { successes: 0, failures: 0, slow: 0 };
  const after = Math.max(row.now, segments.at(-1)?.start ?? 0) - windowMs;
  for (const { start, successes, failures, slow } of segments) {
    if (start <= after) continue;
    window.successes += successes;
    window.failures += failures;
    window.slow += slow;
  }
  return window;
}

/** Returns the counts of the last outcomes: none for a caller without a count window. */
function lastOf(row: Row, { windowSize }: Shape): Snapshot["last"] {
  const last = windowSize === 0 ? "" : String(row.outcomes).slice(-windowSize);
  return { size: last.length, failures: last.split("F").length - 1 };
}

function halfOpenOf(row: Row): Snapshot["halfOpen"] {
  const leases = row.leases.filter((end) => end > row.now);
  return {
    inFlight: leases.length,
    successes: row.half_open_successes as number,
    failures: row.half_open_failures as number,
    freeAt: leases.length === 0 ? null : Math.min(...leases),
  };
}

/** Returns the record of a row. */
export function recordOf(row: Row, shape: (key: string) => Shape): CircuitRecord {
  const key = String(row.key);
  const snapshot = snapshotOf(row, shape(key));
  // What was counted under an override ends with the override.
  const stands = snapshot.generation === row.generation;
  return {
    key,
    snapshot,
    segments: stands ? segmentsOf(row) : [],
    outcomes: stands ? String(row.outcomes) : "",
  };
}

/** Returns the override that the request of this id found to have run out, if any. */
export function releasedBy(row: Row, id: string): OverrideRecord | null {
  if (row.released_by !== id) return null;
  try {
    return overrideOf(Object(JSON.parse(row.released as string)));
  } catch {
    return null;
  }
}

/** Returns the values of a record to restore. */
export function restoredValues({ record }: RestoreRequest): Values {
  const { snapshot: s, segments, outcomes } = record;
  const { totals, sinceClosed, override } = s;
  return {
    state: s.state,
    generation: s.generation,
    restoredReason: s.reason,
    cooldown_ms: s.cooldownMs,
    last_failure: s.lastFailure && jsonOf(s.lastFailure),
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

/** Returns the segments of the time window, oldest first. */
function segmentsOf(row: Row): Segment[] {
  return row.segments
    .map(([start, successes, failures, slow]) => ({ start, successes, failures, slow }))
    .sort((a, b) => a.start - b.start);
}
