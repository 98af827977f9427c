// The spans and events of otel() for changes of state, in the SDK of OpenTelemetry in this process.
import { assertEquals } from "@std/assert";
import { otel } from "@fuse/edge/otel";
import { trace } from "@opentelemetry/api";
import { onEverySetup, World } from "../../support/setups.ts";
import { type Sdk, startSdk } from "../../support/otel.ts";

const down = () => Promise.reject(Object.assign(new Error("token=s3cr3t"), { code: "ECONNRESET" }));

/** Runs work within a span, as an instrumented handler does. */
function within<T>(sdk: Sdk, name: string, work: () => Promise<T>): Promise<T> {
  return sdk.to.tracer.startActiveSpan(name, async (span) => {
    try {
      return await work();
    } finally {
      span.end();
    }
  });
}

/** Returns the states in spans and their events. */
function told({ spans }: Sdk): Record<string, unknown[]> {
  const stateOf = (attributes: Readonly<Record<string, unknown>> = {}) =>
    attributes["circuitbreaker.state"];
  return Object.fromEntries(spans.map(({ name, attributes, events }) => [
    name,
    name === "circuitbreaker.state_change"
      ? [stateOf(attributes)]
      : events.map(({ attributes }) => stateOf(attributes)),
  ]));
}

onEverySetup(
  "otel() reports changes on the span of the caller that waits for them",
  async (world) => {
    await using sdk = startSdk();
    const { fuse } = world.isolate({ instance: "fra1" });
    otel(fuse, sdk.to);
    const pay = fuse.for({ type: "tenant", id: 7 })
      .make("pay", { failureThreshold: 1, successThreshold: 1, cooldownMs: 1_000 });
    await within(sdk, "succeeds", () => pay.call(() => 1));
    await within(sdk, "fails", () => pay.tryCall(down));
    await world.sync();
    world.clock.advance(1_000);
    await within(sdk, "tries", () => pay.call(() => 1));
    await world.sync();

    // Eventual: the caller has its answer before the circuit opens.
    const background = world.setup === "eventual";
    assertEquals(told(sdk), {
      succeeds: [],
      fails: background ? [] : ["open"],
      ...background ? { "circuitbreaker.state_change": ["open"] } : {},
      tries: ["half_open", "closed"],
    });
    const opened = background
      ? sdk.spans.find(({ name }) => name === "circuitbreaker.state_change")
      : sdk.spans.find(({ name }) => name === "fails")?.events[0];
    assertEquals(opened?.name, "circuitbreaker.state_change");
    assertEquals(opened?.attributes, {
      "circuitbreaker.name": "pay",
      "circuitbreaker.state": "open",
      "circuitbreaker.previous_state": "closed",
      "fuse.store": "shared",
      "fuse.reason": "consecutive_failures",
      "fuse.generation": 2,
      "fuse.last_failure.kind": "ECONNRESET",
      "fuse.last_failure.at": "2025-01-01T00:00:00.000Z",
      "fuse.last_failure.instance": "fra1",
    });
  },
);

Deno.test("otel() puts a change in the background into the trace of the call that led to it", async () => {
  await using sdk = startSdk();
  const world = new World("eventual");
  const { fuse } = world.isolate();
  otel(fuse, sdk.to);
  const pay = fuse.make("pay", { failureThreshold: 1 });
  await within(sdk, "fails", () => pay.tryCall(down));
  await world.sync();
  const [call, change] = sdk.spans;
  assertEquals(change?.parentSpanContext?.spanId, call?.spanContext().spanId);
});

Deno.test("otel() reports a change in a span of its own when no span is active", async () => {
  await using sdk = startSdk();
  const world = new World("memory");
  const { fuse } = world.isolate();
  otel(fuse, sdk.to);
  await fuse.make("pay", { failureThreshold: 1 }).tryCall(() =>
    Promise.resolve(new Response(null, { status: 503 }))
  );
  const [span] = sdk.spans;
  assertEquals([sdk.spans.length, span?.name], [1, "circuitbreaker.state_change"]);
  assertEquals(span?.attributes["fuse.last_failure.status"], 503);
  assertEquals(trace.getActiveSpan(), undefined);
});

Deno.test("otel() reports scopes in spans only when asked to", async () => {
  const contextOf = async (options: { scopes?: boolean }) => {
    await using sdk = startSdk();
    const { fuse } = new World("memory").isolate();
    otel(fuse, { ...sdk.to, ...options });
    const pay = fuse.for({ type: "tenant", id: 7 }).make("pay", { failureThreshold: 1 });
    await pay.tryCall(down);
    return sdk.spans[0]!.attributes["fuse.context"];
  };
  assertEquals([await contextOf({}), await contextOf({ scopes: true })], [undefined, "tenant:7"]);
});

Deno.test("otel() marks changes that this isolate decides alone", async () => {
  await using sdk = startSdk();
  const world = new World("eventual");
  const { fuse } = world.isolate({ faults: { down: () => true } });
  otel(fuse, sdk.to);
  const pay = fuse.make("pay", { failureThreshold: 1 });
  await within(sdk, "fails", () => pay.tryCall(down));
  const event = sdk.spans[0]?.events[0];
  assertEquals([event?.attributes?.["circuitbreaker.state"], event?.attributes?.["fuse.local"]], [
    "open",
    true,
  ]);
});
