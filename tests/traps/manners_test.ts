// Traps 37 to 44: manners. 37 and 38 are in rules/reading_test.ts, 39 in rules/overrides_test.ts, 44
// in rules/outcomes_test.ts, 42 in traps/bounds_test.ts.
import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import {
  CallTimeoutError,
  CircuitBreakerOpenError,
  type CircuitOptions,
  createFuse,
  isCircuitBreakerOpenError,
} from "@fuse/edge";
import {
  begin,
  Boom,
  fail,
  onEverySetup,
  REMOTE,
  replacing,
  succeed,
  turn,
  type World,
} from "../support/setups.ts";

const TRIP: CircuitOptions = { failureThreshold: 1, successThreshold: 1, cooldownMs: 1_000 };

Deno.test("CircuitBreaker() on memory starts no timer, draws no random number, creates no controller", async () => {
  // Trap 40.
  const used: string[] = [];
  const spy = <T extends object>(name: string, original: T): T =>
    new Proxy(original, {
      apply(target, self, args) {
        used.push(name);
        return Reflect.apply(target as never, self, args);
      },
      construct(target, args) {
        used.push(name);
        return Reflect.construct(target as never, args);
      },
    });
  await replacing(
    "setTimeout",
    spy("setTimeout", setTimeout),
    () =>
      replacing(
        "setInterval",
        spy("setInterval", setInterval),
        () =>
          replacing("AbortController", spy("AbortController", AbortController), async () => {
            const breaker = createFuse().make("a", TRIP);
            await succeed(breaker, 5);
            await fail(breaker);
            await breaker.tryCall(() => 1);
            await breaker.reset();
          }),
      ),
  );
  assertEquals(used, []);
});

onEverySetup("CallContext.signal is created only when it is read", async (world) => {
  // Trap 41: one for each call, none for calls that ignore it.
  const breaker = world.breaker(TRIP);
  await succeed(breaker);
  let made = 0;
  const Original = AbortController;
  class Counting extends Original {
    constructor() {
      super();
      made++;
    }
  }
  await replacing("AbortController", Counting, async () => {
    await breaker.call(() => 1);
    await breaker.call(() => 1, { timeoutMs: 60_000 });
    assertEquals(made, 0);
    const signals = new Set<AbortSignal>();
    for (let i = 0; i < 3; i++) {
      await breaker.call((context) => {
        assertStrictEquals(context.signal, context.signal);
        signals.add(context.signal);
      }, { timeoutMs: 60_000 });
    }
    assertEquals([made, signals.size], [3, 3]);
  });
});

onEverySetup("CallContext.signal is the caller's when nothing else can abort", async (world) => {
  const breaker = world.breaker(TRIP);
  const { signal } = new AbortController();
  assertStrictEquals(await breaker.call((context) => context.signal, { signal }), signal);
});

onEverySetup("CallContext.signal is the same object whenever it is read", async (world) => {
  // Otherwise a listener added to it could not be removed from it.
  const breaker = world.breaker(TRIP);
  const { signal } = new AbortController();
  for (const options of [{}, { signal }, { timeoutMs: 60_000 }, { signal, timeoutMs: 60_000 }]) {
    await breaker.call((context) => assertStrictEquals(context.signal, context.signal), options);
  }
});

onEverySetup(
  "a caller can give up while its call waits for the store",
  async (world) => {
    // Rule 9: the call does not run, is neutral, and returns its slot.
    const breaker = world.breaker({ ...TRIP, failureThreshold: 1 });
    await fail(breaker);
    await world.sync();
    world.clock.advance(1_000);
    const caller = new AbortController();
    const reason = new Boom();
    let ran = false;
    const call = breaker.tryCall(() => {
      ran = true;
    }, { signal: caller.signal });
    caller.abort(reason);
    assertEquals(await call, { ok: false, rejected: false, error: reason });
    await world.sync();
    const { state, halfOpen } = world.stored();
    assertEquals([ran, state, halfOpen.inFlight], [false, "HALF_OPEN", 0]);
  },
  REMOTE,
);

onEverySetup("CallContext.signal aborts when it is read after the timeout", async (world) => {
  const breaker = world.breaker({ ...TRIP, failureThreshold: 9 });
  const late = Promise.withResolvers<AbortSignal>();
  const error = await assertRejects(() =>
    breaker.call(async (context) => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      late.resolve(context.signal);
    }, { timeoutMs: 1 }), CallTimeoutError);
  const signal = await late.promise;
  assert(signal.aborted);
  assertStrictEquals(signal.reason, error);
});

onEverySetup("one abort does not affect other calls", async (world) => {
  // Trap 41.
  const breaker = world.breaker({ ...TRIP, failureThreshold: 9 });
  await succeed(breaker);
  const aborts: string[] = [];
  const run = (name: string, options = {}) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const result = breaker.tryCall(({ signal }) => {
      signal.addEventListener("abort", () => aborts.push(name));
      return promise;
    }, options);
    return { resolve, result };
  };
  const caller = new AbortController();
  const others = [run("plain"), run("timed", { timeoutMs: 60_000 })];
  const aborted = [run("aborted", { signal: caller.signal }), run("lost", { timeoutMs: 1 })];
  await turn();
  caller.abort();
  for (const { result } of aborted) assertEquals((await result).ok, false);
  const next = run("next", { timeoutMs: 60_000 });
  for (const { resolve, result } of [...others, next]) {
    resolve();
    assertEquals((await result).ok, true);
  }
  assertEquals(aborts.toSorted(), ["aborted", "lost"]);
});

/** A signal that counts its listeners. */
function countedSignal() {
  const controller = new AbortController();
  const { signal } = controller;
  const listeners = new Set<unknown>();
  let added = 0;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (type: string, listener: unknown, options?: unknown) => {
    listeners.add(listener);
    added++;
    addEventListener.call(signal, type, listener as EventListener, options as never);
  };
  signal.removeEventListener = (type: string, listener: unknown) => {
    listeners.delete(listener);
    removeEventListener.call(signal, type, listener as EventListener);
  };
  return { controller, signal, listeners, added: () => added };
}

const ENDINGS: Record<string, (world: World, abort: () => void) => unknown> = {
  returns: () => 1,
  resolves: () => Promise.resolve(1),
  throws: () => {
    throw new Boom();
  },
  rejects: () => Promise.reject(new Boom()),
  "is given up": (_, abort) => {
    queueMicrotask(abort);
    return new Promise(() => {});
  },
  "runs into its timeout": () => new Promise(() => {}),
};

for (const [ending, run] of Object.entries(ENDINGS)) {
  onEverySetup(
    `CircuitBreaker.call() leaves no listener on the caller's signal when it ${ending}`,
    async (
      world,
    ) => {
      // Trap 41.
      const breaker = world.breaker({ ...TRIP, failureThreshold: 9 });
      const { signal, listeners, controller, added } = countedSignal();
      const timeoutMs = ending === "runs into its timeout" ? 1 : 60_000;
      await breaker.tryCall((context) => {
        assert(!context.signal.aborted);
        return run(world, () => controller.abort());
      }, { signal, timeoutMs });
      assertEquals(listeners.size, 0);
      assert(added() > 0);
    },
  );
}

onEverySetup("CircuitBreaker.call() leaves no listener when it is rejected", async (world) => {
  // Trap 41.
  const breaker = world.breaker(TRIP);
  await fail(breaker);
  await world.sync();
  const { signal, listeners } = countedSignal();
  await assertRejects(() => breaker.call(() => 1, { signal }), CircuitBreakerOpenError);
  assertEquals(listeners.size, 0);
});

onEverySetup(
  "a rejection that nobody handles is an unhandled rejection, as of any promise",
  async (world) => {
    const breaker = world.breaker(TRIP);
    await fail(breaker);
    await world.sync();
    const unhandled: unknown[] = [];
    const listener = (event: PromiseRejectionEvent) => {
      event.preventDefault();
      unhandled.push(event.reason);
    };
    globalThis.addEventListener("unhandledrejection", listener);
    try {
      breaker.call(() => 1);
      await turn();
      await world.sync();
      await turn();
      assert(isCircuitBreakerOpenError(unhandled[0]));
      assertEquals(unhandled.length, 1);
      await breaker.call(() => 1).catch(() => {});
      await turn();
      assertEquals(unhandled.length, 1, "one that is caught");
    } finally {
      globalThis.removeEventListener("unhandledrejection", listener);
    }
  },
);

for (const how of ["its timeout", "the caller's abort"]) {
  onEverySetup(`a call that lost to ${how} rejects later silently`, async (world) => {
    // Rule 10: never an unhandled rejection, and it counts once.
    const unhandled: unknown[] = [];
    const listener = (event: PromiseRejectionEvent) => {
      event.preventDefault();
      unhandled.push(event.reason);
    };
    globalThis.addEventListener("unhandledrejection", listener);
    try {
      const breaker = world.breaker({ ...TRIP, failureThreshold: 9 });
      const controller = new AbortController();
      const byAbort = how !== "its timeout";
      const call = await begin(breaker, byAbort ? { signal: controller.signal } : { timeoutMs: 1 });
      controller.abort();
      assertEquals((await call.result).ok, false);
      await call.fail();
      await turn();
      await world.sync();
      await turn();
      assertEquals(unhandled, []);
      assertEquals(world.told(), [byAbort ? "ignored" : "failure"]);
      assertEquals(world.stored().totals.failures, byAbort ? 0 : 1);
    } finally {
      globalThis.removeEventListener("unhandledrejection", listener);
    }
  });
}

onEverySetup("a body that arrives after its call was given up is canceled", async (world) => {
  const breaker = world.breaker({ ...TRIP, failureThreshold: 9 });
  let cancelled = false;
  const call = await begin(breaker, { timeoutMs: 1 });
  await call.result;
  await call.succeed(new Response(new ReadableStream({ cancel: () => void (cancelled = true) })));
  await turn();
  assert(cancelled);
});

Deno.test("a rejection constructs no native Error and captures no stack", async () => {
  // Trap 43, rule 10.
  const fuse = createFuse();
  const breaker = fuse.make("a", TRIP);
  await fail(breaker);
  const constructed: unknown[] = [];
  const counting = new Proxy(Error, {
    construct(target, args, newTarget) {
      constructed.push(args);
      return Reflect.construct(target, args, newTarget);
    },
    apply(target, self, args) {
      constructed.push(args);
      return Reflect.apply(target, self, args);
    },
    get(target, property) {
      if (property === "captureStackTrace") constructed.push(property);
      return Reflect.get(target, property);
    },
  });
  const errors: unknown[] = [];
  await replacing("Error", counting as ErrorConstructor, async () => {
    const result = await breaker.tryCall(() => 1);
    if ("error" in result) errors.push(result.error);
    await breaker.call(() => 1).catch((error) => errors.push(error));
  });
  assertEquals([constructed, errors.length], [[], 2]);
  for (const error of errors as CircuitBreakerOpenError[]) {
    assert(error instanceof Error);
    assertEquals(Object.hasOwn(error, "stack"), false);
    assertEquals(error.stack, `CircuitBreakerOpenError: ${error.message}`);
    // Error itself defines none of them.
    assertEquals(
      (Error as unknown as { isError?: (e: unknown) => boolean }).isError?.(error),
      false,
    );
  }
});
