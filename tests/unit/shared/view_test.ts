import { assertEquals, assertStrictEquals } from "@std/assert";
import type { Recorded, Snapshot } from "@fuse/edge/store";
import { copySnapshot } from "../../../src/records.ts";
import { createPolicy } from "../../../src/rules/policy.ts";
import { compacted, View } from "../../../src/shared/view.ts";
import { memory } from "../../support/drivers.ts";
import { snapshotOf } from "../../support/units.ts";

/**
 * The effect of an answer after another, requested later (`after`) or at the same time (`beside`).
 */
function learns(held: Partial<Snapshot>, s: Partial<Snapshot>, order: "after" | "beside"): string {
  const view = new View();
  const [first, second] = [view.ask(), view.ask()];
  view.learn(snapshotOf(held), first, 0);
  return view.learn(snapshotOf(s), order === "after" ? view.ask() : second, 0);
}

const calls = (successes: number) => ({
  totals: { successes, failures: 0, rejected: 0, slow: 0 },
});

Deno.test("View.learn() accepts an answer that was requested after the last one", () => {
  assertEquals(learns({ now: 9, generation: 3, began: 9 }, { now: 5 }, "after"), "reborn");
  assertEquals(learns({ now: 9, ...calls(5) }, { now: 9, ...calls(4) }, "after"), "learnt");
});

Deno.test("View.learn() accepts, of answers that overlap, the later one by the store's clock", () => {
  assertEquals(learns({ now: 5, generation: 2 }, { now: 6 }, "beside"), "learnt");
  assertEquals(learns({ now: 6 }, { now: 5, generation: 2, ...calls(9) }, "beside"), "old");
});

Deno.test("View.learn() accepts, of answers of one moment, the higher generation of a life", () => {
  assertEquals(learns({}, { generation: 2, began: 2 }, "beside"), "learnt");
  assertEquals(learns({ generation: 2, began: 2 }, calls(9), "beside"), "old");
  assertEquals(learns({}, { epoch: "another", generation: 2 }, "beside"), "old");
});

Deno.test("View.learn() compares totals within one generation only", () => {
  assertEquals(learns(calls(1), calls(2), "beside"), "learnt");
  assertEquals(learns(calls(2), calls(1), "beside"), "old");
  assertEquals(learns({ began: 5, ...calls(1) }, { began: 6, ...calls(2) }, "beside"), "old");
});

Deno.test("View.learn() reports another life, and a store that was restored", () => {
  const held = { now: 100, generation: 3, began: 50 };
  const cases: [Partial<Snapshot>, string][] = [
    [{ now: 200, generation: 3, began: 50 }, "learnt"],
    [{ now: 200, generation: 4, began: 150 }, "learnt"],
    [{ now: 200, generation: 2, began: 20 }, "reborn"],
    [{ now: 200, generation: 3, began: 150 }, "reborn"],
    [{ now: 200, epoch: "another", generation: 9 }, "reborn"],
  ];
  for (const [s, told] of cases) assertEquals(learns(held, s, "after"), told, JSON.stringify(s));
});

Deno.test("View.learn() does not mistake a clock set back over an override's end for another life", () => {
  const override = { kind: "disabled", until: 50, reason: null, actor: null } as const;
  const held = { now: 60, generation: 3, began: 50 };
  assertEquals(learns(held, { now: 40, generation: 2, began: 10, override }, "after"), "learnt");
});

const policy = createPolicy({ failureThreshold: 4 }, {}, () => {});

Deno.test("compacted() copies all of a live record", () => {
  const tally = {
    epoch: "",
    generation: 0,
    began: 0,
    successes: 2,
    failures: 1,
    rejected: 3,
    slow: 1,
  };
  const { snapshot } = memory().record("a", {
    ...{ id: "", at: 1_000, shape: { windowMs: 10_000, windowSize: 5 }, ...tally },
    ...{ ageMs: 0, lease: null, policyHash: policy.hash, policy: policy.recorded },
  }) as Recorded;
  assertEquals(compacted(snapshot, policy), copySnapshot(snapshot));
});

Deno.test("compacted() shares what is alike in answers that were read apart", () => {
  const { hash: policyHash, recorded } = policy;
  const [one, other] = [1, 2].map((successes) =>
    compacted(snapshotOf({ ...calls(successes), policyHash, policy: { ...recorded } }), policy)
  );
  assertStrictEquals(one!.halfOpen, other!.halfOpen);
  assertStrictEquals(one!.policy, recorded);
  assertEquals([one!.totals.successes, other!.totals.successes], [1, 2]);
  const trial = { inFlight: 1, successes: 0, failures: 0, freeAt: 5 };
  assertEquals(
    compacted(snapshotOf({ state: "HALF_OPEN", halfOpen: trial }), policy).halfOpen,
    trial,
  );
});
