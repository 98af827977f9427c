/**
 * Invariants, and the errors that report a violation.
 *
 * @module
 */

/** The invariants of the simulation. */
export type Invariant =
  /** Never more running trials than permitted in a generation, and none that has ended. */
  | "trials"
  /** Transitions only along legal edges, on evidence, and at once where there is evidence. */
  | "edges"
  /** Each change is audited once: one answer claims it, and one alone. */
  | "audit"
  /** Each transition is announced at most once, and none that did not happen. */
  | "announcements"
  /** Late results change only totals, and belong to the generation that admitted their calls. */
  | "late"
  /** A repeated request counts once, and an acknowledged one counts. */
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
  /** A cold isolate asks seldom, and no caller waits longer than for one answer. */
  | "cold"
  /** A store that refuses all requests gets one at a time. */
  | "probes"
  /** Once the store is back, no isolate rejects for longer than one back-off. */
  | "recovers"
  /** An operator's action is tried, and succeeds. */
  | "operators"
  /** A failure of one circuit does not affect the store's other circuits. */
  | "scopes";

/** The first violation of an invariant. */
export interface Violation {
  readonly invariant: Invariant;
  readonly message: string;
}

/** Keeps the first violation: later ones prove nothing. */
export class Verdicts {
  first: Violation | null = null;

  /** Reports a violation unless the condition holds. */
  check(holds: boolean, invariant: Invariant, message: () => string): void {
    if (!holds) this.first ??= { invariant, message: message() };
  }
}
