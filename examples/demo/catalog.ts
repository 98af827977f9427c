import { setTimeout as delay } from "node:timers/promises";
import { isCircuitBreakerOpenError } from "@fuse/edge";

/** The settings of the client. */
export interface CallerOptions {
  /** The limit for an attempt. */
  readonly deadlineMs: number;
  /** The number of attempts, the first included. */
  readonly attempts: number;
  /** The longest pause before the second attempt; doubled before each further one. */
  readonly backoffMs: number;
}

/**
 * The application's client of the upstream, as textbooks recommend: a deadline for each attempt,
 * few attempts, growing pauses of random length between them, and the last good answer when all
 * have failed. It is the same with a circuit breaker and without one.
 */
export class Catalog {
  readonly #options: CallerOptions;
  readonly #lastGood = new Map<string, { readonly text: string; readonly at: number }>();

  constructor(options: CallerOptions) {
    this.#options = options;
  }

  /**
   * Fetches an item by `send`: the global `fetch`, or a guarded one. The last good answer has an `Age`
   * header. Throws the last attempt's error if there was never a good answer.
   */
  async get(url: string, send: typeof fetch): Promise<Response> {
    try {
      const text = await this.#ask(url, send);
      this.#keep(url, text);
      return new Response(text);
    } catch (error) {
      const last = this.#lastGood.get(url);
      if (!last) throw error;
      const ageS = Math.floor((Date.now() - last.at) / 1000);
      return new Response(last.text, { headers: { age: `${ageS}` } });
    }
  }

  async #ask(url: string, send: typeof fetch): Promise<string> {
    const { deadlineMs, attempts, backoffMs } = this.#options;
    for (let attempt = 1;; attempt++) {
      try {
        const response = await send(url, { signal: AbortSignal.timeout(deadlineMs) });
        const text = await response.text();
        if (response.ok) return text;
        throw new Error(`The upstream answered ${response.status}`);
      } catch (error) {
        // An open circuit rejects until its cooldown has passed, so a retry is useless.
        if (isCircuitBreakerOpenError(error) || attempt === attempts) throw error;
        await delay(Math.random() * backoffMs * 2 ** (attempt - 1));
      }
    }
  }

  #keep(url: string, text: string): void {
    this.#lastGood.delete(url); // so that the map is in the order of use
    this.#lastGood.set(url, { text, at: Date.now() });
    if (this.#lastGood.size > 1000) this.#lastGood.delete(this.#lastGood.keys().next().value!);
  }
}
