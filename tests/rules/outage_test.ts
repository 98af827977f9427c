// The end of an outage (sections 2 and 3): the outcomes that reach the store, and the state that
// calls follow.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { CircuitBreakerOpenError, type CircuitOptions, createFuse } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import {
  admits,
  begin,
  cutOff,
  fail,
  losingAnswers,
  onEverySetup,
  REMOTE,
  succeed,
  turn,
} from "../support/setups.ts";
import { chaos, memory } from "../support/drivers.ts";

const TRIP: CircuitOptions = { failureThreshold: 2, successThreshold: 1, cooldownMs: 10_000 };

onEverySetup("outcomes of an outage count where they were admitted, with their age", async (
  world,
) => {
  // Section 3: the stand-in admitted it while the last known state was CLOSED.
  const { breaker, lose, regain } = cutOff(world, { ...TRIP, failureThreshold: 3 });
  await succeed(breaker, 2);
  await world.sync();
  await lose();
  await fail(breaker, 2);
  await succeed(breaker, 3);
  await fail(breaker, 3);
  assertEquals(await admits(breaker), false);
  await regain();
  await world.sync();
  const { totals, state, consecutiveFailures, window } = world.stored();
  assertEquals(totals, { successes: 5, failures: 5, rejected: 1, slow: 0 });
  assertEquals([state, consecutiveFailures, window.failures], ["OPEN", 3, 5]);
}, REMOTE);

onEverySetup("totals are recorded once although answers are lost", async (world) => {
  // Section 2: the same id again changes nothing.
  let lost = 3;
  const isolate = world.isolate({
    wrap: (store) => losingAnswers(store, "record", () => lost-- > 0),
  });
  const breaker = isolate.make({ ...TRIP, failureThreshold: 9 });
  for (let i = 0; i < 6; i++) {
    await fail(breaker);
    await isolate.fuse.flush();
    world.clock.advance(4_000);
  }
  await isolate.fuse.flush();
  assertEquals(world.stored().totals.failures, 6);
}, REMOTE);

onEverySetup("duplicated requests change nothing", async (world) => {
  // Section 2.
  const isolate = world.isolate({ faults: { duplicateRate: 1 } });
  const breaker = isolate.make(TRIP);
  await succeed(breaker);
  await fail(breaker, 2);
  await isolate.fuse.flush();
  world.clock.advance(10_000);
  await succeed(breaker);
  await isolate.fuse.flush();
  const { successes, failures } = world.stored().totals;
  assertEquals([successes, failures], [2, 2]);
  assertEquals(world.moves(), ["opened", "half_opened", "closed"]);
  assertEquals(world.stored().generation, 4);
}, REMOTE);

onEverySetup("the stand-in ends with the first write that the store confirms", async (world) => {
  // Section 3: the store has then learned the stand-in's findings.
  const { breaker, line, lose, fuse } = cutOff(world, TRIP);
  await succeed(breaker);
  await world.sync();
  await lose();
  await fail(breaker, 2);
  line.down = false;
  world.clock.advance(4_000);
  await fuse.flush();
  assertEquals(world.told("store_recovered"), ["store_recovered"]);
  assertEquals([world.stored().state, breaker.peek().local], ["OPEN", false]);
  const error = await assertRejects(() => breaker.call(() => 1), CircuitBreakerOpenError);
  assertEquals(error.retryAfterMs, 10_000);
  world.clock.advance(10_000);
  // The store decides: one trial at a time, and it closes.
  const calls = [await begin(breaker), await begin(breaker)];
  assertEquals(calls.map(({ admitted }) => admitted), [true, false]);
  await calls[0]!.succeed();
  await world.sync();
  assertEquals(world.told("half_opened", "closed"), ["half_opened", "closed"]);
}, REMOTE);

onEverySetup(
  "an operator's change takes precedence over this isolate's findings",
  async (
    world,
  ) => {
    // Section 3.
    const { breaker, line, lose } = cutOff(world, TRIP);
    await succeed(breaker);
    await world.sync();
    await lose();
    await fail(breaker, 2);
    line.down = false;
    world.clock.advance(2_000);
    await breaker.getState();
    assertEquals(world.told("store_recovered"), ["store_recovered"]);
    // There is no override to release.
    await breaker.release();
    assertEquals(await admits(breaker), false);
    await breaker.reset();
    assertEquals(await admits(breaker), true);
  },
  REMOTE,
);

onEverySetup("a closed isolate follows the store as soon as it is back", async (world) => {
  const { breaker, lose, regain } = cutOff(world, TRIP);
  const other = world.breaker({ ...TRIP, cooldownMs: 600_000 });
  await lose();
  await succeed(breaker);
  await fail(other, 2);
  await world.isolates[1]!.fuse.flush();
  assertEquals(await admits(breaker), true);
  await regain();
  assertEquals(await admits(breaker), false);
}, REMOTE);

onEverySetup("one flush sends everything that an outage left behind", async (world) => {
  // Section 5: `flush` covers every circuit. The first request detects that the store is back.
  const { breaker, make, line, lose, fuse } = cutOff(world, { ...TRIP, failureThreshold: 99 });
  const others = [make({ failureThreshold: 99 }, "b"), make({ failureThreshold: 99 }, "c")];
  await lose();
  for (const each of [breaker, ...others]) {
    await fail(each, 2);
    await succeed(each, 3);
  }
  line.down = false;
  world.clock.advance(5_000);
  await fuse.flush();
  for (const key of ["a", "b", "c"]) {
    const { successes, failures } = world.stored(key).totals;
    assertEquals([key, successes, failures], [key, 3, 2]);
  }
}, REMOTE);

for (const asked of ["by flush()", "by another call"]) {
  Deno.test(`flush() sends everything that an outage left behind when the first answer is slow, ${asked}`, async () => {
    const clock = new FakeClock();
    let down = false;
    const stores = {
      remote: chaos(memory({ clock: clock.now }), { latencyMs: 1, down: () => down }),
    };
    await using fuse = createFuse({ stores, clock: clock.now, storeTimeoutMs: 30_000 });
    const [a, b, c] = ["a", "b", "c"].map((name) => fuse.make(name));
    for (const each of [a!, b!, c!]) await succeed(each);
    await fuse.flush();

    down = true;
    clock.advance(2_000);
    for (const each of [a!, b!, c!]) await succeed(each, 3);
    await fuse.flush();
    down = false;
    clock.advance(20_000);
    if (asked === "by another call") await succeed(a!);
    await fuse.flush();
    for (const [each, made] of [[a!, asked === "by flush()" ? 4 : 5], [b!, 4], [c!, 4]] as const) {
      assertEquals((await each.getMetrics()).totalSuccesses, made, each.name);
    }
    // Written to the store, and not only overlaid on its snapshot.
    const others = createFuse({ stores, clock: clock.now, storeTimeoutMs: 30_000 });
    assertEquals((await others.make("b").getMetrics()).totalSuccesses, 4);
    assertEquals((await others.make("c").getMetrics()).totalSuccesses, 4);
  });
}

onEverySetup("a view from before an outage is not used after it", async (world) => {
  // Section 3: another circuit of the isolate detected that the store is back.
  const { breaker, make, line, lose } = cutOff(world, TRIP);
  const other = world.breaker(TRIP);
  await succeed(breaker);
  await world.sync();
  await lose();
  await succeed(breaker);
  await fail(other, 2);
  await world.isolates[1]!.fuse.flush();
  line.down = false;
  world.clock.advance(2_000);
  await make({}, "b").getState();
  assertEquals(world.told("store_recovered"), ["store_recovered"]);
  // The stand-in decides until the store has confirmed a write of this circuit.
  assertEquals(await admits(breaker), true);
  await turn();
  assertEquals(await admits(breaker), false);
}, REMOTE);

onEverySetup(
  "a late outcome does not count in this isolate's own breaker",
  async (world) => {
    // Rule 5: while the store is away.
    const { breaker, lose } = cutOff(world, { ...TRIP, failureThreshold: 1 });
    await succeed(breaker);
    const late = await begin(breaker);
    await fail(breaker);
    await world.sync();
    world.clock.advance(10_000);
    await succeed(breaker);
    await world.sync();
    assertEquals(world.stored().state, "CLOSED");
    await lose();
    await late.fail();
    assertEquals(await admits(breaker), true);
    assertEquals(world.heard("failure").at(-1)!.late, true);
  },
  REMOTE,
);

onEverySetup("failures before and after the detection of an outage are one run", async (world) => {
  // Section 3: the record that detects the outage counts in this isolate's own breaker.
  const { breaker, line, fuse } = cutOff(world, TRIP);
  await succeed(breaker);
  await world.sync();
  const call = await begin(breaker);
  line.down = true;
  await call.fail();
  await fuse.flush();
  assertEquals(world.told("store_error"), ["store_error"]);
  await fail(breaker);
  assertEquals(world.heard("opened").map(({ local }) => local), [true]);
  assertEquals(await admits(breaker), false);
}, REMOTE);

onEverySetup(
  "calls that ran when the store was lost count in this isolate's own breaker",
  async (world) => {
    // Section 3: the store admitted them, and they end during a back-off.
    const { breaker, lose } = cutOff(world, TRIP);
    await succeed(breaker);
    await world.sync();
    const calls = [await begin(breaker), await begin(breaker)];
    await lose();
    for (const call of calls) await call.fail();
    assertEquals(world.heard("opened").map(({ local }) => local), [true]);
    assertEquals(await admits(breaker), false);
  },
  REMOTE,
);

onEverySetup("a call that this isolate's own breaker admitted is announced once", async (world) => {
  // Section 6: whenever it ends, before the store is back or after.
  const { breaker, lose, regain, fuse } = cutOff(world, TRIP);
  await succeed(breaker);
  await world.sync();
  await lose();
  const late = await begin(breaker);
  await succeed(breaker);
  await fail(breaker);
  assertEquals(world.told("success", "failure"), ["success", "success", "failure"]);
  await regain();
  await late.succeed();
  await fuse.flush();
  const told = world.told("success", "failure");
  assertEquals(told, ["success", "success", "failure", "success"]);
  assertEquals(world.stored().totals.successes, 3);
}, REMOTE);

onEverySetup("a neutral call during an outage leaves nothing to send", async (world) => {
  const { breaker, line, lose, regain } = cutOff(world, {
    ...TRIP,
    ignore: [(error) => error === "nothing"],
  });
  await succeed(breaker);
  await world.sync();
  const call = await begin(breaker);
  await lose();
  await call.fail("nothing");
  await regain();
  // The read that detects that the store is back.
  assertEquals(line.asked, 1);
}, REMOTE);

onEverySetup("readers follow the store as soon as it is back", async (world) => {
  // Rule 13: readers show what a call would meet, though no call has come since.
  const { breaker, lose, regain } = cutOff(world, TRIP);
  const other = world.breaker({ ...TRIP, cooldownMs: 600_000 });
  await lose();
  await succeed(breaker);
  await fail(other, 2);
  await world.isolates[1]!.fuse.flush();
  await regain();
  assertEquals(await breaker.getState(), "OPEN");
  assertEquals((await breaker.getMetrics()).totalFailures, 2);
  assertEquals(await admits(breaker), false);
}, REMOTE);

onEverySetup("readers show this isolate's counts while the store is unreachable", async (world) => {
  // Rule 13: this isolate's pending counts are overlaid.
  const { breaker, lose } = cutOff(world, TRIP);
  await succeed(breaker);
  await world.sync();
  await lose();
  await succeed(breaker);
  await fail(breaker, 2);
  assertEquals(await admits(breaker), false);
  const { totalSuccesses, totalFailures, totalRejected } = await breaker.getMetrics();
  assertEquals([totalSuccesses, totalFailures, totalRejected], [2, 2, 1]);
}, REMOTE);

onEverySetup("a slot whose grant was lost is requested again", async (world) => {
  // Section 2: the same token, so that the slot is not lost until its lease ends.
  let losing = false;
  const isolate = world.isolate({ wrap: (store) => losingAnswers(store, "acquire", () => losing) });
  const breaker = isolate.make(TRIP);
  await fail(breaker, 2);
  await world.sync();
  world.clock.advance(10_000);
  losing = true;
  await succeed(breaker);
  losing = false;
  await isolate.fuse.flush();
  assertEquals([world.stored().state, world.stored().halfOpen.inFlight], ["HALF_OPEN", 1]);
  world.clock.advance(2_000);
  await breaker.getState();
  await succeed(breaker);
  await world.sync();
  assertEquals(world.stored().state, "CLOSED");
}, REMOTE);

onEverySetup("an isolate returns to the store by its traffic alone", async (world) => {
  // No timer: after the interval, a call checks in the background or waits itself.
  const { breaker, line, lose } = cutOff(world, TRIP);
  await lose();
  await succeed(breaker);
  line.down = false;
  world.clock.advance(1_000);
  await succeed(breaker);
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals(world.told("store_recovered"), ["store_recovered"]);
}, REMOTE);

onEverySetup("a tally without an answer within 30 s is reported and not sent again", async (
  world,
) => {
  // Section 2: by store_error with its counts, and by unconfirmed.
  const { breaker, line, fuse } = cutOff(world, { ...TRIP, failureThreshold: 9 });
  await succeed(breaker);
  await world.sync();
  const call = await begin(breaker);
  line.down = true;
  await call.fail();
  await fuse.flush();
  world.clock.advance(30_001);
  line.down = false;
  await fuse.flush();
  const [event, ...others] = world.heard("unconfirmed");
  assertEquals(others, []);
  assertEquals([event!.name, event!.tallies, event!.failures], ["a", 1, 1]);
  const error = String(world.heard("store_error").at(-1)!.error);
  assert(error.includes("0 successes, 1 failures and 0 rejections"), error);
  await fuse.flush();
  await world.sync();
  assertEquals(world.stored().totals.failures, 0);
}, REMOTE);
