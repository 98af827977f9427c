/**
 * Background trips to a store: few at once, each with as many tallies as the driver takes along.
 *
 * Places are moments that lapse, and nobody waits for one: what waits is taken along by a trip that is
 * under way, in that trip's own request.
 *
 * @module
 */

import type { Clock, Driver } from "../contract.ts";
import { together } from "../records.ts";
import type { StoreGuard } from "./guard.ts";
import type { PendingTally } from "./pending.ts";

/** How many trips carry tallies and refreshes at once. */
const MOST_TRIPS = 6;
/** How many tallies a trip takes along, of several circuits. */
const MOST_TALLIES = 64;
/** How often a trip goes on with what waits: its request has to end some time. */
const MOST_ROUNDS = 16;

/** What became of a tally that was sent. */
export type Delivery = "taken" | "refused" | "unreached";

/** A circuit that has tallies to send. */
export interface Sender {
  /** Seals what is gathered: it is to be sent as it is. */
  seal(): void;
  /**
   * Hands over sealed tallies, at most so many.
   *
   * @param always `true` to hand them over even while the store is left alone.
   */
  take(now: number, most: number, always: boolean): readonly PendingTally[];
  /** Takes back tallies that were not sent. */
  giveBack(tallies: readonly PendingTally[]): void;
  /** Sends a tally that was handed over. Never rejects. */
  deliver(tally: PendingTally, now: number): Promise<Delivery>;
}

/** A tally, and whose it is. */
type Load = readonly [sender: Sender, tally: PendingTally];

/** A place, until when it may be taken, in ms. */
interface Place {
  until: number;
}

/** The trips to one store. */
export class Trips {
  readonly #driver: Driver;
  readonly #guard: StoreGuard;
  readonly #clock: Clock;
  readonly #waiting = new Set<Sender>();
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
    this.#places = this.#places.filter(({ until }) => now < until && until - now <= 2 * timeoutMs);
    if (this.#places.length >= MOST_TRIPS) return null;
    const place = { until: now + timeoutMs };
    this.#places.push(place);
    return place;
  }

  /** Gives a place back. */
  leave(place: Place): void {
    this.#places = this.#places.filter((held) => held !== place);
  }

  /** Sends what a circuit has pending, or has it taken along by a trip that is under way. */
  async send(sender: Sender, now: number): Promise<void> {
    sender.seal();
    this.#waiting.add(sender);
    const place = this.takePlace(now);
    if (place === null) return;
    try {
      for (let round = 0; round < MOST_ROUNDS; round++) {
        const load = this.#load(now, this.#capacity);
        if (load.length === 0) break;
        await this.#deliver(load, now);
        now = this.#clock();
        if (this.#guard.blocks("writes", null, now)) break;
        place.until = now + this.#guard.timeoutMs;
      }
    } finally {
      this.leave(place);
    }
  }

  /**
   * Sends all that these circuits have pending, in waves, also while the store is left alone. Ends with
   * the first wave that does not reach the store.
   */
  async flush(senders: readonly Sender[]): Promise<void> {
    const now = this.#clock();
    const all = senders.flatMap((sender) => {
      sender.seal();
      return sender.take(now, Infinity, true).map((tally): Load => [sender, tally]);
    });
    const wave = MOST_TRIPS * this.#capacity;
    for (let i = 0; i < all.length; i += wave) {
      const deliveries = await this.#deliver(all.slice(i, i + wave), this.#clock());
      if (!deliveries.includes("unreached")) continue;
      for (const [sender, tally] of all.slice(i + wave)) sender.giveBack([tally]);
      return;
    }
  }

  /** Takes tallies of the circuits that wait. A circuit that has more goes on waiting. */
  #load(now: number, capacity: number): Load[] {
    const load: Load[] = [];
    for (const sender of this.#waiting) {
      const left = capacity - load.length;
      if (left === 0) break;
      const tallies = sender.take(now, left, false);
      for (const tally of tallies) load.push([sender, tally]);
      if (tallies.length < left) this.#waiting.delete(sender);
    }
    return load;
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
