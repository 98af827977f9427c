/**
 * A foreign emulation of Upstash's REST API, for a second opinion. It has no base64, so the client
 * needs `responseEncoding: false`; no `/multi-exec`; no auth on `/pipeline`; and it answers errors
 * with 500.
 *
 * @module
 */
import { createApp } from "@humanwhocodes/upstash-redis-server";

/** A face that listens. */
export interface ForeignFace extends AsyncDisposable {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  readonly token: string;
  /** Ends it. Call this while its Redis still runs: see below. */
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
  // It connects in the background; the connection must exist before a test begins.
  await ask("PING");
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, app.fetch);
  const stop = async () => {
    // The app does not expose its Redis client, which reconnects after anything but its own QUIT.
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
