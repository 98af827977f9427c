/**
 * The database store in Durable Objects: the tables, the statements and the trail of
 * `@fuse/edge/libsql`, in the SQLite of objects of your own. Strongly consistent, and no third party.
 *
 * @example A Fuse whose circuits are in a Durable Object
 * ```ts
 * import { createFuse, type Fuse } from "@fuse/edge";
 * import { durableObject, FuseObject, type NamespaceLike } from "@fuse/edge/durable-object";
 * import { assertEquals } from "@std/assert";
 *
 * // The Worker's module exports the class, and wrangler.jsonc binds it as "FUSE".
 * export { FuseObject };
 *
 * function fuseOf(env: { FUSE: NamespaceLike }): Fuse {
 *   return createFuse({ stores: { object: durableObject(env.FUSE) } });
 * }
 *
 * // The binding of a Worker; here one whose object cannot be reached.
 * const FUSE = { idFromName: () => null, get: () => ({ fetch: () => Promise.reject(new Error()) }) };
 * const api = fuseOf({ FUSE }).make("external-api");
 * assertEquals(await api.call(() => "calls run all the same"), "calls run all the same");
 * ```
 *
 * @module
 */

import { check, known, refuseUnseen } from "../src/checks.ts";
import { clientOf, type NamespaceLike } from "./durable_object/client.ts";
import { Shards } from "./durable_object/shards.ts";
import {
  configure,
  type LibsqlOptions,
  type LibsqlStore,
  TABLE_OPTIONS,
} from "./libsql/options.ts";
import { LibsqlDatabase } from "./libsql/store.ts";

export type * from "./libsql/types.ts";
export { FuseObject } from "./durable_object/object.ts";
export type { NamespaceLike };

/** Options of {@linkcode durableObject}: those of `libsql()`, except for the database and its tables. */
export type DurableObjectOptions = Omit<LibsqlOptions, "replica" | "schema"> & {
  /**
   * The number of objects that the circuits are spread over, by key. One object takes some hundred
   * requests a second. With another number the circuits begin anew, in other objects: export them before
   * the change, and import them after it.
   *
   * @default {1}
   */
  shards?: number | undefined;
};

const NAME = "durable-object";
const SUBJECT = `${NAME} store`;

/** The largest number of objects: a list asks each of them. */
const MAX_SHARDS = 1_000;

/**
 * Keeps circuits in Durable Objects: state that survives, shared by all isolates, and a trail of every
 * transition and operator action, written in the same transaction. The objects make their tables
 * themselves.
 *
 * Cost: one request to one object for each primitive. `list()`, `history()`, `prune()`,
 * `verifyTrail()` and `check()` ask all objects. An object lives near its first caller, and distant
 * callers wait longer.
 *
 * @param namespace The binding of `FuseObject`, `env.FUSE`.
 * @param options See {@linkcode DurableObjectOptions}.
 * @returns A store for `createFuse({ stores: { object: durableObject(env.FUSE) } })`. Making it performs
 * no I/O.
 * @throws {TypeError | RangeError} If `namespace` is not such a binding, or an option is not allowed.
 *
 * @example Usage
 * ```ts
 * import { durableObject } from "@fuse/edge/durable-object";
 * import { assertEquals } from "@std/assert";
 *
 * // In a Worker: env.FUSE.
 * const FUSE = { idFromName: () => null, get: () => null };
 * const object = durableObject(FUSE, { shards: 8 });
 * assertEquals(object.traits, { persistent: true, shared: true, audited: true });
 * ```
 */
export function durableObject(
  namespace: NamespaceLike,
  options: DurableObjectOptions = {},
): LibsqlStore {
  known(SUBJECT, options, ["shards", ...TABLE_OPTIONS.filter((option) => option !== "schema")]);
  const { idFromName, get } = Object(namespace) as Partial<NamespaceLike>;
  if (typeof idFromName !== "function" || typeof get !== "function") {
    refuseUnseen(SUBJECT, "namespace", "a binding of Durable Objects, such as env.FUSE", namespace);
  }
  const shards = check(SUBJECT, "shards", options.shards, 1, 1, MAX_SHARDS);
  const databases = Array.from({ length: shards }, (_, index) => {
    // Another number of shards has other names.
    const client = clientOf(namespace, `fuse ${index} of ${shards}`);
    return new LibsqlDatabase(configure({ name: NAME, connect: () => client }, options));
  });
  return shards === 1 ? databases[0]! : new Shards(databases);
}
