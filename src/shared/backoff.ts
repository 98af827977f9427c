/**
 * When to leave alone what keeps failing, and for how long.
 *
 * @module
 */

import { isUnderWay } from "./deadline.ts";

/** The interval after the first failure, in ms. Each further failure doubles it. */
const FIRST_INTERVAL_MS = 1_000;
const LONGEST_INTERVAL_MS = 30_000;

/**
 * The back-off of a store, of one kind of requests to it, or of one circuit. Holds values only: it starts
 * no timer, and the caller gives the time, in ms, on a clock of its choice.
 *
 * After a failure there is an interval of 1 s, doubled with each further failure up to 30 s. Half of each
 * interval is random, so that isolates do not return together. When an interval has passed, one request
 * at a time probes. A success ends the interval. The next one is shorter by a step once there have been
 * successes, and no failure, for as long as that shorter interval: something that answers now and then is
 * left alone for longer and longer.
 */
export class Backoff {
  readonly #timeoutMs: number;
  readonly #random: () => number;
  /** How often the first interval is doubled. */
  #level = 0;
  #failing = false;
  #until = 0;
  /** Since when it has answered at the present level, in ms. */
  #answeringSince = 0;

  /**
   * @param timeoutMs The deadline of a request, in ms: a probe keeps others off for as long.
   * @param random Draws the random half of an interval. By default, `Math.random`.
   */
  constructor(timeoutMs: number, random: () => number = () => Math.random()) {
    this.#timeoutMs = timeoutMs;
    this.#random = random;
  }

  /** `true` if the last answer was a failure. */
  get failing(): boolean {
    return this.#failing;
  }

  /** Returns `true` while requests are to be held back. */
  down(now: number): boolean {
    return this.#failing && isUnderWay(this.#until, now, LONGEST_INTERVAL_MS + this.#timeoutMs);
  }

  /** Returns how long requests are still to be held back, in ms. Negative once the interval has passed. */
  leftMs(now: number): number {
    return this.#until - now;
  }

  /**
   * Begins a request.
   *
   * @returns `true` if the request is a probe. Until `timeoutMs` have passed, all others are held back: a
   * moment lapses where a lock would not.
   */
  probe(now: number): boolean {
    if (this.#failing) this.#until = now + this.#timeoutMs;
    return this.#failing;
  }

  /** Notes that a probe was answered, and proved nothing: the next request is a probe, too. */
  inconclusive(now: number): void {
    this.#until = Math.min(this.#until, now);
  }

  /** Notes an answer, which ends a row of failures. */
  answered(now: number): void {
    // A clock that went back does not tell for how long.
    if (this.#failing || now < this.#answeringSince) this.#answeringSince = now;
    this.#failing = false;
    while (this.#level > 0 && now - this.#answeringSince >= intervalMs(this.#level - 1)) {
      this.#answeringSince += intervalMs(--this.#level);
    }
  }

  /**
   * Notes a failure. Requests that were under way together fail together and count as one.
   *
   * @param request What `probe()` returned for the request that failed.
   * @returns `true` if the failure began a new interval.
   */
  failed(now: number, { probing }: { readonly probing: boolean }): boolean {
    if (!probing && this.down(now)) return false;
    const longest = intervalMs(this.#level);
    if (longest < LONGEST_INTERVAL_MS) this.#level++;
    this.#failing = true;
    this.#until = now + Math.ceil(longest * (1 + this.#random()) / 2);
    return true;
  }
}

/** Returns how long an interval is at most that begins at a level. */
function intervalMs(level: number): number {
  return Math.min(LONGEST_INTERVAL_MS, FIRST_INTERVAL_MS * 2 ** level);
}
