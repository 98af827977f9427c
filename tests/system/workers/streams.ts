/**
 * A Worker whose calls count when their bodies have ended: it passes them on, or reads them itself.
 */
import { createFuse } from "@fuse/edge";
import { circuitBreaker } from "@fuse/edge/hono";
import { upstash } from "@fuse/edge/upstash";
import { env, waitUntil } from "cloudflare:workers";
import { Hono } from "hono";

const fuse = createFuse({
  stores: {
    cache: upstash({ url: env.UPSTASH_REDIS_REST_URL, token: env.UPSTASH_REDIS_REST_TOKEN }),
  },
  // A slot that is not returned stays taken for longer than any test takes.
  defaults: { settle: "body", flushSize: 1, cooldownMs: 1, halfOpenLeaseMs: 600_000 },
  storeTimeoutMs: Number(env.STORE_TIMEOUT_MS),
  waitUntil,
});

/** The circuit, its limits, and the address to fetch from. */
function asked(url: string) {
  const { pathname, searchParams } = new URL(url);
  const { circuit = "", ...limits } = Object.fromEntries(searchParams);
  const options = Object.fromEntries(Object.entries(limits).map(([k, v]) => [k, Number(v)]));
  const [, , ...path] = pathname.split("/");
  return { circuit, options, url: `${env.ORIGIN}/${path.join("/")}` };
}

const app = new Hono();

app.get("/pass/*", async ({ req: { raw } }) => {
  const { circuit, options, url } = asked(raw.url);
  try {
    return await fuse.make(circuit, options).fetch(url, raw);
  } catch (error) {
    return (error as { getResponse(): Response }).getResponse();
  }
});

app.get("/bare/*", ({ req: { raw } }) => fetch(asked(raw.url).url, raw));

app.get("/read/*", async (c) => {
  const { circuit, options, url } = asked(c.req.url);
  const response = await fuse.make(circuit, options).fetch(url, {
    method: c.req.query("method") ?? "GET",
  });
  try {
    return c.json({ text: await response.text() });
  } catch (error) {
    return c.json({ text: null, error: (error as Error).name });
  }
});

app.get("/own", (c) => {
  const { circuit = "", length = "" } = c.req.query();
  const headers = { "content-length": length };
  return fuse.make(circuit).call(() => new Response("0123456789", { headers }));
});

app.use(
  "/route/*",
  circuitBreaker({ fuse, name: (c) => c.req.query("circuit"), options: { idleTimeoutMs: 50 } }),
);
app.get("/route/*", (c) => fetch(asked(c.req.url).url));

export default app;
