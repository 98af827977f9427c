// Views and lists on a shared store: empty pages, the request that gets the work, and eviction.
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { createFuse, type Scope } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { Boom, fail, succeed } from "../../support/setups.ts";
import { chaos, memory, type OpeningStore } from "../../support/drivers.ts";

const tenant = (id: Scope["id"]): Scope => ({ type: "tenant", id });

Deno.test("Fuse.list() follows the pages of a store to their end, also empty ones", async () => {
  const inner = memory();
  const cursors: (string | null)[] = [];
  const paged: OpeningStore = new Proxy(chaos(inner, {}), {
    get(target, property) {
      const value = Reflect.get(target, property, target);
      if (property !== "list") return typeof value === "function" ? value.bind(target) : value;
      return async (request: Parameters<OpeningStore["list"]>[0]) => {
        cursors.push(request.cursor);
        const { records } = await inner.list({ ...request, cursor: null });
        const at = Number(request.cursor ?? 0);
        const page = at % 2 === 0 ? [] : records.slice((at - 1) / 2, (at + 1) / 2);
        return { records: page, cursor: at < 2 * records.length - 1 ? String(at + 1) : null };
      };
    },
  });
  const fuse = createFuse({ stores: { paged } });
  for (const name of ["a", "b", "c"]) await succeed(fuse.make(name));
  await fuse.flush();
  assertEquals((await Array.fromAsync(fuse.list())).map(({ name }) => name).toSorted(), [
    "a",
    "b",
    "c",
  ]);
  assertEquals(cursors, [null, "1", "2", "3", "4", "5"]);
});

Deno.test("with() passes background work to the given request, else as before", async () => {
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

Deno.test("flush() does not reject when the store is unreachable", async () => {
  const fuse = createFuse({ stores: { remote: chaos(memory(), { errorRate: 1 }) } });
  const told: string[] = [];
  fuse.on("store_error", ({ operation }) => void told.push(operation));
  const breaker = fuse.make("a");
  await fail(breaker);
  await fuse.flush();
  assertEquals(told.length, 1);
});

Deno.test("createFuse({ maxCircuits }) gives a circuit that was made again a second chance", () => {
  // A circuit that is remembered accepts no other policy.
  const fuse = createFuse({ maxCircuits: 3 });
  const remembered: string[] = [];
  fuse.on("config_mismatch", ({ name }) => void remembered.push(name));
  const make = (...names: string[]) => {
    for (const name of names) fuse.make(name, { failureThreshold: 7 });
  };
  // All are unused when "d" needs room: the first is evicted. "b" is made again, so that "c" is
  // evicted for "e".
  make("a", "b", "c", "d", "b", "e");
  for (const name of ["b", "d", "e", "c"]) fuse.make(name, { failureThreshold: 8 });
  assertEquals(remembered, ["b", "d", "e"]);
});

for (const [name, store] of [["memory", memory()], ["remote", chaos(memory(), {})]] as const) {
  Deno.test(`createFuse({ maxCircuits }) gives a circuit that was called a second chance (${name})`, async () => {
    const fuse = createFuse({ maxCircuits: 3, stores: { [name]: store } });
    const remembered: string[] = [];
    fuse.on("config_mismatch", ({ name }) => void remembered.push(name));
    const make = (name: string) => fuse.make(name, { failureThreshold: 7 });
    const [, b] = ["a", "b", "c"].map(make);
    make("d");
    await succeed(b!);
    // "a" was evicted for "d", and "b", the next, is in use: "c" is evicted.
    make("e");
    for (const name of ["b", "d", "e", "c"]) fuse.make(name, { failureThreshold: 8 });
    assertEquals(remembered, ["b", "d", "e"]);
  });
}

for (const [name, store] of [["memory", memory()], ["remote", chaos(memory(), {})]] as const) {
  Deno.test(`make() reports no mismatch with this isolate's records from before it had options (${name})`, async () => {
    const fuse = createFuse({ stores: { [name]: store } });
    const told: string[] = [];
    fuse.on("config_mismatch", ({ name }) => void told.push(name));
    await succeed(fuse.make("a"));
    await fuse.flush();
    const breaker = fuse.make("a", { failureThreshold: 7 });
    await breaker.getState();
    await succeed(breaker);
    await fuse.flush();
    assertEquals(told, []);
  });
}

Deno.test("Fuse.list() and Fuse.importState() refuse invalid options", async () => {
  const fuse = createFuse();
  await succeed(fuse.make("a"));
  for (const filter of [{ name: 5 }, { state: "open" }, { overridden: "yes" }, null]) {
    const [option = "options"] = Object.keys(filter ?? {});
    const error = await assertRejects(() => fuse.exportState(filter as never), Error);
    assertStringIncludes(error.message, `Cannot create filter: "${option}" must be `);
  }
  const none = { version: 1, circuits: [] };
  await assertRejects(() => fuse.importState(none, null as never), TypeError, `"options"`);
  await assertRejects(() => fuse.importState(none, { exists: 1 } as never), TypeError, "exists");
});
