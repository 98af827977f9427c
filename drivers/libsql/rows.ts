/**
 * Rows of the libSQL store as data of the contract, and the other way round.
 *
 * @module
 */

import type {
  CircuitRecord,
  CircuitState,
  OverrideRecord,
  PolicyRecord,
  RestoreRequest,
  Segment,
  Shape,
  Snapshot,
} from "../../src/contract.ts";
import {
  absentSnapshot,
  CIRCUIT_STATES,
  lastOf,
  OVERRIDES,
  requestsPerSecond,
  SECOND,
  slotsOf,
  withoutExpiredOverride,
} from "../../src/records.ts";
import {
  checkFields,
  failureNoteOf,
  fromJson,
  isCount,
  isMoment,
  isOneOf,
  isOutcomes,
  isPolicy,
  isText,
  isTime,
  isWords,
} from "../../src/rules/stored_fields.ts";
import { isUtf8, jsonOf, textOf } from "./metadata.ts";
import { unreadable } from "./client.ts";
import { DATABASE } from "./failures.ts";
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

const checked = checkFields(DATABASE);

/** The columns of a circuit that are counts. */
export const COUNTS: readonly string[] = [
  ...["generation", "revision", "evidence_since", "reopen_count"],
  ...["consecutive_failures", "consecutive_successes"],
  ...["failure_count", "success_count", "slow_count", "half_open_successes", "half_open_failures"],
  ...["total_successes", "total_failures", "total_rejected", "total_slow"],
  ...["request_second", "request_count", "requests_before"],
];

/** The columns of a circuit that are times, or none. */
export const TIMES: readonly string[] = [
  ...["began", "opened_at", "open_until", "closed_at", "last_failure_at", "last_success_at"],
  ...["cooldown_ms", "override_until"],
];

/** The columns of a circuit that are texts, and never none. */
export const TEXTS: readonly string[] = [
  ...["key", "epoch", "reason", "policy_hash", "previous_policy_hash"],
];

/** The columns that an exported record has, and a restored one takes over. */
export const KEPT: readonly string[] = [
  ...["state", "reopen_count", "consecutive_failures", "consecutive_successes", "failure_count"],
  ...["success_count", "slow_count", "total_successes", "total_failures", "total_rejected"],
  ...["cooldown_ms", "last_failure", "policy", "total_slow", "policy_hash", "outcomes"],
  ...["override", "override_reason", "override_actor"],
];

/** The times among them. A restored record has them on the caller's clock. */
export const KEPT_TIMES: readonly string[] = [
  ...["opened_at", "open_until", "closed_at", "last_failure_at", "last_success_at"],
  "override_until",
];

/** The columns of a circuit that an answer has, in this order and without their names. */
export const ANSWERED: readonly string[] = [
  ...["id", "key", "epoch", "generation", "began", "reason", "revision", "evidence_since"],
  ...["half_open_successes", "half_open_failures"],
  ...["request_second", "request_count", "requests_before"],
  ...["previous_policy_hash", "released", "released_by", ...KEPT, ...KEPT_TIMES],
];

/**
 * Returns the circuit of an answer. Users may edit rows by hand: see `src/rules/stored_fields.ts`.
 *
 * @throws {StoreAnswerError} If a field of the circuit is invalid.
 * @throws {Error} If the answer is not that of a statement of this store.
 */
export function rowOf(result: { readonly circuit?: unknown } | undefined): Row {
  return checkRow(parseRow(result));
}

/**
 * Returns the answer of a statement, whatever its fields contain.
 *
 * @throws {Error} If the answer is not that of a statement of this store.
 */
export function parseRow(result: { readonly circuit?: unknown } | undefined): Row {
  const row = parse(result?.circuit);
  const { now, id, leases, segments, edits } = row;
  const isCircuit = () => Number.isSafeInteger(id) && isTable(segments) && Array.isArray(leases);
  const fits = Number.isFinite(now) && (id === null || isCircuit()) &&
    (edits == null || isTable(edits));
  if (!fits) throw unreadable();
  return row;
}

/**
 * Returns the circuit of an answer, which may be none.
 *
 * @throws {StoreAnswerError} If a field of the circuit is invalid.
 */
export function checkRow(row: Row): Row {
  if (row.id !== null) check(row);
  return row;
}

function check(row: Row): void {
  const all = (fields: readonly string[], fits: (value: unknown) => boolean) => {
    for (const field of fields) checked(field, row[field], fits);
  };
  all(COUNTS, isCount);
  all(TIMES, isTime);
  all(["began"], isMoment);
  all(TEXTS, isText);
  all(["override_reason", "override_actor"], isWords);
  if ("head" in row) all(["head"], isWords);
  all(["state"], isOneOf(CIRCUIT_STATES));
  all(["outcomes"], isOutcomes);
  if (row.override !== null) all(["override"], isOneOf(OVERRIDES));
  policyOf(row);
  for (const [start, ...counts] of row.segments) {
    checked("start", start, isMoment);
    for (const [i, count] of counts.entries()) checked(SEGMENT[i]!, count, isCount);
  }
  for (const until of row.leases) checked("until", until, isMoment);
}

const SEGMENT = ["successes", "failures", "slow"];

function policyOf({ policy }: Row): PolicyRecord | null {
  return checked("policy", policy && fromJson(policy), isPolicy);
}

function overrideOf(row: Row): OverrideRecord | null {
  return row.override === null ? null : {
    kind: row.override as OverrideRecord["kind"],
    until: row.override_until as number | null,
    reason: row.override_reason as string | null,
    actor: row.override_actor as string | null,
  };
}

/** Reads JSON from its bytes: the local client ends the process at a text that is not UTF-8. */
function parse(bytes: unknown): Row {
  try {
    const row = assembled(JSON.parse(textOf(bytes)));
    return isUtf8(bytes) ? row : { ...row, ...undecodedOf(new Uint8Array(bytes as ArrayBuffer)) };
  } catch {
    throw unreadable();
  }
}

/** Gives the columns their names. */
function assembled({ columns = [], ...row }: Record<string, unknown>): Row {
  for (const [i, value] of (columns as unknown[][]).flat().entries()) row[ANSWERED[i]!] = value;
  return row as Row;
}

/**
 * Returns the fields whose text is not UTF-8, each with a value that fits no field. Rows of the trail may
 * have such a text, which then reads as it can.
 */
function undecodedOf(array: Uint8Array): Record<string, number> {
  // Each byte as a character of its own.
  const text = Array.from(array, (byte) => String.fromCharCode(byte)).join("");
  const fields = Object.entries(assembled(JSON.parse(text)))
    .filter(([, value]) =>
      typeof value === "string" && !isUtf8(Uint8Array.from(value, (c) => c.charCodeAt(0)))
    );
  return Object.fromEntries(fields.map(([field]) => [field, NaN]));
}

function isTable(rows: unknown): boolean {
  return Array.isArray(rows) && rows.every(Array.isArray);
}

/** Returns the Snapshot of a row at its moment: an override that has run out is gone. */
export function snapshotOf(row: Row, shape: Shape): Snapshot {
  if (row.id === null) return absentSnapshot(row.now);
  return withoutExpiredOverride(storedSnapshot(row, shape), row.now);
}

/** Returns the Snapshot of a row as it is stored: an expired override is still there. */
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
    last: lastOf(text("outcomes"), shape.windowSize),
    halfOpen: {
      ...slotsOf(row.leases.filter((end) => end > now)),
      successes: n("half_open_successes"),
      failures: n("half_open_failures"),
    },
    lastFailureAt: at("last_failure_at"),
    lastSuccessAt: at("last_success_at"),
    override: overrideOf(row),
    policy: policyOf(row),
    policyHash: text("policy_hash"),
    requestsPerSecond: requestsPerSecond(
      n("request_second") * SECOND + n("request_count"),
      n("requests_before"),
      now,
    ),
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

/** Returns the record of a row. */
export function recordOf(row: Row, shape: (key: string) => Shape): CircuitRecord {
  const key = String(row.key);
  const snapshot = snapshotOf(row, shape(key));
  // Counts made under an override end with it.
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
  const isOverride = (value: unknown) => {
    const { kind, until, reason, actor } = Object(value) as Record<string, unknown>;
    return isOneOf(OVERRIDES)(kind) && isTime(until) && isWords(reason) && isWords(actor);
  };
  return checked("released", fromJson(row.released), isOverride);
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
    policy: s.policy && jsonOf(s.policy),
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
