/**
 * Keeps other sites from acting through an operator's browser.
 *
 * @module
 */

import type { Context, MiddlewareHandler } from "hono";
import type { Settings } from "./settings.ts";

/** Returns a middleware that refuses actions from other sites, and every action with `readOnly`. */
export function refuseStrangers({ readOnly }: Pick<Settings, "readOnly">): MiddlewareHandler {
  return async function refuseStrangers(c, next) {
    if (c.req.method === "GET" || c.req.method === "HEAD") return await next();
    if (readOnly || c.req.method !== "POST") {
      c.header("allow", readOnly ? "GET, HEAD" : "GET, HEAD, POST");
      return c.json({ error: readOnly ? "This dashboard is read-only" : "Use GET or POST" }, 405);
    }
    if (isOwn(c)) return await next();
    const error = "An action must come from this origin: the request needs the header " +
      `"Sec-Fetch-Site: same-origin", or an "Origin" that is its own`;
    return c.json({ error }, 403);
  };
}

/** Reads the two headers that pages cannot set. Every browser sends at least one with a POST. */
function isOwn({ req }: Context): boolean {
  const site = req.header("sec-fetch-site");
  if (site !== undefined) return site === "same-origin";
  const origin = req.header("origin") ?? "";
  // Behind a proxy that ends TLS, the scheme is not the browser's.
  return URL.canParse(origin) && new URL(origin).host === new URL(req.url).host;
}
