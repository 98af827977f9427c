/**
 * The function with which shared stores open circuits. Not in the entry point, which does not
 * export it.
 */
import type { CircuitKind, NamedStore, Opener } from "../circuit.ts";
import { quote } from "../checks.ts";
import { identify } from "../key.ts";
import { SharedCircuit } from "./circuit.ts";
import { failedAt, StoreGuard } from "./guard.ts";
import { StandIns } from "./stand_in.ts";
import { Trips } from "./trips.ts";

/** Opens circuits on a store that isolates share. */
export const SHARED: CircuitKind = {
  openerFor(store: NamedStore): Opener {
    const { name, timeoutMs, clock, events, driver, random } = store;
    const guard = new StoreGuard(name, timeoutMs, clock, events, random);
    const trips = new Trips(driver, guard, clock);
    const standIns = new StandIns(guard);
    const shared = { ...store, guard, trips, standIns, followed: new Map() };
    return {
      get failing() {
        return guard.failing;
      },
      open(identity, policy) {
        guard.register();
        return new SharedCircuit(identity, policy, shared);
      },
      async list(ask, always) {
        const operation = "list";
        const page = await guard.runAlone({ operation, kind: "reads", always, send: ask });
        for (const { key, error } of page.spoilt ?? []) {
          const circuit = identify(name, key);
          const detail = { store: name, operation, error, retryAfterMs: 1, circuit };
          events.alarm("store_error", detail, () => failedAt(name, `list, ${quote(key)}`, error));
        }
        return page;
      },
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

/** The key of a circuit that cannot be made, because names are not empty. */
const UNUSED = "";
const READ = { at: 0, shape: { windowMs: 1, windowSize: 0 } };
