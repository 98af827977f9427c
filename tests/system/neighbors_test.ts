// Tests of the statements of examples/coming-from-another-breaker.md about other breakers, on the
// packages themselves.
import { assertEquals, assertRejects } from "@std/assert";
import { once } from "node:events";
import {
  BrokenCircuitError,
  circuitBreaker,
  CircuitState,
  ConsecutiveBreaker,
  CountBreaker,
  handleAll,
  handleType,
  timeout,
  TimeoutStrategy,
} from "cockatiel";
import Opossum from "opossum";
import { createFuse } from "@fuse/edge";

const fails = () => Promise.reject(new Error("no answer"));

/** Returns an action that works, fails or hangs as its steps say, in order. */
function steps(...outcomes: (() => unknown)[]): () => unknown {
  return () => outcomes.shift()!();
}

Deno.test("opossum opens above its threshold and counts rejected calls", async () => {
  const works = () => Promise.resolve(1);
  const breaker = new Opossum(steps(works, works, fails, fails, fails), {
    volumeThreshold: 4,
    timeout: false,
  });
  for (let i = 0; i < 4; i++) await breaker.fire().catch(() => {});
  assertEquals(breaker.opened, false);
  await breaker.fire().catch(() => {});
  assertEquals(breaker.opened, true);
  await breaker.fire().catch(() => {});
  assertEquals(breaker.stats.fires, 6);
  breaker.shutdown();
});

Deno.test("Fuse opens at its threshold", async () => {
  const breaker = createFuse().make("api", { strategy: "rolling_window", minimumThroughput: 4 });
  for (const ok of [true, true, false, false]) await breaker.tryCall(() => ok ? 1 : fails());
  assertEquals(await breaker.getState(), "OPEN");
});

Deno.test("opossum opens at the first failure and gives up after 10 s by default", async () => {
  const breaker = new Opossum(fails);
  assertEquals(breaker.options.timeout, 10_000);
  await breaker.fire().catch(() => {});
  assertEquals(breaker.opened, true);
  breaker.shutdown();
});

Deno.test("opossum passes the arguments and the error to its fallback, also on a failure", async () => {
  const breaker = new Opossum((_: string) => fails(), { volumeThreshold: 10, timeout: false });
  breaker.fallback((id: string, error: Error) => `${id}: ${error.message}`);
  assertEquals(await breaker.fire("EUR"), "EUR: no answer");
  assertEquals(breaker.opened, false);
  breaker.shutdown();
});

Deno.test("opossum closes at the success of a call that began before it opened", async () => {
  const slow = Promise.withResolvers<number>();
  const breaker = new Opossum(steps(() => slow.promise, fails), {
    timeout: false,
    resetTimeout: 1,
    errorThresholdPercentage: 1,
  });
  const late = breaker.fire();
  const halfOpen = once(breaker, "halfOpen");
  await breaker.fire().catch(() => {});
  const alive = setInterval(() => {}, 1_000); // opossum's own timer does not keep the process alive
  await halfOpen;
  clearInterval(alive);
  slow.resolve(1);
  await late;
  assertEquals(breaker.closed, true);
  breaker.shutdown();
});

Deno.test("opossum counts an error that its errorFilter accepts as a success, without a fallback", async () => {
  const breaker = new Opossum(fails, { errorFilter: () => true, timeout: false });
  breaker.fallback(() => "fallback");
  await assertRejects(() => breaker.fire(), Error, "no answer");
  assertEquals(breaker.stats.successes, 1);
  breaker.shutdown();
});

Deno.test("opossum fails on an action that returns undefined", async () => {
  const breaker = new Opossum(() => undefined, { timeout: false });
  await assertRejects(() => breaker.fire(), TypeError);
  breaker.shutdown();
});

Deno.test("cockatiel opens above the threshold of its window", async () => {
  const breaker = circuitBreaker(handleAll, {
    halfOpenAfter: 30_000,
    breaker: new CountBreaker({ threshold: 0.5, size: 20, minimumNumberOfCalls: 4 }),
  });
  for (const ok of [true, true, false, false]) {
    await breaker.execute(() => ok ? 1 : fails()).catch(() => {});
  }
  assertEquals(breaker.state, CircuitState.Closed);
  await breaker.execute(fails).catch(() => {});
  assertEquals(breaker.state, CircuitState.Open);
  await assertRejects(() => breaker.execute(() => 1), BrokenCircuitError);
});

Deno.test("cockatiel makes callers wait for a trial and then run", async () => {
  const breaker = circuitBreaker(handleAll, {
    halfOpenAfter: 0,
    breaker: new ConsecutiveBreaker(1),
  });
  await breaker.execute(fails).catch(() => {});
  const trial = Promise.withResolvers<number>();
  const first = breaker.execute(() => trial.promise);
  let ran = false;
  const second = breaker.execute(() => ran = true);
  await Promise.resolve();
  assertEquals(ran, false);
  trial.resolve(1);
  await Promise.all([first, second]);
  assertEquals(ran, true);
});

Deno.test("cockatiel closes a half-open circuit at an error that it does not handle", async () => {
  const breaker = circuitBreaker(handleType(RangeError), {
    halfOpenAfter: 0,
    breaker: new ConsecutiveBreaker(1),
  });
  await breaker.execute(() => Promise.reject(new RangeError())).catch(() => {});
  await breaker.execute(fails).catch(() => {});
  assertEquals(breaker.state, CircuitState.Closed);
});

Deno.test("a timeout of cockatiel around a call of Fuse counts as neutral", async () => {
  const breaker = createFuse().make("api", { failureThreshold: 1 });
  const policy = timeout(1, TimeoutStrategy.Aggressive);
  const hangs = () => new Promise(() => {});
  await policy.execute(({ signal }) => breaker.call(hangs, { signal })).catch(() => {});
  assertEquals(await breaker.getState(), "CLOSED");
});
