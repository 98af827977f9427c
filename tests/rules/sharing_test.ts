// Section 3 of the design: the costs of a view, and the age of its snapshot.
import { assertEquals } from "@std/assert";
import type { CircuitOptions } from "@fuse/edge";
import {
  admits,
  begin,
  fail,
  intercept,
  interceptAnswers,
  onEverySetup,
  REMOTE,
  succeed,
  turn,
  type World,
} from "../support/setups.ts";

const TRIP: CircuitOptions = { failureThreshold: 1, successThreshold: 1, cooldownMs: 60_000 };

/** An isolate that notes which operations reach the store. */
function counted(world: World, options: CircuitOptions = {}) {
  const asked: string[] = [];
  const isolate = world.isolate({
    wrap: (store) => intercept(store, (operation) => void asked.push(operation)),
  });
  return { ...isolate, asked, breaker: isolate.make({ ...TRIP, ...options }) };
}

onEverySetup("a view learns of a trip elsewhere by its own traffic within revalidateMs", async (
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

onEverySetup("a view that is older than maxStalenessMs is not used", async (world) => {
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
    // Section 3: a request that was sent before the current Snapshot arrived may be newer.
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

onEverySetup("a view ignores an answer that is older than its snapshot", async (
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
  // Section 3: one request in the background, with what was rejected.
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
  assertEquals(asked, ["record"]);
  assertEquals(await admits(breaker), true);
}, ["eventual"]);

onEverySetup("a refusal in half-open lasts without a request until revalidateMs", async (world) => {
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

onEverySetup("calls of a closed circuit do not wait for the store", async (world) => {
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
  const { breaker, asked } = counted(world, { failureThreshold: 4 });
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
  // While half of the failures in a row are known, a success goes at once: it ends the run.
  await fail(breaker);
  await turn();
  await succeed(breaker);
  await turn();
  assertEquals(asked.length, 4);
  assertEquals(world.stored().consecutiveFailures, 0);
}, ["eventual"]);

onEverySetup("a delayed outcome counts when it ended, not when it was sent", async (world) => {
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

onEverySetup("an isolate with a call a minute sends all of its successes", async (world) => {
  // Section 2: they count in the window that still contains them, or its failures weigh double.
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

onEverySetup("a trial sends two requests, and one more for its transition", async (world) => {
  const { breaker, asked } = counted(world);
  await fail(breaker);
  await world.sync();
  world.clock.advance(60_000);
  asked.length = 0;
  await succeed(breaker);
  assertEquals(asked, ["acquire", "record", "transition"]);
}, REMOTE);

onEverySetup("background work is passed to waitUntil, of the request if it has one", async (
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

onEverySetup("a waitUntil that throws loses no work", async (world) => {
  // Section 3: outside of any request, waitUntil of "cloudflare:workers" does.
  const { make, fuse } = world.isolate({
    waitUntil: () => {
      throw new Error("no request");
    },
  });
  const breaker = make({ ...TRIP, failureThreshold: 9 });
  await succeed(breaker);
  await fail(breaker);
  await fuse.flush();
  assertEquals(world.stored().totals.failures, 1);
}, ["eventual"]);
