/**
 * Circuits in Redis over TCP, by a client of yours: ioredis or node-redis. The keys, the script and
 * the answers are those of `@fuse/edge/upstash`, so both entry points may share one database.
 *
 * @example Processes with the same database share their circuits
 * ```ts
 * import { createFuse } from "@fuse/edge";
 * import { redis } from "@fuse/edge/redis";
 * import { assertEquals } from "@std/assert";
 * import { Redis } from "ioredis";
 *
 * const client = new Redis(Deno.env.get("REDIS_URL") ?? "", { maxRetriesPerRequest: 1 });
 * client.on("error", console.error);
 * const fuse = createFuse({ stores: { cache: redis(client) } });
 * assertEquals(await fuse.make("external-api").call(() => "fine"), "fine");
 * await fuse.flush();
 * await client.quit(); // the client is yours, and so is its end
 * ```
 *
 * @module
 */

import { known } from "../src/checks.ts";
import type { Store } from "../src/contract.ts";
import { clientOf, type RedisClientLike } from "./redis/client.ts";
import { Scripts } from "./upstash/client.ts";
import { RedisStore, SETTINGS, type UpstashSettings } from "./upstash/store.ts";

export type { RedisClientLike } from "./redis/client.ts";

/** Settings of a {@linkcode redis} store. */
export type RedisOptions = UpstashSettings;

/**
 * Keeps circuits in Redis 7 or newer, for all processes that use the same database. Each operation is
 * one command, and one round trip; operations that start together are pipelined over the client's
 * connection. Sends nothing before the first operation. The store never connects, disconnects or
 * configures the client: that is the application's.
 *
 * @param client A client of ioredis or node-redis, or a function that returns one, which is called at
 * each request.
 * @param options See {@linkcode RedisOptions}.
 * @returns A store for `createFuse({ stores: { cache: redis(…) } })`.
 * @throws {RangeError | TypeError} Naming the option, what came and what is allowed.
 */
export function redis(
  client: RedisClientLike | (() => RedisClientLike),
  options: RedisOptions = {},
): Store {
  known("redis store", options, SETTINGS);
  return new RedisStore("redis", new Scripts(clientOf("redis store", client), false), options);
}
