// Traps 21 to 33, as far as a shared memory store can show them.
// 21, 25 and 30 are in rules/transitions_test.ts too, 26 in rules/clock_test.ts, 32 and 33 in
// rules/identity_test.ts. 22, 28, 29 and 31 are of real stores.
import { assert, assertEquals } from "@std/assert";
import type { CircuitOptions } from "@fuse/edge";
import {
  admits,
  begin,
  fail,
  intercept,
  onEverySetup,
  REMOTE,
  succeed,
  turn,
} from "../support/setups.ts";

const TRIP: CircuitOptions = { failureThreshold: 1, successThreshold: 1, cooldownMs: 60_000 };

onEverySetup("CircuitBreaker() closes nothing when a transition comes too late", async (world) => {
  // Trap 21: a stale process closes no open circuit.
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
  // Rule 7: a failure reopens, whatever else happened, though its isolate sends it late.
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
  "CircuitBreaker() keeps an override for any time without traffic",
  async (world) => {
    // Trap 23.
    const breaker = world.breaker(TRIP);
    await breaker.forceOpen();
    world.clock.advance(400 * 86_400_000);
    assertEquals(await admits(breaker), false);
    assertEquals(await admits(world.breaker(TRIP)), false);
  },
);

onEverySetup("CircuitBreaker() runs calls of a closed circuit concurrently", async (world) => {
  // Trap 24: no lock is held while the user's call runs.
  const breakers = [world.breaker(TRIP), world.breaker(TRIP)];
  const calls = [];
  for (let i = 0; i < 6; i++) calls.push(await begin(breakers[i % 2]!));
  assert(calls.every(({ admitted }) => admitted));
  for (const call of calls.toReversed()) await call.succeed();
  await world.sync();
  assertEquals(world.stored().totals.successes, 6);
});

onEverySetup("CircuitBreaker() is reborn closed when the store has lost it", async (world) => {
  // Trap 27: and reports it, once for each isolate.
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

onEverySetup("CircuitBreaker() adds an outcome of a lost life to totals only", async (
  world,
) => {
  // Trap 27, rule 5: the epoch separates lives though the generations agree.
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
  "CircuitBreaker() counts calls that were admitted before its first outcome",
  async (world) => {
    // Section 2: epoch "" belongs to the first generation of the life that it meets.
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

onEverySetup("half_opened and closed are emitted by one isolate", async (world) => {
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

onEverySetup("importState() of an export leaves a tripped circuit open", async (
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
