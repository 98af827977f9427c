// Traps 45 to 50, 63 and 66: partial failures of stores, herds, hurried operators and silence.
// drivers/upstash/outages_test.ts and drivers/libsql/outages_test.ts test real stores.
import { assert, assertEquals, assertLessOrEqual, assertRejects } from "@std/assert";
import { createFuse, isStoreUnavailableError, memory, type Store } from "@fuse/edge";
import { type Driver, shared, StoreAnswerError } from "@fuse/edge/store";
import { prometheusText } from "@fuse/edge/prometheus";
import { otel } from "@fuse/edge/otel";
import { chaos, FakeClock } from "@fuse/edge/testing";
import { replacing, turn } from "../support/setups.ts";
import { AtOnce, troubled } from "../support/troubled_isolate.ts";

const THRESHOLD = 3;
const POLICY = { failureThreshold: THRESHOLD, cooldownMs: 60_000 };
/**
 * The number of calls that a dead upstream may receive in its first cooldown, whatever the store
 * does.
 */
const MOST = 2 * THRESHOLD + 2;
const OUT_OF_MEMORY = new StoreAnswerError("OOM command not allowed", { scope: "store" });
const WRONG_TYPE = new StoreAnswerError("WRONGTYPE", { scope: "circuit" });
const GONE = new Error("Connection refused");
const WRITES = ["record", "transition", "override", "restore"];

type Fail = (operation: string, key: string | null, now: number) => Error | undefined;

/** An isolate on a memory store that fails on demand. */
function isolate(fail: Fail, options: Parameters<typeof troubled>[1] = {}) {
  const asked: string[] = [];
  const made = troubled((clock) =>
    chaos(memory({ clock: clock.now, maxCircuits: 10_000 }), {
      fail: (operation, key) => {
        asked.push(operation);
        return fail(operation, key, clock.now());
      },
    }), options);
  return { ...made, asked };
}

for (const consistency of ["eventual", "strong"] as const) {
  const situations: Record<string, Fail> = {
    "refuses writes": (operation) => WRITES.includes(operation) ? OUT_OF_MEMORY : undefined,
    "refuses transitions": (operation) => operation === "transition" ? OUT_OF_MEMORY : undefined,
    "is not reached by transitions": (operation) => operation === "transition" ? GONE : undefined,
    "refuses every circuit for itself": () => WRONG_TYPE,
    "is gone": () => GONE,
    "is up for two seconds and gone for two": (_, __, now) =>
      Math.floor(now / 2_000) % 2 === 0 ? GONE : undefined,
  };
  for (const [what, fail] of Object.entries(situations)) {
    Deno.test(`CircuitBreaker() protects a dead upstream when the store ${what} (trap 45, ${consistency})`, async () => {
      let failing = false;
      const here = isolate((...asked) => failing ? fail(...asked) : undefined);
      await here.fuse.make("a", { ...POLICY, consistency }).call(() => "ok");
      await here.fuse.flush();
      failing = true;
      assertLessOrEqual(await here.callDead("a", 40, { ...POLICY, consistency }), MOST);
    });
  }
}

Deno.test("all tallies that wait for a store go in the trip that detects its recovery (trap 45)", async () => {
  let gone = false;
  /** How many failures each trip carried. */
  const trips: number[] = [];
  const here = troubled((clock) => {
    const inner = memory({ clock: clock.now }) as Driver;
    let failures = 0;
    return shared({
      ...{ name: inner.name, traits: { ...inner.traits, shared: true } },
      read: (...asked) => gone ? Promise.reject(GONE) : inner.read(...asked),
      acquire: (...asked) => gone ? Promise.reject(GONE) : inner.acquire(...asked),
      record: (...asked) => {
        failures += asked[1].failures;
        return gone ? Promise.reject(GONE) : inner.record(...asked);
      },
      transition: inner.transition.bind(inner),
      override: inner.override.bind(inner),
      restore: inner.restore.bind(inner),
      list: inner.list.bind(inner),
      remove: inner.remove.bind(inner),
      together(work) {
        failures = 0;
        const answers = work();
        trips.push(failures);
        return answers;
      },
    });
  });
  const breaker = here.fuse.make("a", { failureThreshold: 100 });
  await breaker.call(() => "ok");
  await here.fuse.flush();
  gone = true;
  assertEquals(await here.callDead("a", 5, { failureThreshold: 100 }), 5);
  gone = false;
  here.clock.advance(10_000);
  trips.length = 0;
  await here.callDead("a", 1, { failureThreshold: 100 });
  assert(trips[0]! >= 5, `${trips}`);
});

Deno.test("CircuitBreaker() asks once for a herd at the end of the cooldown (trap 46)", async () => {
  const here = isolate(() => undefined);
  const breaker = here.fuse.make("a", { failureThreshold: 1, cooldownMs: 5_000 });
  await breaker.tryCall(() => Promise.reject(new Error("It trips")));
  await here.fuse.flush();
  here.clock.advance(5_000);
  here.asked.length = 0;
  const trials = new AtOnce();
  const over = Promise.withResolvers<void>();
  const calls = Array.from({ length: 500 }, () => breaker.tryCall(() => trials.run(over.promise)));
  await Promise.race(calls);
  over.resolve();
  await Promise.all(calls);
  await here.settled();
  assertEquals([trials.ran, trials.most], [1, 1]);
  assertEquals(here.asked, ["acquire", "record"]);
});

Deno.test("CircuitBreaker() asks twice for a herd without a snapshot (trap 46)", async () => {
  const clock = new FakeClock();
  const asked: string[] = [];
  const gate = Promise.withResolvers<void>();
  const store = chaos(memory({ clock: clock.now }), {
    fail: (operation) => void asked.push(operation),
  });
  await using fuse = createFuse({ stores: { store }, clock: clock.now, storeTimeoutMs: 30_000 });
  const breaker = fuse.make("a");
  const ran = new AtOnce();
  const calls = Array.from({ length: 1_000 }, () => breaker.call(() => ran.run(gate.promise)));
  while (ran.ran < 1_000) await turn();
  assertEquals(asked, ["acquire", "acquire"]);
  gate.resolve();
  await Promise.all(calls);
});

for (const onStoreError of ["local", "reject"] as const) {
  Deno.test(`a refused circuit does not affect the store's other circuits (trap 47, ${onStoreError})`, async () => {
    const here = isolate((_, key) => key === "bad" ? WRONG_TYPE : undefined, {
      defaults: { onStoreError },
    });
    const [good, bad] = [here.fuse.make("good"), here.fuse.make("bad")];
    for (let i = 0; i < 300; i++) {
      await bad.tryCall(() => i);
      assertEquals(await good.call(() => i), i);
      await here.settled();
      here.clock.advance(100);
    }
    await here.fuse.flush();
    assertEquals((await good.getMetrics()).totalSuccesses, 300);
    assertEquals(good.peek().local, false);
  });

  Deno.test(`a failed list does not affect the store's circuits (trap 47, ${onStoreError})`, async () => {
    const here = isolate((operation) => operation === "list" ? WRONG_TYPE : undefined, {
      defaults: { onStoreError },
    });
    const breaker = here.fuse.make("a");
    for (let i = 0; i < 100; i++) {
      await assertRejects(() => Array.fromAsync(here.fuse.list()), Error, "refuses");
      assertEquals(await breaker.call(() => i), i);
      here.clock.advance(100);
    }
  });
}

Deno.test("operators ask a store that is in back-off (trap 49)", async () => {
  let gone = false;
  const here = isolate(() => gone ? GONE : undefined);
  const breaker = here.fuse.make("a");
  await breaker.call(() => "ok");
  await here.fuse.flush();
  gone = true;
  for (let i = 0; i < 60; i++) {
    await breaker.call(() => "ok");
    await here.settled();
    here.clock.advance(1_000);
  }
  for (const act of ["forceOpen", "forceClose", "disable", "release", "reset"] as const) {
    here.asked.length = 0;
    const error = await assertRejects(() => breaker[act](), Error);
    assert(isStoreUnavailableError(error) && error.cause === GONE, `${act}: ${error}`);
    assertEquals(here.asked.length, 1, act);
  }
  gone = false;
  await breaker.forceOpen();
  assertEquals(breaker.peek().override?.kind, "forced_open");
});

Deno.test("flush() sends many circuits in waves (trap 50)", async () => {
  const [clock, underWay] = [new FakeClock(), new AtOnce()];
  let gate = Promise.withResolvers<void>();
  let gated = false;
  const inner = chaos(memory({ clock: clock.now, maxCircuits: 10_000 }), {});
  // Each request waits until the maximum of concurrent ones is reached.
  const store = new Proxy(inner, {
    get(target, name) {
      const value = Reflect.get(target, name, target);
      if (name !== "record" || !gated) {
        return typeof value === "function" ? value.bind(target) : value;
      }
      return async (...args: unknown[]) => {
        await underWay.run(gate.promise);
        return await value.apply(target, args);
      };
    },
  }) as Store;
  await using fuse = createFuse({
    ...{ stores: { store }, clock: clock.now, storeTimeoutMs: 30_000, maxCircuits: 10_000 },
  });
  const breakers = Array.from({ length: 1_000 }, (_, i) => fuse.make(`c${i}`));
  await Promise.all(breakers.map((breaker) => breaker.call(() => "ok")));
  gated = true;
  const flushed = fuse.flush();
  let over = false;
  flushed.then(() => over = true);
  while (!over) {
    await turn();
    gate.resolve();
    gate = Promise.withResolvers<void>();
  }
  assertEquals(underWay.ran, 1_000);
  assertLessOrEqual(underWay.most, 6);
});

Deno.test("flush() waits for the work of an async listener (trap 63)", async () => {
  const fuse = createFuse({ defaults: { failureThreshold: 1 } });
  const told = Promise.withResolvers<void>();
  let sent = false;
  fuse.on("opened", async () => {
    await told.promise;
    sent = true;
  });
  await fuse.make("a").tryCall(() => Promise.reject(new Error("It trips")));
  const flushed = fuse.flush();
  told.resolve();
  await flushed;
  assertEquals(sent, true);
});

/** Returns the output of `console.warn` while `body` ran. */
async function warnings(body: () => Promise<void>): Promise<string[]> {
  const told: string[] = [];
  const fake = { ...console, warn: (...words: unknown[]) => void told.push(words.join(" ")) };
  await replacing("console", fake, body);
  return told;
}

Deno.test("a wrongly configured store prints one line, which does not claim silence (trap 66)", async () => {
  const clock = new FakeClock();
  const fail = () => new StoreAnswerError("WRONGPASS invalid token", { scope: "store" });
  const store = chaos(memory({ clock: clock.now }), { fail });
  const fuse = createFuse({ stores: { store }, clock: clock.now });
  const breaker = fuse.make("a");
  const printed = await warnings(async () => {
    for (let i = 0; i < 20; i++) {
      await breaker.call(() => "ok");
      await fuse.flush();
      clock.advance(500);
    }
  });
  const [line, ...others] = printed.filter((text) => text.includes("fails at"));
  assert(line?.includes("WRONGPASS invalid token"), `${printed}`);
  assertEquals(others, []);
  assertEquals(breaker.peek().local, true);
  const error = await assertRejects(() => breaker.forceOpen(), Error);
  assert(!error.message.includes("does not answer"), error.message);
  assertEquals((error.cause as Error).message, "WRONGPASS invalid token");
});

Deno.test("failing lists print one line until one succeeds (trap 66)", async () => {
  let fails = true;
  const fail = (operation: string) => operation === "list" && fails ? WRONG_TYPE : undefined;
  const fuse = createFuse({ stores: { store: chaos(memory(), { fail }) } });
  const list = () => Array.fromAsync(fuse.list()).catch(() => {});
  const printed = await warnings(async () => {
    for (let i = 0; i < 5; i++) await list();
    fails = false;
    await list();
    fails = true;
    await list();
  });
  assertEquals(printed.length, 2, `${printed}`);
});

Deno.test("a list that leaves out circuits with invalid records prints one line (trap 66)", async () => {
  const error = new StoreAnswerError('KV: the field "state" is invalid', { scope: "circuit" });
  const inner = memory() as Driver;
  const driver = new Proxy(inner, {
    get: (_, name) =>
      name === "list"
        ? () => ({ records: [], cursor: null, spoilt: [{ key: "bad", error }] })
        : Reflect.get(inner, name, inner),
  });
  const fuse = createFuse({ stores: { kv: shared(driver) } });
  const printed = await warnings(async () => {
    for (let i = 0; i < 5; i++) await Array.fromAsync(fuse.list());
  });
  assertEquals(printed, [
    'Fuse: store "kv" fails at list, "bad", StoreAnswerError: KV: the field "state" is invalid',
  ]);
});

Deno.test("an error that has no text is reported like any other (trap 66)", async () => {
  const inner = memory() as Driver;
  const driver = new Proxy(inner, {
    get: (_, name) =>
      name === "name" || name === "traits"
        ? inner[name]
        : () => Promise.reject(Object.create(null)),
  });
  const fuse = () => createFuse({ stores: { kv: shared(driver) } });
  await warnings(async () => {
    const { error } = (await fuse().check())["kv"]!;
    assert(isStoreUnavailableError(error), `${(error as Error).name}`);
    for (const ask of [() => Array.fromAsync(fuse().list()), () => fuse().make("a").forceOpen()]) {
      assert(isStoreUnavailableError(await assertRejects(ask)));
    }
  });
});

Deno.test("a wrongly configured store prints one line when only metrics count its errors (trap 66)", async () => {
  const fail = () => new StoreAnswerError("WRONGPASS invalid token", { scope: "store" });
  const fuse = createFuse({ stores: { store: chaos(memory(), { fail }) } });
  const stop = otel(fuse);
  const printed = await warnings(async () => {
    await prometheusText(fuse);
    await fuse.make("a").call(() => "ok");
    await fuse.flush();
  });
  assert(printed.some((text) => text.includes("WRONGPASS invalid token")), `${printed}`);
  fuse.on("store_error", () => {});
  assertEquals(await warnings(() => fuse.make("b").forceOpen().catch(() => {})), []);
  stop();
});
