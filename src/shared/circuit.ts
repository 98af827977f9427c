/**
 * A circuit on a shared store: this isolate's view of it, which is the last Snapshot and the outcomes
 * that the store has not confirmed. Calls go by the view, and the store is told in the background.
 *
 * Plain data only, and no promise is kept: on a Worker, a promise of another request never settles.
 * A marker that something is under way is a moment, and lapses.
 *
 * @module
 */

import { announceHalfOpened, announceTransition, announceUnconfirmed } from "../announce.ts";
import {
  Circuit,
  type Ending,
  type Grant,
  type Known,
  type NamedStore,
  type Refusal,
  UNCOUNTED,
  type Unit,
} from "../circuit.ts";
import type { Answer, Awaitable, Changed, Driver, Recorded, Snapshot } from "../contract.ts";
import type { CircuitIdentity } from "../key.ts";
import { absentSnapshot, type Admission, newId, together, TOTALS_ONLY } from "../records.ts";
import { isShut, type Verdict, verdict } from "../rules/machine.ts";
import type { CircuitPolicyData } from "../rules/policy.ts";
import { segmentMs } from "../rules/window.ts";
import type { StoreGuard } from "./guard.ts";
import {
  isUnderWay,
  outcomeOf,
  type Outcomes,
  PendingTallies,
  type PendingTally,
  tallyOf,
} from "./pending.ts";
import { joinSuccess, type Sending, wantsSending } from "./sending.ts";
import { type LocalStates, StandIn } from "./stand_in.ts";
import { View } from "./view.ts";

/** After how many ms a tally without answer is given up: stores forget its id after twice as long. */
const GIVE_UP_MS = 30_000;

/** A circuit on a shared store. */
export class SharedCircuit extends Circuit {
  readonly #guard: StoreGuard;
  readonly #standIn: StandIn;
  readonly #pending = new PendingTallies();
  readonly #view = new View();
  /** Until when a refusal in HALF_OPEN holds, in ms. */
  #refusedUntil = 0;
  /** Until when a background read may be under way, in ms. */
  #refreshingUntil = 0;
  /** A token that may hold a slot though no answer said so. It is asked for again, lest the slot be lost. */
  #lostToken: string | null = null;

  constructor(
    identity: CircuitIdentity,
    policy: CircuitPolicyData,
    store: NamedStore,
    guard: StoreGuard,
    states: LocalStates,
  ) {
    super(identity, policy, store);
    this.#guard = guard;
    this.#standIn = new StandIn(this, this.#view, guard, states);
  }

  // Admitting

  override admit(unit: Unit): Awaitable<Grant | Refusal> {
    this.used = true;
    const now = this.store.clock();
    if (this.#standIn.begun || this.#guard.down(now)) {
      const decided = this.#admitInOutage(now, unit);
      if (decided !== null) return decided;
    }
    const s = this.#strong ? null : this.#fresh(now);
    if (s === null) return this.#acquire();
    const storeNow = this.#view.storeNow(now);
    if (isShut(s, storeNow)) return this.#reject(s, now, unit);
    if (s.override !== null || s.state === "CLOSED") return this.open(s);
    return isUnderWay(this.#refusedUntil, now, this.policy.revalidateMs)
      ? this.refuse(s, storeNow)
      : this.#acquire();
  }

  /** Rejects by the view, and refreshes the view in the background once it is old. */
  #reject(s: Snapshot, now: number, unit: Unit): Awaitable<Refusal> {
    const refusal = this.refuse(s, this.#view.storeNow(now));
    return after(this.#refresh(now, this.policy.revalidateMs, unit), refusal);
  }

  /** Waits for the store's decision. A view that is too old is renewed by the way, at the same cost. */
  async #acquire(): Promise<Grant | Refusal> {
    for (;;) {
      // A slot asked for again is the same slot, but another request: what the first request moved may
      // have moved on since, and is not announced late.
      const id = newId();
      const token = this.#lostToken ?? id;
      this.#lostToken = null;
      let s: Snapshot;
      let granted: boolean;
      try {
        const answer = await this.#ask(
          "acquire",
          () => this.driver.acquire(this.identity.key, this.acquiring(id, token)),
        );
        if (answer.moved) announceHalfOpened(this, answer);
        ({ snapshot: s, granted } = answer);
      } catch {
        this.#lostToken = token;
        return this.#standIn.admit(this.store.clock());
      }
      // A verdict that its isolate did not live to issue comes before the next trial.
      const due = granted && s.state === "HALF_OPEN" ? verdict(s, this.policy) : null;
      if (due !== null && await this.#move(due, s, 0)) continue;
      this.#noteFullHouse(s, granted);
      if (granted && due === null) return this.grant(s, token);
      // Granted, but the verdict before it could not be made; or refused, by a request that takes a slot
      // for nobody should it be delivered once more.
      this.#lostToken = token;
      return this.refuse(s, s.now);
    }
  }

  /** Notes until when nobody need ask, because no half-open slot can be free before. */
  #noteFullHouse(s: Snapshot, granted: boolean): void {
    const { freeAt, inFlight } = s.halfOpen;
    const full = !granted || inFlight >= this.policy.halfOpenMaxConcurrent;
    if (!full || s.state !== "HALF_OPEN" || this.#strong) return;
    const waitMs = Math.max(1, (freeAt ?? Infinity) - s.now);
    this.#refusedUntil = this.store.clock() + Math.min(this.policy.revalidateMs, waitMs);
  }

  // Settling

  override pass(grant: Grant, at: number): boolean {
    if (
      grant !== this.opened || this.#standIn.begun || this.#strong ||
      this.driver.describe !== undefined || this.#guard.down(at)
    ) return false;
    return joinSuccess(this.#sending(), grant, at);
  }

  override settle(grant: Grant, ending: Ending, unit: Unit): Promise<void> | void {
    const { at, kind } = ending;
    const counts = kind !== "neutral";
    const standsIn = this.#standIn.settle(grant, ending);
    const admittedByStore = grant.generation !== TOTALS_ONLY;
    if (admittedByStore && this.#guard.down(at)) return this.#keepForLater(grant, ending);
    if (admittedByStore && (grant.lease !== null || (this.#strong && counts))) {
      return this.#sendAtOnce(grant, ending, unit);
    }
    if (!standsIn) this.#tell(grant, ending);
    if (!counts) return;
    this.#gather(grant, this.#outcomesOf(grant, ending), ending);
    if (this.#guard.down(at) || !wantsSending(this.#sending(), at)) return;
    return unit.background(this.#sendAll(at)) as Promise<void> | undefined;
  }

  /** The store is away: the stand-in counts the outcome, and the store learns the totals later. */
  #keepForLater(grant: Grant, ending: Ending): void {
    this.#tell(grant, ending);
    const outcomes = this.#outcomesOf(grant, ending);
    this.#standIn.absorb(grant, outcomes, ending.at);
    // The lease, if there is one, lapses.
    if (ending.kind !== "neutral") {
      this.#gather(UNCOUNTED, outcomes, { ...ending, retryAfterMs: 0 });
    }
  }

  /** A trial, or a call in `strong`: the outcome is in the store before the caller hears of it. */
  #sendAtOnce(grant: Grant, ending: Ending, unit: Unit): Promise<void> {
    const { at, retryAfterMs } = ending;
    const tally = this.#pending.single(grant, this.#outcomesOf(grant, ending), retryAfterMs, at);
    const sent = this.#send(tally, at, { grant, ending });
    // The call waits for it; a request that dies before that takes no slot with it.
    unit.background(sent);
    // What an outage left behind goes along.
    const rest = wantsSending(this.#sending(), at) ? unit.background(this.#sendAll(at)) : undefined;
    return rest === undefined ? sent : Promise.all([sent, rest]).then(() => {});
  }

  #outcomesOf(grant: Grant, ending: Ending): Outcomes {
    const failed = this.failed(grant, ending);
    if (failed) this.noteFailure(grant, ending);
    return outcomeOf(ending, failed, this.driver.describe);
  }

  #gather(under: Admission, outcomes: Outcomes, { at, retryAfterMs }: Ending): void {
    this.#pending.gather(under, outcomes, retryAfterMs, at, segmentMs(this.policy.windowMs));
    this.store.unsent.add(this);
  }

  #tell(grant: Grant, ending: Ending): void {
    if (!this.store.events.hearsCalls) return;
    this.tellCall(grant, ending, this.#view.isLate(grant, ending.at));
  }

  override countRejected(): void {
    this.#pending.reject(this.store.clock());
    this.store.unsent.add(this);
  }

  // Reading

  override peek(): Known {
    const now = this.store.clock();
    const held = this.#view.current(now);
    const laid = this.lay(held ?? absentSnapshot(now));
    if (this.#standIn.decides(now)) {
      const { snapshot, ...known } = this.#standIn.peek();
      return { snapshot: { ...snapshot, totals: laid.totals }, ...known };
    }
    const ageMs = held === null ? Infinity : Math.max(0, this.#view.age(now));
    return { snapshot: laid, now: this.#view.storeNow(now), ageMs };
  }

  override lay(snapshot: Snapshot): Snapshot {
    return this.#pending.lay(snapshot);
  }

  override async look(): Promise<Known> {
    await this.#read();
    return this.peek();
  }

  get #strong(): boolean {
    return this.policy.consistency === "strong" || !this.driver.traits.shared;
  }

  /** Returns the cached Snapshot if a call may go by it. */
  #fresh(now: number): Snapshot | null {
    const { maxStalenessMs, cooldownMs } = this.policy;
    return this.#view.fresh(
      now,
      typeof cooldownMs === "number" ? Math.min(maxStalenessMs, cooldownMs) : maxStalenessMs,
    );
  }

  // Asking the store

  /** Sends a request, and learns from the answer. */
  async #ask<T extends Answer>(operation: string, ask: () => Awaitable<T>): Promise<T> {
    const asked = this.#view.ask();
    const answer = await this.#guard.run(operation, ask, this.identity);
    this.#learn(answer.snapshot, asked);
    this.note(answer);
    return answer;
  }

  #learn(s: Snapshot, asked: number): void {
    const learnt = this.#view.learn(s, asked, this.store.clock());
    if (learnt !== "old") this.#refusedUntil = 0;
    if (learnt === "reborn") this.store.events.emit("reborn", this.identity);
  }

  #refresh(now: number, olderThanMs: number, unit: Unit): Promise<unknown> | undefined {
    if (!this.#view.isOlderThan(olderThanMs, now)) return undefined;
    if (isUnderWay(this.#refreshingUntil, now, this.#guard.timeoutMs)) return undefined;
    this.#refreshingUntil = now + this.#guard.timeoutMs;
    return unit.background(this.#read());
  }

  /** Never rejects: a reader uses the cached Snapshot when the store does not answer. */
  async #read(): Promise<void> {
    const asked = this.#view.ask();
    const { clock } = this.store;
    const { key } = this.identity;
    try {
      const s = await this.#guard.run(
        "read",
        () => this.driver.read(key, { at: clock(), shape: this.policy.shape }),
        this.identity,
      );
      this.#learn(s, asked);
    } catch {
      // The guard has told the listeners.
    }
    this.#refreshingUntil = 0;
  }

  protected override async operate(
    operation: string,
    ask: (driver: Driver) => Awaitable<Changed>,
  ): Promise<Changed> {
    const asked = this.#view.ask();
    const answer = await this.#guard.run(operation, () => ask(this.driver), this.identity);
    if (answer.won) this.#standIn.end();
    // What this isolate put there itself, or took away, is not reborn.
    if (answer.won && /^re(store|move)$/.test(operation)) this.#view.forget();
    this.#learn(answer.snapshot, asked);
    this.note(answer);
    return answer;
  }

  /** Makes the transition that is due. Returns `false` if the store could not be asked. */
  async #move(due: Verdict, s: Snapshot, retryAfterMs: number): Promise<boolean> {
    const request = this.transition(due, s, s, retryAfterMs, newId());
    try {
      const answer = await this.#ask(
        "transition",
        () => this.driver.transition(this.identity.key, request),
      );
      if (answer.won) announceTransition(this, due.event, s.state, due.to, due.reason, answer);
      return true;
    } catch {
      // Whoever records next finds it due again.
      return false;
    }
  }

  // Sending tallies

  override flush(): Promise<void> {
    return this.#sendAll(this.store.clock());
  }

  override abandon(): void {
    for (const tally of this.#pending.take(Infinity)) this.#giveUp(tally);
  }

  #sending(): Sending {
    const { timeoutMs } = this.#guard;
    return { pending: this.#pending, view: this.#view, policy: this.policy, timeoutMs };
  }

  /** Sends all that is not under way, in this very turn. */
  async #sendAll(now: number): Promise<void> {
    const tallies = this.#pending.take(now, this.#guard.timeoutMs).filter((tally) => {
      const keeps = tally.sentAt === null || now - tally.sentAt <= GIVE_UP_MS;
      if (!keeps) this.#giveUp(tally);
      return keeps;
    });
    await Promise.all(
      together(this.driver, () => tallies.map((tally) => this.#send(tally, now, null))),
    );
  }

  /**
   * Sends one tally, under the same id every time, so that a lost answer does not make it count twice.
   * Never rejects.
   *
   * @param now The caller's reading of the clock in this turn. Beside a later reading, time would seem
   * to have gone back, and the tally would be sent once more.
   * @param call The call that waits for the answer, if one does.
   */
  async #send(
    tally: PendingTally,
    now: number,
    call: { readonly grant: Grant; readonly ending: Ending } | null,
  ): Promise<void> {
    const asked = this.#view.ask();
    this.#pending.sending(tally, now, this.#guard.timeoutMs);
    // An earlier tally may have been the last that was pending, and have been given up.
    this.store.unsent.add(this);
    const answer = await this.#record(tally);
    if (answer === null) return this.#notTaken(tally, call);
    // In one turn: the store counts it, and this isolate no longer does.
    this.#drop(tally);
    this.#learn(answer.snapshot, asked);
    this.note(answer);
    const { current, snapshot: s } = answer;
    if (call !== null && this.store.events.hearsCalls) {
      this.tellCall(call.grant, call.ending, !current);
    }
    if (!current) return;
    const due = verdict(s, this.policy);
    if (due !== null) await this.#move(due, s, tally.retryAfterMs);
    else this.warn(s);
  }

  /** Returns the answer, or `null` if there was none. */
  async #record(tally: PendingTally): Promise<Recorded | null> {
    const { shape, hash: policyHash } = this.policy;
    try {
      return await this.#guard.run("record", () => {
        const at = this.store.clock();
        tally.sentAt ??= at;
        this.wrote = true;
        return this.driver.record(this.identity.key, { ...tallyOf(tally, at), shape, policyHash });
      }, this.identity);
    } catch {
      return null;
    }
  }

  #notTaken(
    tally: PendingTally,
    call: { readonly grant: Grant; readonly ending: Ending } | null,
  ): void {
    this.#pending.putBack(tally);
    if (call !== null && this.store.events.hearsCalls) {
      this.tellCall(call.grant, call.ending, false);
    }
    if (!tally.absorbed) this.#standIn.absorb(tally, tally, tally.lastAt);
    tally.absorbed = true;
  }

  #drop(tally: PendingTally): void {
    this.#pending.remove(tally);
    if (this.#pending.empty) this.store.unsent.delete(this);
  }

  /** Nobody knows whether the tally counted, and the store will soon have forgotten its id. */
  #giveUp(tally: PendingTally): void {
    this.#drop(tally);
    const { retryAfterMs } = this.#guard.unavailable(this.store.clock());
    announceUnconfirmed(this, tally, GIVE_UP_MS, retryAfterMs);
  }

  // Outages

  /**
   * Decides while the store does not answer, or has only just come back. Returns `null` where the call
   * is to follow the store.
   */
  #admitInOutage(now: number, unit: Unit): Awaitable<Grant | Refusal> | null {
    if (!this.#guard.failing) {
      if (!this.#standIn.decides(now)) {
        this.#standIn.end();
        return null;
      }
      const decided = this.#standIn.admit(now);
      return after(this.#refresh(now, this.policy.revalidateMs, unit), decided);
    }
    if (this.#guard.down(now)) return this.#standIn.admit(now);
    if (this.#strong) return null;
    // The interval is over: the store is tried out in the background.
    const decided = this.#standIn.admit(now);
    return after(this.#refresh(now, 0, unit), decided);
  }
}

/** Returns what was decided, once work that must be waited for is done. */
function after<T>(wait: Promise<unknown> | undefined, decided: T): Awaitable<T> {
  return wait === undefined ? decided : wait.then(() => decided);
}
