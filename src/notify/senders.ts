/**
 * Sends notices over channels: each separately, with retries, behind a circuit of its own.
 *
 * @module
 */

import type { CircuitBreaker } from "../circuit_breaker.ts";
import { isCallTimeoutError, isCircuitBreakerOpenError } from "../errors.ts";
import { createFuse } from "../fuse.ts";
import { isDeliveryError } from "./channels.ts";
import type { Channel } from "./channels.ts";
import type { Telling } from "./notices.ts";
import type { Parts } from "./parts.ts";

/** The number of attempts, and the first pause, in ms. */
const TRIES = 3;
const PAUSE_MS = 1_000;
/**
 * The longest pause that a receiver may ask for, in ms: for a longer one, the next `drain()` sends.
 */
const MAX_PAUSE_MS = 10_000;
/** The limit of one attempt over a user's channel, in ms. */
const CHANNEL_TIMEOUT_MS = 10_000;
/** The number of notices in one request, and of notices that wait for it. */
const BATCH = 50;
const MAX_WAITING = 1_000;
/** The time after which sending counts as over, in ms: on a Worker, a request may end during it. */
const LAPSE_MS = 60_000;

/** The channels of a notifier. */
export interface Senders {
  readonly all: readonly Sender[];
  /**
   * Sends notices over all channels, and those that arrive meanwhile.
   *
   * @param told Called for each channel with the notices that were sent.
   * @throws {Error} If a channel failed.
   */
  tell(
    tellings: readonly Telling[],
    told: (channel: number, tellings: readonly Telling[]) => Promise<void>,
  ): Promise<void>;
}

/** Makes the senders of channels. Performs no I/O. */
export function makeSenders(channels: readonly Channel[], parts: Parts): Senders {
  const fuse = createFuse({ clock: parts.clock });
  const all = channels.map((channel, i) =>
    new Sender(
      channel,
      i,
      fuse.make(`channel ${i + 1}`, { callTimeoutMs: CHANNEL_TIMEOUT_MS }),
      parts,
    )
  );
  return {
    all,
    async tell(tellings, told) {
      const results = await Promise.allSettled(
        all.map((sender) => sender.gather(tellings, (batch) => told(sender.index, batch))),
      );
      const failed = results.find(({ status }) => status === "rejected");
      if (failed !== undefined) throw (failed as PromiseRejectedResult).reason;
    },
  };
}

/** Sends over one channel. */
export class Sender {
  readonly index: number;
  readonly #channel: Channel;
  readonly #breaker: CircuitBreaker;
  readonly #parts: Parts;
  #waiting: Telling[] = [];
  #dropped = 0;
  /** The time until which another call sends, and takes waiting notices along. */
  #sendingUntil = -Infinity;

  constructor(channel: Channel, index: number, breaker: CircuitBreaker, parts: Parts) {
    this.#channel = channel;
    this.index = index;
    this.#breaker = breaker;
    this.#parts = parts;
  }

  /**
   * Sends notices, or adds them to a call that is sending. Drops notices that cannot be sent.
   *
   * @throws {Error} If a notice was dropped.
   */
  async gather(
    tellings: readonly Telling[],
    told: (batch: readonly Telling[]) => Promise<void>,
  ): Promise<void> {
    this.#waiting.push(...tellings);
    const excess = this.#waiting.length - MAX_WAITING;
    if (excess > 0) this.#dropped += this.#waiting.splice(0, excess).length;
    const { clock } = this.#parts;
    const now = clock();
    // A moment further ahead was written before the clock was set back.
    if (now < this.#sendingUntil && this.#sendingUntil - now <= LAPSE_MS) return;
    let failure: unknown;
    try {
      while (this.#waiting.length > 0) {
        this.#sendingUntil = clock() + LAPSE_MS;
        const batch = this.#waiting.splice(0, BATCH);
        try {
          await this.send(batch);
          await told(batch);
        } catch (error) {
          failure ??= error;
        }
      }
    } finally {
      this.#sendingUntil = -Infinity;
    }
    const dropped = this.#dropped;
    this.#dropped = 0;
    if (failure !== undefined) throw failure;
    if (dropped > 0) {
      throw new Error(`Cannot send ${dropped} notices: more than ${MAX_WAITING} wait`);
    }
  }

  /** @throws {Error} Without any part of the address, or of the channel's error. */
  async send(tellings: readonly Telling[]): Promise<void> {
    const notices = tellings.map(({ notice }) => notice);
    for (let tries = 1;; tries++) {
      const result = await this.#breaker.tryCall(() => this.#channel(notices));
      if (result.ok) return;
      const { error } = result;
      const { passing = true, retryAfterMs = 0 } = isDeliveryError(error) ? error : {};
      if (result.rejected || !passing || tries === TRIES || retryAfterMs > MAX_PAUSE_MS) {
        throw new Error(`Cannot send ${notices.length} notices: ${this.#whyOf(error)}`);
      }
      const pause = PAUSE_MS * 2 ** (tries - 1) * (1 + this.#parts.random() / 2);
      await this.#parts.sleep(Math.max(pause, retryAfterMs));
    }
  }

  #whyOf(error: unknown): string {
    const channel = `channel ${this.index + 1}`;
    if (isDeliveryError(error)) return `${channel}: ${error.message}`;
    if (isCircuitBreakerOpenError(error)) return `${channel} has failed, and its circuit is open`;
    if (isCallTimeoutError(error)) return `${channel} took longer than ${CHANNEL_TIMEOUT_MS} ms`;
    return `${channel} threw`;
  }
}
