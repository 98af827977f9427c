/**
 * This isolate's view of a shared circuit: the last Snapshot that the store answered with, and when.
 * Plain data; `circuit.ts` asks the store.
 *
 * @module
 */

import type { Snapshot } from "../contract.ts";
import { absentSnapshot, type Admission, isLate, withoutExpiredOverride } from "../records.ts";

/** The cached Snapshot of one circuit. Moments are this isolate's clock, in ms, unless said otherwise. */
export class View {
  #held: Snapshot | null = null;
  /** `true` if calls may go by the Snapshot: not before the first answer, nor after an outage. */
  #believed = false;
  #learntAt = 0;
  /** Numbers requests and answers, so that an answer knows what was asked after it. */
  #sequence = 0;
  #learntAs = 0;
  /** The store's clock less this isolate's, in ms. */
  #offset = 0;

  /** `true` if calls may go by the Snapshot. */
  get believed(): boolean {
    return this.#believed;
  }

  /** Returns the number of a request that is about to be sent. */
  ask(): number {
    return ++this.#sequence;
  }

  /**
   * Takes over a Snapshot that was asked for after the held one was learnt, or that knows more.
   *
   * @param asked The number of the request, from {@linkcode ask}.
   * @returns `old` if the Snapshot was not taken over; `reborn` if it is of another life of the circuit.
   */
  learn(s: Snapshot, asked: number, now: number): "old" | "learnt" | "reborn" {
    const held = this.#held;
    if (held !== null && asked < this.#learntAs && !isLater(s, held)) return "old";
    this.#held = s;
    this.#believed = true;
    this.#learntAt = now;
    this.#learntAs = ++this.#sequence;
    this.#offset = s.now - now;
    return held !== null && held.epoch !== "" && held.epoch !== s.epoch ? "reborn" : "learnt";
  }

  /** Forgets the Snapshot: what this isolate itself puts in its place is no other life. */
  forget(): void {
    this.#held = null;
  }

  /** Lets no call go by the Snapshot until the next answer. */
  distrust(): void {
    this.#believed = false;
  }

  /** Returns the store's clock, in ms, as far as it is known. */
  storeNow(now: number): number {
    return now + this.#offset;
  }

  /** Returns the age of the Snapshot in ms; negative if the clock has gone back. */
  age(now: number): number {
    return now - this.#learntAt;
  }

  /** Returns `true` if the Snapshot is as old as this, or the clock has gone back. */
  isOlderThan(ms: number, now: number): boolean {
    const age = this.age(now);
    return age < 0 || age >= ms;
  }

  /** Returns the Snapshot, without an override that has run out. */
  current(now: number): Snapshot | null {
    return this.#held && withoutExpiredOverride(this.#held, now + this.#offset);
  }

  /** Returns the Snapshot if calls may go by it, and it is no older than `maxAgeMs`. */
  fresh(now: number, maxAgeMs: number): Snapshot | null {
    const age = this.age(now);
    return this.#believed && age >= 0 && age <= maxAgeMs ? this.current(now) : null;
  }

  /** Returns `true` if outcomes of this admission feed totals only, as far as is known here. */
  isLate(under: Admission, now: number): boolean {
    return isLate(under, this.current(now) ?? absentSnapshot(now));
  }
}

/** Returns `true` for a later moment of the same life: neither generation nor totals ever fall. */
function isLater(s: Snapshot, held: Snapshot): boolean {
  if (s.epoch !== held.epoch) return false;
  const calls = ({ totals }: Snapshot) => totals.successes + totals.failures + totals.rejected;
  return s.generation > held.generation ||
    (s.generation === held.generation && calls(s) > calls(held));
}
