/**
 * Keeps a store that does not answer from hurting: every request has a deadline, and after a
 * failure the store is left alone for a growing interval. Values only, no promise is kept.
 *
 * @module
 */

import { memory } from "../../drivers/memory.ts";
import { StoreUnavailableError } from "../errors.ts";
import type { Events } from "../events.ts";
import type { CircuitIdentity } from "../key.ts";
import type { Awaitable, Clock, Store } from "../contract.ts";

/** First interval after a failure, in ms, doubled with each further one. */
const FIRST_INTERVAL_MS = 1000;
const LONGEST_INTERVAL_MS = 30_000;

/** One for each named store of a Fuse. */
export class StoreGuard {
  readonly timeoutMs: number;
  readonly #name: string;
  readonly #clock: Clock;
  readonly #events: Events;
  #failures = 0;
  #leftAloneUntil = 0;
  #local: Store | null = null;

  constructor(name: string, timeoutMs: number, clock: Clock, events: Events) {
    this.#name = name;
    this.timeoutMs = timeoutMs;
    this.#clock = clock;
    this.#events = events;
  }

  /** Whether the last that was heard of the store is a failure. */
  get failing(): boolean {
    return this.#failures > 0;
  }

  /** Whether the store is being left alone. A moment too far off was set by a clock that went back. */
  down(now: number): boolean {
    const left = this.#leftAloneUntil - now;
    return this.#failures > 0 && left > 0 && left <= LONGEST_INTERVAL_MS + this.timeoutMs;
  }

  /** Where this isolate's own breakers live while the store does not answer. */
  get local(): Store {
    return this.#local ??= memory({ clock: this.#clock });
  }

  /** What a call is told that needs the store. */
  unavailable(now: number): StoreUnavailableError {
    return new StoreUnavailableError(
      this.#name,
      Math.max(1, Math.ceil(this.#leftAloneUntil - now)),
    );
  }

  /**
   * Asks the store, at once and in this turn, and waits for at most `timeoutMs`.
   *
   * @param circuit Whose request it is; none of a request for many.
   * @throws {StoreUnavailableError} If it failed, did not answer in time, or is being left alone.
   */
  async run<T>(
    operation: string,
    ask: () => Awaitable<T>,
    circuit?: CircuitIdentity,
  ): Promise<T> {
    const now = this.#clock();
    if (this.down(now)) throw this.unavailable(now);
    const probing = this.#failures > 0;
    // One at a time finds out whether it is back. A timestamp lapses where a lock would not.
    if (probing) this.#leftAloneUntil = now + this.timeoutMs;
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      const answer = ask();
      if (!(answer instanceof Promise)) return this.#answered(answer);
      const deadline = new Promise<never>((_, reject) => {
        timer = setTimeout(
          () => reject(new Error(`No answer within ${this.timeoutMs} ms`)),
          this.timeoutMs,
        );
      });
      return this.#answered(await Promise.race([answer, deadline]));
    } catch (error) {
      throw this.#failed(operation, error, probing, circuit);
    } finally {
      clearTimeout(timer);
    }
  }

  #answered<T>(answer: T): T {
    if (this.#failures > 0) {
      this.#failures = 0;
      this.#events.emit("store_recovered", { store: this.#name });
    }
    return answer;
  }

  #failed(
    operation: string,
    error: unknown,
    probing: boolean,
    circuit: CircuitIdentity | undefined,
  ): StoreUnavailableError {
    const now = this.#clock();
    // Requests that were out together fail together: that is one failure.
    if (probing || !this.down(now)) {
      const interval = Math.min(LONGEST_INTERVAL_MS, FIRST_INTERVAL_MS * 2 ** this.#failures++);
      this.#leftAloneUntil = now + Math.ceil(interval * (1 + Math.random()) / 2);
      const { retryAfterMs } = this.unavailable(now);
      const detail = { store: this.#name, operation, error, retryAfterMs };
      this.#events.emit("store_error", circuit ? { ...detail, circuit: { ...circuit } } : detail);
    }
    return this.unavailable(now);
  }
}
