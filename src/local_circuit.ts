/**
 * A circuit on a store of this process.
 *
 * @module
 */

import {
  Circuit,
  type Ending,
  type Grant,
  type Known,
  newId,
  type Refusal,
  type Surroundings,
  UNCOUNTED,
  UNKNOWN,
} from "./circuit.ts";
import type { CircuitIdentity } from "./key.ts";
import { tripping, type Verdict, verdict } from "./rules/machine.ts";
import { isLate } from "./shared/pending.ts";
import type { CircuitPolicyData } from "./rules/policy.ts";
import { overlay } from "./rules/snapshot.ts";
import type {
  Acquired,
  Awaitable,
  Changed,
  CircuitState,
  Recorded,
  Snapshot,
  Store,
} from "./contract.ts";
import { copySnapshot } from "./records.ts";

/** A circuit on a store of this process: synchronous, always strong, no view. */
export class LocalCircuit extends Circuit {
  readonly #standIn: boolean;
  #rejected = 0;
  /** The live record. One that was dropped reads as absent. */
  #seen: Snapshot | undefined;

  constructor(
    identity: CircuitIdentity,
    policy: CircuitPolicyData,
    store: Store,
    around: Surroundings,
    standIn = false,
  ) {
    super(identity, policy, store, around);
    this.#standIn = standIn;
  }

  protected override get local(): boolean {
    return this.#standIn;
  }

  override admit(): Grant | Refusal {
    this.used = true;
    let seen = this.#seen;
    if (seen === undefined || seen.generation === 0) {
      this.#seen = seen = this.store.peek!(this.identity.key);
      if (seen === undefined) return UNKNOWN;
    }
    if (seen.state !== "CLOSED" || seen.override !== null) return this.#ask();
    return this.open(seen);
  }

  override pass(grant: Grant, at: number): boolean {
    const seen = this.#seen;
    const { policy } = this;
    if (
      grant.lease !== null || seen === undefined || this.#rejected > 0 ||
      !this.store.book!(seen, grant, false, false, at, policy)
    ) return false;
    // Successes too can complete what a strategy waits for.
    if (tripping(seen, policy) !== null) this.#judge(seen, grant, true, null);
    return true;
  }

  #ask(): Grant | Refusal {
    const token = newId();
    const answer = this.store.acquire(this.identity.key, this.acquiring("", token)) as Acquired;
    if (!answer.granted) {
      const refusal = this.refuse(answer.snapshot, answer.snapshot.now);
      this.note(answer);
      return refusal;
    }
    // What the listeners do must not change what was granted.
    const s = copySnapshot(answer.snapshot);
    const due = s.state === "HALF_OPEN" ? verdict(s, this.policy) : null;
    const changed = due && this.#move(due, s, s, 0);
    this.note(answer);
    if (answer.moved) this.tellHalfOpened(answer);
    if (changed === null) return this.grant(s, token);
    this.#tellMoved(due!, s.state, changed);
    return this.admit();
  }

  override settle(grant: Grant, ending: Ending): void {
    const { kind, slow, at } = ending;
    const counts = kind !== "neutral";
    const failed = counts && this.failed(grant, ending);
    if (grant.lease === null) {
      const seen = this.#seen;
      if (!counts) return this.tellCall(grant, ending, seen !== undefined && isLate(grant, seen));
      if (
        seen !== undefined && this.#rejected === 0 &&
        this.store.book!(seen, grant, failed, slow, at, this.policy)
      ) return this.#judge(seen, grant, true, ending);
    }
    this.#record(
      grant,
      counts && !failed ? 1 : 0,
      failed ? 1 : 0,
      counts && slow ? 1 : 0,
      at,
      ending,
    );
  }

  /** Counts calls that the shared store did not take; how they ended was told already. */
  absorb(grant: Grant, successes: number, failures: number, slow: number, at: number): void {
    this.#record(grant, successes, failures, slow, at, null);
  }

  #record(
    grant: Grant,
    successes: number,
    failures: number,
    slow: number,
    at: number,
    ending: Ending | null,
  ): void {
    const { policy } = this;
    const answer = this.store.record(this.identity.key, {
      id: "",
      at,
      shape: policy.shape,
      epoch: grant.epoch,
      generation: grant.generation,
      successes,
      failures,
      rejected: this.#rejected,
      slow,
      ageMs: 0,
      lease: grant.lease,
      policyHash: policy.hash,
    }) as Recorded;
    this.wrote = true;
    if (this.#rejected > 0) this.around.unsent.delete(this);
    this.#rejected = 0;
    const s = this.#seen = answer.snapshot;
    const { policyHash } = s;
    if (answer.released != null || answer.evicted?.length || policyHash !== policy.hash) {
      this.note(answer);
    }
    this.#judge(s, grant, answer.current, ending);
  }

  /** Issues the verdict that is due, then tells of the call and of what it led to. */
  #judge(s: Snapshot, grant: Grant, current: boolean, ending: Ending | null): void {
    const { epoch, generation } = s;
    const due = current ? verdict(s, this.policy) : null;
    if (due === null) {
      if (ending !== null && this.around.events.hearsCalls) this.tellCall(grant, ending, !current);
      if (s.override !== null) this.warn(s);
      return;
    }
    const from = s.state;
    // The state is settled before anybody is told.
    const expected = { epoch, generation };
    const changed = this.#move(due, s, expected, ending?.retryAfterMs ?? 0);
    if (ending !== null) this.tellCall(grant, ending, false);
    this.#tellMoved(due, from, changed);
  }

  #move(
    due: Verdict,
    s: Snapshot,
    expected: { readonly epoch: string; readonly generation: number },
    retryAfterMs: number,
  ): Changed {
    const request = this.transition(due, s, expected, retryAfterMs, "");
    return this.store.transition(this.identity.key, request) as Changed;
  }

  #tellMoved(due: Verdict, from: CircuitState, changed: Changed): void {
    if (changed.won) this.tellTransition(due.event, from, due.to, due.reason, changed);
  }

  override countRejected(): void {
    if (this.#rejected++ === 0) this.around.unsent.add(this);
  }

  override peek(): Known {
    const { shape } = this.policy;
    const at = this.around.clock();
    const s = this.store.read(this.identity.key, { at, shape }) as Snapshot;
    return { snapshot: this.lay(s), now: s.now, ageMs: 0 };
  }

  override lay(snapshot: Snapshot): Snapshot {
    const rejected = this.#rejected;
    return overlay(snapshot, { successes: 0, failures: 0, slow: 0, rejected, current: false });
  }

  override look(): Known {
    return this.peek();
  }

  override flush(): Promise<void> {
    if (this.#rejected > 0) this.absorb(UNCOUNTED, 0, 0, 0, this.around.clock());
    return Promise.resolve();
  }

  override abandon(): void {
    // The store is in this process: it takes it.
    this.flush();
  }

  protected override operate(
    _operation: string,
    ask: (store: Store) => Awaitable<Changed>,
  ): Changed {
    const answer = ask(this.store) as Changed;
    this.note(answer);
    return answer;
  }
}
