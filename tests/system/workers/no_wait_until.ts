/** A Worker whose Fuse receives no `waitUntil`. */
import { createFuse } from "@fuse/edge";
import { upstash } from "@fuse/edge/upstash";
import { env } from "cloudflare:workers";

const fuse = createFuse({
  stores: {
    cache: upstash({ url: env.UPSTASH_REDIS_REST_URL, token: env.UPSTASH_REDIS_REST_TOKEN }),
  },
  storeTimeoutMs: Number(env.STORE_TIMEOUT_MS),
});

export default {
  fetch: (request: Request) =>
    fuse.make("origin").fetch(new URL(new URL(request.url).pathname, env.ORIGIN)),
};
