// The options of the middleware, and c.var.fuse.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { createFuse, type Fuse } from "@fuse/edge";
import { circuitBreaker, health, metrics } from "@fuse/edge/hono";
import { type Context, Hono } from "hono";
import { answerErrors, boom, guarded, shared, TRIP } from "./app.ts";

Deno.test("circuitBreaker() without a name guards nothing and sets c.var.fuse", async () => {
  const fuse = createFuse({ defaults: TRIP });
  for (const name of [undefined, () => undefined]) {
    // The middleware alone provides the type.
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

Deno.test("circuitBreaker() reads the name from the request", async () => {
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

Deno.test("circuitBreaker() treats a context without waitUntil as having none", async () => {
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
  // They were mounted before the Fuse was created, and received its events since.
  assertEquals((await (await get("/health")).json()).open, ["api"]);
  assert((await (await get("/metrics")).text()).includes('to="OPEN"} 1\n'));
  assertEquals(made, 1);
});

Deno.test("circuitBreaker() calls the function again after it failed to return a Fuse", async () => {
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

Deno.test("circuitBreaker(), health() and metrics() refuse invalid options at once", () => {
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

Deno.test("circuitBreaker(), health() and metrics() return functions with their names", () => {
  const fuse = createFuse();
  for (const middleware of [circuitBreaker, health, metrics]) {
    assertEquals(middleware({ fuse }).name, middleware.name);
  }
});

/** As strict as Cloudflare Workers. */
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
