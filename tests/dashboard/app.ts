/**
 * A dashboard in an app, for tests: requested with `app.request()`, as an operator or as somebody
 * else.
 *
 * @module
 */
import { createFuse, type Fuse, type FuseOptions, memory } from "@fuse/edge";
import { dashboard, type DashboardOptions } from "@fuse/edge/dashboard";
import { FakeClock } from "@fuse/edge/testing";
import { Hono } from "hono";

/** The header of an operator. */
export const AUTHORIZATION = "Bearer AXoperatorsToken";
/** The header that a browser adds to requests of the dashboard's own page. */
export const OWN = { "sec-fetch-site": "same-origin" };

/** A dashboard at `/ops`. */
export interface Mounted {
  readonly fuse: Fuse;
  readonly clock: FakeClock;
  readonly app: Hono;
  /** Sends a request as an operator. The path follows `/ops`. */
  ask(path: string, init?: RequestInit): Promise<Response>;
  /** Sends a request as an operator, and returns the JSON of the answer. */
  // deno-lint-ignore no-explicit-any
  json(path: string, init?: RequestInit): Promise<any>;
  /** Acts on a circuit by its path, `store/key/action`. */
  act(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
}

/** Mounts a dashboard over a Fuse, by default one in memory that opens at the first failure. */
export function mount(
  options: Partial<DashboardOptions> = {},
  given: FuseOptions = {},
): Mounted {
  const clock = new FakeClock();
  const stores = { array: memory({ clock: clock.now }) };
  const defaults = { failureThreshold: 1 };
  const made = createFuse({ stores, defaults, clock: clock.now, instance: "fra-1", ...given });
  const fuse = typeof options.fuse === "object" ? options.fuse : made;
  const app = new Hono();
  app.route("/ops", dashboard({ fuse, auth, actor: () => "ada", ...options }));
  const ask = async (path: string, init: RequestInit = {}) => {
    const headers = { authorization: AUTHORIZATION, ...init.headers as Record<string, string> };
    return await app.request(`/ops${path}`, { ...init, headers });
  };
  return {
    ...{ fuse, clock, app, ask },
    json: async (path, init) => await (await ask(path, init)).json(),
    act: (path, body, headers = OWN) =>
      ask(`/api/circuits/${path}`, {
        ...{ method: "POST", headers },
        body: typeof body === "string" ? body : JSON.stringify(body),
      }),
  };
}

/** Admits the operator. */
export const auth: DashboardOptions["auth"] = async (c, next) => {
  if (c.req.header("authorization") !== AUTHORIZATION) return c.text("Unauthorized", 401);
  return await next();
};

/** Opens a circuit by a failure. */
export async function trip(fuse: Fuse, name: string, error: unknown = new TypeError("down")) {
  await fuse.make(name).tryCall(() => Promise.reject(error));
}

/** The text of a page, on one line. */
export function textOf(html: string): string {
  return html.replace(/<(script|style|noscript)[^>]*>.*?<\/\1>/gs, " ")
    .replace(/<[^>]*>/g, " ").replace(/\s+/g, " ");
}
