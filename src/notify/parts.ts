/**
 * The parts of the platform that notices need.
 *
 * @module
 */

import type { Clock } from "../contract.ts";

/** A clock and timers. */
export interface Parts {
  readonly clock: Clock;
  /**
   * Calls back after a number of ms. Returns a function that prevents it. Does not keep the process
   * alive.
   */
  after(ms: number, work: () => void): () => void;
  /** Waits a number of ms. */
  sleep(ms: number): Promise<void>;
  /** Returns a random number from 0 to 1. */
  random(): number;
  /** `true` if work is dropped once the response is sent, unless `waitUntil` holds it. */
  readonly isWorker: boolean;
}

/** The platform's own. Nothing runs until it is called. */
export const PLATFORM: Parts = {
  clock: () => Date.now(),
  after(ms, work) {
    const timer: unknown = setTimeout(work, ms);
    const { Deno } = globalThis as { Deno?: { unrefTimer?(timer: unknown): void } };
    if (typeof timer === "object") (timer as { unref?(): void }).unref?.();
    else Deno?.unrefTimer?.(timer);
    return () => clearTimeout(timer as number);
  },
  sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  random: () => Math.random(),
  isWorker: globalThis.navigator?.userAgent === "Cloudflare-Workers",
};
