// S9–S10, S17–S21, S36, S46, S57–S62: the seed's environment variables and its `.env` blocks.
import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { createClient } from "@libsql/client/web";
import type { Fuse } from "@fuse/edge";
import { fuseFromEnv } from "@fuse/edge/env";
import { migrate } from "@fuse/edge/migrations";
import { sharedRedis } from "../support/redis_server.ts";
import { fail } from "../support/setups.ts";
import { sqldForFile } from "../support/sqld.ts";
import { startFace } from "../support/upstash_face.ts";
import { callable, ownPrefix, seed, storeTimeoutMs } from "./support.ts";

const [redis, redisCritical, server] = await Promise.all([
  sharedRedis(),
  sharedRedis(),
  sqldForFile(),
]);
const face = await startFace({ redis, token: "regular" });
const faceCritical = await startFace({ redis: redisCritical, token: "critical" });
const client = createClient({ url: server.url });
await migrate(client);

const UPSTASH = { UPSTASH_REDIS_REST_URL: face.url, UPSTASH_REDIS_REST_TOKEN: face.token };
const CRITICAL = {
  UPSTASH_REDIS_CRITICAL_REST_URL: faceCritical.url,
  UPSTASH_REDIS_CRITICAL_REST_TOKEN: faceCritical.token,
};
const TURSO = { TURSO_DATABASE_URL: server.url, TURSO_AUTH_TOKEN: "token" };
/** The variables of a deployment, whichever store its `.env` selects. */
const ALL = { ...UPSTASH, ...CRITICAL, ...TURSO };

/** A `.env` file as the seed prints it. */
function dotenv(text: string): Record<string, string> {
  const lines = text.split("\n").map((line) => line.trim()).filter((line) => /^\w+=/.test(line));
  return Object.fromEntries(lines.map((line) => line.split("=", 2) as [string, string]));
}

function isolate(env: Record<string, string>): Fuse {
  return fuseFromEnv(env, {
    storeTimeoutMs,
    defaults: { consistency: "strong", onStoreError: "reject" },
  });
}

/**
 * Returns the store of a circuit that one isolate trips, and whether another isolate finds it open.
 */
async function tripped(env: Record<string, string>): Promise<{ store: string; shared: boolean }> {
  const name = ownPrefix();
  const breaker = isolate(env).make(name);
  await fail(breaker, 5);
  assertEquals(await breaker.getState(), "OPEN");
  return { store: breaker.store, shared: await isolate(env).make(name).isOpen() };
}

/** Returns the output of `console.warn` meanwhile. */
function warnings(body: () => void): string[] {
  const said: string[] = [];
  const original = console.warn;
  console.warn = (...words: unknown[]) => said.push(words.join(" "));
  try {
    body();
  } finally {
    console.warn = original;
  }
  return said;
}

seed("S9–S10", "array logs a warning where many isolates run, once", () => {
  const deployed = { FUSE_STORE: "array", DENO_DEPLOYMENT_ID: "abc123" };
  const said = warnings(() => {
    for (let i = 0; i < 3; i++) assertEquals(fuseFromEnv(deployed).make("a").store, "array");
  });
  assertEquals(said.length, 1);
  assertStringIncludes(said[0]!, "Deno Deploy");
  assertStringIncludes(said[0]!, "FUSE_STORE=cache");
  // This is right for development and tests.
  assertEquals(warnings(() => void fuseFromEnv({ FUSE_STORE: "array" })), []);
});

seed(
  "S17, S19",
  "FUSE_STORE names the driver, and defaults to the best configured one",
  async () => {
    for (const store of ["array", "cache", "database"]) {
      assertEquals((await tripped({ ...ALL, FUSE_STORE: store })).store, store);
    }
    assertEquals((await tripped(ALL)).store, "cache");
    assertEquals((await tripped(TURSO)).store, "database");
    assertEquals((await tripped({})).store, "array");
    assertThrows(() => fuseFromEnv({ FUSE_STORE: "redis" }), RangeError, '"FUSE_STORE" must be');
  },
);

seed(
  "S18, S20, S21",
  "FUSE_CACHE_STORE selects a Redis, and FUSE_CACHE_PREFIX the prefix of its keys",
  async () => {
    const cases = [
      { env: {}, on: redis, prefix: "circuit_breaker" },
      { env: dotenv("FUSE_CACHE_STORE=redis\nFUSE_CACHE_PREFIX=cb"), on: redis, prefix: "cb" },
      {
        env: dotenv("FUSE_CACHE_STORE=redis-critical\nFUSE_CACHE_PREFIX=critical_cb"),
        on: redisCritical,
        prefix: "critical_cb",
      },
    ];
    for (const { env, on, prefix } of cases) {
      const name = ownPrefix();
      assertEquals(
        await isolate({ ...ALL, FUSE_STORE: "cache", ...env }).make(name).call(callable),
        "an answer",
      );
      const found = await Promise.all(
        [redis, redisCritical].map((server) => server.command("KEYS", `*${name}:state`)),
      );
      const expected = [redis, redisCritical].map((server) =>
        server === on ? [`${prefix}:${name}:state`] : []
      );
      assertEquals(found, expected, prefix);
    }
  },
);

seed(
  "S36, S46",
  "CB_DB_URL is a separate database for circuits, and takes precedence over the application's",
  async () => {
    // No server listens there.
    const application = { TURSO_DATABASE_URL: "http://127.0.0.1:1", TURSO_AUTH_TOKEN: "token" };
    const own = { CB_DB_URL: server.url, CB_DB_AUTH_TOKEN: "own" };
    const env = { ...application, ...own, FUSE_STORE: "database" };
    assertEquals(await tripped(env), { store: "database", shared: true });
    const misled = isolate({ ...application, FUSE_STORE: "database" }).make("external-api");
    assertEquals((await misled.tryCall(callable)).ok, false);
  },
);

seed("S36, S46", "the seed's own variables are answered with the names of ours", () => {
  for (const name of ["CB_DB_HOST", "CB_DB_DATABASE"]) {
    assertThrows(
      () => fuseFromEnv({ ...TURSO, FUSE_STORE: "database", [name]: "circuit_breakers" }),
      TypeError,
      "set CB_DB_URL",
    );
  }
  const said = warnings(() => {
    fuseFromEnv({ ...TURSO, FUSE_STORE: "database", DB_CONNECTION: "mysql" });
    fuseFromEnv({ ...UPSTASH, FUSE_STORE: "cache", CACHE_DRIVER: "redis" });
  });
  assertEquals(said.map((text) => /"(\w+)" is not read/.exec(text)?.[1]), [
    ...["DB_CONNECTION", "CACHE_DRIVER"],
  ]);
});

const BLOCKS = {
  "local development": { env: "FUSE_STORE=array", store: "array", shared: false },
  "testing": { env: "FUSE_STORE=array", store: "array", shared: false },
  "staging": { env: "FUSE_STORE=cache\nFUSE_CACHE_STORE=redis", store: "cache", shared: true },
  "production": { env: "FUSE_STORE=cache\nFUSE_CACHE_STORE=redis", store: "cache", shared: true },
  "production with compliance": { env: "FUSE_STORE=database", store: "database", shared: true },
};
for (const [environment, { env, ...expected }] of Object.entries(BLOCKS)) {
  seed("S57–S62", `the seed's block for ${environment}: ${env.replace("\n", ", ")}`, async () => {
    assertEquals(await tripped({ ...ALL, ...dotenv(env) }), expected);
  });
}

seed(
  "S57–S62",
  "the decision tree holds: database has a trail, cache shares state, array does neither",
  async () => {
    const leaves = [
      { store: "database", trail: true, shared: true },
      { store: "cache", trail: false, shared: true },
      { store: "array", trail: false, shared: false },
    ];
    for (const { store, trail, shared } of leaves) {
      const env = { ...ALL, FUSE_STORE: store };
      assertEquals(await tripped(env), { store, shared });
      const read = Array.fromAsync(isolate(env).make(ownPrefix()).history());
      assertEquals(await read.then(() => true, () => false), trail, store);
    }
  },
);
