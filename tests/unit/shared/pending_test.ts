import { assert, assertEquals, assertNotEquals, assertStrictEquals } from "@std/assert";
import fc from "fast-check";
import { TOTALS_ONLY } from "@fuse/edge";
import { isLate, isUnderWay, Outbox, type Parcel, tallyOf } from "../../../src/shared/pending.ts";
import { seeded, snapshotOf } from "../../support/units.ts";

const SEGMENT = 1000;
const UNDER = { epoch: "e", generation: 1 };
const UNCOUNTED = { epoch: "", generation: TOTALS_ONLY };
const success = { successes: 1, failures: 0, slow: 0 };
const failure = { successes: 0, failures: 1, slow: 0 };

function filled(...steps: [under: typeof UNDER, outcome: typeof success, at: number][]): Outbox {
  const outbox = new Outbox();
  for (const [under, outcome, at] of steps) outbox.gather(under, outcome, 0, at, SEGMENT);
  return outbox;
}

/** What would be sent, as successes, failures and rejections. */
const counts = (parcels: readonly Parcel[]) =>
  parcels.map(({ successes, failures, rejected }) => [successes, failures, rejected]);

Deno.test("Outbox is empty until something is put in, and after all was taken out", () => {
  const outbox = new Outbox();
  assert(outbox.empty && outbox.pending === null);
  assertEquals(outbox.take(0), []);
  outbox.gather(UNDER, success, 0, 0, SEGMENT);
  assert(!outbox.empty);
  for (const parcel of outbox.take(0)) {
    outbox.sending(parcel, 0, 500);
    assert(!outbox.empty);
    outbox.remove(parcel);
  }
  assert(outbox.empty);
});

Deno.test("Outbox.gather() puts outcomes of one generation together", () => {
  const outbox = filled([UNDER, success, 0], [UNDER, success, 10], [
    UNDER,
    { ...success, slow: 1 },
    20,
  ]);
  const [parcel] = outbox.take(20);
  assertEquals([parcel!.successes, parcel!.slow, parcel!.firstAt, parcel!.lastAt], [3, 1, 0, 20]);
});

Deno.test("Outbox.gather() ends a tally with its failure", () => {
  const outbox = filled(
    [UNDER, success, 0],
    [UNDER, failure, 0],
    [UNDER, failure, 0],
    [UNDER, success, 0],
  );
  assertEquals(counts(outbox.take(0)), [[1, 1, 0], [0, 1, 0], [1, 0, 0]]);
});

Deno.test("Outbox.gather() keeps generations, epochs and window segments apart", () => {
  const outbox = filled(
    [UNDER, success, 0],
    [{ ...UNDER, generation: 2 }, success, 0],
    [{ ...UNDER, epoch: "f" }, success, 0],
    [{ ...UNDER, epoch: "f" }, success, SEGMENT - 1],
    [{ ...UNDER, epoch: "f" }, success, SEGMENT],
    // A clock that went back.
    [{ ...UNDER, epoch: "f" }, success, SEGMENT - 1],
  );
  assertEquals(counts(outbox.take(0)), [[1, 0, 0], [1, 0, 0], [2, 0, 0], [1, 0, 0], [
    1,
    0,
    0,
  ]]);
});

Deno.test("Outbox.gather() puts what feeds totals only together, whatever it is and however old", () => {
  const outbox = filled(
    [UNCOUNTED, failure, 0],
    [UNCOUNTED, success, 10 * SEGMENT],
    [UNCOUNTED, failure, 20 * SEGMENT],
  );
  assertEquals(counts(outbox.take(0)), [[1, 2, 0]]);
});

Deno.test("Outbox.gather() remembers the longest Retry-After of a tally", () => {
  const outbox = new Outbox();
  outbox.gather(UNDER, success, 0, 0, SEGMENT);
  outbox.gather(UNDER, failure, 9000, 0, SEGMENT);
  assertEquals(outbox.take(0)[0]!.retryAfterMs, 9000);
});

Deno.test("Outbox.reject() lets rejections go along with the next outcome", () => {
  const outbox = new Outbox();
  outbox.reject(0);
  outbox.reject(5);
  assertEquals(outbox.pending!.generation, TOTALS_ONLY);
  outbox.gather(UNDER, success, 0, 7000, SEGMENT);
  outbox.reject(7000);
  const [parcel, ...more] = outbox.take(7000);
  assertEquals([more.length, parcel!.generation, parcel!.rejected, parcel!.firstAt], [
    0,
    1,
    3,
    7000,
  ]);
});

Deno.test("Outbox.alone() makes a parcel of one outcome, and takes the rejections along", () => {
  const outbox = new Outbox();
  outbox.reject(0);
  outbox.gather(UNDER, success, 0, 0, SEGMENT);
  outbox.reject(0);
  const parcel = outbox.alone({ ...UNDER, lease: "t" }, failure, 5, 0);
  assertEquals([parcel.lease, parcel.rejected, parcel.failures, parcel.retryAfterMs], [
    "t",
    2,
    1,
    5,
  ]);
  // The success stays behind, without them.
  assertEquals(counts(outbox.take(0)), [[1, 0, 0]]);
});

Deno.test("Outbox.alone() leaves nothing behind where only rejections waited", () => {
  const outbox = new Outbox();
  outbox.reject(0);
  outbox.alone({ ...UNDER, lease: null }, success, 0, 0);
  assert(outbox.empty);
});

/** One parcel with a failure under way until 500, and a success that waits. */
function sending() {
  const outbox = filled([UNDER, failure, 0]);
  const [parcel] = outbox.take(0);
  outbox.sending(parcel!, 0, 500);
  outbox.gather(UNDER, success, 0, 0, SEGMENT);
  return { outbox, parcel: parcel! };
}

Deno.test("Outbox.take() leaves alone what is under way", () => {
  const { outbox } = sending();
  assertEquals(counts(outbox.take(499)), [[1, 0, 0]]);
  assertEquals(counts(outbox.take(499)), []);
});

Deno.test("Outbox.take() hands over what was under way for too long", () => {
  // Whoever sent it may be dead: the marker lapses.
  const { outbox, parcel } = sending();
  const again = outbox.take(500);
  assertEquals(counts(again), [[1, 0, 0], [0, 1, 0]]);
  assertStrictEquals(again[1], parcel);
});

for (const ms of [60_000, 3_600_000]) {
  Deno.test(`Outbox.take() hands over what is under way when the clock went back ${ms} ms`, () => {
    const outbox = filled([UNDER, failure, 10_000_000]);
    outbox.sending(outbox.take(10_000_000)[0]!, 10_000_000, 500);
    assertEquals(counts(outbox.take(10_000_000 - ms, 500)), [[0, 1, 0]]);
  });
}

Deno.test("Outbox.putBack() lets a parcel wait again, the same one", () => {
  const { outbox, parcel } = sending();
  outbox.take(0);
  outbox.putBack(parcel);
  assertEquals(outbox.look(0).waiting, true);
  assertStrictEquals(outbox.take(0)[0], parcel);
});

Deno.test("Outbox.remove() forgets a parcel wherever it is, and none twice", () => {
  const { outbox, parcel } = sending();
  outbox.take(0);
  // It lapsed and waits, and then its answer comes.
  outbox.look(500);
  outbox.remove(parcel);
  outbox.remove(parcel);
  assert(outbox.empty);
});

Deno.test("tallyOf() says the same however often, but for its age", () => {
  const outbox = filled([UNDER, success, 0]);
  const [parcel] = outbox.take(0);
  const tallies = [tallyOf(parcel!, 0), tallyOf(parcel!, 300), tallyOf(parcel!, -5)];
  assertEquals(
    tallies.map(({ id, ageMs }) => [id, ageMs]),
    [0, 300, 0].map((age) => [parcel!.id, age]),
  );
  assertEquals(tallies[0], {
    id: parcel!.id,
    at: 0,
    ...UNDER,
    ...success,
    rejected: 0,
    ageMs: 0,
    lease: null,
  });
  outbox.gather(UNDER, success, 0, 0, SEGMENT);
  assertNotEquals(outbox.take(0)[0]!.id, parcel!.id);
});

Deno.test("Outbox.look() tells what waits, and of successes under way", () => {
  const outbox = filled([UNDER, success, 0]);
  assertEquals(outbox.look(0), { waiting: false, successesUnderWay: false });
  const [parcel] = outbox.take(0);
  outbox.sending(parcel!, 0, 500);
  outbox.sending(parcel!, 100, 500);
  assertEquals(outbox.look(0), { waiting: false, successesUnderWay: true });
  assertEquals(outbox.look(600), { waiting: true, successesUnderWay: false });
  outbox.sending(parcel!, 600, 500);
  outbox.remove(parcel!);
  assertEquals(outbox.look(600).successesUnderWay, false);
});

Deno.test("Outbox.lay() lays all over that is on its way, late outcomes over totals only", () => {
  const outbox = filled([UNDER, failure, 0], [UNDER, success, 0], [
    { ...UNDER, generation: 9 },
    failure,
    0,
  ]);
  outbox.reject(0);
  const laid = outbox.lay(snapshotOf({ consecutiveFailures: 3 }));
  assertEquals(laid.totals, { successes: 1, failures: 2, rejected: 1, slow: 0 });
  assertEquals([laid.consecutiveFailures, laid.consecutiveSuccesses], [0, 1]);
  assertEquals(laid.window, { successes: 1, failures: 1, slow: 0 });
});

Deno.test("Outbox loses nothing and invents nothing", () => {
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
      const outbox = new Outbox();
      const put = [0, 0, 0];
      const got = [0, 0, 0];
      let now = 0;
      const send = () => {
        for (const parcel of outbox.take(now, 500)) {
          if (parcel.generation !== TOTALS_ONLY) assert(parcel.failures <= 1);
          assert(parcel.generation === TOTALS_ONLY || parcel.lastAt - parcel.firstAt < SEGMENT);
          got[0]! += parcel.successes;
          got[1]! += parcel.failures;
          got[2]! += parcel.rejected;
          outbox.sending(parcel, now, 500);
          outbox.remove(parcel);
        }
      };
      for (const { kind, failed, generation } of steps) {
        const outcome = failed ? failure : success;
        if (kind === "advance") now += 400;
        else if (kind === "send") send();
        else if (kind === "reject") outbox.reject(now);
        else if (kind === "gather") {
          outbox.gather({ epoch: "e", generation }, outcome, 0, now, SEGMENT);
        } else {
          const parcel = outbox.alone({ epoch: "e", generation, lease: null }, outcome, 0, now);
          outbox.sending(parcel, now, 500);
          // Not heard of: it comes again.
          outbox.putBack(parcel);
        }
        if (kind === "reject") put[2]!++;
        else if (kind === "gather" || kind === "alone") put[failed ? 1 : 0]!++;
      }
      send();
      assertEquals([got, outbox.empty], [put, true]);
    }),
    seeded(500),
  );
});

Deno.test("isLate() goes by epoch and generation, and lets the first generation take the unknown", () => {
  const s = snapshotOf({ epoch: "e", generation: 1 });
  const cases: [string, number, boolean][] = [
    ["e", 1, false],
    ["e", 2, true],
    ["f", 1, true],
    ["", 0, false],
    ["", TOTALS_ONLY, true],
    ["e", TOTALS_ONLY, true],
  ];
  for (const [epoch, generation, late] of cases) {
    assertEquals(isLate({ epoch, generation }, s), late, `${epoch} ${generation}`);
  }
  assertEquals(isLate({ epoch: "", generation: 0 }, snapshotOf({ generation: 2 })), true);
  const absent = snapshotOf({ epoch: "", generation: 0 });
  assertEquals(isLate({ epoch: "", generation: 0 }, absent), false);
  assertEquals(isLate({ epoch: "e", generation: 1 }, absent), true);
});

Deno.test("isUnderWay() holds until its moment, and not when a clock went back", () => {
  assertEquals([499, 500, 501].map((now) => isUnderWay(500, now, 500)), [true, false, false]);
  assertEquals([isUnderWay(500, 0, 500), isUnderWay(501, 0, 500)], [true, false]);
});

Deno.test("tallyOf() says which calls were slow and what is told of failures, where that is asked for", () => {
  const outbox = new Outbox();
  const call = (failures: number, slow: number, text: string | null) => ({
    ...{ successes: 1 - failures, failures, slow, text },
  });
  const gather = (under: typeof UNDER, ...calls: ReturnType<typeof call>[]) => {
    for (const one of calls) outbox.gather(under, one, 0, 0, SEGMENT);
    const [parcel] = outbox.take(0);
    const { slowCalls, errors } = tallyOf(parcel!, 0);
    return { slowCalls, errors };
  };
  assertEquals(
    gather(UNDER, call(0, 1, null), call(0, 0, null), call(0, 1, null), call(1, 1, "why")),
    { slowCalls: [0, 2, 3], errors: ["why"] },
  );
  // Where failures do not end a tally, successes still come first.
  assertEquals(
    gather({ epoch: "", generation: TOTALS_ONLY }, ...[
      ...[call(1, 0, "a"), call(0, 1, null), call(1, 1, null), call(0, 0, null), call(1, 0, "b")],
    ]),
    { slowCalls: [0, 3], errors: ["a", null, "b"] },
  );
});

Deno.test("tallyOf() says nothing of single calls where that is not asked for", () => {
  const outbox = new Outbox();
  outbox.gather(UNDER, { successes: 0, failures: 1, slow: 1 }, 0, 0, SEGMENT);
  const tally = tallyOf(outbox.take(0)[0]!, 0);
  assertEquals(["slowCalls" in tally, "errors" in tally], [false, false]);
});

Deno.test("Outbox keeps details of a thousand calls that wait, and counts all of them", () => {
  const outbox = new Outbox();
  const under = { epoch: "", generation: TOTALS_ONLY };
  for (let i = 0; i < 1_500; i++) {
    outbox.gather(under, { successes: 0, failures: 1, slow: 1, text: "why" }, 0, 0, SEGMENT);
  }
  const { failures, slowCalls, errors } = tallyOf(outbox.take(0)[0]!, 0);
  assertEquals([failures, slowCalls?.length, errors?.length], [1_500, 1_000, 1_000]);
});
