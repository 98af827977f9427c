// Each environment block of the seed, compared with its subject: two real Redis servers behind
// Upstash's interface, and a real sqld.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { createClient } from "@libsql/client/web";
import type { CircuitBreaker, FuseOptions } from "@fuse/edge";
import { fuseFromEnv } from "@fuse/edge/env";
import { migrate } from "@fuse/edge/migrations";
import { settingsOf } from "../../src/env_settings.ts";
import { sharedRedis } from "../support/redis_server.ts";
import { fail, succeed } from "../support/setups.ts";
import { sqldForFile } from "../support/sqld.ts";
import { startFace } from "../support/upstash_face.ts";

// Deno leaves them off.
Deno.test.sanitizer({ ops: true, resources: true });

const [redis, critical, server] = await Promise.all([sharedRedis(), sharedRedis(), sqldForFile()]);
const [face, criticalFace] = await Promise.all([
  startFace({ redis, token: "regular" }),
  startFace({ redis: critical, token: "critical" }),
]);
const client = createClient({ url: server.url });
await migrate(client);

/** The variables of a deployment, whatever it selects. */
const BOTH_REDIS = {
  UPSTASH_REDIS_REST_URL: face.url,
  UPSTASH_REDIS_REST_TOKEN: face.token,
  UPSTASH_REDIS_CRITICAL_REST_URL: criticalFace.url,
  UPSTASH_REDIS_CRITICAL_REST_TOKEN: criticalFace.token,
};
const UPSTASH = { UPSTASH_REDIS_REST_URL: "https://x.upstash.io", UPSTASH_REDIS_REST_TOKEN: "x" };
const TURSO = { TURSO_DATABASE_URL: "libsql://app.example.com", TURSO_AUTH_TOKEN: "token" };
const SECRET = "s3cr3t";
/** No server listens there. */
const NOWHERE = "http://127.0.0.1:1";
let names = 0;

/** The Fuse of one isolate. A long limit: a busy machine is no outage of the store. */
function isolate(env: object, options: Omit<FuseOptions, "stores" | "default"> = {}) {
  return fuseFromEnv(env, {
    storeTimeoutMs: 30_000,
    defaults: { consistency: "strong", onStoreError: "reject" },
    ...options,
  });
}

/**
 * Asserts whether two isolates share the circuit: whether one finds it open after the other has
 * tripped it.
 */
async function isShared(env: object, name = `external-api-${names++}`): Promise<boolean> {
  const [one, other] = [isolate(env), isolate(env)].map((fuse) => fuse.make(name)) as [
    CircuitBreaker,
    CircuitBreaker,
  ];
  await succeed(other);
  await fail(one, 5);
  assertEquals(await one.getState(), "OPEN");
  return await other.isOpen();
}

async function keysOf(server: { command(...args: string[]): Promise<unknown> }, name: string) {
  return (await server.command("KEYS", `*${name}:*`) as string[]).sort();
}

/** Returns the output of `console.warn` meanwhile. */
async function warnings(body: () => unknown, userAgent = navigator.userAgent): Promise<string[]> {
  const told: string[] = [];
  const { warn } = console;
  console.warn = (text: string) => told.push(text);
  try {
    await onPlatform(userAgent, body);
  } finally {
    console.warn = warn;
  }
  return told;
}

/** Runs `body` with another name of the runtime. */
async function onPlatform(userAgent: string, body: () => unknown): Promise<void> {
  const own = Object.getOwnPropertyDescriptor(globalThis, "navigator")!;
  Object.defineProperty(globalThis, "navigator", { value: { userAgent }, configurable: true });
  try {
    await body();
  } finally {
    Object.defineProperty(globalThis, "navigator", own);
  }
}

// The blocks

for (const block of ["local development", "testing"]) {
  Deno.test(`S57-S59 FUSE_STORE=array (${block}) keeps circuits in this isolate, from a clean slate`, async () => {
    const env = { FUSE_STORE: "array" };
    assertEquals(await isShared(env, "external-api"), false);
    assertEquals(await isolate(env).make("external-api").getState(), "CLOSED");
  });
}

for (const block of ["staging", "production"]) {
  Deno.test(`S60-S61 FUSE_STORE=cache, FUSE_CACHE_STORE=redis (${block}) shares circuits in Redis`, async () => {
    const env = { ...BOTH_REDIS, FUSE_STORE: "cache", FUSE_CACHE_STORE: "redis" };
    const name = `api-${block}`;
    assert(await isShared(env, name));
    const keys = await keysOf(redis, name);
    assertEquals(keys, [`circuit_breaker:${name}:metrics`, `circuit_breaker:${name}:state`]);
    assertEquals(await keysOf(critical, name), []);
  });
}

Deno.test("S62 FUSE_STORE=database (compliance) shares circuits in libSQL, with their trail", async () => {
  const env = { FUSE_STORE: "database", TURSO_DATABASE_URL: server.url, TURSO_AUTH_TOKEN: "any" };
  assert(await isShared(env, "compliant-api"));
  const trail = await Array.fromAsync(isolate(env).make("compliant-api").history());
  assertEquals(trail.map(({ event }) => event), ["opened"]);
  const { rows } = await client.execute(
    "select state from circuit_breakers where name = 'compliant-api'",
  );
  assertEquals(rows[0]?.["state"], "OPEN");
});

Deno.test("S17, S19 no FUSE_STORE means the cache where it is configured", async () => {
  const env = { ...BOTH_REDIS, TURSO_DATABASE_URL: server.url };
  assert(await isShared(env, "unset-api"));
  assertEquals((await keysOf(redis, "unset-api")).length, 2);
});

Deno.test("S18, S21 FUSE_CACHE_PREFIX=cb begins the keys", async () => {
  const env = { ...BOTH_REDIS, FUSE_STORE: "cache", FUSE_CACHE_PREFIX: "cb" };
  assert(await isShared(env, "prefixed-api"));
  assertEquals(await keysOf(redis, "prefixed-api"), [
    "cb:prefixed-api:metrics",
    "cb:prefixed-api:state",
  ]);
});

Deno.test("S25 CACHE_DRIVER=redis, FUSE_CACHE_STORE=redis is the cache in Redis", async () => {
  const env = { ...BOTH_REDIS, CACHE_DRIVER: "redis", FUSE_CACHE_STORE: "redis" };
  const told = await warnings(() => assertEquals(fuseFromEnv(env).make("a").store, "cache"));
  assertEquals(told.length, 1);
  assert(told[0]!.includes('"CACHE_DRIVER" is not read'), told[0]);
  assert(await isShared(env));
});

Deno.test("S20, S26-S27 FUSE_CACHE_STORE=redis-critical is a server of its own, beside redis", async () => {
  const regular = { ...BOTH_REDIS, FUSE_CACHE_STORE: "redis", FUSE_CACHE_PREFIX: "cb" };
  const own = {
    ...BOTH_REDIS,
    FUSE_CACHE_STORE: "redis-critical",
    FUSE_CACHE_PREFIX: "critical_cb",
  };
  assert(await isShared(own, "payment-api"));
  assertEquals(await isolate(regular).make("payment-api").getState(), "CLOSED");
  assertEquals(await keysOf(redis, "payment-api"), []);
  assertEquals(await keysOf(critical, "payment-api"), [
    "critical_cb:payment-api:metrics",
    "critical_cb:payment-api:state",
  ]);
  // Each with its own token: the other's is refused.
  const mixed = { ...own, UPSTASH_REDIS_CRITICAL_REST_TOKEN: face.token };
  assertEquals((await isolate(mixed).make("payment-api").tryCall(() => 1)).ok, false);
});

Deno.test("S36, S46 CB_DB_URL is a database for circuits alone, and wins", async () => {
  const app = { TURSO_DATABASE_URL: NOWHERE, TURSO_AUTH_TOKEN: "app" };
  const env = { ...app, FUSE_STORE: "database", CB_DB_URL: server.url, CB_DB_AUTH_TOKEN: "own" };
  assert(await isShared(env, "own-database-api"));
  const misled = isolate({ ...app, FUSE_STORE: "database" }).make("own-database-api");
  assertEquals((await misled.tryCall(() => 1)).ok, false);
});

Deno.test("S63 both stores stand beside the default one, by name and by pattern", async () => {
  const env = { ...BOTH_REDIS, FUSE_STORE: "cache", TURSO_DATABASE_URL: server.url };
  const fuse = isolate(env, { circuits: { "payment-*": { store: "database" } } });
  const payment = fuse.make("payment-processing");
  await fail(payment, 5);
  await fail(fuse.make("user-service"), 5);
  await fail(fuse.store("array").make("internal-tool"), 5);
  const other = isolate(env);
  assert(await other.store("database").make("payment-processing").isOpen());
  assert(await other.store("cache").make("user-service").isOpen());
  assertEquals(await other.store("array").make("internal-tool").isOpen(), false);
  assertEquals((await Array.fromAsync(payment.history())).length, 1);
  assertEquals(await keysOf(redis, "payment-processing"), []);
});

Deno.test("fuseFromEnv() works once for each request, as on Workers, with one circuit for all", async () => {
  const stores = ["cache", "database"];
  const env = { ...BOTH_REDIS, TURSO_DATABASE_URL: server.url };
  const work: Promise<unknown>[] = [];
  const waitUntil = (promise: Promise<unknown>) => void work.push(promise);
  await onPlatform("Cloudflare-Workers", async () => {
    for (let request = 0; request < 5; request++) {
      const fuse = fuseFromEnv(env, { storeTimeoutMs: 30_000 }).with({ waitUntil });
      for (const store of stores) await fail(fuse.store(store).make("per-request"), 1);
      await Promise.all(work.splice(0));
    }
  });
  const fuse = isolate(env);
  for (const store of stores) assert(await fuse.store(store).make("per-request").isOpen(), store);
});

Deno.test("fuseFromEnv() shows no token and no address when a store is unreachable", async () => {
  const env = {
    UPSTASH_REDIS_REST_URL: `${NOWHERE}/${SECRET}`,
    UPSTASH_REDIS_REST_TOKEN: SECRET,
    TURSO_DATABASE_URL: `${NOWHERE}/${SECRET}`,
    TURSO_AUTH_TOKEN: SECRET,
  };
  const fuse = isolate(env);
  const told: unknown[] = [];
  fuse.on("store_error", (event) => told.push(event));
  for (const store of ["cache", "database"]) {
    const result = await fuse.store(store).make("a").tryCall(() => 1);
    assertEquals(result.ok, false);
    told.push(result);
  }
  assertEquals(told.length, 4);
  const said = Deno.inspect(told, { depth: 10 });
  assert(!said.includes(SECRET) && !said.includes("127.0.0.1"), said);
});

// Options

Deno.test("fuseFromEnv() passes its options to createFuse()", () => {
  class Inherited {
    get strategies() {
      return { never: () => false };
    }
  }
  const env = { ...TURSO, FUSE_STORE: "array" };
  const fuse = fuseFromEnv(env, { circuits: { "payment-*": { store: "database" } } });
  assertEquals(fuse.make("payment-eu").store, "database");
  assertEquals(fuse.make("user").store, "array");
  fuseFromEnv(
    env,
    Object.assign(Object.create({ strategies: { never: () => false } }), {
      defaults: { strategy: "never" },
    }),
  );
  fuseFromEnv(env, new Inherited());
  assertThrows(() => fuseFromEnv(env, { storeTimeoutMs: 0 }), RangeError, '"storeTimeoutMs"');
  assertThrows(() => fuseFromEnv(env, { stroes: {} } as object), TypeError, '"stroes"');
  const cache = { circuits: { "user-*": { store: "cache" } } };
  assertThrows(() => fuseFromEnv(env, cache), RangeError, "must be one of array, database");
});

Deno.test("fuseFromEnv() refuses options that would contradict the variables", () => {
  for (const options of [{ stores: {} }, { default: "array" }, null, "cache"]) {
    assertThrows(
      () => fuseFromEnv({}, options as object),
      TypeError,
      "Cannot create fuse from environment: ",
    );
  }
  fuseFromEnv({}, { stores: undefined, default: undefined } as object);
});

// Notes

Deno.test("S9-S10 fuseFromEnv() warns once when it keeps circuits in memory on Workers or Deno Deploy", async () => {
  const workers = await warnings(() => {
    for (const env of [{}, { FUSE_STORE: "array" }, { ...UPSTASH, FUSE_STORE: "array" }]) {
      fuseFromEnv(env);
    }
  }, "Cloudflare-Workers");
  assertEquals(workers.length, 1);
  assert(/Cloudflare Workers runs many .* set FUSE_STORE=cache/.test(workers[0]!), workers[0]);
  const deploy = await warnings(() => {
    for (const name of ["DENO_DEPLOY", "DENO_DEPLOYMENT_ID"]) fuseFromEnv({ [name]: "1" });
  });
  assertEquals(deploy.length, 1);
  assert(deploy[0]!.includes("Deno Deploy runs many"), deploy[0]);
});

Deno.test("fuseFromEnv() does not warn of memory with one process or a shared store", async () => {
  assertEquals(settingsOf({}).notes, []);
  assertEquals(settingsOf({ FUSE_STORE: "array" }).notes, []);
  await onPlatform("Cloudflare-Workers", () => assertEquals(settingsOf(UPSTASH).notes, []));
  assertEquals(settingsOf({ ...TURSO, DENO_DEPLOYMENT_ID: "1" }).notes, []);
});

Deno.test("fuseFromEnv() notes CACHE_DRIVER and DB_CONNECTION where they could be mistaken for settings", async () => {
  const both = { CACHE_DRIVER: "redis", DB_CONNECTION: "mysql" };
  const noted = (env: object) =>
    settingsOf({ ...both, ...env }).notes.map((note) => /"(\w+)" is not read/.exec(note)?.[1]);
  assertEquals(noted({}), ["CACHE_DRIVER", "DB_CONNECTION"]);
  assertEquals(noted({ ...UPSTASH, FUSE_STORE: "cache" }), ["CACHE_DRIVER"]);
  assertEquals(noted(TURSO), ["DB_CONNECTION"]);
  assertEquals(noted({ FUSE_STORE: "array" }), []);
  const told = await warnings(() => {
    for (let i = 0; i < 2; i++) fuseFromEnv({ ...TURSO, ...both });
  });
  assertEquals(told.length, 1);
});

Deno.test("fuseFromEnv() leaves out a store with invalid foreign variables, and notes why", () => {
  const turso = { ...TURSO, TURSO_AUTH_TOKEN: `${SECRET} ` };
  const { notes, database } = settingsOf({ ...UPSTASH, ...turso });
  assertEquals([database, notes.length], [null, 1]);
  assert(notes[0]!.startsWith('there is no store "database": "TURSO_AUTH_TOKEN" must'), notes[0]);
  assert(!notes[0]!.includes(SECRET));
  const half = { ...TURSO, FUSE_STORE: "database", UPSTASH_REDIS_REST_URL: "https://x" };
  assertEquals(settingsOf(half).notes, [
    'there is no store "cache": "UPSTASH_REDIS_REST_TOKEN" must be set for the store "cache"',
  ]);
});

Deno.test("fuseFromEnv() says nothing about variables that are plainly for other programs", () => {
  // An application's own file, and other variables while everything should stay in memory.
  const file = { TURSO_DATABASE_URL: ":memory:" };
  assertEquals(settingsOf({ ...UPSTASH, ...file }).notes, []);
  assertEquals(settingsOf({ ...UPSTASH, ...file }).database, null);
  const local = { FUSE_STORE: "array", FUSE_CACHE_STORE: "redis", TURSO_AUTH_TOKEN: "x" };
  assertEquals(settingsOf(local), {
    store: "array",
    cache: null,
    database: null,
    instance: null,
    notes: [],
  });
});

const D1 = { prepare: () => ({ bind: () => null }), batch: () => Promise.resolve([]) };
const OBJECTS = { idFromName: () => null, get: () => null };

Deno.test("fuseFromEnv() uses the bindings of Cloudflare's own databases", () => {
  const nameOf = (env: object) => settingsOf(env).database;
  assertEquals(fuseFromEnv({ FUSE_DB: D1 }).make("a").store, "database");
  assertEquals(fuseFromEnv({ FUSE: OBJECTS }).make("a").store, "database");
  const said = { FUSE_AUDIT: "calls", FUSE_TRAIL_KEY: "key" };
  const trail = { audit: "calls", trailKey: "key" };
  assertEquals(nameOf({ FUSE_DB: D1, ...said }), { d1: D1, ...trail });
  assertEquals(nameOf({ FUSE: OBJECTS, ...said }), { objects: OBJECTS, ...trail });
});

Deno.test("fuseFromEnv() prefers CB_DB_URL to bindings, and bindings to TURSO_DATABASE_URL", () => {
  const keyOf = (env: object) => Object.keys(settingsOf(env).database ?? {})[0];
  const turso = { TURSO_DATABASE_URL: "https://a.example", TURSO_AUTH_TOKEN: "token" };
  assertEquals(keyOf({ FUSE_DB: D1, FUSE: OBJECTS, ...turso }), "d1");
  assertEquals(keyOf({ FUSE: OBJECTS, ...turso }), "objects");
  assertEquals(keyOf({ FUSE_DB: D1, CB_DB_URL: "https://a.example" }), "url");
});

Deno.test("fuseFromEnv() takes no other value for a binding", () => {
  const throwing = Object.defineProperty({}, "prepare", {
    get() {
      throw new Error("a proxy");
    },
  });
  for (const value of [{}, { get: () => null }, throwing, null, new Map()]) {
    const { store, database } = settingsOf({ FUSE_DB: value, FUSE: value });
    assertEquals([store, database], ["array", null]);
  }
});
