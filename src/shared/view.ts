/**
 * This isolate's view of a shared circuit: the last Snapshot from the store, and its time. Plain
 * data; `circuit.ts` asks the store.
 *
 * @module
 */

import type { PolicyRecord, Snapshot } from "../contract.ts";
import {
  absentSnapshot,
  type Admission,
  copySnapshot,
  isLate,
  isSame,
  withoutExpiredOverride,
} from "../records.ts";
import type { CircuitPolicyData } from "../rules/policy.ts";
import { longestMs } from "./pace.ts";

/** Numbers requests and answers, so that an answer knows which requests were sent after it. */
let sequence = 0;

/**
 * The cached Snapshot of one circuit. Moments are this isolate's clock, in ms, unless stated
 * otherwise.
 */
export class View {
  #held: Snapshot | null = null;
  /** `true` if calls may use the Snapshot: not before the first answer, nor after an outage. */
  #believed = false;
  #learntAt = 0;
  #learntAs = 0;

  /** `true` if calls may use the Snapshot. */
  get believed(): boolean {
    return this.#believed;
  }

  /** The number of the Snapshot; 0 before the first. */
  get learntAs(): number {
    return this.#learntAs;
  }

  /** Returns the number of a request that is about to be sent. */
  ask(): number {
    return ++sequence;
  }

  /**
   * Accepts a Snapshot that was requested after the cached one arrived, or, of answers that
   * overlap, the later one.
   *
   * @param asked The number of the request, from {@linkcode ask}.
   * @returns `old` if the Snapshot was not accepted; `reborn` if it is of another life of the
   * circuit, or shows that the store was restored to an earlier state.
   */
  learn(s: Snapshot, asked: number, now: number): "old" | "learnt" | "reborn" {
    const held = this.#held;
    const overlaps = asked < this.#learntAs;
    if (held !== null && overlaps && !isLater(s, held)) return "old";
    this.#held = s;
    this.#believed = true;
    this.#learntAt = now;
    this.#learntAs = ++sequence;
    if (held === null || held.epoch === "") return "learnt";
    return held.epoch !== s.epoch || (!overlaps && isBack(s, held)) ? "reborn" : "learnt";
  }

  /**
   * Forgets the Snapshot: the record that this isolate itself writes in its place is no other life.
   */
  forget(): void {
    this.#held = null;
  }

  /** Lets no call use the Snapshot until the next answer. */
  distrust(): void {
    this.#believed = false;
  }

  /** Returns the store's clock, in ms, as far as it is known. */
  storeNow(now: number): number {
    return this.#held === null ? now : this.#held.now + this.age(now);
  }

  /** Returns the age of the Snapshot in ms; negative if the clock has gone back. */
  age(now: number): number {
    return now - this.#learntAt;
  }

  /** Returns `true` if the Snapshot has this age, or the clock has gone back. */
  isOlderThan(ms: number, now: number): boolean {
    const age = this.age(now);
    return age < 0 || age >= ms;
  }

  /** Returns `true` if the Snapshot is young enough for calls. */
  isFresh(policy: CircuitPolicyData, now: number): boolean {
    const age = this.age(now);
    return age >= 0 && age <= longestMs(policy);
  }

  /** Returns the Snapshot, without an override that has run out. */
  current(now: number): Snapshot | null {
    return this.#held && withoutExpiredOverride(this.#held, this.storeNow(now));
  }

  /** Returns the Snapshot if calls may use it, and it has an operator's override. */
  overridden(now: number): Snapshot | null {
    const s = this.#believed ? this.current(now) : null;
    return s?.override ? s : null;
  }

  /** Returns `true` if outcomes of this admission add to totals only, as far as is known here. */
  isLate(under: Admission, now: number): boolean {
    return isLate(under, this.current(now) ?? absentSnapshot(now));
  }
}

const NONE = absentSnapshot(0);

/**
 * Returns a copy of a Snapshot that shares what is alike in most of very many circuits. Made of each
 * answer.
 */
export function compacted(s: Snapshot, { hash, recorded }: CircuitPolicyData): Snapshot {
  const { last, policy, policyHash } = s;
  return {
    // A spread would lose the getters of a live record.
    ...Object.hasOwn(s, "totals") ? s : copySnapshot(s),
    last: last.size === 0 ? NONE.last : last,
    halfOpen: s.state === "HALF_OPEN" ? s.halfOpen : NONE.halfOpen,
    policy: policy !== null && isAlike(policy, recorded) ? recorded : policy,
    policyHash: policyHash === hash ? hash : policyHash,
  };
}

function isAlike(a: PolicyRecord, b: PolicyRecord): boolean {
  for (const option in { ...a, ...b }) if (a[option] !== b[option]) return false;
  return true;
}

/**
 * Returns `true` for the later of two answers that overlap: by the store's clock, within a life then by
 * generation, and within a generation by totals, which never fall.
 */
function isLater(s: Snapshot, held: Snapshot): boolean {
  if (s.now !== held.now) return s.now > held.now;
  if (s.epoch !== held.epoch) return false;
  if (s.generation !== held.generation) return s.generation > held.generation;
  const calls = ({ totals }: Snapshot) => totals.successes + totals.failures + totals.rejected;
  return isSame(s, held) && calls(s) > calls(held);
}

/**
 * Returns `true` if a store that answered `held` before was restored to an earlier state: its
 * generations only grow.
 */
function isBack(s: Snapshot, held: Snapshot): boolean {
  // An override's end begins a generation, which a clock that goes back slightly undoes.
  const { generation, began } = withoutExpiredOverride(s, held.now);
  return generation < held.generation || (generation === held.generation && began !== held.began);
}
