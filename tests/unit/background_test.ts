import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { type CallResult, createFuse } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { Background } from "../../src/background.ts";
import { onWorker, WorkerRequest as Request } from "../support/on_worker.ts";
import { turn } from "../support/setups.ts";
import { chaos, memory, type OpeningStore } from "../support/drivers.ts";

Deno.test("Background.background() holds work until it ends, and has nobody wait for it", async () => {
  const background = new Background(undefined);
  const work = Promise.withResolvers<void>();
  assertEquals(background.background(work.promise), undefined);
  let settled = false;
  const done = background.settled().then(() => settled = true);
  await turn();
  assert(!settled);
  work.resolve();
  await done;
});

Deno.test("Background.settled() waits for work that began while it waited", async () => {
  const background = new Background(undefined);
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  background.background(first.promise.then(() => void background.background(second.promise)));
  let settled = false;
  const done = background.settled().then(() => settled = true);
  first.resolve();
  await turn();
  assert(!settled);
  second.resolve();
  await done;
});

Deno.test("Background.settled() ends while work continues", async () => {
  const background = new Background(undefined);
  let left = 100;
  // Each operation begins the next before it ends, as under traffic: one is always pending.
  const work = async () => {
    await turn();
    if (left-- > 0) background.background(work());
    await turn();
  };
  background.background(work());
  await background.settled();
  assert(left > 0);
  while (left >= 0) await turn();
  await background.settled();
});

Deno.test("Background.settled() resolves at once when there is no work", async () => {
  await new Background(undefined).settled();
});

Deno.test("Background.background() passes work to waitUntil, without a this", async () => {
  const given: unknown[] = [];
  let self: unknown = "not called";
  const background = new Background(function (this: unknown, work) {
    self = this;
    given.push(work);
  });
  const work = Promise.resolve();
  assertEquals(background.background(work), undefined);
  assertEquals(given, [work]);
  assertStrictEquals(self, undefined);
  await background.settled();
});

Deno.test("Background.of() passes work to the request's waitUntil, as a method", async () => {
  const background = new Background(() => {
    throw new Error("not this one");
  });
  const request = new Request();
  const work = Promise.resolve();
  assertEquals(background.of(request).background(work), undefined);
  assertEquals(request.held, [work]);
  await background.settled();
});

Deno.test("Background.background() holds the work itself when waitUntil throws", async () => {
  const background = new Background(() => {
    throw new Error("outside of any request");
  });
  const work = Promise.withResolvers<void>();
  assertEquals(background.background(work.promise), undefined);
  const request = { waitUntil: undefined as never };
  assertEquals(background.of(request).background(work.promise), undefined);
  let settled = false;
  const done = background.settled().then(() => settled = true);
  await turn();
  assert(!settled);
  work.resolve();
  await done;
});

Deno.test("Background.background() makes a Worker without waitUntil wait, and holds nothing", () =>
  onWorker(async () => {
    const background = new Background(undefined);
    const never = new Promise<void>(() => {});
    assertStrictEquals(background.background(never), never);
    // A promise of another request never settles there: this call must not wait for it.
    await background.settled();
  }));

Deno.test("Background.background() makes a Worker wait when waitUntil throws", () =>
  onWorker(async () => {
    const background = new Background(() => {
      throw new Error("outside of any request");
    });
    const work = Promise.resolve();
    assertStrictEquals(background.background(work), work);
    assertStrictEquals(background.of({ waitUntil: undefined as never }).background(work), work);
    await background.settled();
  }));

Deno.test("Background.background() makes no caller wait on a Worker with waitUntil, and holds nothing", () =>
  onWorker(async () => {
    const given: unknown[] = [];
    const background = new Background((work) => void given.push(work));
    const request = new Request();
    const never = new Promise<void>(() => {});
    assertEquals(background.background(never), undefined);
    assertEquals(background.of(request).background(never), undefined);
    assertEquals([given, request.held], [[never], [never]]);
    await background.settled();
  }));

Deno.test("call() waits for its outcome to be sent when a Worker has no waitUntil", () =>
  onWorker(async () => {
    const clock = new FakeClock();
    const store = memory({ clock: clock.now });
    const fuse = createFuse({ stores: { remote: chaos(store, {}) }, clock: clock.now });
    const breaker = fuse.make("a");
    await breaker.tryCall(() => Promise.reject(new Error("down")));
    const shape = { windowMs: 120_000, windowSize: 0 };
    const stored = await store.read("a", { at: clock.now(), shape });
    assertEquals(stored.totals.failures, 1);
  }));

/** Returns whether a call ends by itself while an operation is held. */
async function waits(call: () => Promise<unknown>, hold: Hold): Promise<boolean> {
  const gate = Promise.withResolvers<void>();
  hold.gate = gate.promise;
  let ended = false;
  const done = call().then(() => ended = true);
  await turn();
  const waited = !ended;
  gate.resolve();
  await done;
  return waited;
}

/** A gate before one operation of a store. */
interface Hold {
  gate: Promise<void> | null;
}

function holding<K extends "read" | "record">(
  store: OpeningStore,
  operation: K,
  meant: (request: Parameters<OpeningStore[K]>[1]) => boolean,
): [OpeningStore, Hold] {
  const hold: Hold = { gate: null };
  const held = new Proxy(store, {
    get(target, property) {
      const value = Reflect.get(target, property, target);
      if (typeof value !== "function") return value;
      if (property !== operation) return value.bind(target);
      return async (key: string, request: Parameters<OpeningStore[K]>[1]) => {
        if (meant(request)) await hold.gate;
        return await Reflect.apply(value, target, [key, request]);
      };
    },
  });
  return [held, hold];
}

Deno.test("call() waits for the read that its rejection led to when a Worker has no waitUntil", () =>
  onWorker(async () => {
    const clock = new FakeClock();
    const [remote, hold] = holding(chaos(memory({ clock: clock.now }), {}), "read", () => true);
    const fuse = createFuse({ stores: { remote }, clock: clock.now });
    const breaker = fuse.make("a", { failureThreshold: 1, revalidateMs: 500 });
    await breaker.tryCall(() => Promise.reject(new Error("down")));
    clock.advance(500);
    const results: CallResult<string>[] = [];
    const call = async () => void results.push(await breaker.tryCall(() => "ok"));
    assertEquals(await waits(call, hold), true);
    assertEquals(await waits(call, hold), false);
    assertEquals(results.map((result) => !result.ok && result.rejected), [true, true]);
  }));

Deno.test("call() waits for the write that finds the store back when a Worker has no waitUntil, whichever breaker decides", () =>
  onWorker(async () => {
    const clock = new FakeClock();
    let down = false;
    const faults = { down: () => down };
    const inner = chaos(memory({ clock: clock.now }), faults);
    let holds = false;
    const [remote, hold] = holding(inner, "record", () => holds);
    const fuse = createFuse({ stores: { remote }, clock: clock.now });
    const breaker = fuse.make("a", { failureThreshold: 2, cooldownMs: 60_000, revalidateMs: 500 });
    await breaker.tryCall(() => "ok");
    down = true;
    holds = true;
    await breaker.getState();
    await breaker.tryCall(() => Promise.reject(new Error("down")));
    down = false;
    clock.advance(1_000);
    // The interval is over: this isolate's own breaker decides, and one call tries the store.
    const results: boolean[] = [];
    const call = async () =>
      void results.push((await breaker.tryCall(() => Promise.reject(new Error("down")))).ok);
    assertEquals(await waits(call, hold), true);
    assertEquals([results, breaker.peek().local], [[false], false]);
  }));

Deno.test("call() passes nothing to waitUntil during a back-off of the store", () =>
  onWorker(async () => {
    const clock = new FakeClock();
    const remote = chaos(memory({ clock: clock.now }), { down: () => true });
    const fuse = createFuse({ stores: { remote }, clock: clock.now });
    const request = new Request();
    const breaker = fuse.with(request).make("a");
    await breaker.tryCall(() => "ok");
    request.held.length = 0;
    await breaker.tryCall(() => "ok");
    assertEquals(request.held.length, 0);
  }));

Deno.test("call() waits for the rest of an outage when it ends a trial and a Worker has no waitUntil", () =>
  onWorker(async () => {
    const clock = new FakeClock();
    let down = false;
    const [remote, hold] = holding(
      chaos(memory({ clock: clock.now }), { down: () => down }),
      "record",
      ({ lease }) => lease === null,
    );
    const fuse = createFuse({ stores: { remote }, clock: clock.now });
    const options = { failureThreshold: 1, successThreshold: 2, cooldownMs: 2_000 };
    const breaker = fuse.make("a", options);
    const late = Promise.withResolvers<void>();
    const call = breaker.tryCall(() => late.promise);
    await turn();
    await breaker.tryCall(() => Promise.reject(new Error("down")));
    down = true;
    late.resolve();
    await call;
    down = false;
    clock.advance(2_000);
    await breaker.getState();
    assertEquals(await waits(() => breaker.tryCall(() => "trial"), hold), true);
    assertEquals((await breaker.getMetrics()).totalSuccesses, 2);
  }));

Deno.test("call() waits for nothing when a Worker has a waitUntil", () =>
  onWorker(async () => {
    const clock = new FakeClock();
    const gate = Promise.withResolvers<void>();
    const inner = memory({ clock: clock.now });
    const remote = chaos(inner, {});
    const slow = new Proxy(remote, {
      get(target, property) {
        const value = Reflect.get(target, property, target);
        if (property !== "record") return typeof value === "function" ? value.bind(target) : value;
        return (...args: unknown[]) => gate.promise.then(() => Reflect.apply(value, target, args));
      },
    });
    const fuse = createFuse({ stores: { remote: slow }, clock: clock.now });
    const request = new Request();
    const breaker = fuse.with(request).make("a");
    // It would hang here if it waited: nothing is recorded before the gate opens.
    await breaker.tryCall(() => Promise.reject(new Error("down")));
    assertEquals(request.held.length, 1);
    gate.resolve();
    await Promise.all(request.held);
    assertEquals((await breaker.getMetrics()).totalFailures, 1);
  }));

Deno.test("call() passes the end of a trial to waitUntil on a Worker", () =>
  onWorker(async () => {
    const clock = new FakeClock();
    const remote = chaos(memory({ clock: clock.now }), {});
    const fuse = createFuse({ stores: { remote }, clock: clock.now });
    const request = new Request();
    const options = { failureThreshold: 1, cooldownMs: 1_000 };
    const breaker = fuse.with(request).make("a", options);
    await breaker.tryCall(() => Promise.reject(new Error("down")));
    await Promise.all(request.held.splice(0));
    clock.advance(1_000);

    // A client that disconnects ends its request: only waitUntil keeps the operation alive that
    // returns the slot.
    const client = new AbortController();
    await breaker.tryCall(() => {
      client.abort();
      return new Promise(() => {});
    }, { signal: client.signal });
    assertEquals(request.held.length, 1);
    await Promise.all(request.held);
    assertEquals((await breaker.tryCall(() => "trial")).ok, true);
  }));

Deno.test("Background() works without a navigator", () => {
  const own = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  Object.defineProperty(globalThis, "navigator", { value: undefined, configurable: true });
  try {
    assertEquals(new Background(undefined).background(Promise.resolve()), undefined);
  } finally {
    Object.defineProperty(globalThis, "navigator", own!);
  }
});

Deno.test("Fuse.flush() waits for the work of listeners (rule 14)", async () => {
  const fuse = createFuse();
  const work = Promise.withResolvers<void>();
  const told: string[] = [];
  fuse.on("opened", async ({ name }) => {
    await work.promise;
    told.push(name);
  });
  await fuse.make("a", { failureThreshold: 1 }).tryCall(() => Promise.reject(new Error("down")));
  let flushed = false;
  const flushing = fuse.flush().then(() => flushed = true);
  await turn();
  assert(!flushed);
  work.resolve();
  await flushing;
  assertEquals(told, ["a"]);
});

Deno.test("a listener's work goes to waitUntil, and its failure to listener_error", async () => {
  const held: Promise<unknown>[] = [];
  const fuse = createFuse({ waitUntil: (work) => void held.push(work) });
  const failure = new Error("no mail today");
  const heard: unknown[] = [];
  fuse.on("listener_error", ({ error }) => void heard.push(error));
  fuse.on("opened", () => Promise.reject(failure));
  const result = await fuse.make("a", { failureThreshold: 1 })
    .tryCall(() => Promise.reject(new Error("down")));
  assertEquals([result.ok, held.length], [false, 1]);
  await Promise.all(held);
  assertStrictEquals(heard[0], failure);
});
