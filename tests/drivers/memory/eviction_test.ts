// The bounds of the memory store: which circuits it evicts.
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { seeded } from "../../support/units.ts";
import { Subject } from "./subject.ts";
import type { Snapshot } from "@fuse/edge/store";

Deno.test("memory() keeps 10 000 circuits by default", () => {
  const subject = new Subject();
  for (let i = 0; i < 10_000; i++) subject.record(`k${i}`);
  assertEquals(subject.evicted, []);
  subject.record("one more");
  assertEquals(subject.evicted, ["k0"]);
});

Deno.test("memory() stays within its bounds with 100 000 circuits", () => {
  const subject = new Subject(1000);
  for (let i = 0; i < 100_000; i++) subject.record(`k${i}`, { failures: i % 2 });
  assertEquals(subject.evicted.length, 99_000);
  assertEquals(subject.keys.length, 1000);
  assert(subject.keys.every((key) => Number(key.slice(1)) >= 99_000));
});

Deno.test("memory() evicts exactly the least recently used closed circuits", () => {
  // Compared with a list that the test maintains.
  const key = fc.integer({ min: 0, max: 9 }).map((i) => `k${i}`);
  const does = fc.constantFrom("record", "book", "read", "acquire", "remove");
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 6 }),
      fc.array(fc.tuple(does, key), { maxLength: 80 }),
      (max, steps) => {
        const subject = new Subject(max, false);
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
            if (!subject.book(live)) subject.record(key);
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

Deno.test("memory() evicts closed circuits first, then open ones in the order of their cooldowns, exactly", () => {
  // Compared with a list and a table that the test maintains.
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
          // The number keeps cooldowns apart, so that no two end together.
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

Deno.test("memory() treats a circuit as used when it closes or is released", () => {
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
  Deno.test(`memory() keeps a circuit under ${kind} while it can evict a closed one`, () => {
    const subject = new Subject(2);
    subject.override("kept", kind);
    for (let i = 0; i < 20; i++) subject.record(`k${i}`);
    assertEquals(subject.keys, ["k19", "kept"]);
    assertEquals(subject.evicted.length, 19);
  });
}

Deno.test("memory() evicts a circuit whose override has expired", () => {
  // Readers ignore the override from then on, though no later write may come.
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

Deno.test("memory() keeps open and half-open circuits while it can evict a closed one", () => {
  const subject = new Subject(3);
  subject.open("open", 60_000);
  subject.open("half", 1000);
  subject.clock.advance(1000);
  assertEquals(subject.acquire("half").granted, true);
  for (let i = 0; i < 20; i++) subject.record(`k${i}`);
  assertEquals(subject.keys, ["half", "k19", "open"]);
});

Deno.test("memory() exceeds its bounds rather than evict an open, forced or busy circuit", () => {
  const subject = new Subject(1);
  subject.open("busy", 1000);
  subject.clock.advance(1000);
  subject.acquire("busy");
  subject.open("open", 60_000);
  subject.override("forced", "forced_open");
  assertEquals([subject.keys, subject.evicted], [["busy", "forced", "open"], []]);
});

Deno.test("memory() evicts the open circuit whose cooldown passed longest ago when no closed one is left", () => {
  const subject = new Subject(3);
  subject.open("last", 3000);
  subject.open("first", 1000);
  subject.open("second", 2000);
  subject.clock.advance(3000);
  for (const key of ["x", "y", "z"]) subject.open(key, 60_000);
  assertEquals(subject.evicted, ["first", "second", "last"]);
});

Deno.test("memory() does not evict a circuit that has opened again after its cooldown", () => {
  const subject = new Subject(3);
  for (const [key, ms] of [["a", 1000], ["b", 2000], ["c", 3000]] as const) subject.open(key, ms);
  subject.clock.advance(3000);
  subject.open("d", 60_000);
  subject.open("b", 60_000);
  subject.open("e", 60_000);
  assertEquals(subject.evicted, ["a", "c"]);
});

Deno.test("memory() evicts as much as it can when an override expires among others that stay", () => {
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

Deno.test("memory() evicts an idle half-open circuit, and no busy one", () => {
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

Deno.test("memory() returns to its bounds when open circuits have closed", () => {
  const subject = new Subject(2);
  for (let i = 0; i < 10; i++) subject.open(`o${i}`, 60_000);
  assertEquals(subject.keys.length, 10);
  for (let i = 0; i < 10; i++) subject.close(`o${i}`);
  for (let i = 0; i < 20; i++) subject.record(`k${i}`);
  assertEquals(subject.keys.length, 2);
});

Deno.test("memory() evicts only evictable circuits, in the right order, for any sequence of events", () => {
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
