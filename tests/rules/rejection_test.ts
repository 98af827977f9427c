// Rules 10 and 11 of src/rules/README.md: rejections and fallbacks.
import { assert, assertEquals, assertMatch, assertRejects, assertStrictEquals } from "@std/assert";
import {
  type CircuitBreaker,
  CircuitBreakerOpenError,
  type CircuitOptions,
  type FallbackContext,
  FuseError,
  isCircuitBreakerOpenError,
} from "@fuse/edge";
import {
  begin,
  Boom,
  fail,
  intercept,
  onEverySetup,
  succeed,
  type World,
} from "../support/setups.ts";

const TRIP: CircuitOptions = { failureThreshold: 1, successThreshold: 1, cooldownMs: 1_000 };

async function opened<F>(
  world: World,
  options: CircuitOptions<F> = {},
): Promise<CircuitBreaker<F>> {
  const breaker = world.breaker<F>({ ...TRIP as CircuitOptions<F>, ...options });
  await breaker.tryCall(() => Promise.reject(new Boom()));
  await world.sync();
  return breaker;
}

onEverySetup("CircuitBreakerOpenError has circuit, state and the remaining time", async (world) => {
  // Rule 10: OPEN.
  const breaker = await opened(world);
  world.clock.advance(300);
  const error = await assertRejects(() => breaker.call(() => 1), CircuitBreakerOpenError);
  const identity = { key: "a", store: "shared", name: "a", context: null, boundary: null };
  const { message, ...data } = error;
  assertMatch(message, /^Circuit "a" is OPEN since /);
  assertEquals(data as Record<string, unknown>, {
    name: "CircuitBreakerOpenError",
    circuit: identity,
    state: "OPEN",
    override: null,
    reason: "consecutive_failures",
    retryAfterMs: 700,
  });
  assert(error instanceof FuseError && error instanceof Error);
  assert(isCircuitBreakerOpenError(error));
  assertEquals(
    world.heard("rejected").map(({ retryAfterMs }) => retryAfterMs),
    [700],
  );
});

for (const [revalidateMs, advanceMs, ms] of [[1_000, 0, 1_000], [6_000, 800, 4_200]] as const) {
  onEverySetup(`CircuitBreakerOpenError beside a trial waits for ${ms} ms, and says why`, async (
    world,
  ) => {
    // Rules 7 and 10, trap 59: the lease's end, revalidateMs at the latest.
    const breaker = await opened(world, { halfOpenLeaseMs: 5_000, revalidateMs });
    world.clock.advance(1_000);
    await begin(breaker);
    await world.sync();
    world.clock.advance(advanceMs);
    const error = await assertRejects(() => breaker.call(() => 1), CircuitBreakerOpenError);
    assertEquals([error.state, error.reason, error.retryAfterMs], [
      "HALF_OPEN",
      "trials_in_flight",
      ms,
    ]);
    assertMatch(
      error.message,
      /^Circuit "a" is HALF_OPEN, opened at .*Z; its trial slot is taken$/,
    );
  });
}

onEverySetup("CircuitBreakerOpenError waits for at least 1 ms", async (world) => {
  // Rule 10.
  const breaker = await opened(world);
  world.clock.advance(999.75);
  const error = await assertRejects(() => breaker.call(() => 1), CircuitBreakerOpenError);
  assertEquals(error.retryAfterMs, 1);
});

onEverySetup("CircuitBreakerOpenError has the end of an override, else the cooldown", async (
  world,
) => {
  // Rule 10: forced.
  const breaker = world.breaker(TRIP);
  await breaker.forceOpen({ forMs: 90_000, reason: "maintenance" });
  world.clock.advance(30_000);
  await world.sync();
  const until = await assertRejects(() => breaker.call(() => 1), CircuitBreakerOpenError);
  assertEquals([until.state, until.override, until.reason], ["OPEN", "forced_open", "maintenance"]);
  assertEquals(until.retryAfterMs, 60_000);
  await breaker.forceOpen();
  await world.sync();
  const forever = await assertRejects(() => breaker.call(() => 1), CircuitBreakerOpenError);
  assertEquals(forever.retryAfterMs, 1_000);
});

onEverySetup("getResponse() returns a 503 with the time to retry", async (world) => {
  // Rule 10: whole seconds, at least 1.
  const breaker = await opened(world, { cooldownMs: 1_001 });
  const headers = async () => {
    const error = await assertRejects(() => breaker.call(() => 1), CircuitBreakerOpenError);
    return { error, response: error.getResponse() };
  };
  const { error, response } = await headers();
  assertEquals(response.status, 503);
  assertEquals(response.headers.get("retry-after"), "2");
  assertEquals(response.headers.get("content-type"), "application/problem+json");
  assertEquals(response.headers.get("cache-control"), "no-store");
  // Rule 10: the answer for the public contains no internals.
  const told = { type: "about:blank", title: "Service Unavailable", status: 503 };
  assertEquals(await response.json(), { ...told, retryAfterMs: 1_001 });
  const exposed = await error.getResponse({ expose: true }).json();
  assertEquals([exposed.detail, exposed.circuit, exposed.state], [error.message, "a", "OPEN"]);
  world.clock.advance(1_000);
  assertEquals((await headers()).response.headers.get("retry-after"), "1");
});

onEverySetup("rejections cost no round trip of their own and are sent with the next flush", async (
  world,
) => {
  // Rule 10.
  const asked: string[] = [];
  const isolate = world.isolate({ wrap: (s) => intercept(s, (op) => void asked.push(op)) });
  const breaker = isolate.make(TRIP);
  await fail(breaker);
  await world.sync();
  asked.length = 0;
  await succeed(breaker, 10);
  assertEquals(asked.filter((operation) => operation === "record"), []);
  if (world.setup === "eventual") assertEquals(asked, []);
  assertEquals(world.stored().totals.rejected, 0);
  assertEquals((await breaker.getMetrics()).totalRejected, 10);
  await isolate.fuse.flush();
  assertEquals(world.stored().totals.rejected, 10);
});

onEverySetup("tryCall() returns rejection, error and fallback as data", async (world) => {
  // Rule 10: it never throws.
  const error = new Boom();
  const breaker = await opened<string>(world);
  const rejected = await breaker.tryCall(() => 1);
  const why = "error" in rejected ? rejected.error : null;
  assert(why instanceof CircuitBreakerOpenError);
  assertEquals(rejected, { ok: false, rejected: true, error: why, retryAfterMs: 1_000 } as never);
  const fallback = await breaker.tryCall(() => 1, { fallback: () => "instead" });
  const about = "error" in fallback ? fallback.error : null;
  assert(isCircuitBreakerOpenError(about));
  assertEquals(fallback, { ok: true, source: "fallback", value: "instead", error: about });
  const thrown = await breaker.tryCall(() => 1, {
    fallback: () => {
      throw error;
    },
  });
  assertEquals(thrown, { ok: false, rejected: false, error });
  await breaker.reset();
  await world.sync();
  assertEquals(await breaker.tryCall(() => 1), { ok: true, source: "call", value: 1 });
  assertEquals(await breaker.tryCall(() => Promise.reject(error)), {
    ok: false,
    rejected: false,
    error,
  });
});

onEverySetup("fallback returns the value of a rejected call", async (world) => {
  // Rule 11: it is RETURNED, also when it is null or undefined; it gets circuit, error and state.
  const heard: FallbackContext[] = [];
  const values = ["cached", null, undefined, 0, Promise.resolve("later")];
  const breaker = await opened(world, {
    fallback: (context) => {
      heard.push(context);
      return values[heard.length - 1];
    },
  });
  const given = [];
  for (let i = 0; i < values.length; i++) given.push(await breaker.call(() => "fresh"));
  assertEquals(given, ["cached", null, undefined, 0, "later"]);
  const { circuit, error, state } = heard[0]!;
  assertEquals([circuit.name, state], ["a", "OPEN"]);
  assert(isCircuitBreakerOpenError(error));
});

onEverySetup("fallback: null counts as none", async (world) => {
  // Rule 15.
  const breaker = await opened(world, { fallback: null as unknown as undefined });
  await assertRejects(() => breaker.call(() => 1), CircuitBreakerOpenError);
});

onEverySetup("fallback runs on a failure only when configured to", async (world) => {
  // Rule 11.
  const options = { failureThreshold: 99, fallback: () => "instead", ignore: [RangeError] };
  const onRejection = world.isolate().make(options);
  const onFailure = world.isolate().make({ ...options, fallbackOn: "failure" }, "b");
  const error = new Boom();
  const failing = () => Promise.reject(error);
  assertStrictEquals(await assertRejects(() => onRejection.call(failing)), error);
  assertEquals(await onFailure.call(failing), "instead");
  assertEquals(await onRejection.call(failing, { fallbackOn: "failure" }), "instead");
  assertStrictEquals(
    await assertRejects(() => onFailure.call(failing, { fallbackOn: "rejection" })),
    error,
  );
  // An error that is no failure has no fallback.
  await assertRejects(() => onFailure.call(() => Promise.reject(new RangeError())), RangeError);
  const result = await onFailure.tryCall(failing);
  assertEquals(result, { ok: true, source: "fallback", value: "instead", error });
});

onEverySetup("fallback replaces a failed response, whose body is canceled", async (
  world,
) => {
  // Rule 11.
  let cancelled = false;
  const body = new ReadableStream({ cancel: () => void (cancelled = true) });
  const response = new Response(body, { status: 503 });
  const breaker = world.breaker({
    fallback: ({ error }) => (error as Response).status,
    fallbackOn: "failure",
  });
  assertEquals(await breaker.call(() => response), 503);
  assert(cancelled);
});

onEverySetup("fallbacks are tried in order until one returns a value", async (world) => {
  // Rule 11.
  const tried: string[] = [];
  const last = new Boom();
  const failing = (name: string, error = new Boom()) => () => {
    tried.push(name);
    throw error;
  };
  const good = () => {
    tried.push("good");
    return null;
  };
  const breaker = await opened(world, {
    fallback: [failing("1"), async () => await failing("2")(), good, failing("never")],
  });
  assertEquals(await breaker.call(() => 1), null);
  assertEquals(tried, ["1", "2", "good"]);
  const error = await assertRejects(() =>
    breaker.call(() => 1, { fallback: [failing("a"), failing("b", last)] })
  );
  assertStrictEquals(error, last);
});

onEverySetup("fallback belongs to the handle and not to the circuit", async (world) => {
  // Section 5: two handles of one circuit each run their own.
  const { make } = world.isolate();
  const first = make({ ...TRIP, fallback: () => "first" });
  const second = make({ ...TRIP, fallback: () => "second" });
  const bare = make();
  await fail(bare);
  await world.sync();
  assertEquals(await first.call(() => "fresh"), "first");
  assertEquals(await second.call(() => "fresh"), "second");
  assertEquals(await first.call(() => "fresh", { fallback: () => "call's" }), "call's");
  await assertRejects(() => bare.call(() => "fresh"), CircuitBreakerOpenError);
  assertEquals(world.told("config_mismatch"), []);
});

onEverySetup("ignore, record and isFailure belong to the handle", async (world) => {
  // Section 5.
  const { make } = world.isolate();
  const ignoring = make({ failureThreshold: 9, ignore: [Boom] });
  const plain = make({ failureThreshold: 9 });
  await fail(ignoring);
  await fail(plain);
  await world.sync();
  assertEquals(world.told(), ["ignored", "failure"]);
});
