/**
 * Hono middleware: guards the routes behind it, gives handlers a Fuse bound to their request, and
 * answers health checks and scrapes. The same code for Deno, Cloudflare Workers and Node.
 *
 * @example Five failures in a row, and the routes behind answer 503 at once
 * ```ts
 * import { createFuse } from "@fuse/edge";
 * import { circuitBreaker, type FuseVariables, health, metrics } from "@fuse/edge/hono";
 * import { assertEquals } from "@std/assert";
 * import { Hono } from "hono";
 *
 * const fuse = createFuse();
 * const app = new Hono<{ Variables: FuseVariables }>();
 *
 * app.get("/health", health({ fuse, critical: ["orders"] }));
 * app.get("/metrics", metrics({ fuse }));
 * app.use("/orders/*", circuitBreaker({ fuse, name: "orders" }));
 * app.get("/orders/:id", (c) => c.var.fuse.fetch(`http://localhost:1/${c.req.param("id")}`));
 * app.onError((_error, c) => c.text("Bad Gateway", 502));
 *
 * for (let i = 0; i < 5; i++) assertEquals((await app.request("/orders/7")).status, 502);
 *
 * const rejected = await app.request("/orders/7");
 * assertEquals([rejected.status, rejected.headers.get("retry-after")], [503, "60"]);
 * assertEquals((await app.request("/health")).status, 503);
 * ```
 *
 * @module
 */

import type { Context, MiddlewareHandler } from "hono";
import { judgedOf, timedOut, unavailable } from "./hono/answers.ts";
import {
  type CircuitBreakerOpenError,
  isCallTimeoutError,
  isCircuitBreakerOpenError,
} from "./errors.ts";
import { type FromContext, type HonoContext, requestScope, source } from "./hono/source.ts";
import type { Fuse } from "./fuse.ts";
import { knownOpenCircuits, knownStores } from "./known.ts";
import { type CircuitIdentity, isName, type Scope } from "./key.ts";
import { known, mayBeFunction, refuse } from "./checks.ts";
import type { CircuitPolicy } from "./rules/policy.ts";
import { prometheus, PROMETHEUS_CONTENT_TYPE } from "./prometheus.ts";
import type { CircuitSnapshot } from "./rules/snapshot.ts";

/**
 * The variables that {@linkcode circuitBreaker} sets, for typing:
 * `new Hono<{ Variables: FuseVariables }>()`.
 */
export type FuseVariables = {
  /** The Fuse, in the scopes of the middleware, bound to the request's `waitUntil`. */
  fuse: Fuse;
};

/**
 * Hono's own type of the middleware that {@linkcode circuitBreaker} returns.
 *
 * @internal
 */
export type FuseMiddleware = MiddlewareHandler<{
  /** The variables that the middleware sets. */
  Variables: FuseVariables;
}>;

/**
 * Hono's own type of the handlers that {@linkcode health} and {@linkcode metrics} return.
 *
 * @internal
 */
export type FuseHandler = MiddlewareHandler;

/** Options of {@linkcode circuitBreaker}. */
export interface CircuitBreakerMiddlewareOptions {
  /**
   * The Fuse. If bindings exist only during a request, give a function: it is called once per
   * isolate, and its result is kept for all middleware with the same function.
   */
  fuse: FromContext<Fuse>;
  /**
   * The circuit that guards the routes behind. By default, or if `undefined` for a request, it
   * guards nothing and only sets `c.var.fuse`.
   */
  name?: FromContext<string | undefined> | undefined;
  /**
   * Options of the circuit. `callTimeoutMs` answers 504. By default, those of the Fuse for that
   * name.
   */
  options?: CircuitPolicy | undefined;
  /**
   * Decides whether the handler failed, from `c.error` and `c.res`. By default, 5xx, 429 and thrown
   * errors are failures; an `HTTPException` is judged by its response.
   */
  isFailure?: ((c: HonoContext) => boolean) | undefined;
  /** Scope of the circuit and of `c.var.fuse`; `null` for none. By default, that of `fuse`. */
  context?: FromContext<Scope | null> | undefined;
  /** Scope of both in the other dimension; `null` for none. By default, that of `fuse`. */
  boundary?: FromContext<Scope | null> | undefined;
  /**
   * Names the circuit and the reason in the middleware's 503 and 504, for development. Without it
   * they say only when to retry.
   *
   * @default {false}
   */
  expose?: boolean | undefined;
  /** Answers a rejected request. By default, 503 with `Retry-After` and problem+json. */
  onOpen?:
    | ((error: CircuitBreakerOpenError, c: HonoContext) => Response | Promise<Response>)
    | undefined;
}

/** Options of {@linkcode health}. */
export interface HealthOptions {
  /** The Fuse, as for {@linkcode circuitBreaker}. */
  fuse: FromContext<Fuse>;
  /**
   * Names of circuits without which this instance is useless. Circuits of a scope do not count: one
   * tenant's failures are not the instance's. By default, there are none, and the answer is always
   * 200.
   */
  critical?: readonly string[] | undefined;
}

/** Options of {@linkcode metrics}. */
export interface MetricsOptions {
  /** The Fuse, as for {@linkcode circuitBreaker}. */
  fuse: FromContext<Fuse>;
  /**
   * Gives each context and boundary its own series, labeled `context` and `boundary`.
   * Without it, circuits of all scopes add up under their name.
   *
   * @default {false}
   */
  scopeLabels?: boolean | undefined;
}

/**
 * Guards the routes behind it, and sets `c.var.fuse` for outgoing calls.
 *
 * The response is passed on unchanged, and judged when its headers are there. A client that
 * disconnects counts as neutral, and so does a rejection by an inner circuit: the
 * `CircuitBreakerOpenError`, whatever `app.onError` makes of it, or its `getResponse()`. To add
 * headers, Hono may build that response anew (if `c.res` was touched before, as `cors()` does, or
 * by `c.header()` after `next()`): it is then a 503 like any other, so it is better to let the
 * error through. Errors reach `app.onError` as they would without the middleware, and so do two
 * `HTTPException`s of its own, which differ by their `cause`: 504 for a `CallTimeoutError`, 503 for
 * a `StoreUnavailableError`.
 *
 * Cost: that of `breaker.call`: with a shared store no blocking round trip while closed or open.
 *
 * @throws {TypeError | RangeError} Naming the option: at once if `fuse` and `name` are values, else
 * at the first request.
 *
 * @example A circuit for each tenant
 * ```ts
 * import { createFuse } from "@fuse/edge";
 * import { circuitBreaker } from "@fuse/edge/hono";
 * import { assertEquals } from "@std/assert";
 * import { Hono } from "hono";
 *
 * const fuse = createFuse();
 * const app = new Hono();
 * app.use(circuitBreaker({
 *   fuse,
 *   name: "reports",
 *   options: { failureThreshold: 1 },
 *   context: (c) => ({ type: "tenant", id: c.req.header("x-tenant") ?? "none" }),
 *   onOpen: (error, c) => c.text(`${error.circuit.context} has to wait`, 503),
 * }));
 * app.get("/", (c) => c.text("no report", c.req.header("x-tenant") === "acme" ? 500 : 200));
 *
 * const get = (tenant: string) => app.request("/", { headers: { "x-tenant": tenant } });
 * await get("acme");
 * assertEquals(await (await get("acme")).text(), "tenant:acme has to wait");
 * assertEquals((await get("initech")).status, 200);
 * ```
 */
export function circuitBreaker(options: CircuitBreakerMiddlewareOptions): FuseMiddleware {
  known("circuitBreaker()", options, MIDDLEWARE_OPTIONS);
  const { name, options: policy, isFailure, onOpen, expose = false } = options;
  if (typeof expose !== "boolean") {
    refuse("circuitBreaker()", "expose", "true or false", expose);
  }
  mayBeFunction("circuitBreaker()", "isFailure", isFailure);
  mayBeFunction("circuitBreaker()", "onOpen", onOpen);
  const fuseOf = source("circuitBreaker()", options.fuse);
  // Invalid options are refused here if everything is known.
  if (typeof options.fuse !== "function" && typeof name === "string") {
    options.fuse.make(name, policy);
  }

  return async function circuitBreaker(c, next) {
    let fuse = fuseOf(c).with(requestScope(c));
    const context = valueOf(options.context, c);
    const boundary = valueOf(options.boundary, c);
    if (context !== undefined) fuse = fuse.for(context);
    if (boundary !== undefined) fuse = fuse.boundary(boundary);
    c.set("fuse", fuse);

    const circuit = valueOf(name, c);
    if (circuit === undefined) return await next();
    const breaker = fuse.make(
      circuit,
      // A body that breaks off is a failure whatever its headers said.
      isFailure === undefined
        ? policy
        : { ...policy, isFailure: ({ ok }) => (over && !ok) || isFailure(c) },
    );

    // Read before the handler: some runtimes notice a client that disconnects only once there is a
    // signal.
    const client = c.req.raw.signal;
    const answered = answeredAlready(c);
    // Aborted if the ending is no evidence about the routes behind.
    const moot = new AbortController();
    let over = false;
    let answer: Response | undefined;
    let downstream: Promise<void> | undefined;
    const result = await breaker.tryCall(async () => {
      try {
        await (downstream = next());
      } finally {
        const left = (client.aborted && !answered()) || isHalfRead(c);
        if (left || turnedAway.has(c)) moot.abort(turnedAway.get(c));
      }
      // An ended call drops late results: c.res may be another response by then.
      return answer = over || moot.signal.aborted ? undefined : judgedOf(c);
    }, { signal: moot.signal });
    over = true;

    if (result.ok) {
      if (result.source === "call" && result.value !== answer) {
        replace(c, result.value!, () => moot.abort());
      }
      return;
    }
    if (moot.signal.aborted) return await downstream;
    const { error } = result;
    if (result.rejected) {
      turnedAway.set(c, result.error);
      if (!isCircuitBreakerOpenError(result.error)) throw unavailable(result.error, expose);
      if (onOpen !== undefined) return await onOpen(result.error, c);
      const response = result.error.getResponse({ expose });
      return c.newResponse(response.body, response);
    }
    // Hono has answered errors of the routes behind, except for values that are no Error.
    if (error === c.error) return;
    throw isCallTimeoutError(error) ? timedOut(error, expose) : error;
  };
}

/**
 * Answers with open circuits and failing stores: 200 with `{ status: "ok" | "degraded", open:
 * [names], stores: { name: "ok" | "down" } }`, and 503 with the status `failing` only if a circuit
 * named in `critical` is open. If the failure that opened a circuit is known, `openedBy` has it by
 * name: `at`, `kind`, `status` and `instance`. A third party's failure must not drain healthy
 * instances, and neither must a store's, because this isolate then decides alone.
 *
 * Uses this isolate's knowledge, without a round trip: `peek()` of the view's circuits that it
 * made, called or read, and of those named in `critical`. It does not know circuits that it forgot
 * (`maxCircuits`), and for a Fuse that is not this package's own only those in `critical`. An open
 * circuit whose cooldown has passed no longer counts as open, so that an instance out of rotation
 * comes back.
 *
 * Cost: a `peek()` of each of these circuits; of 100 000, some 100 ms, in which calls go on.
 *
 * @throws {TypeError} Naming the option.
 *
 * @example
 * ```ts
 * import { createFuse } from "@fuse/edge";
 * import { health } from "@fuse/edge/hono";
 * import { assertEquals } from "@std/assert";
 * import { Hono } from "hono";
 *
 * const fuse = createFuse();
 * const app = new Hono().get("/health", health({ fuse, critical: ["database"] }));
 *
 * await fuse.make("newsletter").forceOpen();
 * const response = await app.request("/health");
 * assertEquals(response.status, 200);
 * assertEquals(await response.json(), {
 *   status: "degraded",
 *   open: ["newsletter"],
 *   stores: { array: "ok" },
 * });
 *
 * await fuse.make("database").forceOpen();
 * assertEquals((await app.request("/health")).status, 503);
 * ```
 */
export function health(options: HealthOptions): FuseHandler {
  known("health()", options, ["fuse", "critical"]);
  const { critical = [] } = options;
  if (!Array.isArray(critical) || !critical.every(isName)) {
    refuse("health()", "critical", "a list of names of circuits", critical);
  }
  const fuseOf = source("health()", options.fuse);

  return async function health(c) {
    const fuse = fuseOf(c);
    const open = new Set<string>();
    const openedBy = new Map<string, NonNullable<CircuitSnapshot["lastFailure"]>>();
    let down = false;
    // Made here, so that it stays known.
    const named = critical.map((name) => fuse.make(name).peek());
    for (const circuit of [...named, ...await knownOpenCircuits(fuse)]) {
      if (!isOpen(circuit)) continue;
      open.add(circuit.name);
      const { lastFailure } = circuit;
      const other = openedBy.get(circuit.name);
      if (lastFailure !== null && !(other && other.at > lastFailure.at)) {
        openedBy.set(circuit.name, lastFailure);
      }
      down ||= critical.includes(circuit.name) && isOfView(circuit, fuse);
    }
    const known = knownStores(fuse).map(({ name, down }) => [name, down ? "down" : "ok"] as const);
    const stores = Object.fromEntries(known);
    const well = open.size === 0 && !known.some(([, state]) => state === "down");
    const status = down ? "failing" : well ? "ok" : "degraded";
    c.header("cache-control", "no-store");
    const why = openedBy.size === 0 ? {} : { openedBy: Object.fromEntries(openedBy) };
    const body = { status, open: [...open].sort(), ...why, stores };
    return c.json(body, down ? 503 : 200);
  };
}

/**
 * Answers with Prometheus text: circuits by state and override, calls by outcome, slow and rejected
 * ones (totals of the stores, over all isolates), transitions and store errors (of this isolate,
 * since `metrics` was given the Fuse or, if `fuse` is a function, since it returned one).
 * `fuse_store_up` is 0 for a store that does not answer, or whose last requests from this isolate
 * failed, and `fuse_local_circuits` counts the circuits that this isolate decides alone.
 *
 * Cost: one `list` of the stores, a round trip for each hundred circuits.
 *
 * @throws {TypeError} Naming the option.
 *
 * @example
 * ```ts
 * import { createFuse } from "@fuse/edge";
 * import { metrics } from "@fuse/edge/hono";
 * import { assertStringIncludes } from "@std/assert";
 * import { Hono } from "hono";
 *
 * const fuse = createFuse();
 * const app = new Hono().get("/metrics", metrics({ fuse }));
 * await fuse.make("payments").call(() => "paid");
 *
 * const text = await (await app.request("/metrics")).text();
 * assertStringIncludes(text, 'fuse_circuits{store="array",circuit="payments",state="CLOSED"} 1\n');
 * ```
 */
export function metrics(options: MetricsOptions): FuseHandler {
  known("metrics()", options, ["fuse", "scopeLabels"]);
  const { scopeLabels } = options;
  let scrape: () => Promise<string>;
  const fuseOf = source("metrics()", options.fuse, (fuse) => {
    scrape = prometheus(fuse, { scopeLabels });
  });

  return async function metrics(c) {
    fuseOf(c);
    return c.body(await scrape(), 200, { "content-type": PROMETHEUS_CONTENT_TYPE });
  };
}

const MIDDLEWARE_OPTIONS = [
  "fuse",
  "name",
  "options",
  "isFailure",
  "context",
  "boundary",
  "expose",
  "onOpen",
];

/**
 * How long an override is believed that this isolate knows: out of rotation, it would never learn
 * of the end.
 */
const OVERRIDE_BELIEVED_MS = 60_000;

/**
 * Requests that a circuit rejected, with the rejection, so that outer circuits do not count them.
 */
const turnedAway = new WeakMap<Context, Error>();

function valueOf<T>(given: FromContext<T> | undefined, c: Context): T | undefined {
  return typeof given === "function" ? (given as (c: Context) => T)(c) : given;
}

/**
 * Answers with a Response whose body still counts. `left` is called if the client disconnects
 * meanwhile.
 */
function replace(c: Context, response: Response, left: () => void): void {
  // Hono would add the headers of the previous response.
  c.res = undefined;
  c.res = response;
  c.req.raw.signal.addEventListener("abort", left, { once: true });
}

/**
 * Returns whether an outer middleware, such as Hono's `timeout()`, has sent the response already.
 * Deno aborts the signal of such a request as it does when the client disconnects.
 */
function answeredAlready({ env }: Context): () => boolean {
  const { completed } = (env ?? {}) as { completed?: unknown };
  let answered = false;
  if (completed instanceof Promise) {
    const answer = () => answered = true;
    completed.then(answer, answer);
  }
  return () => answered;
}

/**
 * Returns `true` if the client disconnected while its body was read. Deno aborts no signal for
 * that.
 */
function isHalfRead({ error }: Context): boolean {
  return [error, error?.cause].some((e) =>
    e instanceof Error &&
    /^Cannot read (request )?body as underlying resource unavailable$/.test(e.message)
  );
}

/** Returns `true` if this isolate's view rejects calls. */
function isOpen({ state, override, ageMs }: CircuitSnapshot): boolean {
  if (override === null) return state === "OPEN";
  return override.kind === "forced_open" && ageMs <= OVERRIDE_BELIEVED_MS;
}

/** Returns `true` if the circuit belongs to the view itself, and not to one of its scopes. */
function isOfView({ name, context, boundary }: CircuitIdentity, fuse: Fuse): boolean {
  const own = fuse.make(name);
  return own.context === context && own.boundary === boundary;
}

export type { FromContext, HonoContext };
