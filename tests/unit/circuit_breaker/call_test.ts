// call(): which outcomes it counts and when, and its options.
import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { CallTimeoutError, CircuitBreakerOpenError, createFuse } from "@fuse/edge";
import { down, making, opened, totals } from "./making.ts";

Deno.test("CircuitBreaker() has the identity of its circuit", () => {
  const fuse = createFuse();
  const { key, store, name, context, boundary } = fuse
    .for({ type: "tenant", id: 7 })
    .boundary({ type: "region", id: "eu" })
    .make("pay:v2");
  assertEquals({ key, store, name, context, boundary }, {
    key: "pay%3Av2:for:tenant:7:in:region:eu",
    store: "array",
    name: "pay:v2",
    context: "tenant:7",
    boundary: "region:eu",
  });
});

// The first call under a grant, later ones, and measured ones use different code paths.
const WAYS: [string, (breaker: ReturnType<typeof making>) => Promise<void> | void][] = [
  ["first", () => {}],
  ["plain", async ({ breaker }) => {
    await breaker.call(() => 1);
    await breaker.call(() => 1);
    await breaker.call(() => 1);
  }],
  ["measured", ({ listen }) => void listen()],
];
/** Own methods of promises, of which `await` takes no notice. */
const OWN_THENS: readonly (readonly [does: string, then: unknown])[] = [
  ["returns nothing", () => {}],
  ["throws", () => {
    throw new Error("own");
  }],
  ["resolves to another value", (resolve: (value: string) => void) => resolve("another")],
  ["is no function", 7],
];

/** Not a subclass, as of a library that brings promises of its own. */
class Replaced {
  readonly #native: Promise<unknown>;
  constructor(native: Promise<unknown>) {
    this.#native = native;
  }
  then(...reactions: Parameters<Promise<unknown>["then"]>): Replaced {
    return new Replaced(this.#native.then(...reactions));
  }
  static resolve(value: unknown): Replaced {
    return value instanceof Replaced ? value : new Replaced((async () => await value)());
  }
}

for (const [way, prepare] of WAYS) {
  Deno.test(`call() returns the result of fn (${way} call)`, async () => {
    const made = making();
    await prepare(made);
    const response = new Response("ok");
    const values = [undefined, null, 0, "", "text", false, { a: 1 }, [1], response, () => 1];
    for (const value of values) {
      assertStrictEquals(await made.breaker.call(() => value), value);
      assertStrictEquals(await made.breaker.call(() => Promise.resolve(value)), value);
    }
    assertEquals((await totals(made.breaker))[1], 0);
  });

  Deno.test(`call() rejects with the error of fn, thrown at once or later (${way} call)`, async () => {
    const made = making({ failureThreshold: 100 });
    await prepare(made);
    const before = (await totals(made.breaker))[1]!;
    const error = new TypeError("mine");
    const throwing = () => {
      throw error;
    };
    for (const fn of [throwing, () => Promise.reject(error)]) {
      assertStrictEquals(await assertRejects(() => made.breaker.call(fn)), error);
    }
    for (const thrown of [undefined, null, "text", 0]) {
      const caught = await made.breaker.call(() => Promise.reject(thrown)).catch((e) => [e]);
      assertEquals(caught, [thrown]);
    }
    assertEquals((await totals(made.breaker))[1]! - before, 6);
  });

  Deno.test(`call() counts a failed Response and returns it (${way} call)`, async () => {
    const made = making();
    await prepare(made);
    const before = await totals(made.breaker);
    const response = new Response("body", { status: 503 });
    const returned = await made.breaker.call(() => response);
    assertStrictEquals(returned, response);
    assertEquals(await returned.text(), "body");
    assertEquals((await totals(made.breaker))[1]! - before[1]!, 1);
  });

  Deno.test(`call() opens at its threshold and closes after its trials (${way} call)`, async () => {
    const made = making({ failureThreshold: 2, successThreshold: 2, cooldownMs: 1000 });
    await prepare(made);
    const { breaker, clock } = made;
    for (let round = 0; round < 3; round++) {
      await breaker.call(() => "ok");
      for (let i = 0; i < 2; i++) await assertRejects(() => breaker.call(down), Error, "down");
      await assertRejects(() => breaker.call(() => "ok"), CircuitBreakerOpenError);
      clock.advance(1000);
      assertEquals(await breaker.call(() => "trial"), "trial");
      assertEquals(await breaker.getState(), "HALF_OPEN");
      assertEquals(await breaker.call(() => "trial"), "trial");
      assertEquals(await breaker.getState(), "CLOSED");
    }
  });

  for (const [does, then] of OWN_THENS) {
    Deno.test(`call() waits for a native promise as await does when its own then ${does} (${way} call)`, async () => {
      const made = making();
      await prepare(made);
      const before = await totals(made.breaker);
      const own = (promise: Promise<unknown>) => Object.assign(promise, { then });
      const fails = () => own(Promise.reject(new Error("down")));
      assertEquals(await made.breaker.call(() => own(Promise.resolve("a value"))), "a value");
      await assertRejects(() => made.breaker.call(fails), Error, "down");
      const after = await totals(made.breaker);
      assertEquals([after[0]! - before[0]!, after[1]! - before[1]!], [1, 1]);
    });
  }

  Deno.test(`call() counts as before when a program has replaced Promise (${way} call)`, async () => {
    const made = making({ failureThreshold: 1 });
    await prepare(made);
    const [before] = await totals(made.breaker);
    const native = globalThis.Promise;
    globalThis.Promise = Replaced as unknown as PromiseConstructor;
    let results: unknown[];
    try {
      results = [
        await made.breaker.call(() => 1),
        await made.breaker.call(() => native.resolve(2)),
      ];
    } finally {
      globalThis.Promise = native;
    }
    assertEquals(results, [1, 2]);
    assertEquals((await totals(made.breaker)).slice(0, 2), [before! + 2, 0]);
  });

  Deno.test(`call() treats a thenable as a promise (${way} call)`, async () => {
    const made = making();
    await prepare(made);
    const good = { then: (resolve: (value: string) => void) => resolve("then") };
    const bad = { then: (_: unknown, reject: (error: Error) => void) => reject(new Error("then")) };
    assertEquals(await made.breaker.call(() => good as PromiseLike<string>), "then");
    await assertRejects(() => made.breaker.call(() => bad as PromiseLike<never>), Error, "then");
  });
}

Deno.test("call() runs fn in the caller's turn when no store request is needed", async () => {
  const { breaker } = making();
  for (let i = 0; i < 3; i++) {
    let ran = false;
    const result = breaker.call(() => ran = true);
    assert(ran);
    await result;
  }
});

Deno.test("call() of a circuit within its own call runs both", async () => {
  const { breaker } = making();
  assertEquals(await breaker.call(() => breaker.call(() => "inner")), "inner");
  assertEquals(await totals(breaker), [2, 0, 0, 0]);
});

Deno.test("call() counts another breaker's rejection within it as neutral", async () => {
  const inner = await opened();
  const outer = making({ failureThreshold: 1 });
  await assertRejects(
    () => outer.breaker.call(() => inner.breaker.call(() => 1)),
    CircuitBreakerOpenError,
  );
  assertEquals(await totals(outer.breaker), [0, 0, 0, 0]);
  assertEquals(await outer.breaker.getState(), "CLOSED");
});

Deno.test("call() counts each of many calls that overlap", async () => {
  const { breaker } = making({ failureThreshold: 1000 });
  const works = Array.from({ length: 200 }, () => Promise.withResolvers<number>());
  const calls = works.map((work) => breaker.tryCall(() => work.promise));
  works.forEach((work, i) => i % 4 === 0 ? work.reject(new Error("x")) : work.resolve(i));
  await Promise.all(calls);
  assertEquals(await totals(breaker), [150, 50, 0, 0]);
});

Deno.test("call() books a call in the generation in which it began", async () => {
  const { breaker, clock, listen, events } = making({ failureThreshold: 1, cooldownMs: 1000 });
  await breaker.call(() => 1);
  listen();
  const work = Promise.withResolvers<string>();
  const late = breaker.call(() => work.promise);
  await breaker.tryCall(down);
  clock.advance(1000);
  work.resolve("late");
  assertEquals(await late, "late");
  const success = events.find(({ type }) => type === "success");
  assertEquals(success?.type === "success" && success.late, true);
  assertEquals(await breaker.getState(), "HALF_OPEN");
});

Deno.test("call() treats options that are undefined as not given", async () => {
  const { breaker } = making({ fallback: () => "handle's", failureThreshold: 1 });
  const options = {
    signal: undefined,
    timeoutMs: undefined,
    fallback: undefined,
    fallbackOn: undefined,
  };
  assertEquals(await breaker.call(() => "ok", options), "ok");
  await breaker.tryCall(down);
  assertEquals(await breaker.call(() => "ok", options), "handle's");
});

Deno.test("call()'s own options replace the handle's", async () => {
  const { breaker } = await opened({ fallback: () => "handle's" });
  assertEquals(await breaker.call(() => "ok", { fallback: () => "call's" }), "call's");
  const failing = making({ fallback: () => "handle's", fallbackOn: "failure" });
  await assertRejects(() => failing.breaker.call(down, { fallbackOn: "rejection" }), Error, "down");
  assertEquals(await failing.breaker.call(down), "handle's");
});

Deno.test("call()'s timeoutMs replaces callTimeoutMs, and may be longer than the lease", async () => {
  const { breaker } = making({ callTimeoutMs: 1, halfOpenLeaseMs: 1 });
  assertEquals(await breaker.call(() => "at once", { timeoutMs: 60_000 }), "at once");
  const error = await assertRejects(
    () => breaker.call(() => new Promise(() => {}), { timeoutMs: 2 }),
    CallTimeoutError,
  );
  assertEquals([error.timeoutMs, error.circuit.name], [2, "a"]);
  assertEquals(await totals(breaker), [1, 1, 0, 0]);
});

for (const timeoutMs of [0, -1, 1.5, NaN, Infinity, 2 ** 31, "5", null]) {
  Deno.test(`call() refuses a timeoutMs of ${JSON.stringify(timeoutMs)} ${timeoutMs}, and runs nothing`, async () => {
    const { breaker } = making();
    let ran = false;
    const error = await assertRejects(
      () => breaker.call(() => ran = true, { timeoutMs: timeoutMs as number }),
      Error,
      `"timeoutMs" must be an integer from 1 to 2147483647`,
    );
    assert(error instanceof RangeError || error instanceof TypeError);
    assertEquals([ran, await totals(breaker)], [false, [0, 0, 0, 0]]);
  });
}

for (const signal of [null, {}, "abort", new AbortController()]) {
  Deno.test(`call() refuses a signal that is ${Deno.inspect(signal)}, and runs nothing`, async () => {
    const { breaker } = making();
    let ran = false;
    await assertRejects(
      () => breaker.call(() => ran = true, { signal: signal as never }),
      Error,
      `"signal" must be an AbortSignal`,
    );
    assertEquals([ran, await totals(breaker)], [false, [0, 0, 0, 0]]);
  });
}

Deno.test("call() opens on a plain success that makes the transition due", async () => {
  const { breaker } = making({
    strategy: "percentage_failures",
    percentageThreshold: 20,
    minimumThroughput: 10,
  });
  for (let i = 0; i < 2; i++) await breaker.tryCall(down);
  for (let i = 0; i < 7; i++) await breaker.call(() => "ok");
  assertEquals(await breaker.getState(), "CLOSED");
  assertEquals(await breaker.call(() => "the tenth"), "the tenth");
  assertEquals(await breaker.getState(), "OPEN");
});
