/**
 * A small program of a Node project that has `@fuse/edge` from npm. `tests/system/node_test.ts` installs the
 * package, compiles this with TypeScript's own compiler, and runs it.
 */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { env } from "node:process";
import { serve } from "@hono/node-server";
import { createFuse, isCallTimeoutError, isCircuitBreakerOpenError } from "@fuse/edge";
import { fuseFromEnv } from "@fuse/edge/env";
import { circuitBreaker, type FuseVariables, health } from "@fuse/edge/hono";
import { circuitBreakers, isHealthy, libsql, localClient } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { FakeClock, storeContract } from "@fuse/edge/testing";
import { upstash } from "@fuse/edge/upstash";
import { createClient } from "@libsql/client";
import { drizzle } from "drizzle-orm/libsql";
import { migrate as drizzleMigrate } from "drizzle-orm/libsql/migrator";
import { Hono } from "hono";

/** The ending of an upstream's body, and how it counts. */
interface StreamCase {
  path: string;
  method?: string;
  headers?: Record<string, string>;
  limits?: Record<string, number>;
  text: string | null;
  error?: string;
  counted: [number, number];
}

const parts: Readonly<Record<string, () => Promise<void>>> = {
  async core() {
    await using fuse = createFuse();
    const breaker = fuse.make("payments", { failureThreshold: 2, fallback: () => "later" });
    assert.equal(await breaker.call(() => "paid"), "paid");

    const failed = await breaker.tryCall(() => Promise.reject(new Error("connection refused")));
    assert.equal(failed.ok, false);
    const late = breaker.call(({ signal }) => untilAborted(signal), { timeoutMs: 5 });
    assert.ok(isCallTimeoutError(await thrownBy(late)));

    assert.equal(await breaker.call(() => "paid"), "later");
    const error = await thrownBy(fuse.make("payments").call(() => "paid"));
    assert.ok(isCircuitBreakerOpenError(error));
    assert.ok(error.retryAfterMs > 0);
    assert.equal(error.getResponse().status, 503);
  },

  async fetch() {
    const upstream = createServer((_, response) => response.writeHead(503).end("down"));
    await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
    const { port } = upstream.address() as AddressInfo;
    try {
      await using fuse = createFuse({ defaults: { failureThreshold: 2 } });
      const guarded = fuse.make("upstream").fetch;
      for (let i = 0; i < 2; i++) {
        assert.equal(await (await guarded(`http://127.0.0.1:${port}/`)).text(), "down");
      }
      assert.ok(isCircuitBreakerOpenError(await thrownBy(guarded(`http://127.0.0.1:${port}/`))));
    } finally {
      upstream.close();
    }
  },

  async bodies() {
    const cases = JSON.parse(env.SHOP_STREAM_CASES ?? "[]") as StreamCase[];
    assert.ok(cases.length > 10);
    await using fuse = createFuse({ defaults: { settle: "body" } });
    for (const [i, { path, limits, text, error, counted, ...init }] of cases.entries()) {
      const breaker = fuse.make(`case ${i}`, limits);
      const response = await breaker.fetch(env.SHOP_STREAMS + path, init);
      assert.equal(response.url, env.SHOP_STREAMS + path);
      const reading = response.text();
      if (text !== null) assert.equal(await reading, text, path);
      else {
        const thrown = await thrownBy(reading);
        assert.ok(thrown instanceof Error, path);
        if (error !== undefined) assert.equal(thrown.name, error);
      }
      const { totalSuccesses, totalFailures } = await breaker.getMetrics();
      assert.deepEqual([totalSuccesses, totalFailures], counted, path);
    }

    // Passes the body on to a client that disconnects.
    const app = new Hono().use(circuitBreaker({ fuse, name: "route" }))
      .get("/", () => fetch(`${env.SHOP_STREAMS}/stall`));
    const ended = new Promise<string>((resolve) => fuse.on("ignored", ({ name }) => resolve(name)));
    const server = serve({ fetch: app.fetch, hostname: "127.0.0.1", port: 0 });
    try {
      await new Promise((resolve) => server.once("listening", resolve));
      const { port } = server.address() as AddressInfo;
      const client = new AbortController();
      const { signal } = client;
      const reader = (await fetch(`http://127.0.0.1:${port}/`, { signal })).body!.getReader();
      await reader.read();
      client.abort();
      await thrownBy(reader.read());
      assert.equal(await ended, "route");
    } finally {
      server.close();
    }
  },

  async upstash() {
    const { UPSTASH_REDIS_REST_URL: url, UPSTASH_REDIS_REST_TOKEN: token } = env;
    assert.ok(url && token);
    const make = () => createFuse({ stores: { cache: upstash({ url, token }) }, storeTimeoutMs });
    await using one = make();
    await using other = make();
    await fail(one.make("shared", { failureThreshold: 2 }), 2);
    await one.flush();
    assert.equal(await other.make("shared", { failureThreshold: 2 }).getState(), "OPEN");
  },

  async libsql() {
    const client = createClient({ url: `file:${env.SHOP_DATABASE}` });
    try {
      // The package contains the files that drizzle-kit reads, and both agree about the applied
      // migrations.
      await drizzleMigrate(drizzle(client), {
        migrationsFolder: "node_modules/@fuse/edge/migrations",
      });
      assert.deepEqual((await migrate(client)).applied, []);
      const clock = new FakeClock();
      const store = libsql({ client, clock: clock.now });
      await using fuse = createFuse({ stores: { database: store }, storeTimeoutMs });
      const breaker = fuse.make("reports", { failureThreshold: 2 });
      await fail(breaker, 2);
      await fuse.flush();
      await breaker.reset({ actor: "ada" });

      const events: string[] = [];
      for await (const { event } of breaker.history()) events.push(event);
      assert.deepEqual(events, ["reset", "opened"]);
      const [row] = await drizzle(client).select().from(circuitBreakers);
      assert.ok(row !== undefined && isHealthy(row));
      assert.ok(row.updatedAt instanceof Date);
      assert.equal((await store.verifyTrail()).ok, true);
      clock.advance(60_001);
      assert.equal((await store.prune({ olderThanMs: 60_000 })).deleted, 1);
    } finally {
      client.close();
    }
  },

  async localClient() {
    const client = localClient(`file:${env.SHOP_DATABASE}`);
    // `createClient()`, which takes its place where there is no native part, refuses such a number.
    const { rows } = await client.execute({ sql: "select 9007199254740993 as n", args: [] });
    assert.deepEqual(Array.from(rows, ({ n }) => n), [9007199254740993n]);
    await using fuse = createFuse({ stores: { database: libsql({ client }) }, storeTimeoutMs });
    const breaker = fuse.make("local", { failureThreshold: 2, consistency: "strong" });
    assert.equal(await breaker.call(() => "fine"), "fine");
    await fail(breaker, 2);
    assert.equal(await breaker.getState(), "OPEN");
    await fuse.flush();
    assert.equal((await breaker.getMetrics()).totalSuccesses, 1);
    client.close();
  },

  async env() {
    await using fuse = fuseFromEnv(env, { storeTimeoutMs });
    assert.equal(await fuse.make("from-env").call(() => "fine"), "fine");
    await fuse.flush();
    assert.equal((await fuse.make("from-env").snapshot()).store, "cache");
  },

  async hono() {
    await using fuse = createFuse({ defaults: { failureThreshold: 2 } });
    const app = new Hono<{ Variables: FuseVariables }>()
      .get("/health", health({ fuse }))
      .use("/orders/*", circuitBreaker({ fuse, name: "orders" }))
      .get("/orders/:id", (c) => c.text("no database", 500));
    const server = serve({ fetch: app.fetch, hostname: "127.0.0.1", port: 0 });
    try {
      await new Promise((resolve) => server.once("listening", resolve));
      const { port } = server.address() as AddressInfo;
      const get = async (path: string) => {
        const response = await fetch(`http://127.0.0.1:${port}${path}`);
        return { status: response.status, body: await response.text() };
      };
      for (let i = 0; i < 2; i++) assert.equal((await get("/orders/7")).status, 500);
      assert.equal((await get("/orders/7")).status, 503);
      const { status, body } = await get("/health");
      const { openedBy, ...told } = JSON.parse(body);
      assert.equal(status, 200);
      assert.deepEqual(told, { status: "degraded", open: ["orders"], stores: { array: "ok" } });
      assert.equal(openedBy.orders.status, 500);
    } finally {
      server.close();
    }
  },

  async testing() {
    const clock = new FakeClock();
    await using fuse = createFuse({ clock: clock.now });
    const breaker = fuse.make("orders", { failureThreshold: 1, cooldownMs: 60_000 });
    await fail(breaker, 1);
    assert.equal(await breaker.getState(), "OPEN");
    clock.advance(60_000);
    assert.equal(await breaker.getState(), "HALF_OPEN");

    const { memory } = await import("@fuse/edge");
    const cases = storeContract(({ clock }) => memory({ clock }));
    for (const { run } of cases) await run();
    assert.ok(cases.length > 20);
  },
};

/** All of `exports`: an entry point without a part of its own here must load as well. */
const entryPoints = JSON.parse(env.SHOP_ENTRY_POINTS ?? "[]") as string[];

/** A busy machine must not look like a store that does not answer. */
const storeTimeoutMs = 30_000;

for (const entry of entryPoints) {
  assert.ok(Object.keys(await import(`@fuse/edge${entry.slice(1)}`)).length > 0, entry);
}
for (const [name, run] of Object.entries(parts)) {
  await run();
  console.log(`${name} works`);
}

async function fail(
  breaker: { tryCall(fn: () => Promise<never>): Promise<unknown> },
  times: number,
): Promise<void> {
  for (let i = 0; i < times; i++) {
    await breaker.tryCall(() => Promise.reject(new Error("no answer")));
  }
}

function thrownBy(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(() => undefined, (error: unknown) => error);
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
}
