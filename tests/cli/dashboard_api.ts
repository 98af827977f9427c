/**
 * The JSON API of a dashboard over a Fuse: what the command line's `--api` speaks to.
 *
 * @module
 */
import type { CircuitState, Fuse } from "@fuse/edge";
import { Hono } from "hono";

/** A dashboard that listens. */
export interface Dashboard extends AsyncDisposable {
  /** Where it is mounted. */
  readonly url: string;
  /** `METHOD path`, of each request. */
  readonly log: string[];
  /** Refuses actions from now on. */
  readOnly: boolean;
}

/** Circuits of a page, so few that a list takes several. */
const PAGE = 2;

/** Serves the API at `/ops`, to whoever has the token. */
export function serveDashboard(fuse: Fuse, token: string): Dashboard {
  const ops = new Hono();
  const log: string[] = [];
  ops.use(async (c, next) => {
    log.push(`${c.req.method} ${new URL(c.req.url).pathname}`);
    if (c.req.header("authorization") !== `Bearer ${token}`) return c.text("Unauthorized", 401);
    return await next();
  });
  ops.get("/api/stores", async (c) => {
    const checks = Object.entries(await fuse.check());
    return c.json(checks.map(([name, { ok, latencyMs }]) => ({ name, ok, latencyMs })));
  });
  ops.get("/api/circuits", async (c) => {
    const { store, state, cursor = "0" } = c.req.query();
    const all = [];
    const filter = { state: state as CircuitState | undefined };
    for await (const circuit of fuse.store(store!).list(filter)) all.push(circuit);
    const circuits = all.slice(Number(cursor), Number(cursor) + PAGE);
    const next = Number(cursor) + PAGE;
    return c.json({ circuits, cursor: next < all.length ? String(next) : null, missing: [] });
  });
  ops.get("/api/circuits/:store/:key", async (c) => {
    const breaker = fuse.circuit(c.req.param());
    const circuit = await breaker.snapshot();
    if (circuit.generation === 0) return c.text("Not Found", 404);
    return c.json({ circuit, explanation: await breaker.explain(), events: [] });
  });
  ops.post("/api/circuits/:store/:key/:action", async (c) => {
    if (dashboard.readOnly) return c.text("Method Not Allowed", 405);
    if (c.req.header("sec-fetch-site") !== "same-origin") return c.text("Forbidden", 403);
    const { reason, forMs } = await c.req.json();
    if (typeof reason !== "string" || reason === "") return c.text("No reason", 400);
    const { action, ...place } = c.req.param();
    const breaker = fuse.circuit(place);
    const order = { reason, actor: "from the session", ...forMs === undefined ? {} : { forMs } };
    if (action === "force-open") await breaker.forceOpen(order);
    else if (action === "disable") await breaker.disable(order);
    else await breaker.release({ reason, actor: "from the session" });
    return c.json({});
  });
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    new Hono().route("/ops", ops).fetch,
  );
  const dashboard: Dashboard = {
    url: `http://127.0.0.1:${server.addr.port}/ops`,
    log,
    readOnly: false,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
  return dashboard;
}
