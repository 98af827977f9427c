// The window in Redis: when its contents leave, to the millisecond.
import { assert, assertEquals } from "@std/assert";
import { FakeClock } from "@fuse/edge/testing";
import {
  fields,
  open,
  record,
  request,
  SEGMENT_MS,
  SHAPE,
  size,
} from "../../support/upstash_circuit.ts";

Deno.test("upstash() drops each segment that has left the window, also without a write", async () => {
  const clock = new FakeClock();
  const { store } = open(clock);
  const began = Math.ceil(clock.now() / SEGMENT_MS) * SEGMENT_MS;
  for (let i = 0; i < 9; i++) {
    clock.set(began + i * SEGMENT_MS);
    await record(store, { successes: 1, slow: 1 });
    await record(store, { failures: 1 });
  }
  for (let gone = 0; gone < 9; gone++) {
    clock.set(began + gone * SEGMENT_MS + SHAPE.windowMs - 1);
    const left = { successes: 9 - gone, failures: 9 - gone, slow: 9 - gone };
    assertEquals((await store.read("a", request())).window, left, `${gone} have left`);
    clock.advance(1);
    const { successes } = (await store.read("a", request())).window;
    assertEquals(successes, 8 - gone, `${gone + 1} have left`);
  }
});

Deno.test("upstash() drops old failures when no success is as old, and vice versa", async () => {
  const clock = new FakeClock();
  const { store } = open(clock);
  const kinds = ["failures", "successes"] as const;
  for (const [one, other] of [kinds, kinds.toReversed() as [typeof kinds[1], typeof kinds[0]]]) {
    clock.set(clock.now() + 2 * SHAPE.windowMs);
    const start = Math.ceil(clock.now() / SEGMENT_MS) * SEGMENT_MS;
    for (const [i, kind] of [one, other, other].entries()) {
      clock.set(start + i * SEGMENT_MS);
      await record(store, { [kind]: 1 });
    }
    clock.set(start + SHAPE.windowMs);
    const { window } = await store.read("a", request());
    assertEquals([window[one], window[other]], [0, 2], `${one} first`);
  }
});

Deno.test("upstash() extends a window back again when the clock was set back", async () => {
  const clock = new FakeClock();
  const { store } = open(clock);
  await record(store, { failures: 1 });
  clock.advance(SEGMENT_MS);
  await record(store, { successes: 1 });
  const began = Math.floor((clock.now() - SEGMENT_MS) / SEGMENT_MS) * SEGMENT_MS;
  clock.set(began + SHAPE.windowMs);
  assertEquals((await record(store, { rejected: 1 })).snapshot.window.failures, 0);
  clock.set(clock.now() - 1);
  assertEquals((await store.read("a", request())).window.failures, 1);
});

Deno.test("upstash() deletes segments that have left the window", async () => {
  const clock = new FakeClock();
  const { store, prefix } = open(clock);
  const sizes = () => Promise.all(["successes", "failures"].map((part) => size(prefix, part)));
  for (let i = 0; i < 60; i++) {
    await record(store, { successes: 1, failures: 1, slow: 1 });
    // A read removes nothing, however much has left the window.
    const [began, before] = [clock.now(), await sizes()];
    clock.set(Math.floor(began / SEGMENT_MS) * SEGMENT_MS + SHAPE.windowMs - 1);
    assertEquals((await store.read("a", request())).window.failures, 1);
    assertEquals(await sizes(), before);
    clock.set(began + SEGMENT_MS);
  }
  // Ten of each kind, an owner, and at most twenty that wait for removal.
  for (const part of ["successes", "failures"]) {
    assert(await size(prefix, part) <= 41, `${part}: ${await size(prefix, part)}`);
  }
  const { window } = (await record(store, {})).snapshot;
  assertEquals(window, { successes: 9, failures: 9, slow: 9 });
});

for (const [narrowMs, slow] of [[4_000, 1], [4_005, 1], [4_005, 0]] as const) {
  Deno.test(`upstash() counts an outcome that a window of ${narrowMs} ms has left behind, and no other, ${slow} slow`, async () => {
    const clock = new FakeClock(1_700_000_000_000);
    const { store, prefix } = open(clock);
    const wide = { windowMs: 10_000, windowSize: 0 };
    const narrow = { windowMs: narrowMs, windowSize: 0 };
    const read = async () => (await store.read("a", { ...request(), shape: wide })).window;
    await record(store, { shape: wide, failures: 1, slow, ageMs: narrowMs });
    await record(store, { shape: wide, successes: 1, slow, ageMs: narrowMs });
    await record(store, { shape: wide, successes: 1 });
    await record(store, { shape: narrow, successes: 1, ageMs: 1 });
    assertEquals(await read(), { successes: 2, failures: 0, slow: 0 });
    const { snapshot } = await record(store, { shape: wide, successes: 1, ageMs: narrowMs });
    assertEquals(snapshot.window, { successes: 3, failures: 0, slow: 0 });
    assertEquals(await read(), snapshot.window);
    assertEquals(await fields(prefix, "failures"), ["of"]);
  });
}

Deno.test("upstash() keeps outcomes that ended before the clock's zero", async () => {
  const { store } = open(new FakeClock(1_000));
  await record(store, { failures: 1, ageMs: 6_000 });
  const { snapshot } = await record(store, { successes: 1 });
  assertEquals([snapshot.lastFailureAt, snapshot.lastSuccessAt], [-5_000, 1_000]);
  assertEquals(snapshot.window, { successes: 1, failures: 1, slow: 0 });
});

Deno.test("upstash() counts outcomes that ended within the window, by whole segments", async () => {
  const clock = new FakeClock(1_700_000_000_000);
  const { store } = open(clock);
  const shape = { windowMs: 10_000, windowSize: 0 };
  await record(store, { shape, successes: 1 });
  for (const [ageMs, counts] of [[10_000, 0], [9_001, 0], [9_000, 1]] as const) {
    const { snapshot } = await record(store, { shape, failures: 1, ageMs });
    assertEquals([ageMs, snapshot.window.failures], [ageMs, counts]);
  }
});

Deno.test("upstash() keeps the last outcomes, also a window of one", async () => {
  const { store } = open();
  for (const windowSize of [1, 2]) {
    const shape = { ...SHAPE, windowSize };
    await record(store, { shape, successes: 2 });
    const { snapshot } = await record(store, { shape, failures: 1 });
    assertEquals(snapshot.last, { size: windowSize, failures: 1 });
  }
});
