/**
 * The requests for admission to one circuit that are on their way, so that many callers at once send
 * the store few requests.
 *
 * Moments and tokens, no promises: a request of a Worker may die before any `finally`, and nobody is
 * woken by another request. A moment lapses.
 *
 * @module
 */

import type { Clock, Snapshot } from "../contract.ts";
import { newId } from "../records.ts";
import { isShut } from "../rules/machine.ts";
import { isUnderWay } from "./deadline.ts";

/** A request that may be on its way, with the token of the half-open slot that it may hold. */
export interface Ask {
  readonly token: string;
  /** Until when it may be under way, in ms; 0 for one that is over and may have left its slot taken. */
  until: number;
}

/** How often callers may ask within one timeout while the circuit is unknown. */
const MOST_IN_TIMEOUT = 6;

/** How many callers ask at once while the circuit is unknown. */
export const MOST_COLD = 2;

/** How many lost tokens are remembered. */
const MOST_LOST = 8;

/** `until` of an ask that is not noted. */
const UNNOTED = -1;

/** The asks of one circuit. All moments are in ms on this isolate's clock. */
export class Asks {
  #asks: readonly Ask[] = [];
  /** When the last asks began, the newest last. */
  #began: readonly number[] = [];

  /** `true` if nothing need be remembered. */
  get empty(): boolean {
    return this.#asks.length === 0;
  }

  /** Returns how many asks may be under way. */
  underWay(now: number, timeoutMs: number): number {
    return this.#asks.filter(({ until }) => isUnderWay(until, now, timeoutMs)).length;
  }

  /**
   * Notes an ask that is about to be sent.
   *
   * @param most How many may be under way at once. With `Infinity`, this one is not noted.
   * @returns The ask, with the token to ask for; `null` if so many are under way. A token whose ask
   * lapsed or failed is asked for again: it may hold a slot although no answer said so.
   */
  begin(now: number, timeoutMs: number, most: number): Ask | null {
    if (most === Infinity) return this.#beginUnnoted();
    if (this.underWay(now, timeoutMs) >= most) return null;
    this.#began = [...this.#began, now].slice(-MOST_IN_TIMEOUT);
    const lost = this.#asks.find(({ until }) => !isUnderWay(until, now, timeoutMs));
    const ask = { token: this.#takeOver(lost), until: now + timeoutMs };
    this.#asks = [...this.#asks, ask];
    return ask;
  }

  #beginUnnoted(): Ask {
    return { token: this.#takeOver(this.#asks.find(({ until }) => until === 0)), until: UNNOTED };
  }

  /** Takes the token of a lost ask, which no longer owns it; a new token without one. */
  #takeOver(lost: Ask | undefined): string {
    if (lost === undefined) return newId();
    this.#remove(lost);
    return lost.token;
  }

  /** Returns `true` if a caller may ask about an unknown circuit although others do. */
  mayAskBeside(now: number, timeoutMs: number): boolean {
    const last = this.#began.at(-1) ?? -Infinity;
    const recent = this.#began.filter((at) => at <= now && now - at < timeoutMs).length;
    return now - last >= timeoutMs / 4 && recent < MOST_IN_TIMEOUT;
  }

  /**
   * Ends an ask whose answer is used: a trial holds its slot, or nobody holds one.
   *
   * @returns `false` if the token is no longer its own: another ask has taken it over.
   */
  end(ask: Ask): boolean {
    return this.#remove(ask) || ask.until === UNNOTED;
  }

  /** Ends an ask whose token may hold an unused slot: the next ask uses the token again. */
  lose(ask: Ask): void {
    if (!this.end(ask) || this.#asks.length >= MOST_LOST) return;
    this.#asks = [...this.#asks, { ...ask, until: 0 }];
  }

  #remove(ask: Ask): boolean {
    const held = this.#asks.includes(ask);
    if (held) this.#asks = this.#asks.filter((other) => other !== ask);
    return held;
  }
}

/**
 * Waits, by timers of its own, until the caller may ask about an unknown circuit, or it is known.
 *
 * @param isKnown Returns `true` once the caller need not ask.
 * @returns `expired` if neither happened within `timeoutMs`; and the rest of that time, in ms.
 */
export async function turnToAsk(
  asks: Asks,
  clock: Clock,
  timeoutMs: number,
  isKnown: () => boolean,
): Promise<{ readonly turn: "ask" | "known" | "expired"; readonly leftMs: number }> {
  for await (const leftMs of looks(timeoutMs)) {
    if (isKnown()) return { turn: "known", leftMs };
    if (leftMs === 0) break;
    const now = clock();
    if (asks.underWay(now, timeoutMs) < MOST_COLD || asks.mayAskBeside(now, timeoutMs)) {
      return { turn: "ask", leftMs };
    }
  }
  return { turn: "expired", leftMs: 0 };
}

/**
 * Waits for 10, 20, 40, 80, 80 … ms, by timers of its own, until `timeoutMs` have passed. Yields the
 * remaining ms each time.
 *
 * @param delayMs The first wait.
 */
export async function* looks(timeoutMs: number, delayMs = 10): AsyncGenerator<number> {
  for (let waitedMs = 0; waitedMs < timeoutMs; delayMs = Math.min(80, 2 * delayMs)) {
    const ms = Math.min(delayMs, timeoutMs - waitedMs);
    await new Promise<void>((resolve) => void setTimeout(resolve, ms));
    waitedMs += ms;
    yield timeoutMs - waitedMs;
  }
}

/** Returns `true` if an `acquire` may write: not while CLOSED, nor during a cooldown. */
export function mayMove(s: Snapshot | null, storeNow: number): boolean {
  return s !== null && s.state !== "CLOSED" && s.override === null && !isShut(s, storeNow);
}
