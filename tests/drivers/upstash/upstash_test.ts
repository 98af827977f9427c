import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { type CircuitRecord, createFuse, type Store } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { type RedisLike, upstash, type UpstashOptions } from "@fuse/edge/upstash";
import { Redis } from "@upstash/redis";
import { Redis as CloudflareRedis } from "@upstash/redis/cloudflare";
import { Redis as FastlyRedis } from "@upstash/redis/fastly";
import { SCRIPT, SCRIPT_SHA1 } from "../../../drivers/upstash/script.ts";
import type { Tally, UntoldRow } from "../../../src/contract.ts";
import { inOrder } from "../../../src/records.ts";
import { generate, shorten, TARGET } from "../../tools/generate/lua.ts";
import { sharedRedis, startRedis } from "../../support/redis_server.ts";
import { type FaceRequest, startFace } from "../../support/upstash_face.ts";

const redis = await sharedRedis();
const face = await startFace({ redis });

const PARTS = ["state", "metrics", "failures", "successes"];
const SHAPE = { windowMs: 120_000, windowSize: 0 };
const HOUR_MS = 3_600_000;
let made = 0;

/** A store with a prefix that no other test has. */
function open(options: Partial<UpstashOptions> = {}) {
  const prefix = `test-${made++}`;
  const store = upstash({ url: face.url, token: face.token, prefix, ...options } as UpstashOptions);
  return { store, prefix: options.prefix ?? prefix };
}

function record(store: Store, key: string, parts: Partial<Tally> = {}) {
  return Promise.resolve(store.record(key, {
    ...{ id: crypto.randomUUID(), at: Date.now(), shape: SHAPE, epoch: "", generation: 0 },
    ...{ successes: 0, failures: 0, rejected: 0, slow: 0, ageMs: 0, lease: null, policyHash: "p" },
    ...parts,
  }));
}

function read(store: Store, key: string, at = Date.now()) {
  return Promise.resolve(store.read(key, { at, shape: SHAPE }));
}

async function keys(pattern = "*"): Promise<string[]> {
  return (await redis.command("KEYS", pattern) as string[]).sort();
}

/** All records of a store. */
async function listed(store: Store): Promise<{ records: CircuitRecord[] }> {
  const records: CircuitRecord[] = [];
  for (let cursor: string | null = null;;) {
    const page = await store.list({ cursor, limit: 100, at: Date.now(), shape: () => SHAPE });
    records.push(...page.records);
    cursor = page.cursor;
    if (cursor === null) return { records };
  }
}

/** How many commands Redis ran meanwhile. */
async function commandsOf(work: () => Promise<unknown>): Promise<number> {
  const before = await redis.commandCalls();
  await work();
  return await redis.commandCalls() - before;
}

/** The requests that came meanwhile. */
async function requestsOf(work: () => Promise<unknown>): Promise<readonly FaceRequest[]> {
  face.reset();
  await work();
  return [...face.log];
}

Deno.test("SCRIPT_SHA1 is the hash of SCRIPT, which is what `deno task lua` makes", async () => {
  const digest = await crypto.subtle.digest("SHA-1", new TextEncoder().encode(SCRIPT));
  assertEquals(
    Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join(""),
    SCRIPT_SHA1,
  );
  assertEquals(await Deno.readTextFile(TARGET), await generate());
});

Deno.test("shorten() drops comments, indentation and empty lines, and what does not fit", () => {
  assertEquals(shorten("-- why\nlocal a = 1 -- one\n\n  return a\n"), "local a = 1\nreturn a");
  assertThrows(() => shorten("return '`'"), Error, "template literal");
});

Deno.test("upstash() refuses options, naming the option, what came and what is allowed", () => {
  const at = { url: "https://eu1.upstash.io", token: "secret-token" };
  const refused: [unknown, string][] = [
    [{ ...at, prefix: "" }, '"prefix" must be a text of 1-200 characters, received ""'],
    [{ ...at, prefix: 7 }, '"prefix" must be a text of 1-200 characters, received 7'],
    [{ ...at, ttlMs: 0 }, '"ttlMs" must be a positive integer, received 0'],
    [{ ...at, ttlMs: NaN }, '"ttlMs" must be a positive integer, received NaN'],
    [{ ...at, clock: 5 }, '"clock" must be a function, received 5'],
    [{ ...at, ttl: 5 }, 'there is no option "ttl", only redis, url'],
    [{ token: "t" }, '"url" must be an http or https address without credentials'],
    [{ url: "ftp://x", token: "t" }, '"url" must be an http or https address'],
    [{ url: "https://x" }, '"token" must be a text without spaces, received undefined'],
    [{ url: "https://x", token: "" }, '"token" must be a text without spaces'],
    [{ redis: {} }, '"redis" must be a client of @upstash/redis, or a function that gives one'],
    [{ redis: null }, '"redis" must be a client'],
    [{ ...at, redis: () => {} }, '"redis" stands in place of "url" and "token"'],
    [undefined, '"options" must be an object, received undefined'],
  ];
  for (const [options, message] of refused) {
    assertThrows(() => upstash(options as UpstashOptions), Error, message);
  }
});

Deno.test("upstash() repeats no address with credentials and no token", () => {
  for (
    const options of [
      { url: "https://user:hunter2@eu1.upstash.io", token: "t" },
      { url: "https://eu1.upstash.io", token: "hunter2 " },
      { url: "hunter2", token: "t" },
      // The client itself refuses these, and repeats them.
      { url: "https://$hunter2", token: "t" },
      { url: "https://?hunter2", token: "t" },
      { url: "https:///hunter2", token: "t" },
    ]
  ) {
    const error = assertThrows(() => upstash(options), TypeError, "Cannot create upstash store");
    assert(!Deno.inspect(error).includes("hunter2"), String(error));
  }
});

Deno.test("upstash() refuses in its own words a host that the client does not take", () => {
  for (const url of ["https://b", "http://b/", "https://é", "https://[", "http://."]) {
    const { message } = assertThrows(() => upstash({ url, token: "t" }), TypeError);
    assertEquals(
      message,
      'Cannot create upstash store: "url" must be an http or https address without credentials, ' +
        "of a host of at least 2 characters, received another text",
    );
  }
});

Deno.test("upstash() makes no request before the first operation", async () => {
  const asked = await requestsOf(async () => {
    const fuse = createFuse({ stores: { cache: open().store }, storeTimeoutMs: 30_000 });
    fuse.make("external-api");
    await fuse.flush();
  });
  assertEquals(asked, []);
});

Deno.test("upstash() keeps a circuit in the seed's four keys, under the default prefix", async () => {
  const clock = new FakeClock();
  const store = upstash({ url: face.url, token: face.token, clock: clock.now });
  await record(store, "external-api", { successes: 1 });
  clock.advance(12_000);
  await record(store, "external-api", { failures: 1 });
  clock.advance(12_000);
  await record(store, "external-api", { successes: 1 });
  assertEquals(await keys("circuit_breaker:*"), [
    "circuit_breaker:external-api:failures",
    "circuit_breaker:external-api:metrics",
    "circuit_breaker:external-api:state",
    "circuit_breaker:external-api:successes",
  ]);
  for (const key of await keys("circuit_breaker:*")) {
    assertEquals(await redis.command("TYPE", key), "hash");
    assert(await redis.command("PTTL", key) as number > 29 * 24 * HOUR_MS, key);
  }
  assertEquals(await store.remove("external-api"), true);
  assertEquals(await keys("circuit_breaker:*"), []);
});

Deno.test("upstash() gives scoped and hostile names keys of their own", async () => {
  const { store, prefix } = open();
  const fuse = createFuse({ stores: { cache: store }, storeTimeoutMs: 30_000 });
  const tenant = { type: "tenant", id: "a:b*{}" };
  await fuse.make("pay:ments").call(() => 1);
  await fuse.for(tenant).make("pay").call(() => 1);
  await fuse.boundary(tenant).make("pay").call(() => 1);
  await fuse.flush();
  assertEquals(await keys(`${prefix}:*:state`), [
    `${prefix}:pay%3Aments:state`,
    `${prefix}:pay:for:tenant:a%3Ab%2A%7B%7D:state`,
    `${prefix}:pay:in:tenant:a%3Ab%2A%7B%7D:state`,
  ]);
});

Deno.test("record() takes one request and five commands in a segment that has begun", async () => {
  const { store } = open();
  await record(store, "a", { successes: 1 });
  // The server's clock may just pass into the next segment: of three, two fall into one.
  const counts = [];
  for (let i = 0; i < 3; i++) {
    let requests: readonly FaceRequest[] = [];
    counts.push(
      await commandsOf(async () => {
        requests = await requestsOf(() => record(store, "a", { successes: 3, failures: 1 }));
      }),
    );
    assertEquals(requests.map(({ route }) => route), ["command"]);
  }
  assertEquals(Math.min(...counts), 5);
});

Deno.test("read() and acquire() of a closed circuit take one request and four commands, and write nothing", async () => {
  const { store, prefix } = open();
  const { snapshot } = await record(store, "a", { failures: 1 });
  const dump = () =>
    Promise.all(["state", "metrics"].map((p) => redis.command("HGETALL", `${prefix}:a:${p}`)));
  const before = await dump();
  const request = { id: "x", at: Date.now(), shape: SHAPE };
  const trial = { token: "t", max: 1, leaseMs: 1_000, maxCooldownMs: 1_000 };
  for (
    const work of [
      () => read(store, "a"),
      () => Promise.resolve(store.acquire("a", { ...request, ...trial })),
    ]
  ) {
    assertEquals((await requestsOf(work)).length, 1);
    assertEquals(await commandsOf(work), 4);
  }
  assertEquals(await dump(), before);
  assertEquals((await read(store, "a")).epoch, snapshot.epoch);
});

Deno.test("record() sends the script once to a server that does not know it", async () => {
  const { store } = open();
  await redis.command("SCRIPT", "FLUSH");
  const [first, second, third] = await requestsOf(async () => {
    await record(store, "a", { successes: 1 });
    await record(store, "a", { successes: 1 });
  });
  assertEquals(first?.commands[0]?.[0], "evalsha");
  assertEquals(second?.commands[0]?.slice(0, 2), ["eval", SCRIPT]);
  assertEquals(third?.commands[0]?.slice(0, 2), ["evalsha", SCRIPT_SHA1]);
  assertEquals((await read(store, "a")).totals.successes, 2);
});

Deno.test("upstash() goes by the server's clock, whatever its callers' clocks show", async () => {
  const { store } = open();
  const at = Date.now() - 5 * HOUR_MS;
  const { snapshot } = await record(store, "a", { at, failures: 1 });
  assert(Math.abs(snapshot.now - Date.now()) < HOUR_MS, `${snapshot.now}`);
  assertEquals(snapshot.lastFailureAt, snapshot.now);
});

Deno.test("upstash() goes by the caller's clock where the server refuses TIME", async () => {
  await using own = await startRedis();
  await using ownFace = await startFace({ redis: own });
  await own.command("ACL", "SETUSER", "default", "-time");
  const { store } = open({ url: ownFace.url, token: ownFace.token });
  const at = Date.now() - 5 * HOUR_MS;
  const { snapshot } = await record(store, "a", { at, failures: 1 });
  assertEquals([snapshot.now, snapshot.lastFailureAt], [at, at]);
});

Deno.test("upstash() remembers the ids of a minute, and lets older ones go", async () => {
  const clock = new FakeClock();
  const { store, prefix } = open({ clock: clock.now });
  for (let minute = 0; minute < 6; minute++) {
    const ids = Array.from({ length: 200 }, (_, i) => `${minute}-${i}`);
    await Promise.all(ids.map((id) => record(store, "a", { id, successes: 1 })));
    await Promise.all(ids.map((id) => record(store, "a", { id, successes: 1 })));
    clock.advance(60_000);
  }
  assertEquals((await read(store, "a")).totals.successes, 1_200);
  const held = await redis.command("HKEYS", `${prefix}:a:metrics`) as string[];
  const ids = held.filter((field) => field.startsWith("id:"));
  assert(ids.length >= 200 && ids.length < 600, `${ids.length} ids`);
});

Deno.test("read() goes by a circuit although somebody has spoilt a row in its outbox", async () => {
  const { store, prefix } = open();
  await record(store, "a", { failures: 1 });
  await redis.command("HSET", `${prefix}:a:state`, "row:7 x", "0 opened CLOSED OPEN 1 - - 1 {");
  const request = { at: Date.now(), shape: SHAPE, outbox: "hand" } as const;
  const { state, untold } = await store.read("a", request);
  assertEquals([state, untold!.length, untold![0]!.metadata["reason"]], ["CLOSED", 1, null]);
});

Deno.test("the outbox drops rows of the older life first when it is full", async () => {
  const { store, prefix } = open();
  const request = { at: Date.now(), shape: SHAPE, outbox: "keep" } as const;
  const override = (i: number) =>
    store.override("a", {
      ...{ ...request, id: `request-${i}`, kind: "forced_open" },
      ...{ until: null, reason: null, actor: null },
    });
  await override(0);
  // A removal had generations start again, while the life before was in the hundreds.
  for (const generation of [100, 101]) {
    const field = `row:${generation} dead`;
    const value = `0 forced_open CLOSED CLOSED ${generation} - - ${"0 ".repeat(11)}{}`;
    await redis.command("HSET", `${prefix}:a:state`, field, value);
  }
  const waiting = async () => {
    const { untold } = await store.read("a", { ...request, outbox: "hand" });
    return untold!.map(({ generation, metadata }) => [generation, metadata["missed"] ?? 0]);
  };
  assertEquals(await waiting(), [[100, 0], [101, 0], [2, 0]]);
  for (let i = 1; i < 64; i++) await override(i);
  const rows = await waiting();
  assertEquals([rows.length, ...rows.slice(0, 2), rows.at(-1)], [64, [2, 2], [3, 0], [65, 0]]);
});

Deno.test("an answer holds what waits in the outbox only where it is asked for", async () => {
  const { store } = open();
  const request = { id: "x", at: Date.now(), shape: SHAPE, outbox: "keep" } as const;
  const forced = await store.override("a", {
    ...request,
    ...{ kind: "forced_open", until: null, reason: "an outage", actor: "ada" },
  });
  assertEquals("untold" in forced.snapshot, false);
  const [asked] = await requestsOf(() => read(store, "a"));
  assertEquals(asked?.commands[0]?.slice(-2), ["", ""]);
  const answer = await redis.command(...asked!.commands[0]!.map(String)) as unknown[];
  assertEquals(answer.filter((field) => String(field).startsWith("row:")), []);
  const { untold } = await store.read("a", { ...request, outbox: "hand" });
  assertEquals(untold?.map(({ event, metadata }) => [event, metadata["actor"]]), [
    ["forced_open", "ada"],
  ]);
});

Deno.test("the outbox names an imported record's row by the life and the generation that it begins", async () => {
  const [one, other] = [open(), open()];
  const request = { at: Date.now(), shape: SHAPE, reason: "test", actor: null } as const;
  for (let i = 0; i < 5; i++) {
    const event = { to: "CLOSED", event: "reset", cooldownMs: 0, expected: null } as const;
    await one.store.transition("a", { ...request, id: `reset-${i}`, ...event });
  }
  await record(other.store, "a", { failures: 1 });
  const { records } = await listed(one.store);
  const imported = { ...request, id: "import", record: records[0]!, existing: "replace" } as const;
  const { snapshot } = await other.store.restore("a", { ...imported, outbox: "keep" });
  const { untold } = await other.store.read("a", { ...request, outbox: "hand" });
  assertEquals(
    untold!.map(({ event, generation, metadata }) => [event, generation, metadata["to"]]),
    [
      ["imported", snapshot.generation, "CLOSED"],
    ],
  );
  assertEquals(untold![0]!.epoch, snapshot.epoch);
  assert(snapshot.generation > 5);
});

Deno.test("the outbox tells which override was laid, and which was released", async () => {
  const { store } = open();
  const request = { at: Date.now(), shape: SHAPE, outbox: "keep" } as const;
  for (const kind of ["forced_open", "disabled", null] as const) {
    await store.override("a", {
      ...{ ...request, id: `request-${kind}`, kind, until: null, reason: null, actor: null },
    });
  }
  const { untold } = await store.read("a", { ...request, outbox: "hand" });
  assertEquals(untold!.map(({ event, metadata }) => [event, metadata["kind"], metadata["until"]]), [
    ["forced_open", "forced_open", null],
    ["disabled", "disabled", null],
    ["released", "disabled", null],
  ]);
});

Deno.test("an answer holds the trials that are out, and not those that have ended", async () => {
  const { store } = open();
  const request = (id: string) => ({ id, at: Date.now(), shape: SHAPE });
  await store.transition("a", {
    ...{ ...request("trip"), to: "OPEN", event: "opened", cooldownMs: 0, reason: "test" },
    ...{ actor: null, expected: null },
  });
  const trial = { max: 2, leaseMs: HOUR_MS, maxCooldownMs: HOUR_MS };
  for (const token of ["ended", "out"]) {
    await store.acquire("a", { ...request(token), ...trial, token });
  }
  const { epoch, generation } = await read(store, "a");
  await record(store, "a", { epoch, generation, lease: "ended" });
  const [asked] = await requestsOf(() => read(store, "a"));
  const answer = await redis.command(...asked!.commands[0]!.map(String)) as unknown[];
  assertEquals(answer.filter((field) => String(field).startsWith("lease:")), ["lease:out"]);
});

Deno.test("the outbox lets rows go in the order in which they came about, life by life", async () => {
  const { store, prefix } = open();
  const request = { at: Date.now(), shape: SHAPE, outbox: "keep" } as const;
  const override = (i: number) =>
    store.override("a", {
      ...{ ...request, id: `request-${i}`, kind: "forced_open" },
      ...{ until: null, reason: null, actor: null },
    });
  await override(0);
  await redis.command("HDEL", `${prefix}:a:state`, `row:2 ${(await read(store, "a")).epoch}`);
  // Lives that began in the same moment, with the same generation or both, and clocks that went back.
  let left: readonly UntoldRow[] = Array.from({ length: 64 }, (_, i) => {
    const [pair, nth] = [Math.floor(i % 8 / 2), Math.floor(i / 8)];
    return {
      epoch: `life-${i % 8}`,
      generation: 10 + 7 * nth - pair % 3,
      event: "forced_open",
      at: 100 + pair * 37 % 4 + nth * 29 % 40,
      metadata: {},
    };
  });
  for (const { epoch, generation, at } of left) {
    const value = `0 forced_open CLOSED CLOSED ${at} - - ${"0 ".repeat(11)}{}`;
    await redis.command("HSET", `${prefix}:a:state`, `row:${generation} ${epoch}`, value);
  }
  const kept = async () =>
    (await redis.command("HKEYS", `${prefix}:a:state`) as string[])
      .filter((field) => field.includes(" life-"));
  const named = ({ epoch, generation }: UntoldRow) => `row:${generation} ${epoch}`;
  for (let i = 1; i <= 64; i++) {
    await override(i);
    // Of those that are left, the first: each life begins with what is left of it.
    left = inOrder(left).slice(1);
    assertEquals((await kept()).toSorted(), left.map(named).toSorted());
  }
});

Deno.test("upstash() keeps an open circuit open when its metrics are evicted", async () => {
  const { store, prefix } = open();
  const fuse = createFuse({ stores: { cache: store }, storeTimeoutMs: 30_000 });
  const breaker = fuse.make("a", { failureThreshold: 1, consistency: "strong" });
  await breaker.tryCall(() => Promise.reject(new Error("down")));
  await redis.command("DEL", `${prefix}:a:metrics`);
  assertEquals(await breaker.getState(), "OPEN");
  assertEquals((await breaker.tryCall(() => 1)).ok, false);
  await fuse.flush();
  const { totals, epoch } = await read(store, "a");
  assertEquals([totals.failures, totals.rejected], [0, 1]);
  assertEquals(await redis.command("HGET", `${prefix}:a:metrics`, "epoch"), epoch);
  assert(await redis.command("PTTL", `${prefix}:a:metrics`) as number > 0);
});

Deno.test("upstash() begins another life when the state is evicted, and drops what it had counted", async () => {
  const { store, prefix } = open();
  const { snapshot: before } = await record(store, "a", { failures: 1 });
  await redis.command("DEL", `${prefix}:a:state`);
  assertEquals((await read(store, "a")).generation, 0);
  const { epoch, generation } = before;
  const late = await record(store, "a", { epoch, generation, failures: 1 });
  assertEquals(late.current, false);
  assert(late.snapshot.epoch !== before.epoch);
  for (const s of [late.snapshot, await read(store, "a")]) {
    assertEquals([s.totals.failures, s.consecutiveFailures, s.lastFailureAt], [1, 0, null]);
  }
});

Deno.test("upstash() takes evicted or foreign segments as absent", async () => {
  const clock = new FakeClock();
  const { store, prefix } = open({ clock: clock.now });
  for (let i = 0; i < 3; i++) {
    await record(store, "a", { successes: 1, failures: 1 });
    clock.advance(12_000);
  }
  const window = async () => (await record(store, "a", { rejected: 1 })).snapshot.window;
  assertEquals(await window(), { successes: 3, failures: 3, slow: 0 });
  await redis.command("DEL", `${prefix}:a:failures`);
  await redis.command("HSET", `${prefix}:a:successes`, "of", "another:1");
  // The sum that stands in the metrics is gone by until the next segment: of five, three are left.
  await record(store, "a", { successes: 1, failures: 1 });
  clock.advance(12_000);
  const { snapshot } = await record(store, "a", { successes: 1, failures: 1 });
  assertEquals(snapshot.window, { successes: 3, failures: 3, slow: 0 });
  for (const part of ["failures", "successes"]) {
    assert(await redis.command("PTTL", `${prefix}:a:${part}`) as number > 0, part);
  }
});

Deno.test("flush() sends what several circuits have pending as one pipeline", async () => {
  const { store } = open();
  const fuse = createFuse({ stores: { cache: store }, storeTimeoutMs: 30_000 });
  const names = ["a", "b", "c", "d", "e"];
  for (const name of names) await fuse.make(name).call(() => 1);
  // The first call of each made it known.
  for (const name of names) await fuse.make(name).call(() => 1);
  await fuse.flush();
  for (const name of names) await fuse.make(name).call(() => 1);
  const asked = await requestsOf(() => fuse.flush());
  assertEquals(asked.map(({ route }) => route), ["pipeline"]);
  assertEquals(asked[0]?.commands.map(([name]) => name), names.map(() => "evalsha"));
  for (const name of names) assertEquals((await read(store, name)).totals.successes, 3, name);
});

Deno.test("together() sends at most a hundred operations in one request", async () => {
  const { store } = open();
  const circuits = Array.from({ length: 250 }, (_, i) => `c${i}`);
  await record(store, "c0");
  const asked = await requestsOf(() =>
    store.together!(() => Promise.all(circuits.map((key) => record(store, key, { successes: 1 }))))
  );
  assertEquals(asked.map(({ commands }) => commands.length), [100, 100, 50]);
  assertEquals((await read(store, "c249")).totals.successes, 1);
});

Deno.test("together() lets one operation fail without the others", async () => {
  const { store, prefix } = open();
  await redis.command("SET", `${prefix}:b:state`, "not ours");
  const [a, b, c] = await store.together!(() =>
    Promise.allSettled(["a", "b", "c"].map((key) => record(store, key, { successes: 1 })))
  );
  assertEquals([a!.status, b!.status, c!.status], ["fulfilled", "rejected", "fulfilled"]);
  assert(String((b as PromiseRejectedResult).reason).includes("WRONGTYPE"));
  assertEquals(await redis.command("GET", `${prefix}:b:state`), "not ours");
});

Deno.test("together() sends the script once to a server that does not know it", async () => {
  const { store } = open();
  await redis.command("SCRIPT", "FLUSH");
  const asked = await requestsOf(() =>
    store.together!(() =>
      Promise.all(["a", "b", "c"].map((key) => record(store, key, { successes: 1 })))
    )
  );
  assertEquals(
    asked.map(({ commands }) => commands.map(([name]) => name)),
    [["evalsha", "evalsha", "evalsha"], ["evalsha"], ["eval"], ["evalsha", "evalsha"]],
  );
  for (const key of ["a", "b", "c"]) assertEquals((await read(store, key)).totals.successes, 1);
});

Deno.test("list() goes through the circuits of its own prefix, whatever else is there", async () => {
  const own = open({ prefix: "list[1]*" });
  const longer = open({ prefix: "list[1]*:more" });
  const other = open({ prefix: "list1" });
  for (let i = 0; i < 30; i++) await record(own.store, `c${i}`, { successes: 1 });
  for (const { store } of [longer, other]) await record(store, "c0", { successes: 1 });
  await redis.command("SET", "list[1]*:string:state", "not ours");
  await redis.command("HSET", "list[1]*:hash:state", "field", "not ours");
  const names: string[] = [];
  for await (
    const { name } of createFuse({ stores: { cache: own.store }, storeTimeoutMs: 30_000 }).list()
  ) {
    names.push(name);
  }
  assertEquals(names.length, 30);
  assertEquals(new Set(names).size, 30);
  assertEquals(
    await createFuse({ stores: { cache: own.store }, storeTimeoutMs: 30_000 }).resetAll(),
    30,
  );
  assertEquals((await read(longer.store, "c0")).generation, 1);
  assertEquals((await read(other.store, "c0")).generation, 1);
});

Deno.test("remove() touches nothing of another circuit or prefix", async () => {
  const { store, prefix } = open();
  const other = open();
  for (const key of ["a", "a:b", "ab"]) await record(store, key, { successes: 1 });
  await record(other.store, "a", { successes: 1 });
  await redis.command("SET", `${prefix}:a`, "not ours");
  assertEquals(await store.remove("a"), true);
  assertEquals(await store.remove("a"), false);
  assertEquals((await read(store, "a:b")).totals.successes, 1);
  assertEquals((await read(store, "ab")).totals.successes, 1);
  assertEquals((await read(other.store, "a")).totals.successes, 1);
  assertEquals(await redis.command("GET", `${prefix}:a`), "not ours");
});

Deno.test("createFuse() takes several stores, each with its prefix and server, as in the seed", async () => {
  await using critical = await startRedis();
  await using criticalFace = await startFace({ redis: critical, token: "critical-token" });
  const fuse = createFuse({
    stores: {
      redis: upstash({ url: face.url, token: face.token, prefix: "cb" }),
      critical: upstash({
        url: criticalFace.url,
        token: criticalFace.token,
        prefix: "critical_cb",
      }),
    },
  });
  await fuse.store("redis").make("user-api").call(() => 1);
  await fuse.store("critical").make("payment-api").call(() => 1);
  await fuse.flush();
  assertEquals(await keys("cb:*:state"), ["cb:user-api:state"]);
  assertEquals(await critical.command("KEYS", "*:state"), ["critical_cb:payment-api:state"]);
  assertEquals(await keys("critical_cb:*"), []);
});

Deno.test("upstash() sees at once what another instance on the same server did", async () => {
  const { prefix } = open();
  const [here, there] = [open({ prefix }), open({ prefix })].map(({ store }) =>
    createFuse({
      stores: { cache: store },
      storeTimeoutMs: 30_000,
      defaults: { failureThreshold: 1 },
    })
  );
  await here!.make("a").tryCall(() => Promise.reject(new Error("down")));
  await here!.flush();
  assertEquals(await there!.make("a").getState(), "OPEN");
});

Deno.test("upstash() takes a client of every platform", async () => {
  const at = { url: face.url, token: face.token };
  const clients: RedisLike[] = [
    new Redis(at),
    new CloudflareRedis(at),
    new FastlyRedis({ ...at, backend: "upstash" }),
  ];
  for (const client of clients) {
    const store = upstash({ redis: client, prefix: `test-${made++}` });
    await Promise.all(store.together!(() => ["a", "b"].map((key) => record(store, key))));
    const listed = await Array.fromAsync(
      createFuse({ stores: { cache: store }, storeTimeoutMs: 30_000 }).list(),
    );
    assertEquals(listed.map(({ key }) => key).sort(), ["a", "b"]);
    assertEquals(await store.remove("a"), true);
  }
});

Deno.test("upstash() asks a function for a client for each request", async () => {
  let asked = 0;
  const client = new Redis({ url: face.url, token: face.token });
  const store = upstash({
    prefix: `test-${made++}`,
    redis() {
      asked++;
      return client;
    },
  });
  assertEquals(asked, 0);
  await record(store, "a");
  await read(store, "a");
  assertEquals(asked, 2);
});

Deno.test("upstash() refuses an answer that is not the script's", async () => {
  const client = {
    evalsha: () => Promise.resolve("nonsense"),
    eval: () => Promise.resolve("nonsense"),
    pipeline: () => ({ evalsha() {}, exec: () => Promise.resolve([]) }),
    scan: () => Promise.resolve(["0", []] as [string, string[]]),
    del: () => Promise.resolve(0),
  };
  const store = upstash({ redis: client });
  await assertRejects(() => read(store, "a"), Error, "the answer is not one of the script");
  const both = () => store.together!(() => Promise.all([read(store, "a"), read(store, "b")]));
  await assertRejects(both, Error, "the answer is not one of the script");
});

Deno.test("upstash() begins another life when a forgotten circuit is created by the same request again", async () => {
  const clock = new FakeClock();
  const { store, prefix } = open({ clock: clock.now });
  const creator = { id: "creator", successes: 1 };
  const { snapshot: before } = await record(store, "a", creator);
  await redis.command("DEL", ...PARTS.map((part) => `${prefix}:a:${part}`));
  clock.advance(1_000);
  const { snapshot: after } = await record(store, "a", creator);
  assert(after.epoch !== before.epoch);
  const { epoch, generation } = before;
  const old = await record(store, "a", { epoch, generation, failures: 1 });
  assertEquals([old.current, old.snapshot.consecutiveFailures], [false, 0]);
});

Deno.test("upstash() bounds the trials that it remembers, and opens whatever there were", async () => {
  const clock = new FakeClock();
  const { store, prefix } = open({ clock: clock.now });
  const request = (id: string) => ({ id, at: clock.now(), shape: SHAPE });
  const opening = {
    ...{ to: "OPEN", event: "opened", cooldownMs: 1_000, reason: "test", actor: null } as const,
    expected: null,
  };
  await store.transition("a", { ...request("trip"), ...opening });
  clock.advance(1_000);
  const trial = { max: 1, leaseMs: HOUR_MS, maxCooldownMs: HOUR_MS };
  for (let i = 0; i < 150; i++) {
    const token = `token-${i}`;
    const { granted, snapshot } = await store.acquire("a", {
      ...request(`acquire-${i}`),
      ...trial,
      token,
    });
    assertEquals(granted, true);
    // Neutral: nothing leads out of half-open.
    const { epoch, generation } = snapshot;
    await record(store, "a", { epoch, generation, lease: token });
    clock.advance(1);
  }
  const leases = async () =>
    (await redis.command("HKEYS", `${prefix}:a:state`) as string[])
      .filter((field) => field.startsWith("lease:"));
  const last = Array.from({ length: 100 }, (_, i) => `lease:token-${i + 50}`);
  assertEquals((await leases()).toSorted(), last.toSorted());
  // More than a script can unpack at once, written by hand.
  for (let i = 0; i < 20; i++) {
    const left = Array.from({ length: 500 }, (_, j) => [`lease:old-${i}-${j}`, "1 0"]).flat();
    await redis.command("HSET", `${prefix}:a:state`, ...left);
  }
  assertEquals((await store.transition("a", { ...request("reopen"), ...opening })).won, true);
  assertEquals(await leases(), []);
});

Deno.test("upstash() refuses a circuit of a prefix that means the same keys, and lists none", async () => {
  const { store, prefix } = open();
  const scoped = createFuse({ stores: { cache: store }, storeTimeoutMs: 30_000 }).for({
    type: "tenant",
    id: 1,
  });
  await scoped.make("pay").forceOpen();
  const { store: other } = open({ prefix: `${prefix}:pay:for:tenant` });
  await assertRejects(() => read(other, "1"), Error, "a store with another prefix");
  await assertRejects(() => record(other, "1", { failures: 1 }), Error, "another prefix");
  assertEquals(
    await Array.fromAsync(createFuse({ stores: { cache: other }, storeTimeoutMs: 30_000 }).list()),
    [],
  );
  assertEquals(await scoped.make("pay").getState(), "OPEN");
});

Deno.test("record() sends no script again because of what a circuit is called", async () => {
  const { store, prefix } = open();
  await redis.command("SET", `${prefix}:NOSCRIPT:state`, "not ours");
  const client = new Redis({ url: face.url, token: face.token, enableAutoPipelining: false });
  const named = upstash({ redis: client, prefix });
  const asked = await requestsOf(() =>
    assertRejects(() => record(named, "NOSCRIPT"), Error, "WRONGTYPE")
  );
  assertEquals(asked.map(({ commands }) => commands[0]?.[0]), ["evalsha"]);
  await store.remove("NOSCRIPT");
});

Deno.test("upstash() creates no circuit in a Redis that has no memory left", async () => {
  await using full = await startRedis({
    config: { "maxmemory": "100kb", "maxmemory-policy": "noeviction" },
  });
  await using fullFace = await startFace({ redis: full });
  const { store } = open({ url: fullFace.url, token: fullFace.token });
  await assertRejects(() => record(store, "a", { successes: 1 }), Error, "OOM");
  assertEquals(await full.command("DBSIZE"), 0);
});
