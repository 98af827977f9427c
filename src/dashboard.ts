/**
 * A dashboard for operators, to mount in a Hono app: a page that shows the circuits of a fleet and acts
 * on them, and a JSON API, which the command line's `--api` uses.
 *
 * @example Only operators are let in, and every action has a reason
 * ```ts
 * import { createFuse } from "@fuse/edge";
 * import { dashboard } from "@fuse/edge/dashboard";
 * import { assertEquals } from "@std/assert";
 * import { Hono } from "hono";
 * import { basicAuth } from "hono/basic-auth";
 *
 * const fuse = createFuse();
 * const auth = basicAuth({ username: "operator", password: "a long one" });
 * const app = new Hono().route("/ops", dashboard({ fuse, auth, actor: () => "operator" }));
 *
 * assertEquals((await app.request("/ops")).status, 401);
 *
 * const authorization = `Basic ${btoa("operator:a long one")}`;
 * const response = await app.request("/ops/api/circuits/array/payments/force-open", {
 *   method: "POST",
 *   headers: { authorization, "sec-fetch-site": "same-origin" },
 *   body: JSON.stringify({ reason: "the provider is down", forMs: 600_000 }),
 * });
 * assertEquals(response.status, 200);
 * assertEquals(await fuse.make("payments").isOpen(), true);
 * ```
 *
 * @module
 */

import { type Context, Hono, type MiddlewareHandler } from "hono";
import type { HTTPResponseError } from "hono/types";
import { basePath } from "hono/route";
import { NONCE, secureHeaders } from "hono/secure-headers";
import { check, known, refuse } from "./checks.ts";
import { addApi } from "./dashboard/api.ts";
import { refuseStrangers } from "./dashboard/guard.ts";
import { showPage } from "./dashboard/page.tsx";
import type { Settings } from "./dashboard/settings.ts";
import type { Fuse } from "./fuse.ts";
import { type FromContext, type HonoContext, requestScope, source } from "./hono/source.ts";

/**
 * Hono's own type of a middleware.
 *
 * @internal
 */
export type AuthMiddleware = MiddlewareHandler;

/**
 * Hono's own type of the app that {@linkcode dashboard} returns.
 *
 * @internal
 */
export type DashboardApp = Hono;

/** Options of {@linkcode dashboard}. */
export interface DashboardOptions {
  /**
   * The Fuse, or a view of it, whose circuits alone are then shown and acted on. If bindings exist only
   * during a request, give a function: it is called once per isolate, and its result is kept.
   */
  fuse: FromContext<Fuse>;
  /**
   * A middleware that lets operators in and answers everybody else, such as Hono's `basicAuth` or
   * `bearerAuth`. It runs first. There is no default.
   */
  auth: AuthMiddleware;
  /**
   * Returns the operator's name, for overrides and the trail: at most 1 000 characters. By default, no
   * name is recorded.
   */
  actor?: ((c: HonoContext) => string) | undefined;
  /**
   * `true` to forbid actions: every POST is answered with 405.
   *
   * @default {false}
   */
  readOnly?: boolean | undefined;
  /**
   * The page's title.
   *
   * @default {"Circuits"}
   */
  title?: string | undefined;
  /**
   * The interval at which the page refreshes itself while it is visible, in ms. An integer from 100 to
   * 2^31 - 1.
   *
   * @default {5000}
   */
  pollMs?: number | undefined;
}

const SUBJECT = "dashboard()";

/**
 * Makes the dashboard: `app.route("/ops", dashboard({ fuse, auth }))`. Its paths, below where it is mounted:
 *
 * | Path | Answers |
 * | --- | --- |
 * | `GET /` | the page |
 * | `GET /api/stores` | `[{ name, ok, latencyMs, traits }]` |
 * | `GET /api/circuits` | `{ circuits, cursor, missing, refused }`; takes `state`, `store`, `name`, `context`, `boundary`, `overridden`, `cursor`, `limit` |
 * | `GET /api/circuits/:store/:key` | `{ circuit, explanation, events }` |
 * | `POST /api/circuits/:store/:key/:action` | acts; takes `{ reason, forMs? }`, answers `{ circuit, explanation }` |
 *
 * An action is `force-open`, `force-close`, `disable`, `metrics-only`, `release`, `reset` or
 * `remove`. A POST must prove by `Sec-Fetch-Site`, or else by `Origin`, that it comes from the same
 * origin: otherwise 403.
 *
 * Cost: a list is one round trip for each hundred circuits and store, two on Redis; the page adds one
 * `check()` of each store; one circuit costs two, and one for its trail.
 *
 * @throws {RangeError | TypeError} Naming the option, for example if `auth` is missing.
 */
export function dashboard(options: DashboardOptions): DashboardApp {
  const settings = settingsOf(options);
  const app = new Hono();
  app.onError(refusal);
  app.use(HEADERS);
  app.use(uncached);
  app.use(options.auth);
  app.use(refuseStrangers(settings));
  addApi(app, settings);
  // Hono has no route that is both `/ops` and `/ops/`.
  app.get("*", async (c, next) => {
    const path = c.req.path.slice(basePath(c).length);
    return path === "" || path === "/" ? await showPage(c, settings) : await next();
  });
  return app;
}

/** @throws {RangeError | TypeError} Naming the option, what came and what is allowed. */
function settingsOf(options: DashboardOptions): Settings {
  known(SUBJECT, options, ["fuse", "auth", "actor", "readOnly", "title", "pollMs"]);
  const { auth, actor, readOnly = false, title = "Circuits" } = options;
  if (typeof auth !== "function") {
    refuse(SUBJECT, "auth", "a middleware that lets operators in and nobody else", auth);
  }
  if (actor !== undefined && typeof actor !== "function") {
    refuse(SUBJECT, "actor", "a function that returns who acts", actor);
  }
  if (typeof readOnly !== "boolean") refuse(SUBJECT, "readOnly", "true or false", readOnly);
  if (typeof title !== "string") refuse(SUBJECT, "title", "a text", title);
  const fuseOf = source(SUBJECT, options.fuse);
  return {
    fuseOf: (c: Context) => fuseOf(c).with(requestScope(c)),
    actorOf: (c: Context) => actor?.(c),
    readOnly,
    title,
    pollMs: check(SUBJECT, "pollMs", options.pollMs, 5000, 100, 2 ** 31 - 1),
  };
}

const HEADERS = secureHeaders({
  contentSecurityPolicy: {
    defaultSrc: ["'none'"],
    baseUri: ["'none'"],
    connectSrc: ["'self'"],
    formAction: ["'self'"],
    frameAncestors: ["'none'"],
    imgSrc: ["data:"],
    scriptSrc: [NONCE],
    styleSrc: [NONCE],
  },
  // Pinning the host to HTTPS is the application's decision.
  strictTransportSecurity: false,
  referrerPolicy: "same-origin",
  xFrameOptions: "DENY",
});

/**
 * Answers an error that `auth` throws, whatever the app's error handler does; the app answers all
 * others.
 */
function refusal(error: Error | HTTPResponseError): Response {
  if ("getResponse" in error) return error.getResponse();
  throw error;
}

const uncached: MiddlewareHandler = async (c, next) => {
  await next();
  c.header("cache-control", "no-store");
};

export type { FromContext, HonoContext };
