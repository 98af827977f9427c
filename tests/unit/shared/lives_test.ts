// Circuits that the store lost, failures of the store, and isolates that share it.
import { assert, assertEquals } from "@std/assert";
import { createFuse } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { interceptAnswers, turn } from "../../support/setups.ts";
import { World } from "./isolate.ts";
import { chaos, memory } from "../../support/drivers.ts";

Deno.test("call() reports reborn once when the store has lost the circuit, and not for a new one", async () => {
  const world = new World();
  const isolate = await world.isolate().warm();
  assertEquals(isolate.told("reborn"), []);
  world.store.remove("a");
  await isolate.breaker.getState();
  assertEquals(isolate.told("reborn"), [
    { type: "reborn", key: "a", store: "remote", name: "a", context: null, boundary: null },
  ]);
  await isolate.succeed();
  await isolate.fuse.flush();
  await isolate.breaker.getState();
  assertEquals(isolate.told("reborn").length, 1);
  world.store.remove("a");
  const other = world.isolate();
  await other.succeed();
  await other.fuse.flush();
  await isolate.breaker.getState();
  assertEquals(isolate.told("reborn").length, 2);
});

Deno.test("forceOpen() reports reborn when an operator is the first to meet the new life", async () => {
  const world = new World();
  const isolate = await world.isolate().warm();
  world.store.remove("a");
  await isolate.breaker.forceOpen();
  assertEquals(isolate.told("reborn").length, 1);
});

Deno.test("importState() is announced when a later request is answered before", async () => {
  const clock = new FakeClock();
  const answer = Promise.withResolvers<void>();
  const remote = interceptAnswers(
    chaos(memory({ clock: clock.now }), {}),
    (operation) => operation === "restore" ? answer.promise : undefined,
  );
  const fuse = createFuse({ stores: { remote }, clock: clock.now });
  const breaker = fuse.make("a");
  await breaker.tryCall(() => "ok");
  await fuse.flush();
  const state = await fuse.exportState();
  const imported = fuse.importState(state, { existing: "replace" });
  await turn();
  await breaker.getState();
  answer.resolve();
  assertEquals(await imported, { imported: 1, kept: 0 });
  assertEquals(breaker.peek().metrics.totalSuccesses, 1);
});

for (const operation of ["read", "acquire", "record", "transition"]) {
  Deno.test(`store_error names the operation when it is ${operation}`, async () => {
    const isolate = await new World().isolate({ consistency: "strong", failureThreshold: 1 })
      .warm();
    isolate.answering = (asked) => {
      if (asked === operation) throw new Error("connection reset");
    };
    await isolate.breaker.getState();
    await isolate.fail();
    const told = isolate.told("store_error").map((event) =>
      "operation" in event && event.operation
    );
    assertEquals(told, [operation]);
  });
}

Deno.test("call() adds to totals of the next life when its own is lost, and continues", async () => {
  const world = new World();
  const isolate = await world.isolate({ failureThreshold: 1 }).warm();
  await isolate.succeed();
  world.store.remove("a");
  const other = await world.isolate().warm();
  await other.breaker.getState();
  await isolate.fuse.flush();
  const { totals, consecutiveSuccesses } = world.stored();
  assertEquals([totals.successes, consecutiveSuccesses], [2, 1]);
});

Deno.test("call() is decided alike in two isolates when the store's clock is hours off", async () => {
  const world = new World();
  const ahead = new FakeClock(world.clock.now() + 5 * 3_600_000);
  const remote = chaos(memory({ clock: ahead.now }), {});
  const make = () =>
    createFuse({ stores: { remote }, clock: world.clock.now })
      .make("a", { failureThreshold: 1, cooldownMs: 5000 });
  const [one, two] = [make(), make()];
  await one.tryCall(() => Promise.reject(new Error("down")));
  await two.getState();
  assertEquals([one.peek().state, two.peek().state], ["OPEN", "OPEN"]);
  const result = await two.tryCall(() => "ok");
  assertEquals(!result.ok && result.rejected && result.retryAfterMs, 5000);
  for (const clock of [ahead, world.clock]) clock.advance(4999);
  assertEquals((await two.tryCall(() => "ok")).ok, false);
  for (const clock of [ahead, world.clock]) clock.advance(1);
  assertEquals((await two.tryCall(() => "ok")).ok, true);
});

Deno.test("call() counts nothing twice when an isolate is alone: sent and made calls agree", async () => {
  const world = new World();
  const isolate = await world.isolate({ failureThreshold: 1_000_000, flushSize: 3 }).warm();
  let [successes, failures] = [1, 0];
  for (let i = 0; i < 200; i++) {
    if (i % 7 === 0) {
      await isolate.fail();
      failures++;
    } else {
      await isolate.succeed();
      successes++;
    }
    if (i % 5 === 0) isolate.clock.advance(333);
    await turn();
    const { metrics } = isolate.breaker.peek();
    assertEquals([metrics.totalSuccesses, metrics.totalFailures], [successes, failures]);
  }
  await isolate.fuse.flush();
  const { totals } = world.stored();
  assertEquals([totals.successes, totals.failures], [successes, failures]);
  assert(isolate.tallies.length < 120, `${isolate.tallies.length} records for 201 calls`);
});
