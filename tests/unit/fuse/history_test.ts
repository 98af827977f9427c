// history() of a Fuse, over one store and several.
import { assertEquals, assertRejects } from "@std/assert";
import { type CircuitEvent, createFuse, type EventQuery } from "@fuse/edge";
import { T1 } from "./scopes.ts";
import type { StoredEvent } from "@fuse/edge/store";
import { chaos, memory, type OpeningStore } from "../../support/drivers.ts";

/** A store with these rows as its trail, which notes the queries that reached it. */
function trail(keys: string[], queries: unknown[] = []): OpeningStore {
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

Deno.test("history() returns at most the requested number", async () => {
  const keys = ["a", "b", "a:for:tenant:1", "c", "b:for:tenant:1"];
  const fuse = createFuse({ stores: { one: trail(keys), two: trail(keys) } });
  assertEquals((await ids(fuse.history({ limit: 3 }))).length, 3);
  // Rows outside of the view do not use up its limit.
  assertEquals(await ids(fuse.for(T1).store("one").history({ limit: 2 })), [
    "one/a:for:tenant:1/2",
    "one/b:for:tenant:1/4",
  ]);
});

Deno.test("history() passes the query on, and a handle asks for its own circuit", async () => {
  const queries: Record<string, unknown>[] = [];
  const fuse = createFuse({ stores: { one: trail(["a", "b"], queries) } });
  const query: EventQuery = { event: "opened", from: new Date(1), to: new Date(9), cursor: "0" };
  assertEquals(await ids(fuse.make("b").history(query)), ["one/b/1"]);
  assertEquals(queries, [{ ...query, key: "b" }]);
});

/** A store with these rows as its trail, whose cursors are valid in any other store. */
function paged(keys: string[]): OpeningStore {
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

Deno.test("history() misses and repeats nothing when it is paged over several stores", async () => {
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

Deno.test("history() of one store accepts that store's own cursor and the Fuse's", async () => {
  const root = createFuse({ stores: { one: paged(["a", "a", "a"]), two: paged(["a", "a"]) } });
  const [, , , { cursor } = { cursor: "" }] = await Array.fromAsync(root.history());
  for (const view of [root.store("two"), root.store("two").make("a")]) {
    for (const one of ["0:x", cursor]) {
      const left = await Array.fromAsync(view.history({ cursor: one }));
      assertEquals(left.map(({ store, id }) => [store, id]), [["two", "1"]], one);
    }
  }
  // A single store's cursors need no name.
  const fuse = createFuse({ stores: { only: paged(["a", "a"]) } });
  assertEquals(await ids(fuse.history({ cursor: "0:x" })), ["only/a/1"]);
});

Deno.test("history() refuses an invalid limit and an invalid cursor", async () => {
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

Deno.test("history() throws a TypeError if a store keeps no trail", async () => {
  const fuse = createFuse({ stores: { one: trail([]), array: memory() } });
  await assertRejects(
    () => ids(fuse.history()),
    TypeError,
    `Cannot read history: store "array" keeps no trail`,
  );
});
