// The live record of the memory store, and what may be booked on it.
import { admissionOf } from "../../../src/records.ts";
import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import fc from "fast-check";
import { createFuse } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { seeded } from "../../support/units.ts";
import { SHAPE, Subject } from "./subject.ts";
import type { Tally } from "@fuse/edge/store";
import { memory } from "../../support/drivers.ts";

Deno.test("peek() gives the live record, the same as long as it lives", () => {
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
  Deno.test(`peek()'s record reads as absent once it was ${how}`, () => {
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

/** A live record, what it was admitted under, and a way to book on it. */
function booking(fields: Partial<Tally> = {}) {
  const subject = new Subject(2);
  subject.record("a", { policyHash: "hash", ...fields });
  const live = subject.peek("a")!;
  const { epoch, generation, began } = live;
  const book = (
    {
      under = { epoch, generation, began },
      failed = false,
      slow = false,
      hash = "hash",
      shape = SHAPE,
    } = {},
  ) => subject.book(live, under, { failed, slow, at: subject.clock.now() }, { shape, hash });
  return { subject, live, book, under: { epoch, generation, began } };
}

Deno.test("book() counts as record() does", () => {
  const outcome = fc.record({ failed: fc.boolean(), slow: fc.boolean(), afterMs: fc.nat(4000) });
  const shape = { windowMs: 10_000, windowSize: 5 };
  for (const windowSize of [0, 5]) {
    fc.assert(
      fc.property(fc.array(outcome, { maxLength: 40 }), (outcomes) => {
        const [booked, recorded] = [new Subject(), new Subject()];
        for (const { failed, slow, afterMs } of outcomes) {
          for (const subject of [booked, recorded]) {
            subject.clock.advance(afterMs);
            const live = subject.peek("a");
            if (subject === recorded || live === undefined) {
              subject.record("a", {
                shape: { ...shape, windowSize },
                ...live === undefined ? {} : admissionOf(live),
                successes: failed ? 0 : 1,
                failures: failed ? 1 : 0,
                slow: slow ? 1 : 0,
              });
              continue;
            }
            const { epoch, generation, began } = live;
            const policy = { shape: { ...shape, windowSize }, hash: "" };
            assert(subject.book(live, { epoch, generation, began }, { failed, slow }, policy));
          }
        }
        const read = (subject: Subject) =>
          subject.store.read("a", { at: 0, shape: { ...shape, windowSize } });
        assertEquals(read(booked), read(recorded));
      }),
      seeded(150),
    );
  }
});

Deno.test("book() counts on a half-open record too", () => {
  const { subject, live } = booking();
  subject.open("a", 1);
  subject.clock.advance(1);
  subject.acquire("a");
  const { epoch, generation, began } = live;
  const policy = { shape: SHAPE, hash: "hash" };
  assert(subject.book(live, { epoch, generation, began }, { failed: true }, policy));
  assertEquals(live.halfOpen.failures, 1);
});

Deno.test("book() refuses what is not current, and does nothing", () => {
  const { subject, book, under } = booking();
  const before = subject.read("a");
  assert(!book({ under: { ...under, generation: 2 } }));
  assert(!book({ under: { ...under, epoch: "other" } }));
  assert(!book({ under: { epoch: "", generation: 0, began: 0 } }));
  assert(!book({ under: { epoch: "", generation: -1, began: 0 } }));
  assertEquals(subject.read("a"), before);
  subject.open("a");
  assert(!book());
});

Deno.test("book() refuses under an override, and after another policy wrote", () => {
  const { subject, book, live } = booking();
  assert(!book({ hash: "other" }));
  assert(book());
  subject.override("a", "disabled");
  assert(!book({ under: admissionOf(live) }));
});

Deno.test("book() refuses a record that was dropped", () => {
  // It reads as absent, and so did the circuit when its first calls were admitted.
  const { subject, book, under } = booking();
  subject.store.remove("a");
  assert(!book({ under }));
  assert(
    !book({ under: { epoch: "", generation: 0, began: 0 } }),
    "admitted when the circuit was unknown",
  );
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
