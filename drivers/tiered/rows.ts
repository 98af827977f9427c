/**
 * Rows of the trail for a state store without an outbox: made of its answers, by the isolate that
 * heard them.
 *
 * @module
 */

import type {
  Acquired,
  Answer,
  Changed,
  OverrideRecord,
  OverrideRequest,
  Snapshot,
  StoreRequest,
  UntoldRow,
} from "../../src/contract.ts";
import { countersOf, isolateOf } from "../libsql/metadata.ts";

/** A change that was asked for and won; `before` is what stood then. */
export function changeRow(
  before: Snapshot,
  { snapshot }: Changed,
  { id, at, reason, actor }: StoreRequest & Pick<OverrideRequest, "reason" | "actor">,
  event: UntoldRow["event"],
  more: Record<string, unknown>,
): UntoldRow {
  const kind = event === "released" ? before.override?.kind : snapshot.override?.kind;
  const until = typeof more.until === "number" ? Math.round(more.until + snapshot.now - at) : null;
  return row(snapshot, event, before.state, snapshot.generation, {
    ...{ reason, actor, ...more, ...("until" in more ? { until, kind } : null) },
    ...{ counters: countersOf(before), isolate: isolateOf(id) },
  });
}

/** The end of a cooldown, which takes no evidence away. */
export function halfOpenRow({ snapshot }: Acquired, id: string): UntoldRow {
  return row(snapshot, "half_opened", "OPEN", snapshot.generation, {
    ...{ reason: "cooldown_passed", actor: null },
    ...{ counters: countersOf(snapshot), isolate: isolateOf(id) },
  });
}

/** The end of an override that ran out, before what else the request changed. */
export function releaseRow(
  { snapshot }: Answer,
  { kind }: OverrideRecord,
  id: string,
  before: Pick<Snapshot, "epoch" | "generation" | "state">,
): UntoldRow {
  return {
    ...row(snapshot, "released", before.state, before.generation, {
      ...{ reason: "expired", actor: null, until: null, kind, isolate: isolateOf(id) },
    }),
    epoch: before.epoch,
  };
}

function row(
  { epoch, now, state }: Snapshot,
  event: UntoldRow["event"],
  from: string,
  generation: number,
  rest: Record<string, unknown>,
): UntoldRow {
  const to = event === "released" ? from : state;
  return { epoch, generation, event, at: now, metadata: { from, to, generation, ...rest } };
}
