import { assertEquals } from "@std/assert";
import type { Policy, StrategyMetrics } from "@fuse/edge";
import { BUILT_IN, counts, customRule, strategyMetrics } from "../../src/rules/strategies.ts";
import { policyOf, snapshotOf, unexpected } from "../support/units.ts";
import type { Snapshot } from "@fuse/edge/store";

const window = (successes: number, failures: number, slow = 0) => ({ successes, failures, slow });

Deno.test("consecutive_failures() opens from failureThreshold on", () => {
  const policy = policyOf({ failureThreshold: 3 });
  const opens = [0, 2, 3, 4].map((consecutiveFailures) =>
    BUILT_IN.consecutive_failures(snapshotOf({ consecutiveFailures }), policy)
  );
  assertEquals(opens, [false, false, true, true]);
});

const SHARES: [keyof typeof BUILT_IN, (good: number, bad: number) => Partial<Snapshot>][] = [
  ["percentage_failures", (good, bad) => ({ sinceClosed: window(good, bad) })],
  ["rolling_window", (good, bad) => ({ window: window(good, bad) })],
  ["slow_calls", (good, bad) => ({ window: window(good + bad, 0, bad) })],
  ["count_window", (good, bad) => ({ last: { size: good + bad, failures: bad } })],
];
for (const [name, fields] of SHARES) {
  const opens = (good: number, bad: number, policy: Policy) =>
    BUILT_IN[name](snapshotOf(fields(good, bad)), policy);

  Deno.test(`${name}() opens at exactly its share`, () => {
    const policy = policyOf({ percentageThreshold: 30, minimumThroughput: 1 });
    assertEquals([opens(71, 29, policy), opens(70, 30, policy)], [false, true]);
    assertEquals([opens(0, 1, policy), opens(1, 0, policy)], [true, false]);
  });
  Deno.test(`${name}() opens at exactly its throughput`, () => {
    const policy = policyOf({ percentageThreshold: 50, minimumThroughput: 10 });
    assertEquals([opens(0, 9, policy), opens(5, 5, policy), opens(6, 4, policy)], [
      false,
      true,
      false,
    ]);
  });
  Deno.test(`${name}() compares fractions exactly`, () => {
    // 33.3 % of 1000 is 333, and 0.1 + 0.2 is no reason to miss it.
    const numbers = { minimumThroughput: 1, windowSize: 10_000 };
    const policy = policyOf({ percentageThreshold: 33.3, ...numbers });
    assertEquals([opens(667, 333, policy), opens(668, 332, policy)], [true, false]);
    const all = policyOf({ percentageThreshold: 100, ...numbers });
    assertEquals([opens(0, 7, all), opens(1, 9_999, all)], [true, false]);
  });
  Deno.test(`${name}() does not open without calls`, () => {
    assertEquals(opens(0, 0, policyOf({ percentageThreshold: 1, minimumThroughput: 1 })), false);
  });
}

Deno.test("opens() uses only a built-in strategy's own counters", () => {
  const all = policyOf({ failureThreshold: 1, minimumThroughput: 1, percentageThreshold: 1 });
  const fields: Record<keyof typeof BUILT_IN, Partial<Snapshot>> = {
    consecutive_failures: { consecutiveFailures: 1 },
    percentage_failures: { sinceClosed: window(0, 1) },
    rolling_window: { window: window(0, 1) },
    slow_calls: { window: window(1, 0, 1) },
    count_window: { last: { size: 1, failures: 1 } },
  };
  for (const name of Object.keys(BUILT_IN) as (keyof typeof BUILT_IN)[]) {
    for (const [other, only] of Object.entries(fields)) {
      assertEquals(BUILT_IN[name](snapshotOf(only), all), name === other, `${name} by ${other}`);
    }
  }
});

Deno.test("customRule() opens when its strategy returns true, and for no other value", () => {
  const says = (answer: unknown) =>
    customRule("mine", "custom", () => answer as boolean, unexpected).opens(
      snapshotOf(),
      policyOf(),
    );
  assertEquals([true, false, 1, "yes", undefined].map(says), [true, false, false, false, false]);
});

Deno.test("customRule() reports a strategy that throws, and opens nothing", () => {
  const reports: unknown[] = [];
  const rule = customRule("mine", "custom", () => {
    throw new Error("boom");
  }, (type, error) => reports.push(type, String(error)));
  assertEquals(rule.opens(snapshotOf(), policyOf()), false);
  assertEquals(reports, ["strategy", "Error: boom"]);
});

for (const answer of [() => Promise.resolve(true), () => Promise.reject(new Error("late"))]) {
  Deno.test(`customRule() reports a strategy that ${answer}, and opens nothing`, async () => {
    const reports: unknown[] = [];
    const rule = customRule(
      "mine",
      "custom",
      answer as never,
      (type, error) => reports.push(type, String(error)),
    );
    assertEquals(rule.opens(snapshotOf(), policyOf()), false);
    assertEquals(reports, ["strategy", 'TypeError: "strategy" must not return a promise']);
    // By then, an unhandled rejection fails the test.
    await new Promise((resolve) => setTimeout(resolve));
  });
}

Deno.test("customRule() passes metrics and policy on", () => {
  let seen: [StrategyMetrics, Policy] | undefined;
  const policy = policyOf({ failureThreshold: 9 });
  const rule = customRule("mine", "custom", (metrics, policy) => {
    seen = [metrics, policy];
    return false;
  }, unexpected);
  const s = snapshotOf({
    consecutiveFailures: 2,
    consecutiveSuccesses: 0,
    window: window(1, 2, 3),
  });
  rule.opens(s, policy);
  assertEquals(seen?.[0], strategyMetrics(s));
  assertEquals(seen?.[1].failureThreshold, 9);
});

Deno.test("strategyMetrics() has exactly the fields of the contract", () => {
  const s = snapshotOf({
    consecutiveFailures: 1,
    consecutiveSuccesses: 2,
    window: window(3, 4, 5),
    sinceClosed: window(6, 7, 8),
  });
  assertEquals(strategyMetrics(s), {
    consecutiveFailures: 1,
    consecutiveSuccesses: 2,
    window: { calls: 7, successes: 3, failures: 4, slow: 5 },
    sinceClosed: { calls: 13, successes: 6, failures: 7, slow: 8 },
  });
});

Deno.test("counts() adds up the calls, which include slow ones", () => {
  assertEquals(counts(window(2, 3, 4)), { calls: 5, successes: 2, failures: 3, slow: 4 });
});
