// Traps of shared state (traps.md) on real databases: what isolates that share one must not do.
import { assert, assertEquals } from "@std/assert";
import {
  type CircuitBreaker,
  type CircuitOptions,
  createFuse,
  type Fuse,
  type FuseEvent,
  type FuseOptions,
} from "@fuse/edge";
import { libsql, type LibsqlClient, type LibsqlStore } from "@fuse/edge/libsql";
import { FakeClock } from "@fuse/edge/testing";
import type { Store } from "../src/store.ts";
import { databasesForFile, type TestDatabase } from "./support/databases.ts";
import { admits, begin, fail, intercept, succeed } from "./support/setups.ts";

const TRIP: CircuitOptions = { failureThreshold: 1, successThreshold: 1, cooldownMs: 60_000 };
const databases = await databasesForFile();

/** Isolates with clients of their own on one database, and circuits that no other test has. */
class World {
  readonly clock = new FakeClock();
  readonly events: FuseEvent[] = [];
  readonly name = `traps-${crypto.randomUUID()}`;
  readonly #database: TestDatabase;
  readonly #consistency: "strong" | "eventual";
  readonly #fuses: Fuse[] = [];
  readonly #clients: (LibsqlClient & { close(): void })[] = [];

  constructor(database: TestDatabase, consistency: "strong" | "eventual") {
    this.#database = database;
    this.#consistency = consistency;
  }

  store(): LibsqlStore {
    const client = this.#database.connect();
    this.#clients.push(client);
    return libsql({ client, clock: this.clock.now });
  }

  fuse(options: FuseOptions & { wrap?: (store: Store) => Store } = {}): Fuse {
    const { wrap = (store) => store, ...rest } = options;
    const fuse = createFuse({
      clock: this.clock.now,
      storeTimeoutMs: 10_000,
      ...rest,
      stores: { shared: wrap(this.store()) },
      defaults: { consistency: this.#consistency },
    });
    fuse.on("*", (event) => this.events.push(event));
    this.#fuses.push(fuse);
    return fuse;
  }

  breaker(options: CircuitOptions = TRIP): CircuitBreaker {
    return this.fuse().make(this.name, options);
  }

  /** Lets what goes on in the background come to its end, and everybody hear of it. */
  async sync(): Promise<void> {
    for (const fuse of this.#fuses) await fuse.flush();
    for (const fuse of this.#fuses) await fuse.make(this.name).snapshot();
  }

  stored(key = this.name) {
    return this.store().read(key, { at: 0, shape: { windowMs: 120_000, windowSize: 0 } });
  }

  async trail(): Promise<string[]> {
    const events = [];
    for await (const { event } of this.store().history({ key: this.name })) events.push(event);
    return events.reverse();
  }

  told(...types: FuseEvent["type"][]): FuseEvent["type"][] {
    return this.events.map(({ type }) => type).filter((type) => types.includes(type));
  }

  async end(): Promise<void> {
    for (const fuse of this.#fuses) await fuse[Symbol.asyncDispose]();
    for (const client of this.#clients) client.close();
  }
}

function onBoth(name: string, run: (world: World) => Promise<void>): void {
  for (const database of databases) {
    for (const consistency of ["strong", "eventual"] as const) {
      Deno.test(`${name} (${database.name}, ${consistency})`, async () => {
        const world = new World(database, consistency);
        try {
          await run(world);
        } finally {
          await world.end();
        }
      });
    }
  }
}

const MOVES = ["opened", "half_opened", "closed"] as const;

onBoth("CircuitBreaker() leaves a late failure out of the next half-open", async (world) => {
  // Traps 1 and 4.
  const [here, there] = [world.breaker(), world.breaker()];
  await succeed(here);
  await world.sync();
  const late = await begin(there);
  await fail(here);
  await world.sync();
  world.clock.advance(60_000);
  const trial = await begin(here);
  await late.fail();
  await world.sync();
  const { state, halfOpen } = await world.stored();
  assertEquals([state, halfOpen.inFlight, halfOpen.failures], ["HALF_OPEN", 1, 0]);
  await trial.succeed();
  await world.sync();
  assertEquals((await world.stored()).state, "CLOSED");
});

onBoth("CircuitBreaker() gives a dead prober's slot to somebody else", async (world) => {
  // Traps 7 and 9.
  const [dying, ...others] = [world.breaker(), world.breaker(), world.breaker()];
  await fail(dying!);
  await world.sync();
  world.clock.advance(60_000);
  assert((await begin(dying!)).admitted);
  assertEquals(await Promise.all(others.map(admits)), [false, false]);
  world.clock.advance(30_000);
  const calls = await Promise.all(others.map((breaker) => begin(breaker)));
  assertEquals(calls.filter(({ admitted }) => admitted).length, 1);
});

onBoth("CircuitBreaker() loses no outcome when many isolates tell at once", async (world) => {
  // Trap 14.
  const breakers = Array.from({ length: 8 }, () => world.breaker({ failureThreshold: 1_000 }));
  await Promise.all(breakers.flatMap((breaker) => [fail(breaker, 5), succeed(breaker, 7)]));
  await world.sync();
  const { totals, window, sinceClosed } = await world.stored();
  assertEquals([totals.successes, totals.failures], [56, 40]);
  assertEquals([window.successes, window.failures], [56, 40]);
  assertEquals([sinceClosed.successes, sinceClosed.failures], [56, 40]);
});

onBoth("CircuitBreaker() closes nothing by a verdict that came too late", async (world) => {
  // Trap 21.
  const gate = Promise.withResolvers<void>();
  let slow = false;
  const options = { ...TRIP, halfOpenMaxConcurrent: 2 };
  const here = world.fuse({
    wrap: (store) =>
      intercept(
        store,
        (operation) => slow && operation === "transition" ? gate.promise : undefined,
      ),
  }).make(world.name, options);
  const there = world.breaker(options);
  await fail(here);
  await world.sync();
  world.clock.advance(60_000);
  const [good, bad] = [await begin(here), await begin(there)];
  assert(good.admitted && bad.admitted);
  slow = true;
  const closing = good.succeed();
  while ((await world.stored()).halfOpen.successes === 0) {
    // The success has not arrived yet.
  }
  await bad.fail();
  gate.resolve();
  await closing;
  await world.sync();
  assertEquals((await world.stored()).state, "OPEN");
  assertEquals(world.told(...MOVES), ["opened", "half_opened", "opened"]);
  assertEquals(await world.trail(), ["opened", "half_opened", "opened"]);
});

onBoth("CircuitBreaker() keeps an override whatever traffic there is", async (world) => {
  // Traps 23 and 39.
  const [here, there] = [world.breaker(), world.breaker()];
  await here.forceOpen({ reason: "an outage" });
  await world.sync();
  assertEquals([await admits(here), await admits(there)], [false, false]);
  world.clock.advance(400 * 86_400_000);
  assertEquals([await admits(here), await admits(there)], [false, false]);
});

onBoth("CircuitBreaker() runs calls of a closed circuit side by side", async (world) => {
  // Trap 24: nothing is locked while the user's call runs.
  const breakers = [world.breaker(), world.breaker()];
  const calls = [];
  for (let i = 0; i < 6; i++) calls.push(await begin(breakers[i % 2]!));
  assert(calls.every(({ admitted }) => admitted));
  for (const call of calls.toReversed()) await call.succeed();
  await world.sync();
  assertEquals((await world.stored()).totals.successes, 6);
});

onBoth("CircuitBreaker() goes by the store's clock, whatever hosts' clocks show", async (world) => {
  // Trap 26.
  const fast = world.fuse({ clock: () => world.clock.now() + 7_200_000 }).make(world.name, TRIP);
  const slow = world.fuse({ clock: () => world.clock.now() - 7_200_000 }).make(world.name, TRIP);
  await fail(fast);
  await world.sync();
  const { openedAt, openUntil } = await world.stored();
  assertEquals([openedAt, openUntil], [world.clock.now(), world.clock.now() + 60_000]);
  assertEquals([await admits(fast), await admits(slow)], [false, false]);
  world.clock.advance(60_000);
  assertEquals(await admits(slow), true);
});

onBoth("CircuitBreaker() is reborn closed when the row is gone", async (world) => {
  // Trap 27: and says so, once an isolate.
  const breakers = [world.breaker(), world.breaker()];
  await fail(breakers[0]!);
  await world.sync();
  await world.store().remove(world.name);
  await world.sync();
  for (const breaker of breakers) assertEquals(await admits(breaker), true);
  await world.sync();
  assertEquals((await world.stored()).generation, 1);
  assertEquals(world.told("reborn").length, 2);
});

onBoth("a trip that many isolates find due is made, told and written once", async (world) => {
  // Traps 25 and 30.
  const breakers = Array.from({ length: 6 }, () => world.breaker());
  await Promise.all(breakers.map((breaker) => fail(breaker)));
  await world.sync();
  world.clock.advance(60_000);
  await Promise.all(breakers.map(admits));
  await world.sync();
  const { state, generation } = await world.stored();
  assertEquals([state, generation], ["CLOSED", 4]);
  assertEquals(world.told(...MOVES), [...MOVES]);
  assertEquals(await world.trail(), [...MOVES]);
});

onBoth("circuits of one name are one row each, scope by scope", async (world) => {
  // Traps 31 and 33.
  const fuses = Array.from({ length: 8 }, () => world.fuse());
  const scopes = (fuse: Fuse) => [
    fuse,
    fuse.for({ type: "tenant", id: 1 }),
    fuse.boundary({ type: "tenant", id: 1 }),
  ];
  const { name } = world;
  await Promise.all(
    fuses.flatMap(scopes).map((fuse) => fail(fuse.make(name, { failureThreshold: 1_000 }), 2)),
  );
  for (const fuse of fuses) await fuse.flush();
  const { records } = await world.store().list({
    cursor: null,
    limit: 10_000,
    at: 0,
    shape: () => ({ windowMs: 1_000, windowSize: 0 }),
  });
  const mine = records.filter(({ key }) => key.startsWith(name));
  assertEquals(
    mine.map(({ key, snapshot }) => [key.slice(name.length), snapshot.totals.failures]).sort(),
    [["", 16], [":for:tenant:1", 16], [":in:tenant:1", 16]],
  );
});

onBoth("isolates with different policies for a circuit are told so", async (world) => {
  // Trap 32.
  await succeed(world.fuse().make(world.name, { failureThreshold: 3 }));
  await world.sync();
  await succeed(world.fuse().make(world.name, { failureThreshold: 4 }));
  await world.sync();
  assertEquals(world.told("config_mismatch").length, 1);
});
