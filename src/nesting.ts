/**
 * Circuits that are called within themselves (rule 19): for example a route guarded by a circuit
 * whose handler calls the same circuit. The outer call would hold the only trial slot, and the
 * inner one would be rejected for ever. So a trial passes its slot on to the call within it.
 *
 * Nothing here is a promise, or outlives its call.
 *
 * @module
 */

import type { Grant, Refusal } from "./admission.ts";
import { quote } from "./checks.ts";
import type { Circuit } from "./circuit.ts";
import { rejectedBy } from "./errors.ts";
import { TRIALS_IN_FLIGHT } from "./rules/machine.ts";

/** A trial of this isolate that still has its slot. */
interface Trial {
  readonly grant: Grant;
  /** When its lease ends, on the Fuse's clock, in ms. */
  readonly until: number;
  /** `true` if the slot was passed on to it. */
  readonly borrowed: boolean;
}

/** The circuits whose functions are being called in this turn, the innermost last. */
const running: Circuit[] = [];

/** The last trial of each circuit. */
const trials = new WeakMap<Circuit, Trial>();

/** The grants of trials that passed their slot on. */
const lent = new WeakSet<Grant>();

/** The circuits that were detected to be called within themselves. */
const nested = new WeakSet<Circuit>();

/** Notes that a call of a circuit begins. Must be followed by `leave()` in the same turn. */
export function enter(circuit: Circuit, grant: Grant, borrowed: boolean): void {
  running.push(circuit);
  if (grant.lease !== null || grant.alone !== null) keepTrial(circuit, grant, borrowed);
}

/** Notes that the function of the call has returned, perhaps a promise. */
export function leave(): void {
  running.pop();
}

/** Notes the trial of a permit, which calls no function. */
export function keepTrial(circuit: Circuit, grant: Grant, borrowed: boolean): void {
  if (!isTrial(grant)) return;
  const until = circuit.store.clock() + circuit.policy.halfOpenLeaseMs;
  trials.set(circuit, { grant, until, borrowed });
}

/** Returns `true`, and reports it, if the circuit is being called within itself in this turn. */
export function isWithin(circuit: Circuit): boolean {
  if (running.length === 0 || !running.includes(circuit)) return false;
  report(circuit);
  return true;
}

/**
 * Returns the grant of the trial around a call that was refused because of that trial, or `null`.
 *
 * @param within Whether the call was made in the turn of the trial. Otherwise only a circuit that
 * was detected to be called within itself passes its slot on, and only once, because the call may
 * be unrelated.
 */
export function borrow(
  circuit: Circuit,
  { refused }: Refusal,
  within: boolean,
): Grant | null {
  // The cheapest check comes first: an open circuit rejects many calls.
  if (!("reason" in refused) || refused.reason !== TRIALS_IN_FLIGHT) return null;
  const trial = trials.get(circuit);
  if (trial === undefined) return null;
  if (!within && (trial.borrowed || !nested.has(circuit))) return null;
  if (circuit.store.clock() >= trial.until) return null;
  trials.delete(circuit);
  lent.add(trial.grant);
  return { ...trial.grant };
}

/**
 * Notes that a call has ended. Returns `true` if it was a trial that passed its slot on: the call
 * within it counts, and this one does not.
 */
export function hasLent(circuit: Circuit, grant: Grant): boolean {
  if (!isTrial(grant)) return false;
  if (trials.get(circuit)?.grant === grant) trials.delete(circuit);
  return lent.has(grant);
}

/**
 * Reports a circuit whose own rejection has ended a call of it: the call was made within another
 * one.
 */
export function noteRejection(circuit: Circuit, cause: unknown): void {
  if (rejectedBy(cause) === circuit.identity) report(circuit);
}

function report(circuit: Circuit): void {
  if (nested.has(circuit)) return;
  nested.add(circuit);
  const { identity, store } = circuit;
  store.events.alarm(
    "nested",
    { ...identity },
    () => `circuit ${quote(identity.name)} is called within itself, so its calls count twice`,
  );
}

/** Returns `true` for the grant of a trial, including one of this isolate's stand-in. */
export function isTrial({ lease, alone }: Grant): boolean {
  return lease !== null || (alone !== null && alone.lease !== null);
}
