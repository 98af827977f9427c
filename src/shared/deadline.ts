/**
 * The deadline of a request to a store, and moments that lapse.
 *
 * @module
 */

import type { Awaitable } from "../contract.ts";

/**
 * Sends a request, at once and in this turn, and waits for the answer for at most `timeoutMs`. If the
 * timer itself fires late, because this isolate was busy, the store gets as long again, once: own load is
 * not an outage.
 *
 * @throws {Error} If there is no answer in time.
 */
export async function withDeadline<T>(send: () => Awaitable<T>, timeoutMs: number): Promise<T> {
  const answer = send();
  if (!(answer instanceof Promise)) return answer;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const deadline = new Promise<never>((_, reject) => {
    const miss = () => reject(new Error(`No answer within ${timeoutMs} ms`));
    // Real time, not the Fuse's clock, because the timer uses it.
    const sentAt = Date.now();
    timer = setTimeout(() => {
      const lateMs = Date.now() - sentAt - timeoutMs;
      if (lateMs < 1) return miss();
      timer = setTimeout(miss, Math.min(lateMs, timeoutMs));
    }, timeoutMs);
  });
  try {
    return await Promise.race([answer, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits for a promise for a number of ms. Returns `null` after that; the promise is not canceled. */
export async function within<T>(promise: Promise<T>, ms: number): Promise<T | null> {
  if (ms === Infinity) return await promise;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const over = new Promise<null>((resolve) => timer = setTimeout(() => resolve(null), ms));
  try {
    return await Promise.race([promise, over]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Returns `true` while a marker holds: a moment in ms, at most `atMost` ahead. A marker further ahead
 * was set by a clock that has since gone back.
 */
export function isUnderWay(until: number, now: number, atMost: number): boolean {
  return now < until && until - now <= atMost;
}
