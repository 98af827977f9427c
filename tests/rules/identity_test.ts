// Rules 16 to 18 of src/rules/README.md: which circuit, whose policy, bad input.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  type CircuitOptions,
  createFuse,
  type Fuse,
  type FuseOptions,
  memory,
  type Scope,
} from "@fuse/edge";
import { chaos, FakeClock } from "@fuse/edge/testing";
import { admits, Boom, fail, onEverySetup, succeed } from "../support/setups.ts";

const TRIP: CircuitOptions = { failureThreshold: 1, successThreshold: 1, cooldownMs: 1_000 };
const tenant = (id: Scope["id"]): Scope => ({ type: "tenant", id });

onEverySetup("for() and boundary() are two dimensions of circuits", async (world) => {
  // Rule 16, trap 33: four circuits of one name.
  const { fuse } = world.isolate();
  const views = [
    fuse,
    fuse.for(tenant("a")),
    fuse.boundary(tenant("a")),
    fuse.for(tenant("a")).boundary(tenant("a")),
  ];
  for (const opened of views) {
    await fail(opened.make("a", TRIP));
    await world.sync();
    const states = [];
    for (const view of views) states.push((await view.make("a").snapshot()).state);
    assertEquals(states, views.map((view) => view === opened ? "OPEN" : "CLOSED"));
    await fuse.resetAll();
  }
});

Deno.test("make() separates circuits whatever characters their names contain", async () => {
  // Rule 16, trap 33: `a:b` + `c` is not `a` + `b:c`.
  const fuse = createFuse();
  const parts = [
    "a",
    "a:b",
    "b",
    "b:c",
    "c",
    ":",
    "::",
    "%",
    "%3A",
    "a%3Ab",
    "for",
    "in",
    "a:for:b",
  ];
  parts.push(
    "*",
    "a*",
    "{a}",
    "[a]",
    "?",
    '"',
    "'",
    "\\",
    " ",
    "\n",
    "ä",
    "💥",
    "\ud800",
    "\ufffd",
  );
  parts.push("__proto__", "constructor", "null", "undefined", "x".repeat(255));
  const keys = new Map<string, string>();
  const add = (view: Fuse, label: string[]) => {
    const { key } = view.make(label[0]!);
    assertEquals(keys.get(key), undefined, `${JSON.stringify(label)} has a key of its own`);
    keys.set(key, JSON.stringify(label));
  };
  for (const name of parts) {
    add(fuse, [name]);
    for (const type of parts) {
      for (const id of ["a", "b:c", ":", "for"]) {
        add(fuse.for({ type, id }), [name, "for", type, id]);
        add(fuse.boundary({ type, id }), [name, "in", type, id]);
        add(fuse.for({ type, id }).boundary({ type: id, id: type }), [name, "both", type, id]);
      }
    }
  }
  const { name, context, boundary } = fuse.for(tenant(1)).make("a:b");
  assertEquals([name, context, boundary], ["a:b", "tenant:1", null]);
  await succeed(fuse.make("a:b"));
  assert(keys.size > 5_000);
});

onEverySetup("for() compares ids as text, and changes no other view", async (world) => {
  // Rule 16: views are immutable. Section 5.
  const { fuse } = world.isolate();
  const one = fuse.for(tenant(1));
  await fail(one.make("a", TRIP));
  await world.sync();
  for (const id of ["1", 1n]) {
    assertEquals(await fuse.for(tenant(id)).make("a").getState(), "OPEN");
  }
  one.for(tenant(2));
  one.boundary(tenant(2));
  assertEquals(await one.make("a").getState(), "OPEN");
  assertEquals(await one.for(null).make("a").getState(), "CLOSED");
  assertEquals(await fuse.make("a").getState(), "CLOSED");
  assertThrows(() => Object.assign(one.make("a"), { name: "b" }), TypeError);
});

onEverySetup("make() returns the same circuit for the same name", async (world) => {
  // Rule 17.
  const { make, fuse } = world.isolate();
  await fail(make(TRIP));
  await fuse.flush();
  assertEquals(await admits(make(TRIP)), false);
  assertEquals(await admits(fuse.store("shared").for(null).make("a")), false);
});

onEverySetup(
  "make() reports another policy for a circuit, and uses the first",
  async (world) => {
    // Rule 17: within an isolate.
    const { make, fuse } = world.isolate();
    const first = make({ failureThreshold: 2, strategy: "consecutive_failures" });
    make({ failureThreshold: 2, ignore: [Boom], fallback: () => 1 });
    make();
    assertEquals(world.told(), []);
    for (let i = 0; i < 3; i++) make({ failureThreshold: 1, cooldownMs: 5 });
    const [event, ...others] = world.heard("config_mismatch");
    assertEquals(others, []);
    assertEquals([event!.name, event!.options.toSorted()], ["a", [
      "cooldownMs",
      "failureThreshold",
    ]]);
    await fail(make({ failureThreshold: 1, cooldownMs: 5 }));
    await fuse.flush();
    assertEquals(await first.getState(), "CLOSED");
    await fail(first);
    await fuse.flush();
    assertEquals(await first.getState(), "OPEN");
    assertEquals((await first.snapshot()).openUntil!.getTime() - world.clock.now(), 60_000);
  },
);

onEverySetup("make() does not compare functions", (world) => {
  // Rule 17.
  const { make } = world.isolate();
  make({ cooldownMs: () => 1, strategy: () => false });
  make({ cooldownMs: () => 2, strategy: () => true });
  assertEquals(world.told(), []);
  return Promise.resolve();
});

onEverySetup("make() without options refers to the circuit, and fixes no policy", async (world) => {
  // Section 5: the first handle with options fixes it.
  const { make, fuse } = world.isolate();
  const referring = make();
  await succeed(referring);
  const fixing = make({ failureThreshold: 1 });
  await fail(referring);
  await fuse.flush();
  assertEquals(await fixing.getState(), "OPEN");
  assertEquals(world.told("config_mismatch"), []);
});

onEverySetup("CircuitBreaker() reports another isolate's policy once for each", async (world) => {
  // Rule 17, trap 32: across isolates, by fingerprint.
  const [here, ...others] = [9, 8, 7].map((failureThreshold) => {
    const isolate = world.isolate();
    return { ...isolate, breaker: isolate.make({ failureThreshold }) };
  });
  for (let i = 0; i < 5; i++) {
    for (const { breaker } of [here!, ...others]) {
      await fail(breaker);
      await world.sync();
      await succeed(here!.breaker);
      await world.sync();
    }
  }
  const mismatches = here!.events.flatMap((e) => e.type === "config_mismatch" ? [e.options] : []);
  assertEquals(mismatches, [["failureThreshold"], ["failureThreshold"]]);
  // The others follow only the first.
  for (const { events } of others) {
    assertEquals(events.filter(({ type }) => type === "config_mismatch").length, 1);
  }
});

onEverySetup("CircuitBreaker() reports no isolate that has no options", async (world) => {
  // Rule 17: it has no policy of its own, and uses the record's.
  const here = world.isolate();
  const [fixed, plain] = [here.make({ failureThreshold: 9 }), world.breaker()];
  for (const breaker of [plain, fixed, plain, fixed]) {
    await succeed(breaker);
    await world.sync();
  }
  assertEquals(world.told("config_mismatch"), []);
});

onEverySetup("CircuitBreaker() reports no mismatch when isolates agree", async (world) => {
  // Rule 17: functions and options of the handle may differ.
  const [here, there] = [1, 2].map((n) =>
    world.isolate().make({
      failureThreshold: 9,
      cooldownMs: () => n,
      ignore: n === 1 ? [Boom] : [],
    })
  );
  for (const breaker of [here!, there!, here!]) await succeed(breaker);
  await world.sync();
  assertEquals(world.told("config_mismatch"), []);
});

Deno.test("config_mismatch is reported once for each of many foreign policies", async () => {
  // Rule 17.
  const clock = new FakeClock();
  const store = memory({ clock: clock.now });
  const isolate = (failureThreshold: number) =>
    createFuse({ stores: { a: chaos(store, {}) } }).make("a", {
      failureThreshold,
      consistency: "strong",
    });
  const fuse = createFuse({ stores: { a: chaos(store, {}) } });
  const mine = fuse.make("a", { failureThreshold: 1_000, consistency: "strong" });
  let reports = 0;
  fuse.on("config_mismatch", () => void reports++);
  for (let i = 101; i <= 112; i++) {
    await succeed(isolate(i));
    await succeed(mine);
    await succeed(isolate(i));
    await succeed(mine);
  }
  assertEquals(reports, 12);
});

Deno.test("createFuse() configures circuits by name, the exact name first", async () => {
  const clock = new FakeClock();
  const fuse = createFuse({
    clock: clock.now,
    defaults: { failureThreshold: 4 },
    circuits: {
      "api*": { failureThreshold: 3 },
      "api-eu*": { failureThreshold: 2 },
      "api-eu-1": { failureThreshold: 1 },
    },
  });
  const threshold = async (name: string) => {
    const breaker = fuse.make(name);
    for (let failures = 1; failures < 9; failures++) {
      await fail(breaker);
      if (await breaker.isOpen()) return failures;
    }
    return Infinity;
  };
  for (const [name, expected] of [["b", 4], ["api", 3], ["api-eu", 2], ["api-eu-1", 1]] as const) {
    assertEquals(await threshold(name), expected, name);
  }
});

type Bad = readonly [options: unknown, kind: ErrorConstructor, ...says: string[]];

const BAD: readonly Bad[] = [
  [{ failureThreshold: 0 }, RangeError, '"failureThreshold"', "received 0", "positive integer"],
  [{ failureThreshold: 1.5 }, RangeError, '"failureThreshold"', "received 1.5"],
  [{ failureThreshold: NaN }, RangeError, '"failureThreshold"', "received NaN"],
  [{ failureThreshold: Infinity }, RangeError, '"failureThreshold"'],
  [{ failureThreshold: "5" }, RangeError, '"failureThreshold"', 'received "5"'],
  [{ failureThreshold: null }, TypeError, '"failureThreshold"', "received null"],
  [{ successThreshold: -1 }, RangeError, '"successThreshold"', "received -1"],
  [{ cooldownMs: -1 }, RangeError, '"cooldownMs"', "received -1"],
  [{ cooldownMs: "1s" }, RangeError, '"cooldownMs"'],
  [{ cooldownMs: 600_001 }, RangeError, '"cooldownMs"', "600000", "received 600001"],
  [{ cooldownMs: 11, maxCooldownMs: 10 }, RangeError, '"cooldownMs"', "10", "received 11"],
  [{ maxCooldownMs: 0 }, RangeError, '"maxCooldownMs"'],
  [{ windowMs: 0 }, RangeError, '"windowMs"'],
  [{ windowSize: 0 }, RangeError, '"windowSize"'],
  [{ windowSize: 10_001 }, RangeError, '"windowSize"', "10000"],
  [{ minimumThroughput: 0 }, RangeError, '"minimumThroughput"'],
  [
    { strategy: "count_window", windowSize: 5, minimumThroughput: 6 },
    RangeError,
    '"minimumThroughput"',
    '"windowSize", 5',
    "received 6",
  ],
  [{ percentageThreshold: 0 }, RangeError, '"percentageThreshold"', "from 1 to 100", "received 0"],
  [{ percentageThreshold: 101 }, RangeError, '"percentageThreshold"', "received 101"],
  [{ slowCallMs: 0 }, RangeError, '"slowCallMs"'],
  [{ strategy: "slow_calls" }, Error, '"slowCallMs"', "slow_calls"],
  [{ callTimeoutMs: 0 }, RangeError, '"callTimeoutMs"'],
  [{ callTimeoutMs: 30_001 }, RangeError, '"callTimeoutMs"', '"halfOpenLeaseMs", 30000'],
  [{ callTimeoutMs: 2 ** 31, halfOpenLeaseMs: 2 ** 32 }, RangeError, '"callTimeoutMs"'],
  [{ halfOpenMaxConcurrent: 0 }, RangeError, '"halfOpenMaxConcurrent"'],
  [{ halfOpenLeaseMs: 0 }, RangeError, '"halfOpenLeaseMs"'],
  [{ consistency: "weak" }, RangeError, '"consistency"', '"eventual", "strong"', '"weak"'],
  [{ onStoreError: "crash" }, RangeError, '"onStoreError"', '"local"', '"crash"'],
  [{ revalidateMs: -1 }, RangeError, '"revalidateMs"', "received -1"],
  [{ maxStalenessMs: -1 }, RangeError, '"maxStalenessMs"'],
  [{ flushSize: 0 }, RangeError, '"flushSize"'],
  [{ flushIntervalMs: -1 }, RangeError, '"flushIntervalMs"'],
  [{ maxRequestsPerSecond: 0 }, RangeError, '"maxRequestsPerSecond"'],
  [{ strategy: "sometimes" }, RangeError, '"strategy"', "rolling_window", 'received "sometimes"'],
  [{ strategy: [] }, TypeError, '"strategy"'],
  [{ strategy: "toString" }, RangeError, '"strategy"'],
  [{ ignore: RangeError }, TypeError, '"ignore"'],
  [{ record: ["RangeError"] }, TypeError, '"record"'],
  [{ isFailure: true }, TypeError, '"isFailure"'],
  [{ fallback: "cached" }, Error, '"fallback"'],
  [{ fallback: [() => 1, 2] }, TypeError, '"fallback"'],
  [{ fallbackOn: "error" }, RangeError, '"fallbackOn"', '"rejection", "failure"'],
  [{ store: "elsewhere" }, RangeError, '"store"', "array", 'received "elsewhere"'],
  [{ failureTreshold: 3 }, TypeError, '"failureTreshold"'],
];

Deno.test("make() refuses invalid options by name, and changes nothing", async () => {
  // Rule 18.
  const fuse = createFuse();
  const events: string[] = [];
  fuse.on("*", ({ type }) => void events.push(type));
  for (const [options, kind, ...says] of BAD) {
    const bad = { failureThreshold: 1, ...options as CircuitOptions };
    const error: unknown = assertThrows(() => fuse.make("a", bad), kind);
    for (const text of says) {
      assert(String(error).includes(text), `${error} names ${text}`);
    }
    // The same, for all circuits and for circuits of a name.
    if (!Object.keys(bad).includes("fallback")) {
      assertThrows(() => createFuse({ defaults: bad }), kind, says[0]!);
      assertThrows(() => createFuse({ circuits: { "a*": bad } }), kind, says[0]!);
    }
  }
  // The refused options fixed no policy: it opens at five failures in a row, not at one.
  const breaker = fuse.make("a");
  await fail(breaker, 4);
  assertEquals(await breaker.getState(), "CLOSED");
  fuse.make("a", { failureThreshold: 9 });
  assertEquals(events.filter((type) => type === "config_mismatch"), []);
});

Deno.test("make() accepts names of 1 to 255 characters", () => {
  // Rule 18.
  const fuse = createFuse();
  for (const name of ["a", "x".repeat(255), " "]) assertEquals(fuse.make(name).name, name);
  for (const name of ["", "x".repeat(256), undefined, null, 5, {}] as string[]) {
    assertThrows(() => fuse.make(name), RangeError, '"name" must be a text of 1-255 characters');
  }
});

Deno.test("for() and boundary() refuse an invalid scope", () => {
  // Rule 18.
  const fuse = createFuse();
  const bad: unknown[] = [undefined, {}, "tenant:1", { type: "tenant" }, { type: "", id: 1 }];
  bad.push({ type: "t", id: "" }, { type: "t", id: NaN }, { type: 1, id: 1 });
  for (const scope of bad as Scope[]) {
    assertThrows(() => fuse.for(scope), TypeError, '"context"');
    assertThrows(() => fuse.boundary(scope), TypeError, '"boundary"');
  }
});

Deno.test("createFuse() refuses invalid options by name", () => {
  // Rule 18.
  const bad: [unknown, ErrorConstructor, string][] = [
    [{ stores: {} }, TypeError, '"stores"'],
    [{ stores: { a: {} } }, TypeError, '"stores.a"'],
    [{ stores: { a: memory() }, default: "b" }, RangeError, '"default"'],
    [{ storeTimeoutMs: 0 }, RangeError, '"storeTimeoutMs"'],
    [{ storeTimeoutMs: 2 ** 31 }, RangeError, '"storeTimeoutMs"'],
    [{ maxCircuits: 0 }, RangeError, '"maxCircuits"'],
    [{ clock: 5 }, Error, '"clock"'],
    [{ waitUntil: "x" }, Error, '"waitUntil"'],
    [{ strategies: { mine: 5 } }, Error, '"strategies.mine"'],
    [{ strategies: { rolling_window: () => true } }, TypeError, '"strategies.rolling_window"'],
    [{ onStoreError: "crash" }, RangeError, '"onStoreError"'],
    [{ circuits: null }, TypeError, '"circuits"'],
    [{ sotres: {} }, TypeError, '"sotres"'],
  ];
  for (const [options, kind, says] of bad) {
    assertThrows(() => createFuse(options as FuseOptions), kind, says);
  }
  assertThrows(() => createFuse().store("nowhere"), RangeError, "array");
});

onEverySetup("call() refuses invalid input, counts nothing and emits nothing", async (world) => {
  // Rule 18: a clear error, and nothing changed.
  const breaker = world.breaker(TRIP);
  await assertRejects(() => breaker.call("fn" as never), TypeError, '"fn" must be a function');
  const timed = () => breaker.call(() => 1, { timeoutMs: 0 });
  await assertRejects(timed, RangeError, '"timeoutMs"');
  assertThrows(() => breaker.wrap(undefined as never), TypeError, '"fn"');
  await world.sync();
  assertEquals(world.told(), []);
  assertEquals(world.stored().epoch, "");
});
