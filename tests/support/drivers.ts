/**
 * The stores of this package with their internal types, which include drivers. For tests that use a
 * driver itself; tests that only pass a store to `createFuse` import it as users do.
 *
 * @module
 */
import * as core from "@fuse/edge";
import * as database from "@fuse/edge/libsql";
import * as testing from "@fuse/edge/testing";
import * as tcp from "@fuse/edge/redis";
import * as rest from "@fuse/edge/upstash";
import { CIRCUITS, type OpeningStore } from "../../src/circuit.ts";
import type { LocalDriver } from "../../src/local_circuit.ts";
import { SHARED } from "../../src/shared/kind.ts";

export { CIRCUITS, SHARED };
export type { OpeningStore };

/** A memory store, whose every method is synchronous. */
export type MemoryStore = OpeningStore & LocalDriver;

/** A store with a trail. Its `history` returns rows as users see them. */
export type DatabaseStore = database.LibsqlStore & OpeningStore;

/** `memory()`. */
export function memory(options?: core.MemoryOptions): MemoryStore {
  return core.memory(options) as MemoryStore;
}

/** `upstash()`. */
export function upstash(options: rest.UpstashOptions): OpeningStore {
  return rest.upstash(options) as OpeningStore;
}

/** `redis()`. */
export function redis(...[client, options]: Parameters<typeof tcp.redis>): OpeningStore {
  return tcp.redis(client, options) as OpeningStore;
}

/** `libsql()`. */
export function libsql(options: database.LibsqlOptions): DatabaseStore {
  return database.libsql(options) as DatabaseStore;
}

/** `tiered()`. */
export function tiered(options: database.TieredOptions): DatabaseStore {
  return database.tiered(options) as DatabaseStore;
}

/** `chaos()`. */
export function chaos(store: core.Store, faults: testing.Faults): OpeningStore {
  return testing.chaos(store, faults) as OpeningStore;
}
