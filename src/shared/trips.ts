/**
 * Background trips to a store: few at once, each with as many tallies as the driver takes along.
 *
 * Places are moments that expire, and nobody waits for one: a trip on its way takes waiting tallies
 * along, in its own request.
 *
 * @module
 */

import type { Clock, Driver } from "../contract.ts";
import { together } from "../records.ts";
import type { Unit } from "../admission.ts";
import { looks } from "./asks.ts";
import { isUnderWay } from "./deadline.ts";
import type { Requester, StoreGuard } from "./guard.ts";
import type { PendingTally } from "./pending.ts";
import { MANY, type Sending, wantsSending } from "./sending.ts";

/** The number of concurrent trips with tallies and refreshes. */
const MOST_TRIPS = 6;
/** The number of tallies that a trip takes along, of several circuits. */
const MOST_TALLIES = 64;
/** The number of rounds in which a trip sends waiting tallies: its request has to end some time. */
const MOST_ROUNDS = 16;

/** The fate of a tally that was sent. */
export type Delivery = "taken" | "refused" | "unreached" | "given up";

/** A circuit that has tallies to send. */
export interface Sender extends Requester {
  /** Returns the facts that decide whether to send. */
  sending(): Sending;
  /** Seals the gathered outcomes as a tally. Returns how many tallies wait. */
  seal(now: number): number;
  /**
   * Hands over sealed tallies, at most this many, to be delivered in this turn.
   *
   * @param always `true` to hand them over even during a back-off.
   */
  take(now: number, most: number, always: boolean): readonly PendingTally[];
  /** Sends a tally that was handed over, unless it has waited too long. Never rejects. */
  deliver(tally: PendingTally, now: number): Promise<Delivery>;
}

/** A tally, and its circuit. */
type Load = readonly [sender: Sender, tally: PendingTally];

/** Circuits, and the number of their tallies to send. */
type Owed = Map<Sender, number>;

/** A place, until when it may be taken, in ms. */
export interface Place {
  until: number;
}

/** The trips to one store. */
export class Trips {
  readonly #driver: Driver;
  readonly #guard: StoreGuard;
  readonly #clock: Clock;
  /** The circuits that wait to be taken along. */
  readonly #waiting: Owed = new Map();
  #places: Place[] = [];

  constructor(driver: Driver, guard: StoreGuard, clock: Clock) {
    this.#driver = driver;
    this.#guard = guard;
    this.#clock = clock;
  }

  /** How many tallies go in one trip. Without `together`, each is a trip of its own. */
  get #capacity(): number {
    return this.#driver.together === undefined ? 1 : MOST_TALLIES;
  }

  /** Takes a place for a trip, or returns `null` if there is none. */
  takePlace(now: number): Place | null {
    const { timeoutMs } = this.#guard;
    this.#places = this.#places.filter(({ until }) => isUnderWay(until, now, 2 * timeoutMs));
    if (this.#places.length >= MOST_TRIPS) return null;
    const place = { until: now + timeoutMs };
    this.#places.push(place);
    return place;
  }

  /** Returns a place. */
  leave(place: Place): void {
    this.#places = this.#places.filter((held) => held !== place);
  }

  /** Makes a trip on its way take a circuit's pending outcomes along. */
  await(sender: Sender): void {
    this.#waiting.set(sender, Infinity);
  }

  /**
   * Sends what a circuit has pending in the background, in trips that follow each other while there is
   * something to take along. Returns what must be waited for.
   *
   * @param wants `false` to leave it to a trip that is under way.
   * @param failure On a Worker, whose requests may die: a failure that this request looks after until it
   * is sent.
   */
  dispatch(
    sender: Sender,
    unit: Unit,
    now: number,
    wants: boolean,
    failure: PendingTally | null,
  ): Promise<void> | undefined {
    const work = async () => {
      const isLeft = wants && await this.send(sender, now);
      if (isLeft && unit.holder === "process") {
        this.dispatch(sender, unit, this.#clock(), true, null);
      }
      const waits = () => failure !== null && sender.sending().pending.unsent.includes(failure);
      if (!waits()) return;
      // An isolate that holds back sends it after that time, also if there is no other call.
      const { holdMs } = sender.sending();
      for await (const _ of looks(holdMs + this.#guard.timeoutMs, holdMs || 10)) {
        now = this.#clock();
        if (!waits() || this.#guard.blocks("writes", sender, now)) return;
        await this.goOn(sender, now);
      }
    };
    return unit.background(work()) as Promise<void> | undefined;
  }

  /** Sends what a circuit has pending, if this is the moment. */
  async goOn(sender: Sender, now = this.#clock()): Promise<void> {
    if (wantsSending(sender.sending(), now)) await this.send(sender, now);
  }

  /**
   * Sends what a circuit has pending, or has it taken along by a trip that is under way. Returns `true`
   * if things wait that the trip may not take along any more.
   */
  async send(sender: Sender, now: number, place = this.takePlace(now)): Promise<boolean> {
    // Where many wait, what is gathered could not go along, and gathers on.
    if (sender.sending().pending.unsent.length <= MANY) sender.seal(now);
    this.await(sender);
    if (place === null) return false;
    try {
      for (let round = 0; round < MOST_ROUNDS; round++) {
        const load = loadFrom(this.#waiting, this.#capacity, now, false);
        if (load.length === 0) return false;
        await this.#deliver(load, now);
        now = this.#clock();
        if (this.#guard.blocks("writes", null, now)) return false;
        for (const [sender] of load) if (wantsSending(sender.sending(), now)) this.await(sender);
        place.until = now + this.#guard.timeoutMs;
      }
      for (const waiting of this.#waiting.keys()) {
        if (wantsSending(waiting.sending(), now)) return true;
      }
      return false;
    } finally {
      this.leave(place);
    }
  }

  /**
   * Sends all pending outcomes of these circuits, in waves, also during a back-off. Stops at the
   * first wave that does not reach the store.
   */
  async flush(senders: readonly Sender[]): Promise<void> {
    const wave = MOST_TRIPS * this.#capacity;
    const owed: Owed = new Map();
    for (let next = 0; next < senders.length || owed.size > 0;) {
      const now = this.#clock();
      // Circuits have their turn wave by wave: to seal 100 000 at once would hold up every call. Each
      // owes as many as it has then: what is refused waits again, and calls go on.
      for (; next < senders.length && owed.size < wave; next++) {
        const sender = senders[next]!;
        owed.set(sender, sender.seal(now));
      }
      const load = loadFrom(owed, wave, now, true);
      const deliveries = await this.#deliver(load, now);
      if (deliveries.includes("unreached")) return;
      // Failures that gathered while these were under way would otherwise wait for the next call.
      await Promise.all(load.map(([sender]) => this.goOn(sender)));
    }
  }

  async #deliver(load: readonly Load[], now: number): Promise<Delivery[]> {
    return await Promise.all(
      together(
        this.#driver,
        () => load.map(([sender, tally]) => sender.deliver(tally, now)),
      ),
    );
  }
}

/** Takes tallies of the circuits, at most `capacity`. A circuit with more remains. */
function loadFrom(owed: Owed, capacity: number, now: number, always: boolean): Load[] {
  const load: Load[] = [];
  for (const [sender, count] of owed) {
    const left = capacity - load.length;
    if (left === 0) break;
    const most = Math.min(count, left);
    const tallies = sender.take(now, most, always);
    for (const tally of tallies) load.push([sender, tally]);
    if (tallies.length < most || tallies.length === count) owed.delete(sender);
    else owed.set(sender, count - tallies.length);
  }
  return load;
}
