// Views of one Fuse: what they share, what they list, and what this isolate keeps in mind.
import {
  assert,
  assertEquals,
  assertNotStrictEquals,
  assertRejects,
  assertThrows,
} from "@std/assert";
import {
  type CircuitFilter,
  type CircuitOptions,
  createFuse,
  type Fuse,
  memory,
  type Scope,
  type Store,
} from "@fuse/edge";
import { chaos, FakeClock } from "@fuse/edge/testing";
import { Boom, fail, succeed } from "./support/setups.ts";
import { counted } from "./support/units.ts";

const TRIP: CircuitOptions = { failureThreshold: 1, cooldownMs: 60_000 };
const tenant = (id: Scope["id"]): Scope => ({ type: "tenant", id });
const region = (id: Scope["id"]): Scope => ({ type: "region", id });

async function listed(fuse: Fuse, filter?: CircuitFilter): Promise<string[]> {
  const found = await Array.fromAsync(fuse.list(filter));
  return found.map(({ store, key }) => `${store}/${key}`).toSorted();
}

/** Circuits of two stores, in every scope and state. */
async function filled() {
  const clock = new FakeClock();
  const fuse = createFuse({
    clock: clock.now,
    stores: { one: memory(), two: memory() },
    defaults: TRIP,
  });
  await succeed(fuse.make("api"));
  await fail(fuse.make("api-open"));
  await fail(fuse.for(tenant(1)).make("api", { cooldownMs: 1_000 }));
  await succeed(fuse.for(tenant(1)).boundary(region("eu")).make("api"));
  await fuse.boundary(region("eu")).make("db").forceOpen();
  await succeed(fuse.store("two").make("api"));
  clock.advance(1_000);
  return fuse;
}

const FILTERS: readonly [CircuitFilter, string[]][] = [
  [{}, [
    "one/api",
    "one/api-open",
    "one/api:for:tenant:1",
    "one/api:for:tenant:1:in:region:eu",
    "one/db:in:region:eu",
    "two/api",
  ]],
  [{ name: "api" }, [
    "one/api",
    "one/api:for:tenant:1",
    "one/api:for:tenant:1:in:region:eu",
    "two/api",
  ]],
  [{ name: "api-*" }, ["one/api-open"]],
  [{ name: "nothing" }, []],
  [{ state: "OPEN" }, ["one/api-open"]],
  // One whose cooldown has passed, as a snapshot shows it.
  [{ state: "HALF_OPEN" }, ["one/api:for:tenant:1"]],
  [{ overridden: true }, ["one/db:in:region:eu"]],
  [{ overridden: false, name: "db" }, []],
  [{ context: tenant("1") }, ["one/api:for:tenant:1", "one/api:for:tenant:1:in:region:eu"]],
  [{ context: tenant(1), boundary: null }, ["one/api:for:tenant:1"]],
  [{ context: null, boundary: region("eu") }, ["one/db:in:region:eu"]],
  [{ context: null, boundary: null, state: "CLOSED" }, ["one/api", "two/api"]],
  [{ context: tenant(2) }, []],
  [
    {
      name: undefined,
      state: undefined,
      overridden: undefined,
      context: undefined,
      boundary: region("eu"),
    },
    ["one/api:for:tenant:1:in:region:eu", "one/db:in:region:eu"],
  ],
];

for (const [filter, keys] of FILTERS) {
  Deno.test(`Fuse.list() gives the circuits that match when asked for ${Deno.inspect(filter)}`, async () => {
    assertEquals(await listed(await filled(), filter), keys);
  });
}

Deno.test("Fuse.list() gives the circuits of its view only when it is narrowed", async () => {
  const fuse = await filled();
  assertEquals(await listed(fuse.store("two")), ["two/api"]);
  assertEquals(await listed(fuse.for(tenant(1)).boundary(region("eu"))), [
    "one/api:for:tenant:1:in:region:eu",
  ]);
  // `null`: of no context, and not of any.
  assertEquals(await listed(fuse.for(null).boundary(region("eu"))), ["one/db:in:region:eu"]);
  // A filter outside of the view finds nothing in it.
  assertEquals(await listed(fuse.for(tenant(1)), { context: tenant(2) }), []);
});

Deno.test("Fuse.list() lays over what this isolate has not told yet", async () => {
  const clock = new FakeClock();
  const fuse = createFuse({ clock: clock.now, stores: { remote: chaos(memory(), {}) } });
  await succeed(fuse.make("a"));
  await fuse.flush();
  await succeed(fuse.make("a"), 2);
  const [snapshot] = await Array.fromAsync(fuse.list());
  assertEquals(snapshot!.metrics.totalSuccesses, 3);
  await fuse.flush();
});

Deno.test("Fuse.list() follows the pages of a store to their end, empty ones too", async () => {
  const inner = memory();
  const cursors: (string | null)[] = [];
  const paged: Store = new Proxy(chaos(inner, {}), {
    get(target, property) {
      const value = Reflect.get(target, property, target);
      if (property !== "list") return typeof value === "function" ? value.bind(target) : value;
      return async (request: Parameters<Store["list"]>[0]) => {
        cursors.push(request.cursor);
        const { records } = await inner.list(request);
        const at = Number(request.cursor ?? 0);
        const page = at % 2 === 0 ? [] : records.slice((at - 1) / 2, (at + 1) / 2);
        return { records: page, cursor: at < 2 * records.length - 1 ? String(at + 1) : null };
      };
    },
  });
  const fuse = createFuse({ stores: { paged } });
  for (const name of ["a", "b", "c"]) await succeed(fuse.make(name));
  await fuse.flush();
  assertEquals(await listed(fuse), ["paged/a", "paged/b", "paged/c"]);
  assertEquals(cursors, [null, "1", "2", "3", "4", "5"]);
});

Deno.test("Fuse.list() refuses a filter that nobody reads, and a scope that is none", async () => {
  const fuse = createFuse();
  const bad: [unknown, string][] = [
    [{ contxt: null }, 'there is no option "contxt", only state, name, context'],
    [{ context: "tenant:1" }, '"context" must be null or { type, id }'],
    [{ boundary: {} }, '"boundary" must be null or { type, id }'],
    [null, '"options" must be an object, received null'],
  ];
  for (const [filter, says] of bad) {
    await assertRejects(() => Array.fromAsync(fuse.list(filter as never)), TypeError, says);
  }
});

Deno.test("store(), for(), boundary() and with() give new views and change none when they are called", () => {
  const fuse = createFuse({ stores: { one: memory(), two: memory() } });
  const base = fuse.for(tenant(1));
  const request = { waitUntil() {} };
  const views: [Fuse, string][] = [
    [base, "one/a:for:tenant:1"],
    [base.for(tenant(2)), "one/a:for:tenant:2"],
    [base.for(null), "one/a"],
    [base.boundary(region("eu")), "one/a:for:tenant:1:in:region:eu"],
    [base.boundary(region("eu")).boundary(null), "one/a:for:tenant:1"],
    [base.store("two"), "two/a:for:tenant:1"],
    [base.store("two").store("one"), "one/a:for:tenant:1"],
    [base.with(request), "one/a:for:tenant:1"],
    [base.with(request).for(null), "one/a"],
    [fuse, "one/a"],
    [base, "one/a:for:tenant:1"],
  ];
  for (const [view, expected] of views) {
    const { store, key } = view.make("a");
    assertEquals(`${store}/${key}`, expected);
  }
  for (const view of [base.for(null), base.boundary(null), base.store("one"), base.with(request)]) {
    assertNotStrictEquals(view, base);
  }
});

Deno.test("with() hands background work to the request when it is given one, else as before", async () => {
  const given: string[] = [];
  const request = (name: string) => ({ waitUntil: () => void given.push(name) });
  const clock = new FakeClock();
  const fuse = createFuse({
    clock: clock.now,
    stores: { remote: chaos(memory(), {}) },
    waitUntil: () => void given.push("all"),
  });
  const views = [
    fuse,
    fuse.with(null),
    fuse.with(undefined),
    fuse.with(request("first")),
    fuse.with(request("first")).with(request("second")),
    fuse.with(request("first")).with(null),
    fuse.with(request("first")).for(tenant(1)),
  ];
  for (const view of views) {
    const breaker = view.make("a", { failureThreshold: 99 });
    await breaker.getState();
    await breaker.tryCall(() => Promise.reject(new Boom()));
  }
  await fuse.flush();
  assertEquals(given, ["all", "all", "all", "first", "second", "first", "first"]);
});

Deno.test("flush() sends what its view gathered, and what the root gathered from the root", async () => {
  const stores = [counted(chaos(memory(), {})), counted(chaos(memory(), {}))] as const;
  const clock = new FakeClock();
  const fuse = createFuse({
    clock: clock.now,
    stores: { one: stores[0].store, two: stores[1].store },
  });
  const scoped = fuse.for(tenant(1));
  const gather = async () => {
    for (const view of [fuse, scoped, fuse.store("two")]) {
      const breaker = view.make("a");
      await breaker.getState();
      await succeed(breaker);
    }
    for (const { take } of stores) take();
  };
  const sent = () => stores.map(({ take }) => take().filter((it) => it === "record").length);
  await gather();
  await scoped.flush();
  assertEquals(sent(), [1, 0]);
  await fuse.store("two").flush();
  assertEquals(sent(), [0, 1]);
  await fuse.flush();
  assertEquals(sent(), [1, 0]);
  await fuse.flush();
  assertEquals(sent(), [0, 0]);
});

Deno.test("a Fuse flushes when it is disposed of, and works on", async () => {
  const inner = memory();
  const clock = new FakeClock();
  const fuse = createFuse({ clock: clock.now, stores: { remote: chaos(inner, {}) } });
  const total = async () => {
    const shape = { windowMs: 1_000, windowSize: 0 };
    return (await inner.read("a", { at: clock.now(), shape })).totals.successes;
  };
  {
    await using used = fuse;
    await succeed(used.make("a"), 3);
    assertEquals(await total(), 0);
  }
  assertEquals(await total(), 3);
  await succeed(fuse.make("a"));
  await fuse[Symbol.asyncDispose]();
  assertEquals(await total(), 4);
});

Deno.test("flush() rejects for nobody when the store is away", async () => {
  const fuse = createFuse({ stores: { remote: chaos(memory(), { errorRate: 1 }) } });
  const told: string[] = [];
  fuse.on("store_error", ({ operation }) => void told.push(operation));
  const breaker = fuse.make("a");
  await fail(breaker);
  await fuse.flush();
  assertEquals(told.length, 1);
});

Deno.test("createFuse({ maxCircuits }) gives what was made again a second chance when room is needed", () => {
  // A circuit that is remembered takes no other policy.
  const fuse = createFuse({ maxCircuits: 3 });
  const remembered: string[] = [];
  fuse.on("config_mismatch", ({ name }) => void remembered.push(name));
  const make = (...names: string[]) => {
    for (const name of names) fuse.make(name, { failureThreshold: 7 });
  };
  // All are as new when "d" needs room: the first goes. "b" is made again, so that "c" goes for "e".
  make("a", "b", "c", "d", "b", "e");
  for (const name of ["b", "d", "e", "c"]) fuse.make(name, { failureThreshold: 8 });
  assertEquals(remembered, ["b", "d", "e"]);
});

Deno.test("createFuse({ circuits }) goes by the longest prefix, whatever the order, on top of defaults", async () => {
  for (const reversed of [false, true]) {
    const entries = Object.entries({
      "*": { failureThreshold: 2 },
      "a*": { failureThreshold: 3 },
      "ab*": { cooldownMs: 5_000 },
      "ab": { failureThreshold: 4 },
      "a*b": { failureThreshold: 5 },
    });
    const fuse = createFuse({
      clock: new FakeClock().now,
      defaults: { failureThreshold: 1, cooldownMs: 9_000 },
      circuits: Object.fromEntries(reversed ? entries.toReversed() : entries),
    });
    const found: Record<string, [number, number]> = {};
    for (const name of ["z", "a", "ax", "abc", "ab", "a*b", "a*"]) {
      const breaker = fuse.make(name);
      let failures = 0;
      while (!await breaker.isOpen()) {
        await fail(breaker);
        failures++;
      }
      const { openedAt, openUntil } = await breaker.snapshot();
      found[name] = [failures, openUntil!.getTime() - openedAt!.getTime()];
    }
    assertEquals(found, {
      z: [2, 9_000],
      a: [3, 9_000],
      ax: [3, 9_000],
      // A prefix stands on the defaults, not on a shorter prefix.
      abc: [1, 5_000],
      ab: [4, 9_000],
      "a*b": [5, 9_000],
      "a*": [3, 9_000],
    });
  }
});

Deno.test("createFuse({ circuits }) puts a circuit into its store, unless the view or the handle says another", () => {
  const fuse = createFuse({
    stores: { one: memory(), two: memory(), three: memory() },
    defaults: { store: "one" },
    circuits: { "a*": { store: "two" } },
  });
  const stores = [
    fuse.make("x"),
    fuse.make("a"),
    fuse.store("three").make("a"),
    fuse.store("three").make("a", { store: "one" }),
  ].map(({ store }) => store);
  assertEquals(stores, ["one", "two", "three", "one"]);
});

Deno.test("createFuse() refuses an option that nobody reads when it is misspelt, wherever it stands", () => {
  const says = (option: string) => `there is no option "${option}", only `;
  const bad: [() => unknown, string][] = [
    [() => createFuse({ store: memory() } as never), "store"],
    [() => createFuse({ defaults: { fallBack: 1 } } as never), "fallBack"],
    [() => createFuse({ circuits: { a: { windowMS: 5 } } } as never), "windowMS"],
    [() => createFuse().make("a", { cooldown: 5 } as never), "cooldown"],
    [() => createFuse(Object.create({ inherited: 1 })), "inherited"],
  ];
  for (const [create, option] of bad) assertThrows(create, TypeError, says(option));
});

Deno.test("createFuse() reads its options once, and is not changed by what becomes of them", async () => {
  const defaults: { failureThreshold: number } = { failureThreshold: 1 };
  const strategies = { mine: () => true };
  const fuse = createFuse({ defaults, strategies });
  defaults.failureThreshold = 99;
  strategies.mine = () => false;
  const [plain, custom] = [fuse.make("a"), fuse.make("b", { strategy: "mine" })];
  for (const breaker of [plain, custom]) await fail(breaker);
  assertEquals([await plain.getState(), await custom.getState()], ["OPEN", "OPEN"]);
});

Deno.test("createFuse() asks no store for anything when circuits are made, scoped and listened to", () => {
  const { store, take } = counted(chaos(memory(), {}));
  const fuse = createFuse({ stores: { store } });
  fuse.on("*", () => {});
  for (const view of [fuse, fuse.for(tenant(1)), fuse.boundary(region(1)), fuse.with(null)]) {
    view.make("a", TRIP).peek();
    assert(typeof view.fetch === "function");
  }
  assertEquals(take(), []);
});
