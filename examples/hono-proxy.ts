/**
 * A reverse proxy with Hono: its upstream behind a circuit, with health and metrics beside it.
 *
 *     deno run -A examples/hono-proxy.ts
 *
 * In an application, end with `Deno.serve(app.fetch)` in place of the requests below.
 */

import { createFuse } from "@fuse/edge";
import { circuitBreaker, type FuseVariables, health, metrics } from "@fuse/edge/hono";
import { Hono } from "hono";
import { proxy } from "hono/proxy";

const fuse = createFuse({ circuits: { catalog: { failureThreshold: 3 } } });

/** The proxy, in front of the upstream at `origin`. */
function createApp(origin: string): Hono<{ Variables: FuseVariables }> {
  const app = new Hono<{ Variables: FuseVariables }>();

  // Answers 200 and lists open circuits: draining instances because an upstream fails would help
  // nobody.
  app.get("/health", health({ fuse }));
  app.get("/metrics", metrics({ fuse }));

  // With a name it guards the routes behind it: 503 with Retry-After while the circuit is open.
  app.use("/catalog/*", circuitBreaker({ fuse, name: "catalog" }));
  app.all("/catalog/*", (c) => {
    const { pathname, search } = new URL(c.req.url);
    return proxy(origin + pathname + search, { raw: c.req.raw });
  });

  // Without a name it only sets `c.var.fuse`: each host has its own circuit here.
  app.use("/images/*", circuitBreaker({ fuse }));
  app.get("/images/*", (c) => {
    const target = origin + new URL(c.req.url).pathname;
    return proxy(target, { raw: c.req.raw, customFetch: c.var.fuse.fetch });
  });

  return app;
}

// An upstream that serves images and has lost its database.
await using upstream = Deno.serve(
  { hostname: "127.0.0.1", port: 0, onListen() {} },
  ({ url }) =>
    new URL(url).pathname.startsWith("/images/")
      ? new Response("an image")
      : new Response("no database", { status: 500 }),
);
const app = createApp(`http://127.0.0.1:${upstream.addr.port}`);

for (let request = 1; request <= 4; request++) await show("/catalog/shoes");
await show("/images/shoes.png");
await show("/health");

const text = await (await app.request("/metrics")).text();
for (const line of text.split("\n")) {
  if (line.includes('"catalog"') && /^fuse_(calls|rejected|circuits\{.* 1$)/.test(line)) {
    console.log(line);
  }
}

async function show(path: string): Promise<void> {
  const response = await app.request(path);
  const retryAfter = response.headers.get("retry-after");
  const body = response.headers.get("content-type")?.includes("problem")
    ? (await response.json()).title
    : await response.text();
  console.log(`GET ${path}: ${response.status} ${body}`, retryAfter ? `(${retryAfter} s)` : "");
}
