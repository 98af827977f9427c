// The handle of a circuit: its forms of a call, its readers and its operators.
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  CallTimeoutError,
  type CircuitBreaker,
  CircuitBreakerOpenError,
  type CircuitOptions,
  createFuse,
  type FuseEvent,
  type OverrideOptions,
} from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";

const down = () => Promise.reject(new Error("down"));

function making<F = never>(options?: CircuitOptions<F>, name = "a") {
  const clock = new FakeClock();
  const fuse = createFuse({ clock: clock.now });
  const events: FuseEvent[] = [];
  const breaker = fuse.make(name, options);
  /** From now on all events are kept; who listens makes calls take the measured way. */
  const listen = () => fuse.on("*", (event) => void events.push(event));
  const told = () => events.map(({ type }) => type);
  return { clock, fuse, breaker, events, listen, told };
}

/** One whose circuit is open. */
async function opened<F = never>(options?: CircuitOptions<F>) {
  const made = making({ failureThreshold: 1, successThreshold: 1, cooldownMs: 5000, ...options });
  await made.breaker.tryCall(down, { fallback: [] });
  return made;
}

async function totals(breaker: CircuitBreaker<unknown>): Promise<number[]> {
  const { totalSuccesses, totalFailures, totalRejected, totalSlow } = await breaker.getMetrics();
  return [totalSuccesses, totalFailures, totalRejected, totalSlow];
}

Deno.test("CircuitBreaker has the identity of its circuit", () => {
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

// The first call under a grant, those after it, and measured ones take different ways through the code.
const WAYS: [string, (breaker: ReturnType<typeof making>) => Promise<void> | void][] = [
  ["first", () => {}],
  ["plain", async ({ breaker }) => {
    await breaker.call(() => 1);
    await breaker.call(() => 1);
    await breaker.call(() => 1);
  }],
  ["measured", ({ listen }) => void listen()],
];
for (const [way, prepare] of WAYS) {
  Deno.test(`call() gives what fn gives (${way} call)`, async () => {
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

  Deno.test(`call() rejects with what fn throws, at once or later (${way} call)`, async () => {
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

  Deno.test(`call() takes a thenable for a promise (${way} call)`, async () => {
    const made = making();
    await prepare(made);
    const good = { then: (resolve: (value: string) => void) => resolve("then") };
    const bad = { then: (_: unknown, reject: (error: Error) => void) => reject(new Error("then")) };
    assertEquals(await made.breaker.call(() => good as PromiseLike<string>), "then");
    await assertRejects(() => made.breaker.call(() => bad as PromiseLike<never>), Error, "then");
  });
}

Deno.test("call() runs fn in the caller's turn when no store needs to be asked", async () => {
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

Deno.test("call() takes another breaker's rejection within it as neutral", async () => {
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

Deno.test("call() ends a call by the generation it began in", async () => {
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

Deno.test("call() takes options that are left undefined for not given", async () => {
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

Deno.test("call()'s own options stand in for the handle's", async () => {
  const { breaker } = await opened({ fallback: () => "handle's" });
  assertEquals(await breaker.call(() => "ok", { fallback: () => "call's" }), "call's");
  const failing = making({ fallback: () => "handle's", fallbackOn: "failure" });
  await assertRejects(() => failing.breaker.call(down, { fallbackOn: "rejection" }), Error, "down");
  assertEquals(await failing.breaker.call(down), "handle's");
});

Deno.test("call()'s timeoutMs stands in for callTimeoutMs, and may be longer than the lease", async () => {
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

Deno.test("call() opens on a plain success when that makes it due", async () => {
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

Deno.test("tryCall() tells a result, an error, a fallback and a rejection apart", async () => {
  const { breaker } = making({ failureThreshold: 1, cooldownMs: 5000 });
  assertEquals(await breaker.tryCall(() => "ok"), { ok: true, source: "call", value: "ok" });
  assertEquals(await breaker.tryCall(() => undefined), {
    ok: true,
    source: "call",
    value: undefined,
  });
  const error = new Error("down");
  assertEquals(await breaker.tryCall(() => Promise.reject(error)), {
    ok: false,
    rejected: false,
    error,
  });
  const rejection = await breaker.tryCall(() => "never");
  if (rejection.ok || !rejection.rejected) throw new Error("It was let through");
  assertEquals([rejection.retryAfterMs, rejection.error.retryAfterMs], [5000, 5000]);
  const fallen = await breaker.tryCall(() => "never", { fallback: () => null });
  assertEquals([fallen.ok, fallen.ok && fallen.source, fallen.ok && fallen.value], [
    true,
    "fallback",
    null,
  ]);
});

for (
  const [what, fallback] of [
    ["the list is empty", []],
    ["it throws the rejection on", ({ error }) => {
      throw error;
    }],
    ["all of them throw it on", [
      ({ error }) => Promise.reject(error),
      ({ error }) => Promise.reject(error),
    ]],
  ] as [string, CircuitOptions<never>["fallback"]][]
) {
  Deno.test(`tryCall() tells a rejection as such when no fallback gives a value: ${what}`, async () => {
    const { breaker } = await opened({ fallback });
    const result = await breaker.tryCall(() => "never");
    if (result.ok || !result.rejected) throw new Error("Not told as a rejection");
    assertEquals(result.retryAfterMs, 5000);
    await assertRejects(() => breaker.call(() => "never"), CircuitBreakerOpenError);
  });
}

Deno.test("tryCall() tells what the last fallback threw, if it is something else", async () => {
  const error = new Error("cache is down too");
  const { breaker } = await opened({
    fallback: [() => Promise.reject(new Error("x")), () => Promise.reject(error)],
  });
  assertEquals(await breaker.tryCall(() => "never"), { ok: false, rejected: false, error });
});

Deno.test("a fallback may hand the failed Response on, whole or its body", async () => {
  const handOn: CircuitOptions<Response>["fallback"][] = [
    ({ error }) => error as Response,
    ({ error }) => new Response((error as Response).body, { status: 502 }),
  ];
  for (const fallback of handOn) {
    const { breaker } = making<Response>({ fallbackOn: "failure", fallback });
    const response = await breaker.call(() => new Response("sorry", { status: 503 }));
    assertEquals(await response.text(), "sorry");
    const told = await breaker.tryCall(() => new Response("sorry", { status: 503 }));
    assertEquals(told.ok && await told.value.text(), "sorry");
  }
});

Deno.test("a fallback that tells nothing of the failed Response lets its body go", async () => {
  const { breaker } = making({ fallbackOn: "failure", fallback: () => "cached" });
  const canceled = Promise.withResolvers<void>();
  const body = new ReadableStream({ cancel: () => canceled.resolve() });
  assertEquals(await breaker.call(() => new Response(body, { status: 503 })), "cached");
  await canceled.promise;
});

Deno.test("a fallback hears of circuit, error and state", async () => {
  const seen: unknown[] = [];
  const { breaker } = await opened<string>({
    fallback: ({ circuit, error, state }) => {
      seen.push(circuit.name, (error as Error).name, state);
      return "fallback";
    },
  });
  assertEquals(await breaker.call(() => "never"), "fallback");
  assertEquals(seen, ["a", "CircuitBreakerOpenError", "OPEN"]);
});

Deno.test("wrap() hands arguments and this on, and guards each call", async () => {
  const { breaker } = making({ failureThreshold: 2 });
  const client = {
    base: "https://x",
    get: breaker.wrap(function (this: { base: string }, path: string, n = 1) {
      if (path === "/bad") throw new Error("down");
      return `${this.base}${path}${n}`;
    }),
  };
  assertEquals(await client.get("/a"), "https://x/a1");
  assertEquals(await client.get("/a", 2), "https://x/a2");
  for (let i = 0; i < 2; i++) {
    await assertRejects(async () => await client.get("/bad"), Error, "down");
  }
  await assertRejects(async () => await client.get("/a"), CircuitBreakerOpenError);
});

Deno.test("wrap() refuses what is no function, when it is called", () => {
  assertThrows(
    () => making().breaker.wrap("fn" as never),
    TypeError,
    `Cannot wrap: "fn" must be a function, received "fn"`,
  );
});

Deno.test("admit() gives a permit whose first ending counts", async () => {
  const { breaker } = making({ failureThreshold: 5 });
  const endings = [
    async () => await (await breaker.admit()).success(),
    async () => await (await breaker.admit()).failure(),
    async () => await (await breaker.admit()).failure(new Error("x")),
    async () => await (await breaker.admit()).ignore(),
    async () => {
      await using _permit = await breaker.admit();
    },
    async () => {
      await using permit = await breaker.admit();
      await permit.success();
      await permit.failure();
      await permit.ignore();
    },
  ];
  for (const end of endings) await end();
  assertEquals(await totals(breaker), [2, 2, 0, 0]);
});

Deno.test("admit() runs no fallback, and rejects with the rejection", async () => {
  const { breaker } = await opened({ fallback: () => "never" });
  const error = await assertRejects(() => breaker.admit(), CircuitBreakerOpenError);
  assertEquals([error.state, error.retryAfterMs], ["OPEN", 5000]);
  assertEquals(await totals(breaker), [0, 1, 1, 0]);
});

Deno.test("Permit tells how long it took, and counts what is slow", async () => {
  const { breaker, clock, listen, events } = making({ slowCallMs: 300 });
  listen();
  const permit = await breaker.admit();
  clock.advance(300);
  await permit.success();
  assertEquals(await totals(breaker), [1, 0, 0, 1]);
  assertEquals(
    events.map((event) => [event.type, "durationMs" in event && event.durationMs]),
    [["success", 300], ["slow", 300]],
  );
});

Deno.test("Permit.failure() goes by a Response's Retry-After", async () => {
  const { breaker } = making({ failureThreshold: 1, cooldownMs: 5000 });
  const permit = await breaker.admit();
  await permit.failure(new Response(null, { status: 503, headers: { "retry-after": "9" } }));
  const { openUntil, openedAt } = await breaker.snapshot();
  assertEquals(openUntil!.getTime() - openedAt!.getTime(), 9000);
});

const READERS = ["getState", "getMetrics", "snapshot", "explain", "isOpen"] as const;
Deno.test("readers of a circuit that nobody used say what a fresh one is", async () => {
  const { breaker, fuse } = making();
  assertEquals(await breaker.getState(), "CLOSED");
  assertEquals(await breaker.isOpen(), false);
  assertEquals((await breaker.snapshot()).generation, 0);
  assertMatch(await breaker.explain(), /^Circuit "a" is CLOSED, 0 failures in a row/);
  assertEquals(await breaker.snapshot(), breaker.peek());
  for (const reader of READERS) await breaker[reader]();
  assertEquals(await Array.fromAsync(fuse.list()), []);
});

Deno.test("snapshot() gives a copy that does not change any more", async () => {
  const { breaker } = making();
  await breaker.call(() => 1);
  const before = await breaker.snapshot();
  const kept = structuredClone(before);
  await breaker.call(() => 1);
  await breaker.forceOpen();
  assertEquals(before, kept);
});

Deno.test("explain() is the message of the rejection, and its problem detail", async () => {
  const { breaker } = await opened();
  const error = await assertRejects(() => breaker.call(() => 1), CircuitBreakerOpenError);
  assertEquals(error.message, await breaker.explain());
  assertEquals((await error.getResponse().json()).detail, error.message);
  assertMatch(error.message, /is OPEN since .* \(consecutive_failures\), 1 failures in a row/);
});

Deno.test("explain() in a rejection tells of this rejection, also after a reset", async () => {
  const { breaker, clock } = await opened();
  const message = async () =>
    (await assertRejects(() => breaker.call(() => 1), CircuitBreakerOpenError)).message;
  const first = await message();
  await breaker.reset();
  clock.advance(60_000);
  await breaker.tryCall(down);
  const second = await message();
  assert(first !== second);
  assertEquals(second, await breaker.explain());
});

Deno.test("an override that is to last for ever lasts as long as a Date reaches", async () => {
  const { breaker, events, listen } = making();
  listen();
  await breaker.forceOpen({ forMs: Number.MAX_SAFE_INTEGER });
  const result = await breaker.tryCall(() => 1);
  assert(!result.ok && result.rejected);
  assertMatch(await breaker.explain(), /forced_open until \+275760-09-13/);
  const [event] = events;
  if (event?.type !== "forced_open") throw new Error("Not told");
  assertEquals(event.until, new Date(8.64e15));
  assertEquals((await breaker.snapshot()).override?.until, new Date(8.64e15));
});

const NOW = new FakeClock().now();
const BAD_OVERRIDES: [unknown, string][] = [
  [{ until: new Date(NOW) }, `"until" must be a Date in the future`],
  [{ until: new Date(NOW - 1) }, `"until" must be a Date in the future`],
  [{ until: new Date(NaN) }, `"until" must be a Date in the future`],
  [{ until: NOW + 1000 }, `"until" must be a Date in the future`],
  [{ until: null }, `"until" must be a Date in the future`],
  [{ until: "2030-01-01" }, `"until" must be a Date in the future`],
  [{ forMs: 0 }, `"forMs" must be a positive integer`],
  [{ forMs: -5 }, `"forMs" must be a positive integer`],
  [{ forMs: 1.5 }, `"forMs" must be a positive integer`],
  [{ forMs: "1000" }, `"forMs" must be a positive integer`],
  [{ until: new Date(NOW + 1), forMs: 1 }, `"until" and "forMs" exclude each other`],
  [{ reason: 5 }, `"reason" must be a text of at most 1000 characters`],
  [{ reason: null }, `"reason" must be a text`],
  [{ reason: "x".repeat(1001) }, `"reason" must be a text`],
  [{ actor: {} }, `"actor" must be a text of at most 1000 characters`],
];
for (const kind of ["forceOpen", "forceClose", "disable", "metricsOnly"] as const) {
  Deno.test(`${kind}() refuses bad options by name, and changes nothing`, async () => {
    const { breaker, events, listen } = making();
    listen();
    for (const [options, message] of BAD_OVERRIDES) {
      const error = await assertRejects(
        () => breaker[kind](options as OverrideOptions),
        Error,
        message,
      );
      assert(error instanceof RangeError || error instanceof TypeError);
    }
    assertEquals([(await breaker.snapshot()).generation, events], [0, []]);
  });
}

Deno.test("release() and reset() refuse bad options by name, and change nothing", async () => {
  const { breaker } = await opened();
  await breaker.forceOpen();
  const before = await breaker.snapshot();
  for (const options of [{ reason: 1 }, { actor: "x".repeat(1001) }]) {
    await assertRejects(() => breaker.release(options as never), TypeError, "must be a text");
    await assertRejects(() => breaker.reset(options as never), TypeError, "must be a text");
  }
  assertEquals(await breaker.snapshot(), before);
});

Deno.test("overrides keep until, reason and actor, and forMs counts from now", async () => {
  const { breaker, clock } = making();
  const until = new Date(clock.now() + 1000);
  await breaker.forceOpen({ until, reason: "x".repeat(1000), actor: "" });
  const { override } = await breaker.snapshot();
  assertEquals(override, { kind: "forced_open", until, reason: "x".repeat(1000), actor: "" });
  await breaker.disable({ forMs: 1000 });
  assertEquals((await breaker.snapshot()).override?.until, until);
  await breaker.forceClose();
  assertEquals((await breaker.snapshot()).override, {
    kind: "forced_closed",
    until: null,
    reason: null,
    actor: null,
  });
});

Deno.test("a rejection under forceOpen gives the operator's reason, and none when there is none", async () => {
  const { breaker } = making();
  for (const [options, reason] of [[{ reason: "fire" }, "fire"], [{}, null]] as const) {
    await breaker.forceOpen(options);
    const error = await assertRejects(() => breaker.call(() => 1), CircuitBreakerOpenError);
    assertEquals([error.reason, error.override, error.state], [reason, "forced_open", "OPEN"]);
  }
});

Deno.test("history() of a store without a trail is a TypeError that says what to do", async () => {
  const { breaker } = making();
  await assertRejects(
    async () => await Array.fromAsync(breaker.history()),
    TypeError,
    `Cannot read history: store "array" keeps no trail`,
  );
});

Deno.test("events of a call are told under the identity of its circuit", async () => {
  const { breaker, listen, events } = making({ failureThreshold: 1 });
  listen();
  await breaker.call(() => 1);
  await breaker.tryCall(down);
  await breaker.tryCall(() => 1);
  const identity = { key: "a", store: "array", name: "a", context: null, boundary: null };
  for (const event of events) {
    assertEquals({ ...event, ...identity }, event as typeof event & typeof identity);
  }
  assertEquals(events.map(({ type }) => type), ["success", "failure", "opened", "rejected"]);
});
