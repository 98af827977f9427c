// Secrets are planted in all possible places, and all visible output is searched for them.
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { createClient } from "@libsql/client";
import { Redis } from "@upstash/redis/cloudflare";
import { Hono } from "hono";
import { createFuse, type Fuse, type FuseEvent, memory, type Store } from "@fuse/edge";
import { circuitBreaker, health, metrics } from "@fuse/edge/hono";
import { libsql, type LibsqlClient, tiered } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { type RedisLike, upstash } from "@fuse/edge/upstash";
import { redis } from "../support/fuzz_drivers.ts";
import { runs } from "../support/hostile.ts";
import { startFace } from "../support/upstash_face.ts";

// Deno leaves them off.
Deno.test.sanitizer({ ops: true, resources: true });

/** Not words of any message, so each occurrence is a leak. */
const SECRETS = ["tok3n-Zq7", "hunter2pa55", "authJWT-9xk", "trailkey-Vv4", "userErr-Kp8"] as const;
const [TOKEN, PASSWORD, AUTH_TOKEN, TRAIL_KEY, OF_USER] = SECRETS;
/** The form of a password in an address. */
const URLS = [
  `https://user:${PASSWORD}@127.0.0.1:1`,
  `https://${PASSWORD}@127.0.0.1:1/path`,
  `http://127.0.0.1:1/?_token=${PASSWORD}`,
  `http://127.0.0.1:1/${PASSWORD}/a#${PASSWORD}`,
  `rediss://default:${PASSWORD}/x@127.0.0.1:1`,
  `libsql://127.0.0.1:1?authToken=${PASSWORD}`,
  `postgres://user:p@${PASSWORD}@h`,
  ` http://u:${PASSWORD}@h`,
  `${PASSWORD}`,
];

/** Returns everything of a value that a log, a console or a serializer shows. */
function shown(value: unknown, depth = 6): string {
  const parts = [String(value), Deno.inspect(value, { depth: 10, strAbbreviateSize: 1e6 })];
  try {
    parts.push(JSON.stringify(value, (_, v) => typeof v === "bigint" ? String(v) : v) ?? "");
  } catch {
    // It cannot be serialized, so it leaks nothing that way.
  }
  if (value instanceof Error && depth > 0) {
    parts.push(value.message, value.stack ?? "", shown(value.cause, depth - 1));
    if (value instanceof AggregateError) {
      parts.push(...value.errors.map((e) => shown(e, depth - 1)));
    }
  }
  return parts.join("\n");
}

function assertNoSecret(seen: string, where: string, secrets: readonly string[] = SECRETS): void {
  for (const secret of secrets) {
    for (const form of [secret, encodeURIComponent(secret), btoa(secret)]) {
      const i = seen.indexOf(form);
      assert(i < 0, `${where} shows a secret: …${seen.slice(Math.max(0, i - 80), i + 40)}…`);
    }
  }
}

/** Runs `work`, and captures console output. */
async function withConsole(body: (written: string[]) => Promise<void>): Promise<void> {
  const written: string[] = [];
  const methods = ["log", "info", "warn", "error", "debug"] as const;
  const kept = methods.map((method) => console[method]);
  for (const method of methods) {
    console[method] = (...all: unknown[]) => void written.push(...all.map((one) => shown(one)));
  }
  try {
    await body(written);
  } finally {
    methods.forEach((method, i) => console[method] = kept[i]!);
  }
}

/** Uses a Fuse in every way, and returns everything visible. */
async function everything(store: Store, trail: boolean): Promise<[where: string, seen: string][]> {
  const seen: [string, string][] = [];
  const see = async (where: string, ask: () => unknown) => {
    try {
      seen.push([where, shown(await ask())]);
    } catch (error) {
      seen.push([where, shown(error)]);
    }
  };
  const fuse: Fuse = createFuse({
    ...{ stores: { s: store }, storeTimeoutMs: 30_000 },
    defaults: { consistency: "strong", failureThreshold: 2 },
  });
  // Errors of a user's code are in the events of its call, on purpose.
  const own = ({ error: _, ...event }: FuseEvent & { error?: unknown }) =>
    ["failure", "slow"].includes(event.type);
  fuse.on("*", (event) => {
    const { error, ...rest } = event as FuseEvent & { error?: unknown };
    seen.push([event.type, shown(own(event) ? rest : { ...rest, error, in: shown(error) })]);
  });
  const breaker = fuse.make("orders");
  const boom = new Error(`cannot reach https://user:${OF_USER}@upstream`);
  for (let i = 0; i < 3; i++) {
    const result = await breaker.tryCall(() => Promise.reject(boom));
    const error = !result.ok && !result.rejected ? null : result;
    seen.push(["tryCall()", shown(error)]);
    await fuse.flush();
  }
  await see("call() rejected", () => breaker.call(() => 1));
  await see("rejection", async () => {
    const error = await breaker.call(() => 1).catch((error) => error);
    return [error.toJSON?.(), await error.getResponse?.().text()];
  });
  for (
    const [where, ask] of Object.entries({
      snapshot: () => breaker.snapshot(),
      explain: () => breaker.explain(),
      metrics: () => breaker.getMetrics(),
      forceOpen: () => breaker.forceOpen({ reason: "r" }),
      release: () => breaker.release(),
      reset: () => breaker.reset(),
      list: () => Array.fromAsync(fuse.list()),
      export: () => fuse.exportState(),
      history: () => trail ? Array.fromAsync(fuse.history()) : null,
      fuse: () => [fuse, breaker, store],
    })
  ) await see(where, ask as () => unknown);

  const app = new Hono();
  app.get("/health", health({ fuse, critical: ["orders"] }));
  app.get("/metrics", metrics({ fuse }));
  app.use("/orders", circuitBreaker({ fuse, name: "orders", options: { onStoreError: "reject" } }));
  app.get("/orders", () => {
    throw boom;
  });
  app.onError((error, c) =>
    "getResponse" in error ? (error as { getResponse(): Response }).getResponse() : c.text("", 500)
  );
  for (const path of ["/orders", "/orders", "/orders", "/health", "/metrics"]) {
    await see(path, async () => {
      const response = await app.request(path);
      return [response.status, [...response.headers], await response.text()];
    });
  }
  return seen;
}

async function assertKeepsSecrets(store: Store, trail: boolean): Promise<void> {
  await withConsole(async (written) => {
    for (const [where, seen] of await everything(store, trail)) assertNoSecret(seen, where);
    assertNoSecret(written.join("\n"), "the console");
  });
}

Deno.test("memory() shows no secret of a user's error anywhere", async () => {
  await assertKeepsSecrets(memory(), false);
});

Deno.test("upstash() shows no token, whatever happens to a request", async () => {
  await using face = await startFace({ redis, token: TOKEN });
  for (const [i, fault] of [undefined, "refuse", 401, 429, 500, 502, "garbage"].entries()) {
    face.fault = () => fault as never;
    for (const token of [TOKEN, `${TOKEN}-wrong`]) {
      const { url } = face;
      await assertKeepsSecrets(upstash({ url, token, prefix: `secret-${i}` }), false);
      const client = new Redis({ url, token, retry: { retries: 0 } });
      await assertKeepsSecrets(upstash({ redis: client, prefix: `secret-c${i}` }), false);
    }
  }
});

Deno.test("upstash() and libsql() show no secret of an address or a token that they receive", async () => {
  for (const url of URLS) {
    for (
      const make of [
        () => upstash({ url, token: TOKEN }),
        () => upstash({ url: "https://127.0.0.1:1", token: `${TOKEN} \u20ac` }),
        () => upstash({ url: TOKEN, token: url }),
        () => upstash({ url, token: TOKEN, tokn: TOKEN } as never),
        () => upstash({ redis: url } as never),
        () => upstash({ redis: { url, token: TOKEN } } as never),
        () => upstash(url as never),
        () => libsql({ url, authToken: AUTH_TOKEN }),
        () => libsql({ url, authToken: `${AUTH_TOKEN}\n\u20ac` }),
        () => libsql({ url, authToken: { AUTH_TOKEN } } as never),
        () => libsql({ client: url } as never),
        () => libsql({ client: { url, authToken: AUTH_TOKEN } } as never),
        () => libsql({ url: "http://127.0.0.1:1", replica: url } as never),
        () => libsql({ url: "http://127.0.0.1:1", trailKey: { TRAIL_KEY } } as never),
        () => libsql({ url: "http://127.0.0.1:1", schema: url } as never),
        () => libsql(url as never),
        () => tiered({ state: url, audit: url } as never),
        () => tiered(url as never),
        () => createFuse({ stores: { s: url } } as never),
        () => createFuse({ stores: url } as never),
        () => createFuse(url as never),
      ]
    ) {
      let store;
      try {
        store = make();
      } catch (error) {
        assertNoSecret(shown(error), `${make}`);
        continue;
      }
      assertNoSecret(shown(store), `${make}`);
      if ("traits" in store) await assertKeepsSecrets(store, store.name === "libsql");
    }
  }
});

/** Errors of clients: with addresses, tokens, commands and statements in all parts of an error. */
function errorsOf(): unknown[] {
  const url = URLS[0]!;
  const plain = [
    `connect ECONNREFUSED ${url}`,
    `error sending request for url (${URLS[2]}): client error (Connect)`,
    `WRONGPASS invalid password, command was: ["AUTH","${PASSWORD}"]`,
    `Unauthorized: ${TOKEN}`,
    `Authorization: Bearer ${TOKEN}`,
    `invalid token ${PASSWORD}`,
    `SQLITE_ERROR: near "${PASSWORD}": syntax error`,
    `no such table: ${PASSWORD}`,
    PASSWORD,
  ];
  // A server's own words are shown, but no address.
  const said = URLS.slice(0, 6).map((url) => new Error(`ERR upstream ${url} is away`));
  return plain.flatMap((message): unknown[] => [
    new Error(message),
    new TypeError(message, { cause: new Error(PASSWORD, { cause: url }) }),
    Object.assign(new Error(message), { code: PASSWORD, name: PASSWORD, url, token: TOKEN }),
    Object.assign(new Error(message), { code: "SQLITE_ERROR", rawCode: 1, cause: { status: 401 } }),
    new AggregateError([new Error(message)], message),
    message,
    { message },
    { [PASSWORD]: message },
  ]).concat(said, said);
}

Deno.test("upstash(), libsql() and tiered() show no secret of an error that a client throws", async () => {
  const inner = createClient({ url: ":memory:" });
  try {
    await migrate(inner);
    const property = fc.asyncProperty(fc.constantFrom(...errorsOf()), async (error) => {
      const fails = () => Promise.reject(error);
      const methods = ["evalsha", "eval", "scan", "del"].map((name) => [name, fails]);
      const pipeline = () => ({ evalsha() {}, exec: fails });
      const client = { ...Object.fromEntries(methods), pipeline } as RedisLike;
      await assertKeepsSecrets(upstash({ redis: client }), false);
      const said = {
        ...client,
        pipeline: () => ({ evalsha() {}, exec: () => Promise.resolve([{ error }]) }),
      };
      await assertKeepsSecrets(upstash({ redis: said as unknown as RedisLike }), false);
      const database = { execute: fails, batch: fails } as unknown as LibsqlClient;
      await assertKeepsSecrets(libsql({ client: database, trailKey: TRAIL_KEY }), true);
      const state = memory();
      const audit = libsql({ client: database, trailKey: TRAIL_KEY, busyTimeoutMs: 0 });
      await assertKeepsSecrets(tiered({ state, audit }), true);
    });
    const examples = errorsOf().slice(-6).map((error) => [error] as [unknown]);
    await fc.assert(property, { ...runs(24), examples });
  } finally {
    inner.close();
  }
});

Deno.test("libsql() stores no secret in its tables: no key, no text of an error", async () => {
  for (const audit of ["transitions", "calls"] as const) {
    const client = createClient({ url: ":memory:" });
    try {
      await migrate(client);
      const store = libsql({ client, trailKey: TRAIL_KEY, audit });
      await assertKeepsSecrets(store, true);
      const { rows } = await client.execute("select name from sqlite_master where type = 'table'");
      let read = 0;
      for (const { name } of rows) {
        const table = await client.execute(`select * from "${name}"`);
        read += table.rows.length;
        assertNoSecret(JSON.stringify(table.rows), `${name}`);
      }
      assert(read > 3);
      assertEquals((await store.verifyTrail()).ok, true);
    } finally {
      client.close();
    }
  }
});
