// An isolate of a large fleet: what it sends, and when. Other isolates are tallies in the store.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { type CircuitOptions, createFuse } from "@fuse/edge";
import { StoreAnswerError, type Tally } from "@fuse/edge/store";
import { prometheusText } from "@fuse/edge/prometheus";
import { FakeClock } from "@fuse/edge/testing";
import { chaos, memory } from "../../support/drivers.ts";
import { fail, intercept, succeed, turn } from "../../support/setups.ts";

const TALLY = {
  ...{ at: 0, shape: { windowMs: 120_000, windowSize: 0 }, epoch: "", generation: -1, began: 0 },
  ...{ successes: 0, failures: 0, rejected: 1, slow: 0, ageMs: 0, lease: null, policyHash: "" },
};

/** An isolate beside others. */
class Fleet {
  /** At the beginning of a second. */
  readonly clock = new FakeClock(1_700_000_000_000);
  readonly asked: string[] = [];
  readonly tallies: Tally[] = [];
  /** The number that the isolate draws. */
  drawn = 0.5;
  draws = 0;
  refusesWrites = false;
  readonly #store = memory({ clock: this.clock.now });
  readonly #record = this.#store.record.bind(this.#store);
  readonly fuse;
  readonly breaker;

  constructor(options: CircuitOptions = {}) {
    const fail = (operation: string) =>
      this.refusesWrites && operation !== "read"
        ? new StoreAnswerError("READONLY", { scope: "store" })
        : undefined;
    const remote = intercept(chaos(this.#store, { fail }), (operation) => {
      this.asked.push(operation);
    });
    this.#store.record = (key, tally) => {
      this.tallies.push(tally);
      return this.#record(key, tally);
    };
    this.fuse = createFuse({
      stores: { remote },
      clock: this.clock.now,
      random: () => (this.draws++, this.drawn),
      storeTimeoutMs: 10_000,
    });
    this.breaker = this.fuse.make("a", {
      maxRequestsPerSecond: 10,
      cooldownMs: 30_000,
      ...options,
    });
  }

  /** Others send so many tallies. */
  others(tallies: number): void {
    for (let i = 0; i < tallies; i++) {
      this.#record("a", { ...TALLY, id: crypto.randomUUID() });
    }
  }

  /** The operations since the last time, once all are answered. */
  async take(): Promise<string[]> {
    await turn();
    return this.asked.splice(0);
  }

  /** Makes calls each 100 ms. Returns after how many ms the isolate asked the store. */
  async askedAfter(forMs: number): Promise<number[]> {
    await this.take();
    const moments: number[] = [];
    for (let ms = 100; ms <= forMs; ms += 100) {
      this.clock.advance(100);
      await this.breaker.tryCall(() => 1);
      if ((await this.take()).length > 0) moments.push(ms);
    }
    return moments;
  }

  /** Fails, and sends the failure, which an isolate that holds back keeps for a while. */
  async fails(): Promise<void> {
    await fail(this.breaker);
    await this.fuse.flush();
  }

  /** An isolate that has heard of four times as many requests as may be. */
  async slowed(): Promise<this> {
    await succeed(this.breaker);
    await this.fuse.flush();
    this.clock.advance(60_000);
    await succeed(this.breaker);
    this.others(39);
    await this.fuse.flush();
    await succeed(this.breaker);
    await this.fuse.flush();
    await this.take();
    return this;
  }
}

Deno.test("an isolate of a small fleet draws nothing, and asks as often as it is configured to", async () => {
  const fleet = new Fleet();
  await succeed(fleet.breaker);
  assertEquals(await fleet.askedAfter(4_000), [1_000, 2_000, 3_000, 4_000]);
  assertEquals(fleet.draws, 0);
  await fleet.fuse.flush();
});

Deno.test("an isolate flushes and refreshes less often when its fleet is large", async () => {
  const fleet = await new Fleet().slowed();
  assertEquals(fleet.draws > 0, true);
  // The others are gone: the present interval is halved when the answer tells that.
  assertEquals(await fleet.askedAfter(7_000), [4_000, 6_000, 7_000]);
  await fleet.fuse.flush();
});

Deno.test("an isolate draws each interval between half and one and a half of it", async () => {
  for (const [drawn, first] of [[0, 2_000], [0.25, 3_000], [0.999, 6_000]] as const) {
    const fleet = new Fleet();
    fleet.drawn = drawn;
    await fleet.slowed();
    assertEquals((await fleet.askedAfter(6_000))[0], first);
    await fleet.fuse.flush();
  }
});

Deno.test("an isolate gathers more than flushSize successes when its fleet is large", async () => {
  const fleet = await new Fleet({ flushSize: 5 }).slowed();
  await succeed(fleet.breaker, 19);
  assertEquals(await fleet.take(), []);
  await succeed(fleet.breaker);
  assertEquals(await fleet.take(), ["record"]);
  assertEquals(fleet.tallies.at(-1)!.successes, 20);
  await fleet.fuse.flush();
});

Deno.test("an isolate refreshes an OPEN view less often when its fleet is large", async () => {
  const fleet = await new Fleet({ failureThreshold: 1 }).slowed();
  await fleet.fails();
  const moments = await fleet.askedAfter(9_000);
  // Soon after an opening few requests are counted: the interval stays as it is.
  assertEquals(moments, [4_000, 8_000]);
  assertEquals(fleet.tallies.at(-1)!.rejected, 40);
  await fleet.fuse.flush();
});

for (const [drawn, waitMs] of [[0, 0], [0.25, 1_500], [0.5, 3_000]] as const) {
  Deno.test(`an isolate of a large fleet asks ${waitMs} ms after the cooldown when it draws ${drawn}`, async () => {
    const fleet = await new Fleet({ failureThreshold: 1, cooldownMs: 9_000 }).slowed();
    fleet.drawn = drawn;
    await fleet.fails();
    await fleet.take();
    // The view is renewed shortly before the cooldown is over.
    fleet.clock.advance(8_900);
    await fleet.breaker.getState();
    await fleet.take();
    fleet.clock.advance(100);
    for (let ms = 0; ms < waitMs; ms += 500) {
      const result = await fleet.breaker.tryCall(() => 1);
      assertEquals("retryAfterMs" in result && result.retryAfterMs, Math.min(1_000, waitMs - ms));
      assertEquals(await fleet.take(), []);
      fleet.clock.advance(500);
    }
    assertEquals((await fleet.breaker.tryCall(() => 1)).ok, true);
    assertEquals((await fleet.take())[0], "acquire");
    await fleet.fuse.flush();
  });
}

Deno.test("an isolate of a large fleet asks less often whether a trial may run", async () => {
  const fleet = await new Fleet({ failureThreshold: 1, cooldownMs: 9_000 }).slowed();
  await fleet.fails();
  await fleet.take();
  fleet.clock.advance(9_001);
  // The view is too old, so that it asks at once; and its trial takes its time.
  const permit = await fleet.breaker.admit();
  assertEquals(await fleet.take(), ["acquire"]);
  assertEquals(await fleet.askedAfter(7_000), [4_000]);
  await permit.success();
  await fleet.fuse.flush();
});

Deno.test("an isolate that is slowed down waits for the store once its view is maxStalenessMs old", async () => {
  const fleet = await new Fleet({ failureThreshold: 1, maxStalenessMs: 5_000 }).slowed();
  await fleet.fails();
  await fleet.take();
  fleet.clock.advance(5_001);
  await fleet.breaker.tryCall(() => 1);
  assertEquals(await fleet.take(), ["acquire"]);
  await fleet.fuse.flush();
});

Deno.test("an isolate with strong consistency asks before each call, however large its fleet is", async () => {
  const fleet = await new Fleet({ consistency: "strong" }).slowed();
  await succeed(fleet.breaker, 3);
  const asked = await fleet.take();
  assertEquals(asked.filter((operation) => operation === "acquire").length, 3);
  assertEquals(fleet.draws, 0);
  await fleet.fuse.flush();
});

Deno.test("a view of an open circuit is read when the store refuses to write the rejections", async () => {
  const fleet = new Fleet({ failureThreshold: 1 });
  await fail(fleet.breaker);
  await fleet.take();
  fleet.refusesWrites = true;
  fleet.fuse.on("store_error", () => {});
  const rejected = async () => {
    const result = await fleet.breaker.tryCall(() => 1);
    assert(!result.ok && result.rejected);
    return await fleet.take();
  };
  assertEquals(await rejected(), []);
  fleet.clock.advance(1_000);
  assertEquals(await rejected(), ["record"]);
  assertEquals(await rejected(), ["read"]);
  assertEquals(await rejected(), []);
  assertEquals((await fleet.breaker.snapshot()).local, false);
  fleet.refusesWrites = false;
  await fleet.fuse.flush();
  assertEquals((await fleet.breaker.getMetrics()).totalRejected, 4);
});

Deno.test("a view of an open circuit that is refreshed by its rejections counts each once", async () => {
  const fleet = new Fleet({ failureThreshold: 1 });
  await fail(fleet.breaker);
  await fleet.askedAfter(5_000);
  await fleet.fuse.flush();
  const sent = fleet.tallies.reduce((sum, { rejected }) => sum + rejected, 0);
  assertEquals([sent, (await fleet.breaker.getMetrics()).totalRejected], [50, 50]);
});

Deno.test("explain() and the metrics say that an isolate is slowed down", async () => {
  const fleet = new Fleet();
  await succeed(fleet.breaker);
  assertEquals((await fleet.breaker.explain()).includes("less often"), false);
  assertStringIncludes(await prometheusText(fleet.fuse), 'fuse_pace_ratio{store="remote"} 1\n');
  await fleet.slowed();
  assertStringIncludes(
    await fleet.breaker.explain(),
    "; this isolate asks the store 4.0 times less often, its fleet is large",
  );
  assertStringIncludes(await prometheusText(fleet.fuse), 'fuse_pace_ratio{store="remote"} 4\n');
  await fleet.fuse.flush();
});
