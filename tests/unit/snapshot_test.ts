import { assertEquals, assertMatch, assertNotStrictEquals } from "@std/assert";
import fc from "fast-check";
import type { CircuitState, Override } from "@fuse/edge";
import {
  explain,
  metState,
  overlay,
  readState,
  toCircuitSnapshot,
  toMetrics,
} from "../../src/rules/snapshot.ts";
import { UNCOUNTED } from "../../src/admission.ts";
import { admissionOf } from "../../src/records.ts";
import { seeded, snapshotOf } from "../support/units.ts";
import type { OverrideRecord, Snapshot } from "@fuse/edge/store";

const A = { key: "a", store: "s", name: "a", context: null, boundary: null };
const under = (kind: Override, fields: Partial<OverrideRecord> = {}): OverrideRecord => ({
  kind,
  until: null,
  reason: null,
  actor: null,
  ...fields,
});
const window = (successes: number, failures: number, slow = 0) => ({ successes, failures, slow });

Deno.test("overlay() adds pending outcomes to all counters", () => {
  const s = snapshotOf({
    consecutiveFailures: 1,
    totals: { successes: 10, failures: 20, rejected: 30, slow: 40 },
    window: window(1, 2, 3),
    sinceClosed: window(4, 5, 6),
    last: { size: 7, failures: 3 },
  });
  const laid = overlay(s, [{ ...admissionOf(s), successes: 0, failures: 1, rejected: 2, slow: 1 }]);
  assertEquals(laid, {
    ...s,
    consecutiveFailures: 2,
    totals: { successes: 10, failures: 21, rejected: 32, slow: 41 },
    window: window(1, 3, 4),
    sinceClosed: window(4, 6, 7),
    last: { size: 8, failures: 4 },
  });
  assertNotStrictEquals(laid, s);
});

Deno.test("overlay() lets successes end a run before the failure that ends the tally", () => {
  const s = snapshotOf({ consecutiveFailures: 4, consecutiveSuccesses: 0 });
  const lay = (successes: number, failures: number) => {
    const laid = overlay(s, [{ ...admissionOf(s), successes, failures, rejected: 0, slow: 0 }]);
    return [laid.consecutiveFailures, laid.consecutiveSuccesses];
  };
  assertEquals([lay(0, 1), lay(3, 0), lay(3, 1), lay(0, 0)], [[5, 0], [0, 3], [1, 0], [4, 0]]);
});

Deno.test("overlay() adds only to totals when it is of another generation", () => {
  fc.assert(
    fc.property(
      fc.nat(9),
      fc.nat(1),
      fc.nat(9),
      fc.nat(9),
      (successes, failures, rejected, slow) => {
        const s = snapshotOf({ consecutiveFailures: 3, window: window(1, 1) });
        const laid = overlay(s, [{ ...UNCOUNTED, successes, failures, rejected, slow }]);
        assertEquals(laid, { ...s, totals: { successes, failures, rejected, slow } });
      },
    ),
    seeded(100),
  );
});

Deno.test("readState() returns HALF_OPEN for an OPEN circuit past its cooldown", () => {
  const s = snapshotOf({ state: "OPEN", openUntil: 1000 });
  assertEquals([999, 1000, 1001].map((now) => readState(s, now)), [
    "OPEN",
    "HALF_OPEN",
    "HALF_OPEN",
  ]);
  const far = { ...s, openUntil: 100_000, cooldownMs: 500 };
  assertEquals(readState(far, 0), "HALF_OPEN", "a clock that went back");
});

Deno.test("metState() returns the state that a call meets", () => {
  const kinds: Override[] = ["forced_open", "forced_closed", "disabled", "metrics_only"];
  for (const state of ["CLOSED", "OPEN", "HALF_OPEN"] as CircuitState[]) {
    const s = snapshotOf({ state, openUntil: 1000 });
    assertEquals(metState(s, 0), state);
    const met = kinds.map((kind) => metState({ ...s, override: under(kind) }, 0));
    assertEquals(met, ["OPEN", "CLOSED", "CLOSED", "CLOSED"]);
  }
});

Deno.test("toCircuitSnapshot() has the fields of the contract, times as Dates", () => {
  const s = snapshotOf({
    state: "OPEN",
    generation: 4,
    reason: "rolling_window",
    openedAt: 1000,
    openUntil: 5000,
    closedAt: 500,
    reopenCount: 2,
    lastFailure: { at: 3000, kind: "ECONNREFUSED", status: null, instance: "fra1" },
    override: under("forced_open", { until: 9000, reason: "why", actor: "who" }),
  });
  assertEquals(toCircuitSnapshot(A, s, 1000, 7), {
    ...A,
    state: "OPEN",
    override: { kind: "forced_open", until: new Date(9000), reason: "why", actor: "who" },
    lastFailure: { at: new Date(3000), kind: "ECONNREFUSED", status: null, instance: "fra1" },
    policy: null,
    trials: { inFlight: 0, successes: 0, failures: 0 },
    reason: "rolling_window",
    openedAt: new Date(1000),
    openUntil: new Date(5000),
    closedAt: new Date(500),
    generation: 4,
    reopenCount: 2,
    metrics: toMetrics(s),
    local: false,
    ageMs: 7,
  });
});

Deno.test("toMetrics() returns rates in percent, 0 without calls", () => {
  const rate = (successes: number, failures: number) =>
    toMetrics(snapshotOf({ window: window(successes, failures) })).failureRate;
  assertEquals([rate(0, 0), rate(3, 1), rate(0, 5), rate(5, 0)], [0, 25, 100, 0]);
});

Deno.test("toMetrics() returns every counter", () => {
  const s = snapshotOf({
    consecutiveFailures: 1,
    consecutiveSuccesses: 2,
    totals: { successes: 3, failures: 4, rejected: 5, slow: 6 },
    window: window(7, 8, 9),
    lastFailureAt: 10,
    lastSuccessAt: null,
  });
  assertEquals(toMetrics(s), {
    consecutiveFailures: 1,
    consecutiveSuccesses: 2,
    totalSuccesses: 3,
    totalFailures: 4,
    totalRejected: 5,
    totalSlow: 6,
    failureRate: 800 / 15,
    lastFailureAt: new Date(10),
    lastSuccessAt: null,
    window: { calls: 15, successes: 7, failures: 8, slow: 9 },
  });
});

const T = Date.UTC(2025, 0, 1);
const ISO = "2025-01-01T00:00:00.000Z";
const SENTENCES: [string, Partial<Snapshot>, string][] = [
  [
    "a fresh circuit",
    {},
    `Circuit "a" is CLOSED, 0 failures in a row, 0 of 0 calls failed in the window`,
  ],
  [
    "a closed one",
    { closedAt: T, reason: "trials_succeeded" },
    `Circuit "a" is CLOSED since ${ISO}, 0 failures`,
  ],
  [
    "an open one",
    {
      state: "OPEN",
      openedAt: T,
      openUntil: T + 1000,
      reason: "consecutive_failures",
      consecutiveFailures: 5,
      window: window(1, 5),
    },
    `Circuit "a" is OPEN since ${ISO} (consecutive_failures), 5 failures in a row, 5 of 6 calls ` +
    `failed in the window, the next trial at 2025-01-01T00:00:01.000Z`,
  ],
  [
    "a half-open one",
    {
      state: "HALF_OPEN",
      openedAt: T,
      reason: "cooldown_passed",
      halfOpen: { inFlight: 1, successes: 2, failures: 1, freeAt: null },
    },
    `Circuit "a" is HALF_OPEN, opened at ${ISO} (cooldown_passed), 0 failures in a row, 0 of 0 ` +
    `calls failed in the window, 1 trials in flight, 2 succeeded, 1 failed`,
  ],
  ["one whose times nobody knows", { state: "HALF_OPEN" }, `opened at an unknown time`],
  [
    "one forced open by somebody",
    { override: under("forced_open", { until: T, reason: "fire", actor: "ann" }) },
    `Circuit "a" is forced_open until ${ISO} by ann: fire; beneath it is CLOSED, 0 failures`,
  ],
  [
    "one disabled by nobody",
    { override: under("disabled") },
    `Circuit "a" is disabled until it is released; beneath it is CLOSED`,
  ],
];
for (const [what, fields, sentence] of SENTENCES) {
  Deno.test(`explain() explains ${what}`, () => {
    const text = explain("a", snapshotOf(fields), T);
    assertEquals(text.includes(sentence), true, text);
    assertMatch(text, /^[^\n]+$/);
  });
}

Deno.test("explain() and toCircuitSnapshot() accept times beyond the range of a Date", () => {
  for (const ms of [Number.MAX_SAFE_INTEGER, 1e300, Infinity, -1e300]) {
    const s = snapshotOf({
      state: "OPEN",
      openedAt: ms,
      openUntil: ms,
      override: under("forced_open", { until: ms }),
    });
    assertMatch(explain("a", s, T), /forced_open until [-+]2717?\d+|[-+]\d{6}-/);
    JSON.stringify(toCircuitSnapshot(A, s, T, 0).openUntil!.toISOString());
  }
});

Deno.test("explain() is one line when a name, a reason or an actor has several", () => {
  const override = under("forced_open", { reason: "a\nb", actor: "c\u2028d" });
  const text = explain(
    'x"\r\ny: z',
    snapshotOf({ state: "OPEN", reason: "e\nf", override }),
    T,
  );
  assertMatch(
    text,
    /^Circuit "x\\"\\r\\ny: z" is forced_open .* by c\\u2028d: a\\u000ab; .*e\\u000af.*$/,
  );
});
