// Rule 9 of src/rules/README.md: a deadline is a failure, whichever code set it. Trap 54.
import { assertEquals, assertStrictEquals } from "@std/assert";
import type { CallOptions, CircuitBreaker, CircuitOptions } from "@fuse/edge";
import { begin, Boom, fail, intercept, onEverySetup, type World } from "../support/setups.ts";
import { upstream } from "../support/upstream.ts";

// Deno leaves them off.
Deno.test.sanitizer({ ops: true, resources: true });

const hanging = () => new Promise<never>(() => {});
const timedOut = () => new DOMException("signal timed out", "TimeoutError");

/** The failures and the state that the store holds. */
async function told(world: World, breaker: CircuitBreaker<unknown>) {
  await world.sync();
  return [world.stored().totals.failures, await breaker.getState()];
}

const DEADLINES: [name: string, signal: (caller: AbortController) => AbortSignal][] = [
  ["the signal's reason is a TimeoutError", ({ signal }) => signal],
  [
    "it is inside of AbortSignal.any",
    ({ signal }) => AbortSignal.any([new AbortController().signal, signal]),
  ],
];

for (const [name, signalOf] of DEADLINES) {
  onEverySetup(`CircuitBreaker.call() counts a failure when ${name}`, async (world) => {
    const breaker = world.breaker({ failureThreshold: 2 });
    for (let i = 0; i < 2; i++) {
      const caller = new AbortController();
      const call = await begin(breaker, { signal: signalOf(caller) });
      const reason = timedOut();
      caller.abort(reason);
      const result = await call.result;
      assertStrictEquals("error" in result && result.error, reason);
    }
    assertEquals(await told(world, breaker), [2, "OPEN"]);
  });
}

onEverySetup("CircuitBreaker.fetch() opens when AbortSignal.timeout ends each call", async (
  world,
) => {
  await upstream(hanging, async (url) => {
    const breaker = world.breaker({ failureThreshold: 4 });
    const none = new AbortController().signal;
    for (
      const send of [
        () => breaker.fetch(url, { signal: AbortSignal.timeout(1) }),
        () => breaker.fetch(new Request(url, { signal: AbortSignal.timeout(1) })),
        () => breaker.fetch(url, { signal: AbortSignal.any([none, AbortSignal.timeout(1)]) }),
        () => breaker.call(hanging, { signal: AbortSignal.timeout(1) }),
      ]
    ) await send().catch(() => {});
    assertEquals(await told(world, breaker), [4, "OPEN"]);
  });
});

onEverySetup("A trial that its caller's deadline ends reopens the circuit", async (world) => {
  const breaker = world.breaker({ failureThreshold: 1, cooldownMs: 1_000 });
  await fail(breaker);
  await world.sync();
  world.clock.advance(1_000);
  const caller = new AbortController();
  const trial = await begin(breaker, { signal: caller.signal });
  caller.abort(timedOut());
  await trial.result;
  assertEquals([trial.admitted, ...await told(world, breaker)], [true, 2, "OPEN"]);
});

onEverySetup("A fallback for failures runs when the caller's deadline passes", async (world) => {
  const breaker = world.breaker({ fallback: () => "stale", fallbackOn: "failure" });
  const caller = new AbortController();
  const call = await begin(breaker, { signal: caller.signal });
  caller.abort(timedOut());
  assertEquals((await call.result as { value?: unknown }).value, "stale");
});

const ABANDONED: [
  name: string,
  options: CircuitOptions,
  afterMs: number,
  reason: unknown,
  failures: number,
][] = [
  ["counts a failure after abandonedAfterMs", { abandonedAfterMs: 50 }, 50, undefined, 1],
  ["counts nothing before abandonedAfterMs", { abandonedAfterMs: 50 }, 49, undefined, 0],
  ["counts nothing without abandonedAfterMs", {}, 1e9, undefined, 0],
  ["counts an ignored deadline as nothing", { ignore: [DOMException] }, 0, timedOut(), 0],
  ["counts a deadline whatever record says", { record: [Boom] }, 0, timedOut(), 1],
];

for (const [name, options, afterMs, reason, failures] of ABANDONED) {
  onEverySetup(`CircuitBreaker.call() ${name}`, async (world) => {
    const breaker = world.breaker(options);
    const caller = new AbortController();
    const call = await begin(breaker, { signal: caller.signal });
    world.clock.advance(afterMs);
    caller.abort(reason);
    await call.result;
    assertEquals(await told(world, breaker), [failures, "CLOSED"]);
  });
}

onEverySetup("A deadline that passes before the call runs is neutral", async (world) => {
  const caller = new AbortController();
  const { make } = world.isolate({
    wrap: (store) =>
      intercept(store, (operation) => {
        if (operation === "acquire") caller.abort(timedOut());
      }),
  });
  const options: CallOptions = { signal: caller.signal };
  let ran = false;
  const result = await make({ failureThreshold: 1 }).tryCall(() => ran = true, options);
  assertEquals([result.ok, ran], [false, false]);
  await world.sync();
  assertEquals(world.stored().totals.failures, 0);
}, ["strong", "eventual"]);
