// Options of upstash(), its clients and its servers.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { createFuse } from "@fuse/edge";
import type { RedisLike, UpstashOptions } from "@fuse/edge/upstash";
import { Redis } from "@upstash/redis";
import { Redis as CloudflareRedis } from "@upstash/redis/cloudflare";
import { Redis as FastlyRedis } from "@upstash/redis/fastly";
import { startRedis } from "../../support/redis_server.ts";
import { startFace } from "../../support/upstash_face.ts";
import { face, freshPrefix, keys, open, read, record, requestsOf } from "./store.ts";
import { upstash } from "../../support/drivers.ts";

Deno.test("upstash() refuses invalid options, naming the option, what came and what is allowed", () => {
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
    [
      { url: "https://x" },
      "(is the variable UPSTASH_REDIS_REST_TOKEN set?), received undefined",
    ],
    [
      { url: "https://x", token: "" },
      "(is the variable UPSTASH_REDIS_REST_TOKEN set?), received an empty string",
    ],
    [{ redis: {} }, '"redis" must be a client of @upstash/redis, or a function that gives one'],
    [{ redis: null }, '"redis" must be a client'],
    [{ ...at, redis: () => {} }, '"redis" stands in place of "url" and "token"'],
    [undefined, '"options" must be an object, received undefined'],
  ];
  for (const [options, message] of refused) {
    assertThrows(() => upstash(options as UpstashOptions), Error, message);
  }
});

Deno.test("upstash() shows no address with credentials and no token", () => {
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

Deno.test("upstash() explains in its own words that the client refuses a host", () => {
  for (const url of ["https://b", "http://b/", "https://é", "https://[", "http://."]) {
    const { message } = assertThrows(() => upstash({ url, token: "t" }), TypeError);
    assertEquals(
      message,
      'Cannot create upstash store: "url" must be an http or https address without credentials, ' +
        "of a host of at least 2 characters, received a string",
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

Deno.test("createFuse() accepts several stores, each with its prefix and server, as in the seed", async () => {
  await using critical = await startRedis();
  await using criticalFace = await startFace({ redis: critical, token: "critical-token" });
  const fuse = createFuse({
    storeTimeoutMs: 30_000,
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

Deno.test("upstash() sees at once what another instance on the same server wrote", async () => {
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

Deno.test("upstash() accepts the client of every platform", async () => {
  const at = { url: face.url, token: face.token };
  const clients: RedisLike[] = [
    new Redis(at),
    new CloudflareRedis(at),
    new FastlyRedis({ ...at, backend: "upstash" }),
  ];
  for (const client of clients) {
    const store = upstash({ redis: client, prefix: freshPrefix() });
    await Promise.all(store.together!(() => ["a", "b"].map((key) => record(store, key))));
    const listed = await Array.fromAsync(
      createFuse({ stores: { cache: store }, storeTimeoutMs: 30_000 }).list(),
    );
    assertEquals(listed.map(({ key }) => key).sort(), ["a", "b"]);
    assertEquals(await store.remove("a"), true);
  }
});

Deno.test("upstash() calls a client function for each request", async () => {
  let asked = 0;
  const client = new Redis({ url: face.url, token: face.token });
  const store = upstash({
    prefix: freshPrefix(),
    redis() {
      asked++;
      return client;
    },
  });
  assertEquals(asked, 0);
  await read(store, "a");
  await record(store, "a");
  assertEquals(asked, 2);
});

Deno.test("upstash() refuses an answer that its script did not write", async () => {
  const client = {
    evalsha: () => Promise.resolve("nonsense"),
    eval: () => Promise.resolve("nonsense"),
    pipeline: () => ({ evalsha() {}, exec: () => Promise.resolve([]) }),
    scan: () => Promise.resolve(["0", []] as [string, string[]]),
    del: () => Promise.resolve(0),
  };
  const store = upstash({ redis: client });
  await assertRejects(() => read(store, "a"), Error, "its answer is invalid");
  const both = () => store.together!(() => Promise.all([read(store, "a"), read(store, "b")]));
  await assertRejects(both, Error, "its answer is invalid");
});
