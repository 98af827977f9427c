import { createFuse, type Fuse } from "@fuse/edge";
import { libsql, type LibsqlStore, tiered } from "@fuse/edge/libsql";
import { upstash } from "@fuse/edge/upstash";
import type { Context } from "hono";
import { type App, createApp, type Env, prune } from "./app.ts";

const trailOf = (env: Env): LibsqlStore =>
  libsql({ url: env.TURSO_DATABASE_URL, authToken: env.TURSO_AUTH_TOKEN });

// Called once per isolate. The middleware binds it to each request's waitUntil.
const fuse = ({ env }: Context<App>): Fuse =>
  createFuse({
    stores: {
      cache: tiered({
        state: upstash({ url: env.UPSTASH_REDIS_REST_URL, token: env.UPSTASH_REDIS_REST_TOKEN }),
        audit: trailOf(env),
        auditTimeoutMs: Number(env.AUDIT_TIMEOUT_MS),
      }),
    },
    storeTimeoutMs: Number(env.STORE_TIMEOUT_MS),
  });

export default {
  fetch: createApp(fuse).fetch,
  scheduled: (_controller: unknown, env: Env) => prune(trailOf(env), env),
};
