import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  type CircuitIdentity,
  type FuseEvent,
  isStoreUnavailableError,
  StoreUnavailableError,
} from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { Events } from "../../../src/events.ts";
import { StoreGuard } from "../../../src/shared/guard.ts";
import { replacing } from "../../support/setups.ts";

const ROOT = { store: null, context: undefined, boundary: undefined };

function guarding(timeoutMs = 60_000) {
  const clock = new FakeClock(1_000_000);
  const events = new Events();
  const heard: FuseEvent[] = [];
  events.on("*", (event: FuseEvent) => void heard.push(event), ROOT, undefined);
  const guard = new StoreGuard("redis", timeoutMs, clock.now, events);
  const boom = new Error("connection refused");
  const run = <T>(operation: string, send: () => T | Promise<T>, identity?: CircuitIdentity) =>
    guard.run<T>({
      ...{ operation, kind: operation === "read" ? "reads" : "writes", send },
      ...identity &&
        { circuit: { identity, health: null } },
    });
  const fail = () => run("read", () => Promise.reject(boom)).catch((error) => error);
  const told = () => heard.map(({ type }) => type);
  /** The length of the back-off from now on. */
  const left = () => guard.unavailable(clock.now()).retryAfterMs;
  return { clock, guard, heard, boom, run, fail, told, left };
}

/** Runs with a constant `Math.random`: the shortest and the longest interval. */
async function drawing(value: number, body: () => Promise<void>): Promise<void> {
  const fake = Object.create(Math, { random: { value: () => value } });
  await replacing("Math" as never, fake as never, body);
}

Deno.test("StoreGuard.run() returns the answer, sync or async, and emits nothing", async () => {
  const { guard, heard, clock, run } = guarding();
  assertEquals(await run("read", () => 1), 1);
  assertEquals(await run("read", () => Promise.resolve(2)), 2);
  assertEquals([guard.failing, guard.blocks("reads", null, clock.now()), heard.length], [
    false,
    false,
    0,
  ]);
});

Deno.test("StoreGuard.run() sends in this turn", () => {
  const { run } = guarding();
  let asked = false;
  run("read", () => asked = true);
  assert(asked);
});

Deno.test("StoreGuard.run() leaves no timer behind", async () => {
  // The sanitizers would find it.
  const { fail, run } = guarding(60_000);
  await run("read", () => Promise.resolve());
  await fail();
});

for (
  const [how, ask] of [
    ["rejects", () => Promise.reject(new Error("down"))],
    ["throws", () => {
      throw new Error("down");
    }],
  ] as [string, () => Promise<never>][]
) {
  Deno.test(`StoreGuard.run() throws StoreUnavailableError when the store ${how}`, async () => {
    const { guard, heard, clock, run } = guarding();
    const error = await assertRejects(() => run("record", ask), StoreUnavailableError);
    assertEquals(error.store, "redis");
    assert(guard.failing && guard.blocks("reads", null, clock.now()));
    assertEquals(heard.length, 1);
    const [event] = heard;
    if (event?.type !== "store_error") throw new Error("No store_error was told");
    assertEquals([event.store, event.operation, String(event.error)], [
      "redis",
      "record",
      "Error: down",
    ]);
    assertEquals(event.retryAfterMs, error.retryAfterMs);
  });
}

Deno.test("StoreGuard.run() names the circuit of a failed request, and none for a request of many", async () => {
  const circuit = { key: "a", store: "redis", name: "a", context: null, boundary: null };
  for (const whose of [circuit, undefined]) {
    const { heard, boom, run } = guarding();
    await run("read", () => Promise.reject(boom), whose).catch(() => {});
    const [event] = heard;
    if (event?.type !== "store_error") throw new Error("No store_error was told");
    assertEquals(event.circuit, whose);
    assertEquals("circuit" in event, whose !== undefined);
  }
});

Deno.test("StoreGuard.run() gives up on a store that does not answer within timeoutMs", async () => {
  const { heard, run } = guarding(1);
  await assertRejects(
    () => run("read", () => new Promise<never>(() => {})),
    StoreUnavailableError,
  );
  const [event] = heard;
  if (event?.type !== "store_error") throw new Error("No store_error was told");
  assertEquals(String(event.error), "Error: No answer within 1 ms");
});

Deno.test("StoreGuard.run() ignores a rejection after its deadline", async () => {
  const { run } = guarding(1);
  const late = Promise.withResolvers<never>();
  await run("read", () => late.promise).catch(() => {});
  late.reject(new Error("late"));
  // An unhandled rejection would fail this test.
  await new Promise((resolve) => setTimeout(resolve, 0));
});

Deno.test("StoreGuard.run() sends nothing during a back-off", async () => {
  const { fail, told, run } = guarding();
  await fail();
  let asked = false;
  const error = await run("read", () => asked = true).catch((error) => error);
  assert(isStoreUnavailableError(error));
  assertEquals([asked, told()], [false, ["store_error"]]);
});

Deno.test("StoreGuard.run() sends again after the interval, and recovers when it is answered", async () => {
  const { guard, clock, fail, told, left, run } = guarding();
  await fail();
  clock.advance(left() - 1);
  assert(guard.blocks("reads", null, clock.now()));
  clock.advance(1);
  assert(!guard.blocks("reads", null, clock.now()) && guard.failing);
  assertEquals(await run("read", () => Promise.resolve("back")), "back");
  assertEquals([guard.failing, guard.blocks("reads", null, clock.now())], [false, false]);
  assertEquals(told(), ["store_error", "store_recovered"]);
});

for (const [draw, share] of [[0, 0.5], [1, 1]] as const) {
  Deno.test(`StoreGuard.run() lengthens the back-off each time, ${share} of it by the draw ${draw}`, () =>
    drawing(draw, async () => {
      const { clock, fail, left } = guarding();
      const intervals: number[] = [];
      for (let i = 0; i < 8; i++) {
        await fail();
        intervals.push(left());
        clock.advance(left());
      }
      const whole = [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000];
      assertEquals(intervals, whole.map((ms) => ms * share));
    }));
}

Deno.test("StoreGuard.run() shortens the back-off once the store has answered for long, not with each success", () =>
  drawing(1, async () => {
    const { clock, fail, left, run } = guarding();
    for (let i = 0; i < 3; i++) {
      await fail();
      clock.advance(left());
    }
    for (let i = 0; i < 100; i++) await run("read", () => 1);
    await fail();
    assertEquals(left(), 8000);
    clock.advance(left());
    await run("read", () => 1);
    clock.advance(8000 + 4000);
    await run("read", () => 1);
    await fail();
    assertEquals(left(), 4000);
  }));

Deno.test("StoreGuard.run() counts concurrent requests that fail together as one failure", () =>
  drawing(1, async () => {
    const { guard, fail, told, left } = guarding();
    const errors = await Promise.all([fail(), fail(), fail()]);
    assert(errors.every(isStoreUnavailableError));
    assertEquals([told(), left(), guard.failing], [["store_error"], 1000, true]);
  }));

Deno.test("StoreGuard.run() sends one probe at a time", async () => {
  const { clock, fail, left, told, run } = guarding();
  await fail();
  clock.advance(left());
  const probe = Promise.withResolvers<string>();
  const first = run("read", () => probe.promise);
  let asked = false;
  await assertRejects(() => run("read", () => asked = true), StoreUnavailableError);
  assertEquals(asked, false);
  probe.resolve("back");
  assertEquals(await first, "back");
  assertEquals(await run("read", () => "next"), "next");
  assertEquals(told(), ["store_error", "store_recovered"]);
});

Deno.test("StoreGuard.run() sends another probe when the first is lost", async () => {
  // As on a Worker whose request is over: the marker expires, and no lock stays.
  const { guard, clock, fail, left, run } = guarding(500);
  await fail();
  clock.advance(left());
  const lost = run("read", () => new Promise<never>(() => {})).catch(() => {});
  assert(guard.blocks("reads", null, clock.now()));
  clock.advance(500);
  assertEquals(await run("read", () => "back"), "back");
  await lost;
});

Deno.test("StoreGuard.blocks() ignores an interval that was set before the clock was set back", async () => {
  const { guard, clock, fail, run } = guarding(500);
  await fail();
  clock.set(clock.now() - 3_600_000 / 4);
  assert(!guard.blocks("reads", null, clock.now()));
  assertEquals(await run("read", () => "asked"), "asked");
});

Deno.test("StoreGuard.unavailable() has the time until the next request, at least 1 ms", () => {
  const { guard, clock } = guarding();
  const error = guard.unavailable(clock.now());
  assertEquals([error.store, error.retryAfterMs], ["redis", 1]);
});
