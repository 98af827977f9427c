// The middleware's answer when a circuit rejects.
import { assert, assertEquals } from "@std/assert";
import { createFuse, isCallTimeoutError, isStoreUnavailableError } from "@fuse/edge";
import { circuitBreaker, type FuseVariables, health, metrics } from "@fuse/edge/hono";
import { Hono } from "hono";
import { HTTPException } from "hono/http-exception";
import { answerErrors, boom, guarded, shared, TRIP, utf8 } from "./app.ts";

Deno.test("circuitBreaker() answers 503 with Retry-After and problem+json while open", async () => {
  let ran = 0;
  const { app, clock } = guarded({}, (c) => {
    ran++;
    return c.text("broken", 500);
  });
  await app.request("/");
  clock.advance(1_500);
  const response = await app.request("/");

  assertEquals(response.status, 503);
  assertEquals(response.headers.get("retry-after"), "4");
  assertEquals(response.headers.get("content-type"), "application/problem+json");
  assertEquals(response.headers.get("cache-control"), "no-store");
  assertEquals(await response.json(), {
    type: "about:blank",
    title: "Service Unavailable",
    status: 503,
    retryAfterMs: 3_500,
  });
  assertEquals(ran, 1);
});

// Rule 10, trap 52.
for (const expose of [undefined, false, true]) {
  Deno.test(`circuitBreaker() reveals internals only with expose (${expose})`, async () => {
    const secret = "the contract with ACME ended";
    const fuse = createFuse({ storeTimeoutMs: 1 });
    const app = new Hono().onError(answerErrors);
    const options = { onStoreError: "reject", callTimeoutMs: 1 } as const;
    app.use("/:name", circuitBreaker({ fuse, name: (c) => c.req.param("name"), options, expose }));
    app.get("/slow", () => new Promise<never>(() => {}));
    await fuse.make("forced").forceOpen({ reason: secret, actor: "ada" });
    const down = circuitBreaker({
      fuse: shared({}, { down: () => true }).fuse,
      name: "hidden",
      options,
      expose,
    });
    app.get("/store/down", down, (c) => c.text(""));
    const told: string[] = [];
    for (const path of ["/forced", "/slow", "/store/down"]) {
      const response = await app.request(path);
      told.push(`${response.status} ${await response.text()}`);
    }
    assertEquals(told.map((text) => text.slice(0, 3)), ["503", "504", "503"]);
    const inside = /ACME|ada|forced|slow|hidden|shared|circuit|store/i;
    assertEquals(told.map((text) => inside.test(text)), Array(3).fill(expose === true));
  });
}

Deno.test("circuitBreaker() keeps headers that middleware before it set", async () => {
  const fuse = createFuse();
  await fuse.make("api").forceOpen();
  const app = new Hono();
  app.use(async (c, next) => {
    c.header("x-request-id", "7");
    await next();
  });
  app.use(async (c, next) => {
    c.res.headers.set("access-control-allow-origin", "*");
    await next();
  });
  app.use(circuitBreaker({ fuse, name: "api" }));
  const { headers } = await app.request("/");
  assertEquals(headers.get("x-request-id"), "7");
  assertEquals(headers.get("access-control-allow-origin"), "*");
  assertEquals(headers.get("content-type"), "application/problem+json");
});

Deno.test("circuitBreaker() answers with onOpen, which receives error and context", async () => {
  const { app } = guarded({
    onOpen: async (error, c) => {
      await Promise.resolve();
      return c.json({ from: "cache", circuit: error.circuit.name, path: c.req.path }, 203);
    },
  }, () => boom());
  app.onError(answerErrors);
  await app.request("/first");
  const response = await app.request("/second");
  assertEquals(response.status, 203);
  assertEquals(await response.json(), { from: "cache", circuit: "api", path: "/second" });
});

Deno.test("circuitBreaker() closes the circuit again when trials succeed", async () => {
  let status: 200 | 500 = 500;
  const { app, fuse, clock } = guarded({}, (c) => c.text("", status));
  await app.request("/");
  clock.advance(5_000);
  status = 200;
  assertEquals((await app.request("/")).status, 200);
  assertEquals(await fuse.make("api").getState(), "CLOSED");
});

Deno.test("circuitBreaker() follows Retry-After of the response that opens the circuit", async () => {
  for (const thrown of [false, true]) {
    const res = () => new Response("busy", { status: 503, headers: { "retry-after": "120" } });
    const { app } = guarded({}, () => {
      if (thrown) throw new HTTPException(503, { res: res() });
      return res();
    });
    await app.request("/");
    assertEquals((await app.request("/")).headers.get("retry-after"), "120");
  }
});

Deno.test("circuitBreaker() answers 504 after callTimeoutMs, and drops a late response", async () => {
  const late = Promise.withResolvers<Response>();
  const errors: unknown[] = [];
  const { app, fuse } = guarded({ options: { ...TRIP, callTimeoutMs: 1 } }, () => late.promise);
  app.onError((error, c) => {
    errors.push(error.cause);
    return answerErrors(error, c);
  });
  const response = await app.request("/");
  assertEquals(response.status, 504);
  assertEquals(response.headers.get("content-type"), "application/problem+json");
  assert(isCallTimeoutError(errors[0]));
  assertEquals(await fuse.make("api").getState(), "OPEN");

  late.resolve(new Response("too late"));
  await late.promise;
  assertEquals((await response.json()).title, "Gateway Timeout");
});

Deno.test("circuitBreaker() leaves a handler's own CallTimeoutError to the application", async () => {
  const slow = Promise.withResolvers<never>();
  const { app, fuse } = guarded({}, async (c) => {
    await c.var.fuse.make("upstream").call(() => slow.promise, { timeoutMs: 1 });
    return c.text("unreachable");
  });
  app.onError((error, c) => c.text(error.name, 500));
  assertEquals(await (await app.request("/")).text(), "CallTimeoutError");
  assertEquals(await fuse.make("api").getState(), "OPEN");
});

Deno.test("circuitBreaker() answers 503 when the store is down and onStoreError is reject", async () => {
  const { fuse } = shared({ onStoreError: "reject" }, { down: () => true });
  const { app } = guarded({ fuse }, (c) => c.text("unreachable"));
  let cause: unknown;
  app.onError((error, c) => {
    cause = error.cause;
    return answerErrors(error, c);
  });
  const response = await app.request("/");
  assertEquals(response.status, 503);
  assertEquals(response.headers.get("retry-after"), "1");
  assert(isStoreUnavailableError(cause));
  await response.body?.cancel();
});

Deno.test("circuitBreaker() works over a real port", async () => {
  const fuse = createFuse({ circuits: { "localhost*": TRIP } });
  const arrived = Promise.withResolvers<void>();
  const left = Promise.withResolvers<void>();
  await using upstream = Deno.serve({ port: 0, onListen() {} }, (request) => {
    switch (new URL(request.url).pathname) {
      case "/broken":
        return new Response("broken", { status: 500 });
      case "/hanging":
        arrived.resolve();
        return left.promise.then(() => new Response());
      default:
        return new Response(ReadableStream.from([utf8("one "), utf8("two")]));
    }
  });
  const url = `http://localhost:${upstream.addr.port}`;
  const app = new Hono<{ Variables: FuseVariables }>();
  app.get("/health", health({ fuse, critical: ["front"] }));
  app.get("/metrics", metrics({ fuse }));
  app.use(circuitBreaker({ fuse, name: "front", options: TRIP }));
  app.get("/hanging", async (c) => {
    // The client's abort ends it with an error.
    return await fetch(`${url}/hanging`, { signal: c.req.raw.signal }).finally(left.resolve);
  });
  app.get("/*", (c) => c.var.fuse.fetch(url + c.req.path));
  app.onError(answerErrors);
  await using server = Deno.serve({ port: 0, onListen() {} }, app.fetch);
  const get = (path: string, init?: RequestInit) =>
    fetch(`http://localhost:${server.addr.port}${path}`, init);

  assertEquals(await (await get("/")).text(), "one two");

  const client = new AbortController();
  const hanging = get("/hanging", { signal: client.signal }).catch((error) => error.name);
  await arrived.promise;
  client.abort();
  assertEquals(await hanging, "AbortError");
  await left.promise;
  assertEquals(await (await get("/health")).json(), {
    status: "ok",
    open: [],
    stores: { array: "ok" },
  });

  assertEquals(await (await get("/broken")).text(), "broken");
  const rejected = await get("/");
  assertEquals([rejected.status, rejected.headers.get("retry-after")], [503, "5"]);
  assertEquals((await rejected.json()).title, "Service Unavailable");
  const { status, body } = await get("/health");
  await body?.cancel();
  assertEquals(status, 503);
  const text = await (await get("/metrics")).text();
  assert(text.includes('fuse_calls_total{store="array",circuit="front",outcome="failure"} 1\n'));
  assert(text.includes('fuse_calls_total{store="array",circuit="front",outcome="success"} 1\n'));
});
