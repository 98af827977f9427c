/**
 * Whether what a database answered can be a circuit: somebody may have written over it, and between
 * an isolate and its store stand proxies that answer for it.
 *
 * @module
 */

import { type OverrideRecord, type Snapshot, SNAPSHOT_COUNTS, SNAPSHOT_TIMES } from "./store.ts";

const STATES: readonly unknown[] = ["CLOSED", "OPEN", "HALF_OPEN"];
const KINDS: readonly unknown[] = ["forced_open", "forced_closed", "disabled", "metrics_only"];

/** Whether a Snapshot is one, field by field. */
export function isSound(s: Snapshot): boolean {
  const { totals, window, sinceClosed, last, override } = s;
  const { freeAt, ...trials } = s.halfOpen;
  return STATES.includes(s.state) && [s.epoch, s.reason, s.policyHash].every(isText) &&
    SNAPSHOT_COUNTS.every((field) => isCount(s[field])) &&
    SNAPSHOT_TIMES.every((field) => isTime(s[field])) &&
    [totals, window, sinceClosed, last, trials].every(areCounts) &&
    isTime(freeAt) && Number.isFinite(s.now) && (s.state !== "OPEN" || s.openUntil !== null) &&
    isSoundOverride(override);
}

/** Whether an override is one, or none. */
export function isSoundOverride(override: OverrideRecord | null): boolean {
  if (override === null) return true;
  const { kind, until, reason, actor } = Object(override) as OverrideRecord;
  return KINDS.includes(kind) && isTime(until) &&
    [reason, actor].every((words) => words === null || isText(words));
}

/** Whether all fields of an object are counts. */
export function areCounts(counts: object): boolean {
  return Object.values(counts).every(isCount);
}

function isCount(value: unknown): boolean {
  return Number.isFinite(value) && value as number >= 0;
}

function isTime(value: unknown): boolean {
  return value === null || Number.isFinite(value);
}

function isText(value: unknown): boolean {
  return typeof value === "string";
}
