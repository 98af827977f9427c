/**
 * The circuit breaker as design.md tells it, in the most naive way: every ending is kept for ever
 * in one list, and whatever is asked is counted anew by filtering that list. Written from the
 * rules alone, without a look at the code it checks.
 *
 * @module
 */
import type { Evidence, ModelPolicy, Share } from "./strategies.ts";

export type ModelState = "CLOSED" | "OPEN" | "HALF_OPEN";
export type ModelOverride = "forced_open" | "forced_closed" | "disabled" | "metrics_only";

/** The right to run one call. */
export interface ModelPermit {
  /** Under which generation it was admitted; 0: before the circuit existed. */
  readonly generation: number;
  readonly trial: boolean;
  readonly begunAt: number;
  /** Under which override, for who judges its events. */
  readonly override: ModelOverride | null;
}

/** What became of a request to run a call. */
export type Admission =
  | { readonly granted: true; readonly permit: ModelPermit }
  | {
    readonly granted: false;
    readonly state: ModelState;
    /** `null`: the design fixes no number here. */
    readonly retryAfterMs: number | null;
  };

/** How a call ended. */
export interface Ending {
  readonly outcome: "success" | "failure" | "neutral";
  /** What the failing `Response` asked for; 0: nothing. */
  readonly retryAfterMs: number;
}

/** What became of an ending. */
export interface Settled {
  readonly outcome: Ending["outcome"];
  /** It came under another generation: it fed the totals and nothing else. */
  readonly late: boolean;
  /** A verdict was due that `metricsOnly` held back. */
  readonly wouldOpen: boolean;
}

/** What readers see. */
export interface Reading {
  readonly state: ModelState;
  /** What a call meets: an override makes it differ. */
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
  /** When the segment of the window began that it was booked in. */
  readonly segment: number;
  readonly failed: boolean;
  readonly slow: boolean;
  /** Under which generation it counted; `null`: towards the totals alone. */
  readonly countedIn: number | null;
  /** It was out of the window when a later one came: a clock that goes back does not revive it. */
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
  #cooldown = 0;
  #override: { kind: ModelOverride; until: number | null } | null = null;
  #rejected = 0;
  #announced: string[] = [];
  #expiries = 0;

  constructor(policy: ModelPolicy) {
    this.#policy = policy;
  }

  /** Transition and operator events since the last look, in order. */
  takeAnnounced(): string[] {
    return this.#announced.splice(0);
  }

  /** How many overrides ended by themselves so far. */
  get expiries(): number {
    return this.#expiries;
  }

  /** How many trials are out. */
  inFlight(now: number): number {
    return this.#out(now).length;
  }

  /** Rules 6, 7, 10 and 12. */
  admit(now: number): Admission {
    const override = this.#standing(now);
    const lapsed = this.#override !== null && override === null;
    // Readers ignore an override from `until` on: what they admit belongs to the generation that
    // the next write begins.
    const generation = this.#generation + (lapsed ? 1 : 0);
    const permit = { generation, trial: false, begunAt: now, override };
    if (override === "forced_open") {
      this.#rejected++;
      const until = this.#override?.until ?? null;
      return { granted: false, state: "OPEN", retryAfterMs: until === null ? null : until - now };
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
      // Without a slot to give back there is nothing to write.
      if (permit.trial) this.#lapse(now);
      return { outcome: "neutral", late: false, wouldOpen: false };
    }
    // Feeds totals alone, which may wait for the next flush: nothing is written now.
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
   * Whether the rules say what stands once the clock goes back: not so if it would revive an
   * override, a lease or what has left the window, and nothing was written in between.
   */
  mayGoBack(from: number, to: number): boolean {
    const until = this.#override?.until ?? null;
    const revives = until !== null && until <= from && until > to;
    return !revives && this.#outside(from).length === 0 &&
      this.#leases.every((lease) => lease.endsAt > from);
  }

  /** Answers whether it would have opened under `metricsOnly`. */
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
    if (trials.some((entry) => entry.failed)) {
      this.#reopenCount++;
      this.#open(retryAfterMs, now);
    } else if (trials.length >= this.#policy.successThreshold) {
      this.#enter("CLOSED", "closed");
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

  /** What the first write past an override's `until` does. */
  #lapse(now: number): void {
    if (this.#override === null || this.#standing(now) !== null) return;
    this.#override = null;
    this.#expiries++;
    this.#begin();
    this.#clear();
  }

  #standing(now: number): ModelOverride | null {
    if (this.#override === null) return null;
    const { kind, until } = this.#override;
    return until !== null && now >= until ? null : kind;
  }

  #cooledDown(now: number): boolean {
    const left = (this.#openUntil ?? now) - now;
    // Further off than the cooldown could set it: written by a clock that has gone back since.
    return left <= 0 || left > this.#cooldown + Math.max(this.#cooldown, 60_000);
  }

  #out(now: number): { readonly permit: ModelPermit; readonly endsAt: number }[] {
    // One further off than any lease lasts was granted by a clock that has gone back since. That
    // a clock may lag by one lease more is the stores' choice, on which the design is silent.
    const furthest = now + 2 * this.#policy.halfOpenLeaseMs;
    return this.#leases.filter(({ endsAt }) => endsAt > now && endsAt <= furthest);
  }

  #counted(): Entry[] {
    return this.#entries.slice(this.#evidenceFrom).filter((entry) => entry.countedIn !== null);
  }

  /** Time that went back counts as standing still: the window never moves back. */
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

  /** What has left the window, and not been seen to by a later outcome yet. */
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
