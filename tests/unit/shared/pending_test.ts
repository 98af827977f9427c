import { assert, assertEquals, assertNotEquals, assertStrictEquals } from "@std/assert";
import fc from "fast-check";
import { isLate } from "../../../src/records.ts";
import { PendingTallies, type PendingTally } from "../../../src/shared/pending.ts";
import { tallyOf } from "../../../src/shared/sent.ts";
import { seeded, snapshotOf } from "../../support/units.ts";
import { TOTALS_ONLY } from "@fuse/edge/store";

const SEGMENT = 1000;
const UNDER = { epoch: "e", generation: 1, began: 1 };
const UNCOUNTED = { epoch: "", generation: TOTALS_ONLY, began: 0 };
const success = { successes: 1, failures: 0, slow: 0 };
const failure = { successes: 0, failures: 1, slow: 0 };

function filled(
  ...steps: [under: typeof UNDER, outcome: typeof success, at: number][]
): PendingTallies {
  const pending = new PendingTallies();
  for (const [under, outcome, at] of steps) pending.gather(under, outcome, 0, at, SEGMENT);
  return pending;
}

/** Seals the gathered outcomes, so that they can be sent. */
function sealed(pending: PendingTallies): PendingTallies {
  pending.seal();
  return pending;
}

/** The outcomes to send, as successes, failures and rejections. */
const counts = (tallies: readonly PendingTally[]) =>
  tallies.map(({ successes, failures, rejected }) => [successes, failures, rejected]);

Deno.test("PendingTallies() is empty until something is added, and after everything was removed", () => {
  const pending = new PendingTallies();
  assert(pending.empty && pending.gathering === null);
  assertEquals(sealed(pending).take(0), []);
  pending.gather(UNDER, success, 0, 0, SEGMENT);
  assert(!pending.empty);
  for (const tally of sealed(pending).take(0)) {
    pending.sending(tally, 0, 500);
    assert(!pending.empty);
    pending.remove(tally);
  }
  assert(pending.empty);
});

Deno.test("PendingTallies.gather() joins outcomes of one generation", () => {
  const pending = filled([UNDER, success, 0], [UNDER, success, 10], [
    UNDER,
    { ...success, slow: 1 },
    20,
  ]);
  const [tally] = sealed(pending).take(20);
  assertEquals([tally!.successes, tally!.slow, tally!.firstAt, tally!.lastAt], [3, 1, 0, 20]);
});

Deno.test("PendingTallies.gather() ends a tally when a success follows a failure", () => {
  const pending = filled(
    [UNDER, success, 0],
    [UNDER, failure, 5],
    [UNDER, failure, 7],
    [UNDER, success, 8],
    [UNDER, failure, 9],
  );
  const tallies = sealed(pending).take(9);
  assertEquals(counts(tallies), [[1, 2, 0], [1, 1, 0]]);
  const ages = tallies.map((tally) => tallyOf(tally, 10))
    .map(({ ageMs, firstFailureAgeMs }) => [ageMs, firstFailureAgeMs]);
  assertEquals(ages, [[3, 5], [1, undefined]]);
});

Deno.test("tallyOf() says which calls were slow, and what each failure was, where calls are audited", () => {
  const pending = filled(
    [UNDER, { ...success, text: null } as typeof success, 0],
    [UNDER, { ...success, slow: 1, text: null } as typeof success, 0],
    [UNDER, { ...failure, text: "one" } as typeof success, 0],
    [UNDER, { ...failure, slow: 1, text: "two" } as typeof success, 0],
    [UNDER, { ...failure, text: null } as typeof success, 0],
  );
  const { successes, failures, slow, calls = [] } = tallyOf(sealed(pending).take(0)[0]!, 0);
  assertEquals([successes, failures, slow], [2, 3, 2]);
  assertEquals(calls.map(({ failed, slow, text }) => [failed, slow, text]), [
    ...[[false, false, null], [false, true, null]],
    ...[[true, false, "one"], [true, true, "two"], [true, false, null]],
  ]);
});

Deno.test("PendingTallies.gather() separates generations, epochs and window segments", () => {
  const pending = filled(
    [UNDER, success, 0],
    [{ ...UNDER, generation: 2 }, success, 0],
    [{ ...UNDER, epoch: "f" }, success, 0],
    [{ ...UNDER, epoch: "f" }, success, SEGMENT - 1],
    [{ ...UNDER, epoch: "f" }, success, SEGMENT],
    // A clock that was set back.
    [{ ...UNDER, epoch: "f" }, success, SEGMENT - 1],
  );
  assertEquals(counts(sealed(pending).take(0)), [[1, 0, 0], [1, 0, 0], [2, 0, 0], [1, 0, 0], [
    1,
    0,
    0,
  ]]);
});

Deno.test("PendingTallies.gather() joins outcomes for totals only, whatever they are and however old", () => {
  const pending = filled(
    [UNCOUNTED, failure, 0],
    [UNCOUNTED, success, 10 * SEGMENT],
    [UNCOUNTED, failure, 20 * SEGMENT],
  );
  assertEquals(counts(sealed(pending).take(0)), [[1, 2, 0]]);
});

Deno.test("PendingTallies.gather() remembers the longest Retry-After of a tally", () => {
  const pending = new PendingTallies();
  pending.gather(UNDER, success, 0, 0, SEGMENT);
  pending.gather(UNDER, failure, 9000, 0, SEGMENT);
  assertEquals(sealed(pending).take(0)[0]!.retryAfterMs, 9000);
});

Deno.test("PendingTallies.reject() adds rejections to the next outcome", () => {
  const pending = new PendingTallies();
  pending.reject(0);
  pending.reject(5);
  assertEquals(pending.gathering!.generation, TOTALS_ONLY);
  pending.gather(UNDER, success, 0, 7000, SEGMENT);
  pending.reject(7000);
  const [tally, ...more] = sealed(pending).take(7000);
  assertEquals([more.length, tally!.generation, tally!.rejected, tally!.firstAt], [
    0,
    1,
    3,
    7000,
  ]);
});

Deno.test("PendingTallies.single() returns a tally of one outcome, with the rejections", () => {
  const pending = new PendingTallies();
  pending.reject(0);
  pending.gather(UNDER, success, 0, 0, SEGMENT);
  pending.reject(0);
  const tally = pending.single({ ...UNDER, lease: "t" }, failure, 5, 0);
  assertEquals([tally.lease, tally.rejected, tally.failures, tally.retryAfterMs], [
    "t",
    2,
    1,
    5,
  ]);
  // The success stays behind, without them.
  assertEquals(counts(sealed(pending).take(0)), [[1, 0, 0]]);
});

Deno.test("PendingTallies.single() leaves nothing behind if only rejections waited", () => {
  const pending = new PendingTallies();
  pending.reject(0);
  pending.single({ ...UNDER, lease: null }, success, 0, 0);
  assert(pending.empty);
});

/** Returns a tally with a pending failure until 500, and a success that waits. */
function sending() {
  const pending = filled([UNDER, failure, 0]);
  const [tally] = sealed(pending).take(0);
  pending.sending(tally!, 0, 500);
  pending.gather(UNDER, success, 0, 0, SEGMENT);
  return { pending, tally: tally! };
}

Deno.test("PendingTallies.take() skips tallies on their way", () => {
  const { pending } = sending();
  assertEquals(counts(sealed(pending).take(499)), [[1, 0, 0]]);
  assertEquals(counts(sealed(pending).take(499)), []);
});

Deno.test("PendingTallies.take() returns tallies that were on their way for too long", () => {
  // Its sender may be dead: the marker expires.
  const { pending, tally } = sending();
  const again = sealed(pending).take(500);
  assertEquals(counts(again), [[1, 0, 0], [0, 1, 0]]);
  assertStrictEquals(again[1], tally);
});

for (const ms of [60_000, 3_600_000]) {
  Deno.test(`PendingTallies.take() returns tallies on their way when the clock went back ${ms} ms`, () => {
    const pending = filled([UNDER, failure, 10_000_000]);
    pending.sending(sealed(pending).take(10_000_000)[0]!, 10_000_000, 500);
    assertEquals(counts(sealed(pending).take(10_000_000 - ms, 500)), [[0, 1, 0]]);
  });
}

Deno.test("PendingTallies.putBack() makes the same tally wait again", () => {
  const { pending, tally } = sending();
  sealed(pending).take(0);
  pending.putBack(tally);
  assertEquals(pending.countWaiting(0), 1);
  assertStrictEquals(sealed(pending).take(0)[0], tally);
});

Deno.test("PendingTallies.sending() lets a tally wait no longer that was put back meanwhile", () => {
  // Two failures in `strong` each take along what is not confirmed. The first gives it back.
  const pending = filled([UNDER, failure, 0]);
  const [tally] = pending.takeAll(0, 500);
  pending.putBack(tally!);
  pending.sending(tally!, 1, 500);
  assertEquals([pending.countWaiting(1, 500), pending.underWay], [0, true]);
  assertEquals(pending.lay(snapshotOf({}), 0).totals.failures, 1);
  pending.remove(tally!);
  assert(pending.empty);
});

Deno.test("PendingTallies.remove() removes a tally wherever it is, and none twice", () => {
  const { pending, tally } = sending();
  sealed(pending).take(0);
  // It expired and waits, and then its answer comes.
  pending.countWaiting(500);
  pending.remove(tally);
  pending.remove(tally);
  assert(pending.empty);
});

Deno.test("tallyOf() returns the same tally each time, except for its age", () => {
  const pending = filled([UNDER, success, 0]);
  const [tally] = sealed(pending).take(0);
  const tallies = [tallyOf(tally!, 0), tallyOf(tally!, 300), tallyOf(tally!, -5)];
  assertEquals(
    tallies.map(({ id, ageMs }) => [id, ageMs]),
    [0, 300, 0].map((age) => [tally!.id, age]),
  );
  assertEquals(tallies[0], {
    id: tally!.id,
    at: 0,
    ...UNDER,
    ...success,
    rejected: 0,
    ageMs: 0,
    lease: null,
  });
  pending.gather(UNDER, success, 0, 0, SEGMENT);
  assertNotEquals(sealed(pending).take(0)[0]!.id, tally!.id);
});

Deno.test("PendingTallies.countWaiting() counts waiting tallies, and checks those on their way", () => {
  const pending = filled([UNDER, success, 0]);
  assertEquals([pending.countWaiting(0), pending.underWay], [0, false]);
  const [tally] = sealed(pending).take(0);
  pending.sending(tally!, 0, 500);
  pending.sending(tally!, 100, 500);
  assertEquals([pending.countWaiting(0), pending.underWay], [0, true]);
  assertEquals([pending.countWaiting(600), pending.underWay], [1, false]);
  pending.sending(tally!, 600, 500);
  pending.remove(tally!);
  assert(!pending.underWay);
});

Deno.test("PendingTallies.lay() adds all tallies on their way, late outcomes to totals only", () => {
  const pending = filled([UNDER, failure, 0], [UNDER, success, 0], [
    { ...UNDER, generation: 9 },
    failure,
    0,
  ]);
  pending.reject(0);
  const laid = pending.lay(snapshotOf({ consecutiveFailures: 3 }), 0);
  assertEquals(laid.totals, { successes: 1, failures: 2, rejected: 1, slow: 0 });
  assertEquals([laid.consecutiveFailures, laid.consecutiveSuccesses], [0, 1]);
  assertEquals(laid.window, { successes: 1, failures: 1, slow: 0 });
});

Deno.test("PendingTallies() loses nothing and invents nothing", () => {
  const step = fc.oneof(
    fc.record({
      kind: fc.constant("gather"),
      failed: fc.boolean(),
      generation: fc.integer({ min: -1, max: 2 }),
    }),
    fc.record({ kind: fc.constant("alone"), failed: fc.boolean(), generation: fc.nat(2) }),
    fc.record({
      kind: fc.constantFrom("reject", "send", "advance"),
      failed: fc.constant(false),
      generation: fc.constant(0),
    }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const pending = new PendingTallies();
      const put = [0, 0, 0];
      const got = [0, 0, 0];
      let now = 0;
      const send = () => {
        for (const tally of sealed(pending).take(now, 500)) {
          assert(tally.generation === TOTALS_ONLY || tally.lastAt - tally.firstAt < SEGMENT);
          got[0]! += tally.successes;
          got[1]! += tally.failures;
          got[2]! += tally.rejected;
          pending.sending(tally, now, 500);
          pending.remove(tally);
        }
      };
      for (const { kind, failed, generation } of steps) {
        const outcome = failed ? failure : success;
        if (kind === "advance") now += 400;
        else if (kind === "send") send();
        else if (kind === "reject") pending.reject(now);
        else if (kind === "gather") {
          pending.gather({ epoch: "e", generation, began: 1 }, outcome, 0, now, SEGMENT);
        } else {
          const tally = pending.single(
            { epoch: "e", generation, began: 1, lease: null },
            outcome,
            0,
            now,
          );
          pending.sending(tally, now, 500);
          // Without an answer, it is sent again.
          pending.putBack(tally);
        }
        if (kind === "reject") put[2]!++;
        else if (kind === "gather" || kind === "alone") put[failed ? 1 : 0]!++;
      }
      send();
      assertEquals([got, pending.empty], [put, true]);
    }),
    seeded(500),
  );
});

Deno.test("isLate() compares epoch, generation and its beginning, and accepts the unknown in the first generation", () => {
  const s = snapshotOf({ epoch: "e", generation: 1, began: 5 });
  const cases: [string, number, number, boolean][] = [
    ["e", 1, 5, false],
    ["e", 1, 6, true],
    ["e", 2, 5, true],
    ["f", 1, 5, true],
    ["", 0, 0, false],
    ["", TOTALS_ONLY, 0, true],
    ["e", TOTALS_ONLY, 5, true],
  ];
  for (const [epoch, generation, began, late] of cases) {
    assertEquals(isLate({ epoch, generation, began }, s), late, `${epoch} ${generation}`);
  }
  assertEquals(isLate({ epoch: "", generation: 0, began: 0 }, snapshotOf({ generation: 2 })), true);
  const absent = snapshotOf({ epoch: "", generation: 0, began: 0 });
  assertEquals(isLate({ epoch: "", generation: 0, began: 0 }, absent), false);
  assertEquals(isLate({ epoch: "e", generation: 1, began: 1 }, absent), true);
});

Deno.test("tallyOf() contains the calls in their order, with their ages, if they are requested", () => {
  const pending = new PendingTallies();
  const call = (failures: number, slow: number, text: string | null) => ({
    ...{ successes: 1 - failures, failures, slow, text },
  });
  const gather = (under: typeof UNDER, ...calls: ReturnType<typeof call>[]) => {
    for (const [i, one] of calls.entries()) pending.gather(under, one, 0, 10 * i, SEGMENT);
    const [tally] = sealed(pending).take(0);
    return tallyOf(tally!, 100).calls?.map(({ failed, slow, text, ageMs }) => {
      return [failed ? "failure" : "success", slow ? "slow" : "", text, ageMs];
    });
  };
  assertEquals(gather(UNDER, call(0, 1, null), call(0, 0, null), call(1, 1, "why")), [
    ...[["success", "slow", null, 100], ["success", "", null, 90], ["failure", "slow", "why", 80]],
  ]);
  // Of these, failures do not end a tally.
  assertEquals(
    gather({ epoch: "", generation: TOTALS_ONLY, began: 0 }, ...[
      ...[call(1, 0, "a"), call(0, 1, null), call(1, 1, null)],
    ]),
    [["failure", "", "a", 100], ["success", "slow", null, 90], ["failure", "slow", null, 80]],
  );
});

Deno.test("tallyOf() contains no data of single calls unless requested", () => {
  const pending = new PendingTallies();
  pending.gather(UNDER, { successes: 0, failures: 1, slow: 1 }, 0, 0, SEGMENT);
  const tally = tallyOf(sealed(pending).take(0)[0]!, 0);
  assertEquals("calls" in tally, false);
});

Deno.test("PendingTallies() keeps details of a thousand calls that wait, and counts all of them", () => {
  const pending = new PendingTallies();
  const under = { epoch: "", generation: TOTALS_ONLY, began: 0 };
  for (let i = 0; i < 1_500; i++) {
    pending.gather(under, { successes: 0, failures: 1, slow: 1, text: "why" }, 0, 0, SEGMENT);
  }
  const { failures, calls } = tallyOf(sealed(pending).take(0)[0]!, 0);
  assertEquals([failures, calls?.length], [1_500, 1_000]);
});
