/**
 * A Fuse from environment variables: of `Deno.env.toObject()`, `process.env`, or a Worker's `env`.
 *
 * | variable                                                 | what it says                                                     |
 * | -------------------------------------------------------- | ---------------------------------------------------------------- |
 * | `FUSE_STORE`                                             | the default store: `array`, `cache`, `database` or `tiered`      |
 * | `FUSE_CACHE_STORE`                                       | which Redis, by a name such as `redis-critical`; `redis`         |
 * | `FUSE_CACHE_PREFIX`                                      | what keys in Redis begin with; `circuit_breaker`                 |
 * | `UPSTASH_REDIS_REST_URL`, `UPSTASH_REDIS_REST_TOKEN`     | where the Redis named `redis` is, and its token                  |
 * | `UPSTASH_<NAME>_REST_URL`, `UPSTASH_<NAME>_REST_TOKEN`   | the same of another one, `<NAME>` as in `FUSE_CACHE_STORE`       |
 * | `TURSO_DATABASE_URL`, `TURSO_AUTH_TOKEN`                 | where the libSQL database is, and its token                      |
 * | `CB_DB_URL`, `CB_DB_AUTH_TOKEN`                          | a database for circuits alone: this pair wins over the one above |
 * | `FUSE_DB`, `FUSE` (bindings of a Worker)                | the database in D1, or in Durable Objects of the `FuseObject`    |
 * | `KV_REST_API_URL`, `KV_REST_API_TOKEN`                   | Vercel's names of `UPSTASH_REDIS_…`, which win                   |
 * | `FUSE_AUDIT`                                             | what the trail holds: `transitions`, or `calls` as well          |
 * | `FUSE_TRAIL_KEY`                                         | the secret of the trail's hashes                                 |
 * | `FUSE_INSTANCE`                                          | the name of this isolate: a region, a machine                    |
 *
 * @example The recommended store in production
 * ```ts
 * import { fuseFromEnv } from "@fuse/edge/env";
 * import { assertEquals } from "@std/assert";
 *
 * const fuse = fuseFromEnv({
 *   FUSE_STORE: "cache",
 *   FUSE_CACHE_STORE: "redis",
 *   UPSTASH_REDIS_REST_URL: "https://eu1-tidy-owl-12345.upstash.io",
 *   UPSTASH_REDIS_REST_TOKEN: "AX9sASQg",
 * });
 * assertEquals(fuse.make("external-api").store, "cache");
 * ```
 *
 * @module
 */

import { d1 } from "../drivers/d1.ts";
import { durableObject } from "../drivers/durable_object.ts";
import { libsql, type LibsqlStore, tiered } from "../drivers/libsql.ts";
import { memory } from "../drivers/memory.ts";
import { upstash } from "../drivers/upstash.ts";
import { type Settings, settingsOf } from "./env_settings.ts";
import { createFuse, type Fuse } from "./fuse.ts";
import type { FuseOptions } from "./registry.ts";
import { mustBeObject } from "./checks.ts";
import type { Store } from "./contract.ts";

/** The notes that this isolate has printed. Their number is bounded. */
const told = new Set<string>();

/**
 * Makes a Fuse from environment variables, with the stores that they configure: `array` always,
 * `cache` for a Redis, and `database` for a database (`CB_DB_URL`, else `FUSE_DB`, else `FUSE`, else
 * `TURSO_DATABASE_URL`). Performs no I/O, so it may run at module scope.
 *
 * `FUSE_STORE` names the default store; without it, the first of `cache`, `database` and `array`.
 * An empty variable counts as not set. If the `UPSTASH_…` or `TURSO_…` variables of another store are
 * invalid, the Fuse lacks that store, and one `console.warn` for each isolate says so.
 *
 * @param env Variables by name: `Deno.env.toObject()`, `process.env` or a Worker's `env`.
 * @param options Options of `createFuse`, except for `stores` and `default`.
 * @returns A Fuse. The tables of a database come from `migrate()` of `@fuse/edge/migrations`.
 * @throws {RangeError | TypeError} If the default store is not fully configured, a value is not
 * allowed, a name that begins with `FUSE_` is unknown, `CB_DB_HOST` or `CB_DB_DATABASE` is set, or
 * `createFuse` refuses an option. The error never quotes an address or a token.
 *
 * @example Payments in the database, all else in the cache
 * ```ts
 * import { fuseFromEnv } from "@fuse/edge/env";
 * import { assertEquals } from "@std/assert";
 *
 * const env = {
 *   UPSTASH_REDIS_REST_URL: "https://eu1-tidy-owl-12345.upstash.io",
 *   UPSTASH_REDIS_REST_TOKEN: "AX9sASQg",
 *   TURSO_DATABASE_URL: "libsql://app-example.turso.io",
 *   TURSO_AUTH_TOKEN: "eyJhbGciOi",
 * };
 * const fuse = fuseFromEnv(env, { circuits: { "payment-*": { store: "database" } } });
 *
 * assertEquals(fuse.make("user-service").store, "cache");
 * assertEquals(fuse.make("payment-processing").store, "database");
 * assertEquals(fuse.store("array").make("internal-tool").store, "array");
 * ```
 */
export function fuseFromEnv(
  env: object,
  options: Omit<FuseOptions, "stores" | "default"> = {},
): Fuse {
  const { store, cache, database, instance, notes } = settingsOf(env);
  const stores: Record<string, Store> = { array: memory() };
  if (cache !== null) stores["cache"] = upstash(cache);
  if (database !== null) {
    const audit = databaseOf(database);
    stores["database"] = audit;
    const state = stores["cache"];
    if (store === "tiered" && state !== undefined) stores["tiered"] = tiered({ state, audit });
  }
  const own = checked(options);
  const named = { instance: own.instance ?? instance ?? undefined };
  const fuse = createFuse({ ...own, ...named, stores, default: store });
  for (const note of notes) {
    if (told.has(note)) continue;
    told.add(note);
    console.warn(`Fuse: ${note}`);
  }
  return fuse;
}

function databaseOf(database: NonNullable<Settings["database"]>): LibsqlStore {
  const { audit, trailKey } = database;
  const trail = { audit, trailKey };
  if ("d1" in database) return d1(database.d1, trail);
  if ("objects" in database) return durableObject(database.objects, trail);
  return libsql(database);
}

/** A copy, inherited options too, as `createFuse` reads them. */
function checked(options: FuseOptions): FuseOptions {
  mustBeObject("fuse from environment", options);
  const copy: Record<string, unknown> = {};
  for (const name in options) {
    const value = options[name as keyof FuseOptions];
    if ((name === "stores" || name === "default") && value !== undefined) {
      throw new TypeError(
        `Cannot create fuse from environment: "${name}" comes from the variables; use createFuse() ` +
          `to choose it yourself`,
      );
    }
    copy[name] = value;
  }
  return copy;
}
