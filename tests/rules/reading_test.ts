// Rules 13 and 14 of src/rules/README.md: readers and listeners.
import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { type CircuitOptions, createFuse, type FuseEvent } from "@fuse/edge";
import {
  admits,
  begin,
  Boom,
  fail,
  intercept,
  onEverySetup,
  REMOTE,
  succeed,
  turn,
} from "../support/setups.ts";

const TRIP: CircuitOptions = { failureThreshold: 1, successThreshold: 1, cooldownMs: 1_000 };

onEverySetup("readers read HALF_OPEN past the cooldown, and change nothing", async (world) => {
  // Rule 13, trap 38.
  const asked: string[] = [];
  const { make } = world.isolate({ wrap: (s) => intercept(s, (op) => void asked.push(op)) });
  const breaker = make(TRIP);
  await fail(breaker);
  await world.sync();
  world.clock.advance(1_000);
  const before = world.stored();
  const told = world.told().length;
  asked.length = 0;
  for (let i = 0; i < 3; i++) {
    assertEquals(await breaker.getState(), "HALF_OPEN");
    assertEquals(await breaker.isOpen(), false);
    assertEquals((await breaker.snapshot()).state, "HALF_OPEN");
    assertEquals(breaker.peek().state, "HALF_OPEN");
    assert((await breaker.explain()).includes("HALF_OPEN"));
    await breaker.getMetrics();
  }
  await world.sync();
  assertEquals(world.stored(), before);
  assertEquals(before.state, "OPEN");
  assertEquals(world.told().length, told);
  assertEquals([...new Set(asked)].filter((operation) => operation !== "read"), []);
});

onEverySetup("readers of an unused circuit create nothing", async (world) => {
  // Rule 13.
  const breaker = world.breaker(TRIP);
  assertEquals([await breaker.getState(), await breaker.isOpen()], ["CLOSED", false]);
  assertEquals((await breaker.snapshot()).generation, 0);
  const { records } = await world.store.list({
    ...{ cursor: null, limit: 10, at: 0 },
    shape: () => ({ windowMs: 1_000, windowSize: 0 }),
  });
  assertEquals(records, []);
});

onEverySetup("readers see unsent outcomes of this isolate", async (world) => {
  // Rule 13: pending counts are overlaid.
  const gate = Promise.withResolvers<void>();
  let closed = false;
  const { make } = world.isolate({
    wrap: (s) => intercept(s, (op) => closed && op === "record" ? gate.promise : undefined),
  });
  const breaker = make({ ...TRIP, failureThreshold: 9 });
  await succeed(breaker);
  await world.sync();
  closed = true;
  await succeed(breaker, 3);
  await fail(breaker);
  const { totalSuccesses, totalFailures, consecutiveFailures, window } = await breaker.getMetrics();
  closed = false;
  gate.resolve();
  await world.sync();
  assertEquals([totalSuccesses, totalFailures, consecutiveFailures], [4, 1, 1]);
  assertEquals([window.successes, window.failures], [4, 1]);
  assertEquals((await breaker.getMetrics()).totalSuccesses, 4);
}, ["eventual"]);

onEverySetup("readers see a run of failures that an unsent success has ended", async (world) => {
  // Rule 13.
  const gate = Promise.withResolvers<void>();
  let closed = false;
  const { make, fuse } = world.isolate({
    wrap: (s) => intercept(s, (op) => closed && op === "record" ? gate.promise : undefined),
  });
  const breaker = make({ ...TRIP, failureThreshold: 9 });
  await fail(breaker, 3);
  await world.sync();
  closed = true;
  await succeed(breaker);
  const { consecutiveFailures, consecutiveSuccesses } = await breaker.getMetrics();
  gate.resolve();
  await fuse.flush();
  assertEquals([consecutiveFailures, consecutiveSuccesses], [0, 1]);
}, ["eventual"]);

onEverySetup("an unreported error of a listener ends nothing", async (world) => {
  // Rule 14: without a listener_error listener the error is printed to the console; `reportError`
  // ends Deno.
  const printed: unknown[] = [];
  const { error } = console;
  console.error = (...args: unknown[]) => void printed.push(...args);
  try {
    const fuse = createFuse({ stores: { a: world.store } });
    const thrown = new Error("listener");
    fuse.on("success", () => {
      throw thrown;
    });
    assertEquals(await fuse.make("a").call(() => 1), 1);
    assert(printed.includes(thrown));
    fuse.on("listener_error", () => {
      throw thrown;
    });
    assertEquals(await fuse.make("a").call(() => 1), 1);
  } finally {
    console.error = error;
  }
}, ["memory"]);

onEverySetup("peek() returns what this isolate knows, without I/O", async (world) => {
  const [here, there] = [world.breaker(TRIP), world.breaker(TRIP)];
  await succeed(there);
  await world.sync();
  await fail(here);
  await world.isolates[0]!.fuse.flush();
  world.clock.advance(300);
  assertEquals([here.peek().state, there.peek().state], ["OPEN", "CLOSED"]);
  assertEquals(there.peek().ageMs, 300);
  await there.snapshot();
  assertEquals([there.peek().state, there.peek().ageMs], ["OPEN", 0]);
}, REMOTE);

onEverySetup("getState() shows a call's state, and snapshot() both", async (world) => {
  // Rule 13: under an override.
  const breaker = world.breaker(TRIP);
  await breaker.forceOpen();
  assertEquals([await breaker.getState(), await breaker.isOpen()], ["OPEN", true]);
  assertEquals((await breaker.snapshot()).state, "CLOSED");
  await breaker.release();
  await fail(breaker);
  await world.sync();
  for (const act of ["forceClose", "disable", "metricsOnly"] as const) {
    await breaker[act]();
    assertEquals(await breaker.getState(), "CLOSED");
    const { state, override } = await breaker.snapshot();
    assertEquals([state, override !== null], ["OPEN", true]);
  }
});

onEverySetup("a listener that throws or rejects changes no call", async (world) => {
  // Rule 14, trap 37: it is reported through listener_error.
  const { fuse, make } = world.isolate();
  const [sync, async] = [new Error("listener"), new Error("async listener")];
  for (const type of ["success", "failure", "opened", "rejected"] as const) {
    fuse.on(type, () => {
      throw sync;
    });
    fuse.on(type, () => Promise.reject(async) as unknown as void);
  }
  const breaker = make(TRIP);
  const error = new Boom();
  assertEquals(await breaker.call(() => "value"), "value");
  const result = await breaker.tryCall(() => Promise.reject(error));
  assertStrictEquals("error" in result && result.error, error);
  await world.sync();
  assertEquals(await admits(breaker), false);
  await turn();
  const errors = world.heard("listener_error");
  assertEquals(
    errors.map((event) => event.source).sort(),
    ["failure", "opened", "rejected", "success"].flatMap((type) => [type, type]),
  );
  assertEquals(errors.filter((event) => event.error === sync).length, 4);
  assertEquals(errors.filter((event) => event.error === async).length, 4);
  assertEquals(world.stored().state, "OPEN");
});

onEverySetup(
  "a listener of all events does not receive its own error",
  async (world) => {
    // Rule 14: code that counts by `type` must not count a listener's error as an outcome.
    const { fuse, make } = world.isolate();
    fuse.on("success", () => {
      throw new Error("listener");
    });
    await succeed(make());
    await world.sync();
    assertEquals(world.told().toSorted(), ["listener_error", "success"]);
  },
);

onEverySetup("predicates that throw change no call", async (world) => {
  // Rule 14: and are reported.
  const wrong = new Error("predicate");
  const throws = () => {
    throw wrong;
  };
  const { make } = world.isolate();
  const handles = [
    make({ ignore: [throws] }, "ignore"),
    make({ record: [throws] }, "record"),
    make({ isFailure: throws }, "isFailure"),
    make({ strategy: throws }, "strategy"),
  ];
  const error = new Boom();
  for (const breaker of handles) {
    const result = await breaker.tryCall(() => Promise.reject(error));
    assertStrictEquals("error" in result && result.error, error);
  }
  assertEquals(await handles[2]!.call(() => "value"), "value");
  await world.sync();
  const errors = world.heard("listener_error").map(({ error }) => error);
  assert(errors.length >= 5);
  assert(errors.every((reported) => reported === wrong));
  // A value that cannot be judged is a failure.
  for (const name of ["ignore", "record", "isFailure"]) {
    assertEquals(world.stored(name).totals.failures, 1);
  }
  assertEquals(world.stored("strategy").state, "CLOSED");
});

onEverySetup("a listener sees the new state, and may act on it", async (world) => {
  // Rule 14: state is consistent before listeners run.
  const { fuse, make } = world.isolate();
  const breaker = make(TRIP);
  const seen: unknown[] = [];
  const work: Promise<unknown>[] = [];
  fuse.on("opened", (event) => {
    seen.push(breaker.peek().state, event.snapshot.state);
    work.push(breaker.tryCall(() => "ran").then((result) => seen.push(result.ok)));
  });
  await fail(breaker);
  await world.sync();
  await Promise.all(work);
  assertEquals(seen, ["OPEN", "OPEN", false]);
  const undo = fuse.on("closed", () => void work.push(breaker.forceOpen({ reason: "listener" })));
  world.clock.advance(1_000);
  await succeed(breaker);
  await world.sync();
  await Promise.all(work);
  undo();
  assertEquals(world.stored().override?.reason, "listener");
});

onEverySetup("events come outcome first, then transition", async (world) => {
  // Rule 14.
  const breaker = world.breaker({ ...TRIP, slowCallMs: 10 });
  await breaker.tryCall(() => {
    world.clock.advance(10);
    throw new Boom();
  });
  await world.sync();
  await succeed(breaker);
  world.clock.advance(1_000);
  await fail(breaker);
  await world.sync();
  world.clock.advance(1_000);
  await succeed(breaker);
  await world.sync();
  assertEquals(world.told(), [
    ...["failure", "slow", "opened", "rejected"],
    ...["half_opened", "failure", "opened"],
    ...["half_opened", "success", "closed"],
  ] as FuseEvent["type"][]);
});

onEverySetup("events of a call contain its duration and its error", async (world) => {
  const breaker = world.breaker();
  const error = new Boom();
  await breaker.tryCall(() => {
    world.clock.advance(42);
    throw error;
  });
  await breaker.call(() => world.clock.advance(7));
  await world.sync();
  const identity = { key: "a", store: "shared", name: "a", context: null, boundary: null };
  assertEquals(world.events, [
    { type: "failure", ...identity, durationMs: 42, error },
    { type: "success", ...identity, durationMs: 7 },
  ] as FuseEvent[]);
});

onEverySetup("on() stops when asked to, or when its signal aborts", async (world) => {
  const { fuse, make } = world.isolate();
  const heard: string[] = [];
  const controller = new AbortController();
  const stop = fuse.on("success", () => void heard.push("stopped"));
  fuse.on("success", () => void heard.push("aborted"), { signal: controller.signal });
  fuse.on("success", () => void heard.push("never"), { signal: AbortSignal.abort() });
  await succeed(make());
  stop();
  controller.abort();
  await succeed(make());
  await world.sync();
  assertEquals(heard, ["stopped", "aborted"]);
});

onEverySetup("on() of a scoped view receives its circuits' events, the root all", async (world) => {
  // Section 5.
  const { fuse, events } = world.isolate();
  const tenant = fuse.for({ type: "tenant", id: 1 });
  const heard: (string | null)[] = [];
  tenant.on("success", (event) => void heard.push(event.context));
  for (const view of [fuse, tenant, fuse.for({ type: "tenant", id: 2 })]) {
    await succeed(view.make("a"));
  }
  await world.sync();
  assertEquals(heard, ["tenant:1"]);
  assertEquals(events.length, 3);
});

onEverySetup("a call does not wait for a slow listener", async (world) => {
  const { fuse, make } = world.isolate();
  const never = new Promise<void>(() => {});
  fuse.on("success", () => never as unknown as void);
  assertEquals(await make().call(() => 1), 1);
  assertEquals((await begin(make())).admitted, true);
});
