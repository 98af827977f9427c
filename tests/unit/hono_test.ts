import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import {
  type CircuitBreakerOpenError,
  type CircuitOptions,
  createFuse,
  type Fuse,
  type FuseOptions,
  isCallTimeoutError,
  isCircuitBreakerOpenError,
  isStoreUnavailableError,
  memory,
} from "@fuse/edge";
import {
  circuitBreaker,
  type CircuitBreakerMiddlewareOptions,
  type FuseVariables,
  health,
  metrics,
} from "@fuse/edge/hono";
import { chaos, FakeClock } from "@fuse/edge/testing";
import { type Context, Hono } from "hono";
import { cors } from "hono/cors";
import { HTTPException } from "hono/http-exception";

const TRIP: CircuitOptions = { failureThreshold: 1, successThreshold: 1, cooldownMs: 5_000 };

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

Deno.test("circuitBreaker() counts an error even if onError makes something else of it", async () => {
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

Deno.test("circuitBreaker() lets through and counts what is thrown and no Error", async () => {
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

Deno.test("circuitBreaker() judges as the Fuse is configured to", async () => {
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
  const problem = await response.json();
  assertEquals([problem.status, problem.circuit, problem.state], [503, "api", "OPEN"]);
  assertEquals(ran, 1);
});

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

Deno.test("circuitBreaker() answers by onOpen, which gets error and context", async () => {
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

Deno.test("circuitBreaker() heeds Retry-After of the response that opens the circuit", async () => {
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

Deno.test("circuitBreaker() returns the response untouched, its stream unread", async () => {
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

Deno.test("circuitBreaker() counts nothing when the client went away", async () => {
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

Deno.test("circuitBreaker() gives a trial's slot back when the client went away", async () => {
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

Deno.test("circuitBreaker() runs the routes for a client that is gone already", async () => {
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

Deno.test("circuitBreaker() does not count what a circuit further in rejected", async () => {
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
      assertEquals((await response.json()).circuit, "inner");
      const { totalSuccesses, totalFailures } = await fuse.make("api").getMetrics();
      assertEquals([totalSuccesses, totalFailures], [0, 0]);
    }
  });
}

Deno.test("circuitBreaker() knows a rejection that is thrown behind cors(), which has Hono build it anew", async () => {
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

Deno.test("circuitBreaker() answers 504 after callTimeoutMs, and lets go of what comes late", async () => {
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

Deno.test("circuitBreaker() answers 503 when the store is down and that is to reject", async () => {
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

Deno.test("circuitBreaker() without a name guards nothing and sets c.var.fuse", async () => {
  const fuse = createFuse({ defaults: TRIP });
  for (const name of [undefined, () => undefined]) {
    // Typed by the middleware alone.
    const app = new Hono().get("/", circuitBreaker({ fuse, name }), async (c) => {
      await c.var.fuse.make("upstream").tryCall(() => boom());
      return c.text("broken", 500);
    });
    assertEquals((await app.request("/")).status, 500);
    assertEquals((await app.request("/")).status, 500);
  }
  const circuits = await Array.fromAsync(fuse.list(), ({ name }) => name);
  assertEquals(circuits, ["upstream"]);
});

Deno.test("circuitBreaker() takes the name from the request", async () => {
  const { app, fuse } = guarded({ name: (c) => c.req.param("service") }, () => boom());
  app.onError(answerErrors);
  await app.request("/users");
  assertEquals(await fuse.make("users").getState(), "OPEN");
  assertEquals((await app.request("/orders")).status, 500);
});

Deno.test("circuitBreaker() scopes the circuit and c.var.fuse, by values and functions", async () => {
  const region = { type: "region", id: "eu" };
  const { app, fuse } = guarded({
    context: (c) => ({ type: "tenant", id: c.req.header("x-tenant") ?? "none" }),
    boundary: region,
  }, async (c) => {
    await c.var.fuse.make("upstream").call(() => 1);
    return c.text("broken", c.req.header("x-tenant") === "acme" ? 500 : 200);
  });
  await app.request("/", { headers: { "x-tenant": "acme" } });
  await app.request("/", { headers: { "x-tenant": "initech" } });

  const seen = await Array.fromAsync(fuse.list(), ({ key, state }) => `${key} ${state}`);
  assertEquals(seen.sort(), [
    "api:for:tenant:acme:in:region:eu OPEN",
    "api:for:tenant:initech:in:region:eu CLOSED",
    "upstream:for:tenant:acme:in:region:eu CLOSED",
    "upstream:for:tenant:initech:in:region:eu CLOSED",
  ]);
  assertEquals(
    await fuse.for({ type: "tenant", id: "acme" }).boundary(region).make("api").getState(),
    "OPEN",
  );
});

Deno.test("circuitBreaker() binds c.var.fuse to the request's waitUntil, called as a method", async () => {
  const { fuse, stored } = shared();
  const { app } = guarded({ fuse }, async (c) => {
    await c.var.fuse.make("upstream").tryCall(() => boom());
    return c.text("broken", 500);
  });
  const ctx = new ExecutionContext();
  await app.request("/", undefined, {}, ctx);
  assert(ctx.work.length >= 2, `${ctx.work.length} pieces of work`);
  await Promise.all(ctx.work);
  assertEquals([stored("api"), stored("upstream")], ["OPEN", "OPEN"]);
});

Deno.test("circuitBreaker() takes a context without waitUntil for none", async () => {
  const { app } = guarded({}, (c) => c.text("fine"));
  assertEquals((await app.request("/", undefined, {}, {} as ExecutionContext)).status, 200);
});

Deno.test("circuitBreaker(), health() and metrics() call one function for a Fuse once", async () => {
  let made = 0;
  const fuse = (c: Context<{ Bindings: { THRESHOLD: number } }>): Fuse => {
    made++;
    return createFuse({ defaults: { failureThreshold: c.env.THRESHOLD } });
  };
  const app = new Hono();
  app.get("/health", health({ fuse }));
  app.get("/metrics", metrics({ fuse }));
  app.use(circuitBreaker({ fuse }));
  app.use(circuitBreaker({ fuse, name: "api" }));
  app.get("/", (c) => c.text("broken", 500));
  const get = (path: string) => app.request(path, undefined, { THRESHOLD: 1 });

  await get("/");
  // Mounted before the Fuse was made, they have heard of what happened since.
  assertEquals((await (await get("/health")).json()).open, ["api"]);
  assert((await (await get("/metrics")).text()).includes('to="OPEN"} 1\n'));
  assertEquals(made, 1);
});

Deno.test("circuitBreaker() asks again for a Fuse that could not be made", async () => {
  let asked = 0;
  const fuse = () => {
    if (++asked === 1) throw new Error("no binding yet");
    return createFuse();
  };
  const { app } = guarded({ fuse }, (c) => c.text("fine"));
  app.onError((error, c) => c.text(error.message, 500));
  assertEquals(await (await app.request("/")).text(), "no binding yet");
  assertEquals((await app.request("/")).status, 200);
  await app.request("/");
  assertEquals(asked, 2);
});

Deno.test("circuitBreaker() refuses a promise of a Fuse", async () => {
  const fuse = (() => Promise.resolve(createFuse())) as unknown as () => Fuse;
  const { app } = guarded({ fuse }, (c) => c.text("fine"));
  app.onError((error, c) => c.text(error.message, 500));
  assertEquals(
    await (await app.request("/")).text(),
    'Cannot create circuitBreaker(): "fuse" must be a Fuse or a function that returns one, ' +
      "received an object",
  );
});

Deno.test("circuitBreaker(), health() and metrics() refuse bad options at once", () => {
  const fuse = createFuse();
  assertThrows(
    () => circuitBreaker({ fuse, name: "api", options: { failureThreshold: 0 } }),
    RangeError,
    '"failureThreshold" must be a positive integer, received 0',
  );
  assertThrows(() => circuitBreaker({ fuse, name: "" }), RangeError, '"name"');
  const misspelled = { fuse, onopen: () => new Response() };
  assertThrows(() => circuitBreaker(misspelled), TypeError, '"onopen"');
  assertThrows(() => health({ fuse, citical: [] } as never), TypeError, '"citical"');
  assertThrows(() => metrics({ fuse, labels: true } as never), TypeError, '"labels"');
  for (const middleware of [circuitBreaker, health, metrics]) {
    assertThrows(() => middleware({ fuse: null as never }), TypeError, '"fuse" must be a Fuse');
  }
});

Deno.test("circuitBreaker(), health() and metrics() return functions of their names", () => {
  const fuse = createFuse();
  for (const middleware of [circuitBreaker, health, metrics]) {
    assertEquals(middleware({ fuse }).name, middleware.name);
  }
});

Deno.test("health() is ok while nothing is open", async () => {
  const fuse = createFuse();
  await fuse.make("api").call(() => 1);
  assertEquals(await healthOf(fuse, ["api", "never called"]), {
    code: 200,
    status: "ok",
    open: [],
  });
});

Deno.test("health() is degraded while a circuit is open, and down only for a critical one", async () => {
  const clock = new FakeClock();
  const fuse = createFuse({ clock: clock.now, defaults: TRIP });
  const app = new Hono().get("/", health({ fuse, critical: ["database"] }));
  await fuse.make("newsletter").tryCall(() => boom());
  await fuse.make("ads").tryCall(() => boom());
  assertEquals(await ask(app), { code: 200, status: "degraded", open: ["ads", "newsletter"] });

  await fuse.make("database").tryCall(() => boom());
  const open = ["ads", "database", "newsletter"];
  assertEquals(await ask(app), { code: 503, status: "degraded", open });

  // An instance that gets no traffic would never see a trial succeed.
  clock.advance(5_000);
  assertEquals(await ask(app), { code: 200, status: "ok", open: [] });

  await fuse.make("database").tryCall(() => boom());
  assertEquals((await ask(app)).code, 503);
  await fuse.make("database").reset();
  assertEquals((await ask(app)).code, 200);
});

Deno.test("health() goes by what an override makes of a circuit", async () => {
  const fuse = createFuse({ defaults: TRIP });
  const app = new Hono().get("/", health({ fuse, critical: ["api"] }));
  const api = fuse.make("api");
  await api.forceOpen();
  assertEquals((await ask(app)).code, 503);
  await api.tryCall(() => boom());
  await api.release();
  await api.tryCall(() => boom());
  await api.forceClose();
  assertEquals(await ask(app), { code: 200, status: "ok", open: [] });
  await api.release();
  assertEquals((await ask(app)).code, 503);
});

Deno.test("health() does not drain an instance for a tenant's circuit, and tells no tenant", async () => {
  const fuse = createFuse({ defaults: TRIP });
  const app = new Hono().get("/", health({ fuse, critical: ["mail"] }));
  const tenant = fuse.for({ type: "tenant", id: "acme: 50 % of 日本" });
  await tenant.make("mail").tryCall(() => boom());
  assertEquals(await ask(app), { code: 200, status: "degraded", open: ["mail"] });
});

Deno.test("health() knows a critical circuit of another store", async () => {
  const fuse = createFuse({ stores: { one: memory(), two: memory() } });
  const app = new Hono().get("/", health({ fuse, critical: ["api"] }));
  await fuse.make("api", { ...TRIP, store: "two" }).tryCall(() => boom());
  assertEquals((await ask(app)).code, 503);
});

Deno.test("health() learns from rejections what another isolate opened, and asks no store", async () => {
  const { fuse, store, asked, clock } = shared();
  const other = createFuse({ clock: clock.now, stores: { shared: store }, defaults: TRIP });
  const app = new Hono().get("/", health({ fuse, critical: ["api"] }));
  await other.make("api").tryCall(() => boom());
  assertEquals((await ask(app)).code, 200); // not known here

  await fuse.make("api").tryCall(() => 1);
  const before = asked();
  assertEquals((await ask(app)).code, 503);
  assertEquals((await ask(app)).code, 503);
  assertEquals(asked(), before);
});

Deno.test("health() stops believing an override that nobody here heard of for a minute", async () => {
  const { fuse, store, clock } = shared();
  const other = createFuse({ clock: clock.now, stores: { shared: store } });
  const app = new Hono().get("/", health({ fuse, critical: ["api"] }));
  await fuse.make("api").forceOpen();
  await other.make("api").release(); // while this instance is out of rotation
  clock.advance(60_000);
  assertEquals((await ask(app)).code, 503);
  clock.advance(1);
  assertEquals((await ask(app)).code, 200);
});

Deno.test("health() knows what opened before it was made", async () => {
  const fuse = createFuse({ defaults: TRIP });
  await fuse.make("mail").tryCall(() => boom());
  assertEquals(await healthOf(fuse, []), { code: 200, status: "degraded", open: ["mail"] });
  assertEquals((await healthOf(fuse, ["mail"])).code, 503);
});

Deno.test("health() knows what opened by way of another function that gives the same Fuse", async () => {
  const fuse = createFuse({ defaults: TRIP });
  const app = new Hono();
  app.get("/", health({ fuse: () => fuse }));
  app.get("/shop", circuitBreaker({ fuse: () => fuse, name: "shop" }), (c) => c.text("", 500));
  await app.request("/shop");
  assertEquals(await ask(app), { code: 200, status: "degraded", open: ["shop"] });
});

Deno.test("health() knows what this isolate has read and never called", async () => {
  const { fuse, store, asked, clock } = shared();
  const other = createFuse({ clock: clock.now, stores: { shared: store }, defaults: TRIP });
  await other.make("api").tryCall(() => boom());
  assertEquals(await fuse.make("api").getState(), "OPEN");
  const before = asked();
  assertEquals(await healthOf(fuse, []), { code: 200, status: "degraded", open: ["api"] });
  assertEquals(asked(), before);
});

Deno.test("health() keeps to the view that it was given", async () => {
  const fuse = createFuse({ stores: { one: memory(), two: memory() }, defaults: TRIP });
  const acme = fuse.for({ type: "tenant", id: "acme" });
  await fuse.make("plain").tryCall(() => boom());
  await acme.make("mail").tryCall(() => boom());
  await acme.store("two").make("other").tryCall(() => boom());
  assertEquals(await healthOf(acme, ["mail"]), {
    code: 503,
    status: "degraded",
    open: ["mail", "other"],
  });
  assertEquals((await healthOf(acme.store("one"), [])).open, ["mail"]);
  assertEquals((await healthOf(fuse.for(null), [])).open, ["plain"]);
});

Deno.test("health() forgets what the Fuse forgets, but not what is critical", async () => {
  const fuse = createFuse({ defaults: TRIP, maxCircuits: 100 });
  const app = new Hono().get("/", health({ fuse, critical: ["first"] }));
  await fuse.make("first").tryCall(() => boom());
  for (let i = 0; i < 150; i++) await fuse.make(`host ${i}`).tryCall(() => boom());
  const { code, open } = await ask(app);
  assertEquals([code, open.length, open[0]], [503, 100, "first"]);
});

Deno.test("health() goes by the critical circuits of what is no Fuse of this package", async () => {
  const fuse = createFuse({ defaults: TRIP });
  const own = { make: (name: string) => fuse.make(name) } as unknown as Fuse;
  await fuse.make("mail").tryCall(() => boom());
  assertEquals(await healthOf(own, []), { code: 200, status: "ok", open: [] });
  assertEquals((await healthOf(own, ["mail"])).code, 503);
});

Deno.test("health() is not to be cached", async () => {
  const app = new Hono().get("/", health({ fuse: createFuse() }));
  const response = await app.request("/");
  assertEquals(response.headers.get("cache-control"), "no-store");
  await response.body?.cancel();
});

Deno.test("metrics() answers with Prometheus text", async () => {
  const fuse = createFuse();
  const app = new Hono()
    .get("/metrics", metrics({ fuse }))
    .get("/tenants", metrics({ fuse, scopeLabels: true }));
  await fuse.for({ type: "tenant", id: 7 }).make("mail").call(() => 1);

  const response = await app.request("/metrics");
  assertEquals(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  assert((await response.text()).includes('{store="array",circuit="mail",outcome="success"} 1\n'));
  assert((await (await app.request("/tenants")).text()).includes('context="tenant:7"'));
});

Deno.test("the middleware works over a real port", async () => {
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
  assertEquals(await (await get("/health")).json(), { status: "ok", open: [] });

  assertEquals(await (await get("/broken")).text(), "broken");
  const rejected = await get("/");
  assertEquals([rejected.status, rejected.headers.get("retry-after")], [503, "5"]);
  assertEquals((await rejected.json()).circuit, "front");
  const { status, body } = await get("/health");
  await body?.cancel();
  assertEquals(status, 503);
  const text = await (await get("/metrics")).text();
  assert(text.includes('fuse_calls_total{store="array",circuit="front",outcome="failure"} 1\n'));
  assert(text.includes('fuse_calls_total{store="array",circuit="front",outcome="success"} 1\n'));
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
  Deno.test(`circuitBreaker() counts nothing when the client leaves while a route ${what} its body`, async () => {
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

/** An application with one guarded route; the circuit is called "api" unless another is named. */
function guarded(
  options: Partial<CircuitBreakerMiddlewareOptions>,
  handler: (c: Context<{ Variables: FuseVariables }>) => Response | Promise<Response>,
) {
  const clock = new FakeClock();
  const fuse = createFuse({ clock: clock.now });
  const app = new Hono<{ Variables: FuseVariables }>();
  app.use("/:service?", circuitBreaker({ fuse, name: "api", options: TRIP, ...options }));
  app.all("*", handler);
  return { app, fuse: typeof options.fuse === "object" ? options.fuse : fuse, clock };
}

/** A Fuse on a store that it shares. */
function shared(options: FuseOptions = {}, faults: Parameters<typeof chaos>[1] = {}) {
  const clock = new FakeClock();
  const inner = memory({ clock: clock.now });
  let asked = 0;
  const store = chaos(inner, {
    ...faults,
    latencyMs: () => {
      asked++;
      return 0;
    },
  });
  const stores = { shared: store };
  const fuse = createFuse({ clock: clock.now, stores, defaults: TRIP, ...options });
  const shape = { windowMs: 120_000, windowSize: 0 };
  const stored = (key: string) =>
    (inner.read(key, { at: clock.now(), shape }) as { state: string }).state;
  return { fuse, store: chaos(inner, {}), clock, stored, asked: () => asked };
}

/** As strict as that of Cloudflare Workers. */
class ExecutionContext {
  readonly #work: Promise<unknown>[] = [];
  readonly props = {};

  get work(): readonly Promise<unknown>[] {
    return this.#work;
  }
  waitUntil(work: Promise<unknown>): void {
    this.#work.push(work);
  }
  passThroughOnException(): void {}
}

function healthOf(fuse: Fuse, critical: readonly string[]) {
  return ask(new Hono().get("/", health({ fuse, critical })));
}

async function ask(app: Hono): Promise<{ code: number; status: string; open: string[] }> {
  const response = await app.request("/");
  return { code: response.status, ...await response.json() };
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function boom(): never {
  throw new Error("boom");
}

function raise(status: 404 | 429 | 502): never {
  throw new HTTPException(status);
}

/** As Hono's own, without the noise. */
function answerErrors(error: Error, c: Context): Response {
  return error instanceof HTTPException ? error.getResponse() : c.text("", 500);
}
