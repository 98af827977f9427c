/**
 * Judges whether a healthy upstream trips too often. A single world proves nothing: bad luck is
 * rare.
 *
 * @module
 */
import type { Played } from "./fleet.ts";
import type { Scenario } from "./scenario.ts";

/** A world whose only faults are bad luck. */
export interface Healthy {
  readonly policy: string;
  readonly opened: number;
  readonly exact: number;
  /** The openings of exact order on average, over many such worlds. */
  readonly expected: number;
}

/** The figures of a world. */
export function healthOf(
  { policy, errorRate }: Scenario,
  { calls, opened, exact }: Played,
): Healthy {
  const { consistency, failureThreshold = 5 } = policy;
  const ran = calls.filter(({ ranAt }) => ranAt !== null).length;
  return {
    policy: `${consistency}, ${failureThreshold} in a row`,
    opened,
    exact,
    expected: ran * (1 - errorRate) * errorRate ** failureThreshold,
  };
}

/** The factor by which openings may exceed those of exact order, and its source. */
const BOUNDS = [{ times: 10, is: "stated" }, { times: 2, is: "what there was before" }] as const;

/**
 * Returns the fault of these worlds, or `null`. Openings scatter like Poisson's, by about their
 * root: a breaker that opens exactly so many times as often as exact order may exceed that multiple
 * of the openings that exact order HAPPENED to have by three such deviations, and by one where
 * hardly any opening is expected.
 */
export function judgeHealthy(worlds: readonly Healthy[]): string | null {
  for (const [policy, group] of Map.groupBy(worlds, ({ policy }) => policy)) {
    const sum = (field: "opened" | "exact" | "expected") =>
      group.reduce((total, world) => total + world[field], 0);
    const opened = sum("opened");
    const exact = sum("exact");
    for (const { times, is } of BOUNDS) {
      const allowed = times * exact + Math.floor(1 + 3 * Math.sqrt(times * sum("expected")));
      if (opened > allowed) {
        return `${policy}: opened ${opened} times, exact order ${exact} times; at most ${allowed} ` +
          `allowed, ${times} times as often is ${is}`;
      }
    }
  }
  return null;
}
