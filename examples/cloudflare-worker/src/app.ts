import type { Fuse } from "@fuse/edge";
import {
  circuitBreaker,
  type FromContext,
  type FuseVariables,
  health,
  metrics,
} from "@fuse/edge/hono";
import type { LibsqlStore } from "@fuse/edge/libsql";
import type { env } from "cloudflare:workers";
import { Hono } from "hono";
import { proxy } from "hono/proxy";

/** The bindings of wrangler.jsonc. */
export type Env = typeof env;

/** Bindings and variables, for Hono. */
export type App = { Bindings: Env; Variables: FuseVariables };

/** The routes: the same however the Fuse is created. */
export function createApp(fuse: FromContext<Fuse>): Hono<App> {
  const app = new Hono<App>();
  app.get("/health", health({ fuse }));
  // The metrics of all tenants: put your own guard in front of this route.
  app.get("/metrics", metrics({ fuse }));

  // Guards an outgoing call. `c.var.fuse` is bound to the request's waitUntil.
  app.use("/origin/*", circuitBreaker({ fuse }));
  app.all("/origin/*", (c) =>
    proxy(behind(c.env.ORIGIN, c.req.url), {
      raw: c.req.raw,
      customFetch: (request) => c.var.fuse.make("origin").fetch(request),
    }));

  // Guards all routes behind it.
  app.use("/reports/*", circuitBreaker({ fuse, name: "reports" }));
  app.get("/reports/:id", async (c) => {
    const report = `${c.env.ORIGIN}/reports/${encodeURIComponent(c.req.param("id"))}`;
    const response = await fetch(report, { signal: c.req.raw.signal });
    if (response.ok) return c.json({ report: await response.text() });
    await response.body?.cancel();
    throw new Error(`The origin answers ${response.status}`);
  });
  app.onError((error, c) =>
    "getResponse" in error ? error.getResponse() : c.text("Bad Gateway", 502)
  );
  return app;
}

/**
 * Returns the URL of the path after `/origin`. The path is appended as text: resolved, a path could
 * name another host.
 */
function behind(origin: string, url: string): string {
  const { pathname, search } = new URL(url);
  return origin + pathname.slice("/origin".length) + search;
}

/** Prunes the trail for a cron trigger, in steps. The next run deletes what this one leaves. */
export async function prune(trail: LibsqlStore, { KEEP_DAYS }: Env): Promise<void> {
  const olderThanMs = Number(KEEP_DAYS) * 86_400_000;
  for (let piece = 0; piece < 10; piece++) {
    const { more } = await trail.prune({ olderThanMs });
    if (!more) break;
  }
}
