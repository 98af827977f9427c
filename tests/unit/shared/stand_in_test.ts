// The begin and the end of this isolate's own breaker (design, "The guard", point 2).
import { assert, assertEquals } from "@std/assert";
import {
  type CircuitOptions,
  createFuse,
  type FuseEvent,
  isStoreUnavailableError,
} from "@fuse/edge";
import { StoreAnswerError } from "@fuse/edge/store";
import { FakeClock } from "@fuse/edge/testing";
import { chaos, memory } from "../../support/drivers.ts";
import { admits, fail, succeed, turn } from "../../support/setups.ts";

const TRIP: CircuitOptions = { failureThreshold: 2, successThreshold: 1, cooldownMs: 10_000 };
const SHAPE = { windowMs: 120_000, windowSize: 0 };
const WRITES = ["record", "transition", "override", "restore", "remove"];

/** Refuses writes: an `acquire` at CLOSED writes nothing. */
const refusesWrites = (operation: string) =>
  WRITES.includes(operation) || operation === "acquire"
    ? new StoreAnswerError("OOM command not allowed", { scope: "store" })
    : undefined;

/** An isolate on a store that refuses selected requests, and the requests to it. */
function isolate(options: CircuitOptions = {}) {
  const clock = new FakeClock();
  const inner = memory({ clock: clock.now });
  const sent: string[] = [];
  const way = { fail: (_operation: string): Error | undefined => undefined };
  const remote = chaos(inner, {
    fail(operation, key) {
      if (key === "a") sent.push(operation);
      return way.fail(operation);
    },
  });
  const fuse = createFuse({ stores: { remote }, clock: clock.now, storeTimeoutMs: 10_000 });
  fuse.on("*", () => {});
  const breaker = fuse.make("a", { ...TRIP, ...options });
  return {
    ...{ clock, fuse, breaker, way, inner },
    /** The requests since the last call, once all are answered. */
    async sent(): Promise<string[]> {
      for (let i = 0; i < 5; i++) await turn();
      return sent.splice(0);
    },
    stored: () => inner.read("a", { at: clock.now(), shape: SHAPE }),
  };
}

for (const consistency of ["eventual", "strong"] as const) {
  Deno.test(`call() is protected when a store answers reads and refuses writes (${consistency})`, async () => {
    const { breaker, clock, fuse, way } = isolate({ consistency });
    await succeed(breaker);
    await fuse.flush();
    way.fail = refusesWrites;
    let called = 0;
    for (let i = 0; i < 60; i++) {
      await breaker.tryCall(() => (called++, Promise.reject(new Error("dead"))));
      await turn();
      clock.advance(1_000);
    }
    // 60 s: two calls to open it, and a trial after each cooldown of 10 s.
    assert(called >= 2 && called <= 2 + 6, `${called} calls reached it`);
    const { local, state } = await breaker.snapshot();
    assertEquals([local, state === "CLOSED"], [true, false]);
  });

  Deno.test(`StandIn() sends no acquire while it decides (${consistency})`, async () => {
    const { breaker, clock, fuse, way, sent } = isolate({ consistency });
    await succeed(breaker);
    await fuse.flush();
    way.fail = refusesWrites;
    await fail(breaker, 2);
    await sent();
    let ran = 0;
    for (let i = 0; i < 9; i++) {
      await breaker.tryCall(() => ran++);
      clock.advance(1_000);
    }
    assertEquals(ran, 0);
    assert(!(await sent()).includes("acquire"));
  });

  Deno.test(`StandIn() ends with the first write that the store confirms, and not with a read (${consistency})`, async () => {
    const { breaker, clock, fuse, way, stored, sent } = isolate({
      consistency,
      cooldownMs: 600_000,
    });
    await succeed(breaker);
    await fuse.flush();
    way.fail = refusesWrites;
    await fail(breaker, 2);
    for (let i = 0; i < 5; i++) {
      await breaker.snapshot();
      assertEquals(await admits(breaker), false);
      clock.advance(1_000);
    }
    way.fail = () => undefined;
    // A call that is rejected detects it.
    clock.advance(20_000);
    assertEquals(await admits(breaker), false);
    await sent();
    assertEquals((await breaker.snapshot()).local, false);
    await fuse.flush();
    // Outcomes of calls that the stand-in admitted count under the generation that was CLOSED.
    assertEquals((await stored()).totals.failures, 2);
  });
}

Deno.test("StandIn() probes with an empty tally when nothing is pending, and a rejected call sends that", async () => {
  const { breaker, clock, way, sent, stored, fuse } = isolate();
  await succeed(breaker);
  await fuse.flush();
  way.fail = () => new Error("connection refused");
  await fail(breaker, 2);
  // Its pending outcomes are given up after 30 s: that is no reason to end.
  for (let i = 0; i < 5; i++) {
    clock.advance(9_000);
    await fuse.flush();
  }
  await sent();
  const before = await stored();
  clock.advance(31_000);
  way.fail = () => undefined;
  // Everything was given up or is sent; from here on, only a probe can end it.
  await breaker.tryCall(() => "ok");
  const records = (await sent()).filter((operation) => operation === "record");
  assert(records.length >= 1, "a write was sent");
  assertEquals((await breaker.snapshot()).local, false);
  assertEquals((await stored()).epoch, before.epoch);
});

Deno.test("StandIn() yields when an override is read from the store", async () => {
  const { breaker, way, inner, clock, fuse } = isolate({ revalidateMs: 100 });
  await succeed(breaker);
  await fuse.flush();
  way.fail = refusesWrites;
  await fail(breaker, 2);
  assertEquals(await admits(breaker), false);
  await inner.override("a", {
    ...{ id: "x", at: clock.now(), shape: SHAPE, policyHash: "", reason: null, actor: "op" },
    kind: "forced_closed",
    until: clock.now() + 60_000,
  } as never);
  await breaker.snapshot();
  assertEquals(await admits(breaker), true);
  assertEquals((await breaker.snapshot()).local, false);
});

Deno.test("record() gives a tally up and reports it when the store refuses it three times while it accepts others", async () => {
  const clock = new FakeClock();
  let refusals = 0;
  const remote = chaos(memory({ clock: clock.now }), {
    fail(operation, key) {
      if (operation !== "record" || key !== "spoilt") return undefined;
      refusals++;
      return new StoreAnswerError("WRONGTYPE", { scope: "circuit" });
    },
  });
  const fuse = createFuse({ stores: { remote }, clock: clock.now });
  const events: FuseEvent[] = [];
  fuse.on("unconfirmed", (event) => void events.push(event));
  fuse.on("store_error", () => {});
  const [spoilt, healthy] = ["spoilt", "healthy"].map((name) => fuse.make(name, TRIP));
  await fail(spoilt!);
  while (events.length === 0 && refusals < 10) {
    await succeed(healthy!);
    await fuse.flush();
    clock.advance(4_000);
  }
  assertEquals(refusals, 3);
  assertEquals(events.map((event) => "name" in event && event.name), ["spoilt"]);
  // Given-up outcomes are not accepted: the isolate continues to protect on its own.
  assertEquals((await spoilt!.snapshot()).local, true);
  await fail(spoilt!);
  assertEquals(await admits(spoilt!), false);
  assertEquals(await admits(healthy!), true);
});

Deno.test("call() runs under reject when the store refuses only another circuit", async () => {
  const clock = new FakeClock();
  const remote = chaos(memory({ clock: clock.now }), {
    fail: (_, key) =>
      key === "spoilt" ? new StoreAnswerError("WRONGTYPE", { scope: "circuit" }) : undefined,
  });
  const fuse = createFuse({ stores: { remote }, clock: clock.now });
  fuse.on("store_error", () => {});
  const [spoilt, healthy] = ["spoilt", "healthy"].map((name) =>
    fuse.make(name, { onStoreError: "reject", consistency: "strong" })
  );
  for (let i = 0; i < 100; i++) {
    const result = await spoilt!.tryCall(() => 1);
    assert(!result.ok && isStoreUnavailableError(result.error));
    assertEquals(await admits(healthy!), true, `${i}`);
    clock.advance(500);
  }
});

Deno.test("forceOpen() reaches a store that has just recovered, whatever the back-off", async () => {
  const { breaker, clock, way, sent } = isolate();
  way.fail = () => new Error("connection refused");
  for (let i = 0; i < 6; i++) {
    await succeed(breaker);
    clock.advance(30_000);
  }
  await breaker.tryCall(() => "fails once more");
  await sent();
  way.fail = () => undefined;
  await breaker.forceOpen({ reason: "maintenance" });
  assertEquals(await sent(), ["override"]);
  assertEquals(await admits(breaker), false);
  await breaker.release();
  assertEquals(await admits(breaker), true);
});

Deno.test("resetAll() and exportState() reach a store that has just recovered", async () => {
  const { breaker, clock, way, fuse, stored } = isolate();
  await fail(breaker, 2);
  await fuse.flush();
  way.fail = () => new Error("connection refused");
  for (let i = 0; i < 6; i++) {
    await breaker.snapshot();
    clock.advance(3_000);
  }
  way.fail = () => undefined;
  assertEquals((await fuse.exportState()).circuits.length, 1);
  way.fail = () => new Error("connection refused");
  await fuse.flush();
  await breaker.snapshot();
  way.fail = () => undefined;
  assertEquals(await fuse.resetAll(), 1);
  assertEquals((await stored()).state, "CLOSED");
});

Deno.test("call() ends no run of failures when its success came before the last failure, however late the store refuses it", async () => {
  const { breaker, clock, way, fuse } = isolate({ failureThreshold: 3 });
  await succeed(breaker);
  await fuse.flush();
  await succeed(breaker);
  way.fail = () => new Error("connection refused");
  clock.advance(10);
  await breaker.snapshot();
  await fail(breaker, 2);
  // Sent, and refused, only now: the successes before all that.
  clock.advance(2_000);
  await admits(fuse.make("another"));
  await fuse.flush();
  await fail(breaker);
  assertEquals((await breaker.snapshot()).state, "OPEN");
});
