// The trail, as a Fuse reads it from a store that keeps one.
import { assertEquals, assertRejects } from "@std/assert";
import {
  type AuditEventName,
  type CircuitEvent,
  createFuse,
  type EventQuery,
  memory,
  type Store,
  type StoredEvent,
} from "@fuse/edge";
import { chaos, FakeClock } from "@fuse/edge/testing";
import { fail, succeed } from "./support/setups.ts";

// Deno leaves them off.
Deno.test.sanitizer({ ops: true, resources: true });

/** What a store was asked for. */
type Query = EventQuery & { readonly key?: string };

/** A memory store that keeps a trail of what was changed, and of what it was asked. */
function audited(clock: FakeClock): { store: Store; queries: Query[] } {
  const inner = memory({ clock: clock.now });
  const trail: StoredEvent[] = [];
  const queries: Query[] = [];
  const note = (key: string, event: AuditEventName, metadata: StoredEvent["metadata"]) => {
    const id = String(trail.length + 1);
    trail.push({ id, key, event, at: new Date(clock.now()), metadata, cursor: id });
  };
  // Not inherited: without `peek` it is taken for a remote store, and called as one.
  const store: Store = {
    name: "audited",
    traits: { ...inner.traits, audited: true },
    read: (key, request) => inner.read(key, request),
    record: (key, tally) => inner.record(key, tally),
    async acquire(key, request) {
      const answer = await inner.acquire(key, request);
      if (answer.moved) note(key, "half_opened", null);
      return answer;
    },
    async transition(key, request) {
      const answer = await inner.transition(key, request);
      if (answer.won) note(key, request.event, { reason: request.reason });
      return answer;
    },
    async override(key, request) {
      const answer = await inner.override(key, request);
      if (answer.won) note(key, request.kind ?? "released", { actor: request.actor });
      return answer;
    },
    async restore(key, request) {
      const answer = await inner.restore(key, request);
      if (answer.won) note(key, "imported", null);
      return answer;
    },
    list: (request) => inner.list(request),
    remove: (key) => inner.remove(key),
    async *history(query) {
      queries.push(query);
      const { key, event, from, to, limit = Infinity, cursor } = query;
      let left = limit;
      for (const row of trail.toReversed()) {
        if (key !== undefined && row.key !== key) continue;
        if (event !== undefined && row.event !== event) continue;
        if ((from && row.at < from) || (to && row.at >= to)) continue;
        if (cursor !== undefined && Number(row.cursor) >= Number(cursor)) continue;
        if (left-- <= 0) return;
        yield row;
      }
    },
  };
  return { store, queries };
}

/** Rows as text: what happened, to which circuit. */
async function told(rows: AsyncIterable<CircuitEvent>): Promise<string[]> {
  return (await Array.fromAsync(rows)).map(({ event, key }) => `${event} ${key}`);
}

for (
  const [kind, store] of [["memory", memory()], ["chaos(memory)", chaos(memory(), {})]] as const
) {
  Deno.test(`CircuitBreaker.history() throws and names the store when it keeps no trail (${kind})`, async () => {
    const fuse = createFuse({ stores: { here: memory(), "the store": store } });
    const breaker = fuse.store("the store").make("a");
    const message = `Cannot read history: store "the store" keeps no trail`;
    await assertRejects(() => breaker.history().next(), TypeError, message);
    await assertRejects(() => fuse.store("the store").history().next(), TypeError, message);
  });
}

Deno.test("Fuse.history() throws and names the store when one of several keeps no trail", async () => {
  const { store } = audited(new FakeClock());
  const fuse = createFuse({ stores: { kept: store, unkept: memory() } });
  await assertRejects(() => Array.fromAsync(fuse.history()), TypeError, `"unkept" keeps no trail`);
  assertEquals(await Array.fromAsync(fuse.store("kept").history()), []);
});

Deno.test("CircuitBreaker.history() tells of its circuit alone, latest first, under the store's name in the Fuse", async () => {
  const clock = new FakeClock();
  const fuse = createFuse({ clock: clock.now, stores: { database: audited(clock).store } });
  const scoped = fuse.for({ type: "tenant", id: "a b" }).boundary({ type: "region", id: 2 });
  const [plain, narrow] = [fuse.make("a"), scoped.make("a")];
  await narrow.disable({ actor: "ada" });
  clock.advance(1_000);
  await fail(plain, 5);
  await fuse.flush();
  clock.advance(60_000);
  await succeed(plain, 2);
  await fuse.flush();
  await narrow.release();
  assertEquals(await told(plain.history()), ["closed a", "half_opened a", "opened a"]);
  assertEquals(await Array.fromAsync(narrow.history({ event: "disabled" })), [{
    id: "1",
    event: "disabled",
    at: new Date("2025-01-01T00:00:00.000Z"),
    metadata: { actor: "ada" },
    cursor: "1",
    key: "a:for:tenant:a%20b:in:region:2",
    store: "database",
    name: "a",
    context: "tenant:a%20b",
    boundary: "region:2",
  }]);
  assertEquals(await told(narrow.history()), [
    "released a:for:tenant:a%20b:in:region:2",
    "disabled a:for:tenant:a%20b:in:region:2",
  ]);
});

Deno.test("Fuse.history() tells of all circuits of all stores, and a view of its own", async () => {
  const clock = new FakeClock();
  const fuse = createFuse({
    clock: clock.now,
    stores: { first: audited(clock).store, second: audited(clock).store },
  });
  const tenant = { type: "tenant", id: 1 };
  const region = { type: "region", id: 1 };
  await fuse.make("a").disable();
  await fuse.for(tenant).make("a").forceOpen();
  await fuse.for({ type: "tenant", id: 11 }).make("a").forceOpen();
  await fuse.boundary(region).make("b").forceClose();
  await fuse.store("second").for(tenant).make("a").metricsOnly();
  const rows = await Array.fromAsync(fuse.history());
  assertEquals(
    rows.map(({ store, event, key }) => `${store} ${event} ${key}`),
    [
      "first forced_closed b:in:region:1",
      "first forced_open a:for:tenant:11",
      "first forced_open a:for:tenant:1",
      "first disabled a",
      "second metrics_only a:for:tenant:1",
    ],
  );
  assertEquals(await told(fuse.for(tenant).history()), [
    "forced_open a:for:tenant:1",
    "metrics_only a:for:tenant:1",
  ]);
  assertEquals(await told(fuse.boundary(region).history()), ["forced_closed b:in:region:1"]);
  assertEquals(await told(fuse.for(tenant).boundary(region).history()), []);
  assertEquals(await told(fuse.store("second").history()), ["metrics_only a:for:tenant:1"]);
  assertEquals(await told(fuse.store("second").for({ type: "tenant", id: 2 }).history()), []);
});

Deno.test("CircuitBreaker.history() hands the query on to the store, with the key", async () => {
  const clock = new FakeClock();
  const { store, queries } = audited(clock);
  const fuse = createFuse({ clock: clock.now, stores: { main: store } });
  const breaker = fuse.make("a");
  for (let i = 0; i < 4; i++) {
    await breaker.forceOpen();
    clock.advance(1_000);
  }
  const query: EventQuery = {
    event: "forced_open",
    from: new Date(clock.now() - 3_000),
    to: new Date(clock.now()),
    limit: 2,
    cursor: "4",
  };
  const rows = await Array.fromAsync(breaker.history(query));
  assertEquals(rows.map(({ id }) => id), ["3", "2"]);
  assertEquals(queries, [{ ...query, key: "a" }]);
  // Page by page, by the cursor of the last one seen.
  const [first] = await Array.fromAsync(fuse.history({ limit: 1 }));
  const [second] = await Array.fromAsync(fuse.history({ limit: 1, cursor: first!.cursor }));
  assertEquals([first?.id, second?.id], ["4", "3"]);
});

Deno.test("CircuitBreaker.history() stops reading when its reader does", async () => {
  const clock = new FakeClock();
  const { store } = audited(clock);
  let ended = false;
  const history = store.history!.bind(store);
  store.history = async function* (query) {
    try {
      yield* history(query);
    } finally {
      ended = true;
    }
  };
  const breaker = createFuse({ clock: clock.now, stores: { main: store } }).make("a");
  for (let i = 0; i < 3; i++) await breaker.disable();
  for await (const { event } of breaker.history()) {
    assertEquals(event, "disabled");
    break;
  }
  assertEquals(ended, true);
});

Deno.test("CircuitBreaker.history() passes on what the store throws", async () => {
  const clock = new FakeClock();
  const down = chaos(audited(clock).store, { down: () => true });
  const breaker = createFuse({ clock: clock.now, stores: { main: down } }).make("a");
  await assertRejects(() => breaker.history().next(), Error, "the store is down");
});
