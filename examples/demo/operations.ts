/** The operator's side of the application: routes to look at the circuit, and to act on it. */

import type { Fuse } from "@fuse/edge";
import { dashboard } from "@fuse/edge/dashboard";
import { health, metrics } from "@fuse/edge/hono";
import { Hono } from "hono";
import { basicAuth } from "hono/basic-auth";
import type { Phase } from "./timetable.ts";
import type { UpstreamProcess } from "./upstream_process.ts";

/** The parts that the operator's side works with. */
export interface OperationsOptions {
  readonly upstream: UpstreamProcess;
  readonly fuse: Fuse;
  /** Of the dashboard's only user, `operator`. */
  readonly password: string;
  /** Phases that `POST /upstream/:phase` can begin. */
  readonly phases: readonly Phase[];
}

/** Creates the routes that `deno task demo --serve` prints. */
export function createOperations({ upstream, fuse, phases, password }: OperationsOptions): Hono {
  const app = new Hono();
  const breaker = fuse.make("upstream");

  const auth = basicAuth({ username: "operator", password });
  app.route(
    "/ops",
    dashboard({ fuse, auth, actor: () => "operator", title: "The demo", pollMs: 1000 }),
  );
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
