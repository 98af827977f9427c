// The requests of an isolate that holds back because its store reports too many of them.
import { assertEquals } from "@std/assert";
import { warm } from "./isolate.ts";

/** Five requests within a second, where one would be enough: all that follows is slower. */
async function paced(failureThreshold = 100, override?: "metricsOnly") {
  const isolate = await warm({ maxRequestsPerSecond: 1, failureThreshold });
  if (override !== undefined) await isolate.breaker[override]();
  isolate.clock.advance(10_000);
  for (let i = 0; i < 5; i++) {
    await isolate.fail();
    await isolate.sent();
  }
  isolate.clock.advance(1_000);
  await isolate.succeed();
  await isolate.fuse.flush();
  await isolate.sent();
  return isolate;
}

Deno.test("a paced isolate holds a failure back, and then sends it with those that follow", async () => {
  const isolate = await paced();
  for (let i = 0; i < 3; i++) {
    await isolate.fail();
    isolate.clock.advance(100);
  }
  assertEquals(await isolate.sent(), []);
  isolate.clock.advance(5_000);
  await isolate.fail();
  assertEquals(await isolate.sent(), ["record"]);
  assertEquals(isolate.tallies.at(-1)!.failures, 4);
});

Deno.test("a paced isolate sends a failure at once when it knows that calls have failed last", async () => {
  const isolate = await paced();
  await isolate.fail();
  await isolate.fuse.flush();
  await isolate.sent();
  await isolate.fail();
  assertEquals(await isolate.sent(), ["record"]);
});

Deno.test("a paced isolate holds failures back that cannot open the circuit, because of an override", async () => {
  const isolate = await paced(3, "metricsOnly");
  await isolate.times(3, isolate.fail);
  await isolate.fuse.flush();
  await isolate.sent();
  await isolate.times(3, isolate.fail);
  assertEquals(await isolate.sent(), []);
  await isolate.fuse.flush();
});

for (const admitted of ["before", "after"]) {
  Deno.test(`a paced isolate's own breaker counts the failures that it held back when a call admitted ${admitted} the store was lost fails`, async () => {
    const isolate = await paced(20);
    const late = Promise.withResolvers<never>();
    const under = admitted === "before" ? isolate.breaker.tryCall(() => late.promise) : undefined;
    for (let i = 0; i < 18; i++) await isolate.fail();
    assertEquals(await isolate.sent(), []);
    isolate.answering = () => {
      throw new Error("connection reset");
    };
    await isolate.fuse.make("b").tryCall(() => Promise.reject(new Error("down")));
    await isolate.sent();
    late.promise.catch(() => {});
    late.reject(new Error("down"));
    await (under ?? isolate.fail());
    const { local, state, metrics } = isolate.breaker.peek();
    assertEquals([local, state, metrics.consecutiveFailures], [true, "CLOSED", 19]);
    await isolate.fail();
    assertEquals(isolate.breaker.peek().state, "OPEN");
    isolate.answering = () => {};
    isolate.clock.advance(60_000);
    await isolate.fuse.flush();
  });
}

Deno.test("a paced isolate holds a failure back when a success follows it, too", async () => {
  const isolate = await paced();
  await isolate.fail();
  isolate.clock.advance(100);
  await isolate.times(3, isolate.succeed);
  assertEquals(await isolate.sent(), []);
  isolate.clock.advance(5_000);
  await isolate.succeed();
  assertEquals(await isolate.sent(), ["record", "record"]);
  assertEquals(isolate.tallies.at(-2)!.failures, 1);
});

for (const strategy of ["percentage_failures", "rolling_window", "count_window"] as const) {
  Deno.test(`an isolate tells nobody at once that a run of failures has ended where ${strategy} decides`, async () => {
    const isolate = await warm({ strategy, minimumThroughput: 100 });
    await isolate.times(10, isolate.fail);
    await isolate.sent();
    await isolate.succeed();
    assertEquals(await isolate.sent(), []);
    await isolate.fuse.flush();
  });
}

Deno.test("an isolate that is not paced sends each failure at once", async () => {
  const isolate = await warm({ failureThreshold: 100 });
  for (let i = 0; i < 3; i++) {
    await isolate.fail();
    assertEquals(await isolate.sent(), ["record"]);
  }
});

Deno.test("rejections alone are sent by the refresh, and not once more after it", async () => {
  const isolate = await warm({ failureThreshold: 1, cooldownMs: 60_000 });
  await isolate.fail();
  await isolate.sent();
  await isolate.succeed();
  isolate.clock.advance(1_000);
  // Sends the rejection before it, and is counted itself while that is under way.
  await isolate.succeed();
  assertEquals(await isolate.sent(), ["record"]);
  assertEquals(isolate.tallies.at(-1)!.rejected, 1);
});
