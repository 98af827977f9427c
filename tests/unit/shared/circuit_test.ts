// The view of a shared store: what each path costs in operations, and which of them a call waits for.
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import {
  type AcquireRequest,
  type CallResult,
  type CircuitBreaker,
  type CircuitMetrics,
  type CircuitOptions,
  createFuse,
  type FuseEvent,
  memory,
  type Snapshot,
  type Store,
  type Tally,
} from "@fuse/edge";
import { chaos, FakeClock } from "@fuse/edge/testing";
import { intercept, interceptAnswers, turn } from "../../support/setups.ts";

const SHAPE = { windowMs: 120_000, windowSize: 0 };

/** One store that isolates share, and the clock of all. */
class World {
  readonly clock = new FakeClock();
  readonly store = memory({ clock: this.clock.now });

  isolate(options: CircuitOptions = {}, name = "a"): Isolate {
    return new Isolate(this, options, name);
  }

  stored(): Snapshot {
    return this.store.read("a", { at: 0, shape: SHAPE }) as Snapshot;
  }
}

/** An isolate, the circuit "a" in it, and what it sends. */
class Isolate {
  readonly breaker: CircuitBreaker;
  readonly fuse;
  readonly clock: FakeClock;
  readonly events: FuseEvent[] = [];
  readonly tallies: Tally[] = [];
  readonly acquired: AcquireRequest[] = [];
  #sent: string[] = [];
  #gate: Promise<void> | null = null;
  /** What becomes of an answer; throws to lose it. */
  answering: (operation: string) => void = () => {};

  constructor(world: World, options: CircuitOptions, name: string) {
    this.clock = world.clock;
    const remote = this.#line(chaos(world.store, {}));
    // Long enough for a slow machine: no test here waits for it.
    this.fuse = createFuse({ stores: { remote }, clock: world.clock.now, storeTimeoutMs: 10_000 });
    this.fuse.on("*", (event) => void this.events.push(event));
    this.breaker = this.fuse.make(name, options);
  }

  #line(store: Store): Store {
    return new Proxy(store, {
      get: (target, property) => {
        const value = Reflect.get(target, property, target);
        if (typeof value !== "function") return value;
        return async (...args: unknown[]) => {
          const operation = String(property);
          this.#sent.push(operation);
          if (operation === "record") this.tallies.push(args[1] as Tally);
          if (operation === "acquire") this.acquired.push(args[1] as AcquireRequest);
          await this.#gate;
          const answer = await Reflect.apply(value, target, args);
          this.answering(operation);
          return answer;
        };
      },
    });
  }

  /** What was sent since the last time, once all is answered. */
  async sent(): Promise<string[]> {
    await turn();
    const sent = this.#sent;
    this.#sent = [];
    return sent;
  }

  /** Does something while the store does not answer: what it sends, and whether it came to an end by itself. */
  async costs(act: () => Promise<unknown>): Promise<{ blocking: string[]; all: string[] }> {
    await this.sent();
    const gate = Promise.withResolvers<void>();
    this.#gate = gate.promise;
    let ended = false;
    const done = act().finally(() => ended = true);
    await turn();
    const waits = !ended;
    const begun = [...this.#sent];
    this.#gate = null;
    gate.resolve();
    await done.catch(() => {});
    const atEnd = [...this.#sent];
    const all = await this.sent();
    // What it waited for was sent before it ended.
    return { blocking: waits ? atEnd : [], all: begun.length > all.length ? begun : all };
  }

  succeed = (): Promise<CallResult<unknown>> => this.breaker.tryCall(() => "ok");
  fail = (): Promise<CallResult<unknown>> =>
    this.breaker.tryCall(() => Promise.reject(new Error("down")));
  ignore = (): Promise<unknown> =>
    this.breaker.tryCall(() => {
      throw undefined;
    });

  async times(n: number, call: () => Promise<unknown>): Promise<void> {
    for (let i = 0; i < n; i++) await call();
  }

  told(type: FuseEvent["type"]): FuseEvent[] {
    return this.events.filter((event) => event.type === type);
  }

  /** A view that has just been learnt, with nothing pending. */
  async warm(): Promise<this> {
    await this.succeed();
    await this.fuse.flush();
    await this.sent();
    return this;
  }
}

const NOTHING = { blocking: [], all: [] };
const background = (...all: string[]) => ({ blocking: [], all });
const blocking = (...all: string[]) => ({ blocking: all, all });

async function warm(options: CircuitOptions = {}): Promise<Isolate> {
  return await new World().isolate(options).warm();
}

Deno.test("a call of a circuit that was never asked for waits for one answer", async () => {
  const isolate = new World().isolate();
  assertEquals(await isolate.costs(isolate.succeed), blocking("acquire"));
  assertEquals(await isolate.costs(isolate.succeed), NOTHING);
});

Deno.test("eventual, CLOSED: a success costs nothing", async () => {
  const isolate = await warm();
  assertEquals(await isolate.costs(isolate.succeed), NOTHING);
});

Deno.test("eventual, CLOSED: the success that makes flushSize is sent with those before, in the background", async () => {
  const isolate = await warm({ flushSize: 7 });
  await isolate.times(6, isolate.succeed);
  assertEquals(await isolate.sent(), []);
  assertEquals(await isolate.costs(isolate.succeed), background("record"));
  assertEquals(isolate.tallies.at(-1)!.successes, 7);
  assertEquals(await isolate.costs(isolate.succeed), NOTHING);
});

Deno.test("eventual, CLOSED: successes are sent when a call ends flushIntervalMs after the first", async () => {
  const isolate = await warm({ flushIntervalMs: 600 });
  await isolate.succeed();
  isolate.clock.advance(599);
  assertEquals(await isolate.costs(isolate.succeed), NOTHING);
  isolate.clock.advance(1);
  assertEquals(await isolate.costs(isolate.succeed), background("record"));
  assertEquals(isolate.tallies.at(-1)!.successes, 3);
});

for (const option of ["flushSize", "flushIntervalMs"] as const) {
  Deno.test(`eventual, CLOSED: every success is sent at once with the least ${option}`, async () => {
    const isolate = await warm({ [option]: option === "flushSize" ? 1 : 0 });
    assertEquals(await isolate.costs(isolate.succeed), background("record"));
  });
}

Deno.test("eventual, CLOSED: a success is sent at once while the view shows failures in a row", async () => {
  const isolate = await warm();
  await isolate.fail();
  await isolate.sent();
  assertEquals(await isolate.costs(isolate.succeed), background("record"));
  assertEquals(isolate.breaker.peek().metrics.consecutiveFailures, 0);
  assertEquals(await isolate.costs(isolate.succeed), NOTHING);
});

Deno.test("eventual, CLOSED: one success on its way is enough to end a run", async () => {
  const isolate = await warm();
  await isolate.fail();
  await isolate.sent();
  const cost = await isolate.costs(() => isolate.times(5, isolate.succeed));
  assertEquals(cost, background("record"));
});

Deno.test("eventual, CLOSED: successes are sent at once when they make a verdict due", async () => {
  const isolate = await warm({
    strategy: "percentage_failures",
    percentageThreshold: 40,
    minimumThroughput: 10,
  });
  // With the one that warmed it up: 4 failures of 9, and the run ended.
  await isolate.times(4, isolate.fail);
  await isolate.succeed();
  await isolate.sent();
  await isolate.times(3, isolate.succeed);
  assertEquals(await isolate.sent(), []);
  assertEquals(await isolate.costs(isolate.succeed), background("record", "transition"));
  assertEquals(isolate.breaker.peek().state, "OPEN");
});

Deno.test("eventual, CLOSED: a failure is sent at once with the successes before it", async () => {
  const isolate = await warm();
  await isolate.times(3, isolate.succeed);
  assertEquals(await isolate.costs(isolate.fail), background("record"));
  const { successes, failures } = isolate.tallies.at(-1)!;
  assertEquals([successes, failures], [3, 1]);
});

Deno.test("eventual, CLOSED: a success is sent at once when the clock goes back during the call", async () => {
  const isolate = await warm({ flushIntervalMs: 600 });
  const call = () => isolate.breaker.tryCall(() => isolate.clock.set(isolate.clock.now() - 60_000));
  assertEquals(await isolate.costs(call), background("record"));
});

/** What is asked about errors, and what the tally says of them, where calls are audited. */
async function described(
  answer: (error: unknown) => string | undefined,
  ...calls: (() => unknown)[]
): Promise<{ asked: unknown[]; errors: unknown[] }> {
  const asked: unknown[] = [];
  const tallies: Tally[] = [];
  const inner = memory();
  const store: Store = Object.assign(
    intercept(chaos(inner, {}), () => {}),
    {
      describe(error: unknown) {
        asked.push(error);
        return answer(error);
      },
      record(key: string, tally: Tally) {
        tallies.push(tally);
        return Promise.resolve(inner.record(key, tally));
      },
    },
  );
  const fuse = createFuse({ stores: { store } });
  const breaker = fuse.make<unknown>("a", {
    failureThreshold: 99,
    ignore: [(error) => error === "ignored"],
    isFailure: (outcome) => !outcome.ok || outcome.value === "bad",
  });
  for (const call of calls) await breaker.tryCall(call);
  await fuse.flush();
  return { asked, errors: tallies.flatMap(({ errors }) => errors ?? []) };
}

const throwing = (error: unknown) => () => {
  throw error;
};

Deno.test("what may be told of an error is asked for failures that have one", async () => {
  const { asked, errors } = await described(
    String,
    () => "good",
    () => "bad",
    throwing("ignored"),
    throwing("broken"),
  );
  assertEquals([asked, errors], [["broken"], [null, "broken"]]);
});

Deno.test("nothing is told of an error when what is asked throws, or has nothing to say", async () => {
  const { errors } = await described(throwing("no words"), throwing("broken"));
  assertEquals(errors, [null]);
  assertEquals((await described(() => undefined, throwing("broken"))).errors, [null]);
});

Deno.test("a tally says nothing of single calls when the store asks for no words on errors", async () => {
  const isolate = await warm();
  await isolate.fail();
  await isolate.sent();
  const { slowCalls, errors } = isolate.tallies.at(-1)!;
  assertEquals([slowCalls, errors], [undefined, undefined]);
});

Deno.test("eventual, CLOSED: the failure that trips costs two operations, in the background", async () => {
  const isolate = await warm({ failureThreshold: 2 });
  await isolate.fail();
  assertEquals(await isolate.costs(isolate.fail), background("record", "transition"));
  assertEquals(isolate.told("opened").length, 1);
});

Deno.test("eventual: a call that counts as nothing costs nothing", async () => {
  const isolate = await warm({ ignore: [() => true] });
  assertEquals(await isolate.costs(isolate.ignore), NOTHING);
  isolate.clock.advance(1000);
  assertEquals(await isolate.costs(isolate.ignore), NOTHING);
});

/** A view of a circuit that has just opened. */
async function opened(options: CircuitOptions = {}): Promise<Isolate> {
  const isolate = await warm({ failureThreshold: 1, successThreshold: 2, ...options });
  await isolate.fail();
  await isolate.sent();
  return isolate;
}

Deno.test("eventual, OPEN: a rejection costs nothing", async () => {
  const isolate = await opened();
  assertEquals(await isolate.costs(isolate.succeed), NOTHING);
});

Deno.test("eventual, OPEN: a view from revalidateMs on is refreshed by one background read", async () => {
  const isolate = await opened({ revalidateMs: 700 });
  isolate.clock.advance(699);
  assertEquals(await isolate.costs(isolate.succeed), NOTHING);
  isolate.clock.advance(1);
  const cost = await isolate.costs(() => isolate.times(5, isolate.succeed));
  assertEquals(cost, background("read"));
  assertEquals(await isolate.costs(isolate.succeed), NOTHING);
});

Deno.test("eventual, OPEN: a view older than maxStalenessMs waits for one answer", async () => {
  const isolate = await opened({ maxStalenessMs: 5000 });
  isolate.clock.advance(5000);
  assertEquals(await isolate.costs(isolate.succeed), background("read"));
  isolate.clock.advance(5001);
  assertEquals(await isolate.costs(isolate.succeed), blocking("acquire"));
  assertEquals(await isolate.costs(isolate.succeed), NOTHING);
});

Deno.test("eventual, CLOSED: a view from revalidateMs on is refreshed by the call's own record", async () => {
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
  Deno.test(`eventual, CLOSED: a view older than ${limit} waits for one answer`, async () => {
    const isolate = await warm({ ...options, ignore: [() => true] });
    const ms = limit === "the default" ? 10_000 : 5000;
    isolate.clock.advance(ms);
    assertEquals(await isolate.costs(isolate.ignore), NOTHING);
    isolate.clock.advance(1);
    assertEquals(await isolate.costs(isolate.ignore), blocking("acquire"));
  });
}

for (const kind of ["forceOpen", "forceClose", "disable", "metricsOnly"] as const) {
  Deno.test(`eventual, ${kind}: a call waits for nothing`, async () => {
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

Deno.test("eventual: an override that runs out is ignored without asking", async () => {
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

Deno.test("eventual, HALF_OPEN: a trial costs an acquire and a record, and a transition at the verdict", async () => {
  const isolate = await opened({ cooldownMs: 5000 });
  isolate.clock.advance(5000);
  assertEquals(await isolate.costs(isolate.succeed), blocking("acquire", "record"));
  assertEquals(await isolate.costs(isolate.succeed), blocking("acquire", "record", "transition"));
  assertEquals(isolate.told("closed").length, 1);
});

Deno.test("eventual, HALF_OPEN: a failed trial costs an acquire, a record and a transition", async () => {
  const isolate = await opened({ cooldownMs: 5000 });
  isolate.clock.advance(5000);
  assertEquals(await isolate.costs(isolate.fail), blocking("acquire", "record", "transition"));
});

Deno.test("eventual, HALF_OPEN: a trial that counts as nothing gives its slot back", async () => {
  const isolate = await opened({ cooldownMs: 5000, ignore: [(error) => error === undefined] });
  isolate.clock.advance(5000);
  assertEquals(await isolate.costs(isolate.ignore), blocking("acquire", "record"));
  const { successes, failures, lease } = isolate.tallies.at(-1)!;
  assertEquals([successes, failures, lease === null], [0, 0, false]);
});

/** A circuit with its one trial out, and another isolate that has just been refused. */
async function refused(options: CircuitOptions = {}) {
  const world = new World();
  const policy = { failureThreshold: 1, cooldownMs: 5000, ...options };
  const isolate = await world.isolate(policy).warm();
  await isolate.fail();
  await isolate.sent();
  const other = await world.isolate(policy).warm();
  world.clock.advance(5000);
  const permit = await isolate.breaker.admit();
  const cost = await other.costs(other.succeed);
  return { world, isolate, other, permit, cost };
}

Deno.test("eventual, HALF_OPEN: a refusal costs one acquire, and holds without asking", async () => {
  const { other, cost, permit } = await refused();
  assertEquals(cost, blocking("acquire"));
  assertEquals(await other.costs(() => other.times(20, other.succeed)), NOTHING);
  await permit.ignore();
});

Deno.test("eventual, HALF_OPEN: who took the last slot need not ask for another", async () => {
  const { isolate, permit } = await refused();
  assertEquals(await isolate.costs(() => isolate.times(20, isolate.succeed)), NOTHING);
  await permit.ignore();
});

Deno.test("eventual, HALF_OPEN: a refusal holds until revalidateMs", async () => {
  const { other, world } = await refused({ revalidateMs: 300 });
  world.clock.advance(299);
  assertEquals(await other.costs(other.succeed), NOTHING);
  world.clock.advance(1);
  assertEquals(await other.costs(other.succeed), blocking("acquire"));
});

Deno.test("eventual, HALF_OPEN: a refusal holds until the earliest lease ends", async () => {
  const { other, world } = await refused({ halfOpenLeaseMs: 200 });
  world.clock.advance(199);
  assertEquals(await other.costs(other.succeed), NOTHING);
  world.clock.advance(1);
  assertEquals((await other.costs(other.succeed)).blocking[0], "acquire");
  assertEquals(world.stored().halfOpen.successes, 1);
});

Deno.test("eventual, HALF_OPEN: a refusal holds until a newer Snapshot", async () => {
  const { other, permit } = await refused();
  await permit.ignore();
  await other.breaker.getState();
  assertEquals(await other.costs(other.succeed), blocking("acquire", "record"));
});

Deno.test("eventual, HALF_OPEN: a trial is asked for though the store's clock went back", async () => {
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

/** A circuit that asks before and after each call. */
const strong = (options: CircuitOptions = {}) => warm({ consistency: "strong", ...options });

Deno.test("strong: a call costs an acquire and a record, and waits for both", async () => {
  const isolate = await strong({ ignore: [(error) => error === undefined] });
  assertEquals(await isolate.costs(isolate.succeed), blocking("acquire", "record"));
  assertEquals(await isolate.costs(isolate.fail), blocking("acquire", "record"));
  assertEquals(await isolate.costs(isolate.ignore), blocking("acquire"));
});

Deno.test("strong: the failure that trips costs a transition more", async () => {
  const isolate = await strong({ failureThreshold: 1 });
  assertEquals(await isolate.costs(isolate.fail), blocking("acquire", "record", "transition"));
});

Deno.test("strong: a rejection costs an acquire, OPEN, forced or half-open", async () => {
  const isolate = await strong({ failureThreshold: 1, cooldownMs: 5000 });
  await isolate.fail();
  assertEquals(await isolate.costs(isolate.succeed), blocking("acquire"));
  isolate.clock.advance(5000);
  await isolate.breaker.admit();
  assertEquals(await isolate.costs(isolate.succeed), blocking("acquire"));
  assertEquals(await isolate.costs(isolate.succeed), blocking("acquire"));
  await isolate.breaker.forceOpen();
  assertEquals(await isolate.costs(isolate.succeed), blocking("acquire"));
});

Deno.test("strong: a trial costs the same as eventual", async () => {
  const isolate = await strong({ failureThreshold: 1, cooldownMs: 5000 });
  await isolate.fail();
  isolate.clock.advance(5000);
  assertEquals(await isolate.costs(isolate.succeed), blocking("acquire", "record"));
  assertEquals(await isolate.costs(isolate.succeed), blocking("acquire", "record", "transition"));
});

Deno.test("readers cost one read each, peek() none", async () => {
  const isolate = await warm();
  const { breaker } = isolate;
  for (const reader of ["getState", "isOpen", "getMetrics", "snapshot", "explain"] as const) {
    assertEquals(await isolate.costs(() => breaker[reader]()), blocking("read"), reader);
  }
  assertEquals(await isolate.costs(() => Promise.resolve(breaker.peek())), NOTHING);
});

Deno.test("operators cost one operation each", async () => {
  const isolate = await warm();
  const { breaker } = isolate;
  for (const action of ["forceOpen", "forceClose", "disable", "metricsOnly", "release"] as const) {
    assertEquals(await isolate.costs(() => breaker[action]()), blocking("override"), action);
  }
  assertEquals(await isolate.costs(() => breaker.reset()), blocking("transition"));
});

Deno.test("peek() counts an outcome once at every moment of its way to the store", async () => {
  const isolate = await warm();
  await isolate.fail();
  const counted = new Set<number>();
  for (let i = 0; i < 100; i++) {
    counted.add(isolate.breaker.peek().metrics.totalFailures);
    await Promise.resolve();
  }
  assertEquals([...counted], [1]);
});

Deno.test("a reader counts an outcome once while it is on its way", async () => {
  // Applied already, and its answer under way: the read must not have it laid over once more.
  const isolate = await warm();
  let metrics: CircuitMetrics | undefined;
  await isolate.costs(async () => {
    isolate.fail();
    metrics = await isolate.breaker.getMetrics();
  });
  assertEquals(metrics!.totalFailures, 1);
});

Deno.test("peek() knows nothing before the first answer, and how old it is after", async () => {
  const isolate = new World().isolate();
  assertEquals(isolate.breaker.peek().ageMs, Infinity);
  await isolate.breaker.getState();
  assertEquals(isolate.breaker.peek().ageMs, 0);
  isolate.clock.advance(300);
  assertEquals(isolate.breaker.peek().ageMs, 300);
});

Deno.test("successes of two window segments go in two tallies, each with its age", async () => {
  const isolate = await warm({ windowMs: 10_000, flushIntervalMs: 100_000, revalidateMs: 100_000 });
  await isolate.times(2, isolate.succeed);
  isolate.clock.advance(999);
  await isolate.succeed();
  assertEquals(await isolate.sent(), []);
  isolate.clock.advance(1);
  await isolate.succeed();
  assertEquals(await isolate.sent(), ["record", "record"]);
  const [first, second] = isolate.tallies.slice(-2) as [Tally, Tally];
  assertEquals([first.successes, first.ageMs], [3, 1]);
  assertEquals([second.successes, second.ageMs], [1, 0]);
});

Deno.test("a failure ends its tally: what comes after goes in another", async () => {
  const isolate = await warm();
  const cost = await isolate.costs(() => isolate.times(3, isolate.fail));
  assertEquals(cost, background("record", "record", "record"));
  for (const { successes, failures } of isolate.tallies.slice(-3)) {
    assertEquals([successes, failures], [0, 1]);
  }
});

Deno.test("rejections cost nothing, and are told with the next tally", async () => {
  const isolate = await opened({ cooldownMs: 5000, maxStalenessMs: 100_000 });
  await isolate.times(3, isolate.succeed);
  assertEquals(await isolate.sent(), []);
  assertEquals(isolate.breaker.peek().metrics.totalRejected, 3);
  isolate.clock.advance(5000);
  await isolate.succeed();
  assertEquals(isolate.tallies.at(-1)!.rejected, 3);
  assertEquals((await isolate.breaker.getMetrics()).totalRejected, 3);
});

Deno.test("flush() sends what is pending once, and nothing when nothing is", async () => {
  const isolate = await warm();
  await isolate.times(3, isolate.succeed);
  await isolate.fuse.flush();
  assertEquals(await isolate.sent(), ["record"]);
  await isolate.fuse.flush();
  assertEquals(await isolate.sent(), []);
});

Deno.test("flush() does not send again what is under way, and waits for it", async () => {
  const isolate = await warm();
  const cost = await isolate.costs(async () => {
    await isolate.fail();
    await Promise.all([isolate.fuse.flush(), isolate.fuse.flush()]);
  });
  assertEquals(cost.all, ["record"]);
  assertEquals(isolate.breaker.peek().metrics.totalFailures, 1);
});

Deno.test("flush() sends rejections alone, too", async () => {
  const isolate = await opened();
  await isolate.times(2, isolate.succeed);
  await isolate.fuse.flush();
  const { generation, rejected } = isolate.tallies.at(-1)!;
  assertEquals([generation, rejected], [-1, 2]);
});

Deno.test("an outcome whose answer was lost is sent again under its id, and counts once", async () => {
  const world = new World();
  const isolate = await world.isolate().warm();
  isolate.answering = (operation) => {
    if (operation === "record") throw new Error("connection reset");
  };
  await isolate.fail();
  await isolate.sent();
  isolate.answering = () => {};
  isolate.clock.advance(1000);
  await isolate.fuse.flush();
  const [first, second] = isolate.tallies.slice(-2) as [Tally, Tally];
  assertEquals([first.id, first.failures], [second.id, second.failures]);
  assertEquals(second.ageMs, 1000);
  assertEquals(world.stored().totals.failures, 1);
  await isolate.succeed();
  await isolate.fuse.flush();
  assertNotEquals(isolate.tallies.at(-1)!.id, first.id);
});

for (const [ms, again] of [[30_000, true], [30_001, false]] as const) {
  Deno.test(`an outcome without an answer ${again ? "is" : "is not"} sent again ${ms} ms after it was first sent`, async () => {
    const world = new World();
    const isolate = await world.isolate().warm();
    isolate.answering = (operation) => {
      if (operation === "record") throw new Error("connection reset");
    };
    await isolate.succeed();
    await isolate.fail();
    await isolate.sent();
    isolate.answering = () => {};
    isolate.clock.advance(ms);
    const { id } = isolate.tallies.at(-1)!;
    isolate.tallies.length = 0;
    await isolate.fuse.flush();
    assertEquals(isolate.tallies.map((tally) => tally.id), again ? [id] : []);
    const told = isolate.told("unconfirmed").map((event) =>
      event.type === "unconfirmed" &&
      [event.tallies, event.successes, event.failures, event.rejected]
    );
    assertEquals(told, again ? [] : [[1, 1, 1, 0]]);
    const errors = isolate.told("store_error").map((event) =>
      event.type === "store_error" && [event.operation, event.circuit?.name]
    );
    // The first is that of the answer that was lost.
    assertEquals(errors, Array.from({ length: again ? 1 : 2 }, () => ["record", "a"]));
    // It was applied, only its answer was lost: once either way.
    assertEquals(world.stored().totals.failures, 1);
  });
}

Deno.test("an outcome without an answer is not sent again when the clock has gone back meanwhile", async () => {
  const world = new World();
  const isolate = await world.isolate().warm();
  isolate.answering = (operation) => {
    if (operation === "record") throw new Error("connection reset");
  };
  await isolate.fail();
  await isolate.sent();
  isolate.answering = () => {};
  const { id } = isolate.tallies.at(-1)!;
  isolate.tallies.length = 0;
  // A minute passes, and the clock shows as much as before: the store has forgotten the id.
  isolate.clock.set(isolate.clock.now() - 50_000);
  await isolate.succeed();
  isolate.clock.advance(60_000);
  await isolate.fuse.flush();
  assert(!isolate.tallies.some((tally) => tally.id === id));
  assertEquals(isolate.told("unconfirmed").length, 1);
  assertEquals(world.stored().totals.failures, 1);
});

Deno.test("an outcome is sent again by flush() after one before it was given up in the same turn", async () => {
  const world = new World();
  const isolate = await world.isolate().warm();
  isolate.answering = (operation) => {
    if (operation === "record") throw new Error("connection reset");
  };
  await isolate.fail();
  await isolate.sent();
  await isolate.succeed();
  isolate.clock.advance(30_001);
  await isolate.fuse.flush();
  assertEquals(isolate.told("unconfirmed").length, 1);
  const { id } = isolate.tallies.at(-1)!;
  isolate.answering = () => {};
  isolate.clock.advance(10_000);
  isolate.tallies.length = 0;
  await isolate.fuse.flush();
  assertEquals(isolate.tallies.map((tally) => tally.id), [id]);
});

Deno.test("a trial whose grant was not heard does not cost the slot", async () => {
  const world = new World();
  const isolate = await world.isolate({
    failureThreshold: 1,
    cooldownMs: 5000,
    onStoreError: "allow",
  }).warm();
  await isolate.fail();
  await isolate.sent();
  isolate.clock.advance(5000);
  isolate.answering = (operation) => {
    if (operation === "acquire") throw new Error("connection reset");
  };
  await isolate.succeed();
  assertEquals(world.stored().halfOpen.inFlight, 1);
  isolate.answering = () => {};
  isolate.clock.advance(1000);
  await isolate.breaker.getState();
  await isolate.times(2, isolate.succeed);
  assertEquals(await isolate.breaker.getState(), "CLOSED");
  assertEquals(isolate.told("closed").length, 1);
});

Deno.test("a refused request that is delivered once more does not cost the slot", async () => {
  const { world, other, permit } = await refused({ revalidateMs: 300 });
  await permit.ignore();
  await world.store.acquire("a", other.acquired.at(-1)!);
  assertEquals(world.stored().halfOpen.inFlight, 1);
  world.clock.advance(300);
  assertEquals((await other.succeed()).ok, true);
  assertEquals(world.stored().halfOpen.inFlight, 0);
});

Deno.test("reborn is told once when the store has forgotten the circuit, and not by a new one", async () => {
  const world = new World();
  const isolate = await world.isolate().warm();
  assertEquals(isolate.told("reborn"), []);
  world.store.remove("a");
  await isolate.breaker.getState();
  assertEquals(isolate.told("reborn"), [
    { type: "reborn", key: "a", store: "remote", name: "a", context: null, boundary: null },
  ]);
  await isolate.succeed();
  await isolate.fuse.flush();
  await isolate.breaker.getState();
  assertEquals(isolate.told("reborn").length, 1);
  world.store.remove("a");
  const other = world.isolate();
  await other.succeed();
  await other.fuse.flush();
  await isolate.breaker.getState();
  assertEquals(isolate.told("reborn").length, 2);
});

Deno.test("reborn is told when the first to meet the new life is an operator", async () => {
  const world = new World();
  const isolate = await world.isolate().warm();
  world.store.remove("a");
  await isolate.breaker.forceOpen();
  assertEquals(isolate.told("reborn").length, 1);
});

Deno.test("importState() is heard when what was asked for after it is answered before", async () => {
  const clock = new FakeClock();
  const answer = Promise.withResolvers<void>();
  const remote = interceptAnswers(
    chaos(memory({ clock: clock.now }), {}),
    (operation) => operation === "restore" ? answer.promise : undefined,
  );
  const fuse = createFuse({ stores: { remote }, clock: clock.now });
  const breaker = fuse.make("a");
  await breaker.tryCall(() => "ok");
  await fuse.flush();
  const state = await fuse.exportState();
  const imported = fuse.importState(state, { existing: "replace" });
  await turn();
  await breaker.getState();
  answer.resolve();
  assertEquals(await imported, { imported: 1, kept: 0 });
  assertEquals(breaker.peek().metrics.totalSuccesses, 1);
});

for (const operation of ["read", "acquire", "record", "transition"]) {
  Deno.test(`store_error names the operation when it is ${operation}`, async () => {
    const isolate = await new World().isolate({ consistency: "strong", failureThreshold: 1 })
      .warm();
    isolate.answering = (asked) => {
      if (asked === operation) throw new Error("connection reset");
    };
    await isolate.breaker.getState();
    await isolate.fail();
    const told = isolate.told("store_error").map((event) =>
      "operation" in event && event.operation
    );
    assertEquals(told, [operation]);
  });
}

Deno.test("outcomes of a forgotten life feed totals of the next, and its calls go on", async () => {
  const world = new World();
  const isolate = await world.isolate({ failureThreshold: 1 }).warm();
  await isolate.succeed();
  world.store.remove("a");
  const other = await world.isolate().warm();
  await other.breaker.getState();
  await isolate.fuse.flush();
  const { totals, consecutiveSuccesses } = world.stored();
  assertEquals([totals.successes, consecutiveSuccesses], [2, 1]);
});

Deno.test("views of two isolates agree on a store whose clock is hours off", async () => {
  const world = new World();
  const ahead = new FakeClock(world.clock.now() + 5 * 3_600_000);
  const remote = chaos(memory({ clock: ahead.now }), {});
  const make = () =>
    createFuse({ stores: { remote }, clock: world.clock.now })
      .make("a", { failureThreshold: 1, cooldownMs: 5000 });
  const [one, two] = [make(), make()];
  await one.tryCall(() => Promise.reject(new Error("down")));
  await two.getState();
  assertEquals([one.peek().state, two.peek().state], ["OPEN", "OPEN"]);
  const result = await two.tryCall(() => "ok");
  assertEquals(!result.ok && result.rejected && result.retryAfterMs, 5000);
  for (const clock of [ahead, world.clock]) clock.advance(4999);
  assertEquals((await two.tryCall(() => "ok")).ok, false);
  for (const clock of [ahead, world.clock]) clock.advance(1);
  assertEquals((await two.tryCall(() => "ok")).ok, true);
});

Deno.test("an isolate alone counts nothing twice: what it sent adds up to what it did", async () => {
  const world = new World();
  const isolate = await world.isolate({ failureThreshold: 1_000_000, flushSize: 3 }).warm();
  let [successes, failures] = [1, 0];
  for (let i = 0; i < 200; i++) {
    if (i % 7 === 0) {
      await isolate.fail();
      failures++;
    } else {
      await isolate.succeed();
      successes++;
    }
    if (i % 5 === 0) isolate.clock.advance(333);
    await turn();
    const { metrics } = isolate.breaker.peek();
    assertEquals([metrics.totalSuccesses, metrics.totalFailures], [successes, failures]);
  }
  await isolate.fuse.flush();
  const { totals } = world.stored();
  assertEquals([totals.successes, totals.failures], [successes, failures]);
  assert(isolate.tallies.length < 120, `${isolate.tallies.length} records for 201 calls`);
});
