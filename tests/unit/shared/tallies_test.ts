// How outcomes gather into tallies while a request of their circuit is under way.
import { assert, assertEquals } from "@std/assert";
import { type CircuitOptions, createFuse } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import type { Awaitable, Recorded, Snapshot, Tally } from "@fuse/edge/store";
import { inVirtualTime } from "../../fleet/simulation/virtual_globals.ts";
import { chaos, memory, type OpeningStore } from "../../support/drivers.ts";
import { onWorker, WorkerRequest } from "../../support/on_worker.ts";
import { fail, succeed } from "../../support/setups.ts";
import { settled as turn, VirtualTime } from "../../support/virtual_time.ts";

const SHAPE = { windowMs: 120_000, windowSize: 0 };
const LENIENT: CircuitOptions = { failureThreshold: 99 };

/** A store that answers records one by one, as it is told, and what it has been sent. */
function gated(clock: () => number = new FakeClock().now) {
  const inner = memory({ clock });
  const tallies: Tally[] = [];
  const answers: ((what?: "lost") => void)[] = [];
  let holds = false;
  const remote = new Proxy(chaos(inner, {}), {
    get(target, property) {
      const value = Reflect.get(target, property, target);
      if (property !== "record") return typeof value === "function" ? value.bind(target) : value;
      return async (key: string, tally: Tally): Promise<Recorded> => {
        tallies.push(tally);
        if (holds) {
          const what = await new Promise<"lost" | undefined>((resolve) => answers.push(resolve));
          if (what === "lost") throw new Error("connection reset");
        }
        return await (Reflect.apply(value, target, [key, tally]) as Awaitable<Recorded>);
      };
    },
  }) as OpeningStore;
  return {
    ...{ remote, tallies },
    hold: (value: boolean) => void (holds = value),
    /** Answers what was asked first. */
    async answer(what?: "lost"): Promise<void> {
      answers.shift()!(what);
      await turn();
    },
    get underWay(): number {
      return answers.length;
    },
    counts: () => tallies.splice(0).map(({ successes, failures }) => [successes, failures]),
    stored: () => inner.read("a", { at: clock(), shape: SHAPE }) as Snapshot,
  };
}

/** An isolate that knows the circuit, and whose next records wait for their answers. */
async function isolate(options: CircuitOptions = LENIENT) {
  const clock = new FakeClock();
  const store = gated(clock.now);
  const fuse = createFuse({
    ...{ stores: { remote: store.remote }, clock: clock.now, storeTimeoutMs: 10_000 },
  });
  fuse.on("store_error", () => {});
  const breaker = fuse.make("a", options);
  await succeed(breaker);
  await fuse.flush();
  store.counts();
  store.hold(true);
  return { ...store, store, clock, fuse, breaker };
}

Deno.test("call() sends the first failure at once, with the successes before it", async () => {
  const { breaker, store, fuse } = await isolate();
  await succeed(breaker, 3);
  assertEquals(store.underWay, 0);
  await fail(breaker);
  assertEquals([store.underWay, store.counts()], [1, [[3, 1]]]);
  store.hold(false);
  await store.answer();
  await fuse.flush();
});

Deno.test("call() gathers while a request is under way, and has its trip take along what waits", async () => {
  const { breaker, store, clock, fuse } = await isolate();
  await fail(breaker);
  store.counts();
  await succeed(breaker, 2);
  clock.advance(5);
  await fail(breaker);
  clock.advance(7);
  await fail(breaker, 2);
  await succeed(breaker);
  await fail(breaker);
  clock.advance(11);
  await turn();
  assertEquals([store.underWay, store.counts()], [1, []]);
  const ages = () =>
    store.tallies.map(({ ageMs, firstFailureAgeMs }) => [ageMs, firstFailureAgeMs]);
  await store.answer();
  assertEquals([ages(), store.counts()], [[[11, 18]], [[2, 3]]]);
  await store.answer();
  assertEquals([ages(), store.counts()], [[[11, undefined]], [[1, 1]]]);
  store.hold(false);
  await store.answer();
  await fuse.flush();
  assertEquals(store.stored().totals, { successes: 4, failures: 5, rejected: 0, slow: 0 });
  assertEquals(store.stored().consecutiveFailures, 1);
});

Deno.test("flush() takes along what gathers while its own requests are under way", async () => {
  const { breaker, store, fuse } = await isolate();
  await succeed(breaker);
  const flushed = fuse.flush();
  await turn();
  await fail(breaker);
  assertEquals([store.underWay, store.counts()], [1, [[1, 0]]]);
  store.hold(false);
  await store.answer();
  await flushed;
  assertEquals(store.counts(), [[0, 1]]);
});

Deno.test("call() starts further requests when many tallies wait for one", async () => {
  const { breaker, store, fuse } = await isolate();
  await fail(breaker);
  for (let i = 0; i < 15; i++) {
    await succeed(breaker);
    await fail(breaker);
  }
  assertEquals(store.underWay, 1);
  for (let i = 0; i < 3; i++) {
    await succeed(breaker);
    await fail(breaker);
  }
  assertEquals(store.underWay > 1, true);
  store.hold(false);
  for (let i = store.underWay; i > 0; i--) await store.answer();
  await fuse.flush();
  assertEquals(store.stored().totals, { successes: 19, failures: 19, rejected: 0, slow: 0 });
});

Deno.test("call() sends at once what makes a verdict due, and no more until it is answered", async () => {
  const { breaker, store, fuse } = await isolate({ failureThreshold: 4 });
  await fail(breaker, 3);
  assertEquals([store.underWay, store.counts()], [1, [[0, 1]]]);
  await fail(breaker);
  assertEquals([store.underWay, store.counts()], [2, [[0, 3]]]);
  await fail(breaker, 5);
  assertEquals(store.underWay, 2);
  store.hold(false);
  for (let i = 0; i < 2; i++) await store.answer();
  assertEquals(await breaker.getState(), "OPEN");
  await fuse.flush();
  assertEquals(store.stored().totals.failures, 9);
});

for (
  const [strategy, calls] of [
    ["percentage_failures", [3, 4]],
    ["rolling_window", [3, 4]],
    // With one success in it, and three to come: the last four of eight fail.
    ["count_window", [3, 4]],
  ] as const
) {
  Deno.test(`call() sends at once what makes a verdict of ${strategy} due`, async () => {
    const { breaker, store, fuse } = await isolate({
      ...{ strategy, percentageThreshold: 50, minimumThroughput: 8, windowSize: 8 },
    });
    await succeed(breaker, calls[0]);
    await fail(breaker, calls[1] - 1);
    assertEquals([store.underWay, store.counts()], [1, [[3, 1]]]);
    await fail(breaker);
    assertEquals([store.underWay, store.counts()], [2, [[0, 3]]]);
    store.hold(false);
    for (let i = 0; i < 2; i++) await store.answer();
    assertEquals(await breaker.getState(), "OPEN");
    await fuse.flush();
  });
}

Deno.test("call() counts what waited in the isolate's own breaker when the request gets no answer", async () => {
  const { breaker, store, fuse } = await isolate({ failureThreshold: 4 });
  await fail(breaker, 3);
  assertEquals(store.counts(), [[0, 1]]);
  await store.answer("lost");
  assertEquals(store.counts(), []);
  assertEquals([breaker.peek().local, breaker.peek().state], [true, "CLOSED"]);
  await fail(breaker);
  assertEquals(breaker.peek().state, "OPEN");
  store.hold(false);
  await fuse.flush();
  assertEquals(store.stored().totals.failures, 4);
});

Deno.test("call() follows a trial with what came to wait during it", async () => {
  const { breaker, store, clock, fuse } = await isolate({
    ...{ failureThreshold: 1, successThreshold: 2, cooldownMs: 1_000 },
  });
  store.hold(false);
  const late = Promise.withResolvers<string>();
  const slow = breaker.tryCall(() => late.promise);
  await turn();
  await fail(breaker);
  await turn();
  clock.advance(1_000);
  store.hold(true);
  store.counts();
  const trial = succeed(breaker);
  await turn();
  late.reject(new Error("late"));
  await slow;
  assertEquals(store.counts(), [[1, 0]]);
  await store.answer();
  await trial;
  assertEquals(store.counts(), [[0, 1]]);
  store.hold(false);
  await store.answer();
  await fuse.flush();
});

/** A Worker in virtual time, whose requests may die. */
function playOnWorker(
  body: (world: {
    readonly time: VirtualTime;
    readonly store: ReturnType<typeof gated>;
    readonly make: (request?: WorkerRequest) => ReturnType<ReturnType<typeof createFuse>["make"]>;
    /** Runs a request that dies: none of its timers fires. */
    readonly dying: (request: () => Promise<unknown>) => Promise<void>;
  }) => Promise<void>,
): Promise<void> {
  const time = new VirtualTime();
  return onWorker(() =>
    inVirtualTime(time, Math.random, async () => {
      const store = gated(time.now);
      const fuse = createFuse({ stores: { remote: store.remote }, clock: time.now });
      const make = (request?: WorkerRequest) =>
        (request === undefined ? fuse : fuse.with(request)).make("a", LENIENT);
      await succeed(make());
      await fuse.flush();
      store.counts();
      store.hold(true);
      const dying = async (request: () => Promise<unknown>) => {
        const { setTimeout } = globalThis;
        globalThis.setTimeout = (() => 0) as unknown as typeof setTimeout;
        await request();
        await turn();
        globalThis.setTimeout = setTimeout;
      };
      await body({ time, store, make, dying });
    })
  );
}

Deno.test("call() keeps looking in its own request when it is on a Worker and its failure waits", () =>
  playOnWorker(async ({ time, store, make, dying }) => {
    await dying(() => fail(make(new WorkerRequest())));
    const request = new WorkerRequest();
    await fail(make(request), 2);
    assertEquals([store.counts(), request.held.length], [[[0, 1]], 2]);
    let over = false;
    const looked = Promise.all(request.held).then(() => over = true);
    // The first request's marker lapses; what it had sent goes once more, under its id.
    store.hold(false);
    await time.run(() => over);
    await looked;
    assertEquals(store.counts(), [[0, 1], [0, 2]]);
    assertEquals(store.stored().totals.failures, 3);
    assert(time.now() < 1_700_000_000_000 + 600, `${time.now()}`);
  }));

Deno.test("call() looks no more when it is on a Worker and another request has taken its failure along", () =>
  playOnWorker(async ({ time, store, make }) => {
    const [first, second] = [new WorkerRequest(), new WorkerRequest()];
    await fail(make(first));
    await fail(make(second));
    await store.answer();
    store.hold(false);
    await store.answer();
    assertEquals(store.counts(), [[0, 1], [0, 1]]);
    let over = false;
    const done = Promise.all([...first.held, ...second.held]).then(() => over = true);
    await time.run(() => over);
    await done;
    assertEquals([time.now() - 1_700_000_000_000, store.counts()], [10, []]);
  }));

Deno.test("call() gathers no failure when it is on a Worker without waitUntil", () =>
  playOnWorker(async ({ store, make }) => {
    const calls = [fail(make()), fail(make())];
    await turn();
    assertEquals([store.underWay, store.counts()], [2, [[0, 1], [0, 1]]]);
    store.hold(false);
    for (let i = 0; i < 2; i++) await store.answer();
    await Promise.all(calls);
  }));
