/**
 * The cache role: circuits in Redis, over Upstash's REST interface. One circuit is four hashes,
 * `<prefix>:<key>:state`, `:metrics`, `:failures` and `:successes`; every operation on it is one run
 * of one script, and one request.
 *
 * @example Isolates with the same database share their circuits
 * ```ts
 * import { createFuse } from "@fuse/edge";
 * import { upstash } from "@fuse/edge/upstash";
 * import { assertEquals } from "@std/assert";
 *
 * const fuse = createFuse({
 *   stores: {
 *     cache: upstash({
 *       url: Deno.env.get("UPSTASH_REDIS_REST_URL") ?? "",
 *       token: Deno.env.get("UPSTASH_REDIS_REST_TOKEN") ?? "",
 *     }),
 *   },
 * });
 * assertEquals(await fuse.make("external-api").call(() => "fine"), "fine");
 * await fuse.flush();
 * ```
 *
 * @module
 */

import { known } from "../src/checks.ts";
import type { Store } from "../src/contract.ts";
import { Scripts, type UpstashSource } from "./upstash/client.ts";
import { clientOf } from "./upstash/rest.ts";
import { RedisStore, SETTINGS, type UpstashSettings } from "./upstash/store.ts";

export type { RedisLike, RedisPipelineLike, UpstashSource } from "./upstash/client.ts";
export type { UpstashSettings } from "./upstash/store.ts";

/**
 * Options of {@linkcode upstash}: a client, or its address and token, and settings of the store.
 */
export type UpstashOptions = UpstashSource & UpstashSettings;

/**
 * Keeps circuits in Redis, for all isolates that use the same database. One request for each
 * operation, and five Redis commands in a usual one. Sends no request before the first operation.
 *
 * @param options See {@linkcode UpstashOptions}.
 * @returns A store for `createFuse({ stores: { cache: upstash(…) } })`.
 * @throws {RangeError | TypeError} Naming the option, what came and what is allowed.
 */
export function upstash(options: UpstashOptions): Store {
  known("upstash store", options, ["redis", "url", "token", ...SETTINGS]);
  const client = clientOf("upstash store", options);
  const scripts = new Scripts(client, true, (options as { token?: string }).token);
  return new RedisStore("upstash", scripts, options);
}
