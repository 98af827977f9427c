/**
 * Counts by moment.
 *
 * @module
 */

/** The length of a tick in ms: a second has ten. */
const TICK_MS = 100;
const IN_SECOND = 1_000 / TICK_MS;

/** How much happened in each tenth of a second. */
export class Ticks {
  readonly #counts: number[] = [];

  /** @param at In ms of the play. */
  add(at: number): void {
    const tick = Math.floor(at / TICK_MS);
    while (this.#counts.length <= tick) this.#counts.push(0);
    this.#counts[tick]!++;
  }

  /** Returns how much happened from one moment until another. */
  sum(from: number, to: number): number {
    let sum = 0;
    for (let tick = tickOf(from); tick < tickOf(to); tick++) sum += this.#counts[tick] ?? 0;
    return sum;
  }

  /** Returns the most that happened in any second that lies between two moments: seconds begin with each tick. */
  most(from: number, to: number): number {
    let most = 0;
    for (let tick = tickOf(from); tick + IN_SECOND <= tickOf(to); tick++) {
      most = Math.max(most, this.sum(tick * TICK_MS, tick * TICK_MS + 1_000));
    }
    return most;
  }

  /** Returns how much happened in each second. */
  seconds(until: number): number[] {
    return Array.from(
      { length: Math.ceil(until / 1_000) },
      (_, s) => this.sum(s * 1_000, (s + 1) * 1_000),
    );
  }
}

function tickOf(at: number): number {
  return Math.ceil(at / TICK_MS);
}
