/**
 * What this example uses of "cloudflare:workers". In a project of yours, `npx wrangler types` writes
 * it out of wrangler.jsonc.
 *
 * @module
 */

import type { D1Like } from "@fuse/edge/d1";
import type { NamespaceLike } from "@fuse/edge/durable-object";

/** The bindings of wrangler.jsonc, and two secrets. They can be read at module scope. */
export const env: {
  /** What the Worker stands in front of. */
  ORIGIN: string;
  UPSTASH_REDIS_REST_URL: string;
  /** A secret. */
  UPSTASH_REDIS_REST_TOKEN: string;
  TURSO_DATABASE_URL: string;
  /** A secret. */
  TURSO_AUTH_TOKEN: string;
  /** In ms, for both stores together. */
  STORE_TIMEOUT_MS: string;
  /** In ms, for the trail; below STORE_TIMEOUT_MS. */
  AUDIT_TIMEOUT_MS: string;
  /** For how long the trail is kept. */
  KEEP_DAYS: string;
  /** Of `examples/cloudflare-databases`: a D1 database. */
  DB: D1Like;
  /** Of the same: the Durable Objects. */
  FUSE: NamespaceLike;
};

/** Keeps the runtime alive for this work; inside of a request only. */
export function waitUntil(work: Promise<unknown>): void;
