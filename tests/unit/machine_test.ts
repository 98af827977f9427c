import { assertEquals } from "@std/assert";
import fc from "fast-check";
import type { CircuitState } from "@fuse/edge";
import { cooldownPassed, retryAfter, tripping, verdict } from "../../src/rules/machine.ts";
import { policyOf, seeded, snapshotOf } from "../support/units.ts";
import type { OverrideRecord, Snapshot } from "@fuse/edge/store";

const trials = (successes: number, failures: number, freeAt: number | null = null) => ({
  halfOpen: { inFlight: 0, successes, failures, freeAt },
});
const forced = (until: number | null): OverrideRecord => ({
  kind: "forced_open",
  until,
  reason: null,
  actor: null,
});

Deno.test("verdict() opens a CLOSED circuit when a strategy does, with its name", () => {
  const policy = policyOf({
    failureThreshold: 2,
    strategy: ["rolling_window", "consecutive_failures"],
  });
  assertEquals(verdict(snapshotOf({ consecutiveFailures: 1 }), policy), null);
  assertEquals(verdict(snapshotOf({ consecutiveFailures: 2 }), policy), {
    to: "OPEN",
    event: "opened",
    reason: "consecutive_failures",
  });
});

Deno.test("verdict() names the first strategy of those that would open", () => {
  const policy = policyOf({
    failureThreshold: 1,
    minimumThroughput: 1,
    strategy: ["rolling_window", "consecutive_failures"],
  });
  const s = snapshotOf({ consecutiveFailures: 1, window: { successes: 0, failures: 1, slow: 0 } });
  assertEquals(tripping(s, policy), "rolling_window");
});

Deno.test("verdict() returns nothing for an OPEN circuit", () => {
  const s = snapshotOf({ state: "OPEN", consecutiveFailures: 99, openUntil: 0, ...trials(9, 9) });
  assertEquals(verdict(s, policyOf()), null);
});

Deno.test("verdict() closes a HALF_OPEN circuit after successThreshold trials", () => {
  const policy = policyOf({ successThreshold: 3 });
  const at = (n: number) => verdict(snapshotOf({ state: "HALF_OPEN", ...trials(n, 0) }), policy);
  assertEquals([at(0), at(2)], [null, null]);
  assertEquals([at(3), at(4)].map((v) => [v?.to, v?.event, v?.reason]), [
    ["CLOSED", "closed", "trials_succeeded"],
    ["CLOSED", "closed", "trials_succeeded"],
  ]);
});

Deno.test("verdict() reopens a HALF_OPEN circuit on one failure, whatever succeeded", () => {
  const s = snapshotOf({ state: "HALF_OPEN", ...trials(99, 1) });
  assertEquals(verdict(s, policyOf({ successThreshold: 1 })), {
    to: "OPEN",
    event: "opened",
    reason: "trial_failed",
  });
});

Deno.test("verdict() uses only the trials of a HALF_OPEN circuit", () => {
  const s = snapshotOf({
    state: "HALF_OPEN",
    consecutiveFailures: 99,
    consecutiveSuccesses: 99,
    window: { successes: 99, failures: 99, slow: 99 },
    sinceClosed: { successes: 99, failures: 99, slow: 99 },
  });
  assertEquals(
    verdict(s, policyOf({ strategy: ["consecutive_failures", "rolling_window"] })),
    null,
  );
});

const STATES: CircuitState[] = ["CLOSED", "OPEN", "HALF_OPEN"];
for (const kind of ["forced_open", "forced_closed", "disabled", "metrics_only"] as const) {
  Deno.test(`verdict() moves nothing under ${kind}`, () => {
    for (const state of STATES) {
      const override = { ...forced(null), kind };
      const s = snapshotOf({ state, override, consecutiveFailures: 99, ...trials(9, 9) });
      assertEquals(verdict(s, policyOf()), null);
    }
  });
}

Deno.test("verdict() follows legal transitions only", () => {
  const policies = [
    policyOf(),
    policyOf({ failureThreshold: 1, successThreshold: 1 }),
    policyOf({
      strategy: ["rolling_window", "count_window", "percentage_failures"],
      minimumThroughput: 1,
    }),
  ];
  const n = fc.nat(8);
  fc.assert(
    fc.property(
      fc.constantFrom(...STATES),
      fc.constantFrom(...policies),
      n,
      n,
      n,
      n,
      n,
      (state, policy, a, b, c, d, e) => {
        const window = { successes: a, failures: b, slow: 0 };
        const s: Snapshot = snapshotOf({
          state,
          window,
          sinceClosed: window,
          last: { size: a + b, failures: b },
          consecutiveFailures: c,
          ...trials(d, e),
        });
        const due = verdict(s, policy);
        if (due === null) return;
        assertEquals(due.event, due.to === "OPEN" ? "opened" : "closed");
        assertEquals(state === "OPEN", false);
        if (state === "CLOSED") assertEquals(due.to, "OPEN");
        else assertEquals(due.to, e > 0 ? "OPEN" : "CLOSED");
      },
    ),
    seeded(500),
  );
});

Deno.test("cooldownPassed() is true from openUntil on, and without one", () => {
  const s = snapshotOf({ state: "OPEN", openUntil: 1000 });
  assertEquals([999, 1000, 1001].map((now) => cooldownPassed(s, now)), [false, true, true]);
  assertEquals(cooldownPassed(snapshotOf({ state: "OPEN" }), 0), true);
});

Deno.test("cooldownPassed() ignores an openUntil that no cooldown could have set", () => {
  for (const [cooldownMs, farthest] of [[5_000, 65_000], [90_000, 180_000]] as const) {
    const s = snapshotOf({ state: "OPEN", openUntil: 1e6, cooldownMs });
    const at = [1e6 - farthest, 1e6 - farthest - 1];
    assertEquals(at.map((now) => cooldownPassed(s, now)), [false, true]);
  }
});

Deno.test("cooldownPassed() accepts an openUntil of unknown length", () => {
  const s = snapshotOf({ state: "OPEN", openUntil: 1e12, cooldownMs: null });
  assertEquals(cooldownPassed(s, 0), false);
});

Deno.test("retryAfter() returns the remaining time, in whole ms, at least 1", () => {
  const policy = policyOf({ cooldownMs: 7000 });
  const cases: [Partial<Snapshot>, number][] = [
    [{ state: "OPEN", openUntil: 1500 }, 500],
    [{ state: "OPEN", openUntil: 1000.2 }, 1],
    [{ state: "OPEN", openUntil: 1001.2 }, 2],
    [{ state: "OPEN", openUntil: 1000 }, 1],
    [{ state: "OPEN", openUntil: 10 }, 1],
    [{ state: "OPEN", openUntil: null }, 1],
    [{ state: "HALF_OPEN", ...trials(0, 0, 1300) }, 300],
    [{ state: "HALF_OPEN", ...trials(0, 0, null) }, 1],
    [{ state: "HALF_OPEN", ...trials(0, 0, 900) }, 1],
    [{ state: "HALF_OPEN", ...trials(0, 0, 31_000) }, 1000],
    [{ state: "OPEN", openUntil: 1500, override: forced(4000) }, 3000],
    [{ state: "CLOSED", override: forced(null) }, 7000],
  ];
  for (const [fields, ms] of cases) assertEquals(retryAfter(snapshotOf(fields), 1000, policy), ms);
});

Deno.test("retryAfter() uses 60 000 ms if cooldownMs is a function", () => {
  const s = snapshotOf({ override: forced(null) });
  assertEquals(retryAfter(s, 0, policyOf({ cooldownMs: () => 5 })), 60_000);
});
