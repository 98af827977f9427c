/**
 * An application on Deno Deploy: decisions in Upstash Redis, which all isolates share, and their
 * trail in Turso. Pending outcomes are flushed when Deploy ends an isolate.
 *
 *     deno serve -A examples/deno-deploy.ts
 *
 * Environment:
 * - UPSTASH_REDIS_REST_URL, UPSTASH_REDIS_REST_TOKEN
 * - TURSO_DATABASE_URL, TURSO_AUTH_TOKEN: the trail; without them there is none. Create the tables
 * beforehand, by `deno task db:migrate`.
 * - FUSE_PRUNE_CRON: when to prune the trail, for example "0 4 * * *"; without it, never. Locally
 * `Deno.cron` needs `--unstable-cron`.
 * - UPSTREAM_URL: the upstream of `/api`.
 */

import { createFuse } from "@fuse/edge";
import { circuitBreaker, type FuseVariables, health, metrics } from "@fuse/edge/hono";
import { libsql, tiered } from "@fuse/edge/libsql";
import { upstash } from "@fuse/edge/upstash";
import { Hono } from "hono";
import { proxy } from "hono/proxy";

const KEEP_MS = 90 * 24 * 60 * 60 * 1000;

const state = upstash({
  url: required("UPSTASH_REDIS_REST_URL"),
  token: required("UPSTASH_REDIS_REST_TOKEN"),
});
const databaseUrl = Deno.env.get("TURSO_DATABASE_URL");
const database = databaseUrl
  ? libsql({ url: databaseUrl, authToken: Deno.env.get("TURSO_AUTH_TOKEN") })
  : null;
const upstream = required("UPSTREAM_URL");

const fuse = createFuse({
  stores: { cache: database === null ? state : tiered({ state, audit: database }) },
  storeTimeoutMs: 2_000, // the first connection of a cold isolate is slow
});

const app = new Hono<{ Variables: FuseVariables }>();
app.get("/health", health({ fuse }));
app.get("/metrics", metrics({ fuse })); // put your own guard in front of this route
app.use("/api/*", circuitBreaker({ fuse, name: "api" }));
app.all("/api/*", (c) => {
  const { pathname, search } = new URL(c.req.url);
  return proxy(new URL(pathname + search, upstream), { raw: c.req.raw });
});

// Deploy sends SIGINT and waits five seconds. Without this flush, up to `flushSize` pending
// successes would be lost; failures are sent at once.
Deno.addSignalListener("SIGINT", () => {
  fuse.flush().finally(() => Deno.exit(0));
});

/** Deletes rows of calls and transitions that are older than 90 days. Returns their number. */
export async function prune(): Promise<number> {
  let deleted = 0;
  while (database !== null) {
    const page = await database.prune({ olderThanMs: KEEP_MS });
    deleted += page.deleted;
    if (!page.more) break;
  }
  return deleted;
}

const schedule = Deno.env.get("FUSE_PRUNE_CRON");
if (schedule && typeof Deno.cron === "function") {
  Deno.cron("prune the trail", schedule, async () => {
    console.log(`pruned ${await prune()} rows of the trail`);
  });
} else if (schedule) {
  console.warn("FUSE_PRUNE_CRON has no effect: Deno.cron needs --unstable-cron here");
}

export default { fetch: app.fetch };

function required(name: string): string {
  const value = Deno.env.get(name);
  if (!value) throw new TypeError(`Cannot start: "${name}" must be set`);
  return value;
}
