// Trap 42: the state for each key is bounded, and the bound loses nothing that matters.
import { assert, assertEquals } from "@std/assert";
import { type CircuitOptions, createFuse, memory } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { admits, begin, fail, onEverySetup, REMOTE, succeed } from "../support/setups.ts";

const TRIP: CircuitOptions = { failureThreshold: 1, successThreshold: 1, cooldownMs: 1_000 };

Deno.test("memory() keeps at most maxCircuits and evicts the least recently used closed one", async () => {
  // Trap 42.
  const fuse = createFuse({ stores: { array: memory({ maxCircuits: 3 }) } });
  const evicted: string[] = [];
  fuse.on("evicted", ({ name }) => void evicted.push(name));
  for (const name of ["a", "b", "c"]) await succeed(fuse.make(name));
  await succeed(fuse.make("a"));
  await succeed(fuse.make("d"));
  assertEquals(evicted, ["b"]);
  for (let i = 0; i < 100; i++) await succeed(fuse.make(`n${i}`));
  assertEquals((await Array.fromAsync(fuse.list())).length, 3);
});

Deno.test("memory() never evicts an open, overridden or busy circuit while it can evict a closed one", async () => {
  // Trap 42.
  const clock = new FakeClock();
  const fuse = createFuse({ stores: { array: memory({ maxCircuits: 4 }) }, clock: clock.now });
  await fail(fuse.make("open", TRIP));
  await fuse.make("forced").forceOpen();
  await fail(fuse.make("busy", TRIP));
  clock.advance(1_000);
  const trial = await begin(fuse.make("busy"));
  for (let i = 0; i < 50; i++) await succeed(fuse.make(`n${i}`));
  const kept = (await Array.fromAsync(fuse.list())).map(({ name }) => name);
  for (const name of ["open", "forced", "busy"]) assert(kept.includes(name), name);
  assertEquals(kept.length, 4);
  assertEquals(await fuse.make("forced").isOpen(), true);
  await trial.succeed();
  assertEquals(await fuse.make("busy").getState(), "CLOSED");
});

Deno.test("memory() evicts the circuit whose openUntil passed longest ago when no closed one is left", async () => {
  // Section 3: with an event. Open circuits stay, though that exceeds the cap.
  const clock = new FakeClock();
  const fuse = createFuse({ stores: { array: memory({ maxCircuits: 2 }) }, clock: clock.now });
  const evicted: string[] = [];
  fuse.on("evicted", ({ name }) => void evicted.push(name));
  await fail(fuse.make("long", { ...TRIP, cooldownMs: 60_000 }));
  await fail(fuse.make("later", { ...TRIP, cooldownMs: 2_000 }));
  await fail(fuse.make("first", { ...TRIP, cooldownMs: 1_000 }));
  assertEquals(evicted, []);
  clock.advance(2_000);
  await fail(fuse.make("new", { ...TRIP, cooldownMs: 60_000 }));
  assertEquals(evicted[0], "first");
  assert(!evicted.includes("long") && !evicted.includes("new"));
});

Deno.test("an evicted circuit is new to its handles", async () => {
  // Trap 42: the live record of an evicted circuit reads as absent.
  const fuse = createFuse({ stores: { array: memory({ maxCircuits: 1 }) } });
  const breaker = fuse.make("a", { ...TRIP, failureThreshold: 2 });
  await fail(breaker);
  await succeed(fuse.make("b"));
  await fail(breaker);
  assertEquals(await breaker.getState(), "CLOSED");
  await fail(breaker);
  assertEquals(await breaker.getState(), "OPEN");
});

Deno.test("createFuse({ maxCircuits }) forgets circuits, whose state stays in the store", async () => {
  // Trap 42: an isolate bounds its own state about them.
  const store = memory();
  const fuse = createFuse({ stores: { a: store }, maxCircuits: 2 });
  const breaker = fuse.make("open", TRIP);
  await fail(breaker);
  for (let i = 0; i < 10; i++) await succeed(fuse.make(`n${i}`));
  assertEquals(await admits(fuse.make("open")), false);
  assertEquals(await admits(breaker), false);
});

onEverySetup(
  "createFuse({ maxCircuits }) loses no outcome of a circuit it forgets",
  async (world) => {
    // Section 3: a view may be evicted once its pending tally is flushed.
    const { make, fuse } = world.isolate({ maxCircuits: 2 });
    for (let i = 0; i < 6; i++) {
      await succeed(make({}, `n${i}`));
      await succeed(make({}, `n${i}`));
    }
    await fuse.flush();
    for (let i = 0; i < 6; i++) assertEquals(world.stored(`n${i}`).totals.successes, 2);
  },
);

onEverySetup("flush() sends what a handle gathered after its circuit was forgotten", async (
  world,
) => {
  // Section 3: a handle at module scope outlives any number of circuits created by requests.
  const { make, fuse } = world.isolate({ maxCircuits: 2 });
  const breaker = make({});
  await succeed(breaker);
  await fuse.flush();
  for (let i = 0; i < 6; i++) await succeed(make({}, `n${i}`));
  await succeed(breaker);
  await fuse.flush();
  assertEquals(world.stored().totals.successes, 2);
  await breaker.forceOpen();
  for (let i = 0; i < 6; i++) await succeed(make({}, `m${i}`));
  await succeed(breaker);
  await fuse.flush();
  assertEquals(world.stored().totals.rejected, 1);
});

onEverySetup("createFuse({ maxCircuits }) keeps a view whose tally was not accepted", async (
  world,
) => {
  // Section 3: evicted once its pending tally is flushed, and not before.
  let down = true;
  const { make, fuse } = world.isolate({ maxCircuits: 1, faults: { down: () => down } });
  await succeed(make({}), 3);
  await succeed(make({}, "b"), 3);
  await fuse.flush();
  down = false;
  world.clock.advance(20_000);
  await fuse.flush();
  await fuse.flush();
  assertEquals([world.stored("a").totals.successes, world.stored("b").totals.successes], [3, 3]);
}, REMOTE);
