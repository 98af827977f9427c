/**
 * This isolate's view of one circuit on a shared store: the last Snapshot, and the outcomes that
 * the store has not heard of yet. Calls go by the view, and the store is told in the background.
 *
 * Plain data, and no promise is kept: on a Worker a promise of another request never settles.
 * Where a marker says that something is under way, it is a moment, and lapses.
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
  type Unit,
  UNKNOWN,
} from "../circuit.ts";
import type { CircuitIdentity } from "../key.ts";
import { LocalCircuit } from "../local_circuit.ts";
import { cooldownPassed, type Verdict, verdict } from "../rules/machine.ts";
import { quote } from "../checks.ts";
import { overlay } from "../rules/snapshot.ts";
import { segmentMs } from "../rules/window.ts";
import {
  isLate,
  isUnderWay,
  Outbox,
  type Outcomes,
  type Parcel,
  tallyOf,
  type Under,
} from "./pending.ts";
import type { CircuitPolicyData } from "../rules/policy.ts";
import type { Answer, Awaitable, Changed, Recorded, Snapshot, Store } from "../contract.ts";
import { absentSnapshot, together, TOTALS_ONLY, withoutExpiredOverride } from "../records.ts";
import type { StoreGuard } from "./guard.ts";

/** After how many ms a tally without answer is given up: stores forget its id after twice as long. */
const GIVE_UP_MS = 30_000;

/** This isolate's own breaker, while the store does not answer. */
interface Alone {
  readonly circuit: LocalCircuit;
  /** Under what it counts calls that the store had admitted. */
  readonly base: Grant;
}

/** A circuit on a shared store. */
export class View extends Circuit {
  readonly #guard: StoreGuard;
  #held: Snapshot | null = null;
  /** Whether what is held may be gone by; not before the first answer, nor after an outage. */
  #believed = false;
  #learntAt = 0;
  /** Requests and answers are numbered, so that an answer knows what was asked after it. */
  #sequence = 0;
  #learntAs = 0;
  /** The store's clock less ours. */
  #offset = 0;
  readonly #outbox = new Outbox();
  /** A half-open refusal holds until then. */
  #refusedUntil = 0;
  /** A background read may be under way until then. */
  #refreshingUntil = 0;
  /** A token that may be out although no answer said so: asked for again, lest its slot be lost. */
  #lostToken: string | null = null;
  #alone: Alone | null = null;

  constructor(
    identity: CircuitIdentity,
    policy: CircuitPolicyData,
    store: Store,
    around: Surroundings,
    guard: StoreGuard,
  ) {
    super(identity, policy, store, around);
    this.#guard = guard;
  }

  override admit(unit: Unit): Awaitable<Grant | Refusal> {
    this.used = true;
    const now = this.around.clock();
    if (this.#alone !== null || this.#guard.down(now)) {
      const decided = this.#admitAlone(now, unit);
      if (decided !== null) return decided;
    }
    const s = this.#strong ? null : this.#fresh(now);
    if (s === null) return this.#acquire();
    const storeNow = now + this.#offset;
    if (s.override !== null) {
      return s.override.kind === "forced_open" ? this.#refuse(s, now, unit) : this.open(s);
    }
    if (s.state === "CLOSED") return this.open(s);
    if (s.state === "OPEN" && !cooldownPassed(s, storeNow, this.policy.maxCooldownMs)) {
      return this.#refuse(s, now, unit);
    }
    return isUnderWay(this.#refusedUntil, now, this.policy.revalidateMs)
      ? this.refuse(s, storeNow)
      : this.#acquire();
  }

  override settle(grant: Grant, ending: Ending, unit: Unit): Promise<void> | void {
    const { at: now, retryAfterMs } = ending;
    const counts = ending.kind !== "neutral";
    const failures = this.failed(grant, ending) ? 1 : 0;
    const successes = counts ? 1 - failures : 0;
    const audited = this.store.describe === undefined ? null : { text: this.#describe(ending) };
    const outcomes = { successes, failures, slow: counts && ending.slow ? 1 : 0, ...audited };
    const alone = grant.alone !== null && this.#alone !== null;
    if (alone) this.#alone!.circuit.settle(grant.alone!, ending);
    if (this.#guard.down(now) && grant.generation !== TOTALS_ONLY) {
      this.tellCall(grant, ending, this.#isLate(grant, now));
      this.#feed(grant, outcomes, now);
      // The lease lapses; of what ends while the store is away it learns the totals.
      if (counts) this.#gather(UNCOUNTED, outcomes, 0, now);
      return;
    }
    if ((grant.lease !== null || (this.#strong && counts)) && grant.generation !== TOTALS_ONLY) {
      const parcel = this.#outbox.alone(grant, outcomes, retryAfterMs, now);
      const sent = this.#send(parcel, grant, ending, now);
      // The call waits for it, and a request that dies before takes no slot with it.
      unit.background(sent);
      // What an outage left behind goes along.
      const rest = this.#wantsFlush(now) ? unit.background(this.#sendAll(now)) : undefined;
      return rest === undefined ? sent : Promise.all([sent, rest]).then(() => {});
    }
    if (!alone) this.tellCall(grant, ending, this.#isLate(grant, now));
    if (!counts) return;
    this.#gather(grant, outcomes, retryAfterMs, now);
    if (this.#guard.down(now) || !this.#wantsFlush(now)) return;
    return unit.background(this.#sendAll(now)) as Promise<void> | undefined;
  }

  override countRejected(): void {
    this.#outbox.reject(this.around.clock());
    this.around.unsent.add(this);
  }

  override peek(): Known {
    const now = this.around.clock();
    const held = this.#current(now);
    const laid = this.lay(held ?? absentSnapshot(now));
    if (this.#alone !== null && this.#standsIn(this.#alone, now)) {
      const { snapshot, ...known } = this.#alone.circuit.peek();
      return { snapshot: { ...snapshot, totals: laid.totals }, ...known };
    }
    const ageMs = held === null ? Infinity : Math.max(0, now - this.#learntAt);
    return { snapshot: laid, now: now + this.#offset, ageMs };
  }

  override lay(snapshot: Snapshot): Snapshot {
    return this.#outbox.lay(snapshot);
  }

  override async look(): Promise<Known> {
    await this.#read();
    return this.peek();
  }

  override abandon(): void {
    for (const parcel of this.#outbox.take(Infinity)) this.#giveUp(parcel);
  }

  override flush(): Promise<void> {
    return this.#sendAll(this.around.clock());
  }

  protected override async operate(
    operation: string,
    ask: (store: Store) => Awaitable<Changed>,
  ): Promise<Changed> {
    const sent = ++this.#sequence;
    const answer = await this.#guard.run(operation, () => ask(this.store), this.identity);
    if (answer.won) this.#alone = null;
    // What this isolate put there itself is not reborn.
    if (answer.won && operation === "restore") this.#held = null;
    this.#learn(answer.snapshot, sent);
    this.note(answer);
    return answer;
  }

  get #strong(): boolean {
    return this.policy.consistency === "strong" || !this.store.traits.shared;
  }

  /** What is held, an override that has run out taken away. */
  #current(now: number): Snapshot | null {
    return this.#held && withoutExpiredOverride(this.#held, now + this.#offset);
  }

  /** What is held, if a call may go by it. */
  #fresh(now: number): Snapshot | null {
    const { maxStalenessMs, cooldownMs } = this.policy;
    const age = now - this.#learntAt;
    const limit = typeof cooldownMs === "number"
      ? Math.min(maxStalenessMs, cooldownMs)
      : maxStalenessMs;
    return this.#believed && age >= 0 && age <= limit ? this.#current(now) : null;
  }

  /** Whether outcomes of this admission feed totals only, as far as is known here. */
  #isLate(under: Under, now: number): boolean {
    return isLate(under, this.#current(now) ?? absentSnapshot(now));
  }

  /** Refuses by the view, and has it refreshed in the background once it is old. */
  #refuse(s: Snapshot, now: number, unit: Unit): Awaitable<Refusal> {
    const refusal = this.refuse(s, now + this.#offset);
    const wait = this.#refresh(now, this.policy.revalidateMs, unit);
    return wait === undefined ? refusal : wait.then(() => refusal);
  }

  #refresh(now: number, olderThanMs: number, unit: Unit): Promise<unknown> | undefined {
    const age = now - this.#learntAt;
    if (age >= 0 && age < olderThanMs) return undefined;
    if (isUnderWay(this.#refreshingUntil, now, this.#guard.timeoutMs)) return undefined;
    this.#refreshingUntil = now + this.#guard.timeoutMs;
    return unit.background(this.#read());
  }

  /** Asks, and learns from the answer. */
  async #ask<T extends Answer>(operation: string, ask: () => Awaitable<T>): Promise<T> {
    const sent = ++this.#sequence;
    const answer = await this.#guard.run(operation, ask, this.identity);
    this.#learn(answer.snapshot, sent);
    this.note(answer);
    return answer;
  }

  /** Takes over a Snapshot that was asked for after the held one was learnt, or that knows more. */
  #learn(s: Snapshot, sent: number): void {
    const held = this.#held;
    if (held !== null && sent < this.#learntAs && !isLater(s, held)) return;
    this.#held = s;
    this.#believed = true;
    this.#learntAt = this.around.clock();
    this.#learntAs = ++this.#sequence;
    this.#offset = s.now - this.#learntAt;
    this.#refusedUntil = 0;
    if (held !== null && held.epoch !== "" && held.epoch !== s.epoch) {
      this.around.events.emit("reborn", this.identity);
    }
  }

  /** Never rejects: who reads goes by what is held when the store does not answer. */
  async #read(): Promise<void> {
    const sent = ++this.#sequence;
    const { clock } = this.around;
    try {
      const s = await this.#guard.run(
        "read",
        () => this.store.read(this.identity.key, { at: clock(), shape: this.policy.shape }),
        this.identity,
      );
      this.#learn(s, sent);
    } catch {
      // The guard has told the listeners.
    }
    this.#refreshingUntil = 0;
  }

  /** Waits for the store's word. Also what a view that is too old is replaced by: it costs as much as a read. */
  async #acquire(): Promise<Grant | Refusal> {
    for (;;) {
      // A slot asked for again is the same slot, and another request: what the first one moved may
      // have moved on since, and is not announced late.
      const id = newId();
      const token = this.#lostToken ?? id;
      this.#lostToken = null;
      let s: Snapshot;
      let granted: boolean;
      try {
        const answer = await this.#ask(
          "acquire",
          () => this.store.acquire(this.identity.key, this.acquiring(id, token)),
        );
        if (answer.moved) this.tellHalfOpened(answer);
        ({ snapshot: s, granted } = answer);
      } catch {
        this.#lostToken = token;
        return this.#standIn(this.around.clock());
      }
      // A verdict that its isolate did not live to issue comes before the next trial.
      const due = granted && s.state === "HALF_OPEN" ? verdict(s, this.policy) : null;
      if (due !== null && await this.#move(due, s, 0)) continue;
      const { freeAt, inFlight } = s.halfOpen;
      const full = !granted || inFlight >= this.policy.halfOpenMaxConcurrent;
      if (full && s.state === "HALF_OPEN" && !this.#strong) {
        // Nobody need ask before a slot can be free.
        this.#refusedUntil = this.around.clock() +
          Math.min(this.policy.revalidateMs, Math.max(1, (freeAt ?? Infinity) - s.now));
      }
      if (granted && due === null) return this.grant(s, token);
      // Granted, but the verdict before it could not be made; or refused, by a request that takes a slot
      // for nobody should it be delivered once more.
      this.#lostToken = token;
      return this.refuse(s, s.now);
    }
  }

  /** Makes the transition that is due, and announces it if it was this isolate's. */
  async #move(due: Verdict, s: Snapshot, retryAfterMs: number): Promise<boolean> {
    const request = this.transition(due, s, s, retryAfterMs, newId());
    try {
      const answer = await this.#ask(
        "transition",
        () => this.store.transition(this.identity.key, request),
      );
      if (answer.won) this.tellTransition(due.event, s.state, due.to, due.reason, answer);
      return true;
    } catch {
      // Whoever records next finds it due again.
      return false;
    }
  }

  /** What may be kept of an error, where calls are audited. The error itself is not kept. */
  #describe({ kind, error }: Ending): string | null {
    if (kind !== "failure" || error === undefined) return null;
    try {
      return this.store.describe!(error) ?? null;
    } catch {
      return null;
    }
  }

  #gather(under: Under, outcomes: Outcomes, retryAfterMs: number, now: number): void {
    this.#outbox.gather(under, outcomes, retryAfterMs, now, segmentMs(this.policy.windowMs));
    this.around.unsent.add(this);
  }

  /** Whether the end of a call is the moment to tell the store. */
  #wantsFlush(now: number): boolean {
    const { waiting, successesUnderWay } = this.#outbox.look(now, this.#guard.timeoutMs);
    if (waiting) return true;
    const parcel = this.#outbox.pending;
    if (parcel === null) return false;
    const { flushSize, flushIntervalMs, revalidateMs } = this.policy;
    const waited = now - parcel.firstAt;
    if (
      parcel.successes + parcel.failures >= flushSize || waited < 0 ||
      waited >= Math.min(flushIntervalMs, segmentMs(this.policy.windowMs))
    ) return true;
    const s = this.#current(now);
    if (s === null) return true;
    // One success on its way resets the run, and its answer is the revalidation.
    if (successesUnderWay) return false;
    const age = now - this.#learntAt;
    return s.consecutiveFailures > 0 || age < 0 || age >= revalidateMs ||
      verdict(overlay(s, { ...parcel, current: !isLate(parcel, s) }), this.policy) !== null;
  }

  /** Sends all that is not under way, in this very turn. */
  async #sendAll(now: number): Promise<void> {
    const parcels = this.#outbox.take(now, this.#guard.timeoutMs).filter((parcel) => {
      const { sentAt } = parcel;
      const keeps = sentAt === null || now - sentAt <= GIVE_UP_MS;
      if (!keeps) this.#giveUp(parcel);
      return keeps;
    });
    await Promise.all(
      together(this.store, () => parcels.map((parcel) => this.#send(parcel, null, null, now))),
    );
  }

  /**
   * Sends one parcel; the same id every time, so that a lost answer does not make it count twice. Never
   * rejects. `now` is what the caller goes by in this turn: beside a later reading of the clock it
   * looks as if time had gone back, and the parcel would go once more.
   */
  async #send(
    parcel: Parcel,
    grant: Grant | null,
    ending: Ending | null,
    now: number,
  ): Promise<void> {
    const { clock } = this.around;
    const { policy } = this;
    const sent = ++this.#sequence;
    this.#outbox.sending(parcel, now, this.#guard.timeoutMs);
    // One before it may have been the last that was held, and have been given up.
    this.around.unsent.add(this);
    let answer: Recorded;
    try {
      answer = await this.#guard.run("record", () => {
        const at = clock();
        parcel.sentAt ??= at;
        this.wrote = true;
        const { shape, hash: policyHash } = policy;
        return this.store.record(this.identity.key, { ...tallyOf(parcel, at), shape, policyHash });
      }, this.identity);
    } catch {
      this.#outbox.putBack(parcel);
      if (ending !== null) this.tellCall(grant!, ending, false);
      if (!parcel.fed) this.#feed(parcel, parcel, parcel.lastAt);
      parcel.fed = true;
      return;
    }
    // In one turn: counted by the store, and here no longer.
    this.#sent(parcel);
    this.#learn(answer.snapshot, sent);
    this.note(answer);
    if (ending !== null) this.tellCall(grant!, ending, !answer.current);
    if (!answer.current) return;
    const s = answer.snapshot;
    const due = verdict(s, policy);
    if (due !== null) await this.#move(due, s, parcel.retryAfterMs);
    else this.warn(s);
  }

  #sent(parcel: Parcel): void {
    this.#outbox.remove(parcel);
    if (this.#outbox.empty) this.around.unsent.delete(this);
  }

  /** Nobody knows whether it counted, and the store will soon have forgotten its id. */
  #giveUp(parcel: Parcel): void {
    this.#sent(parcel);
    const { successes, failures, rejected } = parcel;
    const { events, clock } = this.around;
    const { store } = this.identity;
    const counts = { successes, failures, rejected };
    events.emit("unconfirmed", { ...this.identity, tallies: 1, ...counts });
    events.emit("store_error", {
      store,
      circuit: { ...this.identity },
      operation: "record",
      error: new Error(
        `No answer within ${GIVE_UP_MS} ms to a tally of ${successes} successes, ${failures} ` +
          `failures and ${rejected} rejections of circuit ${quote(this.identity.name)}`,
      ),
      retryAfterMs: this.#guard.unavailable(clock()).retryAfterMs,
    });
  }

  /**
   * Decides while the store does not answer, or has only just come back; `null`: follow the store.
   */
  #admitAlone(now: number, unit: Unit): Awaitable<Grant | Refusal> | null {
    if (!this.#guard.failing) {
      if (!this.#standsIn(this.#alone!, now)) {
        this.#alone = null;
        return null;
      }
      const decided = this.#alone!.circuit.admit();
      const wait = this.#refresh(now, this.policy.revalidateMs, unit);
      return wait === undefined ? decided : wait.then(() => decided);
    }
    if (this.#guard.down(now)) return this.#standIn(now);
    if (this.#strong) return null;
    // The interval is over: the store is tried out in the background.
    const decided = this.#standIn(now);
    const wait = this.#refresh(now, 0, unit);
    return wait === undefined ? decided : wait.then(() => decided);
  }

  /** Whether this isolate's own breaker still decides. What it found out stands as long as it said it would. */
  #standsIn({ circuit }: Alone, now: number): boolean {
    if (this.#guard.failing) return true;
    // An operator's word goes before what this isolate found out.
    if (this.#believed && this.#current(now)?.override) return false;
    const own = circuit.peek().snapshot;
    return own.state === "OPEN" && !cooldownPassed(own, now, this.policy.maxCooldownMs);
  }

  /** In place of the store. */
  #standIn(now: number): Grant | Refusal {
    switch (this.policy.onStoreError) {
      case "reject":
        return { refused: this.#guard.unavailable(now) };
      case "allow": {
        const s = this.#current(now);
        const storeNow = now + this.#offset;
        const forbids = s !== null &&
          (s.override === null
            ? s.state === "OPEN" && !cooldownPassed(s, storeNow, this.policy.maxCooldownMs)
            : s.override.kind === "forced_open");
        return forbids ? this.refuse(s, storeNow) : UNCOUNTED;
      }
      case "local": {
        const decided = this.#takeOver().circuit.admit();
        return decided.refused !== null
          ? decided
          : { ...UNCOUNTED, silent: decided.silent, alone: decided };
      }
    }
  }

  /** This isolate's own breaker, begun from the last known view. */
  #takeOver(): Alone {
    if (this.#alone !== null) return this.#alone;
    const { local } = this.#guard;
    const { key } = this.identity;
    const at = this.around.clock();
    const held = this.#current(at);
    local.remove(key);
    let base = UNKNOWN;
    if (held !== null && held.epoch !== "") {
      local.restore(key, {
        ...this.request(""),
        at: at + this.#offset,
        record: { key, snapshot: held, segments: [], outcomes: "" },
        existing: "replace",
        reason: null,
        actor: null,
      });
      const { epoch, generation } = local.peek!(key)!;
      base = { ...UNKNOWN, epoch, generation };
    }
    this.#believed = false;
    const circuit = new LocalCircuit(this.identity, this.policy, local, this.around, true);
    return this.#alone = { circuit, base };
  }

  /** Lets this isolate's own breaker know what the store did not take. */
  #feed(under: Under, { successes, failures, slow }: Outcomes, at: number): void {
    if (this.policy.onStoreError !== "local" || under.generation === TOTALS_ONLY) return;
    if (successes + failures === 0) return;
    const late = this.#isLate(under, at);
    const { circuit, base } = this.#takeOver();
    circuit.absorb(late ? UNCOUNTED : base, successes, failures, slow, at);
  }
}

/** Whether a Snapshot is of a later moment of the same life: neither generation nor totals ever fall. */
function isLater(s: Snapshot, held: Snapshot): boolean {
  if (s.epoch !== held.epoch) return false;
  const calls = ({ totals }: Snapshot) => totals.successes + totals.failures + totals.rejected;
  return s.generation > held.generation ||
    (s.generation === held.generation && calls(s) > calls(held));
}
