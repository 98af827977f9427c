import { CircuitBreakerOpenError, createFuse } from "@fuse/edge";
import { durableObject } from "@fuse/edge/durable-object";
import { env, waitUntil } from "cloudflare:workers";

export { FuseObject } from "@fuse/edge/durable-object";

const object = durableObject(env.FUSE);
const fuse = createFuse({
  stores: { object },
  storeTimeoutMs: Number(env.STORE_TIMEOUT_MS),
  waitUntil,
});

export default {
  async fetch(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname === "/history") {
      return Response.json(await Array.fromAsync(object.history({ limit: 20 })));
    }
    try {
      return await fuse.make("origin").fetch(env.ORIGIN + pathname);
    } catch (error) {
      if (error instanceof CircuitBreakerOpenError) return error.getResponse();
      return new Response("Bad Gateway", { status: 502 });
    }
  },
  async scheduled(): Promise<void> {
    await object.prune({ olderThanMs: Number(env.KEEP_DAYS) * 86_400_000 });
  },
};
