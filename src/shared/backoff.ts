/**
 * When to leave a failing store alone, and for how long.
 *
 * @module
 */

/** The interval after the first failure, in ms. Each further failure doubles it. */
const FIRST_INTERVAL_MS = 1_000;
const LONGEST_INTERVAL_MS = 30_000;

/**
 * The back-off of one store. Holds values only: it starts no timer, and the caller gives the time,
 * in ms, on a clock of its choice.
 *
 * After a failure the store is left alone for 1 s, doubled with each further failure up to 30 s. Half of
 * each interval is random, so that isolates do not return together. When an interval has passed, one
 * request at a time probes whether the store is back.
 */
export class Backoff {
  readonly #timeoutMs: number;
  #failures = 0;
  #until = 0;

  /** @param timeoutMs The deadline of a request, in ms: a probe keeps others off for as long. */
  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** Whether the last answer was a failure. */
  get failing(): boolean {
    return this.#failures > 0;
  }

  /** Whether the store is being left alone. */
  down(now: number): boolean {
    const left = this.leftMs(now);
    // A moment further off was set by a clock that has since gone back.
    return this.failing && left > 0 && left <= LONGEST_INTERVAL_MS + this.#timeoutMs;
  }

  /** How long the store is still to be left alone, in ms. Negative once the interval has passed. */
  leftMs(now: number): number {
    return this.#until - now;
  }

  /**
   * Begins a request.
   *
   * @returns Whether the request probes if the store is back. Until `timeoutMs` have passed, all
   * others are kept off: a moment lapses where a lock would not.
   */
  probe(now: number): boolean {
    if (this.failing) this.#until = now + this.#timeoutMs;
    return this.failing;
  }

  /**
   * Takes note of an answer.
   *
   * @returns Whether the answer ends an outage.
   */
  answered(): boolean {
    const recovered = this.failing;
    this.#failures = 0;
    return recovered;
  }

  /**
   * Takes note of a failure. Requests that were under way together fail together and count as one.
   *
   * @param request What `probe()` returned for the request that failed.
   * @returns Whether the failure began a new interval.
   */
  failed(now: number, { probing }: { readonly probing: boolean }): boolean {
    if (!probing && this.down(now)) return false;
    const intervalMs = Math.min(LONGEST_INTERVAL_MS, FIRST_INTERVAL_MS * 2 ** this.#failures++);
    this.#until = now + Math.ceil(intervalMs * (1 + Math.random()) / 2);
    return true;
  }
}
