import type { Clock } from "../contract.ts";

/** 2025-01-01T00:00:00Z: the start of a second, a minute and a day, so that windows begin there too. */
const DEFAULT_START_MS = 1_735_689_600_000;

/**
 * A clock that stands still until a test moves it.
 *
 * @example Usage
 * ```ts
 * import { FakeClock } from "@fuse/edge/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const clock = new FakeClock(1_000);
 * const { now } = clock; // bound: hand it to `createFuse({ clock: clock.now })`
 * clock.advance(500);
 * assertEquals(now(), 1_500);
 * clock.set(0); // hosts' clocks do go back
 * assertEquals(now(), 0);
 * ```
 */
export class FakeClock {
  #nowMs: number;

  /**
   * Returns the clock's time, in ms since the epoch. Bound, so it can be passed on without its
   * object.
   */
  readonly now: Clock = (): number => this.#nowMs;

  /**
   * Creates a clock that shows `startMs` and stands still.
   *
   * @param startMs Its first time, in ms since the epoch. By default, the start of 2025, UTC.
   * @throws {RangeError} If it is not a finite number of at least 0.
   */
  constructor(startMs: number = DEFAULT_START_MS) {
    this.#nowMs = check("startMs", startMs);
  }

  /**
   * Advances the clock.
   *
   * @param ms The time to add, in ms.
   * @throws {RangeError} If it is not a finite number of at least 0: `set` goes back.
   */
  advance(ms: number): void {
    this.#nowMs += check("ms", ms);
  }

  /**
   * Sets the clock, forward or back.
   *
   * @param ms The new time, in ms since the epoch.
   * @throws {RangeError} If it is not a finite number of at least 0.
   */
  set(ms: number): void {
    this.#nowMs = check("ms", ms);
  }
}

function check(name: string, value: number): number {
  if (Number.isFinite(value) && value >= 0) return value;
  throw new RangeError(
    `Cannot set the fake clock: "${name}" must be a finite number of at least 0, received ${value}`,
  );
}
