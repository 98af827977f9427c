/**
 * A circuit on a shared store: this isolate's view of it, which is the last Snapshot and the outcomes
 * that the store has not confirmed. Calls use the view, and outcomes are sent to the store in the background.
 *
 * Plain data only, and no promise is kept: on a Worker, a promise of another request never settles.
 *
 * @module
 */

import { announceUnconfirmed } from "../announce.ts";
import type { Ending, Grant, Known, Refusal, Unit } from "../circuit.ts";
import type { Awaitable, Recorded, Snapshot } from "../contract.ts";
import { absentSnapshot, TOTALS_ONLY } from "../records.ts";
import { isShut, verdict } from "../rules/machine.ts";
import { segmentMs } from "../rules/window.ts";
import { after, AskingCircuit } from "./asking.ts";
import { MOST_COLD, turnToAsk } from "./asks.ts";
import { within } from "./deadline.ts";
import { scopeOf } from "./guard.ts";
import { outcomeOf, type Outcomes } from "./outcomes.ts";
import { GIVE_UP_MS, MOST_REFUSALS, type PendingTally } from "./pending.ts";
import { noteSent, tallyOf } from "./sent.ts";
import { joinSuccess, type Sending, sendInOrder, wantsSending } from "./sending.ts";
import { slowed } from "./pace.ts";
import type { Delivery, Place } from "./trips.ts";

/** A call that waits until the store has its outcome. */
type WaitingCall = { readonly grant: Grant; readonly ending: Ending };

/** The addition of `explain()` while the store cannot be used. */
const ALONE = "this isolate decides alone, the store cannot be used";

/** A circuit on a shared store. */
export class SharedCircuit extends AskingCircuit {
  // Admitting

  override admit(unit: Unit): Awaitable<Grant | Refusal> {
    return this.#admit(unit, Infinity);
  }

  /** @param withinMs How long the caller waits for the store's answer at most. */
  #admit(unit: Unit, withinMs: number): Awaitable<Grant | Refusal> {
    this.used = true;
    const now = this.store.clock();
    if (this.standIn !== null || this.guard.blocks("reads", this, now)) {
      return this.#admitInOutage(now, unit);
    }
    const s = this.view.believed ? this.view.current(now) : null;
    if (s === null) return this.#admitUnknown(unit);
    const storeNow = this.view.storeNow(now);
    const shut = isShut(s, storeNow);
    const plain = s.override !== null || s.state === "CLOSED";
    if (this.#strong) {
      return this.#acquire(s, plain ? Infinity : this.policy.halfOpenMaxConcurrent, withinMs);
    }
    if (this.view.isFresh(this.policy, now)) {
      if (shut) return this.#reject(s, now, unit);
      if (plain) return this.open(s);
      // No later than it was noted, or the view would not be fresh.
      if (now < this.refusedUntil) {
        return s.state === "OPEN"
          ? this.refuseHerd(s, now, this.refusedUntil - now)
          : this.refuse(s, storeNow);
      }
    } else if (plain && this.asks.underWay(now, this.guard.timeoutMs) > 0) {
      // A single call asks, and the others use the view.
      return shut ? this.refuse(s, storeNow) : this.open(s);
    }
    return this.#acquire(s, plain ? 1 : this.policy.halfOpenMaxConcurrent, withinMs);
  }

  /** Rejects by the view, and refreshes the view in the background once it is old. */
  #reject(s: Snapshot, now: number, unit: Unit): Awaitable<Refusal> {
    const refusal = this.refuse(s, this.view.storeNow(now));
    // The rejections before it go along: a store counts the requests that write.
    const writes = this.pending.gathering !== null && !this.guard.blocks("writes", this, now);
    const send = writes ? (place: Place) => this.store.trips.send(this, now, place) : undefined;
    return after(this.refresh(now, unit, send), refusal);
  }

  /** Nothing is known: a few ask, and the others look whether they have learnt something. */
  async #admitUnknown(unit: Unit): Promise<Grant | Refusal> {
    const { clock } = this.store;
    const { timeoutMs } = this.guard;
    const isKnown = () => {
      const now = clock();
      return this.view.believed || this.standIn !== null || this.guard.blocks("reads", this, now);
    };
    if (this.asks.underWay(clock(), timeoutMs) < MOST_COLD) {
      return await this.#acquire(null, MOST_COLD, Infinity);
    }
    const { turn, leftMs } = await turnToAsk(this.asks, clock, timeoutMs, isKnown);
    switch (turn) {
      case "known":
        return await this.#admit(unit, leftMs);
      case "ask":
        return await this.#acquire(null, Number.MAX_SAFE_INTEGER, leftMs);
      case "expired":
        return this.store.standIns.admit(this, clock());
    }
  }

  /**
   * Waits for the store's decision. A view that is too old is renewed by the way, at the same cost.
   *
   * @param s What is known.
   * @param most How many asks may be under way. Others are refused, or run by what is known.
   * @param withinMs How long the caller waits at most. The request has its own deadline.
   */
  async #acquire(
    s: Snapshot | null,
    most: number,
    withinMs: number,
  ): Promise<Grant | Refusal> {
    for (;;) {
      const now = this.store.clock();
      const ask = this.asks.begin(now, this.guard.timeoutMs, most);
      if (ask === null) return this.refuseHerd(s!, now, this.guard.timeoutMs);
      const asking = this.askFor(ask.token, s);
      const answer = await within(asking, withinMs);
      if (answer === null) {
        asking.then(() => this.asks.lose(ask));
        return this.#admitUnasked();
      }
      const { granted } = answer;
      s = answer.snapshot;
      const takesSlot = s.state === "HALF_OPEN" && s.override === null;
      // A verdict that its isolate did not live to issue comes before the next trial.
      const due = granted && s.state === "HALF_OPEN" ? verdict(s, this.policy) : null;
      if (granted && due === null && (this.asks.end(ask) || !takesSlot)) {
        this.#noteFullHouse(s, granted);
        return this.grant(s, ask.token);
      }
      // Its token may hold an unused slot, now or once the request is delivered again.
      this.asks.lose(ask);
      if (due !== null && await this.move(due, s, 0)) continue;
      this.#noteFullHouse(s, granted);
      return this.refuse(s, s.now);
    }
  }

  /** Decides without an answer in time: by the view, if another call has renewed it meanwhile. */
  #admitUnasked(): Grant | Refusal {
    const now = this.store.clock();
    const s = this.view.believed && !this.#strong ? this.view.current(now) : null;
    return s?.state === "CLOSED" && s.override === null && !this.guard.blocks("reads", this, now)
      ? this.open(s)
      : this.store.standIns.admit(this, now);
  }

  /** Notes until when no call need ask, because no half-open slot can be free before. */
  #noteFullHouse(s: Snapshot, granted: boolean): void {
    const { freeAt, inFlight } = s.halfOpen;
    const full = !granted || inFlight >= this.policy.halfOpenMaxConcurrent;
    if (!full || s.state !== "HALF_OPEN" || this.#strong) return;
    const waitMs = Math.max(1, (freeAt ?? Infinity) - s.now) + (this.pace?.firstMs ?? 0);
    this.refusedUntil = this.store.clock() + Math.min(this.intervals.revalidateMs, waitMs);
  }

  /** Decides while the store cannot be used, and finds out whether it can be used again. */
  #admitInOutage(now: number, unit: Unit): Awaitable<Grant | Refusal> {
    const s = this.view.overridden(now);
    if (s !== null) {
      return s.override!.kind === "forced_open" ? this.#reject(s, now, unit) : this.open(s);
    }
    if (this.standIn === null) this.#absorb(this.pending.unsent);
    const decided = this.store.standIns.admit(this, now);
    return after(this.#probe(now, unit), decided);
  }

  /** Sends the write that may end the stand-in, unless the store is left alone. */
  #probe(now: number, unit: Unit): Promise<unknown> | undefined {
    if (this.standIn === null || this.guard.blocks("writes", this, now)) return undefined;
    if (this.seal(now) === 0) this.adding.addProbe(now);
    return unit.background(this.store.trips.send(this, now));
  }

  // Settling

  override pass(grant: Grant, at: number): boolean {
    if (
      grant !== this.opened || this.standIn !== null || this.#strong ||
      this.store.driver.describe !== undefined || this.guard.blocks("writes", this, at)
    ) return false;
    return joinSuccess(this.sending(), grant, at);
  }

  override settle(grant: Grant, ending: Ending, unit: Unit): Promise<void> | void {
    const { at, kind, retryAfterMs } = ending;
    // The stand-in counts and announces the calls that it admitted; the store learns of them later.
    const absorbed = this.standIn?.end(grant, ending) ?? false;
    const held = this.guard.blocks("writes", this, at);
    if (held && this.standIn === null) this.#absorb(this.pending.unsent);
    if (this.#waitsFor(grant, ending)) {
      return held ? this.#keepForLater(grant, ending) : this.#sendAtOnce(grant, ending, unit);
    }
    if (!absorbed) this.#tell(grant, ending);
    if (kind === "neutral") return;
    const outcomes = this.#outcomesOf(grant, ending);
    if (held && !absorbed) this.store.standIns.absorb(this, grant, outcomes, at);
    const segment = segmentMs(this.intervals.windowMs);
    const own = absorbed || held;
    const tally = this.adding.gather(grant, outcomes, retryAfterMs, at, segment, own);
    this.store.unsent.add(this);
    if (held) return;
    const { holder } = unit;
    const fails = holder !== "process" && outcomes.failures > 0 && grant.generation !== TOTALS_ONLY;
    // Where nobody would hold what waits, nothing gathers.
    const alone = fails && holder === "caller";
    if (alone) this.pending.seal();
    const wants = alone || wantsSending(this.sending(), at);
    if (wants || fails) {
      return this.store.trips.dispatch(this, unit, at, wants, fails ? tally : null);
    }
    if (this.#strong) this.store.trips.await(this);
  }

  /** Returns `true` for outcomes that are stored before the caller gets its result. */
  #waitsFor(grant: Grant, ending: Ending): boolean {
    if (grant.generation === TOTALS_ONLY) return false;
    return grant.lease !== null || this.#strong && grant.alone === null &&
        ending.kind !== "neutral" &&
        (this.failed(grant, ending) || this.store.driver.describe !== undefined);
  }

  /** The store is left alone: the stand-in counts the outcome, and the store learns of it later. */
  #keepForLater(grant: Grant, ending: Ending): void {
    const { at, retryAfterMs } = ending;
    this.#tell(grant, ending);
    const outcomes = this.#outcomesOf(grant, ending);
    this.store.standIns.absorb(this, grant, outcomes, at);
    this.adding.keep(this.pending.single(grant, outcomes, retryAfterMs, at, true));
    this.store.unsent.add(this);
  }

  /** A trial, a failure in `strong`, or a call that is audited there. */
  #sendAtOnce(grant: Grant, ending: Ending, unit: Unit): Promise<void> {
    const { at, retryAfterMs } = ending;
    const tally = this.pending.single(grant, this.#outcomesOf(grant, ending), retryAfterMs, at);
    // A store that saw a failure before the successes that came first would open wrongly.
    const earlier = this.#strong ? this.pending.takeAll(at, this.guard.timeoutMs) : [];
    this.adding.sending(tally, at, this.guard.timeoutMs);
    // Where one waits for the other, its turn comes later: by then, `at` would say that the clock went back.
    const sent = sendInOrder(this.store.driver, [
      ...earlier.map((each) => () => this.deliver(each, this.store.clock())),
      () => this.#send(tally, this.store.clock(), false, { grant, ending }),
    ]);
    // Outcomes that an outage left behind, or that come to wait meanwhile, follow.
    const followed = sent.then(() => this.store.trips.goOn(this));
    // The call waits for it; a request that dies before that takes no slot with it.
    return (unit.background(followed) ?? sent) as Promise<void>;
  }

  #outcomesOf(grant: Grant, ending: Ending): Outcomes {
    return outcomeOf(ending, this.noteFailure(grant, ending), this.store.driver.describe);
  }

  #tell(grant: Grant, ending: Ending, late?: boolean): void {
    if (!this.store.events.hearsCalls) return;
    this.tellCall(grant, ending, late ?? this.view.isLate(grant, ending.at));
  }

  override countRejected(): void {
    this.adding.reject(this.store.clock());
    this.store.unsent.add(this);
  }

  // Reading

  override peek(): Known {
    const now = this.store.clock();
    const held = this.view.current(now);
    const laid = this.pending.lay(held ?? absentSnapshot(now), this.view.learntAs);
    if (this.standIn !== null && this.view.overridden(now) === null) {
      const { snapshot, ...known } = this.standIn.peek();
      return { ...known, snapshot: { ...snapshot, totals: laid.totals }, remark: ALONE };
    }
    const ageMs = held === null ? Infinity : Math.max(0, this.view.age(now));
    const local = this.guard.blocks("reads", this, now);
    const paceRatio = this.pace?.ratio;
    const remark = local ? ALONE : slowed(paceRatio);
    return { snapshot: laid, now: this.view.storeNow(now), ageMs, local, paceRatio, remark };
  }

  override lay(snapshot: Snapshot): Snapshot {
    return this.pending.lay(snapshot, Infinity);
  }

  override async look(): Promise<Known> {
    await this.read(this.pending.unconfirmed(this.store.clock()));
    return this.peek();
  }

  get #strong(): boolean {
    return this.policy.consistency === "strong" || !this.store.driver.traits.shared;
  }

  // Sending tallies

  override async flush(): Promise<void> {
    this.pending.seal();
    await this.store.trips.send(this, this.store.clock());
  }

  override abandon(): void {
    this.pending.seal();
    for (const tally of this.pending.take(Infinity)) this.#giveUp(tally);
  }

  /** Returns what sending depends on. */
  sending(): Sending {
    const { timeoutMs } = this.guard;
    const { policy, view, pace } = this;
    return {
      pending: this.pending,
      view,
      policy,
      intervals: pace ?? policy,
      timeoutMs,
      prompt: this.#strong,
      holdMs: pace?.firstMs ?? 0,
    };
  }

  /** Seals the gathered outcomes as a tally. Returns how many tallies wait. */
  seal(now: number): number {
    this.pending.seal();
    return this.#countWaiting(now);
  }

  #countWaiting(now: number): number {
    return this.pending.countWaiting(now, this.guard.timeoutMs);
  }

  /** Hands over sealed tallies, at most this many; none during a back-off. */
  take(now: number, most: number, always: boolean): readonly PendingTally[] {
    if (!always && this.guard.blocks("writes", this, now)) return [];
    // Outcomes that would not go along gather on.
    const goesAlong = this.#countWaiting(now) < most;
    if (goesAlong && (this.#strong || wantsSending(this.sending(), now))) this.pending.seal();
    return this.pending.take(now, this.guard.timeoutMs, most);
  }

  /** Sends a tally that was handed over, unless it has waited too long. Never rejects. */
  async deliver(tally: PendingTally, now: number): Promise<Delivery> {
    if (tally.sentAt !== null && now - tally.sentAt > GIVE_UP_MS) {
      this.#giveUp(tally);
      return "given up";
    }
    // All that is handed over at once is one probe.
    return await this.#send(tally, now, true, null);
  }

  /**
   * Sends one tally, under the same id every time, so that a lost answer does not make it count twice.
   * Never rejects.
   *
   * @param now The caller's reading of the clock in this turn. Beside a later reading, time would seem
   * to have gone back, and the tally would be sent once more.
   */
  async #send(
    tally: PendingTally,
    now: number,
    always: boolean,
    call: WaitingCall | null,
  ): Promise<Delivery> {
    const asked = this.view.ask();
    this.adding.sending(tally, now, this.guard.timeoutMs);
    // An earlier tally may have been the last that was pending, and have been given up.
    this.store.unsent.add(this);
    let answer: Recorded;
    try {
      answer = await this.guard.run<Recorded>({
        ...{ operation: "record", kind: "writes", circuit: this, always },
        send: () => {
          const at = this.store.clock();
          noteSent(tally, at, asked);
          this.wrote = true;
          const told = { ...tallyOf(tally, at), ...this.measured(tally, at) };
          return this.store.driver.record(this.identity.key, told);
        },
      });
    } catch (error) {
      return this.#notTaken(tally, call, (error as Error).cause);
    }
    // In one turn: the store counts it, and this isolate no longer does.
    this.#drop(tally);
    const { current, snapshot: s } = answer;
    // A late outcome makes no verdict due; but a stand-in does not end while there is one.
    const due = current || this.standIn !== null ? verdict(s, this.policy) : null;
    const trips = due !== null && s.state === "CLOSED";
    if (!trips) this.store.standIns.confirmed(this, asked);
    this.learn(s, asked);
    this.note(answer);
    if (call !== null) this.#tell(call.grant, call.ending, !current);
    if (due === null && current) this.warn(s);
    if (due === null) return "taken";
    const moved = await this.move(due, s, tally.retryAfterMs, call === null);
    if (trips && moved) this.store.standIns.confirmed(this, asked);
    else if (trips) this.store.standIns.takeOver(this, this.store.clock());
    return "taken";
  }

  #notTaken(tally: PendingTally, call: WaitingCall | null, cause: unknown): Delivery {
    this.pending.putBack(tally);
    if (call !== null) this.#tell(call.grant, call.ending, false);
    // The tallies that waited for it are not sent either.
    const held = this.guard.blocks("writes", this, this.store.clock());
    this.#absorb([tally, ...held ? this.pending.unsent : []]);
    if (scopeOf(cause) === null) return "unreached";
    const { taken } = this.guard;
    if (tally.refusals++ === 0) tally.refusedAt = taken;
    // The store takes others: there is something about this one.
    if (tally.refusals >= MOST_REFUSALS && taken > tally.refusedAt) {
      this.#giveUp(tally, `The store refused ${tally.refusals} times`);
    }
    return "refused";
  }

  /** Lets the stand-in count tallies that the store has not taken. */
  #absorb(tallies: readonly PendingTally[]): void {
    for (const tally of tallies) {
      if (!tally.absorbed) this.store.standIns.absorb(this, tally, tally, tally.lastAt);
      tally.absorbed = true;
    }
  }

  #drop(tally: PendingTally): void {
    this.pending.remove(tally);
    if (this.pending.empty && this.store.unsent.delete(this)) this.rest();
  }

  /** Drops and reports a tally, by default because the store will soon have forgotten its id. */
  #giveUp(tally: PendingTally, why = `No answer within ${GIVE_UP_MS} ms to`): void {
    this.#drop(tally);
    // A read has told that the store has it.
    if (tally.from < 0) return;
    const { retryAfterMs } = this.guard.unavailable(this.store.clock(), "writes", this);
    announceUnconfirmed(this, tally, why, retryAfterMs);
  }
}
