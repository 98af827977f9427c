// Redis clients of users, created by their libraries, and connected when a test asks for them.
import { createClient } from "@redis/client";
import { Redis } from "ioredis";
import type { RedisClientLike } from "@fuse/edge/redis";

/** A client, and how to end it. */
export interface Connected extends AsyncDisposable {
  readonly client: RedisClientLike;
}

/** Connects the client of a library, without reconnecting: its timers would outlive a test. */
export const CLIENTS: Readonly<Record<string, (url: string) => Promise<Connected>>> = {
  async ioredis(url) {
    const client = new Redis(url, { lazyConnect: true, retryStrategy: () => null });
    // Commands also reject with these failures.
    client.on("error", () => {});
    await client.connect();
    return {
      client,
      async [Symbol.asyncDispose]() {
        if (client.status === "end") return;
        const ended = new Promise((resolve) => client.once("end", resolve));
        client.disconnect();
        await ended;
      },
    };
  },
  async "node-redis"(url) {
    const client = createClient({ url, socket: { reconnectStrategy: false } });
    client.on("error", () => {});
    await client.connect();
    return {
      client,
      [Symbol.asyncDispose]() {
        if (client.isOpen) client.destroy();
        return Promise.resolve();
      },
    };
  },
};
