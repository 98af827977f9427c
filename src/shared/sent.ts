/**
 * Tallies as they are sent, and what answers say of them.
 *
 * @module
 */

import type { Snapshot, Tally } from "../contract.ts";
import type { PendingTally } from "./pending.ts";

/** Returns a pending tally as it is sent. */
export function tallyOf(pending: PendingTally, at: number): Omit<Tally, "shape" | "policyHash"> {
  const { id, epoch, generation, began, lastAt } = pending;
  const { successes, failures, rejected, slow, lease } = pending;
  const ageMs = Math.max(0, at - lastAt);
  const first = failures > 1 ? { firstFailureAgeMs: Math.max(0, at - pending.failedAt) } : null;
  const counts = { successes, failures, rejected, slow, ageMs, ...first, lease };
  const tally = { id, at, epoch, generation, began, ...counts };
  if (pending.calls === null) return tally;
  const calls = pending.calls.map(({ at: ended, ...call }) => (
    { ...call, ageMs: Math.max(0, at - ended) }
  ));
  return { ...tally, calls };
}

/** Notes that a tally is sent, as a request of this number. */
export function noteSent(tally: PendingTally, at: number, asked: number): void {
  if (tally.sentAt !== null) return;
  tally.sentAt = at;
  tally.from = asked;
}

/**
 * Notes which of the tallies that a read named the answer contains.
 *
 * @param learntAs The number of the answer; `null` if the view has a later one.
 */
export function noteHeld(
  named: readonly PendingTally[],
  holds: Snapshot["holds"],
  learntAs: number | null,
): void {
  // Not all drivers tell.
  if (holds === undefined) return;
  for (const tally of named) {
    // A later read need not ask again: all later Snapshots contain it, too.
    if (holds.includes(tally.id)) tally.from = -1;
    else if (learntAs !== null) tally.from = learntAs;
  }
}
