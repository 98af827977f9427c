// The costs of strong consistency, readers and operators, and the contents of one tally.
import { assertEquals } from "@std/assert";
import type { CircuitMetrics, CircuitOptions } from "@fuse/edge";
import { background, blocking, NOTHING, opened, warm, World } from "./isolate.ts";
import type { Tally } from "@fuse/edge/store";

/** A circuit that asks before and after each call. */
const strong = (options: CircuitOptions = {}) => warm({ consistency: "strong", ...options });

Deno.test("call() costs an acquire and a record when strong, and waits for both", async () => {
  const isolate = await strong({ ignore: [(error) => error === undefined] });
  assertEquals(await isolate.costs(isolate.succeed), blocking("acquire", "record"));
  assertEquals(await isolate.costs(isolate.fail), blocking("acquire", "record"));
  assertEquals(await isolate.costs(isolate.ignore), blocking("acquire"));
});

Deno.test("call() costs a transition more when strong and its failure trips", async () => {
  const isolate = await strong({ failureThreshold: 1 });
  assertEquals(await isolate.costs(isolate.fail), blocking("acquire", "record", "transition"));
});

Deno.test("call() costs an acquire when strong and rejected: OPEN, forced or half-open", async () => {
  const isolate = await strong({ failureThreshold: 1, cooldownMs: 5000 });
  await isolate.fail();
  assertEquals(await isolate.costs(isolate.succeed), blocking("acquire"));
  isolate.clock.advance(5000);
  await isolate.breaker.admit();
  assertEquals(await isolate.costs(isolate.succeed), blocking("acquire"));
  assertEquals(await isolate.costs(isolate.succeed), blocking("acquire"));
  await isolate.breaker.forceOpen();
  assertEquals(await isolate.costs(isolate.succeed), blocking("acquire"));
});

Deno.test("call() costs the same for a strong trial as for an eventual one", async () => {
  const isolate = await strong({ failureThreshold: 1, cooldownMs: 5000 });
  await isolate.fail();
  isolate.clock.advance(5000);
  assertEquals(await isolate.costs(isolate.succeed), blocking("acquire", "record"));
  assertEquals(await isolate.costs(isolate.succeed), blocking("acquire", "record", "transition"));
});

Deno.test("readers cost one read each, peek() none", async () => {
  const isolate = await warm();
  const { breaker } = isolate;
  for (const reader of ["getState", "isOpen", "getMetrics", "snapshot", "explain"] as const) {
    assertEquals(await isolate.costs(() => breaker[reader]()), blocking("read"), reader);
  }
  assertEquals(await isolate.costs(() => Promise.resolve(breaker.peek())), NOTHING);
});

Deno.test("forceOpen() costs one operation, as every action of an operator does", async () => {
  const isolate = await warm();
  const { breaker } = isolate;
  for (const action of ["forceOpen", "forceClose", "disable", "metricsOnly", "release"] as const) {
    assertEquals(await isolate.costs(() => breaker[action]()), blocking("override"), action);
  }
  assertEquals(await isolate.costs(() => breaker.reset()), blocking("transition"));
});

Deno.test("peek() counts an outcome once at every moment of its way to the store", async () => {
  const isolate = await warm();
  await isolate.fail();
  const counted = new Set<number>();
  for (let i = 0; i < 100; i++) {
    counted.add(isolate.breaker.peek().metrics.totalFailures);
    await Promise.resolve();
  }
  assertEquals([...counted], [1]);
});

Deno.test("getMetrics() counts an outcome once while it is sent", async () => {
  // Already applied, with its answer on the way: the read must not overlay it again.
  const isolate = await warm();
  let metrics: CircuitMetrics | undefined;
  await isolate.costs(async () => {
    isolate.fail();
    metrics = await isolate.breaker.getMetrics();
  });
  assertEquals(metrics!.totalFailures, 1);
});

Deno.test("peek() knows nothing before the first answer, and its age after", async () => {
  const isolate = new World().isolate();
  assertEquals(isolate.breaker.peek().ageMs, Infinity);
  await isolate.breaker.getState();
  assertEquals(isolate.breaker.peek().ageMs, 0);
  isolate.clock.advance(300);
  assertEquals(isolate.breaker.peek().ageMs, 300);
});

Deno.test("record() sends two tallies for successes of two window segments, each with its age", async () => {
  const isolate = await warm({ windowMs: 10_000, flushIntervalMs: 100_000, revalidateMs: 100_000 });
  await isolate.times(2, isolate.succeed);
  isolate.clock.advance(999);
  await isolate.succeed();
  assertEquals(await isolate.sent(), []);
  isolate.clock.advance(1);
  await isolate.succeed();
  assertEquals(await isolate.sent(), ["record", "record"]);
  const [first, second] = isolate.tallies.slice(-2) as [Tally, Tally];
  assertEquals([first.successes, first.ageMs], [3, 1]);
  assertEquals([second.successes, second.ageMs], [1, 0]);
});

Deno.test("record() sends the first failure at once, and those that come meanwhile together", async () => {
  const isolate = await warm();
  const cost = await isolate.costs(() => isolate.times(3, isolate.fail));
  assertEquals(cost, background("record", "record"));
  const tallies = isolate.tallies.slice(-2);
  assertEquals(tallies.map(({ failures }) => failures), [1, 2]);
});

Deno.test("call() costs nothing when it is rejected, and is sent with the next tally", async () => {
  const isolate = await opened({ cooldownMs: 5000, maxStalenessMs: 100_000 });
  await isolate.times(3, isolate.succeed);
  assertEquals(await isolate.sent(), []);
  assertEquals(isolate.breaker.peek().metrics.totalRejected, 3);
  isolate.clock.advance(5000);
  await isolate.succeed();
  assertEquals(isolate.tallies.at(-1)!.rejected, 3);
  assertEquals((await isolate.breaker.getMetrics()).totalRejected, 3);
});

Deno.test("flush() sends pending outcomes once, and nothing when there are none", async () => {
  const isolate = await warm();
  await isolate.times(3, isolate.succeed);
  await isolate.fuse.flush();
  assertEquals(await isolate.sent(), ["record"]);
  await isolate.fuse.flush();
  assertEquals(await isolate.sent(), []);
});

Deno.test("flush() does not repeat a tally on its way, and waits for it", async () => {
  const isolate = await warm();
  const cost = await isolate.costs(async () => {
    await isolate.fail();
    await Promise.all([isolate.fuse.flush(), isolate.fuse.flush()]);
  });
  assertEquals(cost.all, ["record"]);
  assertEquals(isolate.breaker.peek().metrics.totalFailures, 1);
});

Deno.test("flush() sends rejections alone, too", async () => {
  const isolate = await opened();
  await isolate.times(2, isolate.succeed);
  await isolate.fuse.flush();
  const { generation, rejected } = isolate.tallies.at(-1)!;
  assertEquals([generation, rejected], [-1, 2]);
});
