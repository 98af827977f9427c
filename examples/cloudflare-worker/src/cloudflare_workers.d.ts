/**
 * The types of "cloudflare:workers" that this example uses. In your project, `npx wrangler types`
 * generates them from wrangler.jsonc.
 *
 * @module
 */

import type { D1Like } from "@fuse/edge/d1";
import type { NamespaceLike } from "@fuse/edge/durable-object";

/** The bindings of wrangler.jsonc, and two secrets. They can be read at module scope. */
export const env: {
  /** The address of the upstream. */
  ORIGIN: string;
  UPSTASH_REDIS_REST_URL: string;
  /** A secret. */
  UPSTASH_REDIS_REST_TOKEN: string;
  TURSO_DATABASE_URL: string;
  /** A secret. */
  TURSO_AUTH_TOKEN: string;
  /** The limit for both stores together, in ms. */
  STORE_TIMEOUT_MS: string;
  /** The limit for the trail, in ms; lower than STORE_TIMEOUT_MS. */
  AUDIT_TIMEOUT_MS: string;
  /** The age at which rows of the trail are deleted, in days. */
  KEEP_DAYS: string;
  /** The D1 database of `examples/cloudflare-databases`. */
  DB: D1Like;
  /** The Durable Objects of `examples/cloudflare-databases`. */
  FUSE: NamespaceLike;
};

/** Keeps the runtime alive until the promise settles. Works only during a request. */
export function waitUntil(work: Promise<unknown>): void;
