// Rule 12 of src/rules/README.md: actions of operators.
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  type CircuitBreaker,
  type CircuitOptions,
  createFuse,
  type OverrideOptions,
} from "@fuse/edge";
import { admits, begin, fail, onEverySetup, succeed } from "../support/setups.ts";

const TRIP: CircuitOptions = { failureThreshold: 1, successThreshold: 1, cooldownMs: 1_000 };

const OVERRIDES = {
  forced_open: (breaker: CircuitBreaker, options?: OverrideOptions) => breaker.forceOpen(options),
  forced_closed: (breaker: CircuitBreaker, options?: OverrideOptions) =>
    breaker.forceClose(options),
  disabled: (breaker: CircuitBreaker, options?: OverrideOptions) => breaker.disable(options),
  metrics_only: (breaker: CircuitBreaker, options?: OverrideOptions) =>
    breaker.metricsOnly(options),
} as const;
const KINDS = Object.keys(OVERRIDES) as (keyof typeof OVERRIDES)[];
const ADMITTING = KINDS.filter((kind) => kind !== "forced_open");

onEverySetup("forceOpen() rejects all calls of all isolates, and counts them", async (world) => {
  const [here, there] = [world.breaker(TRIP), world.breaker(TRIP)];
  await here.forceOpen();
  await world.sync();
  for (let i = 0; i < 3; i++) assertEquals(await admits(there), false);
  assertEquals(await admits(here), false);
  await world.sync();
  assertEquals(world.stored().totals.rejected, 4);
});

onEverySetup("forceOpen() lasts whatever calls do, for any time", async (world) => {
  // Trap 39: sticky.
  const breaker = world.breaker(TRIP);
  await breaker.forceOpen();
  await world.sync();
  for (let i = 0; i < 3; i++) {
    world.clock.advance(86_400_000);
    assertEquals(await admits(breaker), false);
  }
  assertEquals(await breaker.getState(), "OPEN");
});

onEverySetup("forceClose() admits all calls, counts them and never trips", async (world) => {
  const breaker = world.breaker(TRIP);
  await breaker.forceClose();
  await world.sync();
  await fail(breaker, 20);
  await succeed(breaker);
  await fail(breaker);
  await world.sync();
  const { metrics, state } = await breaker.snapshot();
  assertEquals([state, metrics.window.calls, metrics.window.failures], ["CLOSED", 22, 21]);
  assertEquals(metrics.consecutiveFailures, 1);
  assertEquals(world.told("opened", "would_open"), []);
  assertEquals(world.told("failure").length, 21);
});

onEverySetup("disable() admits all calls, counts only totals, emits no event", async (world) => {
  const breaker = world.breaker(TRIP);
  await breaker.disable();
  await world.sync();
  await fail(breaker, 5);
  await succeed(breaker, 2);
  await world.sync();
  const { metrics } = await breaker.snapshot();
  assertEquals([metrics.totalFailures, metrics.totalSuccesses], [5, 2]);
  assertEquals([metrics.window.calls, metrics.consecutiveFailures], [0, 0]);
  assertEquals(world.told(), ["disabled"]);
});

onEverySetup("metricsOnly() admits all calls and announces once that it would have opened", async (
  world,
) => {
  const breaker = world.breaker({ ...TRIP, failureThreshold: 3 });
  await breaker.metricsOnly();
  await world.sync();
  await fail(breaker, 2);
  await world.sync();
  assertEquals(world.told("would_open"), []);
  await fail(breaker);
  await world.sync();
  assertEquals(world.told("would_open"), ["would_open"]);
  await succeed(breaker);
  await fail(breaker, 9);
  await world.sync();
  assertEquals(world.told("would_open", "opened"), ["would_open"]);
  assertEquals((await breaker.getMetrics()).window.calls, 13);
  const event = world.heard("would_open")[0]!;
  assertEquals([event.from, event.to, event.reason], ["CLOSED", "OPEN", "consecutive_failures"]);
  // And again under another such override.
  await breaker.metricsOnly();
  await fail(breaker, 3);
  await world.sync();
  assertEquals(world.told("would_open").length, 2);
});

for (const kind of KINDS) {
  onEverySetup(
    `CircuitBreaker() keeps ${kind} apart from the state, with actor, reason and end`,
    async (
      world,
    ) => {
      const breaker = world.breaker(TRIP);
      const until = new Date(world.clock.now() + 5_000);
      await OVERRIDES[kind](breaker, { until, reason: "drill", actor: "ada" });
      await world.sync();
      const { state, override } = await breaker.snapshot();
      assertEquals(state, "CLOSED");
      assertEquals(override, { kind, until, reason: "drill", actor: "ada" });
      const [event] = world.events;
      assertEquals(event as unknown, {
        ...{ type: kind, key: "a", store: "shared", name: "a", context: null, boundary: null },
        ...{ reason: "drill", actor: "ada", until, at: new Date(world.clock.now()) },
        // The generation that the override began.
        ...{ epoch: world.stored().epoch, generation: 2, began: new Date(world.clock.now()) },
      });
    },
  );

  onEverySetup(
    `release() ends ${kind} and leaves the state beneath, with its own openUntil`,
    async (
      world,
    ) => {
      const breaker = world.breaker(TRIP);
      await fail(breaker);
      await world.sync();
      const { openUntil } = world.stored();
      await OVERRIDES[kind](breaker);
      world.clock.advance(400);
      await breaker.release({ reason: "done", actor: "ada" });
      await world.sync();
      assertEquals([world.stored().state, world.stored().openUntil], ["OPEN", openUntil]);
      assertEquals(await admits(breaker), false);
      world.clock.advance(600);
      assertEquals(await admits(breaker), true);
      const released = world.events.find((event) => event.type === "released")!;
      assert("actor" in released);
      assertEquals([released.reason, released.actor], ["done", "ada"]);
    },
  );

  onEverySetup(`CircuitBreaker() does not move an open circuit under ${kind}`, async (world) => {
    const breaker = world.breaker(TRIP);
    await fail(breaker);
    await world.sync();
    await OVERRIDES[kind](breaker);
    await world.sync();
    const { generation } = world.stored();
    world.clock.advance(5_000);
    assertEquals(await admits(breaker), kind !== "forced_open");
    await world.sync();
    assertEquals([world.stored().state, world.stored().generation], ["OPEN", generation]);
    assertEquals(world.moves(), ["opened"]);
  });

  onEverySetup(`CircuitBreaker() begins a generation with ${kind}, and with its release`, async (
    world,
  ) => {
    // Calls that were admitted before it are late.
    const breaker = world.breaker({ ...TRIP, failureThreshold: 2 });
    await fail(breaker);
    await world.sync();
    const [before, { generation }] = [await begin(breaker), world.stored()];
    await OVERRIDES[kind](breaker);
    assertEquals(world.stored().generation, generation + 1);
    await breaker.release();
    assertEquals(world.stored().generation, generation + 2);
    await before.fail();
    await world.sync();
    assertEquals([world.stored().consecutiveFailures, world.stored().totals.failures], [0, 2]);
    assertEquals(world.heard("failure").map(({ late }) => late), [undefined, true]);
  });

  onEverySetup(`CircuitBreaker() replaces ${kind} by the next override`, async (world) => {
    for (const next of KINDS) {
      const breaker = world.isolate().make(TRIP, `${kind}-${next}`);
      await OVERRIDES[kind](breaker, { forMs: 1_000 });
      await OVERRIDES[next](breaker, { reason: "next" });
      await world.sync();
      assertEquals((await breaker.snapshot()).override?.kind, next);
      world.clock.advance(2_000);
      assertEquals(await admits(breaker), next !== "forced_open");
      await breaker.release();
      await world.sync();
      assertEquals((await breaker.snapshot()).override, null);
      assertEquals(await admits(breaker), true);
    }
    assertEquals(world.told("released").length, KINDS.length);
  });

  onEverySetup(`CircuitBreaker() releases ${kind} past its until with the first write`, async (
    world,
  ) => {
    const breaker = world.breaker(TRIP);
    await OVERRIDES[kind](breaker, { forMs: 5_000, actor: "ada" });
    await world.sync();
    world.clock.advance(4_999);
    assertEquals(await admits(breaker), kind !== "forced_open");
    await world.sync();
    world.clock.advance(1);
    // Readers ignore it, and write nothing.
    const { generation } = (await world.store.list(EVERYTHING)).records[0]!.snapshot;
    assertEquals(await breaker.getState(), "CLOSED");
    assertEquals((await breaker.snapshot()).override, null);
    assertEquals(world.told("released"), []);
    assertEquals(await admits(breaker), true);
    await world.sync();
    assertEquals(world.told("released"), ["released"]);
    const event = world.heard("released")[0]!;
    assertEquals([event.reason, event.actor], ["expired", "ada"]);
    assertEquals(world.stored().generation, generation);
    await fail(breaker);
    await world.sync();
    assertEquals(await breaker.getState(), "OPEN");
  });

  onEverySetup(`reset() closes and clears beneath ${kind}, which stays`, async (world) => {
    const breaker = world.breaker(TRIP);
    await fail(breaker);
    await world.sync();
    await OVERRIDES[kind](breaker, { actor: "ada" });
    await breaker.reset();
    await world.sync();
    const { state, override, openUntil, metrics } = await breaker.snapshot();
    assertEquals([state, override?.kind, override?.actor, openUntil], [
      "CLOSED",
      kind,
      "ada",
      null,
    ]);
    assertEquals(metrics.totalFailures, 1);
    assertEquals(await admits(breaker), kind !== "forced_open");
  });
}

for (const kind of ADMITTING) {
  onEverySetup(`CircuitBreaker() admits all calls of a half-open circuit under ${kind}`, async (
    world,
  ) => {
    // No slots are taken, and no transition is decided.
    const breaker = world.breaker(TRIP);
    await fail(breaker);
    await world.sync();
    world.clock.advance(1_000);
    await begin(breaker);
    await OVERRIDES[kind](breaker);
    await world.sync();
    const calls = [];
    for (let i = 0; i < 3; i++) calls.push(await begin(breaker));
    assert(calls.every(({ admitted }) => admitted));
    for (const call of calls) await call.fail();
    await world.sync();
    assertEquals(world.stored().state, "HALF_OPEN");
    assertEquals(world.moves(), ["opened", "half_opened"]);
  });
}

onEverySetup("release() without an override does nothing", async (world) => {
  const breaker = world.breaker(TRIP);
  await breaker.release();
  assertEquals(world.stored().epoch, "");
  await fail(breaker);
  await world.sync();
  const before = world.stored();
  await breaker.release();
  await world.sync();
  assertEquals(world.stored(), before);
  assertEquals(world.told("released"), []);
});

onEverySetup("reset() closes, clears, keeps totals and emits only its own event", async (world) => {
  const [here, there] = [world.breaker(TRIP), world.breaker(TRIP)];
  await fail(here);
  await world.sync();
  await there.reset({ reason: "fixed", actor: "ada" });
  await world.sync();
  const { state, openUntil, closedAt, metrics } = await here.snapshot();
  assertEquals([state, openUntil, closedAt], ["CLOSED", null, new Date(world.clock.now())]);
  assertEquals([metrics.totalFailures, metrics.window.calls, metrics.consecutiveFailures], [
    1,
    0,
    0,
  ]);
  assertEquals(world.told(), ["failure", "opened", "reset"]);
  const event = world.heard("reset")[0]!;
  assertEquals([event.reason, event.actor], ["fixed", "ada"]);
  assertEquals(await admits(here), true);
});

onEverySetup("reset() begins the run of failures anew", async (world) => {
  const breaker = world.breaker({ ...TRIP, failureThreshold: 2 });
  await fail(breaker);
  await world.sync();
  await breaker.reset();
  await world.sync();
  await fail(breaker);
  await world.sync();
  assertEquals(await breaker.getState(), "CLOSED");
});

onEverySetup("resetAll() resets the circuits of its view and counts them", async (world) => {
  const { fuse, make } = world.isolate();
  await fail(make(TRIP));
  await fail(make(TRIP, "b"));
  const tenant = fuse.for({ type: "tenant", id: 1 });
  await fail(tenant.make("a", TRIP));
  await world.sync();
  assertEquals(await tenant.resetAll({ actor: "ada" }), 1);
  await world.sync();
  assertEquals([await tenant.make("a").getState(), await make().getState()], ["CLOSED", "OPEN"]);
  assertEquals(await fuse.resetAll(), 3);
  await world.sync();
  assertEquals([await make().getState(), await make({}, "b").getState()], ["CLOSED", "CLOSED"]);
});

Deno.test("forceOpen() refuses invalid options, and changes nothing", async () => {
  // Rule 18.
  const fuse = createFuse();
  const breaker = fuse.make("a");
  const events: string[] = [];
  fuse.on("*", ({ type }) => void events.push(type));
  const refused = (options: OverrideOptions, allowed: string) =>
    assertRejects(() => breaker.forceOpen(options), Error, allowed);
  await refused({ until: new Date(Date.now() - 1) }, "in the future");
  await refused({ until: new Date(NaN) }, "in the future");
  await refused({ forMs: 0 }, '"forMs" must be a positive integer, received 0');
  await refused({ forMs: 1, until: new Date(Date.now() + 9_999) }, "exclude each other");
  await refused({ reason: "x".repeat(1_001) }, '"reason"');
  await refused({ actor: 5 as unknown as string }, '"actor"');
  assertEquals(events, []);
  assertEquals(await breaker.getState(), "CLOSED");
});

const EVERYTHING = {
  cursor: null,
  limit: 100,
  at: 0,
  shape: () => ({ windowMs: 120_000, windowSize: 0 }),
};

onEverySetup(
  "CircuitBreaker() stores an operator's words without half surrogate pairs",
  async (world) => {
    const breaker = world.breaker();
    await breaker.forceOpen({ reason: "cut off \ud83d", actor: "\udc00ada" });
    const { override } = await breaker.snapshot();
    assertEquals([override?.reason, override?.actor], ["cut off \ufffd", "\ufffdada"]);
    for (const act of ["forceOpen", "release", "reset"] as const) {
      await assertRejects(
        () => breaker[act](null as never),
        TypeError,
        `"options" must be an object`,
      );
    }
  },
);
