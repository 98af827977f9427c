// The metrics of otel(), collected by the SDK of OpenTelemetry in this process.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { createFuse, type Fuse, memory } from "@fuse/edge";
import { otel, type OtelOptions } from "@fuse/edge/otel";
import { FakeClock } from "@fuse/edge/testing";
import { chaos } from "../../support/drivers.ts";
import type { Attributes, BatchObservableResult, Observable } from "@opentelemetry/api";
import { Sums } from "../../../src/otel/totals.ts";
import { startSdk } from "../../support/otel.ts";

const down = () => Promise.reject(new Error("token=s3cr3t"));

Deno.test("otel() counts calls by outcome, slow calls and rejections from totals that are kept anyway", async () => {
  await using sdk = startSdk();
  const clock = new FakeClock();
  const fuse = createFuse({ clock: clock.now });
  const stop = otel(fuse, sdk.to);
  const pay = fuse.make("pay", { failureThreshold: 2, slowCallMs: 100, ignore: [RangeError] });

  for (let i = 0; i < 3; i++) await pay.call(() => "paid");
  await pay.call(() => ({ an: "object" }));
  await pay.call(() => clock.advance(100));
  await pay.tryCall(() => Promise.reject(new RangeError()));
  const permit = await pay.admit();
  await permit.success();
  await pay.tryCall(down);
  await pay.tryCall(down);
  for (let i = 0; i < 4; i++) await pay.tryCall(() => "paid");

  const { "fuse.calls": calls, ...rest } = await sdk.collect();
  const of = "circuitbreaker.name=pay";
  assertEquals(calls, {
    [`${of} fuse.outcome=success fuse.store=array`]: 6,
    [`${of} fuse.outcome=failure fuse.store=array`]: 2,
    [`${of} fuse.outcome=ignored fuse.store=array`]: 1,
  });
  assertEquals(rest["fuse.slow_calls"], { [`${of} fuse.store=array`]: 1 });
  assertEquals(rest["fuse.rejections"], { [`${of} fuse.store=array`]: 4 });
  assertEquals(rest["fuse.transitions"], {
    [`${of} circuitbreaker.state=open fuse.store=array`]: 1,
  });
  assertEquals(rest["fuse.call.duration"], undefined);
  stop();
});

Deno.test("otel() listens to no call, except with durations", async () => {
  await using sdk = startSdk();
  for (const [durations, expected] of [[false, undefined], [true, 3]] as const) {
    const reads: number[] = [];
    const fuse = createFuse({ clock: () => reads.push(0) });
    const stop = otel(fuse, { ...sdk.to, durations });
    const pay = fuse.make(`pay ${durations}`);
    for (let i = 0; i < 2; i++) await pay.call(() => 1);
    reads.length = 0;
    await pay.call(() => 1);
    // A measured call reads the clock twice.
    assertEquals(reads.length, durations ? 2 : 1);
    const of = "circuitbreaker.name=pay true fuse.outcome=success fuse.store=array";
    assertEquals((await sdk.collect())["fuse.call.duration"]?.[of], expected);
    stop();
  }
});

Deno.test("otel() counts a slow trial that fails as events do", async () => {
  await using sdk = startSdk();
  const clock = new FakeClock();
  const fuse = createFuse({ clock: clock.now });
  otel(fuse, sdk.to);
  const pay = fuse.make("pay", {
    ...{ strategy: "slow_calls", slowCallMs: 100, minimumThroughput: 1, percentageThreshold: 1 },
    cooldownMs: 1_000,
  });
  await pay.call(() => clock.advance(100));
  assertEquals(await pay.getState(), "OPEN");
  clock.advance(1_000);
  await pay.call(() => clock.advance(100));
  assertEquals(await pay.getState(), "OPEN");
  const { "fuse.calls": calls } = await sdk.collect();
  const of = (outcome: string) =>
    `circuitbreaker.name=pay fuse.outcome=${outcome} fuse.store=array`;
  assertEquals([calls?.[of("success")], calls?.[of("failure")]], [1, 1]);
});

Deno.test("otel() adds up the scopes of a name, and separates them with scopes", async () => {
  const collected = async (scopes: boolean) => {
    await using sdk = startSdk();
    const fuse = createFuse();
    otel(fuse, { ...sdk.to, scopes });
    await work(fuse);
    return await sdk.collect();
  };
  const work = async (fuse: Fuse) => {
    for (const id of [1, 2]) await fuse.for({ type: "tenant", id }).make("pay").call(() => 1);
    await fuse.boundary({ type: "tenant", id: 1 }).make("pay").call(() => 1);
  };
  const success = (points: Record<string, number> = {}) =>
    Object.fromEntries(Object.entries(points).filter(([key]) => key.includes("success")));

  const plain = await collected(false);
  assertEquals(success(plain["fuse.calls"]), {
    "circuitbreaker.name=pay fuse.outcome=success fuse.store=array": 3,
  });
  assertEquals(plain["fuse.circuits"], {
    "circuitbreaker.name=pay circuitbreaker.state=closed fuse.store=array": 3,
    "circuitbreaker.name=pay circuitbreaker.state=open fuse.store=array": 0,
    "circuitbreaker.name=pay circuitbreaker.state=half_open fuse.store=array": 0,
  });

  const scoped = await collected(true);
  assertEquals(success(scoped["fuse.calls"]), {
    "circuitbreaker.name=pay fuse.context=tenant:1 fuse.outcome=success fuse.store=array": 1,
    "circuitbreaker.name=pay fuse.context=tenant:2 fuse.outcome=success fuse.store=array": 1,
    "circuitbreaker.name=pay fuse.boundary=tenant:1 fuse.outcome=success fuse.store=array": 1,
  });
});

Deno.test("otel() of a view reports only the circuits of the view", async () => {
  await using sdk = startSdk();
  const fuse = createFuse({ stores: { one: memory(), two: memory() }, maxCircuits: 1 });
  otel(fuse.store("two").for({ type: "tenant", id: 1 }), sdk.to);
  for (const store of ["one", "two"]) {
    for (const id of [1, 2]) {
      await fuse.store(store).for({ type: "tenant", id }).make("pay").call(() => 1);
    }
  }
  const { "fuse.calls": calls, "fuse.store.up": up } = await sdk.collect();
  assertEquals(calls?.["circuitbreaker.name=pay fuse.outcome=success fuse.store=two"], 1);
  assertEquals(Object.keys(calls!).filter((key) => key.includes("one")), []);
  assertEquals(up, { "fuse.store=two": 1 });
});

Deno.test("otel() loses no call of a circuit that the isolate forgets", async () => {
  await using sdk = startSdk();
  const fuse = createFuse({ maxCircuits: 2 });
  otel(fuse, sdk.to);
  const of = "circuitbreaker.name=pay fuse.outcome=success fuse.store=array";
  for (let id = 0; id < 50; id++) {
    await fuse.for({ type: "tenant", id }).make("pay").call(() => 1);
    await fuse.for({ type: "tenant", id }).make("pay").call(() => 1);
    if (id % 20 === 0) assertEquals((await sdk.collect())["fuse.calls"]?.[of], 2 * (id + 1));
  }
  assertEquals((await sdk.collect())["fuse.calls"]?.[of], 100);
});

Deno.test("otel() reports overrides, store errors and circuits that are decided alone", async () => {
  await using sdk = startSdk();
  const clock = new FakeClock();
  let away = false;
  const shared = chaos(memory({ clock: clock.now }) as never, { down: () => away });
  const fuse = createFuse({ stores: { shared }, clock: clock.now });
  otel(fuse, sdk.to);
  const pay = fuse.make("pay");
  await pay.forceOpen({ reason: "drill" });
  let metrics = await sdk.collect();
  assertEquals(metrics["fuse.overridden_circuits"], {
    "circuitbreaker.name=pay fuse.override=forced_open fuse.store=shared": 1,
  });
  assertEquals(metrics["fuse.store.up"], { "fuse.store=shared": 1 });
  assertEquals(metrics["fuse.local_circuits"], { "fuse.store=shared": 0 });
  assertEquals(metrics["fuse.pace_ratio"], { "fuse.store=shared": 1 });

  await pay.release();
  away = true;
  clock.advance(60_000);
  await fuse.make("other").call(() => 1);
  metrics = await sdk.collect();
  assertEquals(metrics["fuse.overridden_circuits"], {
    "circuitbreaker.name=pay fuse.override=forced_open fuse.store=shared": 0,
  });
  assertEquals(metrics["fuse.store.up"], { "fuse.store=shared": 0 });
  assert(metrics["fuse.local_circuits"]!["fuse.store=shared"]! >= 1);
  const errors = metrics["fuse.store.errors"]!;
  assertEquals(Object.values(errors), [1]);
  assert(Object.keys(errors)[0]!.startsWith("circuitbreaker.name=other error.type="));
});

Deno.test("the function that otel() returns stops everything", async () => {
  await using sdk = startSdk();
  const fuse = createFuse();
  const stop = otel(fuse, { ...sdk.to, durations: true });
  await fuse.make("pay").call(() => 1);
  const of = "circuitbreaker.name=pay fuse.outcome=success fuse.store=array";
  assertEquals((await sdk.collect())["fuse.call.duration"]?.[of], 1);
  stop();
  stop();
  await fuse.make("pay", { failureThreshold: 1 }).call(() => 1);
  await fuse.make("opens", { failureThreshold: 1 }).tryCall(down);
  const metrics = await sdk.collect();
  // The SDK exports its last sums for ever.
  assertEquals(metrics["fuse.calls"]?.[of], 1);
  assertEquals(Object.keys(metrics["fuse.calls"]!).filter((key) => key.includes("opens")), []);
  assertEquals(metrics["fuse.call.duration"]?.[of], 1);
  assertEquals(sdk.spans, []);
});

Deno.test("otel() refuses invalid options, and shows no text of them", () => {
  const fuse = createFuse();
  const call = (options: unknown) => () => otel(fuse, options as OtelOptions);
  assertThrows(
    call({ meter: "s3cr3t" }),
    TypeError,
    '"meter" must be a meter of @opentelemetry/api',
  );
  assertThrows(call({ tracer: {} }), TypeError, '"tracer" must be a tracer of @opentelemetry/api');
  assertThrows(call({ scopes: 1 }), RangeError, '"scopes" must be true or false, received 1');
  assertThrows(call({ duration: true }), TypeError, 'there is no option "duration"');
  // Without an SDK nothing happens.
  otel(fuse)();
});

Deno.test("Sums() forgets the half that was least recently added to when there are more than 20 000", async () => {
  const sums = new Sums();
  for (let i = 0; i <= 20_000; i++) {
    sums.add({ name: "used" });
    if (i < 20_000) sums.add({ name: String(i) });
  }
  const kept: unknown[] = [];
  const observe = (_: unknown, value: number, attributes?: Attributes) =>
    void kept.push(attributes!.name === "used" ? value : attributes!.name);
  await sums.observe({ observe } as BatchObservableResult, {} as Observable);
  const newest = Array.from({ length: 10_000 }, (_, i) => String(10_000 + i));
  assertEquals(new Set(kept), new Set<unknown>([...newest, 20_001]));
});
