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

import { isDriver, received } from "../checks.ts";
import {
  type CircuitKind,
  CIRCUITS,
  type NamedStore,
  type Opener,
  type OpeningStore,
} from "../circuit.ts";
import type { Driver, Store } from "../contract.ts";
import { SharedCircuit } from "./circuit.ts";
import { StoreGuard } from "./guard.ts";
import { LocalStates } from "./stand_in.ts";
import { Trips } from "./trips.ts";

export type * from "../contract.ts";
export type { CircuitIdentity } from "../key.ts";
export { type AnswerScope, StoreAnswerError } from "../errors.ts";
export { absentSnapshot, ID_MEMORY_MS, OUTBOX_LENGTH, TOTALS_ONLY } from "../records.ts";

/** Opens circuits on a store that isolates share. */
export const SHARED: CircuitKind = {
  openerFor(store: NamedStore): Opener {
    const { name, timeoutMs, clock, events, driver } = store;
    const guard = new StoreGuard(name, timeoutMs, clock, events);
    const trips = new Trips(driver, guard, clock);
    const states = new LocalStates();
    return {
      get failing() {
        return guard.failing;
      },
      open(identity, policy) {
        guard.register();
        return new SharedCircuit(identity, policy, store, { guard, trips, states });
      },
      list: (ask, always) =>
        guard.runAlone({ operation: "list", kind: "reads", always, send: ask }),
      async check() {
        // A driver without a check of its own is read: that shows whether it answers.
        const kind = driver.check === undefined ? "reads" : "writes";
        await guard.runAlone<unknown>({
          ...{ operation: "check", kind, always: true, proves: () => kind },
          send: () => driver.check === undefined ? driver.read(UNUSED, READ) : driver.check(),
        });
      },
      flush: (circuits) => trips.flush(circuits as readonly SharedCircuit[]),
    };
  },
};

/** The key of a circuit that nobody can make, since names are not empty. */
const UNUSED = "";
const READ = { at: 0, shape: { windowMs: 1, windowSize: 0 } };

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
 * @throws {TypeError} If the value is no driver.
 */
export function shared(driver: Driver): Store {
  if (!isDriver(driver)) {
    throw new TypeError(
      `Cannot make a store: "driver" must be an object with the methods of Driver, received ${
        received(driver)
      }`,
    );
  }
  const { name, traits } = driver;
  const store: Record<PropertyKey, unknown> = { name, traits, [CIRCUITS]: SHARED };
  for (const method of METHODS) {
    if (driver[method] !== undefined) store[method] = driver[method].bind(driver);
  }
  return store as unknown as OpeningStore;
}
