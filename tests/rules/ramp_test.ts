// Rule 21 of src/rules/README.md: a circuit that has closed admits a growing share of calls.
import { assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { type CircuitBreaker, CircuitBreakerOpenError, type CircuitOptions } from "@fuse/edge";
import { admits, fail, onEverySetup, succeed, type World } from "../support/setups.ts";

const RAMP: CircuitOptions = {
  failureThreshold: 2,
  successThreshold: 1,
  cooldownMs: 1_000,
  rampMs: 10_000,
};

/** A circuit that has just closed, with the given random draws. */
async function closed(world: World, options: CircuitOptions = RAMP) {
  const draw = { is: 0 };
  const breaker = world.isolate({ random: () => draw.is }).make(options);
  await fail(breaker, 2);
  await world.sync();
  world.clock.advance(1_000);
  await succeed(breaker);
  await world.sync();
  assertEquals(world.moves(), ["opened", "half_opened", "closed"]);
  return { breaker, draw };
}

/** The share of calls that are admitted, in percent, by draws between one percent and the next. */
async function share(breaker: CircuitBreaker<unknown>, draw: { is: number }): Promise<number> {
  for (let percent = 0; percent < 100; percent++) {
    draw.is = (percent + 0.5) / 100;
    if (!await admits(breaker)) return percent;
  }
  return 100;
}

onEverySetup(
  "CircuitBreaker() admits a share of calls that grows linearly after it has closed",
  async (world) => {
    const { breaker, draw } = await closed(world);
    const shares: number[] = [];
    for (let step = 0; step <= 10; step++) {
      shares.push(await share(breaker, draw));
      world.clock.advance(1_000);
      await world.sync();
    }
    assertEquals(shares, [10, 19, 28, 37, 46, 55, 64, 73, 82, 91, 100]);
  },
);

onEverySetup("CircuitBreaker() begins its ramp at rampFromPercentage", async (world) => {
  const { breaker, draw } = await closed(world, { ...RAMP, rampFromPercentage: 50 });
  assertEquals(await share(breaker, draw), 50);
  world.clock.advance(5_000);
  assertEquals(await share(breaker, draw), 75);
});

onEverySetup(
  "CircuitBreaker() rejects calls during its ramp, and counts no failure",
  async (world) => {
    const { breaker, draw } = await closed(world);
    draw.is = 0.1;
    const rejection = await assertRejects(() => breaker.call(() => "too early"));
    assertInstanceOf(rejection, CircuitBreakerOpenError);
    const { state, reason, override, retryAfterMs, message } = rejection;
    assertEquals([state, reason, override, retryAfterMs], ["CLOSED", "ramp", null, 1_000]);
    assertEquals(
      message,
      'Circuit "a" has closed at 2025-01-01T00:00:01.000Z, and admits more calls by and by',
    );
    assertEquals(rejection.getResponse().headers.get("retry-after"), "1");
    world.clock.advance(9_400);
    draw.is = 0.99;
    const last = await breaker.tryCall(() => "nearly");
    assertEquals(!last.ok && last.rejected && last.retryAfterMs, 600);
    await world.sync();
    const { totals } = world.stored();
    assertEquals([totals.rejected, totals.failures, totals.successes], [2, 2, 1]);
    assertEquals([world.told("rejected").length, await breaker.getState()], [2, "CLOSED"]);
  },
);

onEverySetup("CircuitBreaker() opens at once when it trips during its ramp", async (world) => {
  const { breaker, draw } = await closed(world);
  draw.is = 0.05;
  await fail(breaker, 2);
  await world.sync();
  assertEquals([await breaker.getState(), world.stored().reopenCount], ["OPEN", 0]);
});

onEverySetup("CircuitBreaker() ramps up after a reset, and not after a release", async (world) => {
  const draw = { is: 0.5 };
  const breaker = world.isolate({ random: () => draw.is }).make(RAMP);
  await succeed(breaker);
  await breaker.forceOpen();
  await breaker.release();
  assertEquals(await admits(breaker), true);
  // A circuit that was always closed has nothing to recover from.
  await breaker.reset();
  assertEquals(await admits(breaker), true);
  await fail(breaker, 2);
  await world.sync();
  await breaker.reset();
  assertEquals(await admits(breaker), false);
});

onEverySetup("CircuitBreaker() obeys an override rather than its ramp", async (world) => {
  const { breaker, draw } = await closed(world);
  draw.is = 0.99;
  assertEquals(await admits(breaker), false);
  for (const override of ["forceClose", "disable", "metricsOnly"] as const) {
    await breaker[override]();
    assertEquals([override, await admits(breaker)], [override, true]);
  }
  await breaker.forceOpen();
  const rejected = await breaker.tryCall(() => {});
  assertEquals(
    !rejected.ok && rejected.rejected && "state" in rejected.error && rejected.error.state,
    "OPEN",
  );
  await breaker.release();
  assertEquals(await admits(breaker), false);
});

onEverySetup("CircuitBreaker() ends its ramp when the clock goes back", async (world) => {
  const { breaker, draw } = await closed(world);
  draw.is = 0.99;
  assertEquals(await admits(breaker), false);
  world.clock.set(world.clock.now() - 1);
  assertEquals(await admits(breaker), true);
});

onEverySetup("CircuitBreaker() sends no more store requests because of a ramp", async (world) => {
  let asked: string[] = [];
  const counting: ProxyHandler<object> = {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        asked.push(String(name));
        return value.apply(target, args);
      };
    },
  };
  const requests: string[][] = [];
  for (const [name, rampMs] of [["with", 10_000], ["without", undefined]] as const) {
    const isolate = world.isolate({
      random: () => 0,
      wrap: (store) => new Proxy(store, counting) as typeof store,
    });
    const breaker = isolate.make({ ...RAMP, rampMs }, name);
    await fail(breaker, 2);
    await isolate.fuse.flush();
    world.clock.advance(1_000);
    await succeed(breaker);
    await isolate.fuse.flush();
    asked = [];
    for (let call = 0; call < 20; call++) {
      world.clock.advance(100);
      await succeed(breaker);
    }
    await isolate.fuse.flush();
    requests.push(asked);
    asked = [];
  }
  const [withRamp, without] = requests as [string[], string[]];
  assertEquals(withRamp, without);
}, ["strong", "eventual"]);

onEverySetup(
  "CircuitBreaker() ramps up on all isolates, also on those that did not close it",
  async (world) => {
    const other = world.isolate({ random: () => 0.5 }).make(RAMP);
    await closed(world);
    await other.snapshot();
    assertEquals(await admits(other), false);
    world.clock.advance(5_000);
    assertEquals(await admits(other), true);
  },
);
