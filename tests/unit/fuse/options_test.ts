// createFuse() and make(): their options, and what they refuse.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { type CircuitOptions, createFuse, type FuseOptions, memory, type Store } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { down } from "./scopes.ts";

const STORE = memory();
const BAD_OPTIONS: [unknown, string][] = [
  [null, `"options"`],
  ["memory", `"options"`],
  [{ store: STORE }, `no option "store"`],
  [{ stores: null }, `"stores"`],
  [{ stores: {} }, `"stores" must be at least one store, received none`],
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
  [
    { defaults: { store: "redis" } },
    `"store" must be one of array, received "redis", in "defaults"`,
  ],
  [{ circuits: null }, `"circuits"`],
  [{ circuits: { a: { cooldownMs: -1 } } }, `"cooldownMs"`],
  [{ circuits: { a: null } }, `"circuits.a" must be an object, received null`],
  [{ circuits: { a: "strict" } }, `"circuits.a" must be an object`],
  [{ circuits: { a: { bogus: 1 } } }, `no option "bogus"`],
  [
    { circuits: { "a*": { store: "nowhere" } } },
    `"store" must be one of array, received "nowhere", in "circuits.a*"`,
  ],
  [{ circuits: { "*-payments": {} } }, `a prefix with "*" at its end alone`],
  [{ circuits: { "a*b": {} } }, `"circuits.a*b" must be a name, or a prefix`],
  [{ circuits: { "**": {} } }, `"circuits.**"`],
  [{ circuits: { a: { fallbackOn: "always" } } }, `"fallbackOn" must be one of`],
  // Each is valid, but not together.
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
  [{ fetch: "https://x" }, `"fetch" must be a function`],
  [{ instance: "" }, `"instance" must be a text of 1-100 characters on one line`],
  [{ instance: "x".repeat(101) }, `"instance"`],
  [{ instance: "a\nb" }, `"instance"`],
  [{ instance: 7 }, `"instance"`],
];
for (const [options, message] of BAD_OPTIONS) {
  Deno.test(`createFuse() refuses ${Deno.inspect(options, { depth: 3, strAbbreviateSize: 30 })}`, () => {
    const error = assertThrows(() => createFuse(options as FuseOptions), Error, message);
    assert(error instanceof RangeError || error instanceof TypeError);
    assert(error.message.startsWith("Cannot "), error.message);
  });
}

Deno.test("createFuse() treats undefined as not given", async () => {
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
    fetch: undefined,
    instance: undefined,
  };
  const breaker = createFuse(nothing).make("a");
  assertEquals(breaker.store, "array");
  assertEquals(await breaker.call(() => 1), 1);
});

Deno.test("createFuse() uses the first store as default, or the named one", () => {
  const stores = { one: memory(), two: memory() };
  assertEquals(createFuse({ stores }).make("a").store, "one");
  assertEquals(createFuse({ stores, default: "two" }).make("a").store, "two");
});

Deno.test("createFuse() copies the objects that it was given", async () => {
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
    // The refused options fixed no policy.
    let mismatches = 0;
    fuse.on("config_mismatch", () => mismatches++);
    const breaker = fuse.make("a", { failureThreshold: 2 });
    await breaker.tryCall(down);
    await breaker.tryCall(down);
    assertEquals([await breaker.isOpen(), mismatches], [true, 0]);
  });
}

Deno.test("make() refuses an invalid name", () => {
  for (const name of ["", "x".repeat(256), undefined, null, 5, {}, ["a"]]) {
    assertThrows(
      () => createFuse().make(name as string),
      RangeError,
      `Cannot create circuit breaker: "name" must be a text of 1-255 characters, received`,
    );
  }
});

Deno.test("make() reads inherited options", async () => {
  const breaker = createFuse().make("a", Object.create({ failureThreshold: 1 }));
  await breaker.tryCall(down);
  assertEquals(await breaker.isOpen(), true);
});

Deno.test("createFuse({ circuits }) matches by exact name, then by the longest prefix, in addition to the defaults", async () => {
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

Deno.test("circuits may select a store, which a handle's own option overrides", () => {
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

Deno.test("store() refuses an unknown store", () => {
  for (const name of ["nowhere", "", "toString", "__proto__", undefined]) {
    assertThrows(
      () => createFuse().store(name as string),
      RangeError,
      `"store" must be one of array`,
    );
  }
});
