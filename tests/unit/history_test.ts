import { assertEquals, assertRejects } from "@std/assert";
import type { EventQuery } from "@fuse/edge";
import { historyOf } from "../../src/history.ts";
import type { StoredEvent } from "@fuse/edge/store";
import { memory, type OpeningStore } from "../support/drivers.ts";

const ROW: StoredEvent = {
  id: "7",
  key: "pay%3Av2:for:tenant:1",
  event: "opened",
  at: new Date(5),
  metadata: { reason: "trial_failed" },
  cursor: "c7",
};

/** A store with a trail of two rows, which notes how far it was read. */
function audited(rows: readonly StoredEvent[]) {
  const read: string[] = [];
  const queries: EventQuery[] = [];
  const store: OpeningStore = Object.assign(memory(), {
    async *history(query: EventQuery) {
      queries.push(query);
      for (const row of rows) {
        await Promise.resolve();
        read.push(row.id);
        yield row;
      }
    },
  });
  return { store, read, queries };
}

Deno.test("historyOf() puts the circuit's identity in place of its key", async () => {
  const { store } = audited([ROW]);
  const { key, ...row } = ROW;
  assertEquals(await Array.fromAsync(historyOf(store, "sql", {})), [{
    ...row,
    key,
    store: "sql",
    name: "pay:v2",
    context: "tenant:1",
    boundary: null,
  }]);
});

Deno.test("historyOf() treats a foreign key as a name", async () => {
  const { store } = audited([{ ...ROW, key: "some one's" }]);
  const [event] = await Array.fromAsync(historyOf(store, "sql", {}));
  assertEquals([event?.name, event?.context], ["some one's", null]);
});

Deno.test("historyOf() passes the query on unchanged", async () => {
  const { store, queries } = audited([]);
  const query = { event: "reset", limit: 3, cursor: "c", key: "a" } as const;
  await Array.fromAsync(historyOf(store, "sql", query));
  assertEquals(queries, [query]);
});

Deno.test("historyOf() reads no further than requested", async () => {
  const { store, read } = audited([ROW, { ...ROW, id: "8" }]);
  for await (const { id } of historyOf(store, "sql", {})) {
    assertEquals(id, "7");
    break;
  }
  assertEquals(read, ["7"]);
});

Deno.test("historyOf() throws a TypeError that names the store if it keeps no trail", async () => {
  await assertRejects(
    async () => await Array.fromAsync(historyOf(memory(), "array", {})),
    TypeError,
    `Cannot read history: store "array" keeps no trail`,
  );
});
