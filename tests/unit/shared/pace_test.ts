// How isolates of a large fleet slow down: the arithmetic, and a small model of ten thousand.
import { assert, assertEquals } from "@std/assert";
import type { CircuitPolicy } from "@fuse/edge";
import { requestsPerSecond } from "../../../src/records.ts";
import type { CircuitPolicyData } from "../../../src/rules/policy.ts";
import { longestMs, type Pace, paceAfter } from "../../../src/shared/pace.ts";
import { policyOf, snapshotOf } from "../../support/units.ts";

const POLICY = policyOf();

/** Hears of so many requests a second. */
function hear(
  pace: Pace | null,
  requests: number | undefined,
  { now = 0, sinceMs = 3_600_000, drawn = 0.5, policy = POLICY, state = "CLOSED" as const }: {
    now?: number;
    /** How long ago the generation began. */
    sinceMs?: number;
    drawn?: number;
    policy?: CircuitPolicyData;
    state?: "CLOSED" | "OPEN" | "HALF_OPEN";
  } = {},
): Pace | null {
  const s = snapshotOf({ now, state, began: now - sinceMs, requestsPerSecond: requests });
  return paceAfter(pace, s, policy, () => drawn);
}

Deno.test("paceAfter() neither slows down nor draws when there are as many requests as may be", () => {
  for (const requests of [undefined, 0, 1, 1_000]) {
    const s = snapshotOf({ requestsPerSecond: requests });
    const random = () => {
      throw new Error("It has drawn");
    };
    assertEquals(paceAfter(null, s, POLICY, random), null);
  }
});

Deno.test("paceAfter() multiplies the intervals by the ratio when there are too many requests", () => {
  const pace = hear(null, 3_000)!;
  const { ratio, flushSize, flushIntervalMs, revalidateMs } = pace;
  assertEquals([ratio, flushSize, flushIntervalMs, revalidateMs], [3, 150, 3_000, 3_000]);
});

Deno.test("paceAfter() goes by maxRequestsPerSecond", () => {
  const policy = policyOf({ maxRequestsPerSecond: 100 });
  assertEquals(hear(null, 100, { policy }), null);
  assertEquals(hear(null, 200, { policy })!.ratio, 2);
});

Deno.test("paceAfter() lets outcomes of any time go in one tally, unless a strategy decides by time", () => {
  const windowOf = (options: CircuitPolicy) =>
    hear(null, 3_000, { policy: policyOf(options) })!.windowMs;
  const timeless = ["consecutive_failures", "percentage_failures", "count_window"] as const;
  for (const strategy of timeless) assertEquals(windowOf({ strategy }), Infinity);
  const slow = { strategy: "slow_calls", slowCallMs: 1 } as const;
  const own = { strategy: () => false };
  const both = { strategy: ["consecutive_failures", "rolling_window"] };
  for (const options of [slow, own, both]) assertEquals(windowOf(options), POLICY.windowMs);
});

Deno.test("paceAfter() draws from half to one and a half of an interval", () => {
  assertEquals(hear(null, 4_000, { drawn: 0 })!.revalidateMs, 2_000);
  assertEquals(hear(null, 4_000, { drawn: 0.25 })!.revalidateMs, 3_000);
  assert(hear(null, 4_000, { drawn: 0.999 })!.revalidateMs < 6_000);
});

Deno.test("paceAfter() draws the first acquire after a cooldown from 0 to the longest wait", () => {
  assertEquals(hear(null, 4_000, { drawn: 0 })!.firstMs, 0);
  assertEquals(hear(null, 4_000, { drawn: 0.25 })!.firstMs, 1_500);
});

Deno.test("paceAfter() draws how long a failure is held anew with each answer, from half of the longest wait on", () => {
  const pace = hear(null, 4_000, { drawn: 0 })!;
  const again = hear(pace, 4_000, { now: 1, drawn: 0.5 });
  assertEquals(again, { ...pace, firstMs: 4_500 });
});

Deno.test("paceAfter() makes no interval shorter than it is configured", () => {
  const pace = hear(null, 1_200, { drawn: 0 })!;
  const { flushSize, flushIntervalMs, revalidateMs } = POLICY;
  assertEquals(pace.flushSize, flushSize);
  assertEquals(pace.flushIntervalMs, flushIntervalMs);
  assertEquals(pace.revalidateMs, revalidateMs);
});

Deno.test("paceAfter() multiplies its own present ratio once the effect of that can be heard", () => {
  const pace = hear(null, 2_000)!;
  const { firstMs } = pace;
  assertEquals({ ...hear(pace, 1_500, { now: pace.until - 1 }), firstMs }, pace);
  assertEquals(hear(pace, 1_500, { now: pace.until })!.ratio, 3);
  assertEquals(hear(pace, 1_000, { now: pace.until })!.ratio, 2);
});

Deno.test("paceAfter() hears at once when the store's clock has gone back", () => {
  const pace = hear(null, 2_000, { now: 100_000 })!;
  assertEquals(hear(pace, 1_500, { now: 1_000 })!.ratio, 3);
});

Deno.test("paceAfter() becomes faster in the same way, by half at most at once", () => {
  const pace = hear(null, 4_000)!;
  const now = pace.until;
  assertEquals(hear(pace, 800, { now })!.ratio, 3.2);
  assertEquals(hear(pace, 0, { now })!.ratio, 2);
  assertEquals(hear(hear(null, 2_000), 100, { now }), null);
});

Deno.test("paceAfter() does not become faster in HALF_OPEN, where requests are not counted", () => {
  const pace = hear(null, 4_000)!;
  const now = pace.until;
  assertEquals(hear(pace, 0, { now, state: "HALF_OPEN" })!.ratio, 4);
  assertEquals(hear(pace, 1_250, { now, state: "HALF_OPEN" })!.ratio, 5);
});

Deno.test("paceAfter() does not become faster soon after a transition, before which few were counted", () => {
  const pace = hear(null, 4_000)!;
  const now = pace.until;
  for (const state of ["CLOSED", "OPEN"] as const) {
    assertEquals(hear(pace, 0, { now, state, sinceMs: 9_999 })!.ratio, 4);
    assertEquals(hear(pace, 0, { now, state, sinceMs: 10_000 })!.ratio, 2);
  }
});

for (
  const options of [
    {},
    { maxStalenessMs: 30_000 },
    { maxStalenessMs: 4_000 },
    { cooldownMs: 5_000 },
    { revalidateMs: 100 },
    { flushIntervalMs: 50 },
    { flushIntervalMs: 20, revalidateMs: 9_000 },
    { revalidateMs: 20_000 },
    { revalidateMs: 0, flushIntervalMs: 0 },
    { maxStalenessMs: 0 },
    { cooldownMs: 0 },
  ]
) {
  Deno.test(`paceAfter() never waits for longer than a view may be old with ${Deno.inspect(options)}`, () => {
    const policy = policyOf(options);
    const limit = 0.9 * longestMs(policy) + 1e-6;
    let pace: Pace | null = null;
    for (let now = 0; now < 100_000; now += 1_000) {
      pace = hear(pace, 1e9, { now, policy, drawn: 1 - 1e-9 });
      const { flushIntervalMs, revalidateMs, firstMs = 0 }: Partial<Pace> & CircuitPolicyData = {
        ...policy,
        ...pace,
      };
      assert(flushIntervalMs <= Math.max(policy.flushIntervalMs, limit), `${flushIntervalMs}`);
      assert(revalidateMs <= Math.max(policy.revalidateMs, limit), `${revalidateMs}`);
      assert(firstMs <= limit, `${firstMs}`);
    }
  });
}

/** Returns a generator of numbers from 0, below 1, that is the same each time. */
function generator(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Isolates that ask at the end of each interval. Returns the requests of each second. */
function requestsOf(isolates: number, seconds: number, draw: () => number, spreadMs = 0): number[] {
  const turns: number[][] = [];
  const ask = (isolate: number, at: number) => (turns[Math.ceil(at)] ??= []).push(isolate);
  const paces: (Pace | null)[] = Array(isolates).fill(null);
  const traffic = { second: -1, count: 0, before: 0 };
  const requests: number[] = [];
  for (let i = 0; i < isolates; i++) ask(i, spreadMs * i / isolates);
  for (let now = 0; now < 1_000 * seconds; now++) {
    const second = Math.floor(now / 1_000);
    if (second !== traffic.second) {
      Object.assign(traffic, { second, before: traffic.count, count: 0 });
    }
    for (const i of turns[now] ?? []) {
      requests[second] = ++traffic.count;
      const told = {
        now,
        began: -3_600_000,
        requestsPerSecond: requestsPerSecond(1e6 * second + traffic.count, traffic.before, now),
      };
      const s = snapshotOf(told);
      paces[i] = paceAfter(paces[i]!, s, POLICY, draw);
      ask(i, now + (paces[i] ?? POLICY).revalidateMs);
    }
  }
  return requests;
}

for (const isolates of [100, 1_000]) {
  Deno.test(`a fleet of ${isolates} isolates asks as often as it is configured to`, () => {
    const draw = () => {
      throw new Error("It has drawn");
    };
    for (const spreadMs of [0, 1_000]) {
      assertEquals(requestsOf(isolates, 10, draw, spreadMs), Array(10).fill(isolates));
    }
  });
}

for (const isolates of [1_500, 3_000, 10_000]) {
  for (const spreadMs of [0, 1_000]) {
    Deno.test(`a fleet of ${isolates} isolates that begin within ${spreadMs} ms settles at the limit`, () => {
      const requests = requestsOf(isolates, 60, generator(isolates), spreadMs);
      // As few as there can be, where views must not become too old.
      const limit = Math.max(1_000, isolates / 7);
      for (const n of requests.slice(1)) assert(n <= 2.5 * limit, `${requests}`);
      for (const n of requests.slice(40)) assert(Math.abs(n / limit - 1) < 0.2, `${requests}`);
    });
  }
}

Deno.test("a fleet of 10 000 isolates swings between all and nothing without the draw", () => {
  const requests = requestsOf(10_000, 60, () => 0.5);
  assert(Math.max(...requests.slice(30)) > 3_000, `${requests}`);
  assert(Math.min(...requests.slice(30)) < 300, `${requests}`);
});
