// A Fuse and its views: options, scopes, lists, listeners, and what covers many circuits.
import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import {
  type CircuitEvent,
  type CircuitFilter,
  type CircuitOptions,
  type CircuitSnapshot,
  createFuse,
  type EventQuery,
  type Fuse,
  type FuseOptions,
  type ListPage,
  type ListRequest,
  memory,
  type Store,
  type StoredEvent,
  type Tally,
} from "@fuse/edge";
import { chaos, FakeClock } from "@fuse/edge/testing";
import { turn } from "../support/setups.ts";

const down = () => Promise.reject(new Error("down"));
const T1 = { type: "tenant", id: 1 };
const T2 = { type: "tenant", id: 2 };
const EU = { type: "region", id: "eu" };

async function names(fuse: Fuse, filter?: CircuitFilter): Promise<string[]> {
  const all = await Array.fromAsync(fuse.list(filter));
  return all.map(({ store, key }) => store === "array" ? key : `${store}/${key}`).sort();
}

const STORE = memory();
const BAD_OPTIONS: [unknown, string][] = [
  [null, `"options"`],
  ["memory", `"options"`],
  [{ store: STORE }, `no option "store"`],
  [{ stores: null }, `"stores"`],
  [{ stores: {} }, `"stores" must be at least one store`],
  [{ stores: 5 }, `"stores"`],
  [{ stores: { a: undefined } }, `"stores.a" must be a store`],
  [{ stores: { a: null } }, `"stores.a" must be a store`],
  [{ stores: { a: {} } }, `"stores.a" must be a store`],
  [{ stores: { a: memory } }, `"stores.a" must be a store`],
  [{ stores: { "": STORE } }, `"stores." must be a store`],
  [{ stores: { ["x".repeat(256)]: STORE } }, `must be a store`],
  [{ default: "redis" }, `"default" must be one of "array", received "redis"`],
  [{ default: "" }, `"default"`],
  [{ default: null }, `"default"`],
  [{ stores: { a: STORE }, default: "array" }, `"default" must be one of "a"`],
  [{ defaults: null }, `"defaults" must be an object, received null`],
  [{ defaults: { failureTreshold: 5 } }, `no option "failureTreshold"`],
  [{ defaults: { failureThreshold: 0 } }, `"failureThreshold"`],
  [{ defaults: { store: "redis" } }, `"store" must be one of array, received "redis"`],
  [{ circuits: null }, `"circuits"`],
  [{ circuits: { a: { cooldownMs: -1 } } }, `"cooldownMs"`],
  [{ circuits: { a: null } }, `"circuits.a" must be an object, received null`],
  [{ circuits: { a: "strict" } }, `"circuits.a" must be an object`],
  [{ circuits: { a: { bogus: 1 } } }, `no option "bogus"`],
  [{ circuits: { "a*": { store: "nowhere" } } }, `"store"`],
  [{ circuits: { a: { fallbackOn: "always" } } }, `"fallbackOn" must be one of`],
  // Each is fine, together they are not.
  [{ defaults: { maxCooldownMs: 1000 }, circuits: { a: { cooldownMs: 2000 } } }, `"cooldownMs"`],
  [{ strategies: null }, `"strategies"`],
  [{ strategies: { mine: "rolling_window" } }, `"strategies.mine" must be a function`],
  [{ strategies: { rolling_window: () => true } }, `"strategies.rolling_window"`],
  [{ onStoreError: "ignore" }, `"onStoreError" must be one of`],
  [{ onStoreError: null }, `"onStoreError"`],
  [{ storeTimeoutMs: 0 }, `"storeTimeoutMs"`],
  [{ storeTimeoutMs: 2 ** 31 }, `"storeTimeoutMs" must be an integer from 1 to 2147483647`],
  [{ storeTimeoutMs: "500" }, `"storeTimeoutMs"`],
  [{ maxCircuits: 0 }, `"maxCircuits" must be a positive integer`],
  [{ maxCircuits: Infinity }, `"maxCircuits"`],
  [{ clock: 5 }, `"clock" must be a function`],
  [{ clock: new FakeClock() }, `"clock" must be a function, received an object`],
  [{ waitUntil: {} }, `"waitUntil" must be a function`],
  [{ waitUntil: null }, `"waitUntil" must be a function`],
];
for (const [options, message] of BAD_OPTIONS) {
  Deno.test(`createFuse() refuses ${Deno.inspect(options, { depth: 3, strAbbreviateSize: 30 })}`, () => {
    const error = assertThrows(() => createFuse(options as FuseOptions), Error, message);
    assert(error instanceof RangeError || error instanceof TypeError);
    assert(error.message.startsWith("Cannot "), error.message);
  });
}

Deno.test("createFuse() takes undefined for not given", async () => {
  const nothing = {
    stores: undefined,
    default: undefined,
    defaults: undefined,
    circuits: undefined,
    strategies: undefined,
    onStoreError: undefined,
    storeTimeoutMs: undefined,
    maxCircuits: undefined,
    clock: undefined,
    waitUntil: undefined,
  };
  const breaker = createFuse(nothing).make("a");
  assertEquals(breaker.store, "array");
  assertEquals(await breaker.call(() => 1), 1);
});

Deno.test("createFuse() takes the first store for its default, or the one it is told", () => {
  const stores = { one: memory(), two: memory() };
  assertEquals(createFuse({ stores }).make("a").store, "one");
  assertEquals(createFuse({ stores, default: "two" }).make("a").store, "two");
});

Deno.test("createFuse() does not go on to depend on the objects it was given", async () => {
  const defaults: CircuitOptions = { failureThreshold: 1 };
  const circuits: Record<string, CircuitOptions> = { special: { failureThreshold: 2 } };
  const stores: Record<string, Store> = { array: memory() };
  const strategies: FuseOptions["strategies"] = { never: () => false };
  const fuse = createFuse({ defaults, circuits, stores, strategies });
  defaults.failureThreshold = 100;
  circuits.special = { failureThreshold: 100 };
  stores.other = memory();
  delete stores.array;
  strategies!.never = () => true;
  const make = { a: fuse.make("a"), special: fuse.make("special") };
  for (const breaker of Object.values(make)) await breaker.tryCall(down);
  assertEquals([await make.a.isOpen(), await make.special.isOpen()], [true, false]);
  await make.special.tryCall(down);
  assertEquals(await make.special.isOpen(), true);
  assertThrows(() => fuse.store("other"), RangeError);
  const never = fuse.make("never", { strategy: "never" });
  await never.tryCall(down);
  assertEquals(await never.isOpen(), false);
});

const BAD_HANDLES: [unknown, string][] = [
  [null, `"options" must be an object`],
  [{ bogus: 1 }, `no option "bogus", only store, `],
  [{ failureThreshold: 0 }, `"failureThreshold"`],
  [{ store: "nowhere" }, `"store" must be one of array, received "nowhere"`],
  [{ store: 5 }, `"store"`],
  [{ store: null }, `"store"`],
  [{ ignore: Error }, `"ignore" must be a list of error classes and predicates`],
  [{ ignore: ["TypeError"] }, `"ignore"`],
  [{ ignore: null }, `"ignore"`],
  [{ record: [null] }, `"record"`],
  [{ isFailure: true }, `"isFailure" must be a function`],
  [{ isFailure: null }, `"isFailure"`],
  [{ fallback: "value" }, `"fallback" must be a function or a list of functions`],
  [{ fallback: [() => 1, "value"] }, `"fallback"`],
  [{ fallbackOn: "error" }, `"fallbackOn" must be one of "rejection", "failure"`],
  [{ strategy: "unknown" }, `"strategy"`],
];
for (const [options, message] of BAD_HANDLES) {
  Deno.test(`make() refuses ${Deno.inspect(options, { depth: 2 })}, and changes nothing`, async () => {
    const fuse = createFuse();
    const error = assertThrows(() => fuse.make("a", options as CircuitOptions), Error, message);
    assert(error instanceof RangeError || error instanceof TypeError);
    // What was refused fixed no policy.
    let mismatches = 0;
    fuse.on("config_mismatch", () => mismatches++);
    const breaker = fuse.make("a", { failureThreshold: 2 });
    await breaker.tryCall(down);
    await breaker.tryCall(down);
    assertEquals([await breaker.isOpen(), mismatches], [true, 0]);
  });
}

Deno.test("make() refuses what is no name", () => {
  for (const name of ["", "x".repeat(256), undefined, null, 5, {}, ["a"]]) {
    assertThrows(
      () => createFuse().make(name as string),
      RangeError,
      `Cannot create circuit breaker: "name" must have 1-255 characters, received`,
    );
  }
});

Deno.test("make() takes inherited options for what they say", async () => {
  const breaker = createFuse().make("a", Object.create({ failureThreshold: 1 }));
  await breaker.tryCall(down);
  assertEquals(await breaker.isOpen(), true);
});

Deno.test("circuits match by exact name, then by the longest prefix, on top of the defaults", async () => {
  const fuse = createFuse({
    defaults: { failureThreshold: 4, cooldownMs: 7000 },
    circuits: {
      "*": { failureThreshold: 3 },
      "pay*": { failureThreshold: 2 },
      "pay-eu": { cooldownMs: 9000 },
      "pay-eu*": { failureThreshold: 1 },
    },
  });
  const trips = async (name: string, times: number) => {
    const breaker = fuse.make(name);
    for (let i = 0; i < times - 1; i++) await breaker.tryCall(down);
    const before = await breaker.isOpen();
    await breaker.tryCall(down);
    const { state, openedAt, openUntil } = await breaker.snapshot();
    return [before, state, openUntil!.getTime() - openedAt!.getTime()];
  };
  assertEquals(await trips("other", 3), [false, "OPEN", 7000]);
  assertEquals(await trips("pay", 2), [false, "OPEN", 7000]);
  assertEquals(await trips("pay-us", 2), [false, "OPEN", 7000]);
  assertEquals(await trips("pay-eu", 4), [false, "OPEN", 9000]);
  assertEquals(await trips("pay-eu-2", 1), [false, "OPEN", 7000]);
});

Deno.test("circuits may choose a store, which a handle's own option overrules", () => {
  const fuse = createFuse({
    stores: { one: memory(), two: memory(), three: memory() },
    defaults: { store: "two" },
    circuits: { "x*": { store: "three" } },
  });
  const stores = [
    fuse.make("a"),
    fuse.make("x1"),
    fuse.make("x1", { store: "one" }),
    fuse.store("one").make("x1"),
    fuse.store("one").make("x1", { store: "two" }),
  ].map(({ store }) => store);
  assertEquals(stores, ["two", "three", "one", "one", "two"]);
});

Deno.test("store() refuses a store that there is none of", () => {
  for (const name of ["nowhere", "", "toString", "__proto__", undefined]) {
    assertThrows(
      () => createFuse().store(name as string),
      RangeError,
      `"store" must be one of array`,
    );
  }
});

Deno.test("for(), boundary(), store() and with() give new views and change none", async () => {
  const fuse = createFuse({ stores: { array: memory(), other: memory() } });
  const tenant = fuse.for(T1);
  const views = [
    fuse,
    tenant,
    tenant.boundary(EU),
    tenant.for(T2),
    tenant.store("other"),
    tenant.with({ waitUntil: () => {} }),
    tenant.boundary(EU).for(T2).store("other"),
  ];
  for (const view of views) await view.make("a").call(() => 1);
  assertEquals(await names(fuse), [
    "a",
    "a:for:tenant:1",
    "a:for:tenant:1:in:region:eu",
    "a:for:tenant:2",
    "other/a:for:tenant:1",
    "other/a:for:tenant:2:in:region:eu",
  ]);
  assertEquals(fuse.make("a").context, null);
});

Deno.test("with() gives the same view for no request", () => {
  const fuse = createFuse();
  assertStrictEquals(fuse.with(null), fuse);
  assertStrictEquals(fuse.with(undefined), fuse);
});

Deno.test("with() keeps a view's scopes, and hands its work to the request", async () => {
  const fuse = createFuse({ stores: { remote: chaos(memory(), {}) } });
  const held: Promise<unknown>[] = [];
  const view = fuse.for(T1).with({ waitUntil: (work) => void held.push(work) }).boundary(EU);
  const breaker = view.make("a");
  assertEquals([breaker.context, breaker.boundary], ["tenant:1", "region:eu"]);
  await breaker.tryCall(down);
  assert(held.length > 0);
  await Promise.all(held);
  assertEquals((await fuse.for(T1).boundary(EU).make("a").getMetrics()).totalFailures, 1);
});

Deno.test("for() and boundary() refuse what is no scope", () => {
  for (const scope of [undefined, "tenant:1", {}, { type: "t" }, { type: "t", id: NaN }]) {
    assertThrows(() => createFuse().for(scope as never), TypeError, `"context" must be null or`);
    assertThrows(
      () => createFuse().boundary(scope as never),
      TypeError,
      `"boundary" must be null or`,
    );
  }
});

/** Circuits of every kind: scopes, states, overrides, two stores. */
async function populated() {
  const clock = new FakeClock();
  const stores = { array: memory(), other: chaos(memory(), {}) };
  const fuse = createFuse({ stores, clock: clock.now, defaults: { failureThreshold: 1 } });
  await fuse.make("closed").call(() => 1);
  await fuse.make("open").tryCall(down);
  await fuse.make("half").tryCall(down);
  await fuse.make("forced").forceOpen();
  await fuse.for(T1).make("closed").call(() => 1);
  await fuse.for(T2).boundary(EU).make("open").tryCall(down);
  await fuse.store("other").boundary(EU).make("closed").call(() => 1);
  await fuse.flush();
  return { fuse, clock };
}
const ALL = [
  "closed",
  "closed:for:tenant:1",
  "forced",
  "half",
  "open",
  "open:for:tenant:2:in:region:eu",
  "other/closed:in:region:eu",
];
const FILTERS: [CircuitFilter, string[]][] = [
  [{}, ALL],
  [{ state: "OPEN" }, ["half", "open", "open:for:tenant:2:in:region:eu"]],
  [{ state: "CLOSED" }, [ALL[0]!, ALL[1]!, "forced", ALL[6]!]],
  [{ state: "HALF_OPEN" }, []],
  [{ name: "open" }, ["open", "open:for:tenant:2:in:region:eu"]],
  [{ name: "clo*" }, [ALL[0]!, ALL[1]!, ALL[6]!]],
  [{ name: "*" }, ALL],
  [{ name: "op" }, []],
  [{ context: T1 }, ["closed:for:tenant:1"]],
  [{ context: { type: "tenant", id: "1" } }, ["closed:for:tenant:1"]],
  [{ context: null }, ["closed", "forced", "half", "open", "other/closed:in:region:eu"]],
  [{ boundary: EU }, ["open:for:tenant:2:in:region:eu", "other/closed:in:region:eu"]],
  [{ boundary: null }, ["closed", "closed:for:tenant:1", "forced", "half", "open"]],
  [{ overridden: true }, ["forced"]],
  [{ overridden: false, context: null, boundary: null }, ["closed", "half", "open"]],
  [{ state: undefined, name: undefined, context: undefined, overridden: undefined }, ALL],
];
for (const [filter, keys] of FILTERS) {
  Deno.test(`list() filters by ${Deno.inspect(filter, { compact: true, breakLength: 200 })}`, async () => {
    const { fuse } = await populated();
    assertEquals(await names(fuse, filter), keys);
  });
}

Deno.test("list() filters by the state that a snapshot shows", async () => {
  const { fuse, clock } = await populated();
  clock.advance(60_000);
  assertEquals((await names(fuse, { state: "OPEN" })).length, 0);
  assertEquals((await names(fuse, { state: "HALF_OPEN" })).length, 3);
});

Deno.test("list() covers the view's store and scopes, and a filter narrows that", async () => {
  const { fuse } = await populated();
  assertEquals(await names(fuse.for(T1)), ["closed:for:tenant:1"]);
  assertEquals(await names(fuse.boundary(EU)), [ALL[5]!, ALL[6]!]);
  assertEquals(await names(fuse.store("other")), [ALL[6]!]);
  assertEquals(await names(fuse.store("array").boundary(EU)), [ALL[5]!]);
  assertEquals(await names(fuse.for(T1), { context: T2 }), []);
  assertEquals(await names(fuse.for(T2), { state: "OPEN" }), [ALL[5]!]);
});

Deno.test("for(null) and boundary(null) cover the circuits of no context and no boundary", async () => {
  const { fuse } = await populated();
  assertEquals(await names(fuse.for(null)), await names(fuse, { context: null }));
  assertEquals(await names(fuse.boundary(null)), await names(fuse, { boundary: null }));
});

Deno.test("list() shows what this isolate has not sent yet", async () => {
  const { fuse } = await populated();
  await fuse.store("other").boundary(EU).make("closed").call(() => 1);
  const [snapshot] = await Array.fromAsync(fuse.store("other").list());
  assertEquals(snapshot!.metrics.totalSuccesses, 2);
});

Deno.test("list() gives snapshots as the handle does", async () => {
  const { fuse } = await populated();
  for await (const listed of fuse.store("array").list({ context: null })) {
    assertEquals(listed, await fuse.make(listed.name).snapshot());
  }
});

Deno.test("list() pages through a store that gives a few at a time", async () => {
  const cursors: (string | null)[] = [];
  const whole = memory();
  const paged: Store = Object.assign(chaos(whole, {}), {
    async list(request: ListRequest): Promise<ListPage> {
      cursors.push(request.cursor);
      const { records } = await whole.list(request);
      const page = Number(request.cursor ?? 0);
      // The second one is empty, and not the last.
      const two = page === 1 ? [] : records.slice(Math.max(0, 2 * page - 2), Math.max(2, 2 * page));
      return { records: two, cursor: page === 3 ? null : String(page + 1) };
    },
  });
  const fuse = createFuse({ stores: { paged } });
  for (let i = 0; i < 6; i++) await fuse.make(`k${i}`).call(() => 1);
  await fuse.flush();
  const keys = (await Array.fromAsync(fuse.list())).map(({ key }: CircuitSnapshot) => key);
  assertEquals(keys.sort(), ["k0", "k1", "k2", "k3", "k4", "k5"]);
  assertEquals(cursors, [null, "1", "2", "3"]);
});

Deno.test("list(), exportState() and resetAll() refuse bad filters", async () => {
  const { fuse } = await populated();
  const bad: [unknown, string][] = [
    [{ states: "OPEN" }, `no option "states"`],
    [null, `"options" must be an object`],
    [{ context: "tenant:1" }, `"context" must be null or`],
    [{ boundary: {} }, `"boundary" must be null or`],
  ];
  for (const [filter, message] of bad) {
    const list = async () => await Array.fromAsync(fuse.list(filter as CircuitFilter));
    await assertRejects(list, TypeError, message);
    await assertRejects(() => fuse.exportState(filter as CircuitFilter), TypeError, message);
  }
});

Deno.test("resetAll() closes and clears the view's circuits, and answers how many", async () => {
  const { fuse } = await populated();
  const resets: (string | null)[] = [];
  fuse.on("reset", ({ key, reason, actor }) => void resets.push(key, reason, actor));
  assertEquals(await fuse.for(T2).resetAll({ reason: "deploy", actor: "ann" }), 1);
  assertEquals(resets, ["open:for:tenant:2:in:region:eu", "deploy", "ann"]);
  assertEquals(await names(fuse, { state: "OPEN" }), ["half", "open"]);
  assertEquals(await fuse.resetAll(), 7);
  assertEquals(await names(fuse, { state: "OPEN" }), []);
  assertEquals(await names(fuse, { overridden: true }), ["forced"]);
});

Deno.test("resetAll() refuses bad reasons, and resets nothing", async () => {
  const { fuse } = await populated();
  await assertRejects(() => fuse.resetAll({ actor: 5 as never }), TypeError, `"actor"`);
  assertEquals((await names(fuse, { state: "OPEN" })).length, 3);
});

Deno.test("on() of a view hears its circuits only, and stops as told", async () => {
  const fuse = createFuse();
  const heard: string[] = [];
  const listen = (who: string, view: Fuse, signal?: AbortSignal) =>
    view.on("success", ({ key }) => void heard.push(`${who} ${key}`), signal && { signal });
  const controller = new AbortController();
  const off = listen("root", fuse);
  listen("tenant", fuse.for(T1), controller.signal);
  listen("region", fuse.boundary(EU));
  const call = () => fuse.for(T1).make("a").call(() => 1);
  await fuse.make("a").call(() => 1);
  await call();
  await fuse.for(T1).boundary(EU).make("a").call(() => 1);
  const both = "a:for:tenant:1:in:region:eu";
  assertEquals(heard.splice(0), [
    "root a",
    "root a:for:tenant:1",
    "tenant a:for:tenant:1",
    `root ${both}`,
    `tenant ${both}`,
    `region ${both}`,
  ]);
  controller.abort();
  off();
  await call();
  assertEquals(heard, []);
});

Deno.test("on() hears what handles do that were made before it", async () => {
  const fuse = createFuse();
  const breaker = fuse.make("a");
  for (let i = 0; i < 3; i++) await breaker.call(() => 1);
  let heard = 0;
  const off = fuse.on("success", () => heard++);
  await breaker.call(() => 1);
  off();
  await breaker.call(() => 1);
  assertEquals(heard, 1);
});

Deno.test("flush() covers the view's store and scopes", async () => {
  const records: string[] = [];
  const store = chaos(memory(), {});
  const spy: Store = new Proxy(store, {
    get(target, property) {
      const value = Reflect.get(target, property, target);
      if (typeof value !== "function") return value;
      return (key: string, ...rest: unknown[]) => {
        if (property === "record") records.push(key);
        return Reflect.apply(value, target, [key, ...rest]);
      };
    },
  });
  const fuse = createFuse({ stores: { spy, array: memory() } });
  for (const view of [fuse, fuse.for(T1)]) {
    for (let i = 0; i < 2; i++) await view.make("a").call(() => 1);
  }
  await fuse.store("array").flush();
  assertEquals(records, []);
  await fuse.for(T1).flush();
  assertEquals(records, ["a:for:tenant:1"]);
  await fuse.flush();
  assertEquals(records, ["a:for:tenant:1", "a"]);
});

Deno.test("a Fuse sends what is pending when it is disposed", async () => {
  const store = memory();
  {
    await using fuse = createFuse({ stores: { remote: chaos(store, {}) } });
    for (let i = 0; i < 3; i++) await fuse.make("a").call(() => 1);
  }
  const shape = { windowMs: 120_000, windowSize: 0 };
  assertEquals((await store.read("a", { at: Date.now(), shape })).totals.successes, 3);
});

Deno.test("flush() waits for what is under way", async () => {
  const gate = Promise.withResolvers<void>();
  const store = chaos(memory(), {});
  const slow: Store = new Proxy(store, {
    get(target, property) {
      const value = Reflect.get(target, property, target);
      if (typeof value !== "function") return value;
      if (property !== "record") return value.bind(target);
      return (...args: unknown[]) => gate.promise.then(() => Reflect.apply(value, target, args));
    },
  });
  const fuse = createFuse({ stores: { slow }, storeTimeoutMs: 10_000 });
  await fuse.make("a").tryCall(down);
  let flushed = false;
  const done = fuse.flush().then(() => flushed = true);
  await turn();
  assert(!flushed);
  gate.resolve();
  await done;
});

Deno.test("an isolate that imports state is not told that the store forgot it", async () => {
  // It put the record there itself: `imported`, and no `reborn`.
  const fuse = createFuse({ stores: { remote: chaos(memory(), {}) } });
  await fuse.make("a").tryCall(down);
  const state = await fuse.exportState();
  const told: string[] = [];
  fuse.on("*", ({ type }) => void told.push(type));
  await fuse.importState(state);
  await fuse.make("a").getState();
  assertEquals(told, ["imported"]);
});

Deno.test("importState() refuses what would put two circuits into one, and imports nothing", async () => {
  const from = createFuse({ stores: { one: memory(), two: memory() } });
  await from.store("one").make("a").tryCall(down);
  await from.store("two").make("a").tryCall(down);
  await from.make("b").tryCall(down);
  const state = await from.exportState();
  const fuse = createFuse();
  await assertRejects(() => fuse.importState(state), TypeError, `"a" stands in it twice`);
  assertEquals(await names(fuse), []);
  assertEquals(await createFuse({ stores: { one: memory(), two: memory() } }).importState(state), {
    imported: 3,
    kept: 0,
  });
});

Deno.test("maxCircuits bounds what waits for a store that is away, and tells of what it lets go", async () => {
  const clock = new FakeClock();
  const stores = { remote: chaos(memory(), { down: () => true }) };
  const fuse = createFuse({ stores, clock: clock.now, maxCircuits: 5 });
  const unconfirmed: string[] = [];
  let failures = 0;
  fuse.on("unconfirmed", (event) => {
    unconfirmed.push(event.name);
    failures += event.failures;
  });
  for (let i = 0; i < 40; i++) await fuse.make(`k${i}`).tryCall(down);
  await turn();
  assert(unconfirmed.length >= 25, `${unconfirmed.length} of 40 were let go`);
  assertEquals(failures, unconfirmed.length);
  assertEquals(new Set(unconfirmed).size, unconfirmed.length);
});

Deno.test("maxCircuits loses no rejection of a memory store's circuits", async () => {
  const fuse = createFuse({ maxCircuits: 2, defaults: { failureThreshold: 1 } });
  for (let i = 0; i < 20; i++) {
    const breaker = fuse.make(`k${i}`);
    await breaker.tryCall(down);
    await breaker.tryCall(() => "rejected");
  }
  await fuse.flush();
  for await (const { name, metrics } of fuse.list()) {
    assertEquals([name, metrics.totalRejected], [name, 1]);
  }
});

/** A store whose trail is these rows, with the queries that reached it. */
function trail(keys: string[], queries: unknown[] = []): Store {
  const rows = keys.map((key, i): StoredEvent => ({
    id: String(i),
    key,
    event: "opened",
    at: new Date(i),
    metadata: null,
    cursor: String(i),
  }));
  return Object.assign(chaos(memory(), {}), {
    async *history(query: EventQuery & { readonly key?: string }) {
      queries.push(query);
      await Promise.resolve();
      const mine = rows.filter(({ key }) => query.key === undefined || key === query.key);
      yield* mine.slice(0, query.limit ?? Infinity);
    },
  });
}
const ids = async (events: AsyncIterable<CircuitEvent>) =>
  (await Array.fromAsync(events)).map(({ store, key, id }) => `${store}/${key}/${id}`);

Deno.test("history() covers the view's store and scopes, and names the circuits", async () => {
  const keys = ["a", "a:for:tenant:1", "b"];
  const fuse = createFuse({ stores: { one: trail(keys), two: trail(["c"]) } });
  assertEquals(await ids(fuse.history()), [
    "one/a/0",
    "one/a:for:tenant:1/1",
    "one/b/2",
    "two/c/0",
  ]);
  assertEquals(await ids(fuse.store("two").history()), ["two/c/0"]);
  assertEquals(await ids(fuse.for(T1).history()), ["one/a:for:tenant:1/1"]);
  const [event] = await Array.fromAsync(fuse.for(T1).history());
  assertEquals([event?.name, event?.context, event?.boundary], ["a", "tenant:1", null]);
});

Deno.test("history() gives at most as many as it was asked for", async () => {
  const keys = ["a", "b", "a:for:tenant:1", "c", "b:for:tenant:1"];
  const fuse = createFuse({ stores: { one: trail(keys), two: trail(keys) } });
  assertEquals((await ids(fuse.history({ limit: 3 }))).length, 3);
  // What lies outside of the view does not use up its share.
  assertEquals(await ids(fuse.for(T1).store("one").history({ limit: 2 })), [
    "one/a:for:tenant:1/2",
    "one/b:for:tenant:1/4",
  ]);
});

Deno.test("history() hands the query on, and a handle asks for its own circuit", async () => {
  const queries: Record<string, unknown>[] = [];
  const fuse = createFuse({ stores: { one: trail(["a", "b"], queries) } });
  const query: EventQuery = { event: "opened", from: new Date(1), to: new Date(9), cursor: "0" };
  assertEquals(await ids(fuse.make("b").history(query)), ["one/b/1"]);
  assertEquals(queries, [{ ...query, key: "b" }]);
});

/** A store whose trail is these rows, and whose cursors mean as much to any other one. */
function paged(keys: string[]): Store {
  const rows = keys.map((key, i): StoredEvent => ({
    ...{ id: String(i), key, event: "opened", at: new Date(i), metadata: null, cursor: `${i}:x` },
  }));
  return Object.assign(memory(), {
    async *history({ cursor }: EventQuery) {
      await Promise.resolve();
      yield* rows.slice(cursor === undefined ? 0 : parseInt(cursor) + 1);
    },
  });
}

Deno.test("history() misses nothing and gives nothing twice when it is paged over several stores", async () => {
  const stores = {
    one: paged(["a", "b", "a:for:tenant:1"]),
    "two: %": paged(["c", "d:for:tenant:1", "e", "f"]),
    three: paged([]),
    four: paged(["g"]),
  };
  const root = createFuse({ stores });
  for (const fuse of [root, root.for(T1), root.store("two: %"), root.for(T1).store("one")]) {
    const all = await ids(fuse.history());
    for (const limit of [1, 2, 3, 100]) {
      const seen: string[] = [];
      let page: CircuitEvent[];
      let cursor: string | undefined;
      do {
        page = await Array.fromAsync(fuse.history({ limit, cursor }));
        cursor = page.at(-1)?.cursor;
        seen.push(...page.map(({ store, key, id }) => `${store}/${key}/${id}`));
      } while (page.length > 0);
      assertEquals(seen, all);
    }
  }
});

Deno.test("history() of one store takes that store's own cursor and the Fuse's when either is given", async () => {
  const root = createFuse({ stores: { one: paged(["a", "a", "a"]), two: paged(["a", "a"]) } });
  const [, , , { cursor } = { cursor: "" }] = await Array.fromAsync(root.history());
  for (const view of [root.store("two"), root.store("two").make("a")]) {
    for (const one of ["0:x", cursor]) {
      const left = await Array.fromAsync(view.history({ cursor: one }));
      assertEquals(left.map(({ store, id }) => [store, id]), [["two", "1"]], one);
    }
  }
  // A single store needs no telling apart.
  const fuse = createFuse({ stores: { only: paged(["a", "a"]) } });
  assertEquals(await ids(fuse.history({ cursor: "0:x" })), ["only/a/1"]);
});

Deno.test("history() refuses a limit and a cursor when they are none", async () => {
  const root = createFuse({ stores: { one: paged(["a"]), two: paged(["b"]) } });
  const [{ cursor } = { cursor: "" }] = await Array.fromAsync(root.history());
  for (const view of [root, root.store("one"), root.make("a")]) {
    for (const limit of [-1, 1.5, NaN, Infinity, "3"]) {
      await assertRejects(
        () => ids(view.history({ limit: limit as number })),
        RangeError,
        '"limit" must be an integer of at least 0, received ',
      );
    }
    await assertRejects(
      () => ids(view.history({ cursor: 5 as never })),
      TypeError,
      '"cursor" must be the cursor of an event, received 5',
    );
  }
  assertEquals(await ids(root.history({ limit: 0 })), []);
  const refused: [{ history: typeof root.history }, string, string][] = [
    [root, "0:x", 'the cursor of an event of this Fuse\'s, received "0:x"'],
    [root, "fuse:three:0:x", 'the cursor of an event of "one", "two", received "fuse:three:0:x"'],
    [root.store("two"), cursor, `the cursor of an event of "two", received "fuse:one:0:x"`],
    [root.make("a", { store: "two" }), cursor, `the cursor of an event of "two"`],
  ];
  for (const [view, wrong, message] of refused) {
    await assertRejects(() => ids(view.history({ cursor: wrong })), TypeError, message);
  }
});

Deno.test("history() is a TypeError where a store keeps no trail", async () => {
  const fuse = createFuse({ stores: { one: trail([]), array: memory() } });
  await assertRejects(
    () => ids(fuse.history()),
    TypeError,
    `Cannot read history: store "array" keeps no trail`,
  );
});

Deno.test("createFuse({ maxCircuits }) keeps the policy of a circuit that is in use", async () => {
  // A handle at module scope is made once, and called for as long as the isolate lives.
  const fuse = createFuse({ maxCircuits: 2 });
  const payments = fuse.make("payments", { failureThreshold: 1 });
  for (let i = 0; i < 8; i++) {
    fuse.make(`tenant-${i}`);
    await payments.call(() => i);
  }
  await fuse.make("payments").tryCall(() => Promise.reject(new Error("down")));
  assertEquals(await payments.getState(), "OPEN");
});

Deno.test("flush() has stores deliver what they keep for another, once all is sent, and tells of troubles", async () => {
  const log: string[] = [];
  const inner = chaos(memory(), {});
  const records = inner.record.bind(inner);
  const error = new Error("the trail is away");
  const store: Store = Object.assign(inner, {
    async record(key: string, tally: Tally) {
      const answer = await records(key, tally);
      log.push("recorded");
      return { ...answer, troubles: [{ operation: "audit", error, retryAfterMs: 7 }] };
    },
    flush({ at }: { at: number }) {
      log.push(`flushed at ${at}`);
      return [{ operation: "audit", error: null, retryAfterMs: 0 }];
    },
  });
  const fuse = createFuse({ stores: { one: store, two: memory() }, clock: () => 5 });
  const told: unknown[] = [];
  fuse.on("store_error", (event) => told.push(event));
  fuse.on("store_recovered", (event) => told.push(event));
  await fuse.make("a").call(() => 1);
  await fuse.flush();
  assertEquals(log, ["recorded", "flushed at 5"]);
  assertEquals(told, [
    { type: "store_error", store: "one", operation: "audit", error, retryAfterMs: 7 },
    { type: "store_recovered", store: "one", operation: "audit" },
  ]);
  await fuse.store("two").flush();
  assertEquals(log.length, 2);
});
