// Reads while tallies are under way: the store may hold them already, and no outcome counts twice.
import { assert, assertEquals } from "@std/assert";
import { type CircuitBreaker, type CircuitOptions, createFuse, type Fuse } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { chaos, memory, type OpeningStore } from "../../support/drivers.ts";
import { turn } from "../../support/setups.ts";
import { seeded } from "../../support/virtual_time.ts";
import { scaled } from "../../support/scale.ts";

/** A request that waits: to be applied, then for its answer. */
interface Step {
  readonly operation: string;
  /** Goes on, or loses the request or its answer. */
  readonly go: (error?: Error) => void;
}

/** An isolate whose requests and answers arrive when the test says so. */
class Line {
  readonly clock = new FakeClock();
  readonly store = memory({ clock: this.clock.now });
  readonly fuse: Fuse;
  readonly breaker: CircuitBreaker;
  /** The requests that wait, oldest first. */
  readonly coming: Step[] = [];
  /** The answers that wait, oldest first. */
  readonly going: Step[] = [];
  readonly named: (readonly string[] | undefined)[] = [];

  /** @param random Draws what the Fuse draws, such as back-offs. */
  constructor(options: CircuitOptions = {}, random: () => number = () => 0.5) {
    const remote = this.#wrap(chaos(this.store, {}));
    const { now: clock } = this.clock;
    // No test here waits for the timeout, except those that advance the clock.
    this.fuse = createFuse({ stores: { remote }, clock, random, storeTimeoutMs: 10_000 });
    // Else the first of each outage is printed.
    this.fuse.on("store_error", () => {});
    this.breaker = this.fuse.make("a", options);
  }

  #wrap(store: OpeningStore): OpeningStore {
    return new Proxy(store, {
      get: (target, property) => {
        const value = Reflect.get(target, property, target);
        if (typeof value !== "function" || property === "describe") return value;
        return async (...args: unknown[]) => {
          const operation = String(property);
          if (operation === "read") {
            this.named.push((args[1] as { unconfirmed?: readonly string[] }).unconfirmed);
          }
          await this.#wait(operation, this.coming);
          const answer = await Reflect.apply(value, target, args);
          await this.#wait(operation, this.going);
          return answer;
        };
      },
    });
  }

  #wait(operation: string, steps: Step[]): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    steps.push({ operation, go: (error) => error === undefined ? resolve() : reject(error) });
    return promise;
  }

  /** Lets the oldest request of this kind arrive, or its answer. */
  async pass(steps: Step[], operation: string, error?: Error): Promise<void> {
    await turn();
    const i = steps.findIndex((step) => step.operation === operation);
    assert(i >= 0, `no ${operation} waits`);
    steps.splice(i, 1)[0]!.go(error);
    await turn();
  }

  /** Lets everything arrive until nothing is left. */
  async settle<T>(work: Promise<T>): Promise<T> {
    let done = false;
    work.finally(() => done = true).catch(() => {});
    do {
      await ticks();
      if (this.coming.length + this.going.length === 0) await turn();
      for (const { go } of [...this.coming.splice(0), ...this.going.splice(0)]) go();
    } while (!done || this.coming.length + this.going.length > 0);
    return await work;
  }

  fail = () => this.breaker.tryCall(() => Promise.reject(new Error("down")));
  succeed = () => this.breaker.tryCall(() => "ok");

  /** Returns a line that knows its circuit, and has nothing pending. */
  async warm(): Promise<this> {
    await this.settle(this.succeed());
    await this.settle(this.fuse.flush());
    this.named.length = 0;
    return this;
  }
}

const LOST = new Error("connection reset");

Deno.test("getMetrics() counts a failure once while the store has it and its answer is on the way", async () => {
  const line = await new Line({ failureThreshold: 5 }).warm();
  await line.fail();
  await line.pass(line.coming, "record");
  const metrics = line.breaker.getMetrics();
  await line.pass(line.coming, "read");
  await line.pass(line.going, "read");
  const { totalFailures, consecutiveFailures, window } = await metrics;
  assertEquals([totalFailures, consecutiveFailures, window.failures], [1, 1, 1]);
  assertEquals(line.breaker.peek().metrics.totalFailures, 1);
  await line.pass(line.going, "record");
  assertEquals(line.breaker.peek().metrics.totalFailures, 1);
  assertEquals((await line.settle(line.breaker.getMetrics())).totalFailures, 1);
});

Deno.test("getMetrics() counts a failure once while it is on the way to the store", async () => {
  const line = await new Line({ failureThreshold: 5 }).warm();
  await line.fail();
  const metrics = line.breaker.getMetrics();
  await line.pass(line.coming, "read");
  await line.pass(line.going, "read");
  assertEquals((await metrics).totalFailures, 1);
  await line.pass(line.coming, "record");
  assertEquals(line.breaker.peek().metrics.totalFailures, 1);
  await line.pass(line.going, "record");
  assertEquals(line.breaker.peek().metrics.totalFailures, 1);
});

Deno.test("getMetrics() counts a failure once when its answer was lost, and once it is sent again", async () => {
  const line = await new Line({ failureThreshold: 5 }).warm();
  await line.fail();
  await line.pass(line.coming, "record");
  await line.pass(line.going, "record", LOST);
  assertEquals((await line.settle(line.breaker.getMetrics())).totalFailures, 1);
  line.clock.advance(1_000);
  await line.settle(line.fuse.flush());
  assertEquals((await line.settle(line.breaker.getMetrics())).totalFailures, 1);
});

Deno.test("getMetrics() does not count a failure twice that reaches the store while the read is under way", async () => {
  const line = await new Line({ failureThreshold: 5 }).warm();
  const metrics = line.breaker.getMetrics();
  await turn();
  await line.fail();
  await line.pass(line.coming, "record");
  await line.pass(line.coming, "read");
  await line.pass(line.going, "read");
  assertEquals((await metrics).totalFailures, 1);
  await line.pass(line.going, "record");
  assertEquals(line.breaker.peek().metrics.totalFailures, 1);
});

Deno.test("peek() does not count a failure twice that another answer may hold", async () => {
  const line = await new Line({ consistency: "strong", failureThreshold: 9 }).warm();
  // The failure waits for its own answer, and the next call's acquire is answered.
  const failed = line.fail();
  await line.pass(line.coming, "acquire");
  await line.pass(line.going, "acquire");
  await line.pass(line.coming, "record");
  const permit = line.breaker.admit();
  await line.pass(line.coming, "acquire");
  await line.pass(line.going, "acquire");
  await (await permit).ignore();
  assertEquals(line.breaker.peek().metrics.totalFailures, 1);
  await line.settle(failed);
  assertEquals(line.breaker.peek().metrics.totalFailures, 1);
});

Deno.test("list() does not count a failure twice while the store has it and its answer is on the way", async () => {
  const line = await new Line({ failureThreshold: 5 }).warm();
  await line.fail();
  await line.pass(line.coming, "record");
  const listed = Array.fromAsync(line.fuse.list());
  await line.pass(line.coming, "list");
  await line.pass(line.going, "list");
  assertEquals((await listed).map(({ metrics }) => metrics.totalFailures), [1]);
  await line.pass(line.going, "record");
});

Deno.test("read() names the tallies that were sent and not answered, and no others", async () => {
  const line = await new Line({ failureThreshold: 5 }).warm();
  await line.succeed();
  await line.settle(line.breaker.getMetrics());
  assertEquals(line.named, [undefined]);
  await line.fail();
  await line.pass(line.coming, "record");
  await line.pass(line.going, "record", LOST);
  line.clock.advance(1_000);
  await line.settle(line.breaker.getMetrics());
  // The answer has told that the store holds it.
  await line.settle(line.breaker.getMetrics());
  assertEquals(line.named.map((ids) => ids?.length), [undefined, 1, undefined]);
});

Deno.test("read() names no tally whose id the store may have forgotten, and getMetrics() does not count it twice", async () => {
  const line = await new Line({ failureThreshold: 5 }).warm();
  await line.fail();
  await line.pass(line.coming, "record");
  await line.pass(line.going, "record", LOST);
  line.clock.advance(60_000);
  assertEquals((await line.settle(line.breaker.getMetrics())).totalFailures, 1);
  assertEquals(line.named, [undefined]);
});

for (const known of [true, false]) {
  Deno.test(`"unconfirmed" is ${known ? "not " : ""}emitted for a tally without an answer that the store ${known ? "is known to have" : "may have"}`, async () => {
    const line = await new Line({ failureThreshold: 5 }).warm();
    let told = 0;
    line.fuse.on("unconfirmed", () => void told++);
    await line.fail();
    await line.pass(line.coming, "record");
    await line.pass(line.going, "record", LOST);
    line.clock.advance(1_000);
    if (known) await line.settle(line.breaker.getMetrics());
    line.clock.advance(30_000);
    await line.settle(line.fuse.flush());
    assertEquals(told, known ? 0 : 1);
    assertEquals((await line.settle(line.breaker.getMetrics())).totalFailures, 1);
  });
}

for (const consistency of ["eventual", "strong"] as const) {
  Deno.test(`getMetrics() never counts more calls than were made, and at last all of them, whatever is late or lost (${consistency})`, async () => {
    for (let run = 0; run < scaled(40, 1_000); run++) {
      const seed = SEEDS[run] ?? Math.floor(Math.random() * 2 ** 31);
      try {
        await play(seed, consistency);
      } catch (error) {
        throw new Error(`seed ${seed} (${consistency})`, { cause: error });
      }
    }
  });
}

/** Seeds that found a fault. */
const SEEDS: readonly number[] = [613, 684, 859];

/** Lets all that is ready happen. Nothing of a session waits for a timer, and a turn of the loop is slow. */
async function ticks(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve();
}

/** Plays calls, reads, and requests and answers that are late or lost, in a random order. */
async function play(seed: number, consistency: "eventual" | "strong"): Promise<void> {
  const random = seeded(seed);
  const below = (n: number) => Math.floor(random() * n);
  const options = { consistency, failureThreshold: 1_000, flushSize: 3 };
  const line = await new Line(options, seeded(seed + 1)).warm();
  let made = 1;
  const reads: Promise<unknown>[] = [];
  const check = (metrics: { totalSuccesses: number; totalFailures: number }) => {
    const counted = metrics.totalSuccesses + metrics.totalFailures;
    assert(counted <= made, `${counted} calls are counted, and ${made} were made`);
  };
  for (let i = 0; i < 60; i++) {
    const succeeds = below(2) === 0;
    switch (below(8)) {
      case 0:
      case 1:
        // The call counts as made once its function has run: before its outcome can be counted.
        line.breaker.tryCall(() => {
          made++;
          if (!succeeds) throw new Error("down");
        });
        break;
      case 2:
        // An error is told at the end.
        reads.push(line.breaker.getMetrics().then(check).catch((error) => error));
        break;
      case 3:
        line.clock.advance(below(1_200));
        break;
      default: {
        const steps = below(2) === 0 ? line.coming : line.going;
        const [step] = steps.splice(below(Math.max(1, steps.length)), 1);
        // A store that fails too often is left alone, and nothing would be under way.
        step?.go(below(8) === 0 ? LOST : undefined);
      }
    }
    await ticks();
    check(line.breaker.peek().metrics);
  }
  for (const error of await line.settle(Promise.all(reads))) if (error !== undefined) throw error;
  for (let i = 0; i < 3; i++) {
    line.clock.advance(2_000);
    await line.settle(line.fuse.flush());
  }
  const { totalSuccesses, totalFailures } = await line.settle(line.breaker.getMetrics());
  assertEquals(totalSuccesses + totalFailures, made);
}
