// The outcomes that the middleware counts.
import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { type CircuitBreakerOpenError, createFuse, isCircuitBreakerOpenError } from "@fuse/edge";
import { circuitBreaker } from "@fuse/edge/hono";
import { type Context, Hono } from "hono";
import { cors } from "hono/cors";
import { HTTPException } from "hono/http-exception";
import { answerErrors, boom, guarded, TRIP, utf8 } from "./app.ts";

for (
  const [what, handler, state] of [
    ["200", (c) => c.text("fine"), "CLOSED"],
    ["404", (c) => c.notFound(), "CLOSED"],
    ["500", (c) => c.text("broken", 500), "OPEN"],
    ["503", (c) => c.text("busy", 503), "OPEN"],
    ["429", (c) => c.text("too many", 429), "OPEN"],
    ["an error", () => boom(), "OPEN"],
    ["an HTTPException 404", () => raise(404), "CLOSED"],
    ["an HTTPException 502", () => raise(502), "OPEN"],
    ["an HTTPException 429", () => raise(429), "OPEN"],
  ] as [string, (c: Context) => Response, string][]
) {
  Deno.test(`circuitBreaker() judges ${what}: ${state}`, async () => {
    const { app, fuse } = guarded({}, handler);
    app.onError(answerErrors);
    await app.request("/");
    assertEquals(await fuse.make("api").getState(), state);
  });
}

Deno.test("circuitBreaker() counts an error even if onError answers otherwise", async () => {
  for (const error of [new Error("hidden"), new HTTPException(503)]) {
    const { app, fuse } = guarded({}, () => {
      throw error;
    });
    app.onError((_error, c) => c.text("nothing happened", 200));
    assertEquals((await app.request("/")).status, 200);
    assertEquals(await fuse.make("api").getState(), "OPEN");
  }
});

Deno.test("circuitBreaker() counts a 5xx that onError makes of an HTTPException", async () => {
  const { app, fuse } = guarded({}, () => raise(404));
  app.onError((_error, c) => c.text("all is lost", 500));
  await app.request("/");
  assertEquals(await fuse.make("api").getState(), "OPEN");
});

Deno.test("circuitBreaker() passes on and counts thrown values that are no Error", async () => {
  const { app, fuse } = guarded({}, () => {
    throw "a string";
  });
  const thrown = await (async () => await app.request("/"))().catch((thrown) => thrown);
  assertEquals(thrown, "a string");
  assertEquals(await fuse.make("api").getState(), "OPEN");
});

Deno.test("circuitBreaker() judges by isFailure of the middleware", async () => {
  const { app, fuse } = guarded(
    { isFailure: (c) => c.res.headers.has("x-stale") || c.error instanceof RangeError },
    (c) => c.req.path === "/stale" ? c.text("old", 200, { "x-stale": "1" }) : c.text("no", 500),
  );
  await app.request("/");
  assertEquals(await fuse.make("api").getState(), "CLOSED");
  await app.request("/stale");
  assertEquals(await fuse.make("api").getState(), "OPEN");
});

Deno.test("circuitBreaker() judges with the Fuse's options", async () => {
  const fuse = createFuse({
    circuits: { api: { ...TRIP, ignore: [RangeError], isFailure: (outcome) => !outcome.ok } },
  });
  let handler: () => Response = () => new Response(null, { status: 500 });
  const { app } = guarded({ fuse, options: undefined }, () => handler());
  app.onError(answerErrors);
  await app.request("/");
  handler = () => {
    throw new RangeError("no such page");
  };
  await app.request("/");
  assertEquals(await fuse.make("api").getState(), "CLOSED");
  handler = () => boom();
  await app.request("/");
  assertEquals(await fuse.make("api").getState(), "OPEN");
});

Deno.test("circuitBreaker() returns the response unchanged, its stream unread", async () => {
  let pulled = 0;
  const body = new ReadableStream({
    pull(controller) {
      controller.enqueue(new TextEncoder().encode(`${++pulled}`));
      if (pulled === 3) controller.close();
    },
  }, { highWaterMark: 0 });
  const original = new Response(body, { status: 201, headers: { "x-own": "yes" } });
  const { app, fuse } = guarded({}, () => original);
  const response = await app.request("/");

  assertStrictEquals(response, original);
  assertEquals([pulled, response.bodyUsed, response.body?.locked], [0, false, false]);
  assertEquals((await fuse.make("api").getMetrics()).totalSuccesses, 1);
  assertEquals(await response.text(), "123");
});

Deno.test("circuitBreaker() counts neutral when the client disconnected", async () => {
  const client = new AbortController();
  const { app, fuse } = guarded({}, (c) => {
    client.abort();
    c.req.raw.signal.throwIfAborted();
    return c.text("unreachable");
  });
  app.onError((_error, c) => c.text("nobody reads this", 500));
  const response = await app.request("/", { signal: client.signal });
  assertEquals(await response.text(), "nobody reads this");
  const { totalSuccesses, totalFailures } = await fuse.make("api").getMetrics();
  assertEquals([totalSuccesses, totalFailures], [0, 0]);
});

Deno.test("circuitBreaker() returns a trial's slot when the client disconnected", async () => {
  let client = new AbortController();
  let leaves = false;
  const { app, fuse, clock } = guarded({}, (c) => {
    if (leaves) client.abort();
    return c.text("", leaves || client.signal.aborted ? 500 : 200);
  });
  await fuse.make("api").tryCall(() => boom());
  clock.advance(5_000);
  leaves = true;
  await app.request("/", { signal: client.signal });
  assertEquals(await fuse.make("api").getState(), "HALF_OPEN");

  client = new AbortController();
  leaves = false;
  assertEquals((await app.request("/", { signal: client.signal })).status, 200);
  assertEquals(await fuse.make("api").getState(), "CLOSED");
});

Deno.test("circuitBreaker() runs the routes for a client that has already disconnected", async () => {
  let ran = false;
  const { app } = guarded({}, (c) => {
    ran = true;
    return c.text("done");
  });
  assertEquals(
    await (await app.request("/", { signal: AbortSignal.abort() })).text(),
    "done",
  );
  assert(ran);
});

Deno.test("circuitBreaker() does not count rejections of an inner circuit", async () => {
  for (const onOpen of [undefined, () => new Response("from the cache", { status: 502 })]) {
    const fuse = createFuse({ defaults: TRIP });
    await fuse.make("inner").forceOpen();
    const app = new Hono();
    app.use(circuitBreaker({ fuse, name: "outer" }));
    app.use("/middleware", circuitBreaker({ fuse, name: "inner", onOpen }));
    app.get("/call", async (c) => c.text(await fuse.make("inner").call(() => "unreachable")));

    assertEquals((await app.request("/middleware")).status, onOpen ? 502 : 503);
    assertEquals((await app.request("/call")).status, 503);
    assertEquals((await fuse.make("outer").getMetrics()).totalFailures, 0);
  }
});

for (
  const [what, answer] of [
    ["a handler returns", (error) => error.getResponse()],
    ["a handler throws", (error) => {
      throw new HTTPException(503, { res: error.getResponse() });
    }],
    ["onError makes of it", (error) => {
      throw error;
    }],
  ] as [string, (error: CircuitBreakerOpenError) => Response][]
) {
  Deno.test(`circuitBreaker() does not count the response to a rejection that ${what}`, async () => {
    for (const isFailure of [undefined, () => true]) {
      const fuse = createFuse({ defaults: TRIP });
      const app = new Hono().use(circuitBreaker({ fuse, name: "api", isFailure }));
      app.use(async (c, next) => {
        await next();
        c.res.headers.set("x-request-id", "7");
      });
      app.get("/", async () => {
        try {
          return new Response(await fuse.make("inner").call(() => "unreachable"));
        } catch (error) {
          return answer(error as CircuitBreakerOpenError);
        }
      });
      app.onError((error, c) =>
        isCircuitBreakerOpenError(error) ? error.getResponse() : answerErrors(error, c)
      );
      await fuse.make("inner").forceOpen();
      const response = await app.request("/");
      assertEquals([response.status, response.headers.get("x-request-id")], [503, "7"]);
      assertEquals((await response.json()).title, "Service Unavailable");
      const { totalSuccesses, totalFailures } = await fuse.make("api").getMetrics();
      assertEquals([totalSuccesses, totalFailures], [0, 0]);
    }
  });
}

Deno.test("circuitBreaker() recognizes a rejection that is thrown behind cors(), for which Hono builds it anew", async () => {
  const fuse = createFuse({ defaults: TRIP });
  await fuse.make("inner").forceOpen();
  const app = new Hono().use(cors()).use(circuitBreaker({ fuse, name: "outer" }));
  app.get("/", async (c) => c.text(await fuse.make("inner").call(() => "unreachable")));
  app.onError((error, c) =>
    isCircuitBreakerOpenError(error) ? error.getResponse() : answerErrors(error, c)
  );
  const { status, headers } = await app.request("/");
  assertEquals([status, headers.get("access-control-allow-origin")], [503, "*"]);
  assertEquals((await fuse.make("outer").getMetrics()).totalFailures, 0);
});

for (
  const [what, read] of [
    ["reads", (c) => c.req.text()],
    [
      "hands on",
      (c, upstream) => fetch(upstream, { method: "POST", body: c.req.raw.body }).then(() => ""),
    ],
  ] as [string, (c: Context, upstream: string) => Promise<string>][]
) {
  Deno.test(`circuitBreaker() counts neutral when the client leaves while a route ${what} its body`, async () => {
    await using upstream = Deno.serve({ port: 0, onListen() {} }, async (request) => {
      await request.text().catch(() => {});
      return new Response();
    });
    const arrived = Promise.withResolvers<void>();
    const left = Promise.withResolvers<void>();
    const { app, fuse } = guarded({}, async (c) => {
      arrived.resolve();
      return c.text(await read(c, `http://localhost:${upstream.addr.port}`));
    });
    app.onError((_error, c) => {
      left.resolve();
      return c.text("", 500);
    });
    await using server = Deno.serve({ port: 0, onListen() {} }, app.fetch);
    const client = await Deno.connect({ port: server.addr.port });
    await client.write(utf8("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf"));
    await arrived.promise;
    client.close();
    await left.promise;
    await server.shutdown();

    const { totalSuccesses, totalFailures } = await fuse.make("api").getMetrics();
    assertEquals([totalSuccesses, totalFailures], [0, 0]);
  });
}

function raise(status: 404 | 429 | 502): never {
  throw new HTTPException(status);
}
