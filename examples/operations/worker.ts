import { createFuse, type Fuse } from "@fuse/edge";
import { upstash } from "@fuse/edge/upstash";
import type { Context } from "hono";
import { createApp, type Settings } from "./app.ts";

/** The bindings of wrangler.jsonc, and its secrets. */
type Env = Settings & {
  readonly UPSTASH_REDIS_REST_URL: string;
  readonly UPSTASH_REDIS_REST_TOKEN: string;
  readonly STORE_TIMEOUT_MS: string;
};

// Called once per isolate.
const fuse = ({ env }: Context<{ Bindings: Env }>): Fuse =>
  createFuse({
    stores: {
      cache: upstash({ url: env.UPSTASH_REDIS_REST_URL, token: env.UPSTASH_REDIS_REST_TOKEN }),
    },
    storeTimeoutMs: Number(env.STORE_TIMEOUT_MS),
  });

export default createApp(fuse, ({ env }) => env);
