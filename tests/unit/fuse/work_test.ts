// Listeners of a Fuse, its pending work, and the number of circuits it keeps.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { createFuse, type Fuse } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { turn } from "../../support/setups.ts";
import { down, EU, names, T1 } from "./scopes.ts";
import type { Tally } from "@fuse/edge/store";
import { chaos, memory, type OpeningStore } from "../../support/drivers.ts";

Deno.test("on() of a view receives events of its circuits only, and stops when asked to", async () => {
  const fuse = createFuse();
  const heard: string[] = [];
  const listen = (who: string, view: Fuse, signal?: AbortSignal) =>
    view.on("success", ({ key }) => void heard.push(`${who} ${key}`), signal && { signal });
  const controller = new AbortController();
  const off = listen("root", fuse);
  listen("tenant", fuse.for(T1), controller.signal);
  listen("region", fuse.boundary(EU));
  const call = () => fuse.for(T1).make("a").call(() => 1);
  await fuse.make("a").call(() => 1);
  await call();
  await fuse.for(T1).boundary(EU).make("a").call(() => 1);
  const both = "a:for:tenant:1:in:region:eu";
  assertEquals(heard.splice(0), [
    "root a",
    "root a:for:tenant:1",
    "tenant a:for:tenant:1",
    `root ${both}`,
    `tenant ${both}`,
    `region ${both}`,
  ]);
  controller.abort();
  off();
  await call();
  assertEquals(heard, []);
});

Deno.test("on() receives events of handles that were made before it", async () => {
  const fuse = createFuse();
  const breaker = fuse.make("a");
  for (let i = 0; i < 3; i++) await breaker.call(() => 1);
  let heard = 0;
  const off = fuse.on("success", () => heard++);
  await breaker.call(() => 1);
  off();
  await breaker.call(() => 1);
  assertEquals(heard, 1);
});

Deno.test("flush() covers the view's store and scopes", async () => {
  const records: string[] = [];
  const store = chaos(memory(), {});
  const spy: OpeningStore = new Proxy(store, {
    get(target, property) {
      const value = Reflect.get(target, property, target);
      if (typeof value !== "function") return value;
      return (key: string, ...rest: unknown[]) => {
        if (property === "record") records.push(key);
        return Reflect.apply(value, target, [key, ...rest]);
      };
    },
  });
  const fuse = createFuse({ stores: { spy, array: memory() } });
  for (const view of [fuse, fuse.for(T1)]) {
    for (let i = 0; i < 2; i++) await view.make("a").call(() => 1);
  }
  await fuse.store("array").flush();
  assertEquals(records, []);
  await fuse.for(T1).flush();
  assertEquals(records, ["a:for:tenant:1"]);
  await fuse.flush();
  assertEquals(records, ["a:for:tenant:1", "a"]);
});

Deno.test("asyncDispose() sends pending outcomes", async () => {
  const store = memory();
  {
    await using fuse = createFuse({ stores: { remote: chaos(store, {}) } });
    for (let i = 0; i < 3; i++) await fuse.make("a").call(() => 1);
  }
  const shape = { windowMs: 120_000, windowSize: 0 };
  assertEquals((await store.read("a", { at: Date.now(), shape })).totals.successes, 3);
});

Deno.test("flush() waits for requests on their way", async () => {
  const gate = Promise.withResolvers<void>();
  const store = chaos(memory(), {});
  const slow: OpeningStore = new Proxy(store, {
    get(target, property) {
      const value = Reflect.get(target, property, target);
      if (typeof value !== "function") return value;
      if (property !== "record") return value.bind(target);
      return (...args: unknown[]) => gate.promise.then(() => Reflect.apply(value, target, args));
    },
  });
  const fuse = createFuse({ stores: { slow }, storeTimeoutMs: 10_000 });
  await fuse.make("a").tryCall(down);
  let flushed = false;
  const done = fuse.flush().then(() => flushed = true);
  await turn();
  assert(!flushed);
  gate.resolve();
  await done;
});

Deno.test("importState() is not mistaken for a store that lost its circuits", async () => {
  // It wrote the record itself: `imported`, and no `reborn`.
  const fuse = createFuse({ stores: { remote: chaos(memory(), {}) } });
  await fuse.make("a").tryCall(down);
  const state = await fuse.exportState();
  const told: string[] = [];
  fuse.on("*", ({ type }) => void told.push(type));
  await fuse.importState(state);
  await fuse.make("a").getState();
  assertEquals(told, ["imported"]);
});

Deno.test("importState() refuses data that would merge two circuits, and imports nothing", async () => {
  const from = createFuse({ stores: { one: memory(), two: memory() } });
  await from.store("one").make("a").tryCall(down);
  await from.store("two").make("a").tryCall(down);
  await from.make("b").tryCall(down);
  const state = await from.exportState();
  const fuse = createFuse();
  await assertRejects(() => fuse.importState(state), TypeError, `"a" is in it twice`);
  assertEquals(await names(fuse), []);
  assertEquals(await createFuse({ stores: { one: memory(), two: memory() } }).importState(state), {
    imported: 3,
    kept: 0,
  });
});

Deno.test("createFuse({ maxCircuits }) bounds the outcomes that wait for an unreachable store, and reports dropped ones", async () => {
  const clock = new FakeClock();
  const stores = { remote: chaos(memory(), { down: () => true }) };
  const fuse = createFuse({ stores, clock: clock.now, maxCircuits: 5 });
  const unconfirmed: string[] = [];
  let failures = 0;
  fuse.on("unconfirmed", (event) => {
    unconfirmed.push(event.name);
    failures += event.failures;
  });
  for (let i = 0; i < 40; i++) await fuse.make(`k${i}`).tryCall(down);
  await turn();
  assert(unconfirmed.length >= 25, `${unconfirmed.length} of 40 were let go`);
  assertEquals(failures, unconfirmed.length);
  assertEquals(new Set(unconfirmed).size, unconfirmed.length);
});

Deno.test("createFuse({ maxCircuits }) loses no rejection of a memory store's circuits", async () => {
  const fuse = createFuse({ maxCircuits: 2, defaults: { failureThreshold: 1 } });
  for (let i = 0; i < 20; i++) {
    const breaker = fuse.make(`k${i}`);
    await breaker.tryCall(down);
    await breaker.tryCall(() => "rejected");
  }
  await fuse.flush();
  for await (const { name, metrics } of fuse.list()) {
    assertEquals([name, metrics.totalRejected], [name, 1]);
  }
});

Deno.test("createFuse({ maxCircuits }) keeps the policy of a circuit that is in use", async () => {
  // A handle at module scope is created once, and called as long as the isolate lives.
  const fuse = createFuse({ maxCircuits: 2 });
  const payments = fuse.make("payments", { failureThreshold: 1 });
  for (let i = 0; i < 8; i++) {
    fuse.make(`tenant-${i}`);
    await payments.call(() => i);
  }
  await fuse.make("payments").tryCall(() => Promise.reject(new Error("down")));
  assertEquals(await payments.getState(), "OPEN");
});

Deno.test("flush() makes stores deliver rows for another store, after sending, and reports troubles", async () => {
  const log: string[] = [];
  const inner = chaos(memory(), {});
  const records = inner.record.bind(inner);
  const error = new Error("the trail is away");
  const store: OpeningStore = Object.assign(inner, {
    async record(key: string, tally: Tally) {
      const answer = await records(key, tally);
      log.push("recorded");
      return { ...answer, troubles: [{ operation: "audit", error, retryAfterMs: 7 }] };
    },
    flush({ at }: { at: number }) {
      log.push(`flushed at ${at}`);
      return [{ operation: "audit", error: null, retryAfterMs: 0 }];
    },
  });
  const fuse = createFuse({ stores: { one: store, two: memory() }, clock: () => 5 });
  const told: unknown[] = [];
  fuse.on("store_error", (event) => told.push(event));
  fuse.on("store_recovered", (event) => told.push(event));
  await fuse.make("a").call(() => 1);
  await fuse.flush();
  assertEquals(log, ["recorded", "flushed at 5"]);
  assertEquals(told, [
    { type: "store_error", store: "one", operation: "audit", error, retryAfterMs: 7 },
    { type: "store_recovered", store: "one", operation: "audit" },
  ]);
  await fuse.store("two").flush();
  assertEquals(log.length, 2);
});
