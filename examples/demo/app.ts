/** The application: the same upstream twice, bare and guarded by Fuse. */

import { type Fuse, isCircuitBreakerOpenError } from "@fuse/edge";
import { circuitBreaker, type FuseVariables, health, metrics } from "@fuse/edge/hono";
import { Hono } from "hono";
import type { Phase } from "./timetable.ts";
import type { UpstreamProcess } from "./upstream_process.ts";

/** What its handlers find in `c.var`. */
export type AppEnv = { Variables: FuseVariables };

/** What the application works with. */
export interface AppOptions {
  readonly upstream: UpstreamProcess;
  readonly fuse: Fuse;
  /** Phases that `POST /upstream/:phase` can call up. */
  readonly phases: readonly Phase[];
}

/** Makes the application. */
export function createApp({ upstream, fuse, phases }: AppOptions): Hono<AppEnv> {
  const app = new Hono<AppEnv>();

  app.use(circuitBreaker({ fuse })); // sets c.var.fuse, bound to the request
  app.get("/direct", () => upstream.send());
  app.get("/guarded", (c) => {
    const breaker = c.var.fuse.make("upstream");
    return breaker.call(({ signal }) => upstream.send(signal));
  });

  app.onError((error, c) => {
    if (isCircuitBreakerOpenError(error)) return error.getResponse(); // 503 with Retry-After
    return c.text(`${error.cause ?? error}\n`, 502); // fetch keeps the reason in the cause
  });

  // The rest is there to be tried by hand: `deno task demo --serve`.
  const breaker = fuse.make("upstream");
  app.get("/health", health({ fuse, critical: ["upstream"] }));
  app.get("/metrics", metrics({ fuse }));
  app.get("/state", async (c) => c.json(await breaker.snapshot()));
  app.get("/explain", async (c) => c.text(`${await breaker.explain()}\n`));
  app.post("/trip", async (c) => {
    await breaker.forceOpen({ reason: "tried by hand", forMs: 60_000 });
    return c.text(`${await breaker.explain()}\n`);
  });
  app.post("/release", async (c) => {
    await breaker.release({ reason: "tried by hand" });
    return c.text(`${await breaker.explain()}\n`);
  });
  app.post("/upstream/:phase", async (c) => {
    const phase = phases.find(({ name }) => name === c.req.param("phase"));
    if (!phase) return c.text(`The upstream can be ${phases.map((p) => p.name).join(", ")}\n`, 404);
    await upstream.enter(phase);
    return c.text(`The upstream is ${phase.name}\n`);
  });

  return app;
}
