/**
 * Replaces time and chance for the code under test: deadlines are events of the simulation, and
 * random numbers follow from the seed.
 *
 * @module
 */
import { seeded, type VirtualTime } from "../../support/virtual_time.ts";

/**
 * Runs work in a world whose timers, `Date.now`, `Math.random` and `crypto.getRandomValues` belong
 * to the simulation. One at a time, because these globals are shared.
 */
export async function inVirtualTime<T>(
  time: VirtualTime,
  random: () => number,
  work: () => Promise<T>,
): Promise<T> {
  const { setTimeout, clearTimeout } = globalThis;
  const { random: mathRandom } = Math;
  const { now } = Date;
  // Drawn once in a process, for the ids of all worlds: it uses up no number of theirs.
  const ids = seeded(1);
  const cancels = new Map<number, () => void>();
  let timers = 0;
  const globals = globalThis as unknown as Record<string, unknown>;
  globals.setTimeout = (task: () => void, ms = 0) => {
    const timer = ++timers;
    const fire = () => {
      cancels.delete(timer);
      task();
    };
    cancels.set(timer, time.after(ms, fire));
    return timer;
  };
  globals.clearTimeout = (timer: number) => {
    cancels.get(timer)?.();
    cancels.delete(timer);
  };
  Math.random = random;
  Date.now = time.now;
  Object.defineProperty(crypto, "getRandomValues", {
    configurable: true,
    value: (array: Uint32Array) => array.map(() => ids() * 2 ** 32),
  });
  try {
    return await work();
  } finally {
    Object.assign(globalThis, { setTimeout, clearTimeout });
    Math.random = mathRandom;
    Date.now = now;
    delete (crypto as unknown as Record<string, unknown>).getRandomValues;
  }
}

/**
 * Returns a number in [0, 1) that depends on these integers alone: numbers drawn elsewhere do not
 * move it.
 */
export function chance(...from: readonly number[]): number {
  let hash = 0x811c9dc5;
  for (const part of from) {
    // Both halves of a possible time in ms.
    for (const half of [part | 0, Math.floor(part / 2 ** 32) | 0]) {
      hash = Math.imul(hash ^ half, 0x01000193);
      hash ^= hash >>> 15;
      hash = Math.imul(hash, 0x2c1b3c6d);
      hash ^= hash >>> 12;
    }
  }
  hash = Math.imul(hash, 0x297a2d39);
  return ((hash ^ (hash >>> 15)) >>> 0) / 2 ** 32;
}
