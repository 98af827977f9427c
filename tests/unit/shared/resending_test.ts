// Lost answers: the repeated requests, and that they count once.
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { createFuse } from "@fuse/edge";
import { chaos } from "../../support/drivers.ts";
import { refused, World } from "./isolate.ts";
import { StoreAnswerError, type Tally } from "@fuse/edge/store";

Deno.test("record() is repeated under its id when the answer was lost, and counts once", async () => {
  const world = new World();
  const isolate = await world.isolate().warm();
  isolate.answering = (operation) => {
    if (operation === "record") throw new Error("connection reset");
  };
  await isolate.fail();
  await isolate.sent();
  isolate.answering = () => {};
  isolate.clock.advance(1000);
  await isolate.fuse.flush();
  const [first, second] = isolate.tallies.slice(-2) as [Tally, Tally];
  assertEquals([first.id, first.failures], [second.id, second.failures]);
  assertEquals(second.ageMs, 1000);
  assertEquals(world.stored().totals.failures, 1);
  await isolate.succeed();
  await isolate.fuse.flush();
  assertNotEquals(isolate.tallies.at(-1)!.id, first.id);
});

for (const [ms, again] of [[30_000, true], [30_001, false]] as const) {
  Deno.test(`record() ${again ? "is" : "is not"} repeated ${ms} ms after it was first sent`, async () => {
    const world = new World();
    const isolate = await world.isolate().warm();
    isolate.answering = (operation) => {
      if (operation === "record") throw new Error("connection reset");
    };
    await isolate.succeed();
    await isolate.fail();
    await isolate.sent();
    isolate.answering = () => {};
    isolate.clock.advance(ms);
    const { id } = isolate.tallies.at(-1)!;
    isolate.tallies.length = 0;
    await isolate.fuse.flush();
    assertEquals(isolate.tallies.map((tally) => tally.id), again ? [id] : []);
    const told = isolate.told("unconfirmed").map((event) =>
      event.type === "unconfirmed" &&
      [event.tallies, event.successes, event.failures, event.rejected]
    );
    assertEquals(told, again ? [] : [[1, 1, 1, 0]]);
    const errors = isolate.told("store_error").map((event) =>
      event.type === "store_error" && [event.operation, event.circuit?.name]
    );
    // The first is that of the lost answer.
    assertEquals(errors, Array.from({ length: again ? 1 : 2 }, () => ["record", "a"]));
    // It was applied, and its answer was lost: it counts once either way.
    assertEquals(world.stored().totals.failures, 1);
  });
}

Deno.test("record() is not repeated when the clock was set back meanwhile", async () => {
  const world = new World();
  const isolate = await world.isolate().warm();
  isolate.answering = (operation) => {
    if (operation === "record") throw new Error("connection reset");
  };
  await isolate.fail();
  await isolate.sent();
  isolate.answering = () => {};
  const { id } = isolate.tallies.at(-1)!;
  isolate.tallies.length = 0;
  // A minute passes, and the clock shows the same time: the store has forgotten the id.
  isolate.clock.set(isolate.clock.now() - 50_000);
  await isolate.succeed();
  await isolate.sent();
  isolate.clock.advance(60_000);
  await isolate.fuse.flush();
  assert(!isolate.tallies.some((tally) => tally.id === id));
  assertEquals(isolate.told("unconfirmed").length, 1);
  assertEquals(world.stored().totals.failures, 1);
});

Deno.test("an opening is announced with the generation it began when a client repeats it, and others move between", async () => {
  const world = new World();
  const store = chaos(world.store, {});
  const transition = store.transition.bind(store);
  store.transition = async (key, request) => {
    await transition(key, request);
    world.clock.advance(1_000);
    const id = crypto.randomUUID();
    const { moved } = await world.store.acquire(key, {
      ...{ ...request, id, at: world.clock.now(), token: id, max: 1, leaseMs: 30_000 },
    });
    assert(moved);
    return await transition(key, request);
  };
  const fuse = createFuse({ stores: { store }, clock: world.clock.now, storeTimeoutMs: 10_000 });
  const told: unknown[] = [];
  fuse.on("opened", ({ generation, to }) => void told.push([generation, to]));
  const breaker = fuse.make("a", { failureThreshold: 1, cooldownMs: 1_000 });
  await breaker.tryCall(() => Promise.reject(new Error("boom")));
  await fuse.flush();
  assertEquals(told, [[2, "OPEN"]]);
});

Deno.test("an outcome is repeated by flush() after an earlier one was given up in the same turn", async () => {
  const world = new World();
  const isolate = await world.isolate().warm();
  isolate.answering = (operation) => {
    if (operation === "record") throw new Error("connection reset");
  };
  await isolate.fail();
  await isolate.sent();
  await isolate.succeed();
  isolate.clock.advance(30_001);
  await isolate.fuse.flush();
  assertEquals(isolate.told("unconfirmed").length, 1);
  const { id } = isolate.tallies.at(-1)!;
  isolate.answering = () => {};
  isolate.clock.advance(10_000);
  isolate.tallies.length = 0;
  await isolate.fuse.flush();
  assertEquals(isolate.tallies.map((tally) => tally.id), [id]);
});

Deno.test("acquire() does not lose the slot when the grant of a trial was lost", async () => {
  const world = new World();
  const isolate = await world.isolate({
    failureThreshold: 1,
    cooldownMs: 5000,
    onStoreError: "allow",
  }).warm();
  await isolate.fail();
  await isolate.sent();
  isolate.clock.advance(5000);
  isolate.answering = (operation) => {
    if (operation === "acquire") throw new Error("connection reset");
  };
  await isolate.succeed();
  assertEquals(world.stored().halfOpen.inFlight, 1);
  isolate.answering = () => {};
  isolate.clock.advance(1000);
  await isolate.breaker.getState();
  await isolate.times(2, isolate.succeed);
  assertEquals(await isolate.breaker.getState(), "CLOSED");
  assertEquals(isolate.told("closed").length, 1);
});

Deno.test("acquire() does not lose the slot when a refused request is delivered again", async () => {
  const { world, other, permit } = await refused({ revalidateMs: 300 });
  await permit.ignore();
  await world.store.acquire("a", other.acquired.at(-1)!);
  assertEquals(world.stored().halfOpen.inFlight, 1);
  world.clock.advance(300);
  assertEquals((await other.succeed()).ok, true);
  assertEquals(world.stored().halfOpen.inFlight, 0);
});

Deno.test("an outcome without an answer is not repeated when flush() comes too late", async () => {
  const world = new World();
  const isolate = world.isolate({ flushSize: 1_000 });
  const others = Array.from({ length: 239 }, (_, i) => isolate.fuse.make(`b${i}`));
  for (const breaker of [...others, isolate.breaker]) await breaker.call(() => "ok");
  await isolate.fuse.flush();
  for (const breaker of others) await breaker.call(() => "ok");
  isolate.answering = (operation) => {
    if (operation === "record") throw new Error("connection reset");
  };
  await isolate.fail();
  await isolate.sent();
  isolate.clock.advance(29_000);
  const { id } = isolate.tallies.at(-1)!;
  isolate.tallies.length = 0;
  let answers = 0;
  // Each wave of six takes a second.
  isolate.answering = () => {
    if (++answers % 6 === 0) isolate.clock.advance(1_000);
  };
  await isolate.fuse.flush();
  assertEquals(isolate.tallies.length, 239);
  assert(!isolate.tallies.some((tally) => tally.id === id));
  assertEquals(isolate.told("unconfirmed").length, 1);
  assertEquals(world.stored().totals.failures, 1);
});

Deno.test("record() is sent in order when a store did not accept outcomes, the newest thousand unchanged", async () => {
  const world = new World();
  const isolate = await world.isolate({
    ...{ consistency: "strong", onStoreError: "allow", failureThreshold: 10_000 },
  }).warm();
  isolate.answering = (operation) => {
    if (operation !== "record") return;
    throw new StoreAnswerError("OOM command not allowed", { scope: "store" });
  };
  // Applied, although it seems refused: sent again, it counts once.
  await isolate.fail();
  isolate.tallies.length = 0;
  for (let i = 0; i < 1_100; i++) {
    isolate.clock.advance(1);
    await isolate.fail();
  }
  assert(isolate.tallies.length < 5, `${isolate.tallies.length} probes`);
  isolate.answering = () => {};
  isolate.tallies.length = 0;
  await isolate.fuse.flush();
  assertEquals(isolate.tallies.length, 1_000);
  const endedAt = isolate.tallies.map(({ at, ageMs }) => at - ageMs);
  assertEquals(endedAt, endedAt.toSorted((a, b) => a - b));
  assertEquals(world.stored().totals.failures, 1_101);
});
