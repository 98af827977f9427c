// Rules 9 and 15 of src/rules/README.md: outcomes of endings, and kinds of calls.
import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import {
  type CallOptions,
  CallTimeoutError,
  type CircuitBreakerOpenError,
  type CircuitOptions,
  isFailedResponse,
  type Outcome,
} from "@fuse/edge";
import { begin, Boom, fail, onEverySetup, REMOTE, type World } from "../support/setups.ts";

type Kind = "success" | "failure" | "neutral";

/** A call, and the outcome of its ending. */
interface Ending {
  readonly name: string;
  readonly counts: Kind;
  readonly options?: CircuitOptions;
  readonly call?: CallOptions;
  run(world: World): unknown;
}

const throws = (error: unknown) => () => {
  throw error;
};
const NOT_FOUND = new RangeError("not found");
const given = new AbortController();

const ENDINGS: Ending[] = [
  // Rule 9: failures. Traps 16 to 18.
  { name: "throws", counts: "failure", run: throws(new Boom()) },
  { name: "rejects", counts: "failure", run: () => Promise.reject(new Boom()) },
  { name: "throws undefined", counts: "failure", run: throws(undefined) },
  { name: "throws a value that is no Error", counts: "failure", run: throws("down") },
  {
    name: "throws an AbortError that no signal of the caller caused",
    counts: "failure",
    run: throws(new DOMException("aborted", "AbortError")),
  },
  {
    name: "throws an AbortError while the caller's signal is not aborted",
    counts: "failure",
    call: { signal: given.signal },
    run: throws(new DOMException("aborted", "AbortError")),
  },
  {
    name: "takes longer than callTimeoutMs",
    counts: "failure",
    options: { callTimeoutMs: 1 },
    run: () => new Promise(() => {}),
  },
  {
    name: "takes longer than its own timeoutMs",
    counts: "failure",
    call: { timeoutMs: 1 },
    run: () => new Promise(() => {}),
  },
  {
    name: "returns a result that isFailure counts as a failure",
    counts: "failure",
    options: { isFailure: (outcome) => outcome.ok && outcome.value === 0 },
    run: () => 0,
  },
  {
    name: "throws an error that isFailure counts as a failure",
    counts: "failure",
    options: { isFailure: (outcome) => !outcome.ok && outcome.error instanceof Boom },
    run: throws(new Boom()),
  },
  {
    name: "throws one of the recorded errors",
    counts: "failure",
    options: { record: [RangeError] },
    run: throws(NOT_FOUND),
  },
  {
    name: "throws an error that a predicate records",
    counts: "failure",
    options: { record: [(error) => error === 42] },
    run: throws(42),
  },
  ...[500, 503, 599, 429].map((status): Ending => ({
    name: `returns a Response ${status}`,
    counts: "failure",
    run: () => new Response(null, { status }),
  })),
  // Neutral.
  {
    name: "throws an ignored error",
    counts: "neutral",
    options: { ignore: [RangeError] },
    run: throws(NOT_FOUND),
  },
  {
    name: "throws an error of a class below the ignored one",
    counts: "neutral",
    options: { ignore: [Error] },
    run: throws(NOT_FOUND),
  },
  {
    name: "throws an error that a predicate ignores",
    counts: "neutral",
    options: { ignore: [(error) => error === 42] },
    run: throws(42),
  },
  {
    name: "throws an error that is both ignored and recorded",
    counts: "neutral",
    options: { ignore: [RangeError], record: [RangeError], isFailure: () => true },
    run: throws(NOT_FOUND),
  },
  {
    name: "meets an open inner breaker",
    counts: "neutral",
    run: async (world) => {
      const inner = world.isolate().make({}, "inner");
      await inner.forceOpen();
      await inner.call(() => 1);
    },
  },
  {
    name: "returns the response of an open inner breaker",
    counts: "neutral",
    run: async (world) => {
      const inner = world.isolate().make({}, "inner");
      await inner.forceOpen();
      const result = await inner.tryCall(() => 1) as { error: CircuitBreakerOpenError };
      return result.error.getResponse();
    },
  },
  // Success.
  { name: "returns a value", counts: "success", run: () => "fine" },
  { name: "returns undefined", counts: "success", run: () => undefined },
  { name: "returns null", counts: "success", run: () => null },
  { name: "returns an Error", counts: "success", run: () => new Boom() },
  {
    name: "throws an error that isFailure does not count",
    counts: "success",
    options: { isFailure: () => false },
    run: throws(new Boom()),
  },
  {
    name: "throws an error that is not recorded",
    counts: "success",
    options: { record: [TypeError] },
    run: throws(NOT_FOUND),
  },
  ...[200, 301, 404, 408, 428, 499].map((status): Ending => ({
    name: `returns a Response ${status}`,
    counts: "success",
    run: () => new Response(null, { status }),
  })),
  {
    name: "returns a Response 500 that isFailure does not count",
    counts: "success",
    options: { isFailure: () => false },
    run: () => new Response(null, { status: 500 }),
  },
];

for (const { name, counts, options = {}, call, run } of ENDINGS) {
  onEverySetup(`CircuitBreaker.call() counts ${counts} when the call ${name}`, async (world) => {
    const breaker = world.breaker({ failureThreshold: 9, ...options });
    await breaker.tryCall(() => run(world), call);
    await world.sync();
    const event = ({ success: "success", failure: "failure", neutral: "ignored" } as const)[counts];
    assertEquals(world.told("success", "failure", "ignored"), [event]);
    const { successes, failures } = world.stored().totals;
    assertEquals([successes, failures], [
      counts === "success" ? 1 : 0,
      counts === "failure" ? 1 : 0,
    ]);
  });
}

onEverySetup(
  "CircuitBreaker.call() returns the response of an inner breaker, and no fallback for it",
  async (
    world,
  ) => {
    const inner = world.isolate().make({}, "inner");
    await inner.forceOpen();
    const breaker = world.breaker({ fallback: () => "stale", fallbackOn: "failure" });
    const response = await breaker.call(async () => {
      const result = await inner.tryCall(() => 1) as { error: CircuitBreakerOpenError };
      return result.error.getResponse();
    });
    assertEquals((await (response as Response).json()).title, "Service Unavailable");
  },
);

for (const error of [new Boom(), new DOMException("aborted", "AbortError"), NOT_FOUND]) {
  onEverySetup(
    `CircuitBreaker.call() counts neutral when the caller gives up with ${error.name}`,
    async (
      world,
    ) => {
      // Rule 9: recognized by its signal, whatever the error's name. Trap 16.
      const breaker = world.breaker({ failureThreshold: 1 });
      const caller = new AbortController();
      const call = await begin(breaker, { signal: caller.signal });
      caller.abort(error);
      const result = await call.result;
      assertEquals(result.ok, false);
      assertStrictEquals("error" in result && result.error, error);
      await world.sync();
      assertEquals(world.told(), ["ignored"]);
      assertEquals(world.stored().totals.failures, 0);
    },
  );
}

onEverySetup("CircuitBreaker.call() runs nothing when the caller gave up before", async (
  world,
) => {
  const breaker = world.breaker({ failureThreshold: 1 });
  let ran = false;
  const reason = new Boom();
  const error = await assertRejects(() =>
    breaker.call(() => ran = true, { signal: AbortSignal.abort(reason) })
  );
  assertStrictEquals(error, reason);
  await world.sync();
  assertEquals([ran, world.stored().totals.successes, world.stored().totals.failures], [
    false,
    0,
    0,
  ]);
});

Deno.test("isFailedResponse() is the default judgment, for use in isFailure", () => {
  // Rule 9.
  const failed = [500, 502, 599, 429].map((status) => new Response(null, { status }));
  const fine = [200, 204, 304, 400, 404, 428, 430, 499].map((status) =>
    new Response(null, { status })
  );
  assert(failed.every(isFailedResponse));
  assert(!fine.some(isFailedResponse));
});

onEverySetup("isFailure receives the ending of the call and its duration", async (world) => {
  // Rule 9.
  const heard: Outcome[] = [];
  const breaker = world.breaker({
    isFailure: (outcome) => {
      heard.push(outcome);
      return false;
    },
  });
  await breaker.call(() => {
    world.clock.advance(25);
    return "value";
  });
  const error = new Boom();
  await breaker.tryCall(throws(error));
  assertEquals(heard, [
    { ok: true, value: "value", durationMs: 25 },
    { ok: false, error, durationMs: 0 },
  ]);
});

onEverySetup("CircuitBreaker.call() returns or throws what the function does", async (world) => {
  // Rule 15: whatever its outcome.
  const breaker = world.breaker({ failureThreshold: 99 });
  const value = { some: "thing" };
  const response = new Response(null, { status: 500 });
  const error = { not: "an Error" };
  const thenable = { then: (resolve: (value: string) => void) => resolve("thenable") };
  assertStrictEquals(await breaker.call(() => value), value);
  assertStrictEquals(await breaker.call(() => Promise.resolve(value)), value);
  assertStrictEquals(await breaker.call(() => response), response);
  assertStrictEquals(await breaker.call(() => undefined), undefined);
  assertStrictEquals(await breaker.call(() => null), null);
  assertStrictEquals(await breaker.call(() => thenable as PromiseLike<string>), "thenable");
  assertStrictEquals(await assertThrown(breaker.call(throws(error))), error);
  assertStrictEquals(await assertThrown(breaker.call(throws(undefined))), undefined);
  assertStrictEquals(await assertThrown(breaker.call(() => Promise.reject(error))), error);
  assertStrictEquals(await assertThrown(breaker.call(() => rejecting(error))), error);
  await world.sync();
  const { successes, failures } = world.stored().totals;
  assertEquals([successes, failures], [5, 5]);
});

onEverySetup("CircuitBreaker.call() does not throw in the caller's turn", async (world) => {
  // Rule 15, trap 18: a synchronous throw is counted, and rejects.
  const breaker = world.breaker({ failureThreshold: 2 });
  const calls = [breaker.call(throws(new Boom())), breaker.call(throws(new Boom()))];
  await Promise.allSettled(calls);
  await world.sync();
  assertEquals(await breaker.getState(), "OPEN");
});

onEverySetup("CircuitBreaker.call() stays closed when calls return undefined", async (world) => {
  // Trap 18.
  const breaker = world.breaker({ failureThreshold: 1 });
  for (let i = 0; i < 5; i++) await breaker.call(() => undefined);
  await world.sync();
  assertEquals(world.stored().totals.successes, 5);
  assertEquals(await breaker.getState(), "CLOSED");
});

onEverySetup("CircuitBreaker.wrap() passes on this and the arguments", async (world) => {
  const breaker = world.breaker({ failureThreshold: 1 });
  const object = {
    base: 40,
    add: breaker.wrap(function (this: { base: number }, a: number, b: number) {
      return this.base + a + b;
    }),
  };
  assertEquals(await object.add(1, 1), 42);
  await assertRejects(breaker.wrap(throws(new Boom())), Boom);
  await world.sync();
  assertEquals(await breaker.getState(), "OPEN");
});

onEverySetup("Permit counts once when it is ended twice", async (world) => {
  // Rule 15.
  const breaker = world.breaker({ failureThreshold: 1 });
  const permit = await breaker.admit();
  await Promise.all([permit.success(), permit.success(), permit.failure(), permit.ignore()]);
  await permit[Symbol.asyncDispose]();
  await world.sync();
  const { totals, state } = world.stored();
  assertEquals([totals.successes, totals.failures, state], [1, 0, "CLOSED"]);
});

onEverySetup("Permit.failure() judges its error as if it had been thrown", async (world) => {
  const breaker = world.breaker({ failureThreshold: 1, ignore: [RangeError], record: [Boom] });
  for (const error of [NOT_FOUND, new TypeError()]) await (await breaker.admit()).failure(error);
  await world.sync();
  assertEquals(world.told(), ["ignored", "success"]);
  await (await breaker.admit()).failure(new Boom());
  await world.sync();
  assertEquals(world.told().slice(2), ["failure", "opened"]);
});

onEverySetup("admit() records a stream that breaks off after its headers", async (world) => {
  // Trap 44.
  const breaker = world.breaker({ failureThreshold: 1 });
  const permit = await breaker.admit();
  const body = new ReadableStream({
    pull(controller) {
      controller.error(new Boom());
    },
  });
  const death: unknown = await assertRejects(() => new Response(body).text(), Boom);
  await permit.failure(death);
  await world.sync();
  assertEquals(await breaker.getState(), "OPEN");
});

onEverySetup("CircuitBreaker.call() rejects with CallTimeoutError and aborts the signal", async (
  world,
) => {
  // Rule 9.
  const breaker = world.breaker({ callTimeoutMs: 1 });
  let reason: unknown;
  const error = await assertRejects(
    () =>
      breaker.call(({ signal }) =>
        new Promise((_, reject) => {
          signal.addEventListener("abort", () => reject(reason = signal.reason));
        })
      ),
    CallTimeoutError,
    'circuit "a" took longer than 1 ms',
  );
  assertStrictEquals(reason, error);
  assertEquals([error.timeoutMs, error.circuit.name], [1, "a"]);
});

onEverySetup(
  "make() and the admission of an unused circuit send no store request",
  async (world) => {
    // Rule 15: construction does no I/O.
    const { make, fuse } = world.isolate();
    make({ failureThreshold: 3 });
    fuse.for({ type: "tenant", id: 1 }).make("a");
    await fuse.flush();
    const page = await world.store.list({
      cursor: null,
      limit: 10,
      at: 0,
      shape: () => ({ windowMs: 1_000, windowSize: 0 }),
    });
    assertEquals(page.records, []);
  },
);

onEverySetup("make() sends nothing to a remote store", async (world) => {
  // Rule 15.
  const { make, fuse } = world.isolate({ faults: { down: () => true } });
  make({ failureThreshold: 3 });
  await fuse.flush();
  assertEquals(world.told(), []);
  await fail(make());
  assertEquals(world.told("store_error"), ["store_error"]);
}, REMOTE);

async function assertThrown(promise: Promise<unknown>): Promise<unknown> {
  const [result] = await Promise.allSettled([promise]);
  return result.status === "rejected" ? result.reason : assert(false, "did not reject");
}

/** A thenable of no known class, which rejects. */
function rejecting(error: unknown): PromiseLike<never> {
  return {
    then: (_: unknown, reject: (error: unknown) => void) => reject(error),
  } as PromiseLike<never>;
}
