// The memory store beyond the contract that every driver keeps: options, lists, lives and segments.
import { admissionOf } from "../../../src/records.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { createFuse } from "@fuse/edge";
import { policyOf } from "../../support/units.ts";
import { AT, SHAPE, Subject } from "./subject.ts";
import type { Snapshot } from "@fuse/edge/store";
import { memory } from "../../support/drivers.ts";

Deno.test("memory() answers every operation synchronously", () => {
  const subject = new Subject();
  const { store } = subject;
  const answers = [
    store.read("a", AT),
    subject.record("a"),
    subject.acquire("a"),
    store.transition("a", subject.transition()),
    store.override("a", { id: "", ...AT, kind: null, until: null, reason: null, actor: null }),
    store.list({ cursor: null, limit: 10, at: 0, shape: () => SHAPE }),
    store.remove("a"),
  ];
  assert(answers.every((answer) => !(answer instanceof Promise)));
  assertEquals([store.name, store.traits], [
    "memory",
    { persistent: false, shared: false, audited: false },
  ]);
  assertEquals(store.history, undefined);
});

Deno.test("memory() refuses invalid options", () => {
  for (const maxCircuits of [0, -1, 1.5, NaN, Infinity, "5", null]) {
    assertThrows(
      () => memory({ maxCircuits: maxCircuits as number }),
      Error,
      `Cannot create memory store: "maxCircuits" must be a positive integer`,
    );
  }
  for (const clock of [5, null, "now"]) {
    assertThrows(() => memory({ clock: clock as never }), Error, `"clock" must be a function`);
  }
  for (const options of [null, 5, "memory"]) {
    assertThrows(() => memory(options as never), Error, "Cannot create memory store");
  }
  assertThrows(() => memory({ maxCircuit: 5 } as never), TypeError, `no option "maxCircuit"`);
});

Deno.test("memory() uses its own clock, or the caller's if it has none", () => {
  const subject = new Subject();
  assertEquals(subject.read("a").now, 1_000_000);
  assertEquals((memory().read("a", { at: 77, shape: SHAPE }) as Snapshot).now, 77);
});

Deno.test("memory() creates nothing for reads, acquires, releases, removals and transitions that lose", () => {
  const subject = new Subject();
  const expected = { epoch: "e", generation: 1, began: 1 };
  for (let i = 0; i < 100; i++) {
    subject.read(`k${i}`);
    subject.acquire(`k${i}`);
    subject.peek(`k${i}`);
    subject.store.transition(`k${i}`, subject.transition({ expected }));
    subject.override(`k${i}`, null);
    subject.store.remove(`k${i}`);
  }
  assertEquals(subject.keys, []);
});

Deno.test("the event evicted carries the identity of the evicted circuit", async () => {
  const fuse = createFuse({ stores: { array: memory({ maxCircuits: 1 }) } });
  const evicted: unknown[] = [];
  fuse.on("evicted", ({ type: _, ...identity }) => void evicted.push(identity));
  await fuse.for({ type: "tenant", id: "x y" }).make("a").call(() => 1);
  await fuse.make("b").call(() => 1);
  const context = "tenant:x%20y";
  assertEquals(evicted, [
    { key: `a:for:${context}`, store: "array", name: "a", context, boundary: null },
  ]);
});

Deno.test("list() returns copies, complete records and no leases", () => {
  const subject = new Subject();
  subject.record("a", { shape: { ...SHAPE, windowSize: 3 }, failures: 1 });
  const { records } = subject;
  assertEquals(records.length, 1);
  assertEquals(records[0]!.outcomes, "SF");
  subject.record("a", { epoch: subject.peek("a")!.epoch, generation: 1, failures: 1 });
  assertEquals(records[0]!.segments[0]!.failures, 1);
  assertEquals(records[0]!.snapshot.totals.failures, 1);
});

Deno.test("list() returns no evidence from under an expired override", () => {
  const subject = new Subject();
  subject.override("a", "metrics_only", 1000);
  const { epoch, generation } = subject.peek("a")!;
  subject.record("a", { epoch, generation, failures: 1, shape: { ...SHAPE, windowSize: 3 } });
  subject.clock.advance(1000);
  const page = subject.store.list({ cursor: null, limit: 1, at: 0, shape: () => SHAPE });
  const [record] =
    (page as unknown as { records: { segments: unknown[]; outcomes: string }[] }).records;
  assertEquals([record!.segments, record!.outcomes], [[], ""]);
});

Deno.test("memory() counts a call in the segment in which it ended, and drops segments that left the window", () => {
  const subject = new Subject();
  const window = () => subject.read("a").window;
  subject.record("a");
  const { epoch, generation, began } = subject.peek("a")!;
  const current = { epoch, generation, began };
  subject.record("a", { ...current, ageMs: 8500 });
  assertEquals(window().successes, 2);
  subject.clock.advance(1000);
  assertEquals(window().successes, 1);
  subject.record("a", { ...current, ageMs: 10_001 });
  assertEquals(window().successes, 1);
  assertEquals(subject.read("a").totals.successes, 3);
  subject.clock.advance(9000);
  assertEquals(window().successes, 0);
});

Deno.test("memory() holds at most eleven segments however long it runs", () => {
  const subject = new Subject();
  subject.record("a");
  const { epoch, generation, began } = subject.peek("a")!;
  for (let i = 0; i < 500; i++) {
    subject.clock.advance(700);
    subject.record("a", { epoch, generation, began });
  }
  const [record] = subject.records;
  assert(record!.segments.length <= 11, `${record!.segments.length}`);
});

Deno.test("memory() adopts another windowSize with as many outcomes as it holds", () => {
  const subject = new Subject();
  const record = (windowSize: number, failures: number) => {
    const live = subject.peek("a");
    const under = live === undefined ? {} : admissionOf(live);
    const shape = { ...SHAPE, windowSize };
    subject.record("a", { ...under, shape, successes: 1 - failures, failures });
  };
  const last = (windowSize: number) =>
    (subject.store.read("a", { at: 0, shape: { ...SHAPE, windowSize } }) as Snapshot).last;
  for (const failed of [1, 1, 0, 0, 1]) record(5, failed);
  assertEquals(last(5), { size: 5, failures: 3 });
  assertEquals(last(2), { size: 2, failures: 1 });
  record(3, 1);
  assertEquals(last(3), { size: 3, failures: 2 });
  record(10, 1);
  assertEquals(last(10), { size: 4, failures: 3 });
  for (let i = 0; i < 20; i++) record(10, 0);
  assertEquals(last(10), { size: 10, failures: 0 });
});

Deno.test("memory() remembers an id for 60 s, and then forgets it", () => {
  const subject = new Subject();
  subject.record("a", { id: "1" });
  subject.record("a", { id: "1" });
  assertEquals(subject.read("a").totals.successes, 1);
  subject.clock.advance(59_999);
  subject.record("a", { id: "1" });
  assertEquals(subject.read("a").totals.successes, 1);
  subject.clock.advance(1);
  subject.record("a", { id: "1" });
  assertEquals(subject.read("a").totals.successes, 2);
});

Deno.test("memory() gives each life of a record another epoch, also without ids", () => {
  const subject = new Subject();
  const epochs = new Set<string>();
  for (let i = 0; i < 50; i++) {
    subject.record("a");
    epochs.add(subject.peek("a")!.epoch);
    subject.store.remove("a");
  }
  assertEquals(epochs.size, 50);
  assert(!epochs.has(""));
});

Deno.test("memory() measures by the shape of the policy", () => {
  const { shape, hash } = policyOf({ strategy: "count_window", windowSize: 10, windowMs: 500 });
  const subject = new Subject();
  const first = subject.record("a", { shape, policyHash: hash, failures: 1 });
  assertEquals(first.snapshot.policyHash, "");
  const s = subject.store.read("a", { at: 0, shape }) as Snapshot;
  assertEquals([s.last, s.window.failures], [{ size: 2, failures: 1 }, 1]);
  // A writer sees the policy of the previous writer.
  const next = subject.record("a", { shape, policyHash: "next" });
  assertEquals(next.snapshot.policyHash, hash);
});
