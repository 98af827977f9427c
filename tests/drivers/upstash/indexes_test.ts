// The indexes of a prefix in Redis: the costs of a list, and the loss of an index.
import { assert, assertEquals, assertRejects } from "@std/assert";
import type { ListRequest } from "@fuse/edge/store";
import { startRedis } from "../../support/redis_server.ts";
import { startFace } from "../../support/upstash_face.ts";
import type { OpeningStore } from "../../support/drivers.ts";
import { upstash } from "../../support/drivers.ts";
import { listed, open, read, record, redis, requestsOf, SHAPE } from "./store.ts";

const WHY = { reason: null, actor: null };

async function trip(store: OpeningStore, key: string): Promise<void> {
  await store.transition(key, {
    ...{ id: crypto.randomUUID(), at: Date.now(), shape: SHAPE, to: "OPEN", event: "opened" },
    ...{ cooldownMs: 60_000, reason: "r", actor: null, expected: null },
  });
}

async function keysOf(store: OpeningStore, more: Partial<ListRequest> = {}): Promise<string[]> {
  const keys: string[] = [];
  for (let cursor: string | null = null;;) {
    const request = { cursor, limit: 100, at: Date.now(), shape: () => SHAPE, ...more };
    const page = await store.list(request);
    keys.push(...page.records.map(({ key }) => key));
    cursor = page.cursor;
    if (cursor === null) return keys.toSorted();
  }
}

async function members(prefix: string, index: string): Promise<unknown[]> {
  return await redis.command("ZRANGE", `${prefix}:${index}`, "0", "-1") as unknown[];
}

/** A store with complete indexes. */
async function whole(...keys: string[]) {
  const { store, prefix } = open();
  for (const key of keys) await record(store, key, { successes: 1 });
  await listed(store);
  return { store, prefix };
}

Deno.test("list() takes at most 8 requests for 10 circuits among 20000 foreign keys, the first time and later", async () => {
  await using redis = await startRedis();
  await using face = await startFace({ redis });
  const store = upstash({ url: face.url, token: face.token });
  const keys = Array.from({ length: 10 }, (_, i) => `c${i}`);
  for (const key of keys) await record(store, key, { successes: 1 });
  await trip(store, "c7");
  const fill = "for i=1,20000 do redis.call('SET','session:'..i,'x') end";
  await redis.command("EVAL", fill, "0");
  const costs: number[] = [];
  for (const more of [{}, {}, { open: true }]) {
    face.reset();
    assertEquals(await keysOf(store, more), more.open ? ["c7"] : keys);
    costs.push(face.requests);
  }
  assert(costs[0]! <= 8, String(costs));
  assertEquals(costs.slice(1), [2, 2]);
});

Deno.test("list() pages through an index by the last circuit of a page, without a scan", async () => {
  const keys = Array.from({ length: 25 }, (_, i) => `k${String(i).padStart(2, "0")}`);
  const { store } = await whole(...keys);
  const asked = await requestsOf(async () => {
    assertEquals(await keysOf(store, { limit: 10 }), keys);
  });
  assertEquals(asked.flatMap(({ commands }) => commands).some(([name]) => name === "scan"), false);
  assertEquals(asked.length, 6);
});

Deno.test("list() rebuilds evicted indexes, together or alone, and finds new circuits", async () => {
  const { store, prefix } = await whole("a", "b");
  await trip(store, "b");
  for (const lost of [["circuits", "open"], ["open"], ["circuits"]]) {
    for (const index of lost) await redis.command("DEL", `${prefix}:${index}`);
    assertEquals(await keysOf(store, { open: true }), ["b"], String(lost));
    assertEquals(await keysOf(store), ["a", "b"], String(lost));
    assertEquals(await members(prefix, "circuits"), ["", "a", "b"]);
    assertEquals(await members(prefix, "open"), ["", "b"]);
  }
  await record(store, "c", { successes: 1 });
  assertEquals(await keysOf(store), ["a", "b", "c"]);
});

Deno.test("list() continues after the same circuit when the index is evicted between two pages", async () => {
  const { store, prefix } = await whole("a", "b", "c", "d");
  const request = { limit: 2, at: Date.now(), shape: () => SHAPE };
  const first = await store.list({ ...request, cursor: null });
  await redis.command("DEL", `${prefix}:circuits`);
  const rest: string[] = [];
  for (let { cursor } = first; cursor !== null;) {
    const page = await store.list({ ...request, cursor });
    rest.push(...page.records.map(({ key }) => key));
    cursor = page.cursor;
  }
  assertEquals([first.records.map(({ key }) => key), rest], [["a", "b"], ["c", "d"]]);
});

Deno.test("list() does not trust an index that was evicted while it was rebuilt", async () => {
  const { store, prefix } = open();
  await record(store, "a", { successes: 1 });
  const request = { limit: 10, at: Date.now(), shape: () => SHAPE };
  const begun = await store.list({ ...request, cursor: null });
  const looked = await store.list({ ...request, cursor: begun.cursor });
  await redis.command("DEL", `${prefix}:circuits`);
  const refused = await store.list({ ...request, cursor: looked.cursor });
  assertEquals(refused.records, []);
  assert(refused.cursor !== null);
  assertEquals(await keysOf(store), ["a"]);
});

Deno.test("list() keeps an index complete when a foreign key looks like a circuit without a name", async () => {
  const { store, prefix } = open();
  await record(store, "a", { successes: 1 });
  await redis.command("HSET", `${prefix}::state`, "theirs", "1");
  const request = { limit: 10, at: Date.now(), shape: () => SHAPE };
  const begun = await store.list({ ...request, cursor: null });
  assertEquals(await keysOf(store), ["a"]);
  await store.list({ ...request, cursor: begun.cursor });
  assertEquals(await members(prefix, "circuits"), ["", "a"]);
});

Deno.test("list() reports an index that is lost as soon as it is built", async () => {
  const { store, prefix } = await whole("a");
  let cursor: string | null = null;
  const list = async () => {
    for (let page = 0; page < 20; page++) {
      await redis.command("DEL", `${prefix}:circuits`);
      const request = { limit: 10, at: Date.now(), shape: () => SHAPE };
      ({ cursor } = await store.list({ ...request, cursor }));
    }
  };
  await assertRejects(list, Error, "its index of circuits is lost as soon as it is built");
});

Deno.test("list() drops entries of circuits that are gone, and of open ones that closed", async () => {
  const { store, prefix } = await whole("a", "b", "c");
  await trip(store, "b");
  await store.override("c", {
    ...{ id: crypto.randomUUID(), at: Date.now(), shape: SHAPE, ...WHY },
    ...{ kind: "disabled", until: Date.now() + 5 },
  });
  assertEquals(await members(prefix, "open"), ["", "b", "c"]);
  for (const part of ["state", "metrics"]) await redis.command("DEL", `${prefix}:a:${part}`);
  for (let i = 0; i < 500 && (await read(store, "c")).override !== null; i++);
  assertEquals(await keysOf(store), ["b", "c"]);
  await keysOf(store, { open: true });
  assertEquals(await members(prefix, "circuits"), ["", "b", "c"]);
  assertEquals(await members(prefix, "open"), ["", "b"]);
  await store.transition("b", {
    ...{ id: crypto.randomUUID(), at: Date.now(), shape: SHAPE, to: "CLOSED", event: "reset" },
    ...{ cooldownMs: 0, reason: "reset", actor: null, expected: null },
  });
  assertEquals(await members(prefix, "open"), [""]);
  await store.remove("b");
  assertEquals(await members(prefix, "circuits"), ["", "c"]);
});

Deno.test("record() declares the keys of the indexes only when it writes them", async () => {
  const { store, prefix } = open();
  const keysIn = async (work: () => Promise<unknown>) =>
    (await requestsOf(work)).map(({ commands: [command] }) => Number(command?.[2]));
  const success = () => record(store, "a", { successes: 1 });
  assertEquals(await keysIn(() => read(store, "a")), [4]);
  assertEquals(await keysIn(success), [6]);
  assertEquals(await keysIn(success), [4]);
  const acquire = { id: "x", at: Date.now(), shape: SHAPE, token: "t", max: 1, leaseMs: 1_000 };
  assertEquals(await keysIn(async () => await store.acquire("a", acquire)), [4]);
  assertEquals(await keysIn(() => trip(store, "a")), [6]);
  // After a long time the circuit is filed again.
  await redis.command("HSET", `${prefix}:a:state`, "indexed", String(Date.now() - 4 * 3_600_000));
  await redis.command("DEL", `${prefix}:circuits`);
  assertEquals(await keysIn(success), [4, 6]);
  assertEquals(await members(prefix, "circuits"), ["a"]);
});

Deno.test("indexes live as long as their circuits", async () => {
  const { store, prefix } = await whole("a");
  const ttl = async (key: string) => await redis.command("PTTL", `${prefix}:${key}`) as number;
  await trip(store, "a");
  for (const index of ["circuits", "open"]) {
    assert(await ttl(index) >= await ttl("a:state") - 1_000, index);
  }
});

Deno.test("record() continues when an index has another type, and list() reports the index", async () => {
  const { store, prefix } = open();
  await redis.command("SET", `${prefix}:circuits`, "not ours");
  await record(store, "a", { successes: 1 });
  assertEquals((await read(store, "a")).totals.successes, 1);
  const error = await keysOf(store).catch(String);
  assert(String(error).includes("WRONGTYPE"), String(error));
  assertEquals(await redis.command("PTTL", `${prefix}:circuits`), -1);
});
