// Readers of a circuit, and operators' actions.
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { CircuitBreakerOpenError, type OverrideOptions } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { down, making, opened } from "./making.ts";

const READERS = ["getState", "getMetrics", "snapshot", "explain", "isOpen"] as const;
Deno.test("snapshot() is that of a fresh circuit before the first call", async () => {
  const { breaker, fuse } = making();
  assertEquals(await breaker.getState(), "CLOSED");
  assertEquals(await breaker.isOpen(), false);
  assertEquals((await breaker.snapshot()).generation, 0);
  assertMatch(await breaker.explain(), /^Circuit "a" is CLOSED, 0 failures in a row/);
  assertEquals(await breaker.snapshot(), breaker.peek());
  for (const reader of READERS) await breaker[reader]();
  assertEquals(await Array.fromAsync(fuse.list()), []);
});

Deno.test("snapshot() returns a copy that does not change any more", async () => {
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
  assertEquals((await error.getResponse({ expose: true }).json()).detail, error.message);
  assertMatch(error.message, /is OPEN since .* \(consecutive_failures\), 1 failures in a row/);
});

Deno.test("explain() in a rejection describes this rejection, also after a reset", async () => {
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

Deno.test("forceOpen() with an endless length lasts as long as a Date reaches", async () => {
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
  [{ forMS: 1_000 }, `there is no option "forMS", only until, forMs, reason, actor`],
  [{ reason: 5 }, `"reason" must be a text of at most 1000 characters`],
  [{ reason: null }, `"reason" must be a text`],
  [{ reason: "x".repeat(1001) }, `"reason" must be a text`],
  [{ actor: {} }, `"actor" must be a text of at most 1000 characters`],
];
for (const kind of ["forceOpen", "forceClose", "disable", "metricsOnly"] as const) {
  Deno.test(`${kind}() refuses invalid options by name, and changes nothing`, async () => {
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

Deno.test("release() and reset() refuse invalid options by name, and change nothing", async () => {
  const { breaker } = await opened();
  await breaker.forceOpen();
  const before = await breaker.snapshot();
  for (const options of [{ reason: 1 }, { actor: "x".repeat(1001) }]) {
    await assertRejects(() => breaker.release(options as never), TypeError, "must be a text");
    await assertRejects(() => breaker.reset(options as never), TypeError, "must be a text");
  }
  assertEquals(await breaker.snapshot(), before);
});

Deno.test("forceOpen() keeps until, reason and actor, and forMs counts from now", async () => {
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

Deno.test("a rejection under forceOpen has the operator's reason, or none", async () => {
  const { breaker } = making();
  for (const [options, reason] of [[{ reason: "fire" }, "fire"], [{}, null]] as const) {
    await breaker.forceOpen(options);
    const error = await assertRejects(() => breaker.call(() => 1), CircuitBreakerOpenError);
    assertEquals([error.reason, error.override, error.state], [reason, "forced_open", "OPEN"]);
  }
});

Deno.test("history() of a store without a trail throws a TypeError that says what to do", async () => {
  const { breaker } = making();
  await assertRejects(
    async () => await Array.fromAsync(breaker.history()),
    TypeError,
    `Cannot read history: store "array" keeps no trail`,
  );
});

Deno.test("call() emits events under the identity of its circuit", async () => {
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
