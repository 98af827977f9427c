/**
 * For authors of drivers: the contract between the breaker and a store, and `shared()`, which makes a
 * store of a driver.
 *
 * @example A driver becomes a store
 * ```ts
 * import { createFuse, memory } from "@fuse/edge";
 * import { type Driver, shared } from "@fuse/edge/store";
 * import { assertEquals } from "@std/assert";
 *
 * // Any object with the methods of `Driver`. A store of this package is one, too.
 * const driver = memory() as Driver;
 * await using fuse = createFuse({ stores: { kv: shared(driver) } });
 *
 * assertEquals(await fuse.make("payments").call(() => "paid"), "paid");
 * ```
 *
 * @module
 */

import { wrong } from "../checks.ts";
import { CIRCUITS, type OpeningStore } from "../circuit.ts";
import type { Driver, Store } from "../contract.ts";
import { isDriver } from "../records.ts";
import { SHARED } from "./kind.ts";

export type * from "../contract.ts";
export type { CircuitIdentity } from "../key.ts";
export { type AnswerScope, StoreAnswerError } from "../errors.ts";
export { absentSnapshot, ID_MEMORY_MS, OUTBOX_LENGTH, TOTALS_ONLY } from "../records.ts";

/** The methods that a driver may have. */
const METHODS: readonly Exclude<keyof Driver, "name" | "traits">[] = [
  ...["read", "record", "acquire", "transition", "override", "restore", "list", "remove"] as const,
  ...["together", "history", "describe", "confirm", "flush", "check"] as const,
];

/**
 * Makes a store of a driver: each isolate keeps a view of its circuits, guards it with deadlines and
 * back-off, and decides alone while it cannot be reached. Performs no I/O.
 *
 * @param driver The primitives. Prove them with `storeContract` of `@fuse/edge/testing`.
 * @returns A store for `createFuse({ stores: { kv: shared(driver) } })`.
 * @throws {TypeError} If the value is not a driver.
 */
export function shared(driver: Driver): Store {
  if (!isDriver(driver)) {
    const allowed = "an object with the methods of Driver";
    throw new TypeError(wrong("make a store", "driver", allowed, driver));
  }
  const { name, traits } = driver;
  const store: Record<PropertyKey, unknown> = { name, traits, [CIRCUITS]: SHARED };
  for (const method of METHODS) {
    if (driver[method] !== undefined) store[method] = driver[method].bind(driver);
  }
  return store as unknown as OpeningStore;
}
