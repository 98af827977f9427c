// This isolate's own breaker beside the store (section 3): its initial state, its outcomes, and
// which of the two decides.
import { assertEquals } from "@std/assert";
import { type CircuitOptions, createFuse } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import {
  admits,
  begin,
  cutOff,
  fail,
  onEverySetup,
  REMOTE,
  succeed,
  turn,
} from "../../support/setups.ts";
import { chaos, memory } from "../../support/drivers.ts";

const TRIP: CircuitOptions = { failureThreshold: 2, successThreshold: 1, cooldownMs: 10_000 };

for (const onStoreError of ["local", "allow"] as const) {
  Deno.test(`call() follows a known openUntil in an outage when the store's clock is hours off (${onStoreError})`, async () => {
    for (const hours of [5, -5]) {
      const clock = new FakeClock(1_000_000_000);
      const storeClock = new FakeClock(clock.now() + hours * 3_600_000);
      let down = false;
      const fuse = createFuse({
        stores: { remote: chaos(memory({ clock: storeClock.now }), { down: () => down }) },
        clock: clock.now,
      });
      const breaker = fuse.make("a", { ...TRIP, onStoreError });
      await fail(breaker, 2);
      await fuse.flush();
      for (const each of [clock, storeClock]) each.advance(9_999);
      down = true;
      await breaker.getState();
      assertEquals(await admits(breaker), false, `${hours} hours, 9 999 ms`);
      for (const each of [clock, storeClock]) each.advance(1);
      assertEquals(await admits(breaker), true, `${hours} hours, 10 000 ms`);
    }
  });
}

onEverySetup(
  "failures of two outages do not add up though the store has lost the circuit",
  async (
    world,
  ) => {
    const { breaker, lose, regain } = cutOff(world, TRIP);
    await lose();
    await fail(breaker);
    await regain();
    await succeed(breaker);
    await world.sync();
    await world.store.remove("a");
    await breaker.getState();
    await lose();
    await fail(breaker);
    assertEquals(await admits(breaker), true);
  },
  REMOTE,
);

onEverySetup("the last outcomes are those of the outage while it lasts", async (world) => {
  // The run is taken over, the counts of others are not.
  const { breaker, lose } = cutOff(world, {
    ...{ strategy: "count_window", windowSize: 4, minimumThroughput: 2, percentageThreshold: 50 },
  });
  await succeed(breaker, 3);
  await world.sync();
  await lose();
  await succeed(breaker);
  await fail(breaker);
  const { metrics } = breaker.peek();
  assertEquals(metrics.window, { calls: 2, successes: 1, failures: 1, slow: 0 });
  assertEquals(await admits(breaker), false);
}, REMOTE);

onEverySetup(
  "a failure that the store does not accept counts once in this isolate's own breaker",
  async (
    world,
  ) => {
    // However often it is sent.
    const { breaker, line, fuse } = cutOff(world, TRIP);
    await succeed(breaker);
    await world.sync();
    const call = await begin(breaker);
    line.down = true;
    await call.fail();
    for (const ms of [0, 1_500, 3_000]) {
      world.clock.advance(ms);
      await fuse.flush();
    }
    assertEquals(await admits(breaker), true);
    await fail(breaker, 2);
    assertEquals(await admits(breaker), false);
  },
  REMOTE,
);

Deno.test("call() counts in this isolate's own breaker when the store does not accept its tally", async () => {
  const clock = new FakeClock();
  let down = false;
  const stores = { remote: chaos(memory({ clock: clock.now }), { down: () => down }) };
  const fuse = createFuse({ stores, clock: clock.now });
  const breaker = fuse.make("a", TRIP);
  await succeed(breaker);
  await fuse.flush();
  await succeed(breaker);
  const call = await begin(breaker);
  down = true;
  await call.fail();
  await fuse.flush();
  await fail(breaker);
  assertEquals(await admits(breaker), false);
});

for (const onStoreError of ["allow", "reject"] as const) {
  onEverySetup(`failures in an outage open nothing under "${onStoreError}"`, async (world) => {
    const { breaker, lose, line } = cutOff(world, { ...TRIP, onStoreError });
    await succeed(breaker);
    await world.sync();
    const calls = [await begin(breaker), await begin(breaker), await begin(breaker)];
    await lose();
    for (const call of calls) await call.fail();
    line.down = false;
    world.clock.advance(2_000);
    await breaker.getState();
    assertEquals(world.told("store_recovered", "opened"), ["store_recovered"]);
    assertEquals(await admits(breaker), true);
  }, REMOTE);
}

onEverySetup("readers show this isolate's own breaker while the store is gone", async (world) => {
  // Rule 13: also while it admits calls.
  const { breaker, lose } = cutOff(world, TRIP);
  await succeed(breaker);
  await world.sync();
  await lose();
  await fail(breaker);
  assertEquals((await breaker.getMetrics()).consecutiveFailures, 1);
}, REMOTE);

onEverySetup("an override takes precedence over this isolate's findings", async (world) => {
  const { breaker, line, lose } = cutOff(world, TRIP);
  await succeed(breaker);
  await world.sync();
  await lose();
  await fail(breaker, 2);
  await world.breaker(TRIP).forceClose();
  line.down = false;
  world.clock.advance(2_000);
  await breaker.getState();
  assertEquals(world.told("store_recovered"), ["store_recovered"]);
  assertEquals(await admits(breaker), true);
  assertEquals(breaker.peek().override?.kind, "forced_closed");
}, REMOTE);

onEverySetup("strong: the stand-in decides until the store confirms a write", async (world) => {
  const { breaker, line, lose } = cutOff(world, TRIP);
  const other = world.breaker({ ...TRIP, cooldownMs: 600_000 });
  await succeed(breaker);
  await world.sync();
  await lose();
  await succeed(breaker);
  await fail(other, 2);
  line.down = false;
  world.clock.advance(2_000);
  assertEquals(await admits(breaker), true);
  await turn();
  assertEquals(await admits(breaker), false);
}, ["strong"]);

onEverySetup("a call whose record fails is announced once, and not as late", async (world) => {
  const { breaker, line } = cutOff(world, TRIP);
  await succeed(breaker);
  await world.sync();
  const calls = [await begin(breaker), await begin(breaker)];
  line.down = true;
  await calls[0]!.succeed();
  await calls[1]!.fail();
  assertEquals(world.told("success", "failure"), ["success", "success", "failure"]);
  assertEquals(world.heard("success").at(-1)!.late, undefined);
  assertEquals(world.heard("failure").at(-1)!.late, undefined);
}, REMOTE);

Deno.test("call() counts for flushSize when it was admitted during an outage and ends after it", async () => {
  const { breaker, calls, sent } = await admittedInAnOutage(3);
  await calls[0]!.fail();
  await calls[1]!.fail();
  await turn();
  assertEquals(sent, []);
  await calls[2]!.succeed();
  await turn();
  assertEquals(sent, ["record"]);
  assertEquals((await breaker.getMetrics()).totalFailures, 2);
});

Deno.test("call() is sent at once when it was admitted during an outage and the circuit is unknown", async () => {
  const { calls, sent } = await admittedInAnOutage(3, "b");
  await calls[0]!.succeed();
  await turn();
  assertEquals(sent, ["record"]);
});

Deno.test("call() is sent at once when it was admitted during an outage and the clock was set back since", async () => {
  const { breaker, calls, clock, sent } = await admittedInAnOutage(3);
  await calls[0]!.succeed();
  clock.set(clock.now() - 60_000);
  await breaker.getState();
  await calls[1]!.succeed();
  await turn();
  assertEquals(sent, ["read", "record"]);
});

/**
 * Calls that run since an outage, under "allow"; `reads`: the circuit that found the store back.
 */
async function admittedInAnOutage(flushSize: number, reads = "a") {
  const clock = new FakeClock(1_000_000);
  let down = reads !== "a";
  const sent: string[] = [];
  const remote = new Proxy(chaos(memory({ clock: clock.now }), { down: () => down }), {
    get(target, property) {
      const value = Reflect.get(target, property, target);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        sent.push(String(property));
        return Reflect.apply(value, target, args);
      };
    },
  });
  const fuse = createFuse({ stores: { remote }, clock: clock.now });
  const options = { onStoreError: "allow", flushSize, flushIntervalMs: 100_000 } as const;
  const breaker = fuse.make("a", { ...options, failureThreshold: 99 });
  if (!down) {
    await succeed(breaker);
    await fuse.flush();
  }
  down = true;
  await fuse.make(reads).getState();
  const calls = [await begin(breaker), await begin(breaker), await begin(breaker)];
  down = false;
  clock.advance(2_000);
  await fuse.make(reads).getState();
  sent.length = 0;
  return { breaker, calls, clock, sent };
}
