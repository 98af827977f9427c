/** The application: the same upstream twice, bare and guarded by Fuse. */

import { type Fuse, isCircuitBreakerOpenError } from "@fuse/edge";
import { circuitBreaker, type FuseVariables } from "@fuse/edge/hono";
import { Hono } from "hono";
import { type CallerOptions, Catalog } from "./catalog.ts";
import type { UpstreamProcess } from "./upstream_process.ts";

/** The variables that its handlers find in `c.var`. */
export type AppEnv = { Variables: FuseVariables };

/** The parts of the application. */
export interface AppOptions {
  readonly upstream: UpstreamProcess;
  /** Sends by `upstream.fetch`. */
  readonly fuse: Fuse;
  readonly callers: CallerOptions;
}

/** Makes the application. */
export function createApp({ upstream, fuse, callers }: AppOptions): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  const direct = new Catalog(callers); // each route has good answers of its own
  const guarded = new Catalog(callers);
  const itemUrl = (id: string) => `${upstream.url}/items/${encodeURIComponent(id)}`;

  app.use(circuitBreaker({ fuse })); // sets c.var.fuse, bound to the request
  app.get("/direct/:id", (c) => direct.get(itemUrl(c.req.param("id")), upstream.fetch));
  app.get("/guarded/:id", (c) => {
    const breaker = c.var.fuse.make("upstream");
    return guarded.get(itemUrl(c.req.param("id")), breaker.fetch);
  });

  app.onError((error, c) => {
    if (isCircuitBreakerOpenError(error)) return error.getResponse(); // 503, with Retry-After
    return c.text(`${error.cause ?? error}\n`, 502); // fetch keeps the reason in the cause
  });

  return app;
}
