/**
 * Whether a healthy upstream trips too often. One world says nothing: bad luck is rare.
 *
 * @module
 */
import type { Played } from "./fleet.ts";
import type { Scenario } from "./scenario.ts";

/** A world in which nothing was wrong but bad luck. */
export interface Healthy {
  readonly scenario: Scenario;
  readonly played: Played;
}

/**
 * What is wrong with these worlds; `null`: nothing. Openings scatter like Poisson's, by about their
 * root: a breaker that opens exactly ten times as often as exact order may exceed ten times what exact
 * order HAPPENED to meet by three such deviations, and by one where hardly any opening is expected.
 */
export function judgeHealthy(worlds: readonly Healthy[]): string | null {
  const groups = Map.groupBy(
    worlds,
    ({ scenario: { policy } }) => `${policy.consistency}, ${policy.failureThreshold} in a row`,
  );
  for (const [name, group] of groups) {
    let opened = 0;
    let exact = 0;
    let expected = 0;
    for (const { scenario: { errorRate, policy }, played } of group) {
      const ran = played.calls.filter(({ ranAt }) => ranAt !== null).length;
      opened += played.opened;
      exact += played.exact;
      expected += ran * (1 - errorRate) * errorRate ** policy.failureThreshold!;
    }
    const allowed = 10 * exact + Math.floor(1 + 3 * Math.sqrt(10 * expected));
    if (opened > allowed) {
      return `${name}: opened ${opened} times, exact order ${exact} times; at most ${allowed} allowed`;
    }
  }
  return null;
}
