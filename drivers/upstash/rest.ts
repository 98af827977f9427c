/**
 * The client of a store over REST: the user's, or one created for an address.
 *
 * @module
 */

import { Redis } from "@upstash/redis/cloudflare";
import { refuseUnseen } from "../../src/checks.ts";
import type { RedisLike, UpstashSource } from "./client.ts";

/** The limit of a request that nobody waits for, in ms: other requests have their own deadline. */
const REQUEST_TIMEOUT_MS = 10_000;

/**
 * Returns a function that returns the client at each request.
 *
 * @throws {TypeError} If there is neither a client nor an address and a token.
 */
export function clientOf(subject: string, source: UpstashSource): () => RedisLike {
  const { redis, url, token } = source as {
    redis?: RedisLike | (() => RedisLike);
    url?: unknown;
    token?: unknown;
  };
  if (redis !== undefined) {
    if (url !== undefined || token !== undefined) {
      throw new TypeError(`Cannot create ${subject}: "redis" stands in place of "url" and "token"`);
    }
    if (typeof redis === "function") return redis;
    const methods = ["evalsha", "eval", "pipeline", "scan", "del"] as const;
    if (methods.every((method) => typeof redis?.[method] === "function")) return () => redis;
    const client = "a client of @upstash/redis, or a function that gives one";
    return refuseUnseen(subject, "redis", client, redis);
  }
  const refuse = (option: string, allowed: string, value: unknown): never => {
    const missing = value === "" || value == null;
    const hint = ` (is the variable UPSTASH_REDIS_REST_${option.toUpperCase()} set?)`;
    return refuseUnseen(subject, option, missing ? allowed + hint : allowed, value);
  };
  const text = (option: string, allowed: string, value: unknown, pattern: RegExp): string =>
    typeof value === "string" && pattern.test(value) ? value : refuse(option, allowed, value);
  const address = "an http or https address without credentials";
  const client = makeClient(
    text("url", address, url, /^https?:\/\/[^\s@]+$/),
    text("token", "a text without spaces", token, /^\S+$/),
  ) ?? refuse("url", `${address}, ${OF_HOST}`, url);
  return () => client;
}

/** The client's own condition for an address. */
export const OF_HOST = "of a host of at least 2 characters";

/**
 * Creates a client; returns `null` if the client refuses the address, because its error would
 * repeat it.
 */
export function makeClient(url: string, token: string): Redis | null {
  try {
    return new Redis({
      ...{ url, token },
      // `false` still sends twice.
      retry: { retries: 0 },
      signal: () => AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      automaticDeserialization: false,
      responseEncoding: false,
      // The client returns one promise to all callers of the same turn.
      enableAutoPipelining: false,
      enableTelemetry: false,
    });
  } catch {
    return null;
  }
}
