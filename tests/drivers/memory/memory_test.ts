// The memory store beyond the contract that every driver keeps: what it holds, and what it lets go.
import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  type AcquireRequest,
  type Answer,
  type CircuitRecord,
  createFuse,
  type ListPage,
  memory,
  type Override,
  type Recorded,
  type Shape,
  type Snapshot,
  type Store,
  type Tally,
  type TransitionRequest,
} from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { policyOf, seeded } from "../../support/units.ts";

const SHAPE: Shape = { windowMs: 10_000, windowSize: 0 };
const AT = { at: 0, shape: SHAPE };

/** A memory store with short names for what is done to it. */
class Subject {
  readonly clock = new FakeClock(1_000_000);
  readonly store: Store;
  readonly evicted: string[] = [];

  constructor(maxCircuits?: number) {
    this.store = memory({ maxCircuits, clock: this.clock.now });
  }

  tally(fields: Partial<Tally> = {}): Tally {
    return {
      id: "",
      ...AT,
      epoch: "",
      generation: 0,
      successes: 1,
      failures: 0,
      rejected: 0,
      slow: 0,
      ageMs: 0,
      lease: null,
      policyHash: "",
      ...fields,
    };
  }

  record(key: string, fields: Partial<Tally> = {}): Recorded {
    const answer = this.store.record(key, this.tally(fields)) as Recorded;
    this.evicted.push(...answer.evicted ?? []);
    return answer;
  }

  read(key: string): Snapshot {
    return this.store.read(key, AT) as Snapshot;
  }

  peek(key: string): Snapshot | undefined {
    return this.store.peek!(key);
  }

  open(key: string, cooldownMs = 1000): void {
    this.#evicting(this.store.transition(key, this.transition({ cooldownMs })));
  }

  close(key: string): void {
    this.#evicting(this.store.transition(key, this.transition({ to: "CLOSED", event: "reset" })));
  }

  transition(fields: Partial<TransitionRequest> = {}): TransitionRequest {
    const why = { reason: "test", actor: null, expected: null };
    return { id: "", ...AT, to: "OPEN", event: "opened", cooldownMs: 0, ...why, ...fields };
  }

  override(key: string, kind: Override | null, forMs: number | null = null): void {
    const until = forMs === null ? null : AT.at + forMs;
    const request = { id: "", ...AT, kind, until, reason: null, actor: null };
    this.#evicting(this.store.override(key, request));
  }

  acquire(key: string, fields: Partial<AcquireRequest> = {}) {
    const limits = { max: 1, leaseMs: 30_000, maxCooldownMs: 600_000 };
    return this.store.acquire(key, { id: "", ...AT, token: "t", ...limits, ...fields }) as {
      granted: boolean;
      moved: boolean;
    };
  }

  #evicting(answer: unknown): void {
    this.evicted.push(...(answer as Answer).evicted ?? []);
  }

  get records(): readonly CircuitRecord[] {
    const request = { cursor: null, limit: 1, at: 0, shape: () => SHAPE };
    return (this.store.list(request) as ListPage).records;
  }

  get keys(): string[] {
    return this.records.map(({ key }) => key).sort();
  }
}

Deno.test("memory() answers every operation at once", () => {
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

Deno.test("memory() refuses bad options", () => {
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

Deno.test("memory() goes by its own clock, else by the caller's", () => {
  const subject = new Subject();
  assertEquals(subject.read("a").now, 1_000_000);
  assertEquals((memory().read("a", { at: 77, shape: SHAPE }) as Snapshot).now, 77);
});

Deno.test("memory() creates nothing when it is read, asked for leave, or moved from what it is not", () => {
  const subject = new Subject();
  const expected = { epoch: "e", generation: 1 };
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

Deno.test("memory() keeps 10 000 circuits when nothing else is said", () => {
  const subject = new Subject();
  for (let i = 0; i < 10_000; i++) subject.record(`k${i}`);
  assertEquals(subject.evicted, []);
  subject.record("one more");
  assertEquals(subject.evicted, ["k0"]);
});

Deno.test("memory() stays within its bounds over 100 000 circuits", () => {
  const subject = new Subject(1000);
  for (let i = 0; i < 100_000; i++) subject.record(`k${i}`, { failures: i % 2 });
  assertEquals(subject.evicted.length, 99_000);
  assertEquals(subject.keys.length, 1000);
  assert(subject.keys.every((key) => Number(key.slice(1)) >= 99_000));
});

Deno.test("memory() drops the least recently used of its closed circuits, exactly", () => {
  // Against a list kept by hand.
  const key = fc.integer({ min: 0, max: 9 }).map((i) => `k${i}`);
  const does = fc.constantFrom("record", "book", "read", "acquire", "remove");
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 6 }),
      fc.array(fc.tuple(does, key), { maxLength: 80 }),
      (max, steps) => {
        const subject = new Subject(max);
        /** Least recently used first. */
        const model: string[] = [];
        const dropped: string[] = [];
        const use = (key: string) => {
          if (model.includes(key)) model.splice(model.indexOf(key), 1);
          else if (model.length === max) dropped.push(model.shift()!);
          model.push(key);
        };
        for (const [what, key] of steps) {
          const live = subject.peek(key);
          if (what === "record") {
            subject.record(key);
            use(key);
          } else if (what === "book" && live !== undefined) {
            const { epoch, generation } = live;
            const policy = { shape: SHAPE, hash: "" };
            assert(subject.store.book!(live, { epoch, generation }, false, false, 0, policy));
            use(key);
          } else if (what === "read") subject.read(key);
          else if (what === "acquire") subject.acquire(key);
          else if (what === "remove" && subject.store.remove(key)) {
            model.splice(model.indexOf(key), 1);
          }
          assertEquals(subject.keys, [...model].sort());
          assertEquals(subject.evicted, dropped);
        }
      },
    ),
    seeded(400),
  );
});

Deno.test("memory() drops closed circuits first, then the open ones by their cooldown, exactly", () => {
  // Against a list and a table kept by hand.
  const key = fc.integer({ min: 0, max: 11 }).map((i) => `k${i}`);
  const does = fc.constantFrom("record", "open", "open", "close", "advance", "remove");
  const cooldown = fc.integer({ min: 1, max: 5000 });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5 }),
      fc.array(fc.tuple(does, key, cooldown), { maxLength: 80 }),
      (max, steps) => {
        const subject = new Subject(max);
        /** Least recently used first. */
        const closed: string[] = [];
        const openUntil = new Map<string, number>();
        const dropped: string[] = [];
        const take = (key: string) => {
          openUntil.delete(key);
          if (closed.includes(key)) closed.splice(closed.indexOf(key), 1);
        };
        const create = (key: string) => {
          closed.push(key);
          while (closed.length + openUntil.size > max) {
            const passed = [...openUntil].filter(([, until]) => until <= subject.clock.now());
            const [first] = passed.sort(([, a], [, b]) => a - b);
            const victim = closed[0] === key ? first?.[0] : closed[0];
            if (victim === undefined) break;
            take(victim);
            dropped.push(victim);
          }
        };
        for (const [i, [what, key, ms]] of steps.entries()) {
          // Apart by its number, so that no two cooldowns end together.
          const cooldownMs = ms * 100 + i;
          const held = closed.includes(key) || openUntil.has(key);
          if (!held && what !== "advance" && what !== "remove") create(key);
          if (what === "record") {
            subject.record(key);
            if (!openUntil.has(key)) take(key), closed.push(key);
          } else if (what === "open") {
            subject.open(key, cooldownMs);
            take(key);
            openUntil.set(key, subject.clock.now() + cooldownMs);
          } else if (what === "close") {
            subject.close(key);
            take(key);
            closed.push(key);
          } else if (what === "advance") subject.clock.advance(ms * 100);
          else if (held) {
            subject.store.remove(key);
            take(key);
          }
          assertEquals(subject.keys, [...closed, ...openUntil.keys()].sort());
          assertEquals(subject.evicted, dropped);
        }
      },
    ),
    seeded(600),
  );
});

Deno.test("memory() counts a circuit as used when it closes or is released", () => {
  const subject = new Subject(3);
  subject.open("opened");
  subject.override("forced", "forced_open");
  subject.record("closed");
  subject.close("opened");
  subject.override("forced", null);
  subject.record("d");
  assertEquals(subject.evicted, ["closed"]);
  subject.record("e");
  assertEquals(subject.evicted, ["closed", "opened"]);
});

for (const kind of ["forced_open", "forced_closed", "disabled", "metrics_only"] as const) {
  Deno.test(`memory() keeps a circuit under ${kind} while a closed one may go`, () => {
    const subject = new Subject(2);
    subject.override("kept", kind);
    for (let i = 0; i < 20; i++) subject.record(`k${i}`);
    assertEquals(subject.keys, ["k19", "kept"]);
    assertEquals(subject.evicted.length, 19);
  });
}

Deno.test("memory() drops a circuit whose override has run out", () => {
  // Readers ignore it from then on, and nobody may ever write to it again.
  const subject = new Subject(2);
  subject.override("a", "disabled", 1000);
  subject.override("b", "disabled", 1000);
  subject.clock.advance(999);
  subject.record("c");
  assertEquals(subject.evicted, []);
  subject.clock.advance(1);
  subject.record("d");
  subject.record("e");
  subject.record("f");
  assert(!subject.keys.includes("a") && !subject.keys.includes("b"), subject.keys.join());
});

Deno.test("memory() keeps open and half-open circuits while a closed one may go", () => {
  const subject = new Subject(3);
  subject.open("open", 60_000);
  subject.open("half", 1000);
  subject.clock.advance(1000);
  assertEquals(subject.acquire("half").granted, true);
  for (let i = 0; i < 20; i++) subject.record(`k${i}`);
  assertEquals(subject.keys, ["half", "k19", "open"]);
});

Deno.test("memory() grows past its bounds rather than drop what is open, forced or busy", () => {
  const subject = new Subject(1);
  subject.open("busy", 1000);
  subject.clock.advance(1000);
  subject.acquire("busy");
  subject.open("open", 60_000);
  subject.override("forced", "forced_open");
  assertEquals([subject.keys, subject.evicted], [["busy", "forced", "open"], []]);
});

Deno.test("memory() drops the open circuit whose cooldown passed longest ago when no closed one is left", () => {
  const subject = new Subject(3);
  subject.open("last", 3000);
  subject.open("first", 1000);
  subject.open("second", 2000);
  subject.clock.advance(3000);
  for (const key of ["x", "y", "z"]) subject.open(key, 60_000);
  assertEquals(subject.evicted, ["first", "second", "last"]);
});

Deno.test("memory() does not drop a circuit that has opened again since it might have gone", () => {
  const subject = new Subject(3);
  for (const [key, ms] of [["a", 1000], ["b", 2000], ["c", 3000]] as const) subject.open(key, ms);
  subject.clock.advance(3000);
  subject.open("d", 60_000);
  subject.open("b", 60_000);
  subject.open("e", 60_000);
  assertEquals(subject.evicted, ["a", "c"]);
});

Deno.test("memory() makes all the room there is when an override runs out among others that stay", () => {
  const subject = new Subject(2);
  subject.override("a", "disabled", 1000);
  subject.override("b", "forced_open");
  subject.open("c", 500);
  subject.override("later", "disabled", 5000);
  assertEquals(subject.evicted, []);
  subject.clock.advance(1000);
  subject.record("d");
  assertEquals([subject.evicted, subject.keys], [["a", "c"], ["b", "d", "later"]]);
  subject.clock.advance(4000);
  subject.record("e");
  assertEquals(subject.keys, ["b", "e"]);
});

Deno.test("memory() drops an idle half-open circuit, and no busy one", () => {
  const subject = new Subject(1);
  subject.open("half", 1000);
  subject.clock.advance(1000);
  subject.acquire("half", { leaseMs: 500 });
  subject.open("x", 60_000);
  assertEquals(subject.evicted, []);
  subject.clock.advance(500);
  subject.open("y", 60_000);
  assertEquals(subject.evicted, ["half"]);
});

Deno.test("memory() comes back within its bounds when open circuits have closed", () => {
  const subject = new Subject(2);
  for (let i = 0; i < 10; i++) subject.open(`o${i}`, 60_000);
  assertEquals(subject.keys.length, 10);
  for (let i = 0; i < 10; i++) subject.close(`o${i}`);
  for (let i = 0; i < 20; i++) subject.record(`k${i}`);
  assertEquals(subject.keys.length, 2);
});

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
  const { epoch, generation } = live;
  const book = (
    { under = { epoch, generation }, failed = false, slow = false, hash = "hash", shape = SHAPE } =
      {},
  ) => subject.store.book!(live, under, failed, slow, subject.clock.now(), { shape, hash });
  return { subject, live, book, under: { epoch, generation } };
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
                epoch: live?.epoch ?? "",
                generation: live?.generation ?? 0,
                successes: failed ? 0 : 1,
                failures: failed ? 1 : 0,
                slow: slow ? 1 : 0,
              });
              continue;
            }
            const { epoch, generation } = live;
            const policy = { shape: { ...shape, windowSize }, hash: "" };
            assert(subject.store.book!(live, { epoch, generation }, failed, slow, 0, policy));
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
  const { epoch, generation } = live;
  const policy = { shape: SHAPE, hash: "hash" };
  assert(subject.store.book!(live, { epoch, generation }, true, false, 0, policy));
  assertEquals(live.halfOpen.failures, 1);
});

Deno.test("book() refuses what is not current, and does nothing", () => {
  const { subject, book, under } = booking();
  const before = subject.read("a");
  assert(!book({ under: { ...under, generation: 2 } }));
  assert(!book({ under: { ...under, epoch: "other" } }));
  assert(!book({ under: { epoch: "", generation: 0 } }));
  assert(!book({ under: { epoch: "", generation: -1 } }));
  assertEquals(subject.read("a"), before);
  subject.open("a");
  assert(!book());
});

Deno.test("book() refuses under an override, and after another policy wrote", () => {
  const { subject, book, live } = booking();
  assert(!book({ hash: "other" }));
  assert(book());
  subject.override("a", "disabled");
  assert(!book({ under: { epoch: live.epoch, generation: live.generation } }));
});

Deno.test("book() refuses a record that was dropped", () => {
  // It reads as absent, and so did the circuit when its first calls were admitted.
  const { subject, book, under } = booking();
  subject.store.remove("a");
  assert(!book({ under }));
  assert(!book({ under: { epoch: "", generation: 0 } }), "admitted when the circuit was unknown");
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

Deno.test("evicted is told with the identity of the circuit that went", async () => {
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

Deno.test("list() gives copies, whole records and no leases", () => {
  const subject = new Subject();
  subject.record("a", { shape: { ...SHAPE, windowSize: 3 }, failures: 1 });
  const { records } = subject;
  assertEquals(records.length, 1);
  assertEquals(records[0]!.outcomes, "SF");
  subject.record("a", { epoch: subject.peek("a")!.epoch, generation: 1, failures: 1 });
  assertEquals(records[0]!.segments[0]!.failures, 1);
  assertEquals(records[0]!.snapshot.totals.failures, 1);
});

Deno.test("list() gives no evidence of an override that has run out", () => {
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

Deno.test("memory() counts in the segment in which a call ended, and forgets what has left the window", () => {
  const subject = new Subject();
  const window = () => subject.read("a").window;
  subject.record("a");
  const { epoch, generation } = subject.peek("a")!;
  const current = { epoch, generation };
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
  const { epoch, generation } = subject.peek("a")!;
  for (let i = 0; i < 500; i++) {
    subject.clock.advance(700);
    subject.record("a", { epoch, generation });
  }
  const [record] = subject.records;
  assert(record!.segments.length <= 11, `${record!.segments.length}`);
});

Deno.test("memory() takes another windowSize along with as many outcomes as it holds", () => {
  const subject = new Subject();
  const record = (windowSize: number, failures: number) => {
    const live = subject.peek("a");
    const under = { epoch: live?.epoch ?? "", generation: live?.generation ?? 0 };
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

Deno.test("memory() remembers an id for 60 s, and forgets it then", () => {
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

Deno.test("memory() gives lives of one record different epochs, also without ids", () => {
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

Deno.test("a policy's shape is what memory() measures by", () => {
  const { shape, hash } = policyOf({ strategy: "count_window", windowSize: 10, windowMs: 500 });
  const subject = new Subject();
  const first = subject.record("a", { shape, policyHash: hash, failures: 1 });
  assertEquals(first.snapshot.policyHash, "");
  const s = subject.store.read("a", { at: 0, shape }) as Snapshot;
  assertEquals([s.last, s.window.failures], [{ size: 2, failures: 1 }, 1]);
  // Who writes sees whom it follows.
  const next = subject.record("a", { shape, policyHash: "next" });
  assertEquals(next.snapshot.policyHash, hash);
});

Deno.test("memory() drops nothing that stays, in any order of events, while anything else may go", () => {
  const does = fc.constantFrom("record", "open", "close", "force", "release", "trial", "wait");
  const key = fc.integer({ min: 0, max: 7 }).map((i) => `k${i}`);
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 4 }),
      fc.array(fc.tuple(does, key), { maxLength: 60 }),
      (max, steps) => {
        const subject = new Subject(max);
        for (const [what, key] of steps) {
          const before = new Map(subject.keys.map((held) => [held, subject.read(held)]));
          const told = subject.evicted.length;
          if (what === "record") subject.record(key);
          if (what === "open") subject.open(key, 1_000 + before.size);
          if (what === "close") subject.close(key);
          if (what === "force") subject.override(key, "forced_open");
          if (what === "release") subject.override(key, null);
          if (what === "trial") subject.acquire(key);
          if (what === "wait") subject.clock.advance(700);
          const now = subject.clock.now();
          const gone = subject.evicted.slice(told).map((key) => before.get(key)!);
          const isFree = (s: Snapshot) => s.state === "CLOSED" && s.override === null;
          const isOver = (s: Snapshot) =>
            s.state !== "CLOSED" && s.override === null && s.halfOpen.inFlight === 0 &&
            s.openUntil! <= now;
          const left = subject.keys.filter((held) => held !== key).map((key) => before.get(key)!);
          assert(gone.every((s) => isFree(s) || isOver(s)), "only what may go");
          for (const s of gone.filter(isOver)) {
            assert(!left.some(isFree), "a closed one before an open one");
            assert(left.filter(isOver).every((other) => other.openUntil! >= s.openUntil!));
          }
        }
      },
    ),
    seeded(300),
  );
});
