/**
 * Somebody else's emulation of Upstash's REST API, for a second opinion. It has no base64, so the client
 * wants `responseEncoding: false`; no `/multi-exec`; no auth on `/pipeline`; and answers errors with 500.
 *
 * @module
 */
import { createApp } from "@humanwhocodes/upstash-redis-server";

/** A face that listens. */
export interface ForeignFace extends AsyncDisposable {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  readonly token: string;
  /** Ends it. To be called while its Redis still runs: see below. */
  stop(): Promise<void>;
}

/** Starts one. */
export async function startForeignFace(
  { redis, token = "token" }: { redis: { readonly url: string }; token?: string },
): Promise<ForeignFace> {
  const app = createApp({ token, redisUrl: redis.url });
  const ask = async (...command: string[]) => {
    const answer = await app.request("/", {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify(command),
    });
    await answer.body?.cancel();
  };
  // Its connection is made in the background; let it stand before a test begins.
  await ask("PING");
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, app.fetch);
  const stop = async () => {
    // The app keeps its Redis client to itself, and that comes back after anything but a QUIT of its own.
    await ask("QUIT");
    await server.shutdown();
  };
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    token,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
