// Operations on many circuits: lists, and resets.
import { assertEquals, assertRejects } from "@std/assert";
import { type CircuitFilter, type CircuitSnapshot, createFuse } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { down, EU, names, T1, T2 } from "./scopes.ts";
import type { ListPage, ListRequest } from "@fuse/edge/store";
import { chaos, memory, type OpeningStore } from "../../support/drivers.ts";

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

Deno.test("for(null) and boundary(null) cover the circuits without a context and without a boundary", async () => {
  const { fuse } = await populated();
  assertEquals(await names(fuse.for(null)), await names(fuse, { context: null }));
  assertEquals(await names(fuse.boundary(null)), await names(fuse, { boundary: null }));
});

Deno.test("list() shows this isolate's unsent outcomes", async () => {
  const { fuse } = await populated();
  await fuse.store("other").boundary(EU).make("closed").call(() => 1);
  const [snapshot] = await Array.fromAsync(fuse.store("other").list());
  assertEquals(snapshot!.metrics.totalSuccesses, 2);
});

Deno.test("list() returns snapshots as the handle does", async () => {
  const { fuse } = await populated();
  for await (const listed of fuse.store("array").list({ context: null })) {
    assertEquals(listed, await fuse.make(listed.name).snapshot());
  }
});

Deno.test("list() pages through a store that returns few circuits at a time", async () => {
  const cursors: (string | null)[] = [];
  const whole = memory();
  const paged: OpeningStore = Object.assign(chaos(whole, {}), {
    async list(request: ListRequest): Promise<ListPage> {
      cursors.push(request.cursor);
      const { records } = await whole.list({ ...request, cursor: null });
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

Deno.test("list(), exportState() and resetAll() refuse invalid filters", async () => {
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

Deno.test("resetAll() closes and clears the view's circuits, and returns their number", async () => {
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

Deno.test("resetAll() refuses invalid reasons, and resets nothing", async () => {
  const { fuse } = await populated();
  await assertRejects(() => fuse.resetAll({ actor: 5 as never }), TypeError, `"actor"`);
  assertEquals((await names(fuse, { state: "OPEN" })).length, 3);
});
