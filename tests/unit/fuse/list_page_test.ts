// Lists by pages, and lists over several stores.
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  type CircuitPageOptions,
  createFuse,
  type Fuse,
  isStoreUnavailableError,
} from "@fuse/edge";
import { libsql } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { chaos, FakeClock } from "@fuse/edge/testing";
import { createClient } from "@libsql/client";
import { memory } from "../../support/drivers.ts";
import { down } from "./scopes.ts";

/** Creates two stores; of ten circuits each, two are open. */
async function populated() {
  const clock = new FakeClock();
  let gone = false;
  const stores = { a: chaos(memory(), { down: () => gone }), b: memory() };
  const fuse = createFuse({ stores, clock: clock.now, defaults: { failureThreshold: 1 } });
  for (const store of ["a", "b"]) {
    for (let i = 0; i < 10; i++) {
      const breaker = fuse.store(store).make(`c${i}`);
      await breaker.tryCall(i % 5 === 4 ? down : () => 1);
    }
  }
  await fuse.flush();
  clock.advance(10);
  return { fuse, clock, fail: () => gone = true };
}

async function pagesOf(fuse: Fuse, options: CircuitPageOptions = {}) {
  const pages: string[][] = [];
  let missing: readonly string[] = [];
  for (let cursor: string | null = null;;) {
    const page = await fuse.listPage({ ...options, cursor });
    pages.push(page.circuits.map(({ store, name }) => `${store}/${name}`));
    ({ missing, cursor } = page);
    if (cursor === null) return { pages, missing };
  }
}

const OPEN = ["a/c4", "a/c9", "b/c4", "b/c9"];
const EACH = [0, 1, 2, 3, 5, 6, 7, 8];

Deno.test("listPage() returns full pages, each circuit once, circuits that are not plainly CLOSED first", async () => {
  const { fuse } = await populated();
  const all = [...OPEN, ...EACH.map((i) => `a/c${i}`), ...EACH.map((i) => `b/c${i}`)];
  for (const limit of [1, 2, 3, 7, 20, 100, 1_000]) {
    const { pages, missing } = await pagesOf(fuse, { limit });
    assertEquals([pages.flat(), missing], [all, []]);
    assert(pages.slice(0, -2).every(({ length }) => length === limit), String(limit));
  }
});

Deno.test("listPage() filters, with full pages", async () => {
  const { fuse } = await populated();
  assertEquals((await pagesOf(fuse, { state: "OPEN", limit: 3 })).pages.flat(), OPEN);
  assertEquals((await pagesOf(fuse, { name: "c7", limit: 1 })).pages.flat(), ["a/c7", "b/c7"]);
  assertEquals((await pagesOf(fuse.store("b"), { name: "c9" })).pages.flat(), ["b/c9"]);
  await fuse.store("b").make("c1").disable();
  assertEquals((await pagesOf(fuse, { overridden: true })).pages.flat(), ["b/c1"]);
});

Deno.test("listPage() misses no circuit that opens or closes between two pages", async () => {
  const { fuse, clock } = await populated();
  const view = fuse.store("b");
  const first = await view.listPage({ limit: 2 });
  clock.advance(1);
  await view.make("c7").tryCall(down);
  await view.make("c4").reset();
  const rest = await view.listPage({ cursor: first.cursor });
  const names = [...first.circuits, ...rest.circuits].map(({ name }) => name);
  assertEquals([...new Set(names)].toSorted(), Array.from({ length: 10 }, (_, i) => `c${i}`));
});

Deno.test("listPage() names a store that is down, and list() throws after the circuits of the others", async () => {
  const { fuse, fail } = await populated();
  fail();
  const { pages, missing } = await pagesOf(fuse, { limit: 4 });
  assertEquals(missing, ["a"]);
  assertEquals(pages.flat().length, 10);
  const names: string[] = [];
  const error = await assertRejects(async () => {
    for await (const { store } of fuse.list()) names.push(store);
  });
  assert(isStoreUnavailableError(error) && error.store === "a");
  assertEquals(names, Array(10).fill("b"));
});

Deno.test("listPage() refuses invalid limits, cursors and filters", async () => {
  const { fuse } = await populated();
  const refused = (options: unknown, message: string) =>
    assertRejects(() => fuse.listPage(options as CircuitPageOptions), Error, message);
  for (const limit of [0, -1, 1_001, 1.5, "5"]) await refused({ limit }, '"limit"');
  const { cursor } = await fuse.store("a").listPage({ limit: 1 });
  for (const bad of ["", "{}", "null", "x", cursor]) await refused({ cursor: bad }, '"cursor"');
  await refused({ name: 5 }, '"name"');
  await refused({ pages: 5 }, '"pages"');
});

/** Runs `body` with 260 circuits, of which those of invalid records are left out. */
async function withSpoilt(
  isValid: (i: number) => boolean,
  body: (fuse: Fuse, lists: () => number) => Promise<void>,
): Promise<void> {
  const client = createClient({ url: ":memory:" });
  await migrate(client);
  let lists = 0;
  const database = chaos(libsql({ client }), {
    fail: (operation) => void (operation === "list" && lists++),
  });
  const fuse = createFuse({ stores: { database } });
  fuse.on("store_error", () => {});
  for (let i = 0; i < 260; i++) {
    const breaker = fuse.make(`c${i}`);
    await (i % 3 === 0 ? breaker.call(() => 1) : breaker.forceOpen());
  }
  await fuse.flush();
  const sql = "update circuit_breakers set total_successes = 'oops' where key = ?";
  for (let i = 0; i < 260; i++) if (!isValid(i)) await client.execute({ sql, args: [`c${i}`] });
  await body(fuse, () => lists);
  client.close();
}

Deno.test("listPage() sends few requests over many invalid records, whatever its limit", () =>
  withSpoilt((i) => i === 0 || i === 259, async (fuse, lists) => {
    const { circuits } = await fuse.listPage({ limit: 2 });
    assertEquals(circuits.map(({ name }) => name), ["c259", "c0"]);
    assert(lists() < 10, String(lists()));
  }));

Deno.test("listPage() returns each circuit once among invalid records, also when the limit changes", () =>
  withSpoilt((i) => (i <= 20 || i >= 150 || i % 7 === 0) && i % 11 > 0, async (fuse) => {
    const names: string[] = [];
    let cursor: string | null = null;
    for (let n = 0; n === 0 || cursor !== null; n++) {
      const page = await fuse.listPage({ cursor, limit: [100, 1, 30, 3][n % 4] });
      names.push(...page.circuits.map(({ name }) => name));
      cursor = page.cursor;
    }
    assertEquals(names.length, new Set(names).size);
    assertEquals(names.length, 137);
  }));
