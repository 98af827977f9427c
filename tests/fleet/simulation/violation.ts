/**
 * What must be true, and what is said when it is not.
 *
 * @module
 */

/** Everything that the simulation holds the breaker to. */
export type Invariant =
  /** Never more trials out than permitted in a generation, and none that has ended. */
  | "trials"
  /** Transitions only along legal edges, on evidence, and at once where there is evidence. */
  | "edges"
  /** Each change is audited once: one answer claims it, and one alone. */
  | "audit"
  /** Each transition is announced at most once, and none that was not made. */
  | "announcements"
  /** Late results change nothing but totals, and go under the generation that admitted their calls. */
  | "late"
  /** What is sent again counts once, and what is acknowledged counts. */
  | "tallies"
  /** The caller always gets its own result or error. */
  | "callers"
  /** Every isolate stops sending to a dead upstream. */
  | "stops"
  /** Traffic returns after recovery. */
  | "returns"
  /** A forced opening is obeyed by all. */
  | "forced"
  /** A healthy upstream does not trip more than ten times as often as exact order would. */
  | "healthy"
  /** A dead upstream gets few calls in its first cooldown, whatever the store does. */
  | "protects"
  /** A herd costs few requests, and no trial that the store did not grant. */
  | "herd"
  /** A cold isolate asks seldom, and nobody waits longer than for one answer. */
  | "cold"
  /** A store that refuses all is asked by one at a time. */
  | "probes"
  /** Once the store is back, nobody rejects for longer than one back-off. */
  | "recovers"
  /** An operator's action is tried, and arrives. */
  | "operators"
  /** What concerns one circuit takes the store from no other. */
  | "scopes";

/** The first thing that was not as it must be. */
export interface Violation {
  readonly invariant: Invariant;
  readonly message: string;
}

/** Keeps the first violation: what follows it proves nothing. */
export class Verdicts {
  first: Violation | null = null;

  /** Tells of a violation unless this holds. */
  check(holds: boolean, invariant: Invariant, message: () => string): void {
    if (!holds) this.first ??= { invariant, message: message() };
  }
}
