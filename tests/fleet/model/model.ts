/**
 * The circuit breaker as design.md defines it, in the most naive way: every ending is kept for ever
 * in one list, and every count is made anew by filtering that list. Written from the rules alone,
 * without a look at the code that it checks.
 *
 * @module
 */
import { drawAt, type Evidence, type ModelPolicy, type Share } from "./strategies.ts";

export type ModelState = "CLOSED" | "OPEN" | "HALF_OPEN";
export type ModelOverride = "forced_open" | "forced_closed" | "disabled" | "metrics_only";

/** The permission to run one call. */
export interface ModelPermit {
  /** The generation of its admission; 0 before the circuit existed. */
  readonly generation: number;
  readonly trial: boolean;
  readonly begunAt: number;
  /** The override of its admission, for the judge of its events. */
  readonly override: ModelOverride | null;
}

/** The answer to a request to run a call. */
export type Admission =
  | { readonly granted: true; readonly permit: ModelPermit }
  | {
    readonly granted: false;
    readonly state: ModelState;
    /** `null` where the design fixes no number. */
    readonly retryAfterMs: number | null;
  };

/** The ending of a call. */
export interface Ending {
  readonly outcome: "success" | "failure" | "neutral";
  /** The Retry-After of the failing `Response`; 0 if it had none. */
  readonly retryAfterMs: number;
}

/** The effect of an ending. */
export interface Settled {
  readonly outcome: Ending["outcome"];
  /** The ending came under another generation: it added to the totals and nothing else. */
  readonly late: boolean;
  /** `metricsOnly` held back a due transition. */
  readonly wouldOpen: boolean;
}

/** The circuit as readers see it. */
export interface Reading {
  readonly state: ModelState;
  /** The state that a call meets, which an override changes. */
  readonly met: ModelState;
  readonly override: ModelOverride | null;
  readonly until: number | null;
  readonly generation: number;
  readonly reopenCount: number;
  readonly openedAt: number | null;
  readonly openUntil: number | null;
  readonly consecutiveFailures: number;
  readonly consecutiveSuccesses: number;
  readonly window: { successes: number; failures: number; slow: number };
  readonly totals: { successes: number; failures: number; slow: number; rejected: number };
  readonly lastFailureAt: number | null;
  readonly lastSuccessAt: number | null;
}

interface Entry {
  readonly at: number;
  /** The beginning of the segment of the window in which it was booked. */
  readonly segment: number;
  readonly failed: boolean;
  readonly slow: boolean;
  /** The generation in which it counted; `null` if it added to the totals alone. */
  readonly countedIn: number | null;
  /**
   * It had left the window when a later ending came: a clock that is set back does not return it.
   */
  aged: boolean;
}

/** One circuit. */
export class Model {
  readonly #policy: ModelPolicy;
  readonly #entries: Entry[] = [];
  /** Entries before this index were cleared: by closing, reset, override or release. */
  #evidenceFrom = 0;
  #leases: { readonly permit: ModelPermit; readonly endsAt: number }[] = [];
  #state: ModelState = "CLOSED";
  #generation = 0;
  #reopenCount = 0;
  #openedAt: number | null = null;
  #openUntil: number | null = null;
  #closedAt: number | null = null;
  #cooldown = 0;
  #override: { kind: ModelOverride; until: number | null } | null = null;
  #rejected = 0;
  #announced: string[] = [];
  #expiries = 0;

  constructor(policy: ModelPolicy) {
    this.#policy = policy;
  }

  /** Returns transition and operator events since the last call, in order. */
  takeAnnounced(): string[] {
    return this.#announced.splice(0);
  }

  /** The number of overrides that ended by themselves so far. */
  get expiries(): number {
    return this.#expiries;
  }

  /** The number of running trials. */
  inFlight(now: number): number {
    return this.#out(now).length;
  }

  /** Rules 6, 7, 10 and 12. */
  admit(now: number): Admission {
    const override = this.#standing(now);
    const lapsed = this.#override !== null && override === null;
    // Readers ignore an override from `until` on: calls that they admit belong to the generation
    // that the next write begins.
    const generation = this.#generation + (lapsed ? 1 : 0);
    const permit = { generation, trial: false, begunAt: now, override };
    if (override === "forced_open") {
      this.#rejected++;
      const until = this.#override?.until ?? null;
      return { granted: false, state: "OPEN", retryAfterMs: until === null ? null : until - now };
    }
    if (override === null && this.#state === "CLOSED") {
      const waitMs = this.#turnsAway(now);
      if (waitMs > 0) {
        this.#rejected++;
        return { granted: false, state: "CLOSED", retryAfterMs: Math.min(1_000, waitMs) };
      }
    }
    if (override !== null || this.#state === "CLOSED") return { granted: true, permit };
    if (this.#state === "OPEN") {
      if (!this.#cooledDown(now)) {
        this.#rejected++;
        return { granted: false, state: "OPEN", retryAfterMs: (this.#openUntil ?? now) - now };
      }
      this.#lapse(now);
      this.#enter("HALF_OPEN", "half_opened");
    } else {
      const out = lapsed ? [] : this.#out(now);
      if (out.length >= this.#policy.halfOpenMaxConcurrent) {
        this.#rejected++;
        const freeAt = Math.min(...out.map((lease) => lease.endsAt));
        // Rule 7: after revalidateMs at the latest.
        const retryAfterMs = Math.min(1_000, Math.max(1, freeAt - now));
        return { granted: false, state: "HALF_OPEN", retryAfterMs };
      }
      this.#lapse(now);
    }
    this.#leases = this.#out(now);
    const trial = { generation: this.#generation, trial: true, begunAt: now, override: null };
    this.#leases.push({ permit: trial, endsAt: now + this.#policy.halfOpenLeaseMs });
    return { granted: true, permit: trial };
  }

  /** Rules 3, 5, 7, 9 and 12. */
  end(permit: ModelPermit, ending: Ending, now: number): Settled {
    this.#leases = this.#leases.filter((lease) => lease.permit !== permit);
    if (ending.outcome === "neutral") {
      // Without a slot to return, there is nothing to write.
      if (permit.trial) this.#lapse(now);
      return { outcome: "neutral", late: false, wouldOpen: false };
    }
    // Adds to the totals alone, which may wait for the next flush: nothing is written now.
    const silent = permit.override === "disabled";
    if (!silent) this.#lapse(now);
    if (this.#generation === 0) this.#generation = 1;
    const current = permit.generation === this.#generation ||
      (permit.generation === 0 && this.#generation === 1);
    const slow = Math.max(0, now - permit.begunAt) >= this.#policy.slowCallMs;
    const failed = ending.outcome === "failure" ||
      (slow && permit.trial && this.#policy.slowTrialsFail);
    const counts = current && !silent;
    if (counts) {
      for (const entry of this.#outside(now)) entry.aged = true;
    }
    const segmentMs = Math.ceil(this.#policy.windowMs / 10);
    this.#entries.push({
      at: now,
      segment: Math.max(Math.floor(now / segmentMs) * segmentMs, this.#newestSegment()),
      failed,
      slow,
      countedIn: counts ? this.#generation : null,
      aged: false,
    });
    const wouldOpen = counts && this.#verdict(ending.retryAfterMs, now);
    return { outcome: failed ? "failure" : "success", late: !current, wouldOpen };
  }

  /** Rule 12. */
  override(kind: ModelOverride, until: number | null, now: number): void {
    this.#lapse(now);
    this.#begin();
    this.#clear();
    this.#override = { kind, until };
    this.#announced.push(kind === "forced_closed" ? "forced_closed" : kind);
  }

  /** Rule 12. */
  release(now: number): void {
    this.#lapse(now);
    if (this.#override === null) return;
    this.#override = null;
    this.#begin();
    this.#clear();
    this.#announced.push("released");
  }

  /** Rule 12. */
  reset(now: number): void {
    this.#lapse(now);
    this.#begin();
    this.#clear();
    if (this.#state !== "CLOSED") this.#closedAt = now;
    this.#state = "CLOSED";
    this.#reopenCount = 0;
    this.#announced.push("reset");
  }

  /** Rule 13. */
  read(now: number): Reading {
    const override = this.#standing(now);
    const lapsed = this.#override !== null && override === null;
    const seen = lapsed ? [] : this.#counted();
    const window = seen.filter((entry) => this.#inWindow(entry, now));
    const state = this.#state === "OPEN" && this.#cooledDown(now) ? "HALF_OPEN" : this.#state;
    const all = this.#entries.filter((entry) => entry.countedIn !== null);
    return {
      state,
      met: override === null ? state : override === "forced_open" ? "OPEN" : "CLOSED",
      override,
      until: override === null ? null : this.#override?.until ?? null,
      generation: this.#generation + (lapsed ? 1 : 0),
      reopenCount: this.#reopenCount,
      openedAt: this.#openedAt,
      openUntil: this.#openUntil,
      consecutiveFailures: trailing(seen, true),
      consecutiveSuccesses: trailing(seen, false),
      window: {
        successes: window.filter((entry) => !entry.failed).length,
        failures: window.filter((entry) => entry.failed).length,
        slow: window.filter((entry) => entry.slow).length,
      },
      totals: {
        successes: this.#entries.filter((entry) => !entry.failed).length,
        failures: this.#entries.filter((entry) => entry.failed).length,
        slow: this.#entries.filter((entry) => entry.slow).length,
        rejected: this.#rejected,
      },
      lastFailureAt: all.findLast((entry) => entry.failed)?.at ?? null,
      lastSuccessAt: all.findLast((entry) => !entry.failed)?.at ?? null,
    };
  }

  /**
   * Returns whether the rules define the state after the clock was set back. They do not if an
   * override, a lease or a part of the window would return, and nothing was written in between.
   */
  mayGoBack(from: number, to: number): boolean {
    const until = this.#override?.until ?? null;
    const revives = until !== null && until <= from && until > to;
    return !revives && this.#outside(from).length === 0 &&
      this.#leases.every((lease) => lease.endsAt > from);
  }

  /** Returns whether it would have opened under `metricsOnly`. */
  #verdict(retryAfterMs: number, now: number): boolean {
    const override = this.#override?.kind ?? null;
    if (this.#state === "CLOSED") {
      const evidence = this.#evidence(now);
      const due = this.#policy.strategies.some((opens) => opens(evidence, this.#policy));
      if (due && override === null) this.#open(retryAfterMs, now);
      return due && override === "metrics_only";
    }
    if (this.#state === "OPEN" || override !== null) return false;
    const trials = this.#entries.filter((entry) => entry.countedIn === this.#generation);
    const failed = trials.filter((entry) => entry.failed).length;
    if (failed >= this.#policy.halfOpenFailureThreshold) {
      this.#reopenCount++;
      this.#open(retryAfterMs, now);
    } else if (trials.length - failed >= this.#policy.successThreshold) {
      this.#enter("CLOSED", "closed");
      this.#closedAt = now;
      this.#clear();
      this.#reopenCount = 0;
    }
    return false;
  }

  #open(retryAfterMs: number, now: number): void {
    const asked = this.#policy.cooldownMs(this.#reopenCount);
    const cooldown = Number.isFinite(asked) && asked >= 0 ? asked : 60_000;
    this.#openedAt = now;
    this.#cooldown = Math.min(Math.max(cooldown, retryAfterMs), this.#policy.maxCooldownMs);
    this.#openUntil = now + this.#cooldown;
    this.#enter("OPEN", "opened");
  }

  #enter(state: ModelState, event: string): void {
    const from = this.#state;
    this.#state = state;
    this.#begin();
    this.#announced.push(`${event} ${from}>${state} #${this.#generation}`);
  }

  /** A generation owns its leases: a new one starts with none. */
  #begin(): void {
    this.#generation = Math.max(1, this.#generation) + 1;
    this.#leases = [];
  }

  #clear(): void {
    this.#evidenceFrom = this.#entries.length;
  }

  /** The effect of the first write past an override's `until`. */
  #lapse(now: number): void {
    if (this.#override === null || this.#standing(now) !== null) return;
    this.#override = null;
    this.#expiries++;
    this.#begin();
    this.#clear();
  }

  /** Rule 21: returns the rest of the ramp in ms if it rejects a call at this moment, else 0. */
  #turnsAway(now: number): number {
    const { rampMs, rampFromPercentage } = this.#policy;
    const leftMs = this.#closedAt === null ? 0 : this.#closedAt + rampMs - now;
    if (leftMs <= 0 || leftMs > rampMs) return 0;
    const admitted = rampFromPercentage + (100 - rampFromPercentage) * (1 - leftMs / rampMs);
    return drawAt(now) * 100 < admitted ? 0 : leftMs;
  }

  #standing(now: number): ModelOverride | null {
    if (this.#override === null) return null;
    const { kind, until } = this.#override;
    return until !== null && now >= until ? null : kind;
  }

  #cooledDown(now: number): boolean {
    const left = (this.#openUntil ?? now) - now;
    // Further ahead than the cooldown can set it: the clock was set back since it was written.
    return left <= 0 || left > this.#cooldown + Math.max(this.#cooldown, 60_000);
  }

  #out(now: number): { readonly permit: ModelPermit; readonly endsAt: number }[] {
    // A lease that ends later than any lease lasts was granted before the clock was set back. The
    // stores choose to allow for a clock that lags by one more lease; the design does not say.
    const furthest = now + 2 * this.#policy.halfOpenLeaseMs;
    return this.#leases.filter(({ endsAt }) => endsAt > now && endsAt <= furthest);
  }

  #counted(): Entry[] {
    return this.#entries.slice(this.#evidenceFrom).filter((entry) => entry.countedIn !== null);
  }

  /** A clock that was set back counts as standing still: the window never moves back. */
  #inWindow(entry: Entry, now: number): boolean {
    const windowNow = Math.max(now, this.#newestSegment());
    return !entry.aged && entry.segment > windowNow - this.#policy.windowMs;
  }

  #newestSegment(): number {
    return Math.max(
      ...this.#counted().filter((entry) => !entry.aged).map((entry) => entry.segment),
      -Infinity,
    );
  }

  /** Outcomes that have left the window, and that no later outcome has removed yet. */
  #outside(now: number): Entry[] {
    return this.#counted().filter((entry) => !entry.aged && !this.#inWindow(entry, now));
  }

  #evidence(now: number): Evidence {
    const seen = this.#counted();
    const window = seen.filter((entry) => this.#inWindow(entry, now));
    return {
      run: trailing(seen, true),
      sinceClosed: share(seen),
      window: { ...share(window), slow: window.filter((entry) => entry.slow).length },
      last: share(seen.slice(-this.#policy.windowSize)),
    };
  }
}

function share(entries: readonly Entry[]): Share {
  return { calls: entries.length, failures: entries.filter((entry) => entry.failed).length };
}

function trailing(entries: readonly Entry[], failed: boolean): number {
  let count = 0;
  for (const entry of entries.toReversed()) {
    if (entry.failed !== failed) break;
    count++;
  }
  return count;
}
