/**
 * Outcomes on their way to a shared store: gathered, sealed into tallies, kept until an answer
 * confirms them. Data only; `circuit.ts` sends them.
 *
 * @module
 */

import { UNCOUNTED } from "../admission.ts";
import { overlay } from "../rules/snapshot.ts";
import type { AuditedCall, Snapshot } from "../contract.ts";
import { type Admission, isSame, newId, TOTALS_ONLY } from "../records.ts";
import { isUnderWay } from "./deadline.ts";
import type { Outcomes } from "./outcomes.ts";

/** A call of a tally, for stores that audit calls. `at`: when it ended, in ms. */
type PendingCall = Omit<AuditedCall, "ageMs"> & { readonly at: number };

/** A tally that is being gathered, waits, or is under way. */
export interface PendingTally extends Outcomes {
  readonly id: string;
  epoch: string;
  generation: number;
  began: number;
  successes: number;
  failures: number;
  rejected: number;
  slow: number;
  readonly lease: string | null;
  calls: PendingCall[] | null;
  /** The longest `Retry-After` of its failures, in ms; 0 without one. */
  retryAfterMs: number;
  /** When the first and the last of its outcomes ended, in ms, and when the first failure did. */
  firstAt: number;
  lastAt: number;
  failedAt: number;
  /** When it was first sent, in ms; `null` before that; `-Infinity` if the clock has gone back since. */
  sentAt: number | null;
  /**
   * Snapshots from this number on may contain it: when it was first sent or, if one named later did not
   * contain it, the number of that. `Infinity` before it is sent; negative once one contained it.
   */
  from: number;
  /** Until when an answer may come, in ms. */
  busyUntil: number;
  /** `true` once this isolate's stand-in has counted it. */
  absorbed: boolean;
  /** How often the store has refused it. */
  refusals: number;
  /** How many writes the store had confirmed when it first refused it. */
  refusedAt: number;
}

/** The time after which a tally without an answer is given up, in ms: stores forget its id after twice as long. */
export const GIVE_UP_MS = 30_000;

/** How many tallies a read names at most. */
const MOST_NAMED = 64;

/** After how many refusals a tally is given up, if the store takes others. */
export const MOST_REFUSALS = 3;

const NONE: readonly PendingTally[] = [];

/** How many tallies of a circuit wait at most. */
const MOST_WAITING = 1_000;

/**
 * How far apart, in ms, the readings of the clock within one turn may be out of order: by as long as a
 * listener takes. That does no harm, because stores remember ids for twice as long as tallies wait.
 */
const UNORDERED_MS = 1_000;

/** The tallies of one circuit that the store has not confirmed. Every step takes constant time. */
export class PendingTallies {
  #gathering: PendingTally | null = null;
  /** Sealed and not under way. Nearly all circuits have none, and share one empty list. */
  #waiting: readonly PendingTally[] = NONE;
  /** Under way; `null` while there is none. */
  #busy: Set<PendingTally> | null = null;
  /** The earliest moment at which something under way lapses; `null` while nothing is under way. */
  #lapseAt: number | null = null;
  /** The clock when it was last read; `null` while nothing that was sent is left. */
  #seenAt: number | null = null;

  /** `true` if nothing is left to send. */
  get empty(): boolean {
    return this.#gathering === null && this.#waiting.length === 0 && this.#busy === null;
  }

  /** The tally that is being gathered. */
  get gathering(): PendingTally | null {
    return this.#gathering;
  }

  /** Counts a rejected call, which is sent with the next tally. */
  reject(now: number): void {
    this.#see(now);
    this.#gathering ??= this.#tally(UNCOUNTED, null, now);
    this.#gathering.rejected++;
  }

  /**
   * Gathers outcomes with those before them, as long as they belong together: successes, then failures.
   * Returns the tally that they are part of.
   */
  gather(
    under: Admission,
    outcomes: Outcomes,
    retryAfterMs: number,
    now: number,
    segmentMs: number,
    absorbed = false,
  ): PendingTally {
    this.#see(now);
    let tally = this.#gathering;
    if (tally !== null && tally.successes + tally.failures === 0) {
      // Rejections alone belong to any tally.
      tally.epoch = under.epoch;
      tally.generation = under.generation;
      tally.began = under.began;
      tally.firstAt = now;
      tally.absorbed = absorbed;
    } else if (
      tally !== null &&
      (tally.absorbed !== absorbed || !belongs(tally, under, now, segmentMs) ||
        // So that the order inside is known.
        outcomes.successes > 0 && hasFailed(tally))
    ) {
      this.seal();
      tally = null;
    }
    this.#gathering = tally ??= this.#tally(under, null, now, absorbed);
    add(tally, outcomes, retryAfterMs, now);
    return tally;
  }

  /** Adds an empty tally, which shows whether the store accepts writes. */
  addProbe(now: number): void {
    if (this.#gathering === null && this.#waiting.length === 0) {
      this.keep(this.#tally(UNCOUNTED, null, now, true));
    }
  }

  /** Returns a tally of one outcome, which is sent by itself, with the rejections so far. */
  single(
    under: Admission & { readonly lease: string | null },
    outcomes: Outcomes,
    retryAfterMs: number,
    now: number,
    absorbed = false,
  ): PendingTally {
    this.#see(now);
    const tally = this.#tally(under, under.lease, now, absorbed);
    add(tally, outcomes, retryAfterMs, now);
    const pending = this.#gathering;
    if (pending !== null) {
      tally.rejected = pending.rejected;
      pending.rejected = 0;
      if (pending.successes + pending.failures === 0) this.#gathering = null;
    }
    return tally;
  }

  /**
   * Returns the tally that one more success may simply be added to: nothing lapses, and nothing waits
   * but for what is under way. Returns `null` otherwise.
   */
  joinable(
    under: Admission,
    now: number,
    segmentMs: number,
    timeoutMs: number,
  ): PendingTally | null {
    const tally = this.#gathering;
    if (tally === null || tally.calls !== null || tally.absorbed || hasFailed(tally)) return null;
    if (this.#waiting.length > 0 && this.#busy === null) return null;
    if (this.#seenAt !== null) {
      if (now < this.#seenAt) return null;
      this.#seenAt = now;
    }
    if (this.#lapseAt !== null && !isUnderWay(this.#lapseAt, now, timeoutMs)) return null;
    return belongs(tally, under, now, segmentMs) ? tally : null;
  }

  /** Returns how many tallies wait that could be sent. Nothing is under way beyond `timeoutMs`. */
  countWaiting(now: number, timeoutMs = Infinity): number {
    this.#see(now);
    this.#lapse(now, timeoutMs);
    return this.#waiting.length;
  }

  /** `true` while a tally is under way, as far as `countWaiting` has looked. */
  get underWay(): boolean {
    return this.#busy !== null;
  }

  /** `true` if a failure that counts is being gathered. */
  get gathersFailure(): boolean {
    return this.#gathering !== null && hasFailed(this.#gathering);
  }

  /** Seals the gathered tally: it waits to be sent as it is. */
  seal(): void {
    if (this.#gathering !== null) this.keep(this.#gathering);
    this.#gathering = null;
  }

  /**
   * Hands over sealed tallies that are not under way, oldest first. The caller must send them in this
   * turn, because they are not tracked until they are under way.
   *
   * @param most How many at most.
   */
  take(now: number, timeoutMs = Infinity, most = Infinity): readonly PendingTally[] {
    const count = this.countWaiting(now, timeoutMs);
    const tallies = this.#waiting;
    if (count <= most) {
      this.#waiting = NONE;
      return tallies;
    }
    this.#waiting = tallies.slice(most);
    return tallies.slice(0, most);
  }

  /**
   * Hands over all tallies that the store has not confirmed, oldest first, and marks them as under way.
   * They keep their ids. Those already under way are sent once more, since they may arrive later.
   */
  takeAll(now: number, timeoutMs: number): readonly PendingTally[] {
    this.seal();
    for (const tally of this.take(now, timeoutMs)) this.sending(tally, now, timeoutMs);
    return [...this.#busy ?? []].sort((a, b) => a.firstAt - b.firstAt);
  }

  /** Marks a tally as under way. The mark lapses, because its sender may die. */
  sending(tally: PendingTally, now: number, timeoutMs: number): void {
    // Of several requests that take it along, one may have given it back before the next is sent.
    if (tally.busyUntil > 0) this.#unwait(tally);
    tally.busyUntil = now + timeoutMs;
    this.#busy ??= new Set();
    this.#busy.add(tally);
    this.#lapseAt = Math.min(this.#lapseAt ?? Infinity, tally.busyUntil);
    this.#see(now);
    this.#seenAt = now;
  }

  /** Lets a tally wait that was not confirmed. */
  putBack(tally: PendingTally): void {
    if (this.#land(tally)) this.keep(tally);
  }

  /** Drops a tally that was confirmed, or given up. */
  remove(tally: PendingTally): void {
    if (!this.#land(tally)) this.#unwait(tally);
    if (this.#busy === null && this.#waiting.length === 0) this.#seenAt = null;
  }

  /** The tallies that are neither under way nor done with, oldest first. */
  get unsent(): readonly PendingTally[] {
    return this.#gathering === null ? this.#waiting : [...this.#waiting, this.#gathering];
  }

  /**
   * Returns the Snapshot with the pending tallies added that it does not contain.
   *
   * @param learntAs The number of the Snapshot: tallies that it may contain are left out. 0 for all
   * that are not known to be in the store.
   */
  lay(snapshot: Snapshot, learntAs: number, which: "all" | "under way" = "all"): Snapshot {
    const tallies = [...this.#busy ?? [], ...which === "all" ? this.unsent : NONE]
      .filter(({ from }) => from >= learntAs);
    return overlay(snapshot, tallies);
  }

  /** Returns the tallies that the store may have, and remembers if it has. */
  unconfirmed(now: number): readonly PendingTally[] {
    return [...this.#busy ?? [], ...this.#waiting].filter(({ from, sentAt }) =>
      from >= 0 && sentAt !== null && now - sentAt <= GIVE_UP_MS
    ).slice(0, MOST_NAMED);
  }

  /**
   * Notes the clock. A clock that went back does not tell how long a tally has waited for its answer,
   * and the store may have forgotten its id: such a tally counts as having waited too long.
   */
  #see(now: number): void {
    if (this.#seenAt === null) return;
    if (now < this.#seenAt - UNORDERED_MS) {
      for (const tally of [...this.#waiting, ...this.#busy ?? []]) {
        if (tally.sentAt !== null) tally.sentAt = -Infinity;
      }
    }
    this.#seenAt = now;
  }

  /** Lets a tally wait to be sent. */
  keep(tally: PendingTally): void {
    if (this.#waiting === NONE) this.#waiting = [tally];
    else (this.#waiting as PendingTally[]).push(tally);
    if (this.#waiting.length > MOST_WAITING) this.#fold();
  }

  #unwait(tally: PendingTally): void {
    if (!this.#waiting.includes(tally)) return;
    this.#waiting = this.#waiting.filter((held) => held !== tally);
  }

  /** Adds the oldest tally that was never sent to the totals of the next one: an outage may be long. */
  #fold(): void {
    const tallies = this.#waiting as PendingTally[];
    const foldable = (tally: PendingTally) => tally.sentAt === null && tally.lease === null;
    const from = tallies.findIndex(foldable);
    const into = tallies.findIndex((tally, i) => i > from && foldable(tally));
    if (from < 0 || into < 0) return;
    const [old] = tallies.splice(from, 1) as [PendingTally];
    const next = tallies[into - 1]!;
    // Across generations, or segments of the window, only totals can be added.
    next.epoch = "";
    next.generation = TOTALS_ONLY;
    next.calls = null;
    next.successes += old.successes;
    next.failures += old.failures;
    next.rejected += old.rejected;
    next.slow += old.slow;
  }

  #land(tally: PendingTally): boolean {
    if (!this.#busy?.delete(tally)) return false;
    if (this.#busy.size === 0) this.#busy = this.#lapseAt = null;
    return true;
  }

  /** Lets tallies wait again that are under way for too long, or since before the clock went back. */
  #lapse(now: number, timeoutMs: number): void {
    if (this.#lapseAt === null || isUnderWay(this.#lapseAt, now, timeoutMs)) return;
    let next = Infinity;
    for (const tally of this.#busy ?? []) {
      if (isUnderWay(tally.busyUntil, now, timeoutMs)) next = Math.min(next, tally.busyUntil);
      else this.putBack(tally);
    }
    this.#lapseAt = this.#busy === null ? null : next;
  }

  #tally(
    { epoch, generation, began }: Admission,
    lease: string | null,
    now: number,
    absorbed = false,
  ): PendingTally {
    return {
      // The same however often it is sent, so that it counts once.
      id: newId(),
      epoch,
      generation,
      began,
      successes: 0,
      failures: 0,
      rejected: 0,
      slow: 0,
      lease,
      calls: null,
      retryAfterMs: 0,
      firstAt: now,
      lastAt: now,
      failedAt: now,
      sentAt: null,
      from: Infinity,
      busyUntil: 0,
      absorbed,
      refusals: 0,
      refusedAt: 0,
    };
  }
}

/** The tallies of a circuit, to do all but add to them. */
export type Unconfirmed = Omit<
  PendingTallies,
  "reject" | "gather" | "addProbe" | "keep" | "sending"
>;

/** No tallies. Most of very many circuits are idle, and share it: no other method may change it. */
export const NOTHING: Unconfirmed = new PendingTallies();

/** Returns `true` if an outcome may join a tally: same generation, same segment of the window. */
function belongs(tally: PendingTally, under: Admission, now: number, segmentMs: number): boolean {
  if (!isSame(tally, under)) return false;
  const span = now - tally.firstAt;
  return under.generation === TOTALS_ONLY || (span >= 0 && span < segmentMs);
}

/** Returns `true` if a tally has failures, and they count in a generation. */
function hasFailed({ failures, generation }: PendingTally): boolean {
  return failures > 0 && generation !== TOTALS_ONLY;
}

/** The number of calls of a tally that are kept one by one: an outage may be long. */
const MOST_CALLS = 1_000;

function add(tally: PendingTally, outcomes: Outcomes, retryAfterMs: number, now: number): void {
  const { failures, slow, text } = outcomes;
  if (text !== undefined && (tally.calls ??= []).length < MOST_CALLS) {
    tally.calls.push({ failed: failures > 0, slow: slow > 0, text, at: now });
  }
  if (tally.failures === 0) tally.failedAt = now;
  tally.successes += outcomes.successes;
  tally.failures += outcomes.failures;
  tally.slow += outcomes.slow;
  tally.retryAfterMs = Math.max(tally.retryAfterMs, retryAfterMs);
  tally.lastAt = now;
}
