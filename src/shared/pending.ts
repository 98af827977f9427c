/**
 * Outcomes on their way to a shared store: gathered, sealed into parcels, kept until an answer
 * confirms them. Data only; `view.ts` sends them.
 *
 * @module
 */

import { type Grant, newId } from "../circuit.ts";
import { overlay } from "../rules/snapshot.ts";
import type { Snapshot, Tally } from "../contract.ts";
import { TOTALS_ONLY } from "../records.ts";

/** The admission that an outcome is recorded under. */
export type Under = Pick<Grant, "epoch" | "generation">;

/** What one or more calls came to. */
export interface Outcomes {
  readonly successes: number;
  readonly failures: number;
  readonly slow: number;
  /** Where calls are audited: what may be told of the failure's error. Left out elsewhere. */
  readonly text?: string | null;
}

/** What is told of single calls, where they are audited: their places, and words on errors. */
interface Details {
  readonly slowSuccesses: number[];
  readonly slowFailures: number[];
  readonly errors: (string | null)[];
}

/** A tally that is being gathered, waits, or is under way. */
export interface Parcel extends Outcomes {
  readonly id: string;
  epoch: string;
  generation: number;
  successes: number;
  failures: number;
  rejected: number;
  slow: number;
  readonly lease: string | null;
  details: Details | null;
  /** What the upstream of its failure asked for. */
  retryAfterMs: number;
  /** When the first and the last of its outcomes ended. */
  firstAt: number;
  lastAt: number;
  /** When it was first sent; `null`: not yet; `-Infinity`: nobody knows any more. */
  sentAt: number | null;
  /** An answer may come until then. */
  busyUntil: number;
  /** This isolate's own breaker has counted it. */
  fed: boolean;
}

const NONE: readonly Parcel[] = [];

/**
 * Moments of one turn may come in the wrong order, by as long as a listener takes. No harm is in that:
 * stores remember ids for twice as long as tallies wait.
 */
const UNORDERED_MS = 1_000;

/** What one view has to send. Every step costs the same however much there is. */
export class Outbox {
  #pending: Parcel | null = null;
  /** Sealed and not under way. Nearly all views have none, and those share one. */
  #waiting: readonly Parcel[] = NONE;
  /** Under way; there while there are any. */
  #busy: Set<Parcel> | null = null;
  #successesBusy = 0;
  /** Nothing under way lapses before. `null`: nothing is; an idle view keeps no number. */
  #lapseAt: number | null = null;
  /** The clock when it was last looked at; `null`: nothing that was sent is left. */
  #seenAt: number | null = null;

  /** Whether nothing is left to send. */
  get empty(): boolean {
    return this.#pending === null && this.#waiting.length === 0 && this.#busy === null;
  }

  /** What is gathered and not sealed yet. */
  get pending(): Parcel | null {
    return this.#pending;
  }

  /** Counts a rejected call. It goes along with the next tally. */
  reject(now: number): void {
    this.#see(now);
    this.#pending ??= this.#parcel({ epoch: "", generation: TOTALS_ONLY }, null, now);
    this.#pending.rejected++;
  }

  /** Gathers outcomes with those before them, as long as they belong together. */
  gather(
    under: Under,
    outcomes: Outcomes,
    retryAfterMs: number,
    now: number,
    segmentMs: number,
  ): void {
    this.#see(now);
    let parcel = this.#pending;
    if (parcel !== null && parcel.successes + parcel.failures === 0) {
      // Rejections alone belong to any tally.
      parcel.epoch = under.epoch;
      parcel.generation = under.generation;
      parcel.firstAt = now;
    } else if (parcel !== null && !belongs(parcel, under, now, segmentMs)) {
      this.#seal();
      parcel = null;
    }
    this.#pending = parcel ??= this.#parcel(under, null, now);
    add(parcel, outcomes, retryAfterMs, now);
    // A failure ends its tally, so that the order inside is known.
    if (outcomes.failures > 0 && under.generation !== TOTALS_ONLY) this.#seal();
  }

  /** A parcel of its own, for an outcome that is sent by itself; the rejections go along. */
  alone(
    under: Under & { readonly lease: string | null },
    outcomes: Outcomes,
    retryAfterMs: number,
    now: number,
  ): Parcel {
    this.#see(now);
    const parcel = this.#parcel(under, under.lease, now);
    add(parcel, outcomes, retryAfterMs, now);
    const pending = this.#pending;
    if (pending !== null) {
      parcel.rejected = pending.rejected;
      pending.rejected = 0;
      if (pending.successes + pending.failures === 0) this.#pending = null;
    }
    return parcel;
  }

  /**
   * Whether something waits that could be sent, and whether successes are under way. Nothing is for
   * longer than `timeoutMs`.
   */
  look(now: number, timeoutMs = Infinity): { waiting: boolean; successesUnderWay: boolean } {
    this.#see(now);
    this.#lapse(now, timeoutMs);
    return { waiting: this.#waiting.length > 0, successesUnderWay: this.#successesBusy > 0 };
  }

  /** Seals what is gathered, and hands over all that is not under way: send it, or put it back. */
  take(now: number, timeoutMs = Infinity): readonly Parcel[] {
    this.#see(now);
    this.#seal();
    this.#lapse(now, timeoutMs);
    const parcels = this.#waiting;
    this.#waiting = NONE;
    return parcels;
  }

  /** A parcel is under way. Who sends it may die: it lapses. */
  sending(parcel: Parcel, now: number, timeoutMs: number): void {
    parcel.busyUntil = now + timeoutMs;
    this.#busy ??= new Set();
    if (!this.#busy.has(parcel) && parcel.successes > 0) this.#successesBusy++;
    this.#busy.add(parcel);
    this.#lapseAt = Math.min(this.#lapseAt ?? Infinity, parcel.busyUntil);
    this.#see(now);
    this.#seenAt = now;
  }

  /** It was not confirmed: it waits. */
  putBack(parcel: Parcel): void {
    if (this.#land(parcel)) this.#wait(parcel);
  }

  /** It was confirmed, or given up. */
  remove(parcel: Parcel): void {
    // Sent again meanwhile, or waiting to be.
    if (!this.#land(parcel) && this.#waiting.includes(parcel)) {
      this.#waiting = this.#waiting.filter((held) => held !== parcel);
    }
    if (this.#busy === null && this.#waiting.length === 0) this.#seenAt = null;
  }

  /** A Snapshot with everything in here laid over. */
  lay(snapshot: Snapshot): Snapshot {
    for (const parcel of [...this.#waiting, ...this.#busy ?? [], this.#pending]) {
      if (parcel === null) continue;
      snapshot = overlay(snapshot, { ...parcel, current: !isLate(parcel, snapshot) });
    }
    return snapshot;
  }

  /**
   * A clock that went back does not tell for how long a tally has waited for its answer. The store may
   * have forgotten its id: it counts as having waited too long.
   */
  #see(now: number): void {
    if (this.#seenAt === null) return;
    if (now < this.#seenAt - UNORDERED_MS) {
      for (const parcel of [...this.#waiting, ...this.#busy ?? []]) {
        if (parcel.sentAt !== null) parcel.sentAt = -Infinity;
      }
    }
    this.#seenAt = now;
  }

  #seal(): void {
    if (this.#pending !== null) this.#wait(this.#pending);
    this.#pending = null;
  }

  #wait(parcel: Parcel): void {
    if (this.#waiting === NONE) this.#waiting = [parcel];
    else (this.#waiting as Parcel[]).push(parcel);
  }

  #land(parcel: Parcel): boolean {
    if (!this.#busy?.delete(parcel)) return false;
    if (parcel.successes > 0) this.#successesBusy--;
    if (this.#busy.size === 0) this.#busy = this.#lapseAt = null;
    return true;
  }

  /** What is under way for too long waits again. A clock that went back ends all waiting too. */
  #lapse(now: number, timeoutMs: number): void {
    if (this.#lapseAt === null || isUnderWay(this.#lapseAt, now, timeoutMs)) return;
    let next = Infinity;
    for (const parcel of this.#busy ?? []) {
      if (isUnderWay(parcel.busyUntil, now, timeoutMs)) next = Math.min(next, parcel.busyUntil);
      else this.putBack(parcel);
    }
    this.#lapseAt = this.#busy === null ? null : next;
  }

  #parcel({ epoch, generation }: Under, lease: string | null, now: number): Parcel {
    return {
      // The same however often it is sent, so that it counts once.
      id: newId(),
      epoch,
      generation,
      successes: 0,
      failures: 0,
      rejected: 0,
      slow: 0,
      lease,
      details: null,
      retryAfterMs: 0,
      firstAt: now,
      lastAt: now,
      sentAt: null,
      busyUntil: 0,
      fed: false,
    };
  }
}

/** Whether an outcome may join a parcel: the same generation and the same segment of the window. */
function belongs(parcel: Parcel, under: Under, now: number, segmentMs: number): boolean {
  if (parcel.epoch !== under.epoch || parcel.generation !== under.generation) return false;
  const span = now - parcel.firstAt;
  return under.generation === TOTALS_ONLY || (span >= 0 && span < segmentMs);
}

/** An outage gathers calls without end; details of so many are kept. */
const MAX_DETAILS = 1_000;

function add(parcel: Parcel, outcomes: Outcomes, retryAfterMs: number, now: number): void {
  if (outcomes.text !== undefined) detail(parcel, outcomes);
  parcel.successes += outcomes.successes;
  parcel.failures += outcomes.failures;
  parcel.slow += outcomes.slow;
  parcel.retryAfterMs = Math.max(parcel.retryAfterMs, retryAfterMs);
  parcel.lastAt = now;
}

/** One call each, as they end. */
function detail(parcel: Parcel, { failures, slow, text = null }: Outcomes): void {
  const { slowSuccesses, slowFailures, errors } = parcel.details ??= {
    slowSuccesses: [],
    slowFailures: [],
    errors: [],
  };
  const places = failures > 0 ? slowFailures : slowSuccesses;
  const place = failures > 0 ? parcel.failures : parcel.successes;
  if (slow > 0 && places.length < MAX_DETAILS) places.push(place);
  if (failures > 0 && place === errors.length && place < MAX_DETAILS) errors.push(text);
}

/** What a parcel says to the store. */
export function tallyOf(parcel: Parcel, at: number): Omit<Tally, "shape" | "policyHash"> {
  const { id, epoch, generation, successes, failures, rejected, slow, lease, lastAt } = parcel;
  const ageMs = Math.max(0, at - lastAt);
  const tally = { id, at, epoch, generation, successes, failures, rejected, slow, ageMs, lease };
  if (parcel.details === null) return tally;
  const { slowSuccesses, slowFailures, errors } = parcel.details;
  const slowCalls = [...slowSuccesses, ...slowFailures.map((place) => successes + place)];
  return { ...tally, slowCalls, errors };
}

/** Whether outcomes admitted under this would not be current in the Snapshot. */
export function isLate({ epoch, generation }: Under, s: Snapshot): boolean {
  if (generation === TOTALS_ONLY) return true;
  if (epoch === "" || s.epoch === "") return generation !== 0 || s.generation > 1;
  return epoch !== s.epoch || generation !== s.generation;
}

/** Whether a marker holds. One further off than it can be was set by a clock that has since gone back. */
export function isUnderWay(until: number, now: number, atMost: number): boolean {
  return now < until && until - now <= atMost;
}
