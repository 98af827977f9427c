/**
 * Copies answers of a store to plain data, as a network would deliver them: a store in this process
 * answers with live records, which continue to change and may have more fields than the contract.
 */

import type { Answer, CircuitRecord, OverrideRecord, Snapshot } from "../contract.ts";
import { copySnapshot } from "../records.ts";

/** Copies exactly the fields of the contract, and no others. */
export function plainSnapshot(s: Snapshot): Snapshot {
  const { override, holds } = s;
  return {
    ...copySnapshot(s),
    override: plainOverride(override),
    ...holds && { holds: [...holds] },
  };
}

/** Copies an answer. The fields beside the Snapshot and the override are values already. */
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
