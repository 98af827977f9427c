// Traps 21 to 33, as far as a shared memory store can show them, and what section 3 says of views.
// 21, 25 and 30 are in rules_transitions_test.ts too, 26 in rules_clock_test.ts, 32 and 33 in
// rules_identity_test.ts. 22, 28, 29 and 31 are of real stores.
import { assert, assertEquals } from "@std/assert";
import type { CircuitOptions } from "@fuse/edge";
import {
  admits,
  begin,
  fail,
  intercept,
  interceptAnswers,
  type IsolateOptions,
  onEverySetup,
  REMOTE,
  succeed,
  turn,
  type World,
} from "./support/setups.ts";

const TRIP: CircuitOptions = { failureThreshold: 1, successThreshold: 1, cooldownMs: 60_000 };

onEverySetup("CircuitBreaker() closes nothing by a verdict that came too late", async (world) => {
  // Trap 21: a stale process turns no red circuit green.
  const gate = Promise.withResolvers<void>();
  const held = (operation: string) => operation === "transition" ? gate.promise : undefined;
  const options = { ...TRIP, halfOpenMaxConcurrent: 2 };
  let slow = false;
  const here = world.isolate({ wrap: (s) => intercept(s, (op) => slow ? held(op) : undefined) })
    .make(options);
  const there = world.breaker(options);
  await fail(here);
  await world.sync();
  world.clock.advance(60_000);
  const [good, bad] = [await begin(here), await begin(there)];
  assert(good.admitted && bad.admitted);
  slow = true;
  const closing = good.succeed();
  await turn();
  await bad.fail();
  gate.resolve();
  await closing;
  await world.sync();
  assertEquals(world.stored().state, "OPEN");
  assertEquals(world.moves(), ["opened", "half_opened", "opened"]);
}, REMOTE);

onEverySetup("CircuitBreaker() closes nothing once a trial of the generation has failed", async (
  world,
) => {
  // Rule 7: a failure reopens, whatever else is there, though its isolate is slow to say so.
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const;
  const options = { ...TRIP, halfOpenMaxConcurrent: 2 };
  let slow = false;
  const [here, there] = gates.map(({ promise }) =>
    world.isolate({
      wrap: (store) =>
        intercept(store, (operation) => slow && operation === "transition" ? promise : undefined),
    }).make(options)
  );
  await fail(here!);
  await world.sync();
  world.clock.advance(60_000);
  const [good, bad] = [await begin(here!), await begin(there!)];
  slow = true;
  const endings = [good.succeed(), turn().then(() => bad.fail())];
  await turn();
  await turn();
  gates[0].resolve();
  await endings[0];
  assertEquals(world.stored().state, "HALF_OPEN");
  gates[1].resolve();
  await endings[1];
  await world.sync();
  assertEquals(world.moves(), ["opened", "half_opened", "opened"]);
}, REMOTE);

onEverySetup(
  "CircuitBreaker() keeps an override however long there is no traffic",
  async (world) => {
    // Trap 23.
    const breaker = world.breaker(TRIP);
    await breaker.forceOpen();
    world.clock.advance(400 * 86_400_000);
    assertEquals(await admits(breaker), false);
    assertEquals(await admits(world.breaker(TRIP)), false);
  },
);

onEverySetup("CircuitBreaker() runs calls of a closed circuit side by side", async (world) => {
  // Trap 24: nothing is locked while the user's call runs.
  const breakers = [world.breaker(TRIP), world.breaker(TRIP)];
  const calls = [];
  for (let i = 0; i < 6; i++) calls.push(await begin(breakers[i % 2]!));
  assert(calls.every(({ admitted }) => admitted));
  for (const call of calls.toReversed()) await call.succeed();
  await world.sync();
  assertEquals(world.stored().totals.successes, 6);
});

onEverySetup("CircuitBreaker() is reborn closed when the store forgot it", async (world) => {
  // Trap 27: and says so, once an isolate.
  const [here, there] = [world.isolate(), world.isolate()];
  const breakers = [here.make(TRIP), there.make(TRIP)] as const;
  await fail(breakers[0]);
  await world.sync();
  const late = await begin(world.breaker(TRIP), {});
  assertEquals(late.admitted, false);
  await world.store.remove("a");
  await world.sync();
  for (const breaker of breakers) {
    assertEquals(await breaker.getState(), "CLOSED");
    assertEquals(await admits(breaker), true);
  }
  await world.sync();
  assertEquals(world.stored().generation, 1);
  assertEquals(here.events.filter(({ type }) => type === "reborn").length, 1);
  assertEquals(there.events.filter(({ type }) => type === "reborn").length, 1);
}, REMOTE);

onEverySetup("CircuitBreaker() counts an outcome of a forgotten life towards totals only", async (
  world,
) => {
  // Trap 27, rule 5: the epoch tells lives apart though the generations agree.
  const [here, there] = [world.breaker(TRIP), world.breaker(TRIP)];
  await succeed(here);
  await world.sync();
  const late = await begin(here);
  await world.store.remove("a");
  await succeed(there);
  await world.sync();
  assertEquals(world.stored().generation, 1);
  await late.fail();
  await world.sync();
  const { state, totals, consecutiveFailures } = world.stored();
  assertEquals([state, totals.failures, consecutiveFailures], ["CLOSED", 1, 0]);
});

onEverySetup(
  "CircuitBreaker() counts what was admitted before its first outcome",
  async (world) => {
    // Section 2: epoch "" belongs to the first generation of the life it meets.
    const breakers = Array.from(
      { length: 3 },
      () => world.breaker({ ...TRIP, failureThreshold: 3 }),
    );
    const calls = await Promise.all(breakers.map((breaker) => begin(breaker)));
    for (const call of calls) await call.fail();
    await world.sync();
    assertEquals(world.stored().state, "OPEN");
    assert(world.heard("failure").every(({ late }) => late === undefined));
  },
);

onEverySetup("half_opened and closed are told by one isolate", async (world) => {
  // Trap 30.
  const breakers = Array.from(
    { length: 6 },
    () => world.breaker({ ...TRIP, halfOpenMaxConcurrent: 6, successThreshold: 3 }),
  );
  await fail(breakers[0]!);
  await world.sync();
  world.clock.advance(60_000);
  const calls = await Promise.all(breakers.map((breaker) => begin(breaker)));
  await Promise.all(calls.map((call) => call.succeed()));
  await world.sync();
  assertEquals(world.moves(), ["opened", "half_opened", "closed"]);
  assertEquals(world.stored().generation, 4);
});

/** An isolate that tells which operations reach the store. */
function counted(world: World, options: CircuitOptions = {}, more: IsolateOptions = {}) {
  const asked: string[] = [];
  const isolate = world.isolate({
    ...more,
    wrap: (store) => intercept(store, (operation) => void asked.push(operation)),
  });
  return { ...isolate, asked, breaker: isolate.make({ ...TRIP, ...options }) };
}

onEverySetup("a view hears of a trip elsewhere by its own traffic within revalidateMs", async (
  world,
) => {
  // Section 3: the record at the end of a call is the revalidation.
  const { breaker } = counted(world);
  const other = world.breaker(TRIP);
  await succeed(breaker);
  await world.sync();
  await fail(other);
  await world.isolates[1]!.fuse.flush();
  world.clock.advance(999);
  assertEquals(await admits(breaker), true);
  world.clock.advance(1);
  assertEquals(await admits(breaker), true);
  await turn();
  assertEquals(await admits(breaker), false);
}, ["eventual"]);

onEverySetup("a view that is older than maxStalenessMs is not believed", async (world) => {
  // Section 3: one blocking request, before the call.
  const { breaker, asked } = counted(world);
  const other = world.breaker(TRIP);
  await succeed(breaker);
  await world.sync();
  await fail(other);
  await world.isolates[1]!.fuse.flush();
  world.clock.advance(10_001);
  asked.length = 0;
  assertEquals(await admits(breaker), false);
  assertEquals(asked.length, 1);
}, ["eventual"]);

onEverySetup(
  "a view learns a later generation from an answer that was overtaken",
  async (world) => {
    // Section 3: a request that was sent before the held Snapshot was learnt may still know more.
    const gate = Promise.withResolvers<void>();
    const { make, fuse } = world.isolate({
      wrap: (store) => intercept(store, (op) => op === "record" ? gate.promise : undefined),
    });
    const breaker = make({ ...TRIP, failureThreshold: 9 });
    const other = world.breaker({ ...TRIP, failureThreshold: 2 });
    await fail(other);
    await world.isolates[1]!.fuse.flush();
    await fail(breaker);
    assertEquals(await breaker.getState(), "CLOSED");
    await fail(other);
    await world.isolates[1]!.fuse.flush();
    gate.resolve();
    await fuse.flush();
    assertEquals(breaker.peek().state, "OPEN");
  },
  ["eventual"],
);

onEverySetup("a view learns nothing from an answer that is older than what it holds", async (
  world,
) => {
  // Section 3: by a local counter, no clock.
  const gate = Promise.withResolvers<void>();
  const { make, fuse } = world.isolate({
    wrap: (store) => interceptAnswers(store, (op) => op === "read" ? gate.promise : undefined),
  });
  const breaker = make(TRIP);
  await succeed(breaker);
  const reading = breaker.getState();
  await fail(breaker);
  await turn();
  assertEquals(breaker.peek().state, "OPEN");
  gate.resolve();
  await reading;
  await fuse.flush();
  assertEquals(breaker.peek().state, "OPEN");
}, ["eventual"]);

onEverySetup("a view of an open circuit hears of a reset within revalidateMs", async (world) => {
  // Section 3: one read in the background.
  const { breaker, asked } = counted(world);
  const other = world.breaker(TRIP);
  await fail(breaker);
  await world.sync();
  await other.reset();
  asked.length = 0;
  world.clock.advance(999);
  assertEquals(await admits(breaker), false);
  assertEquals(asked, []);
  world.clock.advance(1);
  await Promise.all([admits(breaker), admits(breaker)]);
  await turn();
  assertEquals(asked, ["read"]);
  assertEquals(await admits(breaker), true);
}, ["eventual"]);

onEverySetup("a refusal in half-open holds without asking until revalidateMs", async (world) => {
  const { breaker, asked } = counted(world);
  const other = world.breaker(TRIP);
  await fail(breaker);
  await world.sync();
  world.clock.advance(60_000);
  const trial = await begin(other);
  assertEquals(await admits(breaker), false);
  asked.length = 0;
  for (let i = 0; i < 10; i++) assertEquals(await admits(breaker), false);
  assertEquals(asked, []);
  await trial.succeed();
  world.clock.advance(1_000);
  assertEquals(await admits(breaker), true);
}, ["eventual"]);

onEverySetup("calls of a closed circuit wait for no store", async (world) => {
  // Section 3: 0 blocking trips, failures included.
  let hangs = false;
  const hang = new Promise<void>(() => {});
  const { make } = world.isolate({
    wrap: (s) => intercept(s, () => hangs ? hang : undefined),
    storeTimeoutMs: 1,
  });
  const breaker = make({ ...TRIP, failureThreshold: 9, flushSize: 2 });
  await succeed(breaker);
  await world.sync();
  hangs = true;
  await succeed(breaker, 4);
  await fail(breaker);
  assertEquals(world.told("store_error"), []);
  await world.isolates[0]!.fuse.flush();
  assertEquals(world.told("store_error"), ["store_error"]);
}, ["eventual"]);

onEverySetup("successes are sent together, failures at once with those before them", async (
  world,
) => {
  // Section 3.
  const { breaker, asked } = counted(world, { failureThreshold: 9 });
  await succeed(breaker);
  await world.sync();
  asked.length = 0;
  await succeed(breaker, 49);
  await turn();
  assertEquals(asked, []);
  await succeed(breaker);
  await turn();
  assertEquals(asked, ["record"]);
  await succeed(breaker, 3);
  await fail(breaker);
  await turn();
  assertEquals(asked, ["record", "record"]);
  assertEquals(world.stored().totals, { successes: 54, failures: 1, rejected: 0, slow: 0 });
  // While failures in a row are known, a success goes at once: it ends the run.
  await succeed(breaker);
  await turn();
  assertEquals(asked.length, 3);
  assertEquals(world.stored().consecutiveFailures, 0);
}, ["eventual"]);

onEverySetup("an outcome that waited counts when it ended, not when it was told", async (world) => {
  // Section 2: a tally is booked at `now - ageMs`; it spans at most one segment.
  const options: CircuitOptions = { strategy: "rolling_window", windowMs: 10_000 };
  const { breaker } = counted(world, { ...options, flushIntervalMs: 60_000, revalidateMs: 60_000 });
  await succeed(breaker);
  world.clock.advance(5_000);
  await succeed(breaker);
  await world.sync();
  assertEquals((await breaker.getMetrics()).window.successes, 2);
  world.clock.advance(5_000);
  assertEquals((await breaker.getMetrics()).window.successes, 1);
}, ["eventual"]);

onEverySetup("an isolate with a call a minute tells all of its successes", async (world) => {
  // Section 2: they count in the window that still holds them, or its failures weigh double.
  const { breaker } = counted(world, { strategy: "percentage_failures", minimumThroughput: 100 });
  for (let i = 0; i < 10; i++) {
    await succeed(breaker);
    await turn();
    world.clock.advance(60_000);
  }
  await world.sync();
  assertEquals(world.stored().sinceClosed.successes, 10);
}, ["eventual"]);

onEverySetup("a strong circuit asks before and after each call, and once more to move", async (
  world,
) => {
  const { breaker, asked } = counted(world);
  await succeed(breaker);
  assertEquals(asked, ["acquire", "record"]);
  asked.length = 0;
  await fail(breaker);
  assertEquals(asked, ["acquire", "record", "transition"]);
  asked.length = 0;
  await admits(breaker);
  assertEquals(asked, ["acquire"]);
}, ["strong"]);

onEverySetup("a trial asks twice, and once more for its verdict", async (world) => {
  const { breaker, asked } = counted(world);
  await fail(breaker);
  await world.sync();
  world.clock.advance(60_000);
  asked.length = 0;
  await succeed(breaker);
  assertEquals(asked, ["acquire", "record", "transition"]);
}, REMOTE);

onEverySetup("background work is handed to waitUntil, of the request if it has one", async (
  world,
) => {
  // Section 3.
  const [all, one]: [Promise<unknown>[], Promise<unknown>[]] = [[], []];
  const { fuse } = world.isolate({ waitUntil: (work) => void all.push(work) });
  const request = {
    kept: one,
    waitUntil(this: { kept: Promise<unknown>[] }, work: Promise<unknown>) {
      this.kept.push(work);
    },
  };
  const options = { ...TRIP, failureThreshold: 9 };
  await succeed(fuse.make("a", options));
  await fail(fuse.make("a", options));
  await Promise.all(all);
  assertEquals([all.length, one.length, world.stored().totals.failures], [1, 0, 1]);
  await fail(fuse.with(request).make("a", options));
  await Promise.all(one);
  assertEquals([all.length, one.length, world.stored().totals.failures], [1, 1, 2]);
}, ["eventual"]);

onEverySetup("importState() of what exportState() gave leaves a tripped circuit tripped", async (
  world,
) => {
  const { fuse, make, events } = world.isolate();
  const breaker = make(TRIP);
  await fail(breaker);
  await world.sync();
  const { metrics } = await breaker.snapshot();
  const state = JSON.parse(JSON.stringify(await fuse.exportState()));
  await breaker.reset();
  world.clock.advance(20_000);
  assertEquals(await fuse.importState(state), { imported: 1, kept: 0 });
  await world.sync();
  const after = await breaker.snapshot();
  assertEquals([after.state, after.metrics.totalFailures], ["OPEN", metrics.totalFailures]);
  assertEquals(events.at(-1)!.type, "imported");
  assertEquals(await admits(breaker), false);
});
