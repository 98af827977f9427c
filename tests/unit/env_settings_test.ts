// The meaning of the variables, without a server: no test sends a store request.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { fuseFromEnv } from "@fuse/edge/env";
import { type Address, settingsOf } from "../../src/env_settings.ts";

const SECRET = "s3cr3t";
const UPSTASH = {
  UPSTASH_REDIS_REST_URL: "https://eu1-tidy-owl-12345.upstash.io",
  UPSTASH_REDIS_REST_TOKEN: `AX9s-_${SECRET}==`,
};
const TURSO = {
  TURSO_DATABASE_URL: "libsql://app-example.turso.io",
  TURSO_AUTH_TOKEN: `eyJhbGciOi.${SECRET}`,
};
const OWN = { CB_DB_URL: "https://breakers.example.com", CB_DB_AUTH_TOKEN: "own-token" };
const CRITICAL = {
  UPSTASH_REDIS_CRITICAL_REST_URL: "http://127.0.0.1:8079",
  UPSTASH_REDIS_CRITICAL_REST_TOKEN: "critical",
};

/** The expected stores, the default first. */
function storesOf(env: object): string[] {
  const { store, cache, database } = settingsOf(env);
  const made = ["array", ...cache ? ["cache"] : [], ...database ? ["database"] : []];
  return [store, ...made.filter((name) => name !== store)];
}

/** The reason of a refusal, which never contains a secret. */
function refusal(env: object): string {
  const error = assertThrows(() => fuseFromEnv(env), Error);
  assert(error instanceof RangeError || error instanceof TypeError, String(error));
  assert(error.message.startsWith("Cannot create fuse from environment: "), error.message);
  assert(!error.message.includes(SECRET) && error.message.length < 400, error.message);
  assertEquals(error.message.match(/\p{Cc}/u), null);
  return error.message;
}

function assertRefused(env: object, ...texts: string[]) {
  const message = refusal(env);
  for (const text of texts) assert(message.includes(text), `${text} in: ${message}`);
}

// Which store

Deno.test("fuseFromEnv() makes every store that the variables configure, with the best as default", () => {
  assertEquals(storesOf({}), ["array"]);
  assertEquals(storesOf(UPSTASH), ["cache", "array"]);
  assertEquals(storesOf(TURSO), ["database", "array"]);
  assertEquals(storesOf(OWN), ["database", "array"]);
  assertEquals(storesOf({ ...UPSTASH, ...TURSO }), ["cache", "array", "database"]);
});

Deno.test("fuseFromEnv() makes the store of FUSE_STORE the default, and the others too", () => {
  const all = { ...UPSTASH, ...TURSO };
  for (const store of ["array", "cache", "database"]) {
    const fuse = fuseFromEnv({ ...all, FUSE_STORE: store });
    assertEquals(fuse.make("a").store, store);
    for (const other of ["array", "cache", "database"]) {
      assertEquals(fuse.store(other).make("a").store, other);
    }
  }
});

Deno.test("fuseFromEnv() treats an empty variable as not set", () => {
  const empty = Object.fromEntries(
    [...Object.keys({ ...UPSTASH, ...TURSO, ...OWN }), "FUSE_STORE", "FUSE_CACHE_PREFIX"]
      .concat("FUSE_CACHE_STORE", "FUSE_MISSPELLED", "CB_DB_HOST", "CACHE_DRIVER")
      .map((name) => [name, ""]),
  );
  assertEquals(settingsOf(empty), {
    store: "array",
    cache: null,
    database: null,
    instance: null,
    notes: [],
  });
  const absent = { FUSE_STORE: undefined, UPSTASH_REDIS_REST_URL: null };
  assertEquals(settingsOf(absent).store, "array");
});

for (
  const [value, shown] of [
    ["redis", '"redis"'],
    ["Cache", '"Cache"'],
    [" cache", '" cache"'],
    ["cache\n", '"cache\\n"'],
    ["__proto__", '"__proto__"'],
    ["constructor", '"constructor"'],
    ["dåtabase", '"dåtabase"'],
    [`libsql://x?authToken=${SECRET}`, "another text of 27 characters"],
    ["x".repeat(1_000_000), "another text of 1000000 characters"],
    [5, "5"],
    [true, "true"],
    [{ get: () => null }, "an object"],
    [() => "cache", "a function"],
    [Symbol("cache"), "Symbol(cache)"],
  ] as [unknown, string][]
) {
  Deno.test(`fuseFromEnv() refuses FUSE_STORE when it is ${shown}`, () => {
    assertRefused(
      { FUSE_STORE: value },
      `"FUSE_STORE" must be one of "array", "cache", "database", "tiered", received ${shown}`,
    );
  });
}

// The cache

Deno.test("fuseFromEnv() reads the variables of the Redis that FUSE_CACHE_STORE names", () => {
  const env = { ...UPSTASH, ...CRITICAL };
  const cacheOf = (more: object) => settingsOf({ ...env, ...more }).cache;
  const redis = {
    url: UPSTASH.UPSTASH_REDIS_REST_URL,
    token: UPSTASH.UPSTASH_REDIS_REST_TOKEN,
    prefix: "circuit_breaker",
  };
  const critical = { ...redis, url: "http://127.0.0.1:8079", token: "critical" };
  assertEquals(cacheOf({}), redis);
  assertEquals(cacheOf({ FUSE_CACHE_STORE: "redis" }), redis);
  for (const name of ["redis-critical", "redis_critical", "Redis-Critical"]) {
    assertEquals(cacheOf({ FUSE_CACHE_STORE: name }), critical);
  }
  assertEquals(cacheOf({ FUSE_CACHE_PREFIX: "cb:é{}*" }), { ...redis, prefix: "cb:é{}*" });
});

for (const name of ["-redis", "redis--x", "a b", "__proto__", "é", "a\0", "x".repeat(51), "1"]) {
  Deno.test(`fuseFromEnv() refuses FUSE_CACHE_STORE when it is ${JSON.stringify(name).slice(0, 20)}`, () => {
    assertRefused({ ...UPSTASH, FUSE_CACHE_STORE: name }, '"FUSE_CACHE_STORE" must be a name');
  });
}

for (const prefix of ["a b", "cb\n", "\ud800", "\x07", "x".repeat(201), 7, {}]) {
  Deno.test(`fuseFromEnv() refuses FUSE_CACHE_PREFIX when it is ${Deno.inspect(prefix).slice(0, 20)}`, () => {
    // The variable has no other purpose, so the default store does not matter.
    assertRefused(
      { FUSE_STORE: "array", FUSE_CACHE_PREFIX: prefix },
      '"FUSE_CACHE_PREFIX" must be a text of 1-200 characters without spaces',
    );
  });
}

Deno.test("fuseFromEnv() refuses a cache that is only half configured", () => {
  const { UPSTASH_REDIS_REST_URL, UPSTASH_REDIS_REST_TOKEN } = UPSTASH;
  for (const more of [{}, { FUSE_STORE: "cache" }, TURSO]) {
    const missing = 'must be set for the store "cache"';
    assertRefused(
      { ...more, UPSTASH_REDIS_REST_URL },
      `: "UPSTASH_REDIS_REST_TOKEN" ${missing}`,
    );
    assertRefused({ ...more, UPSTASH_REDIS_REST_TOKEN }, `: "UPSTASH_REDIS_REST_URL" ${missing}`);
  }
  const both = '"UPSTASH_REDIS_REST_URL" and "UPSTASH_REDIS_REST_TOKEN" must be set';
  for (
    const env of [
      { FUSE_STORE: "cache" },
      { FUSE_CACHE_STORE: "redis" },
      { FUSE_CACHE_PREFIX: "cb", ...TURSO },
    ]
  ) assertRefused(env, both);
  assertRefused({ ...UPSTASH, FUSE_CACHE_STORE: "redis-critical" }, '"UPSTASH_REDIS_CRITICAL_REST');
});

// Addresses and tokens

for (
  const [url, why] of [
    [`rediss://default:${SECRET}@x.upstash.io:6379`, "take the REST address"],
    [`https://user:${SECRET}@x.upstash.io`, "without credentials"],
    [`https://x.upstash.io?_token=${SECRET}`, "without credentials, query"],
    [`https://x.upstash.io/#${SECRET}`, "without credentials, query"],
    [`"https://x.upstash.io/${SECRET}"`, "quotes"],
    [` https://x.upstash.io/${SECRET}`, "another text of"],
    [`https://x.upstash.io/${SECRET}\r`, "another text of"],
    [`https://x y/${SECRET}`, "another text of"],
    [`https://x:99999/${SECRET}`, "another text of"],
    ["https://", "another text of 8 characters"],
    // Values that the client itself refuses, and repeats.
    ["https://b", "of a host of at least 2 characters, received another text of 9 characters"],
    [`https://$${SECRET}`, "of a host of at least 2 characters, received another text of"],
    [`HTTPS://${SECRET}.upstash.io`, "in lower case"],
    [`${SECRET}.upstash.io`, "another text of"],
    [`javascript:${SECRET}`, "another text of"],
    [`libsql://${SECRET}.turso.io`, "begins with https:// or http://"],
    [`https://${SECRET.repeat(100_000)}`, "at most 8000 characters, received one of 600008"],
    [new URL("https://x.upstash.io"), "characters, received an object"],
    [8079, "characters, received 8079"],
  ] as const
) {
  Deno.test(`fuseFromEnv() refuses ${String(url).slice(0, 40)} as address of Redis`, () => {
    const env = { ...UPSTASH, UPSTASH_REDIS_REST_URL: url };
    assertRefused(env, '"UPSTASH_REDIS_REST_URL" must be', why);
  });
}

for (
  const [url, why] of [
    [`file:${SECRET}.db?mode=ro`, "libsql({ client })"],
    [":memory:", "libsql({ client })"],
    [`libsql://x.turso.io?authToken=${SECRET}`, "without credentials, query"],
    [`libsql://x:${SECRET}@x.turso.io`, "without credentials"],
    [`mysql://root:${SECRET}@127.0.0.1/cb`, "begins with libsql:// or https:// or http://"],
    [`wss://${SECRET}.turso.io`, "begins with libsql:// or https:// or http://"],
    ["libsql:", "another text of 7 characters"],
    ["libsql://a b.turso.io", "another text of"],
  ] as const
) {
  Deno.test(`fuseFromEnv() refuses ${url} as address of the database`, () => {
    assertRefused({ ...TURSO, TURSO_DATABASE_URL: url }, '"TURSO_DATABASE_URL" must be', why);
    // A pair of our own variables is refused whatever the default store is.
    const own = { ...OWN, CB_DB_URL: url, FUSE_STORE: "array" };
    assertRefused(own, '"CB_DB_URL" must be', why);
  });
}

for (const token of [`${SECRET} `, `${SECRET}\n`, `"${SECRET}"`, `tökên-${SECRET}`, " ", 5, {}]) {
  Deno.test(`fuseFromEnv() refuses ${Deno.inspect(token)} as a token`, () => {
    assertRefused({ ...UPSTASH, UPSTASH_REDIS_REST_TOKEN: token }, '"UPSTASH_REDIS_REST_TOKEN"');
    assertRefused({ ...TURSO, TURSO_AUTH_TOKEN: token }, '"TURSO_AUTH_TOKEN" must be');
    assertRefused({ ...OWN, CB_DB_AUTH_TOKEN: token }, '"CB_DB_AUTH_TOKEN" must be');
  });
}

// The database

Deno.test("fuseFromEnv() prefers CB_DB_URL to TURSO_DATABASE_URL, and never mixes their tokens", () => {
  const databaseOf = (env: object) => {
    const { url, authToken } = settingsOf(env).database as Address;
    return { url, authToken };
  };
  const turso = { url: TURSO.TURSO_DATABASE_URL, authToken: TURSO.TURSO_AUTH_TOKEN };
  assertEquals(databaseOf(TURSO), turso);
  assertEquals(databaseOf({ ...TURSO, ...OWN }), { url: OWN.CB_DB_URL, authToken: "own-token" });
  // A custom server may need no token, and must not receive another's.
  assertEquals(databaseOf({ ...TURSO, CB_DB_URL: OWN.CB_DB_URL }), {
    url: OWN.CB_DB_URL,
    authToken: undefined,
  });
});

Deno.test("fuseFromEnv() refuses a database that is only half configured", () => {
  const { TURSO_DATABASE_URL, TURSO_AUTH_TOKEN } = TURSO;
  assertRefused({ FUSE_STORE: "database" }, '"TURSO_DATABASE_URL", or "CB_DB_URL", must be set');
  assertRefused({ TURSO_AUTH_TOKEN }, '"TURSO_DATABASE_URL", or "CB_DB_URL", must be set');
  assertRefused({ ...TURSO, CB_DB_AUTH_TOKEN: "x" }, '"CB_DB_URL" must be set');
  assertRefused({ TURSO_DATABASE_URL }, '"TURSO_AUTH_TOKEN" must be set for a database at Turso');
  assertRefused({ CB_DB_URL: TURSO_DATABASE_URL }, '"CB_DB_AUTH_TOKEN" must be set');
});

for (const name of ["CB_DB_HOST", "CB_DB_DATABASE"]) {
  Deno.test(`fuseFromEnv() refuses ${name}, and names what to set`, () => {
    for (const more of [{}, { FUSE_STORE: "array" }, OWN]) {
      assertRefused({ ...more, [name]: SECRET }, `"${name}" is not read`, "CB_DB_URL");
    }
    // A binding of that name belongs to something else.
    assertEquals(storesOf({ [name]: { prepare: () => null } }), ["array"]);
  });
}

// What is not ours

Deno.test("fuseFromEnv() refuses a misspelled variable by its name", () => {
  assertRefused(
    { FUSE_CACHE_PREFX: SECRET },
    'there is no variable "FUSE_CACHE_PREFX", only FUSE_STORE, FUSE_CACHE_STORE, FUSE_CACHE_PREFIX',
  );
  for (const name of ["FUSE_", "FUSE_store", "FUSE_STORE\n", "FUSE_\u{1f525}"]) {
    assertRefused({ [name]: "cache" }, `there is no variable ${JSON.stringify(name)}`);
  }
  assertRefused({ [`FUSE_${"X".repeat(100_000)}`]: 1 }, "there is no variable");
});

Deno.test("fuseFromEnv() ignores foreign variables in a Worker's env", () => {
  const hostile = {
    ...UPSTASH,
    FUSE_KV: { get: () => Promise.resolve(null) },
    FUSE_QUEUE: () => {},
    CACHE_DRIVER: { fetch: () => {} },
    DB_CONNECTION: 5,
    MAX_ITEMS: 10,
    FLAGS: { a: [1, 2] },
    DEBUG: false,
    NOTHING: null,
    fuse_store: "nonsense",
    get SECRETS(): never {
      throw new Error(SECRET);
    },
    get FUSE_BROKEN(): never {
      throw new Error(SECRET);
    },
  };
  assertEquals(storesOf(hostile), ["cache", "array"]);
  const parsed = JSON.parse('{ "__proto__": { "FUSE_STORE": "x" }, "FUSE_STORE": "array" }');
  assertEquals(storesOf(parsed), ["array"]);
  assertEquals(storesOf(Object.assign(Object.create(null), UPSTASH)), ["cache", "array"]);
  assertEquals(storesOf(Object.create(UPSTASH)), ["cache", "array"]);
  assertEquals(storesOf(Object.freeze({ ...UPSTASH })), ["cache", "array"]);
});

Deno.test("fuseFromEnv() reads an env that cannot be listed, and only names that it knows", () => {
  const asked = new Set<PropertyKey>();
  const env = new Proxy({}, {
    ownKeys() {
      throw new Error(SECRET);
    },
    get(_, name) {
      asked.add(name);
      return UPSTASH[name as keyof typeof UPSTASH];
    },
  });
  assertEquals(fuseFromEnv(env).make("a").store, "cache");
  const known = /^(FUSE|UPSTASH_REDIS|TURSO|CB_DB|DENO_DEPLOY|CACHE_DRIVER|DB_CONNECTION)/;
  assertEquals([...asked].filter((name) => !known.test(String(name))), []);
});

Deno.test("fuseFromEnv() names a variable that it cannot read", () => {
  for (const name of ["FUSE_STORE", "FUSE_CACHE_STORE", "FUSE_CACHE_PREFIX", "CB_DB_URL"]) {
    const env = Object.defineProperty({}, name, {
      get() {
        throw new Error(SECRET);
      },
    });
    assertRefused(env, `"${name}" must be`, "received a value that cannot be read");
  }
});

for (const env of [undefined, null, SECRET, 1, [], () => ({}), Deno.env]) {
  Deno.test(`fuseFromEnv() refuses ${Deno.inspect(env).slice(0, 20)} as env`, () => {
    assertRefused(env as object, '"env" must be an object of variables, such as Deno.env.toObject');
  });
}

for (const Entries of [Map, Headers, URLSearchParams]) {
  Deno.test(`fuseFromEnv() refuses a ${Entries.name}, whose entries are no properties`, () => {
    const entries = new Entries(Object.entries({ ...UPSTASH, FUSE_STORE: "cache" }));
    assertRefused(
      entries,
      '"env" must be an object of variables',
      "received entries, as a Map has; give Object.fromEntries(map)",
    );
    const variables = Object.fromEntries(entries);
    if (entries instanceof Map) assertEquals(storesOf(variables), ["cache", "array"]);
  });
}

Deno.test("fuseFromEnv() accepts the values of Deno.env and of a Node process", async () => {
  assertEquals(typeof settingsOf(Deno.env.toObject()).store, "string");
  const { default: process } = await import("node:process");
  assertEquals(settingsOf(process.env), settingsOf(Deno.env.toObject()));
});

// Vercel's names, the trail, tiered and the instance

const KV = { KV_REST_API_URL: "https://kv.example.com", KV_REST_API_TOKEN: `kv-${SECRET}` };

Deno.test("fuseFromEnv() reads Vercel's names of a Redis, and prefers those of Upstash", () => {
  const cacheOf = (env: object) => settingsOf(env).cache;
  const prefix = "circuit_breaker";
  const kv = { url: KV.KV_REST_API_URL, token: KV.KV_REST_API_TOKEN, prefix };
  assertEquals(cacheOf(KV), kv);
  assertEquals(cacheOf({ ...KV, FUSE_STORE: "cache", FUSE_CACHE_STORE: "redis" }), kv);
  assertEquals(settingsOf(KV).store, "cache");
  assertEquals(cacheOf({ ...KV, ...UPSTASH })?.url, UPSTASH.UPSTASH_REDIS_REST_URL);
  // Half of a pair is not completed from the other pair.
  const half = { ...KV, UPSTASH_REDIS_REST_URL: UPSTASH.UPSTASH_REDIS_REST_URL };
  assertRefused(half, '"UPSTASH_REDIS_REST_TOKEN" must be set');
  assertRefused({ KV_REST_API_URL: KV.KV_REST_API_URL }, '"KV_REST_API_TOKEN" must be set');
  assertRefused({ ...KV, FUSE_CACHE_STORE: "redis-critical" }, '"UPSTASH_REDIS_CRITICAL_REST_URL"');
});

Deno.test("fuseFromEnv() reads the contents of the trail, and its key", () => {
  const trailOf = (env: object) => {
    const { audit, trailKey } = settingsOf({ ...TURSO, ...env }).database!;
    return [audit, trailKey];
  };
  assertEquals(trailOf({}), ["transitions", undefined]);
  assertEquals(trailOf({ FUSE_AUDIT: "transitions" }), ["transitions", undefined]);
  assertEquals(trailOf({ FUSE_AUDIT: "calls", FUSE_TRAIL_KEY: SECRET }), ["calls", SECRET]);
  assertRefused({ ...TURSO, FUSE_AUDIT: "all" }, '"FUSE_AUDIT" must be "transitions" or "calls"');
  assertRefused({ ...TURSO, FUSE_TRAIL_KEY: { SECRET } }, '"FUSE_TRAIL_KEY" must be a text');
  assertEquals(settingsOf({ ...UPSTASH, FUSE_TRAIL_KEY: SECRET }).notes, [
    '"FUSE_TRAIL_KEY" has no effect, as there is no store "database"',
  ]);
  assertEquals(settingsOf({ FUSE_STORE: "array", FUSE_AUDIT: "calls" }).notes, []);
});

Deno.test("fuseFromEnv() makes a tiered store of both, when FUSE_STORE says so", () => {
  const env = { ...UPSTASH, ...TURSO, FUSE_STORE: "tiered" };
  const fuse = fuseFromEnv(env);
  assertEquals(fuse.make("a").store, "tiered");
  for (const name of ["array", "cache", "database"]) {
    assertEquals(fuse.store(name).make("a").store, name);
  }
  assertThrows(() => fuseFromEnv({ ...env, FUSE_STORE: "cache" }).store("tiered"), RangeError);
  assertRefused({ ...UPSTASH, FUSE_STORE: "tiered" }, 'must be set for the store "database"');
  assertRefused({ ...TURSO, FUSE_STORE: "tiered" }, 'must be set for the store "cache"');
  assertEquals(settingsOf({ ...env, FUSE_AUDIT: "calls" }).notes.length, 1);
});

Deno.test("fuseFromEnv() reads the name of the instance", () => {
  assertEquals(settingsOf({ FUSE_INSTANCE: "fra1" }).instance, "fra1");
  fuseFromEnv({ FUSE_INSTANCE: "fra1" }, { instance: "iad1" });
  for (const value of ["a\nb", "x".repeat(101), "\u202ex", 7]) {
    assertRefused({ FUSE_INSTANCE: value }, '"FUSE_INSTANCE" must be a text of 1-100 characters');
  }
});

Deno.test("fuseFromEnv() accepts a file for the database", () => {
  const url = "file:/var/lib/circuits.db";
  assertEquals((settingsOf({ CB_DB_URL: url }).database as Address).url, url);
  assertEquals(settingsOf({ TURSO_DATABASE_URL: url }).store, "database");
});
