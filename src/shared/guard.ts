/**
 * Protects callers from a store that does not answer: every request has a deadline, and after a
 * failure the store is left alone for a growing interval. Holds values only, never a promise.
 *
 * @module
 */

import { StoreUnavailableError } from "../errors.ts";
import type { Events } from "../events.ts";
import type { CircuitIdentity } from "../key.ts";
import type { Awaitable, Clock } from "../contract.ts";
import { Backoff } from "./backoff.ts";

/** One for each named store of a Fuse. */
export class StoreGuard {
  readonly timeoutMs: number;
  readonly #name: string;
  readonly #clock: Clock;
  readonly #events: Events;
  readonly #backoff: Backoff;

  constructor(name: string, timeoutMs: number, clock: Clock, events: Events) {
    this.#name = name;
    this.timeoutMs = timeoutMs;
    this.#clock = clock;
    this.#events = events;
    this.#backoff = new Backoff(timeoutMs);
  }

  /** Whether the last answer of the store was a failure. */
  get failing(): boolean {
    return this.#backoff.failing;
  }

  /** Whether the store is being left alone. */
  down(now: number): boolean {
    return this.#backoff.down(now);
  }

  /** Returns the error for a call that needs the store while the store is left alone. */
  unavailable(now: number): StoreUnavailableError {
    return new StoreUnavailableError(
      this.#name,
      Math.max(1, Math.ceil(this.#backoff.leftMs(now))),
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
    const probing = this.#backoff.probe(now);
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
    if (this.#backoff.answered()) this.#events.emit("store_recovered", { store: this.#name });
    return answer;
  }

  #failed(
    operation: string,
    error: unknown,
    probing: boolean,
    circuit: CircuitIdentity | undefined,
  ): StoreUnavailableError {
    const now = this.#clock();
    if (this.#backoff.failed(now, { probing })) {
      const { retryAfterMs } = this.unavailable(now);
      const detail = { store: this.#name, operation, error, retryAfterMs };
      this.#events.emit("store_error", circuit ? { ...detail, circuit: { ...circuit } } : detail);
    }
    return this.unavailable(now);
  }
}
