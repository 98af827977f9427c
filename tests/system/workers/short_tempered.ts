/** A Worker whose circuit opens at the first failure and lets a trial through at once. */
import { createFuse } from "@fuse/edge";
import { upstash } from "@fuse/edge/upstash";
import { env, waitUntil } from "cloudflare:workers";

const fuse = createFuse({
  stores: {
    cache: upstash({ url: env.UPSTASH_REDIS_REST_URL, token: env.UPSTASH_REDIS_REST_TOKEN }),
  },
  // A slot that is not returned stays taken for longer than any test takes.
  defaults: { failureThreshold: 1, cooldownMs: 1, halfOpenLeaseMs: 600_000 },
  storeTimeoutMs: Number(env.STORE_TIMEOUT_MS),
  waitUntil,
});

export default {
  async fetch(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    const called = fuse.make("origin").fetch(new URL(pathname, env.ORIGIN), {
      signal: request.signal,
    });
    // Whatever its outcome: no code waits for the call any more.
    if (searchParams.has("throw")) throw new Error("A bug in a handler");
    try {
      return await called;
    } catch (error) {
      return (error as { getResponse(): Response }).getResponse();
    }
  },
};
