/**
 * Asking a shared store about one circuit, and learning from its answers.
 *
 * @module
 */

import { announceHalfOpened, announceTransition } from "../announce.ts";
import { quote } from "../checks.ts";
import { Circuit, type NamedStore, type Refusal, type Unit, UNKNOWN } from "../circuit.ts";
import type { Acquired, Answer, Awaitable, Changed, Driver, Snapshot, Tally } from "../contract.ts";
import { type Admission, newId } from "../records.ts";
import type { Verdict } from "../rules/machine.ts";
import { followed as followedPolicy } from "../rules/followed.ts";
import type { CircuitPolicyData } from "../rules/policy.ts";
import { Asks, mayMove } from "./asks.ts";
import { isUnderWay } from "./deadline.ts";
import type { Asking, CircuitHealth, RequestKind, StoreGuard } from "./guard.ts";
import { NOTHING, PendingTallies, type PendingTally, type Unconfirmed } from "./pending.ts";
import { noteHeld } from "./sent.ts";
import type { StandIn, StandIns } from "./stand_in.ts";
import { type Intervals, type Pace, paceAfter } from "./pace.ts";
import type { Place, Trips } from "./trips.ts";
import { compacted, View } from "./view.ts";

/** A record that was not used for this long may have expired: its loss is not reported. */
const RUNS_OUT_MS = 86_400_000;

/** A shared store, with the state that its circuits share in an isolate. */
export interface SharedStore extends NamedStore {
  readonly guard: StoreGuard;
  readonly trips: Trips;
  readonly standIns: StandIns;
  /** The policies of records that isolates without their own use. */
  readonly followed: Map<string, CircuitPolicyData>;
}

/** How many policies of records are kept at most. */
const MOST_FOLLOWED = 100;

/** The shortest time between two tallies that carry the policy, in ms. */
const RECORD_EVERY_MS = 60_000;

/** A circuit that asks a shared store, and keeps a view of the circuit from the answers. */
export abstract class AskingCircuit extends Circuit {
  declare readonly store: SharedStore;
  health: CircuitHealth | null = null;
  readonly view = new View();
  standIn: StandIn | null = null;
  /** How this isolate holds back; `null` while it does not. */
  protected pace: Pace | null = null;
  /** Until when a refusal past the cooldown holds, in ms. */
  protected refusedUntil = 0;
  /** Until when a background read may be under way, in ms. */
  #refreshingUntil = 0;
  /** `null` if no ask is under way. */
  #asks: Asks | null = null;
  /** `null` while nothing is unconfirmed. */
  #tallies: PendingTallies | null = null;
  /** When a tally last carried the policy. */
  #recordedAt: number | null = null;

  protected get guard(): StoreGuard {
    return this.store.guard;
  }

  /** Sends a request, and learns from the answer. */
  protected async ask<T extends Answer>(asking: Omit<Asking<T>, "circuit">): Promise<T> {
    const asked = this.view.ask();
    const answer = await this.guard.run({ ...asking, circuit: this });
    this.learn(answer.snapshot, asked);
    this.note(answer);
    return answer;
  }

  /** Drops what the next call makes again: of very many circuits, most are idle. */
  rest(): void {
    this.plain = null;
    this.opened = UNKNOWN;
    if (this.pending.empty) this.#tallies = null;
    if (this.#asks?.empty) this.#asks = null;
  }

  /** The outcomes that the store has not confirmed. */
  protected get pending(): Unconfirmed {
    return this.#tallies ?? NOTHING;
  }

  /** The same, to add to. */
  protected get adding(): PendingTallies {
    return this.#tallies ??= new PendingTallies();
  }

  /** The asks of callers that wait for the store's decision. */
  protected get asks(): Asks {
    return this.#asks ??= new Asks();
  }

  /** Asks for a slot. Returns `null` if the store could not be asked. */
  protected async askFor(token: string, s: Snapshot | null): Promise<Acquired | null> {
    // A slot asked for again is the same slot, but another request: what the first request moved may have
    // moved on since, and is not announced late.
    const request = this.acquiring(newId(), token);
    try {
      const answer = await this.ask({
        operation: "acquire",
        kind: mayMove(s, this.view.storeNow(this.store.clock())) ? "writes" : "reads",
        send: () => this.store.driver.acquire(this.identity.key, request),
        proves: ({ moved, granted, snapshot: { state, override } }) =>
          moved || (granted && state === "HALF_OPEN" && override === null) ? "writes" : "reads",
      });
      if (answer.moved) announceHalfOpened(this, answer);
      return answer;
    } catch {
      return null;
    }
  }

  protected override storeNow(): number {
    return this.view.storeNow(this.store.clock());
  }

  protected learn(s: Snapshot, asked: number, named: readonly PendingTally[] = []): void {
    const now = this.store.clock();
    const age = this.view.age(now);
    const { holds } = s;
    s = compacted(s, this.policy);
    const learnt = this.view.learn(s, asked, now);
    noteHeld(named, holds, learnt === "old" ? null : this.view.learntAs);
    if (learnt !== "old") {
      this.pace = paceAfter(this.pace, s, this.policy, this.store.random);
      this.refusedUntil = this.pace !== null && s.state === "OPEN"
        ? now + (s.openUntil ?? s.now) - s.now + this.pace.firstMs
        : 0;
      this.#follow(s);
    }
    if (learnt !== "reborn") return;
    const { events } = this.store;
    if (age > RUNS_OUT_MS) return events.emit("reborn", this.identity);
    events.alarm(
      "reborn",
      this.identity,
      () => `the store has lost circuit ${quote(this.identity.name)}, which begins anew`,
    );
  }

  override configure(policy: CircuitPolicyData): void {
    super.configure(policy);
    this.pace = null;
    const held = this.view.current(this.store.clock());
    if (held !== null) this.#follow(held);
  }

  /** Makes an isolate without its own policy use the record's. */
  #follow({ policy }: Snapshot): void {
    const { given, store: { followed, strategies, events } } = this;
    // Answers share the record of a policy that they follow already.
    if (given.hash !== "" || policy === this.policy.recorded) return;
    let next = given;
    if (policy !== null) {
      // Equal policies are one object, as in the registry.
      const key = JSON.stringify({ ...given, ...policy });
      if (followed.size > MOST_FOLLOWED) followed.clear();
      next = followed.get(key) ?? followedPolicy(policy, given, strategies, events.report);
      followed.set(key, next);
    }
    if (next === this.policy) return;
    this.policy = next;
    // As in `configure()`.
    this.rest();
  }

  /**
   * Returns the policy hash of a tally, with the whole policy if the record has another one. A tally that
   * is not current has neither: stores would keep the hash without the policy, which seemed known then.
   */
  protected measured(
    under: Admission,
    now: number,
  ): Pick<Tally, "shape" | "policyHash" | "policy"> {
    const { shape, hash: policyHash } = this.policy;
    if (this.view.isLate(under, now)) return { shape, policyHash: "" };
    const known = this.view.current(now)?.policyHash === policyHash;
    const since = now - (this.#recordedAt ?? -Infinity);
    if (known || (since >= 0 && since < RECORD_EVERY_MS)) return { shape, policyHash };
    this.#recordedAt = now;
    return { shape, policyHash, policy: this.recording() };
  }

  /** The options that a pace stretches. */
  protected get intervals(): Intervals {
    return this.pace ?? this.policy;
  }

  /**
   * Asks in the background if the view is old. Returns what must be waited for.
   *
   * @param send Asks, and leaves the place. By default, it reads.
   */
  protected refresh(
    now: number,
    unit: Unit,
    send: (place: Place) => Promise<unknown> = (place) =>
      this.read().finally(() => this.store.trips.leave(place)),
  ): Promise<unknown> | undefined {
    if (!this.view.isOlderThan(this.intervals.revalidateMs, now)) return undefined;
    if (isUnderWay(this.#refreshingUntil, now, this.guard.timeoutMs)) return undefined;
    const place = this.store.trips.takePlace(now);
    if (place === null) return undefined;
    this.#refreshingUntil = now + this.guard.timeoutMs;
    return unit.background(send(place).finally(() => this.#refreshingUntil = 0));
  }

  /**
   * Never rejects: a reader uses the cached Snapshot when the store does not answer.
   *
   * @param named The tallies that the answer may contain.
   */
  protected async read(named: readonly PendingTally[] = []): Promise<void> {
    const asked = this.view.ask();
    const { key } = this.identity;
    const unconfirmed = named.length > 0 ? named.map(({ id }) => id) : undefined;
    const request = { at: this.store.clock(), shape: this.policy.shape, unconfirmed };
    const send = () => this.store.driver.read(key, request);
    try {
      const asking = { operation: "read", kind: "reads", circuit: this, send } as const;
      this.learn(await this.guard.run<Snapshot>(asking), asked, named);
    } catch {
      // The guard has told the listeners.
    }
  }

  protected override async operate(
    operation: string,
    ask: (driver: Driver) => Awaitable<Changed>,
  ): Promise<Changed> {
    const asked = this.view.ask();
    const answer = await this.guard.run({
      ...{ operation, kind: "writes", circuit: this, always: true, proves: whatWon },
      send: () => ask(this.store.driver),
    });
    if (answer.won) this.store.standIns.confirmed(this, asked);
    // A record that this isolate wrote or removed itself is not reborn.
    if (answer.won && /^re(store|move)$/.test(operation)) this.view.forget();
    this.learn(answer.snapshot, asked);
    this.note(answer);
    return answer;
  }

  /** Refuses a caller while others ask for the slots there are. */
  protected refuseHerd(s: Snapshot, now: number, waitMs: number): Refusal {
    const storeNow = this.view.storeNow(now);
    const freeAt = storeNow + waitMs;
    return this.refuse({ ...s, state: "HALF_OPEN", halfOpen: { ...s.halfOpen, freeAt } }, storeNow);
  }

  /** Makes the transition that is due. Returns `false` if the store could not be asked. */
  protected async move(
    due: Verdict,
    s: Snapshot,
    retryAfterMs: number,
    background = false,
  ): Promise<boolean> {
    const request = this.transition(due, s, s, retryAfterMs, newId());
    // A store of this process may have answered with its live record.
    const [from, began] = [s.state, s.generation + 1];
    try {
      const answer = await this.ask<Changed>({
        ...{ operation: "transition", kind: "writes", proves: whatWon },
        send: () => this.store.driver.transition(this.identity.key, request),
      });
      const { event, to, reason } = due;
      if (answer.won) {
        announceTransition(this, event, from, to, reason, answer, background, began);
      }
      return true;
    } catch {
      // The next record finds it due again.
      return false;
    }
  }
}

/** A change that was not made proves that the store answers, and no more. */
function whatWon({ won }: Changed): RequestKind {
  return won ? "writes" : "reads";
}

/** Returns the decision, once work that must be waited for is done. */
export function after<T>(wait: Promise<unknown> | undefined, decided: T): Awaitable<T> {
  return wait === undefined ? decided : wait.then(() => decided);
}
