// The live record of the memory store, and the outcomes that may be booked on it.
import { admissionOf } from "../../../src/records.ts";
import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import fc from "fast-check";
import { CircuitBreakerOpenError, createFuse } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { seeded } from "../../support/units.ts";
import { AT, SHAPE, Subject } from "./subject.ts";
import { memory } from "../../support/drivers.ts";

Deno.test("peek() returns the live record, the same object for its whole life", () => {
  const subject = new Subject(1);
  assertEquals(subject.peek("a"), undefined);
  subject.record("a", { failures: 1, successes: 0 });
  const live = subject.peek("a")!;
  assertStrictEquals(subject.peek("a"), live);
  assertEquals([live.state, live.generation, live.consecutiveFailures], ["CLOSED", 1, 1]);
  subject.record("a", { failures: 1, successes: 0 });
  assertEquals(live.consecutiveFailures, 2);
  subject.open("a");
  assertEquals([live.state, live.generation], ["OPEN", 2]);
});

for (const how of ["evicted", "removed"]) {
  Deno.test(`the record of peek() reads as absent after it was ${how}`, () => {
    const subject = new Subject(1);
    subject.record("a");
    subject.override("a", "forced_open");
    subject.override("a", null);
    const live = subject.peek("a")!;
    if (how === "evicted") subject.record("b");
    else assertEquals(subject.store.remove("a"), true);
    assertEquals([live.state, live.epoch, live.generation, live.override], ["CLOSED", "", 0, null]);
    assertEquals(subject.peek("a"), undefined);
    assertEquals(subject.read("a").generation, 0);
    assertEquals(subject.store.remove("a"), false);
  });
}

for (const ownClock of [true, false]) {
  const whose = ownClock ? "a clock of its own" : "the caller's clock";
  Deno.test(`book() counts as record() does, or changes nothing, in a store with ${whose}`, () => {
    let bookings = 0;
    const outcome = fc.record({
      failed: fc.boolean(),
      slow: fc.boolean(),
      // Clocks can also be set back.
      afterMs: fc.oneof(fc.nat(4000), fc.integer({ min: -3000, max: 0 })),
      wide: fc.boolean(),
    });
    for (const windowSize of [0, 5]) {
      const narrow = { windowMs: 10_000, windowSize };
      const wide = { windowMs: 14_321, windowSize: 2 * windowSize };
      fc.assert(
        fc.property(fc.array(outcome, { maxLength: 40 }), (outcomes) => {
          const [booked, recorded] = [new Subject(9, ownClock), new Subject(9, ownClock)];
          for (const { failed, slow, afterMs, ...asked } of outcomes) {
            const shape = asked.wide ? wide : narrow;
            for (const subject of [booked, recorded]) {
              subject.clock.set(subject.clock.now() + afterMs);
              const live = subject.peek("a");
              if (
                subject === booked && live !== undefined && !failed && !slow &&
                subject.book(live, live.turn, shape)
              ) {
                bookings++;
                continue;
              }
              subject.record("a", {
                shape,
                ...live === undefined ? {} : admissionOf(live),
                successes: failed ? 0 : 1,
                failures: failed ? 1 : 0,
                slow: slow ? 1 : 0,
              });
            }
            assertEquals(booked.peek("a")!.totals, recorded.peek("a")!.totals);
          }
          for (const shape of [narrow, wide]) {
            const read = ({ store, at }: Subject) => store.read("a", { at, shape });
            assertEquals(read(booked), read(recorded));
          }
        }),
        seeded(150),
      );
    }
    // A moment of the caller's says nothing about a store with a clock of its own.
    assertEquals(bookings > 0, !ownClock);
  });
}

Deno.test("book() refuses another turn, and changes nothing", () => {
  const subject = new Subject(9, false);
  subject.record("a");
  const live = subject.peek("a")!;
  const { turn } = live;
  subject.record("a", { policyHash: "other" });
  const before = subject.read("a");
  assert(!subject.book(live, turn));
  assertEquals(subject.read("a"), before);
  assert(subject.book(live, live.turn));
});

Deno.test("book() refuses a dropped record", () => {
  const subject = new Subject(9, false);
  subject.record("a");
  subject.record("a");
  const live = subject.peek("a")!;
  const { turn } = live;
  assert(subject.book(live, turn));
  subject.store.remove("a");
  assert(!subject.book(live, turn));
});

Deno.test("the turn of a live record changes with each change of generation or writer", () => {
  const subject = new Subject();
  subject.record("a");
  const live = subject.peek("a")!;
  const turns = [live.turn];
  const changes = [
    () => subject.record("a", { policyHash: "other" }),
    () => subject.open("a", 1_000),
    () => {
      subject.clock.advance(1_000);
      subject.acquire("a");
    },
    () => subject.close("a"),
    () => subject.override("a", "disabled", 1_000),
    () => {
      subject.clock.advance(1_000);
      // An expired override ends with the next write.
      subject.record("a", { policyHash: "other" });
    },
    () => subject.override("a", "forced_open"),
    () => subject.override("a", null),
    () => {
      const [record] = subject.records;
      const by = { reason: null, actor: null, existing: "replace" } as const;
      subject.store.restore("a", { id: "", ...AT, record: record!, ...by });
    },
  ];
  for (const change of changes) {
    change();
    assert(!turns.includes(live.turn), `${change}`);
    turns.push(live.turn);
  }
  subject.record("a", { policyHash: "other" });
  assertEquals(live.turn, turns.at(-1), "one that changes nothing of the kind");
  subject.store.remove("a");
  assertEquals(live.turn, 0);
  subject.record("a");
  assert(!turns.includes(subject.peek("a")!.turn));
});

Deno.test("bars() answers as acquire() does during the cooldown, and ages the record", () => {
  for (const ownClock of [true, false]) {
    const subject = new Subject(9, ownClock);
    subject.record("a");
    const live = subject.peek("a")!;
    const bars = () => subject.store.bars(live, subject.at, SHAPE);
    assert(!bars(), "CLOSED");
    subject.open("a", 1_000);
    subject.clock.advance(999);
    assert(bars());
    assertEquals(live.now, subject.clock.now());
    assert(!subject.acquire("a").granted);
    subject.clock.advance(1);
    assert(!bars(), "the cooldown has passed");
    assertEquals(live.state, "OPEN");
    subject.acquire("a");
    assert(!bars(), "HALF_OPEN");
    subject.open("a", 1_000);
    subject.override("a", "forced_closed");
    assert(!bars(), "under an override");
  }
});

Deno.test("a call that began before its circuit was known counts after an eviction", async () => {
  const clock = new FakeClock();
  const fuse = createFuse({ stores: { array: memory({ maxCircuits: 1 }) }, clock: clock.now });
  const breaker = fuse.make("a", { failureThreshold: 1 });
  const work = Promise.withResolvers<never>();
  const slow = breaker.tryCall(() => work.promise);
  await breaker.call(() => "made the record");
  await fuse.make("b").call(() => "and this one took its place");
  work.reject(new Error("down"));
  await slow;
  assertEquals((await breaker.getMetrics()).totalFailures, 1);
  assertEquals(await breaker.getState(), "OPEN");
});

Deno.test("a call that the cooldown rejects asks for no slot and draws no token", async () => {
  const clock = new FakeClock();
  const array = memory();
  let acquired = 0;
  const { acquire } = array;
  array.acquire = (...args) => {
    acquired++;
    return acquire.apply(array, args);
  };
  const fuse = createFuse({ stores: { array }, clock: clock.now });
  const breaker = fuse.make("a", { failureThreshold: 1, cooldownMs: 1_000 });
  await breaker.tryCall(() => Promise.reject(new Error("down")));
  for (const retryAfterMs of [1_000, 400]) {
    const { retryAfterMs: told } = await assertRejects(
      () => breaker.call(() => 1),
      CircuitBreakerOpenError,
    );
    assertEquals([told, acquired], [retryAfterMs, 0]);
    clock.advance(600);
  }
  assert((await breaker.tryCall(() => 1)).ok, "the cooldown has passed");
  assertEquals(acquired, 1);
});
