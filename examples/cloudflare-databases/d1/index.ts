import { CircuitBreakerOpenError, createFuse } from "@fuse/edge";
import { d1 } from "@fuse/edge/d1";
import { env, waitUntil } from "cloudflare:workers";

const database = d1(env.DB);
const fuse = createFuse({
  stores: { database },
  storeTimeoutMs: Number(env.STORE_TIMEOUT_MS),
  waitUntil,
});

export default {
  async fetch(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname === "/history") {
      return Response.json(await Array.fromAsync(database.history({ limit: 20 })));
    }
    try {
      return await fuse.make("origin").fetch(env.ORIGIN + pathname);
    } catch (error) {
      if (error instanceof CircuitBreakerOpenError) return error.getResponse();
      return new Response("Bad Gateway", { status: 502 });
    }
  },
  async scheduled(): Promise<void> {
    await database.prune({ olderThanMs: Number(env.KEEP_DAYS) * 86_400_000 });
  },
};
