/**
 * Rows of the trail for a state store without an outbox: the isolate makes them from the store's
 * answers.
 *
 * @module
 */

import type {
  Acquired,
  Answer,
  Changed,
  OverrideRecord,
  OverrideRequest,
  RemoveRequest,
  Snapshot,
  StoreRequest,
  UntoldRow,
} from "../../src/contract.ts";
import { originOf } from "../../src/records.ts";
import { countersOf } from "../libsql/metadata.ts";
import type { After } from "../libsql/seal.ts";

/**
 * Returns rows of which the newest contains the circuit after it, if a snapshot of that moment is
 * known.
 */
export function withAfter(
  rows: readonly UntoldRow[],
  snapshot: Snapshot,
): readonly UntoldRow[] {
  const { epoch, generation, began } = snapshot;
  return rows.map((row) =>
    row.epoch === epoch && row.generation === generation && row.began === began
      ? { ...row, metadata: { ...row.metadata, after: afterOf(snapshot) } }
      : row
  );
}

function afterOf({ state, openUntil, cooldownMs, reason, override }: Snapshot): After {
  return { state, openUntil, cooldownMs, reason, override };
}

/** Returns the row of a change that won. `before` is the circuit before the change. */
export function changeRow(
  before: Snapshot,
  { snapshot }: Changed,
  request: StoreRequest & Pick<OverrideRequest, "reason" | "actor">,
  event: UntoldRow["event"],
  more: Record<string, unknown>,
): UntoldRow {
  const { at, reason, actor } = request;
  const kind = event === "released" ? before.override?.kind : snapshot.override?.kind;
  const until = typeof more.until === "number" ? Math.round(more.until + snapshot.now - at) : null;
  return row(snapshot, event, before.state, snapshot.generation, {
    ...{ reason, actor, ...more, ...("until" in more ? { until, kind } : null) },
    ...{ counters: countersOf(before), after: afterOf(snapshot), ...originOf(request) },
  });
}

/** Returns the row for the end of a cooldown, which clears no counters. */
export function halfOpenRow({ snapshot }: Acquired, request: StoreRequest): UntoldRow {
  return row(snapshot, "half_opened", "OPEN", snapshot.generation, {
    ...{ reason: "cooldown_passed", actor: null },
    ...{ counters: countersOf(snapshot), after: afterOf(snapshot), ...originOf(request) },
  });
}

/** Returns the row for the end of an override that ran out, before the request's own change. */
export function releaseRow(
  { snapshot }: Answer,
  { kind, until }: OverrideRecord,
  request: StoreRequest,
  before: Pick<Snapshot, "epoch" | "generation" | "state">,
): UntoldRow {
  return {
    ...row(snapshot, "released", before.state, before.generation, {
      ...{ reason: "expired", actor: null, until: null, kind, ...originOf(request) },
    }),
    epoch: before.epoch,
    // It ran out, so it had an end.
    began: until!,
  };
}

/** Returns the row of a removal, under the generation that would have begun. */
export function removedRow(before: Snapshot, request: RemoveRequest): UntoldRow {
  const { state, generation, now } = before;
  const { reason, actor } = request;
  const said = { reason, actor, counters: countersOf(before), ...originOf(request) };
  return row({ ...before, began: now }, "removed", state, generation + 1, said);
}

function row(
  { epoch, began, now, state }: Snapshot,
  event: UntoldRow["event"],
  from: string,
  generation: number,
  rest: Record<string, unknown>,
): UntoldRow {
  const to = event === "released" ? from : state;
  return { epoch, generation, began, event, at: now, metadata: { from, to, generation, ...rest } };
}
