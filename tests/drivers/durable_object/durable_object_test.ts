import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { createFuse, type FuseEvent } from "@fuse/edge";
import { type DurableObjectOptions, FuseObject } from "@fuse/edge/durable-object";
import { durableObject, type NamespaceLike } from "@fuse/edge/durable-object";
import { tiered } from "@fuse/edge/libsql";
import { migrations } from "@fuse/edge/migrations";
import { FakeClock } from "@fuse/edge/testing";
import { shardOf } from "../../../drivers/durable_object/shards.ts";
import { startForFile } from "../../support/cloudflare/databases.ts";
import { type DatabaseStore, memory } from "../../support/drivers.ts";
import { changing, eventsOf, laying, request, tally } from "../libsql/store.ts";

const start = await startForFile();
const { cloudflare } = await start();

/** Durable Objects that no other test uses. */
function ownObjects(): { namespace: NamespaceLike; names: Set<string> } {
  const test = crypto.randomUUID();
  const names = new Set<string>();
  const namespace: NamespaceLike = {
    idFromName(name) {
      names.add(`${test} ${name}`);
      return `${test} ${name}`;
    },
    get: (id) => cloudflare.objects.get(id),
  };
  return { namespace, names };
}

function storeOf(namespace: NamespaceLike, options: DurableObjectOptions = {}): DatabaseStore {
  return durableObject(namespace, options) as DatabaseStore;
}

const KEYS = Array.from({ length: 12 }, (_, i) => `circuit-${i}`);

Deno.test("durableObject() creates its tables at the first request, once", async () => {
  const { namespace, names } = ownObjects();
  const store = storeOf(namespace);
  assertEquals(names.size, 0);
  await store.record("a", tally({ failures: 1 }));
  const [name] = [...names];
  const stub = cloudflare.objects.get(name as never) as { fetch: typeof fetch };
  const body = JSON.stringify([{ sql: "select hash from __drizzle_migrations", args: [] }]);
  const ask = async () =>
    await (await stub.fetch(new Request("https://a/", { method: "POST", body }))).json();
  const expected = { results: [migrations.map(({ hash }) => ({ hash }))] };
  assertEquals(await ask(), expected);
  await cloudflare.evict(name!);
  assertEquals(await ask(), expected);
});

Deno.test("durableObject() counts 300 concurrent callers exactly", async () => {
  const { namespace } = ownObjects();
  const stores = Array.from({ length: 10 }, () => storeOf(namespace));
  await Promise.all(Array.from({ length: 300 }, (_, i) =>
    stores[i % stores.length]!.record(
      "a",
      tally({ successes: i % 3 === 0 ? 1 : 0, failures: i % 3 === 0 ? 0 : 1 }),
    )));
  const { totals } = await stores[0]!.read("a", request());
  assertEquals([totals.successes, totals.failures], [100, 200]);
});

Deno.test("durableObject() loses nothing when its object dies", async () => {
  const { namespace, names } = ownObjects();
  const store = storeOf(namespace);
  await store.record("a", tally({ failures: 3 }));
  await store.transition("a", changing());
  const before = await store.read("a", request());
  await cloudflare.evict([...names][0]!);
  const after = await store.read("a", request());
  assertEquals({ ...after, now: 0 }, { ...before, now: 0 });
  assertEquals(after.state, "OPEN");
  assertEquals((await store.verifyTrail()).ok, true);
});

Deno.test("durableObject() loses nothing when workerd restarts", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const shape = request();
    const open = async (body: (store: DatabaseStore) => Promise<void>) => {
      const { workerd, cloudflare } = await start(folder);
      await using _ = workerd;
      await body(storeOf(cloudflare.objects, { shards: 2 }));
    };
    await open(async (store) => {
      for (const key of KEYS) await store.override(key, { ...laying(), kind: "forced_open" });
    });
    await open(async (store) => {
      for (const key of KEYS) {
        assertEquals((await store.read(key, shape)).override?.kind, "forced_open");
      }
      const { ok, checked } = await store.verifyTrail();
      assertEquals([ok, checked], [true, KEYS.length]);
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("durableObject() spreads circuits over its objects, and starts afresh with another number of shards", async () => {
  const { namespace, names } = ownObjects();
  const store = storeOf(namespace, { shards: 4 });
  for (const key of KEYS) await store.record(key, tally({ failures: 1 }));
  assertEquals(names.size, 4);
  const { totals } = await storeOf(namespace, { shards: 3 }).read(KEYS[0]!, request());
  assertEquals(totals.failures, 0);
});

Deno.test("shardOf() assigns each shard an equal share", () => {
  for (const shards of [2, 3, 4, 8, 16]) {
    const counts = Array.from({ length: shards }, () => 0);
    for (let i = 0; i < 1_000 * shards; i++) counts[shardOf(`payments:tenant:${i}`, shards)]!++;
    assert(counts.every((n) => n > 800 && n < 1_200), `${shards}: ${counts}`);
  }
});

Deno.test("durableObject() lists the circuits of all objects, page by page", async () => {
  const { namespace } = ownObjects();
  const store = storeOf(namespace, { shards: 4 });
  for (const key of KEYS) await store.record(key, tally({ failures: 1 }));
  const keys: string[] = [];
  for (let cursor: string | null = null, pages = 0;; pages++) {
    assert(pages < 50);
    const page = await store.list({
      cursor,
      limit: 2,
      at: Date.now(),
      shape: () => request().shape,
    });
    keys.push(...page.records.map(({ key }) => key));
    cursor = page.cursor;
    if (cursor === null) break;
  }
  assertEquals(keys.toSorted(), KEYS.toSorted());
});

Deno.test("durableObject() reads the history of all objects, latest first, and continues at a cursor", async () => {
  const { namespace } = ownObjects();
  const clock = new FakeClock();
  const store = storeOf(namespace, { shards: 4, clock: clock.now });
  for (const key of KEYS) {
    clock.advance(1_000);
    await store.override(key, { ...laying(), at: clock.now(), kind: "disabled" });
  }
  const all = await eventsOf(store);
  assertEquals(all.map(({ name }) => name), KEYS.toReversed());
  assertEquals(new Set(all.map(({ id }) => id)).size, all.length);
  const paged = [];
  let cursor: string | undefined;
  while (paged.length < KEYS.length) {
    const page = await Array.fromAsync(store.history({ limit: 5, cursor }));
    paged.push(...page);
    cursor = page.at(-1)!.cursor;
  }
  assertEquals(paged.map(({ id }) => id), all.map(({ id }) => id));
  const [one] = await eventsOf(store, KEYS[3]);
  assertEquals(one?.name, KEYS[3]);
  const from = all[4]!.at;
  assertEquals((await Array.fromAsync(store.history({ from }))).length, 5);
  await assertRejects(async () => await store.history({ cursor: "1.2" }).next(), RangeError);
});

Deno.test("durableObject() prunes all objects, up to a limit", async () => {
  const { namespace } = ownObjects();
  const clock = new FakeClock();
  const store = storeOf(namespace, { shards: 4, clock: clock.now });
  // The newest row of each circuit stays.
  for (const kind of ["disabled", null] as const) {
    for (const key of KEYS) await store.override(key, { ...laying(), at: clock.now(), kind });
  }
  clock.advance(10_000);
  assertEquals(await store.prune({ olderThanMs: 5_000, limit: 5 }), { deleted: 5, more: true });
  let deleted = 5;
  for (let calls = 0;; calls++) {
    assert(calls < 10);
    const pruned = await store.prune({ olderThanMs: 5_000, limit: 5 });
    deleted += pruned.deleted;
    if (!pruned.more) break;
  }
  assertEquals(deleted, KEYS.length);
  assertEquals((await store.verifyTrail()).ok, true);
  await assertRejects(() => store.prune({ olderThanMs: 1, limit: 0 }), RangeError);
});

Deno.test("durableObject() verifies the trails of all objects, and finds an altered row in one of them", async () => {
  const { namespace, names } = ownObjects();
  const store = storeOf(namespace, { shards: 4, trailKey: "key" });
  for (const key of KEYS) await store.override(key, { ...laying(), kind: "disabled" });
  const { ok, checked, heads } = await store.verifyTrail();
  assertEquals([ok, checked, Object.keys(heads).length], [true, KEYS.length, KEYS.length]);
  const head = heads[KEYS[5]!]!;
  assertEquals((await store.verifyTrail({ head })).ok, true);
  assertEquals((await store.verifyTrail({ circuit: KEYS[5]!, head })).ok, true);
  const lost = await store.verifyTrail({ head: "0".repeat(64) });
  assertEquals([lost.ok, lost.brokenAt?.problem], [false, "removed"]);

  const sql = `update circuit_breaker_events set metadata = '{}' where key = '${KEYS[7]}'`;
  for (const name of names) {
    const stub = cloudflare.objects.get(name as never) as { fetch: typeof fetch };
    const body = JSON.stringify([{ sql, args: [] }]);
    await (await stub.fetch(new Request("https://a/", { method: "POST", body }))).json();
  }
  const broken = await store.verifyTrail();
  assertEquals([broken.ok, broken.brokenAt?.circuit], [false, KEYS[7]]);
  assertEquals((await store.verifyTrail({ head })).brokenAt?.circuit, KEYS[7]);
});

Deno.test("durableObject() keeps the trail of tiered()", async () => {
  const { namespace } = ownObjects();
  const audit = storeOf(namespace, { shards: 3 });
  await using fuse = createFuse({ stores: { state: tiered({ state: memory(), audit }) } });
  for (const key of KEYS) await fuse.make(key).forceOpen();
  await fuse.flush();
  assertEquals((await eventsOf(audit)).map(({ name }) => name).sort(), KEYS.toSorted());
  assertEquals((await audit.verifyTrail()).ok, true);
});

Deno.test("durableObject() shares a circuit: one Fuse trips the circuit, and the other rejects", async () => {
  const { namespace } = ownObjects();
  const policy = { failureThreshold: 2, consistency: "strong" } as const;
  const fuses = [1, 2].map(() =>
    createFuse({ stores: { object: durableObject(namespace) }, storeTimeoutMs: 30_000 })
  );
  const events: FuseEvent[] = [];
  for (const fuse of fuses) fuse.on("*", (event) => void events.push(event));
  const [one, other] = fuses.map((fuse) => fuse.make("origin", policy));
  for (let i = 0; i < 2; i++) await one!.tryCall(() => Promise.reject(new Error("down")));
  const called = await other!.tryCall(() => Promise.resolve("called"));
  assertEquals(called.ok, false);
  assertEquals(events.filter(({ type }) => type === "store_error"), []);
  for (const fuse of fuses) await fuse[Symbol.asyncDispose]();
});

Deno.test("durableObject() reports an unreachable object, and repeats no part of the request", async () => {
  const namespace: NamespaceLike = {
    idFromName: (name) => name,
    get: () => ({ fetch: () => Promise.reject(new Error("Network connection lost: secret")) }),
  };
  const error = await assertRejects(() =>
    (durableObject(namespace) as DatabaseStore).read("a", request())
  ) as Error;
  assertEquals(error.message, "Cannot use the database: it did not answer");
});

Deno.test("FuseObject answers a failed batch with the error, and applies no part of the batch", async () => {
  const { namespace, names } = ownObjects();
  const store = storeOf(namespace);
  await store.record("a", tally({ failures: 1 }));
  const stub = cloudflare.objects.get([...names][0] as never) as { fetch: typeof fetch };
  const body = JSON.stringify([
    { sql: "delete from circuit_breakers", args: [] },
    { sql: "select * from missing", args: [] },
  ]);
  const answer = await stub.fetch(new Request("https://a/", { method: "POST", body }));
  assertEquals(await answer.json(), { error: "no such table: missing: SQLITE_ERROR" });
  assertEquals((await store.read("a", request())).totals.failures, 1);
});

Deno.test("durableObject() refuses invalid options", () => {
  const { namespace } = ownObjects();
  assertThrows(
    () => durableObject({} as NamespaceLike),
    TypeError,
    '"namespace" must be a binding',
  );
  assertThrows(() => durableObject(namespace, { shards: 0 }), RangeError, '"shards"');
  assertThrows(
    () => durableObject(namespace, { schema: {} } as DurableObjectOptions),
    TypeError,
    "schema",
  );
  assertEquals(typeof FuseObject, "function");
});
