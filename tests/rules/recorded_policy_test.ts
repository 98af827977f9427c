// The circuit's record has the policy: an isolate without options uses it.
import { assert, assertEquals } from "@std/assert";
import { createFuse, type FuseOptions } from "@fuse/edge";
import type { PolicyRecord } from "@fuse/edge/store";
import { FakeClock } from "@fuse/edge/testing";
import { DRIVERS } from "../support/fuzz_drivers.ts";
import type { OpeningStore } from "../support/drivers.ts";

// Deno leaves them off.
Deno.test.sanitizer({ ops: true, resources: true });

const boom = () => Promise.reject(new Error("boom"));
const HOUR = 3_600_000;

function fuseOf(store: OpeningStore, clock: FakeClock, options: FuseOptions["defaults"] = {}) {
  const told: string[] = [];
  const fuse = createFuse({
    ...{ clock: clock.now, stores: { s: store }, storeTimeoutMs: 30_000 },
    defaults: { consistency: "strong", ...options },
  });
  fuse.on("*", ({ type }) => told.push(type));
  return { fuse, told };
}

/** Notes the policies in tallies and transitions. */
function watched(store: OpeningStore, told: unknown[]): OpeningStore {
  return new Proxy(store, {
    get(target, property) {
      const value = Reflect.get(target, property, target);
      if (property !== "record" && property !== "transition") {
        return typeof value === "function" ? value.bind(target) : value;
      }
      return (key: string, request: { policy?: unknown }) => {
        told.push([property, request.policy]);
        return value.call(target, key, request);
      };
    },
  });
}

/** Answers as if somebody had written a policy into each record by hand. */
function saying(store: OpeningStore, policy: PolicyRecord): OpeningStore {
  return new Proxy(store, {
    get(target, property) {
      const value = Reflect.get(target, property, target);
      if (typeof value !== "function") return value;
      // Operations that it sends together it passes on unchanged.
      if (property === "together") return value.bind(target);
      return async (...args: unknown[]) => {
        const answer = await value.apply(target, args);
        if (answer?.snapshot) return { ...answer, snapshot: { ...answer.snapshot, policy } };
        return answer?.state ? { ...answer, policy } : answer;
      };
    },
  });
}

for (const driver of DRIVERS.slice(1)) {
  Deno.test(`CircuitBreaker.call() is refused by a Fuse without options during the application's cooldown (${driver.name})`, async () => {
    const clock = new FakeClock();
    await using world = await driver.open({ clock: clock.now });
    const policy = { failureThreshold: 3, cooldownMs: HOUR / 2, maxCooldownMs: HOUR };
    const app = fuseOf(world.store, clock, policy).fuse.make("pay");
    for (let i = 0; i < 3; i++) await app.tryCall(boom);
    assertEquals((await app.snapshot()).policy, policy);
    clock.advance(HOUR / 2 - 1);
    const { fuse } = fuseOf(world.store, clock);
    for (const breaker of [fuse.make("pay"), fuse.circuit({ store: "s", key: "pay" })]) {
      const { state, policy: shown } = await breaker.snapshot();
      assertEquals([state, shown], ["OPEN", policy]);
      const result = await breaker.tryCall(() => 1);
      assert(!result.ok && result.rejected);
    }
    assertEquals((await Array.fromAsync(fuse.list())).map((one) => one.policy), [policy]);
  });

  Deno.test(`CircuitBreaker.call() follows the recorded policy, and changes neither it nor its hash, without options (${driver.name})`, async () => {
    const clock = new FakeClock();
    await using world = await driver.open({ clock: clock.now });
    const policy = { failureThreshold: 2, successThreshold: 1, cooldownMs: 1_000 };
    const app = fuseOf(world.store, clock, policy);
    await app.fuse.make("pay").call(() => 1);
    await app.fuse.flush();
    const told: unknown[] = [];
    const plain = fuseOf(watched(world.store, told), clock);
    const breaker = plain.fuse.make("pay");
    await breaker.snapshot();
    for (let i = 0; i < 2; i++) await breaker.tryCall(boom);
    assertEquals((await breaker.snapshot()).openUntil?.getTime(), clock.now() + 1_000);
    clock.advance(1_000);
    await breaker.call(() => 1);
    const { state, policy: shown } = await breaker.snapshot();
    assertEquals([state, shown], ["CLOSED", policy]);
    assertEquals(told.every((one) => (one as unknown[])[1] === undefined), true);
    await app.fuse.make("pay").call(() => 1);
    for (const { fuse, told } of [app, plain]) {
      await fuse.flush();
      assert(!told.includes("config_mismatch"));
    }
  });

  Deno.test(`Fuse.make() keeps the options that do not decide when it follows the recorded policy (${driver.name})`, async () => {
    const clock = new FakeClock();
    await using world = await driver.open({ clock: clock.now });
    const app = fuseOf(world.store, clock, { failureThreshold: 2 }).fuse.make("pay");
    await app.call(() => 1);
    for (const known of [false, true]) {
      const { fuse, told } = fuseOf(world.store, clock, { consistency: "eventual" });
      if (known) await fuse.make("pay").snapshot();
      const own = { consistency: "strong", onStoreError: "reject" } as const;
      const breaker = fuse.make("pay", own);
      for (let i = 0; i < 2; i++) {
        await app.call(() => 1);
        await breaker.call(() => 1);
      }
      fuse.make("pay", own);
      assertEquals(told.includes("config_mismatch"), false);
      // In `strong`, the store admits both, and the second failure opens.
      await breaker.tryCall(boom);
      await app.tryCall(boom);
      const rejected = await breaker.tryCall(() => 1);
      assertEquals([!rejected.ok && rejected.rejected, await breaker.getState()], [true, "OPEN"]);
      await app.reset();
    }
  });

  Deno.test(`CircuitBreaker.call() opens by the recorded policy once it names no strategy that is unknown here (${driver.name})`, async () => {
    const clock = new FakeClock();
    await using world = await driver.open({ clock: clock.now });
    const reader = fuseOf(world.store, clock).fuse.make("pay");
    for (const strategy of [() => false, undefined]) {
      const app = fuseOf(world.store, clock, { failureThreshold: 2, strategy });
      await app.fuse.make("pay").call(() => 1);
      await app.fuse.flush();
      for (let i = 0; i < 2; i++) await reader.tryCall(boom);
      assertEquals(await reader.getState(), strategy === undefined ? "OPEN" : "CLOSED");
    }
  });

  Deno.test(`CircuitBreaker.call() uses only the deciding options of the recorded policy (${driver.name})`, async () => {
    const clock = new FakeClock();
    await using world = await driver.open({ clock: clock.now });
    const strategies = {
      nervous: ({ consecutiveFailures }: { consecutiveFailures: number }) =>
        consecutiveFailures > 0,
    };
    const { fuse, told } = fuseOf(
      saying(world.store, { onStoreError: "reject", flushSize: 0, strategy: "nervous" }),
      clock,
    );
    const breaker = fuse.make("pay");
    await breaker.call(() => 1);
    await breaker.tryCall(boom);
    assertEquals(
      [await breaker.getState(), told.includes("opened")],
      ["CLOSED", false],
      "an unknown strategy",
    );
    const named = createFuse({
      ...{
        clock: clock.now,
        stores: { s: saying(world.store, { flushSize: 0, strategy: "nervous" }) },
      },
      ...{ storeTimeoutMs: 30_000, strategies, defaults: { consistency: "strong" } },
    }).make("pay");
    await named.call(() => 1);
    await named.tryCall(boom);
    assertEquals(await named.getState(), "OPEN");
  });

  Deno.test(`CircuitBreaker.call() measures calls as soon as it knows of a recorded policy that wants it (${driver.name})`, async () => {
    const clock = new FakeClock();
    await using world = await driver.open({ clock: clock.now });
    // No listener: calls that somebody hears of are measured anyhow.
    const fuseWith = (defaults: FuseOptions["defaults"]) =>
      createFuse({
        clock: clock.now,
        stores: { s: world.store },
        storeTimeoutMs: 30_000,
        defaults,
      });
    const fuse = fuseWith({});
    const breaker = fuse.make("pay");
    for (let i = 0; i < 3; i++) {
      await breaker.call(() => 1);
      await fuse.flush();
    }
    const app = fuseWith({ slowCallMs: 100 });
    await app.make("pay").call(() => 1);
    await app.flush();
    await breaker.snapshot();
    await breaker.call(() => clock.advance(200));
    assertEquals((await breaker.getMetrics()).totalSlow, 1);
  });

  Deno.test(`CircuitBreaker.call() issues no verdict where the recorded strategy is a function (${driver.name})`, async () => {
    const clock = new FakeClock();
    await using world = await driver.open({ clock: clock.now });
    const strategy = function tooMany() {
      return false;
    };
    const { fuse: app } = fuseOf(world.store, clock, { strategy });
    await app.make("pay").call(() => 1);
    await app.flush();
    const breaker = fuseOf(world.store, clock).fuse.make("pay");
    assertEquals((await breaker.snapshot()).policy, { strategy: "tooMany" });
    for (let i = 0; i < 8; i++) await breaker.tryCall(boom);
    assertEquals(await breaker.getState(), "CLOSED");
  });
}

Deno.test("CircuitBreaker.call() sends its policy when the record has another, at most once a minute, and with a transition", async () => {
  const clock = new FakeClock();
  const driver = DRIVERS.find(({ name }) => name === "upstash")!;
  await using world = await driver.open({ clock: clock.now });
  const told: unknown[] = [];
  const policy = { failureThreshold: 2 };
  const { fuse } = fuseOf(watched(world.store, told), clock, policy);
  const other = fuseOf(world.store, clock, { failureThreshold: 9 }).fuse;
  const breaker = fuse.make("pay");
  const call = async () => {
    await breaker.call(() => 1);
    await fuse.flush();
  };
  await call();
  await call();
  await call();
  assertEquals(told.splice(0), [["record", policy], ["record", undefined], ["record", undefined]]);
  await other.make("pay").call(() => 1);
  await other.flush();
  assertEquals((await breaker.snapshot()).policy, { failureThreshold: 9 });
  await call();
  assertEquals(told.splice(0), [["record", undefined]], "within the minute");
  clock.advance(60_000);
  await other.make("pay").call(() => 1);
  await other.flush();
  await breaker.snapshot();
  await call();
  assertEquals(told.splice(0), [["record", policy]]);
  for (let i = 0; i < 2; i++) await breaker.tryCall(boom);
  assertEquals(told.at(-1), ["transition", policy]);
  told.length = 0;
  await breaker.reset();
  assertEquals(told, [["transition", undefined]]);
});

Deno.test("CircuitBreaker.snapshot() has the policy of a circuit in memory()", async () => {
  const fuse = createFuse({ defaults: { failureThreshold: 2, cooldownMs: () => 5 } });
  const breaker = fuse.make("pay");
  assertEquals((await breaker.snapshot()).policy, null);
  await breaker.call(() => 1);
  assertEquals((await breaker.snapshot()).policy, {
    failureThreshold: 2,
    cooldownMs: "cooldownMs",
  });
});

Deno.test("CircuitBreaker.call() has its policy recorded with the first outcome that counts, whatever it was refused before", async () => {
  const clock = new FakeClock();
  await using world = await DRIVERS[1]!.open({ clock: clock.now });
  const open = (failureThreshold: number) =>
    fuseOf(world.store, clock, { consistency: "eventual", failureThreshold });
  const [before, after] = [open(1), open(7)];
  await before.fuse.make("pay").tryCall(boom);
  await before.fuse.flush();
  const breaker = after.fuse.make("pay");
  await breaker.snapshot();
  for (let second = 0; second < 3; second++) {
    const result = await breaker.tryCall(() => 1);
    assertEquals(!result.ok && result.rejected, true);
    await after.fuse.flush();
    clock.advance(1_000);
  }
  assertEquals((await breaker.snapshot()).policy, { failureThreshold: 1 });
  await breaker.reset();
  await breaker.call(() => 1);
  await after.fuse.flush();
  assertEquals((await breaker.snapshot()).policy, { failureThreshold: 7 });
});
