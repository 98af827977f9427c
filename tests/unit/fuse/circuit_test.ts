import { assertEquals, assertThrows } from "@std/assert";
import { createFuse, type FuseEvent, memory } from "@fuse/edge";
import { onEverySetup } from "../../support/setups.ts";

Deno.test("circuit() returns the handle of a circuit by the identity in a snapshot", async () => {
  const fuse = createFuse({ stores: { one: memory(), two: memory() } });
  const made = fuse.store("two").for({ type: "tenant", id: "a:b" }).make("api", {
    failureThreshold: 1,
  });
  await made.tryCall(() => Promise.reject(new Error("down")));
  const handle = fuse.circuit(await made.snapshot());
  const { store, key, name, context, boundary } = made;
  assertEquals([handle.store, handle.key, handle.name], [store, key, name]);
  assertEquals([handle.context, handle.boundary], [context, boundary]);
  assertEquals(await handle.getState(), "OPEN");
  await handle.reset();
  assertEquals(await made.getState(), "CLOSED");
});

Deno.test("circuit() refuses an invalid identity", () => {
  const fuse = createFuse();
  assertThrows(() => fuse.circuit({ store: "cache", key: "api" }), RangeError, "one of array");
  for (const key of ["", "a:b", "a:for:b", 5 as never]) {
    assertThrows(() => fuse.circuit({ store: "array", key }), RangeError, '"key"');
  }
});

Deno.test("stores has the names of the stores, the default one first", () => {
  const stores = { one: memory(), two: memory() };
  assertEquals(createFuse({ stores }).stores, ["one", "two"]);
  assertEquals(createFuse({ stores, default: "two" }).stores, ["two", "one"]);
});

onEverySetup("remove() deletes a circuit, emits an event, and nothing is reborn", async (world) => {
  const isolate = world.isolate();
  const breaker = isolate.make({ failureThreshold: 1 });
  await breaker.tryCall(() => Promise.reject(new Error("down")));
  await world.sync();
  const events: FuseEvent[] = [];
  isolate.fuse.on("*", (event) => void events.push(event));
  await breaker.remove({ reason: "left", actor: "ada" });
  await breaker.remove();
  assertEquals(events.map(({ type }) => type), ["removed"]);
  const { type: _, at: __, began: ___, ...told } = events[0] as Extract<
    FuseEvent,
    { type: "removed" }
  >;
  const { key, store, name, context, boundary } = breaker;
  const identity = { key, store, name, context, boundary };
  const by = { reason: "left", actor: "ada", until: null };
  // No generation comes after it.
  assertEquals(told, { ...identity, ...by, epoch: "", generation: 0 });
  assertEquals([await breaker.getState(), await breaker.call(() => 1)], ["CLOSED", 1]);
  await world.sync();
  assertEquals((await breaker.snapshot()).metrics.totalFailures, 0);
});
