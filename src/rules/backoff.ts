/**
 * Cooldowns that grow.
 *
 * @module
 */

import { known, MAX_TIMER_MS, refuse } from "../checks.ts";
import type { Cooldown } from "./policy.ts";

/** Options of {@linkcode backoff}. */
export interface BackoffOptions {
  /** Length of the first opening, in ms. From 1 to 2 147 483 647. */
  baseMs: number;
  /**
   * The factor by which each reopening is longer than the previous one. From 1 to 1000.
   *
   * @default {2}
   */
  factor?: number | undefined;
  /**
   * The longest opening, in ms. At least 1. The circuit's own `maxCooldownMs` applies as well.
   *
   * @default {600_000}
   */
  maxMs?: number | undefined;
  /**
   * The random share of an opening, from 0 (none) to 1 (all): it lasts between `(1 - jitter)` and 1
   * times its length. `random` of the Fuse draws it, once for each opening.
   *
   * @default {0}
   */
  jitter?: number | undefined;
}

/**
 * Returns a cooldown that grows with every reopening: `baseMs × factor^reopenCount`, at most
 * `maxMs`.
 *
 * @param options See {@linkcode BackoffOptions}.
 * @returns A value for `cooldownMs`.
 * @throws {RangeError | TypeError} Naming the option, what came and what is allowed.
 *
 * @example
 * ```ts
 * import { backoff } from "@fuse/edge";
 * import { assertEquals } from "@std/assert";
 *
 * const cooldown = backoff({ baseMs: 1000, factor: 3, maxMs: 20_000 });
 * assertEquals([0, 1, 2, 3].map(cooldown), [1000, 3000, 9000, 20_000]);
 * ```
 */
export function backoff(options: BackoffOptions): Cooldown {
  known("backoff", options, ["baseMs", "factor", "maxMs", "jitter"]);
  const { baseMs, factor = 2, maxMs = 600_000, jitter = 0 } = options;
  const bounds: [string, number, number, number][] = [
    ["baseMs", baseMs, 1, MAX_TIMER_MS],
    ["factor", factor, 1, 1000],
    ["maxMs", maxMs, 1, Number.MAX_SAFE_INTEGER],
    ["jitter", jitter, 0, 1],
  ];
  for (const [option, value, min, max] of bounds) {
    if (typeof value !== "number" || !(value >= min && value <= max)) {
      refuse("backoff", option, `a number from ${min} to ${max}`, value);
    }
  }
  return (reopenCount) => {
    const ms = Math.min(maxMs, baseMs * factor ** reopenCount);
    return Math.max(1, Math.round(ms * (1 - jitter * (draw ?? Math.random)())));
  };
}

/** Draws the jitter while a circuit asks for a cooldown. */
let draw: (() => number) | undefined;

/** Returns what a cooldown function returns. `random` draws the jitter of `backoff()`, also inside it. */
export function cooldownBy(random: () => number, cooldown: Cooldown, reopenCount: number): number {
  const outer = draw;
  draw = random;
  try {
    return cooldown(reopenCount);
  } finally {
    draw = outer;
  }
}
