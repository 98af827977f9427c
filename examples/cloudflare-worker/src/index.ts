import { createFuse } from "@fuse/edge";
import { libsql, tiered } from "@fuse/edge/libsql";
import { upstash } from "@fuse/edge/upstash";
import { env, waitUntil } from "cloudflare:workers";
import { createApp, prune } from "./app.ts";

const trail = libsql({ url: env.TURSO_DATABASE_URL, authToken: env.TURSO_AUTH_TOKEN });

const fuse = createFuse({
  stores: {
    cache: tiered({
      state: upstash({ url: env.UPSTASH_REDIS_REST_URL, token: env.UPSTASH_REDIS_REST_TOKEN }),
      audit: trail,
      auditTimeoutMs: Number(env.AUDIT_TIMEOUT_MS),
    }),
  },
  storeTimeoutMs: Number(env.STORE_TIMEOUT_MS),
  waitUntil,
});

export default {
  fetch: createApp(fuse).fetch,
  scheduled: () => prune(trail, env),
};
