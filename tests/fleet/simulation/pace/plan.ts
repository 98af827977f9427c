/**
 * When things happen in the play of a fleet.
 *
 * @module
 */
import type { CircuitPolicy } from "@fuse/edge";

/** When scenes begin, in ms of the play. A cooldown's end and a recovery begin when the circuit has them do so. */
export interface Plan {
  /** Isolates begin one after the other, over so long. */
  readonly startMs: number;
  readonly healthyAt: number;
  /** 1 % of the calls fail. */
  readonly failingAt: number;
  readonly deadAt: number;
  /** After the first cooldown's end, so that its trial fails. */
  readonly wellAt: number;
  readonly endAt: number;
  readonly cooldownMs: number;
}

/** The plan of fleets that need no policy of their own. Two cooldowns are watched. */
export const PLAN: Plan = {
  startMs: 20_000,
  healthyAt: 30_000,
  failingAt: 45_000,
  deadAt: 60_000,
  wellAt: 90_000,
  endAt: 120_000,
  cooldownMs: 20_000,
};

/** Isolates up to which a store of 5 000 requests a second is enough with the default policy. */
export const MOST_BY_DEFAULT = 10_000;

/**
 * The policy of a fleet of 100 000: views and cooldowns that last a minute. With views of 10 s, so many
 * isolates would send 14 286 requests a second at least.
 */
export const LARGE: CircuitPolicy = { maxStalenessMs: 60_000, cooldownMs: 60_000 };

/**
 * Returns the plan of a fleet with that policy.
 *
 * @param capacity Requests that the store answers in a second. As many isolates begin in ten seconds.
 */
export function largePlan(isolates: number, capacity: number): Plan {
  const startMs = 10_000 * isolates / capacity;
  const healthyAt = startMs + 60_000;
  const failingAt = healthyAt + 30_000;
  const deadAt = failingAt + 30_000;
  const wellAt = deadAt + 90_000;
  return {
    startMs,
    healthyAt,
    failingAt,
    deadAt,
    wellAt,
    endAt: wellAt + 120_000,
    cooldownMs: 60_000,
  };
}
