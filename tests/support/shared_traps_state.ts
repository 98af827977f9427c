/**
 * Traps 21, 26, 27, 30, 32, 33 and 39 over isolates: the state that they share.
 *
 * @module
 */
import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { CircuitBreakerOpenError, type CircuitOptions } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { begin, Boom, intercept, turn } from "./setups.ts";
import { newSeed, seeded } from "./virtual_time.ts";
import { callers, ISOLATES, type SharedWorld, type Trap, underWay } from "./shared_world.ts";

const HOUR = 3_600_000;
const TRIP: CircuitOptions = { failureThreshold: 1, successThreshold: 1, cooldownMs: 60_000 };

const boom = () => Promise.reject(new Boom());

export const STATE: readonly Trap[] = [
  {
    name: "CircuitBreaker() closes nothing when the transition of a stale isolate comes too late",
    run: staleVerdict,
  },
  {
    name:
      "CircuitBreaker() follows the store's clock when the clocks of 8 isolates are hours apart",
    run: clocksApart,
  },
  {
    name: "CircuitBreaker() treats until as a duration when clocks are hours apart",
    async run(world) {
      // Trap 26: a moment on one isolate's clock means nothing on another's.
      const clocks = Array.from({ length: ISOLATES }, (_, i) => apart(world, i));
      const isolates = world.join(TRIP, (i) => ({ clock: clocks[i]! }));
      const until = new Date(clocks[2]!.now() + 30_000);
      await isolates[2]!.breaker.forceOpen({ until });
      const refused = async () => {
        await world.sync();
        const calls = await callers(isolates, 5, (breaker) => breaker.tryCall(() => 1));
        return calls.filter(({ ok }) => !ok).length;
      };
      assertEquals(await refused(), 40);
      for (const clock of [world.clock, ...clocks]) clock.advance(29_999);
      assertEquals(await refused(), 40);
      for (const clock of [world.clock, ...clocks]) clock.advance(1);
      assertEquals(await refused(), 0);
    },
  },
  {
    name: "CircuitBreaker() is reborn closed when the store is flushed while it is open",
    async run(world) {
      // Trap 27: a missing key is neither a state nor an error.
      const isolates = world.join(TRIP);
      const { epoch } = await world.trip(isolates[0]!);
      await world.wipe();
      // No isolate uses a snapshot for longer than maxStalenessMs.
      world.clock.advance(10_001);
      // While an isolate believes the circuit open, it asks with one call at a time.
      await callers(isolates, 1, (breaker) => breaker.tryCall(() => "ran"));
      const calls = await callers(isolates, 24, (breaker) => breaker.tryCall(() => "ran"));
      assertEquals(calls.filter(({ ok }) => ok).length, 192);
      await world.sync();
      const stored = await world.stored();
      assertEquals([stored.state, stored.generation], ["CLOSED", 1]);
      assertNotEquals(stored.epoch, epoch);
      assertEquals(stored.totals, { successes: 200, failures: 0, rejected: 0, slow: 0 });
      assertOnceEach(world);
    },
  },
  {
    name: "CircuitBreaker() adds 160 calls of a forgotten life to totals only",
    async run(world) {
      // Trap 27, rule 5: the epoch separates lives though the generations agree.
      const isolates = world.join(TRIP);
      await world.acquaint();
      const { epoch } = await world.stored();
      const old = await underWay(isolates, 20);
      await world.wipe();
      // Half of the isolates write the first requests of the new life.
      await Promise.all(old.splice(80).map((call) => call.fail()));
      await world.sync();
      await callers(isolates, 10, (breaker) => breaker.tryCall(() => "ran"));
      await world.flush();
      await Promise.all(old.map((call) => call.fail()));
      await world.sync();
      const { state, totals, consecutiveFailures, window, ...stored } = await world.stored();
      assertNotEquals(stored.epoch, epoch);
      assertEquals([state, stored.generation, consecutiveFailures], ["CLOSED", 1, 0]);
      assertEquals([totals.successes, totals.failures], [80, 160]);
      assertEquals([window.successes, window.failures], [80, 0]);
      assertOnceEach(world);
      await world.assertMoves();
    },
  },
  {
    name: "opened, half_opened and closed are emitted once each when 200 callers race",
    async run(world) {
      // Trap 30: only the winner announces.
      const isolates = world.join({ ...TRIP, failureThreshold: 5 });
      const race = (work: () => Promise<unknown>) =>
        callers(isolates, 25, (breaker) => breaker.tryCall(work));
      const cooldown = async () => {
        await world.sync();
        world.clock.advance(60_000);
      };
      await race(boom);
      await cooldown();
      await world.assertMoves("opened");
      await race(turn);
      await world.sync();
      await world.assertMoves("opened", "half_opened", "closed");
      await race(boom);
      await cooldown();
      // And reopened by its only trial.
      const results = await race(boom);
      assertEquals(results.filter((result) => !result.ok && !result.rejected).length, 1);
      await world.flush();
      const moves = ["opened", "half_opened", "closed", "opened", "half_opened", "opened"] as const;
      await world.assertMoves(...moves);
      assertEquals((await world.stored()).generation, 1 + moves.length);
    },
  },
  {
    name: "opened, half_opened and closed are emitted at most once each when answers are lost",
    async run(world) {
      // Section 2: a winner that never receives its answer announces nothing, and the trail still
      // has the transition.
      const isolates = world.join({ ...TRIP, failureThreshold: 5, cooldownMs: 1_000 });
      await world.acquaint();
      const random = seeded(newSeed());
      world.ways[0].fault = () => {
        const drawn = random();
        return drawn < 0.15 ? "lose" : drawn < 0.2 ? "refuse" : undefined;
      };
      for (let round = 0; round < 6; round++) {
        const work = round % 3 === 0 ? boom : turn;
        await callers(isolates, 10, (breaker) => breaker.tryCall(work));
        await world.flush();
        world.clock.advance(1_000);
      }
      world.ways[0].fault = undefined;
      const told = world.told().map(({ generation }) => generation);
      assertEquals(told, [...new Set(told)]);
      const { generation } = await world.stored();
      assert(generation > 1 && told.every((each) => each > 1 && each <= generation));
      assertEquals((await world.trail() ?? { length: generation - 1 }).length, generation - 1);
    },
  },
  {
    name: "config_mismatch names the options once per isolate when isolates differ",
    async run(world) {
      // Trap 32, rule 17.
      for (let i = 0; i < ISOLATES; i++) {
        world.isolate(i % 2 === 0 ? TRIP : { ...TRIP, failureThreshold: 9, cooldownMs: 5_000 });
      }
      for (let round = 0; round < 3; round++) {
        for (const { breaker, fuse } of world.isolates) {
          for (let i = 0; i < 5; i++) await breaker.call(() => "ok");
          await fuse.flush();
        }
      }
      for (const { events } of world.isolates) {
        const told = events.flatMap((e) => e.type === "config_mismatch" ? [e.options] : []);
        assertEquals(told.map((options) => options.toSorted()), [[
          "cooldownMs",
          "failureThreshold",
        ]]);
      }
    },
  },
  {
    name: "for() and boundary() share nothing when 8 isolates use all scopes",
    run: scopes,
  },
  {
    name: "forceOpen() of one isolate is obeyed by the others within maxStalenessMs, and persists",
    async run(world) {
      // Trap 39.
      const isolates = world.join({ ...TRIP, maxStalenessMs: 5_000 });
      await world.acquaint();
      await isolates[0]!.breaker.forceOpen({ reason: "maintenance", actor: "ops" });
      world.clock.advance(5_001);
      let ran = 0;
      const attempt = (many: number) =>
        callers(isolates, many, (breaker) => breaker.tryCall(() => ran++));
      for (let round = 0; round < 2; round++) {
        // While the first caller of an isolate asks, the others use its snapshot.
        const results = [...await attempt(1), ...await attempt(25)];
        assert(results.every((result) => !result.ok && result.rejected));
        // Neither a cooldown nor traffic ends it.
        world.clock.advance(120_000);
        await world.flush();
      }
      assertEquals(ran, 0);
      const { override, totals, state } = await world.stored();
      assertEquals([override?.kind, override?.reason, override?.actor], [
        "forced_open",
        "maintenance",
        "ops",
      ]);
      assertEquals([state, totals.rejected], ["CLOSED", 416]);
      await isolates[3]!.breaker.release();
      world.clock.advance(5_001);
      await attempt(1);
      await attempt(25);
      assertEquals(ran, 208);
      assertEquals([world.heard("forced_open").length, world.heard("released").length], [1, 1]);
    },
  },
];

/** Each isolate that knew it reports once that the circuit was forgotten. */
function assertOnceEach(world: SharedWorld): void {
  for (const { events } of world.isolates) {
    assertEquals(events.filter(({ type }) => type === "reborn").length, 1);
  }
}

async function staleVerdict(world: SharedWorld): Promise<void> {
  // Trap 21: compare-and-set on the generation.
  const gate = Promise.withResolvers<void>();
  let slow = false;
  const held = (operation: string) => slow && operation === "transition" ? gate.promise : undefined;
  const policy = { ...TRIP, halfOpenMaxConcurrent: ISOLATES, successThreshold: ISOLATES - 1 };
  // All but the last send their transitions late.
  const isolates = world.join(
    policy,
    (i) => i < ISOLATES - 1 ? { wrap: (store) => intercept(store, held) } : {},
  );
  const failing = isolates.at(-1)!;
  await world.trip(failing);
  world.clock.advance(60_000);
  const trials = await callers(isolates, 1, (breaker) => begin(breaker));
  assertEquals(trials.filter(({ admitted }) => admitted).length, ISOLATES);
  slow = true;
  const closing = Promise.all(trials.slice(0, -1).map((trial) => trial.succeed()));
  // The last success is recorded, and the transition is due; then the eighth trial fails.
  while ((await world.stored()).halfOpen.successes < ISOLATES - 1) await turn();
  await trials.at(-1)!.fail();
  gate.resolve();
  await closing;
  await world.flush();
  assertEquals((await world.stored()).state, "OPEN");
  await world.assertMoves("opened", "half_opened", "opened");
}

/** A clock hours off the store's: behind it, equal, or ahead. */
function apart(world: SharedWorld, i: number): FakeClock {
  return new FakeClock(world.clock.now() + (i - 3) * HOUR);
}

async function clocksApart(world: SharedWorld): Promise<void> {
  // Trap 26: clocks of different hosts are never compared.
  const clocks = Array.from({ length: ISOLATES }, (_, i) => apart(world, i));
  const isolates = world.join({ ...TRIP, failureThreshold: 3 }, (i) => ({ clock: clocks[i]! }));
  const advance = (ms: number) => {
    for (const clock of [world.clock, ...clocks]) clock.advance(ms);
  };
  await callers(isolates, 20, (breaker) => breaker.tryCall(() => "ok"));
  await world.sync();
  // No outcome is booked in a window hours away, or as older than another's success.
  assertEquals((await world.stored()).window.successes, 160);
  for (const i of [7, 0, 4]) {
    await isolates[i]!.breaker.tryCall(boom);
    await isolates[i]!.fuse.flush();
  }
  await world.sync();
  const { state, openUntil } = await world.stored();
  assertEquals([state, openUntil], ["OPEN", world.clock.now() + 60_000]);
  for (const left of [60_000, 20_000]) {
    for (const { breaker } of isolates) {
      const error = await assertRejects(() => breaker.call(() => 1), CircuitBreakerOpenError);
      assertEquals(error.retryAfterMs, left);
    }
    advance(40_000);
  }
  const calls = await callers(isolates, 25, (breaker) => begin(breaker));
  const trials = calls.filter(({ admitted }) => admitted);
  assertEquals(trials.length, 1);
  await trials[0]!.succeed();
  await world.flush();
  await world.assertMoves("opened", "half_opened", "closed");
}

async function scopes(world: SharedWorld): Promise<void> {
  // Trap 33, rule 16: two dimensions, whatever characters names contain.
  const isolates = world.join(TRIP);
  const scope = (type: string, id: string) => ({ type, id });
  const circuits = isolates.map(({ fuse }) => [
    fuse.make("a", TRIP),
    fuse.for(scope("t", "1")).make("a", TRIP),
    fuse.boundary(scope("t", "1")).make("a", TRIP),
    fuse.for(scope("t", "1")).boundary(scope("t", "1")).make("a", TRIP),
    fuse.for(scope("a:b", "c")).make("a", TRIP),
    fuse.for(scope("a", "b:c")).make("a", TRIP),
    fuse.make("a:for:t:1", TRIP),
    fuse.make("a:state", TRIP),
    fuse.make("{a}*?[%]", TRIP),
    fuse.make("ä 💥 ' \"", TRIP),
  ]);
  await Promise.all(
    circuits.flatMap((own) => own.map((breaker) => breaker.call(() => "ok"))),
  );
  await world.flush();
  const keys = circuits[0]!.map(({ key }) => key);
  assertEquals(new Set(keys).size, keys.length);
  for (const key of keys) assertEquals((await world.stored(key)).totals.successes, ISOLATES);
  // Each in turn opens alone.
  for (const [i, key] of keys.entries()) {
    await circuits[i % ISOLATES]![i]!.tryCall(boom);
    await world.flush();
    const states = await Promise.all(keys.map(async (other) => (await world.stored(other)).state));
    assertEquals(states, keys.map((other) => other === key ? "OPEN" : "CLOSED"));
    await circuits[7 - i % ISOLATES]![i]!.reset();
  }
}
