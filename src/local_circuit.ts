/**
 * A circuit on a store of this process.
 *
 * @module
 */

import { type Grant, type Known, type Refusal, UNCOUNTED, UNKNOWN } from "./admission.ts";
import { announceHalfOpened, announceTransition } from "./announce.ts";
import { Circuit, type CircuitKind, type NamedStore, type Opener } from "./circuit.ts";
import type {
  Acquired,
  Awaitable,
  Changed,
  CircuitState,
  Driver,
  Recorded,
  Shape,
  Snapshot,
} from "./contract.ts";
import { type Admission, admissionOf, copySnapshot, isLate, newId } from "./records.ts";
import { type Verdict, verdict } from "./rules/machine.ts";
import type { Ending } from "./rules/outcome.ts";
import type { CircuitPolicyData } from "./rules/policy.ts";

/** A driver whose every method answers synchronously, with records that stay live. */
export interface LocalDriver extends Driver {
  /**
   * Returns the live record of a circuit: the same object as long as the record lives. A record that
   * was dropped reads as absent (generation 0). Its counts are those of this moment. Performs no I/O.
   */
  peek(key: string): LiveRecord | undefined;
  /**
   * Returns `true` if a live record refuses every call because its cooldown lasts, and ages it: the
   * effect and the answer of `acquire`.
   */
  bars(live: LiveRecord, at: number, shape: Shape): boolean;
  /**
   * Does what `record` does with one success that was not slow, of a call that was admitted in this
   * turn while the circuit was CLOSED, as nearly every call is. The record shows the success when it is
   * next read. Returns `false`, having done nothing, if the driver must do more for it: then record it.
   *
   * @param at When the call ended, on the caller's clock, in ms.
   */
  book(live: LiveRecord, turn: number, at: number, shape: Shape): boolean;
}

/** A store of this process. */
export interface LocalStore extends NamedStore {
  readonly driver: LocalDriver;
}

/** A record that changes with each write. */
export interface LiveRecord extends Snapshot {
  /** The fingerprint of the policy of the last tally. */
  readonly writtenBy: string;
  /**
   * A number that changes with the generation and with `writtenBy`, and is 0 once the record was
   * dropped: it replaces all other comparisons of a call.
   */
  readonly turn: number;
}

/** The part of an opener that is the same for every store of this process, which always answers. */
const ANSWERING: Omit<Opener, "open"> = {
  failing: false,
  // deno-lint-ignore require-await
  list: async (ask) => ask(),
  check: () => Promise.resolve(),
  flush: async (circuits) => {
    for (const circuit of circuits) await circuit.flush();
  },
};

/** Opens circuits on a store of this process. */
export const LOCAL: CircuitKind = {
  openerFor: (store) => ({
    ...ANSWERING,
    open: (identity, policy) => new LocalCircuit(identity, policy, store as LocalStore),
  }),
};

/** The result of a run of calls. */
interface Outcomes {
  readonly successes: number;
  readonly failures: number;
  readonly slow: number;
}

/** The counts of a neutral call. */
export const NO_OUTCOMES: Outcomes = { successes: 0, failures: 0, slow: 0 };

const ONE_SUCCESS: Outcomes = { ...NO_OUTCOMES, successes: 1 };

/** A circuit on a store of this process: synchronous, always strong, nothing cached. */
export class LocalCircuit extends Circuit {
  declare readonly store: LocalStore;
  #rejected = 0;
  /** The live record. A record that was dropped reads as absent. */
  #seen: LiveRecord | undefined;
  /** The turn of the record in which calls run under `opened`, and this policy was the last to write. */
  #turn = -1;

  override configure(policy: CircuitPolicyData): void {
    super.configure(policy);
    this.#turn = -1;
  }

  override admit(): Grant | Refusal {
    this.used = true;
    const seen = this.#seen;
    return seen !== undefined && seen.turn === this.#turn ? this.opened : this.#decide();
  }

  override pass(grant: Grant, at: number): boolean {
    const seen = this.#seen;
    const { policy } = this;
    const { driver } = this.store;
    if (grant !== this.opened) return false;
    if (
      seen === undefined || this.#rejected > 0 || !driver.book(seen, this.#turn, at, policy.shape)
    ) {
      this.#record(grant, ONE_SUCCESS, at, null);
    } else if (policy.judgesSuccesses && this.#mayTrip(seen)) {
      this.#judge(driver.peek(this.identity.key)!, grant, true, null);
    }
    return true;
  }

  /** Returns `false` if no call failed or was slow, so that no share can be reached. */
  #mayTrip({ sinceClosed: { failures, slow } }: LiveRecord): boolean {
    return failures > 0 || slow > 0 || this.policy.opensOnAnything;
  }

  override settle(grant: Grant, ending: Ending): void {
    const { kind, slow, at } = ending;
    const counts = kind !== "neutral";
    const failed = counts && this.noteFailure(grant, ending);
    if (grant.lease === null && !counts) {
      const seen = this.#seen;
      return this.#tell(grant, ending, seen !== undefined && isLate(grant, seen));
    }
    const outcomes = counts
      ? { successes: failed ? 0 : 1, failures: failed ? 1 : 0, slow: slow ? 1 : 0 }
      : NO_OUTCOMES;
    this.#record(grant, outcomes, at, ending);
  }

  /** Counts calls that the shared store did not accept. Their ends were announced already. */
  absorb(grant: Grant, outcomes: Outcomes, at: number): void {
    this.#record(grant, outcomes, at, null);
  }

  override countRejected(): void {
    if (this.#rejected++ === 0) this.store.unsent.add(this);
  }

  override peek(): Known {
    const { shape } = this.policy;
    const at = this.store.clock();
    const s = this.store.driver.read(this.identity.key, { at, shape }) as Snapshot;
    return { snapshot: this.lay(s), now: s.now, ageMs: 0, local: this.local };
  }

  override lay(snapshot: Snapshot): Snapshot {
    const { totals } = snapshot;
    return { ...snapshot, totals: { ...totals, rejected: totals.rejected + this.#rejected } };
  }

  override look(): Known {
    return this.peek();
  }

  override flush(): Promise<void> {
    if (this.#rejected > 0) this.absorb(UNCOUNTED, NO_OUTCOMES, this.store.clock());
    return Promise.resolve();
  }

  override abandon(): void {
    // The store is in this process: it accepts pending outcomes.
    this.flush();
  }

  protected override storeNow(): number {
    return this.peek().now;
  }

  protected override operate(
    _operation: string,
    ask: (driver: Driver) => Awaitable<Changed>,
  ): Awaitable<Changed> {
    const answer = ask(this.store.driver);
    if (!(answer instanceof Promise)) this.note(answer);
    return answer;
  }

  #decide(): Grant | Refusal {
    const { shape, hash, rampMs } = this.policy;
    let seen = this.#seen;
    if (seen === undefined || seen.generation === 0) {
      this.#seen = seen = this.store.driver.peek(this.identity.key);
      if (seen === undefined) return UNKNOWN;
    }
    if (seen.state === "CLOSED" && seen.override === null) {
      // A ramp decides for each call.
      if (seen.writtenBy === hash && rampMs === undefined) this.#turn = seen.turn;
      return this.open(seen);
    }
    return this.store.driver.bars(seen, this.store.clock(), shape) && seen.policyHash === hash
      ? this.refuse(seen, seen.now)
      : this.#acquire();
  }

  #acquire(): Grant | Refusal {
    const token = newId();
    const answer = this.store.driver.acquire(
      this.identity.key,
      this.acquiring("", token),
    ) as Acquired;
    if (!answer.granted) {
      const refusal = this.refuse(answer.snapshot, answer.snapshot.now);
      this.note(answer);
      return refusal;
    }
    // Listeners must not change a grant.
    const s = copySnapshot(answer.snapshot);
    const due = s.state === "HALF_OPEN" ? verdict(s, this.policy) : null;
    const changed = due && this.#move(due, s, s, 0);
    this.note(answer);
    if (answer.moved) announceHalfOpened(this, answer);
    if (changed === null) return this.grant(s, token);
    this.#tellMoved(due!, s.state, changed);
    return this.admit();
  }

  #record(grant: Grant, outcomes: Outcomes, at: number, ending: Ending | null): void {
    const { policy } = this;
    const answer = this.store.driver.record(this.identity.key, {
      // First, because a tally that the shared store did not accept names one of its generations.
      ...outcomes,
      ...admissionOf(grant),
      id: "",
      at,
      shape: policy.shape,
      rejected: this.#rejected,
      ageMs: 0,
      lease: grant.lease,
      policyHash: policy.hash,
      policy: this.recording(),
    }) as Recorded;
    this.wrote = true;
    if (this.#rejected > 0) this.store.unsent.delete(this);
    this.#rejected = 0;
    const s = this.#seen = answer.snapshot as LiveRecord;
    if (answer.released != null || answer.evicted?.length || s.policyHash !== policy.hash) {
      this.note(answer);
    }
    this.#judge(s, grant, answer.current, ending);
  }

  /** Makes the transition that is due, then announces the call and its effects. */
  #judge(s: Snapshot, grant: Grant, current: boolean, ending: Ending | null): void {
    const expected = admissionOf(s);
    const due = current ? verdict(s, this.policy) : null;
    if (due === null) {
      if (ending !== null) this.#tell(grant, ending, !current);
      if (s.override !== null) this.warn(s);
      return;
    }
    const from = s.state;
    // The state is settled before listeners run.
    const changed = this.#move(due, s, expected, ending?.retryAfterMs ?? 0);
    if (ending !== null) this.#tell(grant, ending, false);
    this.#tellMoved(due, from, changed);
  }

  #move(due: Verdict, s: Snapshot, expected: Admission, retryAfterMs: number): Changed {
    const request = this.transition(due, s, expected, retryAfterMs, "");
    return this.store.driver.transition(this.identity.key, request) as Changed;
  }

  #tell(grant: Grant, ending: Ending, late: boolean): void {
    if (this.store.events.hearsCalls) this.tellCall(grant, ending, late);
  }

  #tellMoved(due: Verdict, from: CircuitState, changed: Changed): void {
    if (changed.won) announceTransition(this, due.event, from, due.to, due.reason, changed);
  }
}
