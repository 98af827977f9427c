// What a call of an open and of a half-open circuit costs in operations.
import { assertEquals } from "@std/assert";
import { type CircuitOptions, createFuse, memory } from "@fuse/edge";
import { chaos, FakeClock } from "@fuse/edge/testing";
import { background, blocking, NOTHING, opened, refused, warm } from "./isolate.ts";

Deno.test("call() costs nothing when it is rejected by a fresh view", async () => {
  const isolate = await opened();
  assertEquals(await isolate.costs(isolate.succeed), NOTHING);
});

Deno.test("call() refreshes by one background read when an OPEN view is revalidateMs old and nothing was rejected", async () => {
  const isolate = await opened({ revalidateMs: 700 });
  isolate.clock.advance(700);
  const cost = await isolate.costs(() => isolate.times(5, isolate.succeed));
  assertEquals(cost, background("read"));
  assertEquals(await isolate.costs(isolate.succeed), NOTHING);
});

Deno.test("call() refreshes by one record of the rejections when an OPEN view is revalidateMs old", async () => {
  const isolate = await opened({ revalidateMs: 700 });
  isolate.clock.advance(699);
  assertEquals(await isolate.costs(() => isolate.times(3, isolate.succeed)), NOTHING);
  isolate.clock.advance(1);
  const cost = await isolate.costs(() => isolate.times(5, isolate.succeed));
  assertEquals(cost, background("record"));
  assertEquals(isolate.tallies.at(-1)!.rejected, 3);
  assertEquals(await isolate.costs(isolate.succeed), NOTHING);
  assertEquals(isolate.events.filter(({ type }) => type === "unconfirmed"), []);
});

Deno.test("call() waits for one answer when an OPEN view is older than maxStalenessMs", async () => {
  const isolate = await opened({ maxStalenessMs: 5000 });
  isolate.clock.advance(5000);
  assertEquals(await isolate.costs(isolate.succeed), background("read"));
  isolate.clock.advance(5001);
  assertEquals(await isolate.costs(isolate.succeed), blocking("acquire"));
  assertEquals(await isolate.costs(isolate.succeed), NOTHING);
});

Deno.test("call() refreshes the view when a CLOSED one is revalidateMs old's own record", async () => {
  const isolate = await warm({ revalidateMs: 700, flushIntervalMs: 5000 });
  isolate.clock.advance(699);
  assertEquals(await isolate.costs(isolate.succeed), NOTHING);
  isolate.clock.advance(1);
  assertEquals(await isolate.costs(isolate.succeed), background("record"));
  assertEquals(isolate.tallies.at(-1)!.successes, 2);
  assertEquals(await isolate.costs(isolate.succeed), NOTHING);
});

for (
  const [limit, options] of [
    ["maxStalenessMs", { maxStalenessMs: 5000 }],
    ["the cooldown", { cooldownMs: 5000 }],
    ["the default", { maxStalenessMs: undefined, cooldownMs: () => 1 }],
  ] as [string, CircuitOptions][]
) {
  Deno.test(`call() waits for one answer when a CLOSED view is older than ${limit}`, async () => {
    const isolate = await warm({ ...options, ignore: [() => true] });
    const ms = limit === "the default" ? 10_000 : 5000;
    isolate.clock.advance(ms);
    assertEquals(await isolate.costs(isolate.ignore), NOTHING);
    isolate.clock.advance(1);
    assertEquals(await isolate.costs(isolate.ignore), blocking("acquire"));
  });
}

for (const kind of ["forceOpen", "forceClose", "disable", "metricsOnly"] as const) {
  Deno.test(`call() waits for nothing when eventual, ${kind}`, async () => {
    const isolate = await warm({ flushSize: 1000, flushIntervalMs: 100_000 });
    await isolate.breaker[kind]();
    const cost = await isolate.costs(isolate.succeed);
    assertEquals(cost, NOTHING);
    assertEquals((await isolate.succeed()).ok, kind !== "forceOpen");
    isolate.clock.advance(1000);
    const { blocking, all } = await isolate.costs(isolate.succeed);
    assertEquals([blocking, all.length <= 1], [[], true]);
  });
}

Deno.test("call() ignores an override that has run out, without asking", async () => {
  const isolate = await warm();
  await isolate.breaker.forceOpen({ forMs: 900 });
  isolate.clock.advance(899);
  assertEquals((await isolate.succeed()).ok, false);
  isolate.clock.advance(1);
  await isolate.sent();
  let result;
  const cost = await isolate.costs(async () => result = await isolate.succeed());
  assertEquals([cost.blocking, result], [[], { ok: true, source: "call", value: "ok" }]);
  await isolate.fuse.flush();
  assertEquals(isolate.told("released").length, 1);
  assertEquals((await isolate.breaker.getMetrics()).consecutiveSuccesses, 1);
});

Deno.test("call() costs an acquire and a record when it is a trial, and a transition at the verdict", async () => {
  const isolate = await opened({ cooldownMs: 5000 });
  isolate.clock.advance(5000);
  assertEquals(await isolate.costs(isolate.succeed), blocking("acquire", "record"));
  assertEquals(await isolate.costs(isolate.succeed), blocking("acquire", "record", "transition"));
  assertEquals(isolate.told("closed").length, 1);
});

Deno.test("call() costs an acquire, a record and a transition when it is a trial that fails", async () => {
  const isolate = await opened({ cooldownMs: 5000 });
  isolate.clock.advance(5000);
  assertEquals(await isolate.costs(isolate.fail), blocking("acquire", "record", "transition"));
});

Deno.test("call() gives its slot back when it is a trial that counts as nothing", async () => {
  const isolate = await opened({ cooldownMs: 5000, ignore: [(error) => error === undefined] });
  isolate.clock.advance(5000);
  assertEquals(await isolate.costs(isolate.ignore), blocking("acquire", "record"));
  const { successes, failures, lease } = isolate.tallies.at(-1)!;
  assertEquals([successes, failures, lease === null], [0, 0, false]);
});

Deno.test("call() costs one acquire when it is refused beside a trial, and the refusal holds without asking", async () => {
  const { other, cost, permit } = await refused();
  assertEquals(cost, blocking("acquire"));
  assertEquals(await other.costs(() => other.times(20, other.succeed)), NOTHING);
  await permit.ignore();
});

Deno.test("call() asks for no other slot when this isolate took the last one", async () => {
  const { isolate, permit } = await refused();
  assertEquals(await isolate.costs(() => isolate.times(20, isolate.succeed)), NOTHING);
  await permit.ignore();
});

Deno.test("call() asks again when a refusal beside a trial is revalidateMs old", async () => {
  const { other, world } = await refused({ revalidateMs: 300 });
  world.clock.advance(299);
  assertEquals(await other.costs(other.succeed), NOTHING);
  world.clock.advance(1);
  assertEquals(await other.costs(other.succeed), blocking("acquire"));
});

Deno.test("call() asks again when the earliest lease of a refusal has ended", async () => {
  const { other, world } = await refused({ halfOpenLeaseMs: 200 });
  world.clock.advance(199);
  assertEquals(await other.costs(other.succeed), NOTHING);
  world.clock.advance(1);
  assertEquals((await other.costs(other.succeed)).blocking[0], "acquire");
  assertEquals(world.stored().halfOpen.successes, 1);
});

Deno.test("call() asks again when a Snapshot is newer than a refusal", async () => {
  const { other, permit } = await refused();
  await permit.ignore();
  await other.breaker.getState();
  assertEquals(await other.costs(other.succeed), blocking("acquire", "record"));
});

Deno.test("call() asks for a trial though the store's clock went back", async () => {
  // What ended the cooldown is past, and its end is to come once more.
  const [clock, storeClock] = [new FakeClock(), new FakeClock()];
  const fuse = createFuse({
    stores: { remote: chaos(memory({ clock: storeClock.now }), {}) },
    clock: clock.now,
  });
  const breaker = fuse.make("a", { failureThreshold: 1, successThreshold: 2, cooldownMs: 5000 });
  await breaker.tryCall(() => Promise.reject(new Error("down")));
  await fuse.flush();
  for (const each of [clock, storeClock]) each.advance(5000);
  assertEquals((await breaker.tryCall(() => "ok")).ok, true);
  storeClock.set(storeClock.now() - 3000);
  assertEquals(await breaker.getState(), "HALF_OPEN");
  assertEquals((await breaker.tryCall(() => "ok")).ok, true);
  assertEquals(breaker.peek().state, "CLOSED");
});
